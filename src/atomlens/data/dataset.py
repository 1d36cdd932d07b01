"""Many labelled structures in flat arrays, in memory or mapped from disk."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from atomlens.data.quantities import quantity
from atomlens.data.system import MAX_ATOMIC_NUMBER, AtomicSystem, check_structure
from atomlens.errors import InputError

_ROWS_PER_BLOCK = 1 << 16


@dataclass(frozen=True)
class Origin:
    """Where a data set came from, so that a message can name the place in the user's file."""

    file: str | None = None
    places: np.ndarray | None = None  # (structures,) position of each structure in the file; None: as they stand
    unread: tuple[str, ...] = ()  # keys of the file that were not taken over as labels


@dataclass(frozen=True)
class Column:
    """Numbers of a file that label nothing yet: identifiers, other levels of theory, energies of other definitions.

    Naming a column's key makes it a label, as in ``energy=U``; its unit is then converted.
    """

    values: np.ndarray  # one row per structure or atom, float64 or int64; NaN where not known
    per: Literal["system", "atom"]
    unit: str | None = None  # of the values as they stand; None: not stated, or an identifier
    meaning: str = ""


@dataclass(frozen=True)
class Dataset:
    """Structures end to end with their labels, in internal units (eV, Å, e).

    ``labels`` maps a name of `atomlens.data.quantities` to an array with one row per structure or per atom; NaN marks a
    label that is not known. ``columns`` holds by key whatever else the file says. The column ``frame``, where there is
    one, is the place of a structure in time along its trajectory, and ``trajectory`` the trajectory's number.
    """

    numbers: np.ndarray  # (atoms,) int64
    positions: np.ndarray  # (atoms, 3) Å float64
    offsets: np.ndarray  # (structures + 1,) int64, where each structure starts
    cell: np.ndarray  # (structures, 3, 3) Å
    pbc: np.ndarray  # (structures, 3) bool
    charge: np.ndarray  # (structures,) e
    labels: Mapping[str, np.ndarray]
    metadata: Mapping[str, Any] = field(default_factory=dict)  # provenance: source, level of theory, seed, ...
    origin: Origin = field(default_factory=Origin)
    columns: Mapping[str, Column] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> AtomicSystem:
        if not -len(self) <= index < len(self):
            raise IndexError(f"structure {index} of {len(self)}")
        index %= len(self)
        atoms = slice(self.offsets[index], self.offsets[index + 1])
        return AtomicSystem(
            numbers=np.asarray(self.numbers[atoms]),
            positions=np.asarray(self.positions[atoms]),
            cell=np.asarray(self.cell[index]),
            pbc=np.asarray(self.pbc[index]),
            charge=float(self.charge[index]),
        )

    def __iter__(self) -> Iterator[AtomicSystem]:
        return (self[index] for index in range(len(self)))

    @classmethod
    def from_arrays(
        cls,
        numbers: np.ndarray,
        positions: np.ndarray,
        n_atoms: np.ndarray,
        labels: Mapping[str, np.ndarray],
        *,
        cell: np.ndarray | None = None,
        pbc: np.ndarray | None = None,
        charge: np.ndarray | None = None,
        metadata: Mapping[str, Any] | None = None,
        origin: Origin | None = None,
        columns: Mapping[str, Column] | None = None,
    ) -> Dataset:
        """Build from flat arrays (shapes as in the class, ``n_atoms`` one count per structure) and check every one.

        Raises:
            InputError: a structure is impossible, a label is infinite or of the wrong shape, or a column has not one
                row per structure or atom.
        """
        count = len(n_atoms)
        if count == 0:
            raise InputError("holds no structures; give at least one")
        made = cls(
            numbers=np.ascontiguousarray(numbers, dtype=np.int64),
            positions=np.ascontiguousarray(positions, dtype=np.float64),
            offsets=np.concatenate([[0], np.cumsum(n_atoms)]).astype(np.int64),
            cell=np.zeros((count, 3, 3)) if cell is None else np.ascontiguousarray(cell, dtype=np.float64),
            pbc=np.zeros((count, 3), dtype=bool) if pbc is None else np.ascontiguousarray(pbc, dtype=bool),
            charge=np.zeros(count) if charge is None else np.ascontiguousarray(charge, dtype=np.float64),
            labels={name: np.ascontiguousarray(values, dtype=np.float64) for name, values in labels.items()},
            metadata=dict(metadata or {}),
            origin=origin or Origin(),
            columns=dict(columns or {}),
        )
        made.check()
        return made

    def check(self) -> None:
        """Check every structure and the shape of every label.

        Raises:
            InputError: names the first structure that is impossible, or the label that is wrong.
        """
        _check_shapes(self)
        for name, values in self.labels.items():
            _check_label(name, values, self)
        for key, column in self.columns.items():
            rows = len(self) if column.per == "system" else len(self.numbers)
            if len(column.values) != rows:
                raise InputError(f"'{key}' has {len(column.values)} rows where {rows} are needed; repair the file")
        for index in _suspects(self):
            atoms = slice(self.offsets[index], self.offsets[index + 1])
            try:
                check_structure(self.numbers[atoms], self.positions[atoms], self.cell[index], self.pbc[index])
            except InputError as error:
                raise self.located(error, int(index)) from None

    def located(self, error: InputError, index: int) -> InputError:
        """The same error with the place of structure ``index``: the file, if known, and its number there."""
        places = self.origin.places
        return error.at(file=self.origin.file, structure=index if places is None else int(places[index]))

    def require(self, name: str) -> np.ndarray:
        """The labels of a quantity that every structure must have.

        Raises:
            InputError: it is absent, or not known for some structure.
        """
        values = self.label(name)
        missing = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))
        if len(missing):
            raise _at_row(
                f"the label '{name}' is missing or not finite; leave the structure out", name, missing[0], self
            )
        return values

    def label(self, name: str) -> np.ndarray:
        """The labels of a quantity, NaN where they are not known.

        Raises:
            InputError: it has none.
        """
        if name not in self.labels:
            raise InputError(self._why_absent(name), file=self.origin.file)
        return self.labels[name]

    def known(self, names: Sequence[str]) -> np.ndarray:
        """(structures,) bool: where a label of one of these quantities is known, for every atom if it is of atoms."""
        found = np.zeros(len(self), dtype=bool)
        for name in names:
            if name not in self.labels:
                continue
            values = self.labels[name]
            rows = np.isfinite(values.reshape(len(values), -1)).all(axis=1)
            found |= rows if quantity(name).per == "system" else np.logical_and.reduceat(rows, self.offsets[:-1])
        return found

    def _why_absent(self, name: str) -> str:
        have = ", ".join(self.labels) or "none"
        if not self.origin.unread:
            return f"has no label '{name}' (it has: {have}); name its key and unit, or train without it"
        unread = ", ".join(self.origin.unread)
        return (
            f"has no label '{name}' (it has: {have}; not taken over: {unread}); name its key and unit, "
            f"as in --label {name}=KEY:{quantity(name).unit}"
        )

    @property
    def n_atoms(self) -> np.ndarray:
        """(structures,) number of atoms."""
        return np.diff(self.offsets)

    @cached_property
    def elements(self) -> list[int]:
        """Atomic numbers that occur, in rising order."""
        return [int(number) for number in np.unique(self.numbers)]

    @cached_property
    def hash(self) -> str:
        """SHA-256 over structures and labels: the same content has the same hash, wherever it is stored.

        Columns do not count: they change nothing that is learned.
        """
        return _digest(self._structure_arrays() | {f"labels.{key}": self.labels[key] for key in sorted(self.labels)})

    @cached_property
    def structure_hash(self) -> str:
        """SHA-256 over the structures alone, whatever labels were chosen; a split belongs to these."""
        return _digest(self._structure_arrays())

    def _structure_arrays(self) -> dict[str, np.ndarray]:
        return {name: getattr(self, name) for name in ("numbers", "positions", "offsets", "cell", "pbc", "charge")}

    def counts(self) -> tuple[np.ndarray, list[int]]:
        """How many atoms of each element a structure has: (structures, elements), and the elements."""
        column = np.searchsorted(self.elements, self.numbers)
        table = np.zeros((len(self), len(self.elements)))
        np.add.at(table, (np.repeat(np.arange(len(self)), self.n_atoms), column), 1.0)
        return table, self.elements

    def table(self) -> dict[str, np.ndarray]:
        """What there is one number of per structure, by headings such as ``energy [eV]``; see `scalar_table`."""
        from atomlens.data.table import scalar_table

        return scalar_table(self)

    def subset(self, indices: np.ndarray) -> Dataset:
        """The structures at ``indices`` (whole numbers from 0, or a mask), in that order, in memory.

        Raises:
            IndexError: there is no structure at an index.
        """
        indices = np.asarray(indices)
        indices = np.flatnonzero(indices) if indices.dtype == bool else indices.astype(np.int64)
        if len(indices) and not 0 <= indices.min() <= indices.max() < len(self):
            raise IndexError(f"structures {indices.min()} to {indices.max()} of {len(self)}")
        rows = ranges(self.offsets, indices)
        return Dataset(
            numbers=self.numbers[rows],
            positions=self.positions[rows],
            offsets=np.concatenate([[0], np.cumsum(self.n_atoms[indices])]).astype(np.int64),
            cell=self.cell[indices],
            pbc=self.pbc[indices],
            charge=self.charge[indices],
            labels={name: v[rows if quantity(name).per == "atom" else indices] for name, v in self.labels.items()},
            columns={
                key: replace(entry, values=entry.values[rows if entry.per == "atom" else indices])
                for key, entry in self.columns.items()
            },
            metadata=self.metadata,
            origin=replace(self.origin, places=indices if self.origin.places is None else self.origin.places[indices]),
        )


def _check_shapes(data: Dataset) -> None:
    """Refuse arrays that do not describe the same atoms and structures."""
    structures, atoms = len(data), len(data.numbers)
    if data.offsets[0] != 0 or data.offsets[-1] != atoms or (np.diff(data.offsets) < 0).any():
        raise InputError(f"the numbers of atoms add up to {data.offsets[-1]}, but there are {atoms}; repair the file")
    needed = {"numbers": (atoms,), "positions": (atoms, 3), "cell": (structures, 3, 3), "pbc": (structures, 3)}
    for name, shape in {**needed, "charge": (structures,)}.items():
        found = getattr(data, name).shape
        if found != shape:
            raise InputError(f"'{name}' has shape {found} where {shape} is needed; repair the file")
    wild = np.flatnonzero(~np.isfinite(data.charge))
    if len(wild):
        problem = InputError("the charge is not a finite number; repair or remove the structure")
        raise data.located(problem, int(wild[0]))


def _suspects(data: Dataset) -> np.ndarray:
    """(n,) structures that may be impossible, found on the flat arrays: a loop over 100,000 would take seconds."""
    suspect = data.n_atoms < 1
    wild = (data.numbers < 1) | (data.numbers > MAX_ATOMIC_NUMBER) | ~np.isfinite(data.positions).all(axis=1)
    suspect[np.searchsorted(data.offsets, np.flatnonzero(wild), side="right") - 1] = True
    suspect |= ~np.isfinite(data.cell).all(axis=(1, 2))
    periodic = np.flatnonzero(data.pbc.any(axis=1) & ~suspect)
    cell = data.cell[periodic]
    # Wider than the limit of `check_structure`, which has the last word; also true where a lattice vector is missing.
    flat = np.abs(np.linalg.det(cell)) <= 2e-6 * np.prod(np.linalg.norm(cell, axis=2), axis=1)
    suspect[periodic[flat]] = True
    return np.flatnonzero(suspect)


def _check_label(name: str, values: np.ndarray, data: Dataset) -> None:
    kind = quantity(name)
    rows = len(data) if kind.per == "system" else len(data.numbers)
    if values.shape != (rows, *kind.shape):
        raise InputError(
            f"the label '{name}' has shape {values.shape} where {(rows, *kind.shape)} is needed, "
            f"one row per {'structure' if kind.per == 'system' else 'atom'}; repair it"
        )
    infinite = np.isinf(values)
    if infinite.any():
        row = np.flatnonzero(infinite.reshape(rows, -1).any(axis=1))[0]
        raise _at_row(f"the label '{name}' is infinite; mark unknown labels as NaN", name, row, data)
    if name == "dipole_magnitude" and (values < 0).any():
        raise _at_row("the dipole magnitude is negative; correct it", name, int(np.flatnonzero(values < 0)[0]), data)
    if kind.shape == (3, 3) and rows:
        size = np.nanmax(np.abs(values), axis=(1, 2), initial=0.0)
        skew = np.nanmax(np.abs(values - values.transpose(0, 2, 1)), axis=(1, 2), initial=0.0)
        wrong = np.flatnonzero(skew > 0.01 * size)
        if len(wrong):
            raise _at_row(f"the {name} is not symmetric; correct it", name, int(wrong[0]), data)


def _at_row(problem: str, name: str, row: int, data: Dataset) -> InputError:
    """The error about one row of a label, with its structure and, for a label of atoms, its atom."""
    if quantity(name).per == "system":
        return data.located(InputError(problem), int(row))
    structure = int(np.searchsorted(data.offsets, row, side="right") - 1)
    return data.located(InputError(problem, atom=int(row - data.offsets[structure])), structure)


def content_hash(arrays: Iterable[tuple[str, np.dtype[Any], tuple[int, ...], Iterable[bytes | memoryview]]]) -> str:
    """SHA-256 over named arrays in C order, each given by name, type, shape and its bytes in blocks of any size."""
    digest = hashlib.sha256()
    for name, dtype, shape, blocks in arrays:
        digest.update(f"{name} {dtype.str} {shape}".encode())
        for block in blocks:
            digest.update(block)
    return digest.hexdigest()


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    return content_hash((name, values.dtype, values.shape, _blocks(values)) for name, values in arrays.items())


def _blocks(values: np.ndarray) -> Iterator[memoryview]:
    """The rows of an array in turn: one that does not lie in C order is not copied as a whole."""
    for start in range(0, len(values), _ROWS_PER_BLOCK):
        yield np.ascontiguousarray(values[start : start + _ROWS_PER_BLOCK]).data


def ranges(offsets: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """The rows offsets[k] … offsets[k + 1] - 1 of every k in ``indices``, laid end to end, without a Python loop."""
    starts, sizes = offsets[indices], offsets[np.asarray(indices) + 1] - offsets[indices]
    ends = np.cumsum(sizes)
    return np.repeat(starts - ends + sizes, sizes) + np.arange(ends[-1] if len(ends) else 0)
