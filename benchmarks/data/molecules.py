"""Made-up molecules of QM9's sizes, for a benchmark that needs their numbers and not their chemistry."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from atomlens.data.dataset import Dataset
from atomlens.data.growing import GrowingArray

SMALLEST, LARGEST = 9, 29  # atoms
_SITES = np.argwhere(np.ones((4, 4, 4))) * 1.45  # Å
_CHUNK = 20_000  # structures made at a time


def molecules(count: int, seed: int) -> Dataset:
    """Molecules with an energy (eV) and forces (eV/Å)."""
    random = np.random.default_rng(seed)
    sizes = np.clip(np.rint(random.normal(18.0, 3.0, count)), SMALLEST, LARGEST).astype(np.int64)
    atoms = int(sizes.sum())
    # The sites nearest to a corner of a lattice, shaken so little that atoms stay apart.
    sites = _SITES[np.argsort(np.linalg.norm(_SITES, axis=1), kind="stable")]
    place = np.arange(atoms) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    shaken = np.clip(random.normal(0.0, 0.1, (atoms, 3)), -0.3, 0.3)
    return Dataset.from_arrays(
        random.choice([1, 6, 7, 8], atoms, p=[0.51, 0.35, 0.06, 0.08]),
        sites[place] + shaken,
        sizes,
        {"energy": random.normal(-11_000.0, 1_000.0, count), "forces": random.normal(0.0, 1.0, (atoms, 3))},
        metadata={"level": "made up"},
    )


def chunks(count: int, seed: int) -> Iterator[Dataset]:
    """As many molecules as wanted, some at a time."""
    for number, start in enumerate(range(0, count, _CHUNK)):
        yield molecules(min(_CHUNK, count - start), seed + number)


def write_archive(path: Path, count: int, seed: int) -> None:
    """Write a numpy archive of many molecules in little memory."""
    wide, whole = np.dtype(np.float64), np.dtype(np.int64)
    kinds = {"n_atoms": (whole, ()), "numbers": (whole, ()), "positions": (wide, (3,))}
    kinds |= {"energy": (wide, ()), "forces": (wide, (3,))}
    files = {name: GrowingArray(path.with_name(f"{name}.npy"), *kind) for name, kind in kinds.items()}
    for piece in chunks(count, seed):
        columns = {"n_atoms": piece.n_atoms, "numbers": piece.numbers, "positions": piece.positions, **piece.labels}
        for name, file in files.items():
            file.append(columns[name])
    with zipfile.ZipFile(path, "w") as archive:
        for name, file in files.items():
            file.finish()
            archive.write(file.path, f"{name}.npy")
            file.path.unlink()
        units = path.with_name("units.npy")
        np.save(units, np.array('{"energy": "eV", "forces": "eV/Ang"}'))
        archive.write(units, "units.npy")
        units.unlink()
