"""What readouts take from the training set before they learn: against data whose offsets and spreads are known."""

from dataclasses import replace

import numpy as np
import pytest
from by_hand import read_out, readout_of, water

from atomlens.data.dataset import Dataset
from atomlens.errors import InputError
from atomlens.readouts import Dipole, DipoleConfig
from atomlens.readouts.centre import centred_data
from atomlens.readouts.energy import references_and_scale
from atomlens.readouts.standardise import rms_norm, spread

RANDOM = np.random.default_rng(3)
ELEMENTS = (1, 6, 8)


def structures(count=40, **labels):
    """Random structures of H, C and O with 2 to 9 atoms."""
    sizes = RANDOM.integers(2, 10, count)
    numbers = RANDOM.choice(ELEMENTS, sizes.sum())
    numbers[:3] = ELEMENTS
    positions = 3.0 * RANDOM.normal(size=(sizes.sum(), 3))
    return Dataset.from_arrays(numbers, positions, sizes, labels)


def labelled(data, **labels):
    return replace(data, labels=labels)


def silent(**config):
    """A readout that says nothing of its own."""
    outputs = 33 if config["name"] == "polarizability" else 1
    return readout_of(dict.fromkeys(ELEMENTS, [0.0] * outputs), elements=ELEMENTS, **config)


OFFSETS = np.array([-3.0, 12.5, 40.0])


def test_extensive_offsets_and_scale():
    """Y = N c + n e, where the e are orthogonal to all compositions: c is found, and the scale is the spread of e."""
    data = structures()
    counts, _ = data.counts()
    noise = RANDOM.normal(size=len(data))
    noise -= counts @ np.linalg.lstsq(counts, noise, rcond=None)[0]
    readout = silent(name="extensive", property="zero_point_energy")
    readout.fit(labelled(data, zero_point_energy=counts @ OFFSETS + noise), None)
    np.testing.assert_allclose(readout.offsets[list(ELEMENTS)], OFFSETS, rtol=1e-10)
    assert float(readout.scale) == pytest.approx(np.std(noise / data.n_atoms))
    assert not readout.offsets[[2, 7, 118]].any()


def test_intensive_offsets_and_scale():
    """Y = x c + e with mole fractions x, and the scale is the spread of e per structure."""
    data = structures()
    counts, _ = data.counts()
    fractions = counts / counts.sum(axis=1, keepdims=True)
    noise = RANDOM.normal(size=len(data))
    noise -= fractions @ np.linalg.lstsq(fractions, noise, rcond=None)[0]
    readout = silent(name="intensive", property="homo")
    readout.fit(labelled(data, homo=fractions @ OFFSETS + noise), None)
    np.testing.assert_allclose(readout.offsets[list(ELEMENTS)], OFFSETS, rtol=1e-10)
    assert float(readout.scale) == pytest.approx(np.std(noise))


def test_unknown_labels_count_for_nothing():
    data = structures()
    counts, _ = data.counts()
    values = counts @ OFFSETS
    values[[0, 7, 9]] = np.nan
    readout = silent(name="extensive", property="heat_capacity")
    readout.fit(labelled(data, heat_capacity=values), None)
    np.testing.assert_allclose(readout.offsets[list(ELEMENTS)], OFFSETS, rtol=1e-10)


def test_an_exact_fit_leaves_a_scale_of_one():
    data = structures()
    counts, _ = data.counts()
    readout = silent(name="extensive", property="heat_capacity")
    readout.fit(labelled(data, heat_capacity=counts @ OFFSETS), None)
    assert float(readout.scale) == 1.0


def test_spatial_extent_finds_the_charges():
    data = structures()
    squares = centred_data(data).square().sum(dim=1).numpy()
    charges = dict(zip(ELEMENTS, (1.1, 5.9, 8.2), strict=True))
    terms = squares * np.array([charges[number] for number in data.numbers])
    values = np.add.reduceat(terms, data.offsets[:-1])
    readout = silent(name="electronic_spatial_extent")
    readout.fit(labelled(data, electronic_spatial_extent=values), None)
    np.testing.assert_allclose(readout.offsets[list(ELEMENTS)], list(charges.values()), rtol=1e-9)


def test_atoms_alone_do_not_spoil_the_charges_of_the_spatial_extent():
    """About its own centre of mass an atom's ⟨R²⟩ is zero here, whatever the label: it says nothing about charges."""
    data = structures()
    squares = np.add.reduceat(centred_data(data).square().sum(dim=1).numpy(), data.offsets[:-1])
    noise = 0.1 * RANDOM.normal(size=len(data))
    alone = Dataset.from_arrays(
        np.append(data.numbers, [6, 8]),
        np.concatenate([data.positions, np.ones((2, 3))]),
        np.append(data.n_atoms, [1, 1]),
        {"electronic_spatial_extent": np.append(squares * (2.0 + noise), [3.0, 4.0])},
    )
    readout = silent(name="electronic_spatial_extent")
    readout.fit(alone, None)
    assert 0.02 < float(readout.charge_scale) < 0.3
    np.testing.assert_allclose(readout.offsets[list(ELEMENTS)], 2.0, atol=0.5)


def test_only_atoms_alone_leave_charges_as_they_are():
    data = Dataset.from_arrays(
        np.array([6, 8]), np.zeros((2, 3)), np.array([1, 1]), {"electronic_spatial_extent": np.array([3.0, 4.0])}
    )
    readout = silent(name="electronic_spatial_extent")
    readout.fit(data, None)
    assert np.isfinite([float(readout.scale), float(readout.charge_scale)]).all()
    assert readout.offsets.isfinite().all()


def test_dipole_scale_is_the_root_mean_square_length():
    """(3² + 4²) / 2 over two known vectors, whatever the unknown third."""
    vectors = np.array([[3.0, 0.0, 0.0], [0.0, 0.0, -4.0], [np.nan, 1.0, 1.0]])
    data = labelled(structures(3), dipole=vectors, dipole_magnitude=np.ones(3))
    readout = silent(name="dipole")
    readout.fit(data, None)
    assert float(readout.scale) == pytest.approx(np.sqrt(12.5))


def test_dipole_scale_from_magnitudes_alone():
    readout = silent(name="dipole")
    readout.fit(
        labelled(structures(3), dipole=np.full((3, 3), np.nan), dipole_magnitude=np.array([1.0, 7.0, 5.0])), None
    )
    assert float(readout.scale) == pytest.approx(5.0)  # (1 + 49 + 25) / 3 = 25


def test_polarizability_offsets_and_scale():
    """Isotropic parts N c; what is left are traceless tensors, whose Frobenius norm is the scale."""
    data = structures()
    counts, _ = data.counts()
    shaped = RANDOM.normal(size=(len(data), 3, 3))
    shaped = shaped + shaped.transpose(0, 2, 1)
    shaped -= np.trace(shaped, axis1=1, axis2=2)[:, None, None] * np.eye(3) / 3.0
    tensors = (counts @ np.abs(OFFSETS))[:, None, None] * np.eye(3) + shaped
    readout = silent(name="polarizability")
    readout.fit(labelled(data, polarizability=tensors), None)
    np.testing.assert_allclose(readout.offsets[list(ELEMENTS)], np.abs(OFFSETS), rtol=1e-10)
    assert float(readout.scale) == pytest.approx(np.sqrt((shaped**2).sum(axis=(1, 2)).mean()))


def test_polarizability_from_isotropic_labels():
    """A number stands for a sphere: what is left of it has √3 times its size as a tensor."""
    data = structures()
    counts, _ = data.counts()
    noise = RANDOM.normal(size=len(data))
    noise -= counts @ np.linalg.lstsq(counts, noise, rcond=None)[0]
    readout = silent(name="polarizability")
    readout.fit(labelled(data, isotropic_polarizability=counts @ np.abs(OFFSETS) + noise), None)
    np.testing.assert_allclose(readout.offsets[list(ELEMENTS)], np.abs(OFFSETS), rtol=1e-10)
    assert float(readout.scale) == pytest.approx(np.sqrt(3.0 * (noise**2).mean()))


def test_a_fitted_readout_that_learned_nothing_answers_with_the_offsets():
    readout = readout_of({1: 0.0, 8: 0.0}, name="extensive", property="heat_capacity")
    data = Dataset.from_arrays(
        np.array([8, 1, 1, 1, 1]),
        np.arange(15.0).reshape(5, 3),
        np.array([3, 2]),
        {"heat_capacity": np.array([5.0, 2.0])},
    )
    readout.fit(data, None)
    # Of all c with c_O + 2 c_H = 5 and 2 c_H = 2 there is one: 3 and 1.
    np.testing.assert_allclose(read_out(readout, water()).atoms.detach(), [3.0, 1.0, 1.0], rtol=1e-12)


def test_a_second_fit_forgets_the_first():
    readout = silent(name="extensive", property="heat_capacity")
    data = structures()
    counts, _ = data.counts()
    readout.fit(labelled(data, heat_capacity=counts @ OFFSETS), None)
    hydrogen = Dataset.from_arrays(np.array([1]), np.zeros((1, 3)), np.array([1]), {"heat_capacity": np.array([2.0])})
    readout.fit(hydrogen, None)
    assert readout.offsets.nonzero().flatten().tolist() == [1]


def test_no_label_is_refused():
    data = labelled(structures(2), dipole=np.full((2, 3), np.nan), homo=np.zeros(2))
    with pytest.raises(InputError, match="no label of dipole or dipole_magnitude is known in the training structures"):
        Dipole(DipoleConfig(), 4, [1]).fit(data, None)


def test_an_energy_that_is_counted_exactly_leaves_a_scale_of_one():
    data = structures()
    counts, _ = data.counts()
    _, scale = references_and_scale(labelled(data, energy=counts @ np.array([-13.6, -1030.0, -2040.0])), None)
    assert scale == 1.0


def test_tensors_that_are_counted_exactly_leave_a_scale_of_one():
    data = structures()
    counts, _ = data.counts()
    readout = silent(name="polarizability")
    readout.fit(labelled(data, isotropic_polarizability=counts @ np.abs(OFFSETS)), None)
    assert float(readout.scale) == 1.0


def test_spread():
    values = np.array([1.0, 5.0])
    assert spread(values, values) == 2.0
    assert spread(np.full(5, 1e6), np.full(5, 1e6)) == 1.0
    assert spread(1e-15 * values, values) == 1.0
    assert spread(np.zeros(1), np.zeros(1)) == 1.0


def test_norms_of_vectors_tensors_and_numbers():
    for values, expected in (
        (np.array([[3.0, 4.0], [0.0, 1.0]]), np.sqrt(13.0)),
        (np.full((2, 3, 3), 2.0), 6.0),
        (np.array([1.0, -7.0]), 5.0),
        (np.zeros((4, 3)), 1.0),
    ):
        assert rms_norm(values, values) == pytest.approx(expected)
