"""Data sets in pieces of bounded size, and pieces laid end to end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from atomlens.data.dataset import Column, Dataset, Origin
from atomlens.data.quantities import quantity
from atomlens.data.units import same_unit
from atomlens.errors import InputError

PIECE = 10_000  # structures
ATOMS = 1_000_000  # of a piece: structures may be large


def cuts(offsets: np.ndarray, pieces_of: int = PIECE) -> Iterator[tuple[int, int]]:
    """Where pieces begin and end that hold so many structures and a million atoms at most, but one structure at least.

    Args:
        offsets: (structures + 1,) where the atoms of each structure start.
        pieces_of: structures.
    """
    start, count = 0, len(offsets) - 1
    while start < count:
        fitting = int(np.searchsorted(offsets, offsets[start] + ATOMS, side="right")) - 1
        end = min(start + pieces_of, max(fitting, start + 1), count)
        yield start, end
        start = end


def in_pieces(data: Dataset, pieces_of: int = PIECE) -> Iterator[Dataset]:
    """The structures of a data set piece by piece, in memory."""
    return (data.subset(np.arange(start, end)) for start, end in cuts(data.offsets, pieces_of))


def concatenate(pieces: Iterable[Dataset]) -> Dataset:
    """Lay pieces end to end: a label or column that only some have is NaN in the others.

    Raises:
        InputError: there are none, or two say different things of one column.
    """
    parts = list(pieces)
    if not parts:
        raise InputError("holds no structures; give at least one")
    if len(parts) == 1:
        return parts[0]
    metadata: Mapping[str, Any] = {}
    columns: dict[str, Column] = {}
    for part in parts:
        metadata = merged_metadata(metadata, part.metadata)
        for key, column in part.columns.items():
            check_alike(key, columns.setdefault(key, column), column)
    names = dict.fromkeys(name for part in parts for name in part.labels)
    origin = parts[0].origin
    return Dataset(
        numbers=np.concatenate([part.numbers for part in parts]),
        positions=np.concatenate([part.positions for part in parts]),
        offsets=np.concatenate([[0], np.cumsum(np.concatenate([part.n_atoms for part in parts]))]).astype(np.int64),
        cell=np.concatenate([part.cell for part in parts]),
        pbc=np.concatenate([part.pbc for part in parts]),
        charge=np.concatenate([part.charge for part in parts]),
        labels={name: np.concatenate([_label(part, name) for part in parts]) for name in names},
        metadata=metadata,
        origin=Origin(origin.file, unread=tuple(dict.fromkeys(key for part in parts for key in part.origin.unread))),
        columns={
            key: replace(column, values=np.concatenate([_values(part, key, column) for part in parts]))
            for key, column in columns.items()
        },
    )


def merged_metadata(first: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    """What two pieces say about their data; of entries in both the first is kept, and of ``labels`` those of both."""
    merged = {**later, **first}
    both = [entry["labels"] for entry in (later, first) if isinstance(entry.get("labels"), Mapping)]
    return merged | {"labels": {name: source for labels in both for name, source in labels.items()}} if both else merged


def check_alike(key: str, first: Column, other: Column) -> None:
    """Refuse columns of one key that cannot be laid end to end.

    Raises:
        InputError: one is of structures and the other of atoms, or their units or shapes differ.
    """
    units = first.unit == other.unit or bool(first.unit and other.unit and same_unit(first.unit, other.unit))
    if first.per != other.per or first.values.shape[1:] != other.values.shape[1:] or not units:
        raise InputError(
            f"the column '{key}' is {_described(other)} here and {_described(first)} before; "
            "rename one of them or leave it out"
        )


def _described(column: Column) -> str:
    shape = f" of shape {column.values.shape[1:]}" if column.values.ndim > 1 else ""
    return f"one value{shape} per {'atom' if column.per == 'atom' else 'structure'} in {column.unit or 'no unit'}"


def _label(part: Dataset, name: str) -> np.ndarray:
    if name in part.labels:
        return part.labels[name]
    kind = quantity(name)
    return unknown(len(part.numbers) if kind.per == "atom" else len(part), kind.shape)


def _values(part: Dataset, key: str, column: Column) -> np.ndarray:
    if key in part.columns:
        return part.columns[key].values
    return unknown(len(part.numbers) if column.per == "atom" else len(part), column.values.shape[1:])


def unknown(rows: int, shape: Sequence[int]) -> np.ndarray:
    """Rows of NaN."""
    return np.full((rows, *shape), np.nan)
