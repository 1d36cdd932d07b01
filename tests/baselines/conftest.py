"""Small data sets that descriptors and regressions are tried on."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from small_sets import NAMES, dataset, pair_energy


@pytest.fixture(scope="session")
def molecules():
    """Shaken molecules with energies, 240 of twelve kinds."""
    random = np.random.default_rng(0)
    systems = []
    for place in range(240):
        atoms = molecule(NAMES[place % len(NAMES)])
        atoms.positions += 0.05 * random.normal(size=atoms.positions.shape)
        systems.append(atoms)
    return dataset(systems, {"energy": np.array([pair_energy(atoms) for atoms in systems])})


@pytest.fixture(scope="session")
def crystals():
    """Rock salts and simple metals of several lattice constants, with a made-up formation energy."""
    systems = []
    for scale in np.linspace(0.95, 1.05, 12):
        systems += [
            bulk("NaCl", "rocksalt", 5.64 * scale, cubic=True),
            bulk("MgO", "rocksalt", 4.21 * scale),
            bulk("Cu", "fcc", 3.61 * scale),
            bulk("Si", "diamond", 5.43 * scale),
        ]
    density = np.array([len(atoms) / atoms.get_volume() for atoms in systems])
    charge = np.array([atoms.numbers.mean() for atoms in systems])
    return dataset(systems, {"formation_energy": 10.0 * density - 0.05 * charge})


@pytest.fixture(scope="session")
def frames():
    """Frames of water whose bonds are springs, with energies and forces."""
    rest = molecule("H2O")
    random = np.random.default_rng(0)
    positions = rest.positions + 0.05 * random.normal(size=(60, 3, 3))
    apart = positions[:, 1:] - positions[:, :1]
    lengths = np.linalg.norm(apart, axis=2, keepdims=True)
    pull = 26.0 * (lengths - 0.96) * apart / lengths
    forces = np.concatenate([pull.sum(axis=1, keepdims=True), -pull], axis=1)
    energies = 13.0 * np.square(lengths - 0.96).sum(axis=(1, 2)) - 2080.0
    systems = [Atoms(rest.numbers, frame) for frame in positions]
    return dataset(systems, {"energy": energies, "forces": forces.reshape(-1, 3)})
