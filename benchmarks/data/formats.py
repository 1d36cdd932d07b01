"""Those that are compared: each writes molecules its own way, and gives the same of them back."""

from __future__ import annotations

import platform
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import ase
import ase.db
import numpy as np
import torch
from ase.calculators.singlepoint import SinglePointCalculator
from torch import Tensor

from atomlens.data.batch import Batch, collate
from atomlens.data.batching import BatchSource
from atomlens.data.dataset import Dataset
from atomlens.data.store import read_store, write_store
from atomlens.data.system import AtomicSystem

CUTOFF = 5.0  # Å
Molecule = tuple[np.ndarray, np.ndarray, float, np.ndarray]  # numbers, positions / Å, energy / eV, forces / eV/Å
Arrays = tuple[
    np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray
]  # the same end to end, numbers of atoms first


class Reader(Protocol):
    """An open data set."""

    def one(self, index: int) -> Molecule:
        """One molecule with its labels."""

    def gather(self, rows: np.ndarray) -> Arrays:
        """Molecules end to end, with their labels."""

    def batch(self, rows: np.ndarray) -> tuple[Batch, dict[str, Tensor]]:
        """What a network is trained on: molecules, labels, and pairs within `CUTOFF`."""


@dataclass(frozen=True)
class Format:
    """One way to keep molecules."""

    key: str
    title: str
    write: Callable[[Dataset, Path], None]
    read: Callable[[Path], Reader]
    versions: Callable[[], dict[str, str]]


class StoreReader:
    """atomlens' store, mapped; its pairs are searched once and kept."""

    def __init__(self, path: Path) -> None:
        self._data = read_store(path)

    def one(self, index: int) -> Molecule:
        """One molecule with its labels."""
        data, system = self._data, self._data[index]
        atoms = slice(data.offsets[index], data.offsets[index + 1])
        return system.numbers, system.positions, float(data.labels["energy"][index]), data.labels["forces"][atoms]

    def gather(self, rows: np.ndarray) -> Arrays:
        """Molecules end to end, with their labels."""
        some = self._data.subset(rows)
        return some.n_atoms, some.numbers, some.positions, some.labels["energy"], some.labels["forces"]

    @cached_property
    def _source(self) -> BatchSource:
        return BatchSource(self._data, CUTOFF, ["energy", "forces"])

    def batch(self, rows: np.ndarray) -> tuple[Batch, dict[str, Tensor]]:
        """Molecules, labels and pairs."""
        return self._source.batch(rows)


class OneByOne:
    """A reader of single molecules: they are laid end to end here, and their pairs searched whenever they are read."""

    def __init__(self, one: Callable[[int], Molecule]) -> None:
        self.one = one

    def gather(self, rows: np.ndarray) -> Arrays:
        """Molecules end to end, with their labels."""
        numbers, positions, energies, forces = zip(*(self.one(int(row)) for row in rows), strict=True)
        sizes = np.array([len(some) for some in numbers])
        return (
            sizes,
            np.concatenate(numbers),
            np.concatenate(positions),
            np.array(energies),
            np.concatenate(forces),
        )

    def batch(self, rows: np.ndarray) -> tuple[Batch, dict[str, Tensor]]:
        """Molecules, labels and pairs."""
        found = [self.one(int(row)) for row in rows]
        flat, open_ones = np.zeros((3, 3)), np.zeros(3, dtype=bool)
        systems = [AtomicSystem(np.asarray(entry[0], dtype=np.int64), entry[1], flat, open_ones) for entry in found]
        targets = {
            "energy": torch.tensor([entry[2] for entry in found], dtype=torch.float64),
            "forces": torch.from_numpy(np.concatenate([entry[3] for entry in found])),
        }
        return collate(systems, CUTOFF), targets


def _write_database(data: Dataset, path: Path) -> None:
    with ase.db.connect(path, append=False) as database:  # one transaction for all
        for index, system in enumerate(data):
            atoms = system.to_ase()
            rows = slice(data.offsets[index], data.offsets[index + 1])
            energy, forces = float(data.labels["energy"][index]), data.labels["forces"][rows]
            atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
            database.write(atoms)


def _read_database(path: Path) -> Reader:
    database = ase.db.connect(path)

    def one(index: int) -> Molecule:
        row = database.get(id=index + 1)  # without an Atoms object, which would take longer
        return row.numbers, row.positions, row.energy, row.forces

    return OneByOne(one)


def _write_groups(data: Dataset, path: Path) -> None:
    import h5py

    with h5py.File(path, "w", libver="latest") as file:
        for index in range(len(data)):
            rows = slice(data.offsets[index], data.offsets[index + 1])
            group = file.create_group(str(index))
            group["numbers"] = data.numbers[rows]
            group["positions"] = data.positions[rows]
            group["forces"] = data.labels["forces"][rows]
            group.attrs["energy"] = data.labels["energy"][index]


def _read_groups(path: Path) -> Reader:
    import h5py

    file = h5py.File(path, "r")

    def one(index: int) -> Molecule:
        group = file[str(index)]
        return group["numbers"][()], group["positions"][()], float(group.attrs["energy"]), group["forces"][()]

    return OneByOne(one)


def _write_flat(data: Dataset, path: Path) -> None:
    import h5py

    with h5py.File(path, "w", libver="latest") as file:
        file["offsets"], file["numbers"], file["positions"] = data.offsets, data.numbers, data.positions
        file["energy"], file["forces"] = data.labels["energy"], data.labels["forces"]


def _read_flat(path: Path) -> Reader:
    import h5py

    file = h5py.File(path, "r")
    offsets, energy = file["offsets"][()], file["energy"][()]  # small enough to be held
    numbers, positions, forces = file["numbers"], file["positions"], file["forces"]

    def one(index: int) -> Molecule:
        rows = slice(offsets[index], offsets[index + 1])
        return numbers[rows], positions[rows], float(energy[index]), forces[rows]

    return OneByOne(one)


def _hdf5() -> dict[str, str]:
    import h5py

    return {"h5py": h5py.__version__, "HDF5": h5py.version.hdf5_version}


OURS, DATABASE = "store", "ase"
FORMATS: Sequence[Format] = (
    Format(OURS, "atomlens store", write_store, StoreReader, lambda: {"atomlens": version("atomlens")}),
    Format(
        DATABASE,
        "ASE database (SQLite)",
        _write_database,
        _read_database,
        lambda: {"ase": ase.__version__, "sqlite": sqlite3.sqlite_version},
    ),
    Format("groups", "HDF5, a group each", _write_groups, _read_groups, _hdf5),
    Format("flat", "HDF5, flat arrays", _write_flat, _read_flat, _hdf5),
)
TITLES = {entry.key: entry.title for entry in FORMATS}


def versions(entry: Format) -> dict[str, str]:
    """Of the interpreter and the libraries that take part.

    Raises:
        ImportError: a library is not installed.
    """
    return {"python": platform.python_version(), "numpy": np.__version__, **entry.versions()}


def size_on_disk(path: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def same(first: Sequence[Any], second: Sequence[Any]) -> bool:
    """Whether two readers gave the same, to the last bit."""
    return all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in zip(first, second, strict=True))
