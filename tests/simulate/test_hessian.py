"""Hessians by automatic differentiation, against finite differences and what symmetry demands."""

from functools import cache
from importlib import import_module

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from atomlens.errors import InputError
from atomlens.model import Model, ModelConfig
from atomlens.simulate.vibrations.hessian import against_differences, curvature, hessian

module = import_module("atomlens.simulate.vibrations.hessian")  # the package has a function of that name
NAMES = ("schnet", "dtnn", "behler_parrinello")


@cache
def made(name, exact=False):
    torch.manual_seed(0)
    config = {"representation": {"name": name}}
    if name == "schnet":
        config["representation"] |= {"features": 16, "interactions": 2}
    model = Model(ModelConfig.parse(config), [1, 6, 8, 14]).set_precision(torch.float64)
    return model.set_exact_filters() if exact and name != "behler_parrinello" else model


@pytest.fixture
def methanol():
    atoms = molecule("CH3OH")
    atoms.rattle(0.05, seed=0)
    return atoms


def silicon():
    atoms = bulk("Si", cubic=True)
    atoms.rattle(0.05, seed=0)
    return atoms


def turned(atoms, seed=0):
    """A random proper rotation and the structure under it."""
    rotation = np.linalg.qr(np.random.default_rng(seed).standard_normal((3, 3)))[0]
    rotation *= np.sign(np.linalg.det(rotation))
    other = atoms.copy()
    other.positions = atoms.positions @ rotation.T
    other.cell = atoms.cell.array @ rotation.T
    return rotation, other


def forces(model, atoms, step):
    moved = atoms.copy()
    moved.positions += step.reshape(-1, 3)
    return model.predict(moved, stress=False)["forces"].ravel()


@pytest.mark.parametrize(
    ("name", "periodic"),  # without a cutoff, DTNN takes open structures only
    [("schnet", False), ("schnet", True), ("dtnn", False), ("behler_parrinello", False), ("behler_parrinello", True)],
)
def test_central_differences_converge_to_it_with_order_two(name, periodic, methanol):
    """Exact filters, for the third derivatives of splines jump at knots."""
    model, atoms = made(name, exact=True), silicon() if periodic else methanol
    found = hessian(model, atoms)
    direction = np.random.default_rng(1).standard_normal(len(found))
    direction /= np.linalg.norm(direction)
    product, steps, errors = found @ direction, np.array([4e-2, 2e-2, 1e-2, 5e-3]), []
    for step in steps:
        slope = (forces(model, atoms, -step * direction) - forces(model, atoms, step * direction)) / (2.0 * step)
        errors.append(np.linalg.norm(slope - product))
    order = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert order == pytest.approx(2.0, abs=0.1)
    assert errors[-1] < 2e-3 * np.linalg.norm(product)


@pytest.mark.parametrize("name", NAMES)
def test_through_the_fast_kernels(name, methanol):
    """As models are used: tables, whose Hessian is that of the table and near that of the functions."""
    found = hessian(made(name), methanol)
    assert np.abs(found).max() > 1e-3
    assert against_differences(made(name), methanol, found) < 1e-6
    np.testing.assert_allclose(found, hessian(made(name, exact=True), methanol), atol=2e-3 * np.abs(found).max())


@pytest.mark.parametrize("name", NAMES)
def test_symmetric_and_blind_to_translations(name, methanol):
    found = curvature(made(name), methanol)
    size = np.abs(found.hessian).max()
    np.testing.assert_array_equal(found.hessian, found.hessian.T)
    assert found.asymmetry < 1e-12 * max(size, 1.0)
    assert found.sum_rule < 1e-12 * max(size, 1.0)
    np.testing.assert_allclose(found.forces, made(name).predict(methanol)["forces"], atol=1e-12)
    assert found.max_force == np.linalg.norm(found.forces, axis=1).max()


@pytest.mark.parametrize("name", NAMES)
def test_rotations_of_the_structure_rotate_it(name, methanol):
    rotation, other = turned(methanol)
    turn = np.kron(np.eye(len(methanol)), rotation)
    found = hessian(made(name), methanol)
    np.testing.assert_allclose(hessian(made(name), other), turn @ found @ turn.T, atol=1e-11)


@pytest.mark.parametrize("name", NAMES)
def test_permuted_atoms_permute_it(name, methanol):
    order = np.random.default_rng(0).permutation(len(methanol))
    rows = (3 * order[:, None] + np.arange(3)).ravel()
    found = hessian(made(name), methanol)
    np.testing.assert_allclose(hessian(made(name), methanol[order]), found[np.ix_(rows, rows)], atol=1e-12)


def test_images_move_with_their_atoms():
    """Summed over the cells of a supercell, its Hessian is that of the cell, with all its images within the cutoff."""
    small = silicon()
    large = small * (2, 1, 1)
    atoms = len(small)
    parts = hessian(made("schnet"), large).reshape(2, 3 * atoms, 2, 3 * atoms)
    np.testing.assert_allclose(parts[0].sum(axis=1), hessian(made("schnet"), small), atol=1e-12)


@pytest.mark.parametrize("count", [1, 2, 5, 18])
def test_however_many_rows_are_computed_at_once(count, methanol, monkeypatch):
    expected = hessian(made("schnet"), methanol)
    monkeypatch.setattr(module, "_copies_worthwhile", lambda *_: count)
    np.testing.assert_allclose(hessian(made("schnet"), methanol), expected, atol=1e-13)


def test_memory_is_bounded(methanol, monkeypatch):
    model = made("schnet")
    batch = model.collate([methanol])
    each = model.bytes_needed(len(methanol), len(batch.pairs.centre))
    for room, count in ((0.5, 1), (2.5, 2), (1e9, 6)):  # 18 rows in three passes of six, not 8, 8 and 2
        monkeypatch.setattr(module, "_CACHE_BYTES", room * each)
        assert module._copies_worthwhile(model, batch) == count


def test_single_precision_is_evaluated_in_double(methanol):
    torch.manual_seed(0)
    single = Model(ModelConfig(), [1, 6, 8])
    weights = {name: value.clone() for name, value in single.state_dict().items() if torch.is_tensor(value)}
    found = hessian(single, methanol)
    assert single.dtype == torch.float32
    assert all(parameter.requires_grad for parameter in single.parameters())
    for name, value in weights.items():  # NaN where a reference energy is not known
        torch.testing.assert_close(single.state_dict()[name], value, rtol=0.0, atol=0.0, equal_nan=True)
    np.testing.assert_array_equal(found, hessian(single.set_precision(torch.float64), methanol))


@pytest.mark.parametrize("atoms", [Atoms("H"), Atoms("H2", [[0, 0, 0], [0, 0, 9.0]])])
def test_atoms_that_hear_nobody_have_no_curvature(atoms):
    assert not hessian(made("schnet"), atoms).any()
    assert against_differences(made("schnet"), atoms, np.zeros((3 * len(atoms), 3 * len(atoms)))) == 0.0


def test_where_gradients_are_switched_off(methanol):
    expected = hessian(made("schnet"), methanol)
    with torch.no_grad():
        np.testing.assert_array_equal(hessian(made("schnet"), methanol), expected)


def test_differences_see_what_is_wrong(methanol):
    found = hessian(made("schnet"), methanol)
    assert against_differences(made("schnet"), methanol, 1.01 * found) == pytest.approx(0.01 / 1.01, rel=1e-3)
    assert against_differences(made("schnet"), methanol, np.zeros_like(found)) == 1.0


def test_what_has_no_hessian_is_refused(methanol, monkeypatch):
    config = {"readouts": [{"name": "dipole"}]}
    with pytest.raises(InputError, match="does not predict energies"):
        hessian(Model(ModelConfig.parse(config), [1, 6, 8]), methanol)
    with pytest.raises(InputError, match="Cu is an element that the model never saw"):
        hessian(made("schnet"), bulk("Cu"))
    monkeypatch.setattr(module, "MOST_ATOMS", 5)
    with pytest.raises(InputError, match="has 6 atoms, and its Hessian would take"):
        hessian(made("schnet"), methanol)
