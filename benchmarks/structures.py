"""The structures that are timed: real data where a developer has them, otherwise made here."""

from __future__ import annotations

import math
import os
from itertools import cycle, islice
from pathlib import Path

import ase
import numpy as np
from ase.build import bulk, molecule
from ase.collections import g2

from atomlens.data.system import AtomicSystem

SEED = 20
RATTLE = 0.05  # Å, where structures are made
SMALLEST = 8  # atoms, of the g2 molecules that stand in for QM7's
SILICON = 5.43  # Å, lattice constant
PER_CUBE = 8  # atoms in a cubic cell of silicon


def data_folder() -> Path | None:
    """The developers' data, if there."""
    folder = Path(os.environ.get("ATOMLENS_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
    return folder if folder.is_dir() else None


def mixed_molecules(count: int) -> tuple[list[AtomicSystem], str]:
    """Small organic molecules, and where they come from."""
    folder = data_folder()
    if folder is not None:
        arrays = np.load(folder / "qm7.npz")
        ends = np.cumsum(arrays["n_atoms"])
        chosen = np.random.default_rng(SEED).choice(len(ends), count, replace=False)
        slices = [slice(ends[place] - arrays["n_atoms"][place], ends[place]) for place in chosen]
        return [_open(arrays["numbers"][part], arrays["positions"][part]) for part in slices], "QM7"
    large = [atoms for atoms in (molecule(name) for name in g2.names) if len(atoms) >= SMALLEST]
    rng = np.random.default_rng(SEED)
    return [_rattled(atoms, rng) for atoms in islice(cycle(large), count)], "ASE's g2 molecules, rattled"


def ethanol_frames(count: int) -> tuple[list[AtomicSystem], str]:
    """Frames of ethanol, and where they come from."""
    folder, rng = data_folder(), np.random.default_rng(SEED)
    if folder is not None:
        arrays = np.load(folder / "rmd17" / "ethanol.npz")
        chosen = rng.choice(len(arrays["positions"]), count, replace=False)
        return [_open(arrays["numbers"], arrays["positions"][place]) for place in chosen], "rMD17"
    return [_rattled(molecule("CH3CH2OH"), rng) for _ in range(count)], "ethanol, rattled"


def cage() -> tuple[AtomicSystem, str]:
    """The fullerene C20, and where it comes from."""
    folder = data_folder()
    if folder is not None:
        arrays = np.load(folder / "c20" / "c20_geometry.npz")
        return _open(arrays["numbers"], arrays["positions"]), "relaxed geometry"
    atoms = ase.Atoms("C20", dodecahedron(1.45))
    return _rattled(atoms, np.random.default_rng(SEED)), "dodecahedron, rattled"


def dodecahedron(edge: float) -> np.ndarray:
    """Corners of a regular dodecahedron, (20, 3), with edges of that length."""
    golden = (1 + math.sqrt(5)) / 2
    signs = np.array([(a, b) for a in (-1, 1) for b in (-1, 1)], dtype=np.float64)
    cube = np.array([(a, b, c) for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)], dtype=np.float64)
    flat = np.column_stack([np.zeros(4), signs / [[golden, 1 / golden]]])
    corners = np.concatenate([cube, *(np.roll(flat, turn, axis=1) for turn in range(3))])
    return corners * (edge * golden / 2)


def silicon(atoms: int) -> AtomicSystem:
    """A rattled crystal of about so many atoms (see `repeats`)."""
    crystal = bulk("Si", "diamond", a=SILICON, cubic=True).repeat(repeats(atoms))
    return _rattled(crystal, np.random.default_rng(SEED))


def repeats(atoms: int, longest: float = 1.6) -> tuple[int, int, int]:
    """How often to repeat the cubic cell in each direction to come closest to ``atoms``, without growing needle-like.

    Args:
        atoms: wanted.
        longest: bound of the longest edge over the shortest.
    """
    cubes = max(atoms / PER_CUBE, 1.0)
    edge = cubes ** (1 / 3)
    best = (1, 1, 1)
    for a in range(max(1, math.floor(edge / longest)), math.ceil(edge) + 1):
        for b in range(a, math.floor(a * longest) + 1):
            # The third edge that fits best, if the crystal may be so long.
            c = min(max(b, round(cubes / (a * b))), math.floor(a * longest))
            if abs(a * b * c - cubes) < abs(math.prod(best) - cubes):
                best = (a, b, c)
    return best


def velocities(system: AtomicSystem, kelvin: float) -> np.ndarray:
    """Thermal velocities without drift, (atoms, 3) in ASE's units."""
    masses = system.to_ase().get_masses()[:, None]
    drawn = np.random.default_rng(SEED).normal(size=system.positions.shape)
    drawn *= np.sqrt(ase.units.kB * kelvin / masses)
    return np.asarray(drawn - (masses * drawn).sum(axis=0) / masses.sum())


def _open(numbers: np.ndarray, positions: np.ndarray) -> AtomicSystem:
    return AtomicSystem(
        numbers.astype(np.int64), positions.astype(np.float64), np.zeros((3, 3)), np.zeros(3, dtype=bool)
    )


def _rattled(atoms: ase.Atoms, rng: np.random.Generator) -> AtomicSystem:
    moved = atoms.copy()
    moved.positions += rng.normal(scale=RATTLE, size=moved.positions.shape)
    return AtomicSystem.from_ase(moved)
