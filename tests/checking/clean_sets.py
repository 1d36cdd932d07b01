"""Sets without a fault: hot frames of ethanol on springs, small molecules with energies of bonds, crystals."""

from dataclasses import replace

import numpy as np
from ase import units
from ase.build import bulk, molecule
from ase.collections import g2

from atomlens.data.bonds import bonded_pairs
from atomlens.data.dataset import Dataset, Origin

# B3LYP/6-31G(2df,p), in Ha, from the free-atom references of QM9.
FREE_ATOMS = {1: -0.500273, 6: -37.846772, 7: -54.583861, 8: -75.064579, 9: -99.718730}
BOND = 4.0  # eV, of each bond


def springs(numbers, positions):
    """Pairs, lengths at rest and stiffnesses: textbook bonds, softer 1-3 distances, soft everything else."""
    first, second = np.triu_indices(len(numbers), k=1)
    rest = np.linalg.norm(positions[first] - positions[second], axis=1)
    bonds = {tuple(pair) for pair in bonded_pairs(numbers, positions).tolist()}
    bonded = np.array([(a, b) in bonds for a, b in zip(first.tolist(), second.tolist(), strict=True)])
    hydrogen = (numbers[first] == 1) | (numbers[second] == 1)
    stiffness = np.where(bonded, np.where(hydrogen, 31.0, 27.0), np.where(rest < 2.7, 4.0, 0.5))
    return first, second, rest, stiffness


def energy_and_forces(spring, positions):
    """Of springs between atoms, in eV and eV/Å."""
    first, second, rest, stiffness = spring
    along = positions[first] - positions[second]
    length = np.linalg.norm(along, axis=1)
    pull = (-stiffness * (length - rest) / length)[:, None] * along
    forces = np.zeros_like(positions)
    np.add.at(forces, first, pull)
    np.add.at(forces, second, -pull)
    return 0.5 * float(stiffness @ (length - rest) ** 2), forces


def hot_ethanol(frames=400, kelvin=500.0, seed=0):
    """Frames drawn from the harmonic ensemble of ethanol on springs, with energies of all electrons and forces."""
    atoms = molecule("CH3CH2OH")
    numbers, positions = atoms.numbers.astype(np.int64), atoms.positions
    spring = springs(numbers, positions)
    size, step = positions.size, 1e-4
    hessian = np.zeros((size, size))
    for place in range(size):
        moved = positions.ravel().copy()
        moved[place] += step
        hessian[place] = -energy_and_forces(spring, moved.reshape(-1, 3))[1].ravel() / step
    values, modes = np.linalg.eigh(0.5 * (hessian + hessian.T))
    inner = values > 1e-2
    rng = np.random.default_rng(seed)
    spread = np.sqrt(units.kB * kelvin / values[inner])
    steps = (rng.normal(size=(frames, inner.sum())) * spread) @ modes[:, inner].T
    places = positions + steps.reshape(frames, -1, 3)
    base = units.Hartree * sum(FREE_ATOMS[z] for z in numbers.tolist()) - 8 * BOND
    labelled = [energy_and_forces(spring, place) for place in places]
    return Dataset.from_arrays(
        np.tile(numbers, frames),
        places.reshape(-1, 3),
        np.full(frames, len(numbers)),
        {
            "energy": base + np.array([energy for energy, _ in labelled]),
            "forces": np.concatenate([forces for _, forces in labelled]),
        },
    )


def small_molecules(copies=3, total=True, seed=0):
    """Molecules of H, C, N, O and F from ASE's G2 set, slightly distorted, with energies of atoms and bonds.

    ``total``: of all electrons; else from free atoms.
    """
    rng = np.random.default_rng(seed)
    systems, energies = [], []
    for name in sorted(g2.names):
        atoms = molecule(name)
        if len(atoms) < 3 or not set(atoms.numbers) <= set(FREE_ATOMS) or atoms.numbers.sum() % 2:
            continue
        bonds = len(bonded_pairs(atoms.numbers, atoms.positions))
        free = units.Hartree * sum(FREE_ATOMS[int(z)] for z in atoms.numbers) if total else 0.0
        for _ in range(copies):
            moved = atoms.copy()
            moved.positions += rng.normal(scale=0.04, size=moved.positions.shape)
            systems.append(moved)
            energies.append(free - BOND * bonds + rng.normal(scale=0.1))
    return of_atoms(systems, {"energy": np.array(energies)})


def crystals(seed=0, frames=40):
    """Rattled crystals of copper, silicon and rock salt with energies per formula."""
    rng = np.random.default_rng(seed)
    systems, energies = [], []
    for name, structure, a, energy in (
        ("Cu", "fcc", 3.61, -3.7),
        ("Si", "diamond", 5.43, -5.4),
        ("NaCl", "rocksalt", 5.64, -3.4),
    ):
        for _ in range(frames):
            atoms = bulk(name, structure, a=a * (1 + rng.normal(scale=0.01)), cubic=True)
            atoms.rattle(0.05, seed=int(rng.integers(1 << 30)))
            systems.append(atoms)
            energies.append(energy * len(atoms) + rng.normal(scale=0.02 * len(atoms)))
    return of_atoms(systems, {"energy": np.array(energies)})


def of_atoms(systems, labels):
    """A data set of ASE structures."""
    return Dataset.from_arrays(
        np.concatenate([atoms.numbers for atoms in systems]),
        np.concatenate([atoms.positions for atoms in systems]),
        np.array([len(atoms) for atoms in systems]),
        labels,
        cell=np.array([atoms.cell.array for atoms in systems]),
        pbc=np.array([atoms.pbc for atoms in systems]),
    )


def in_file(data, start=1000):
    """The same set as part of a file, so that its structures have other numbers there."""
    return replace(data, origin=Origin("part.xyz", places=np.arange(start, start + len(data))))


def with_label(data, **labels):
    """The same structures with other labels."""
    return replace(data, labels={**data.labels, **labels})


def scaled(data, factor, structures=None):
    """Positions and cells of all or some structures times a factor."""
    chosen = np.ones(len(data), dtype=bool) if structures is None else np.isin(np.arange(len(data)), structures)
    atoms = np.repeat(chosen, data.n_atoms)
    return replace(
        data,
        positions=np.where(atoms[:, None], factor * data.positions, data.positions),
        cell=np.where(chosen[:, None, None], factor * data.cell, data.cell),
    )
