"""Small data sets with labels of several properties, made by simple formulas that a network can learn."""

import numpy as np
from ase.build import bulk
from ase.calculators.lj import LennardJones
from toy import toy_data

from atomlens.data.dataset import Dataset
from atomlens.training import RunConfig

CHARGES = np.array([-0.6, 0.3, 0.3])  # e, of O, H, H


def molecules(count=48, seed=0):
    """Molecules of O, H, H with energies, forces, dipoles of fixed charges, and tensors of stretched bonds."""
    data = toy_data(count, seed)
    frames = data.positions.reshape(-1, 3, 3)
    bonds = frames[:, 1:] - frames[:, :1]
    lengths = np.linalg.norm(bonds, axis=2)
    units = bonds / lengths[:, :, None]
    tensors = np.eye(3) + np.einsum("nb,nba,nbc->nac", 0.5 * lengths, units, units)
    labels = {
        **data.labels,
        "dipole": np.einsum("a,nax->nx", CHARGES, frames),
        "polarizability": tensors,
        "homo": -9.0 + lengths.mean(axis=1),
        "zero_point_energy": 0.5 - 0.1 * lengths.sum(axis=1),
    }
    return Dataset.from_arrays(data.numbers, data.positions, data.n_atoms, labels)


def crystals(count=24, seed=0):
    """Argon-like crystals of one to four atoms, rattled and strained, with energies, forces and stress."""
    rng = np.random.default_rng(seed)
    structures = []
    for place in range(count):
        atoms = bulk("Ar", "fcc", a=4.4, cubic=place % 2 == 0)
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.04 * rng.normal(size=(3, 3))), scale_atoms=True)
        atoms.rattle(0.08, rng=rng)
        atoms.calc = LennardJones(sigma=2.9, epsilon=0.4, rc=5.0, smooth=True)
        structures.append(atoms)
    return Dataset.from_arrays(
        np.concatenate([atoms.numbers for atoms in structures]),
        np.concatenate([atoms.positions for atoms in structures]),
        np.array([len(atoms) for atoms in structures]),
        {
            "energy": np.array([atoms.get_potential_energy() for atoms in structures]),
            "forces": np.concatenate([atoms.get_forces() for atoms in structures]),
            "stress": np.stack([atoms.get_stress(voigt=False) for atoms in structures]),
        },
        cell=np.stack([atoms.cell.array for atoms in structures]),
        pbc=np.ones((count, 3), dtype=bool),
    )


def run_of(readouts=None, **training):
    """A short training of a small SchNet."""
    model = {"representation": {"name": "schnet", "features": 16, "interactions": 2, "cutoff": 4.0}}
    model |= {} if readouts is None else {"readouts": readouts}
    settings = {"epochs": 4, "batch_size": 8, "tensorboard": False, **training}
    return RunConfig.parse({"data": {"path": "toy"}, "model": model, "training": settings})
