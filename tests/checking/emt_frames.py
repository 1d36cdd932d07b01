"""Data sets with exact labels: ASE's effective medium potential (EMT), whose forces and stress are its derivatives."""

import numpy as np
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.cluster import Icosahedron
from scipy.spatial.transform import Rotation

from atomlens.data.dataset import Dataset


def dataset(frames, labels=("energy", "forces")):
    """The frames, labelled by EMT."""
    made = {"energy": [], "forces": [], "stress": []}
    for atoms in frames:
        atoms.calc = EMT()
        made["energy"].append(atoms.get_potential_energy())
        made["forces"].append(atoms.get_forces())
        if "stress" in labels:
            made["stress"].append(atoms.get_stress(voigt=False))
    values = {"energy": np.array(made["energy"]), "forces": np.concatenate(made["forces"])}
    if "stress" in labels:
        values["stress"] = np.array(made["stress"])
    return Dataset.from_arrays(
        numbers=np.concatenate([atoms.numbers for atoms in frames]),
        positions=np.concatenate([atoms.positions for atoms in frames]),
        n_atoms=np.array([len(atoms) for atoms in frames]),
        labels={name: values[name] for name in labels},
        cell=np.array([atoms.cell.array if atoms.pbc.any() else np.zeros((3, 3)) for atoms in frames]),
        pbc=np.array([atoms.pbc for atoms in frames]),
    )


def turned(atoms, random):
    """The structure turned at random, with its cell if it has one, and shifted."""
    matrix = Rotation.random(random_state=random).as_matrix().T
    made = atoms.copy()
    made.positions = made.positions @ matrix + random.normal(size=3)
    made.cell = made.cell.array @ matrix
    return made


def clusters(count, seed=0, size=0.05):
    """Hot clusters of 13 copper atoms, each turned at random."""
    random = np.random.default_rng(seed)
    start = Icosahedron("Cu", 2)
    start.cell, start.pbc = np.zeros((3, 3)), False
    frames = []
    for _ in range(count):
        atoms = start.copy()
        atoms.positions += random.normal(scale=size, size=atoms.positions.shape)
        frames.append(turned(atoms, random))
    return frames


def ethanols(count, seed=0, size=0.04):
    """Ethanol with displaced atoms, each turned at random."""
    random = np.random.default_rng(seed)
    start = molecule("CH3CH2OH")
    frames = []
    for _ in range(count):
        atoms = start.copy()
        atoms.positions += random.normal(scale=size, size=atoms.positions.shape)
        frames.append(turned(atoms, random))
    return frames


def strained_crystals(count, seed=0, strain=0.02, rattle=0.01):
    """Cells of four copper atoms, strained and sheared at random, each turned at random."""
    random = np.random.default_rng(seed)
    frames = []
    for _ in range(count):
        atoms = bulk("Cu", cubic=True)
        change = random.normal(scale=strain, size=(3, 3))
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.5 * (change + change.T)), scale_atoms=True)
        atoms.positions += random.normal(scale=rattle, size=(4, 3))
        frames.append(turned(atoms, random))
    return frames
