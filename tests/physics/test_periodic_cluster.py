"""Crystals under periodic boundaries against open clusters cut from them, with every atom written out.

T interaction blocks carry news over T cutoffs: an atom in the middle of a cluster of that radius cannot tell it from
the crystal. For a force, which is felt by atoms T cutoffs away, the radius is twice that.
"""

import itertools

import ase
import numpy as np
import pytest
import torch
from ase.build import bulk, graphene

from atomlens.model import Model, ModelConfig

CUTOFF = 4.2  # Å; between shells of neighbours in every crystal here, so that rounding moves none across
SCHNET = {"name": "schnet", "features": 6, "cutoff": CUTOFF, "gaussian_spacing": 0.3}


def rocksalt():
    return bulk("NaCl", "rocksalt", a=5.64)


def diamond():
    return bulk("C", "diamond", a=3.567)


def graphite():
    sheet = graphene(a=2.46, vacuum=None)
    positions = np.concatenate([sheet.positions, sheet.positions + np.array([1.23, 1.23 / np.sqrt(3.0), 3.355])])
    return ase.Atoms("C4", positions, cell=[*sheet.cell[:2], [0.0, 0.0, 6.71]], pbc=True)


def distorted(crystal):
    """Sheared cell, displaced atoms: nothing of the symmetry is left."""
    atoms = crystal()
    strain = np.array([[0.03, 0.02, -0.01], [0.0, -0.02, 0.03], [0.02, 0.01, 0.01]])
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    atoms.positions += np.random.default_rng(7).uniform(-0.08, 0.08, atoms.positions.shape)
    return atoms


def cluster(atoms, radius):
    """All atoms within ``radius`` of any atom of the cell, those of the cell first, under open boundaries."""
    cell = atoms.cell.array
    heights = atoms.cell.volume / np.linalg.norm(np.cross(cell[[1, 2, 0]], cell[[2, 0, 1]]), axis=1)
    counts = np.where(atoms.pbc, np.ceil(radius / heights).astype(int) + 1, 0)
    shifts = [shift for shift in itertools.product(*(range(-n, n + 1) for n in counts)) if any(shift)]
    images = (np.array(shifts) @ cell)[:, None] + atoms.positions
    apart = np.linalg.norm(images[:, :, None] - atoms.positions, axis=-1).min(axis=-1)
    near = apart < radius
    numbers = np.broadcast_to(atoms.numbers, near.shape)[near]
    return ase.Atoms(np.concatenate([atoms.numbers, numbers]), np.concatenate([atoms.positions, images[near]]))


def make_model(atoms, **changes):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = Model(ModelConfig.parse({"representation": SCHNET | changes}), sorted(set(atoms.numbers)))
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                torch.nn.init.normal_(parameter, 0.0, 0.3)
    return model.set_precision(torch.float64)


CRYSTALS = [rocksalt, diamond, graphite]


@pytest.mark.parametrize("exact", [True, False], ids=["exact", "tables"])
@pytest.mark.parametrize("aggregation", ["sum", "mean"])
@pytest.mark.parametrize("interactions", [1, 2, 3])
@pytest.mark.parametrize("crystal", CRYSTALS)
def test_atom_energies(crystal, interactions, aggregation, exact):
    atoms = crystal()
    model = make_model(atoms, interactions=interactions, aggregation=aggregation).set_exact_filters(exact)
    assert min(atoms.cell.lengths()) < CUTOFF  # atoms hear their own images
    expected = model.predict(cluster(atoms, interactions * CUTOFF), forces=False)["atom_energies"][: len(atoms)]
    found = model.predict(atoms, forces=False)["atom_energies"]
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("aggregation", ["sum", "mean"])
@pytest.mark.parametrize("crystal", CRYSTALS)
def test_a_smaller_cluster_is_another_thing(crystal, aggregation):
    """What the test above relies on: each block really hears a cutoff farther."""
    atoms = crystal()
    model = make_model(atoms, interactions=2, aggregation=aggregation)
    found = model.predict(atoms, forces=False)["atom_energies"]
    small = model.predict(cluster(atoms, 1.2 * CUTOFF), forces=False)["atom_energies"][: len(atoms)]
    assert np.abs(small - found).max() > 1e-6


@pytest.mark.parametrize("aggregation", ["sum", "mean"])
@pytest.mark.parametrize("crystal", CRYSTALS)
def test_forces_in_a_distorted_cell(crystal, aggregation):
    """Moving an atom with all its images costs each cell what moving it alone costs the crystal."""
    atoms = distorted(crystal)
    model = make_model(atoms, interactions=2, aggregation=aggregation).set_exact_filters()
    found = model.predict(atoms)["forces"]
    expected = model.predict(cluster(atoms, 4 * CUTOFF))["forces"][: len(atoms)]
    assert np.abs(found).max() > 1e-4
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10 * np.abs(found).max())


@pytest.mark.parametrize("pbc", [(True, True, False), (False, False, True)], ids=["sheet", "rod"])
def test_fewer_periodic_directions(pbc):
    atoms = distorted(diamond)
    atoms.pbc = pbc
    model = make_model(atoms, interactions=2).set_exact_filters()
    expected = model.predict(cluster(atoms, 4 * CUTOFF))
    found = model.predict(atoms)
    np.testing.assert_allclose(found["atom_energies"], expected["atom_energies"][:2], rtol=1e-10)
    np.testing.assert_allclose(found["forces"], expected["forces"][:2], rtol=0, atol=1e-12)
