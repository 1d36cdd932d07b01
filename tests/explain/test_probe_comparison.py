"""How Ω of two models is compared."""

import numpy as np
import pytest
from ase.build import molecule
from probes_by_hand import gain_by_hand, make_model

from atomlens.data.system import AtomicSystem
from atomlens.explain.probes.probe_comparison import agreement, by_the_whole_network
from atomlens.explain.probes.probes import Probing

NEAREST = np.array([0, 0, 1, 1, 2, 2])
FIRST = np.array([-3.0, -1.0, 0.0, 1.0, 2.0, 5.0])


def test_correlation_and_offset_are_those_of_statistics():
    random = np.random.default_rng(0)
    first, second = random.normal(size=200), random.normal(size=200)
    second += 0.5 * first
    found = agreement(first, second, np.zeros(200, dtype=int))
    assert found.correlation == pytest.approx(np.corrcoef(first, second)[0, 1], rel=1e-12)
    assert found.offset == pytest.approx((second - first).mean(), rel=1e-12)


@pytest.mark.parametrize(
    ("second", "same_minimum", "same_maximum"),
    [
        (2.0 * FIRST - 7.0, True, True),
        (-FIRST, False, False),
        (np.array([-1.0, -3.0, 0.0, 1.0, 5.0, 2.0]), True, True),  # at the same atoms, elsewhere
        (np.array([-3.0, -1.0, -3.1, 1.0, 2.0, 5.0]), True, True),  # atoms that are as good as each other
        (np.array([-3.0, -1.0, -9.0, 1.0, 2.0, 5.0]), False, True),
        (np.array([-3.0, -1.0, 0.0, 9.0, 2.0, 5.0]), True, False),
    ],
)
def test_extremes_are_shared_by_atoms(second, same_minimum, same_maximum):
    found = agreement(FIRST, second, NEAREST)
    assert (found.same_minimum, found.same_maximum) == (same_minimum, same_maximum)


def test_what_does_not_vary_correlates_with_nothing():
    found = agreement(FIRST, np.ones(6), NEAREST)
    assert np.isnan(found.correlation)
    assert found.to_dict()["correlation"] is None
    assert agreement(FIRST, FIRST, NEAREST).to_dict()["correlation"] == pytest.approx(1.0)


def test_the_whole_network_is_that_of_the_equations():
    model, system = make_model("dtnn"), AtomicSystem.from_ase(molecule("CH3OH"))
    points = np.array([[1.4, 0.2, -0.9], [0.1, 2.0, 0.4]])
    found = by_the_whole_network(Probing.of(model, system), points, "H", seed=1)
    expected = [gain_by_hand(model, system, point, 1) for point in points]
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert not model.representation.filters.exact  # the model itself stays what it was
