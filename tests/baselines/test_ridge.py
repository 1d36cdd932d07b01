"""Kernel ridge regression and linear composition against scikit-learn, least squares and exact functions."""

import numpy as np
import pytest

from atomlens.baselines.kernels import StructureKernel
from atomlens.baselines.ridge import Chosen, choose, predict
from atomlens.baselines.targets import Target, composition, targets

sklearn_ridge = pytest.importorskip("sklearn.kernel_ridge")
TRAIN, VALIDATION, TEST = np.arange(0, 120), np.arange(120, 180), np.arange(180, 240)


def _plain(values):
    return Target(values, np.zeros(len(values)), np.ones(len(values)), "mean")


@pytest.fixture(scope="module")
def smooth():
    """Points in a square and a smooth function of them."""
    points = np.random.default_rng(0).uniform(-1, 1, size=(240, 2))
    return points, np.sin(2 * points[:, 0]) * np.cos(points[:, 1]) + 7.0


def test_predictions_are_those_of_scikit_learn(smooth):
    points, values = smooth
    kernel = StructureKernel(points)
    chosen, weights = choose(kernel, [_plain(values)], TRAIN, VALIDATION)
    found = predict(kernel, chosen, weights, TRAIN, TEST)
    gamma = 0.5 / chosen.width**2 if chosen.kernel == "gaussian" else 1 / chosen.width
    model = sklearn_ridge.KernelRidge(
        kernel={"gaussian": "rbf"}.get(chosen.kernel, chosen.kernel), gamma=gamma, alpha=chosen.ridge
    )
    model.fit(points[TRAIN], values[TRAIN] - values[TRAIN].mean())
    # A regularisation of 1e-12 leaves a few digits to either solution.
    assert found == pytest.approx(model.predict(points[TEST]) + values[TRAIN].mean(), abs=1e-4)
    assert np.abs(found - values[TEST]).mean() < 1e-3
    assert chosen.kernel == "gaussian"


def test_validation_error_is_that_of_the_choice_and_no_neighbour_is_better(smooth):
    points, values = smooth
    noisy = values + 0.1 * np.random.default_rng(1).normal(size=240)
    kernel, target = StructureKernel(points), _plain(noisy)
    chosen, weights = choose(kernel, [target], TRAIN, VALIDATION)
    error = np.abs(predict(kernel, chosen, weights, TRAIN, VALIDATION) - noisy[VALIDATION]).mean()
    assert chosen.validation_mae == pytest.approx(error, rel=1e-9)
    inside = np.abs(predict(kernel, chosen, weights, TRAIN, TRAIN) - noisy[TRAIN]).mean()
    assert inside > 0.06  # noise, of mean size 0.08, is not learned by heart
    centred = noisy[TRAIN] - noisy[TRAIN].mean()
    for widths, ridges in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        near = Chosen(
            chosen.kernel, (chosen.point[0] + widths, chosen.point[1] + ridges), chosen.scale,
            chosen.ridge * 10.0**-ridges, target, 0.0, {},
        )  # fmt: skip
        matrix = kernel.between(near.kernel, TRAIN, TRAIN)(near.width)
        own = np.linalg.solve(matrix + near.ridge * np.eye(len(TRAIN)), centred)
        off = np.abs(predict(kernel, near, own, TRAIN, VALIDATION) - noisy[VALIDATION]).mean()
        assert off >= error * (1 - 1e-6)


def test_the_target_that_validates_better_is_taken(smooth):
    points, values = smooth
    wild = Target(values, np.random.default_rng(2).normal(size=240) * 3, np.ones(240), "elements")
    chosen, _ = choose(StructureKernel(points), [wild, _plain(values)], TRAIN, VALIDATION)
    assert chosen.target.removed == "mean" or chosen.validation_mae < 1e-2
    assert set(chosen.others) == {
        f"{kernel}, {removed} removed" for kernel in ("gaussian", "laplacian") for removed in ("elements", "mean")
    }


def test_equal_structures_do_not_break_the_regression():
    points = np.repeat(np.random.default_rng(0).normal(size=(60, 3)), 4, axis=0)
    values = points.sum(axis=1)
    kernel = StructureKernel(points)
    chosen, weights = choose(kernel, [_plain(values)], TRAIN, VALIDATION)
    assert np.isfinite(predict(kernel, chosen, weights, TRAIN, TEST)).all()


def test_composition_is_least_squares_on_counts(molecules):
    found = composition(molecules, "energy", TRAIN, VALIDATION)
    counts, _ = molecules.counts()
    values = molecules.labels["energy"]
    exact = np.linalg.lstsq(counts[TRAIN], values[TRAIN], rcond=None)[0]
    if found.ridge <= 1e-4:
        assert found.predicted == pytest.approx(counts @ exact, abs=1e-3)
    assert np.abs(found.predicted - values)[TEST].mean() < 1.2 * np.abs(counts @ exact - values)[TEST].mean()


def test_composition_of_one_molecule_is_its_mean(frames):
    train, rest = np.arange(30), np.arange(30, 60)
    found = composition(frames, "energy", train, rest)
    assert found.predicted == pytest.approx(frames.labels["energy"][train].mean(), abs=1e-3)


def test_composition_of_crystals_uses_shares(crystals):
    twice = crystals.subset(np.concatenate([np.arange(48)]))
    found = composition(twice, "formation_energy", np.arange(24), np.arange(24, 36))
    kinds = [tuple(sorted(set(system.numbers.tolist()))) for system in twice]
    for kind in set(kinds):
        values = found.predicted[[place for place, each in enumerate(kinds) if each == kind]]
        assert np.ptp(values) < 1e-9  # cells of eight and of two atoms have the same shares


@pytest.mark.parametrize("per_atom", [False, True])
def test_targets_give_the_label_back(molecules, per_atom):
    found = composition(molecules, "energy", TRAIN, VALIDATION)
    made = targets(molecules, "energy", found, per_atom=per_atom)
    assert [target.removed for target in made] == ["elements"]
    rows = np.array([3, 77, 200])
    assert made[0].label(made[0].values[rows], rows) == pytest.approx(molecules.labels["energy"][rows])
    assert made[0].off(made[0].values[rows] + 0.5, rows) == pytest.approx(
        0.5 * (molecules.n_atoms[rows] if per_atom else np.ones(3))
    )


def test_targets_of_intensive_labels_are_two(crystals):
    found = composition(crystals, "formation_energy", np.arange(24), np.arange(24, 36))
    made = targets(crystals, "formation_energy", found, per_atom=True)
    assert [target.removed for target in made] == ["elements", "mean"]
    for target in made:
        assert (target.weight == 1).all()
        everything = np.arange(len(crystals))
        assert target.label(target.values, everything) == pytest.approx(crystals.labels["formation_energy"])


def test_memory_is_asked_for_before_distances_are_taken(monkeypatch, smooth):
    from atomlens.errors import InputError

    monkeypatch.setattr("atomlens.baselines.memory.free_memory", lambda: 1000)
    with pytest.raises(InputError, match=r"kernels of 120 structures would take .* GiB of memory"):
        choose(StructureKernel(smooth[0]), [_plain(smooth[1])], TRAIN, VALIDATION)
