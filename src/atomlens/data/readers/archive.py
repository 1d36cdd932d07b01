"""Numpy archives: many compositions end to end (``n_atoms``), or the frames of one molecule.

Entries: ``numbers`` and ``positions`` (Å); with ``n_atoms`` (structures,) they are flat, (atoms,) and (atoms, 3), and
without it (atoms,) and (frames, atoms, 3) or (atoms, 3). Optional: ``cell`` (Å, rows are lattice vectors; periodic in
all directions unless it is zero or ``pbc`` says otherwise), ``charge``, ``units`` (a JSON object, key to unit, as a
text array) and ``metadata`` (a JSON object). Any other entry may be a label. Pickled entries are refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from atomlens.data.dataset import Column
from atomlens.data.pieces import cuts
from atomlens.data.quantities import Quantity
from atomlens.data.readers.archive_entries import Entries
from atomlens.data.readers.contents import CHARGE_KEYS, Contents, column_type
from atomlens.data.readers.labels import quantity_of
from atomlens.errors import InputError

_STRUCTURE_KEYS = {"numbers", "positions", "n_atoms", "cell", "pbc", "units", "metadata", *CHARGE_KEYS}


def read_archive(path: Path, pieces_of: int | None) -> Iterator[Contents]:
    """Read a numpy archive in either layout.

    Args:
        path: of the file.
        pieces_of: structures at a time; None for all at once.

    Raises:
        InputError: it is no archive, truncated or pickled, or its arrays do not fit each other.
    """
    with closing(Entries(path)) as entries:
        layout = _Layout(entries)
        units, metadata = _units(_text(entries, "units")), _metadata(_text(entries, "metadata"))
        places = cuts(layout.offsets, pieces_of) if pieces_of else [(0, len(layout.offsets) - 1)]
        for start, end in places:
            yield _piece(entries, layout, slice(start, end), units, metadata)


def count_archive(path: Path) -> int | None:
    """The number of structures; None where it cannot be told."""
    try:
        with closing(Entries(path)) as entries:
            if "n_atoms" in entries:
                return int(np.prod(entries.shape("n_atoms")))
            return entries.shape("positions")[0] if len(entries.shape("positions")) == 3 else 1
    except (InputError, KeyError, OSError):
        return None


class _Layout:
    """Where the structures stand in the arrays.

    Raises:
        InputError: an array of the structures is missing, or does not fit the others.
    """

    def __init__(self, entries: Entries) -> None:
        for key in ("numbers", "positions"):
            if key not in entries:
                have = ", ".join(entries) or "nothing"
                raise InputError(
                    f"has no entry '{key}' (it has: {have}); rename its arrays as docs/data.md has them, or read a "
                    "data set of a name by `atomlens data get NAME --from FILE`"
                )
        shape, numbers = entries.shape("positions"), entries.shape("numbers")
        if entries.dtype("positions").kind not in "fiu":
            raise InputError(f"'positions' holds {entries.dtype('positions')}, not numbers; repair the file")
        if len(numbers) != 1:
            raise InputError(f"'numbers' has shape {numbers} where (atoms,) is needed; repair the file")
        # (atoms,) numbers of the one molecule; None where those of all structures stand end to end.
        self.molecule: np.ndarray | None = None
        needed: tuple[int, ...] = (numbers[0], 3)
        if "n_atoms" in entries:
            n_atoms = _whole(entries.whole("n_atoms"), "n_atoms")
            if n_atoms.ndim != 1 or (n_atoms < 0).any() or n_atoms.sum() != numbers[0]:
                raise InputError(f"'n_atoms' does not add up to the {numbers[0]} atoms of 'numbers'; repair the file")
        else:
            frames = shape[0] if len(shape) == 3 else 1
            needed = (frames, *needed) if len(shape) == 3 else needed
            n_atoms = np.full(frames, numbers[0], dtype=np.int64)
            self.molecule = _whole(entries.whole("numbers"), "numbers")
        if shape != needed:
            raise InputError(f"'positions' has shape {shape} where {needed} is needed; repair the file")
        if not len(n_atoms):
            raise InputError("holds no structures; give at least one")
        self.offsets = np.concatenate([[0], np.cumsum(n_atoms)])
        self.structures, self.atoms = len(n_atoms), int(self.offsets[-1])
        # Atoms of every structure, where all have as many.
        self.each = int(n_atoms[0]) if (n_atoms == n_atoms[0]).all() else None

    def rows(self, shape: tuple[int, ...], piece: slice) -> slice:
        """The rows of an array that belong to a piece, going by the number of all."""
        if self.structures > 1 and shape[:1] == (self.structures,):
            return piece
        if self.structures > 1 and shape[:1] == (self.atoms,):
            return slice(int(self.offsets[piece.start]), int(self.offsets[piece.stop]))
        return slice(0, shape[0])

    def accepts(self, kind: Quantity, shape: tuple[int, ...]) -> bool:
        """Whether an array of that shape may be a quantity: with or without a last axis of length one."""
        accepted = [(self.structures if kind.per == "system" else self.atoms, *kind.shape)]
        if kind.per == "atom" and self.each is not None:
            accepted.append((self.structures, self.each, *kind.shape))
        if not kind.shape:
            accepted += [(*entry, 1) for entry in accepted]
        if kind.per == "system" and self.structures == 1:
            accepted.append(kind.shape)
        return shape in accepted

    def belongs(self, key: str, shape: tuple[int, ...]) -> Literal["system", "atom"] | None:
        """Whether an array has a row per structure or per atom; None where neither."""
        known = quantity_of(key)
        if known is not None and self.accepts(known, shape):
            return known.per
        if self.molecule is not None and shape[:2] == (self.structures, self.each):
            return "atom"
        if shape[:1] == (self.structures,):
            return "system"
        if shape[:1] == (self.atoms,):
            return "atom"
        return "system" if self.structures == 1 else None


def _piece(
    entries: Entries, layout: _Layout, piece: slice, units: dict[str, str], metadata: dict[str, Any]
) -> Contents:
    n_atoms = np.diff(layout.offsets[piece.start : piece.stop + 1])
    count, atoms = len(n_atoms), int(n_atoms.sum())

    @cache
    def taken(key: str) -> np.ndarray:
        shape = entries.shape(key)
        if not shape:
            return entries.whole(key)
        rows = layout.rows(shape, piece)
        return entries.rows(key, rows.start, rows.stop)

    def load(key: str, kind: Quantity) -> np.ndarray:
        _check_label(key, kind, entries.shape(key), layout)
        return taken(key).reshape(atoms if kind.per == "atom" else count, *kind.shape)

    def column(key: str) -> Column | None:
        shape = entries.shape(key)
        per = layout.belongs(key, shape)
        if per is None or 0 in shape:
            return None
        rows, values = atoms if per == "atom" else count, taken(key)
        row = shape[1:] if values.shape[:1] == (rows,) else shape[2:] if per == "atom" else shape
        return Column(column_type(values.reshape(rows, *(() if row == (1,) else row))), per, units.get(key))

    def whole(key: str) -> np.ndarray:
        return _whole(taken(key), key)

    def shared(key: str, row: tuple[int, ...], kinds: str) -> np.ndarray | None:
        """An array with one row per structure, or the one row that all of them share; None where it is absent."""
        if key not in entries:
            return None
        shape, dtype, needed = entries.shape(key), entries.dtype(key), (layout.structures, *row)
        if dtype.kind not in kinds or shape not in {row, (1, *row), needed}:
            raise InputError(f"'{key}' holds {dtype} {shape} where {needed} is needed; repair the file")
        return np.broadcast_to(taken(key) if shape == needed else entries.whole(key), (count, *row))

    cell, pbc = shared("cell", (3, 3), "fiu"), shared("pbc", (3,), "bui")
    if pbc is None:
        pbc = np.zeros((count, 3)) if cell is None else np.repeat((cell != 0).any(axis=(1, 2)), 3).reshape(-1, 3)
    charge = next((shared(key, (), "fiu") for key in CHARGE_KEYS if key in entries), None)
    return Contents(
        numbers=whole("numbers") if layout.molecule is None else np.tile(layout.molecule, count),
        positions=taken("positions").reshape(-1, 3),
        n_atoms=n_atoms,
        cell=np.zeros((count, 3, 3)) if cell is None else cell,
        pbc=pbc.astype(bool),
        charge=np.zeros(count) if charge is None else charge,
        keys=tuple(key for key in entries if key not in _STRUCTURE_KEYS and entries.dtype(key).kind in "fiu"),
        units=units,
        load=load,
        column=column,
        metadata=metadata,
        first=piece.start,
    )


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a numpy archive, by name.

    Raises:
        InputError: it is no archive, truncated, or holds pickled objects or what is no array.
    """
    with closing(Entries(path)) as entries:
        return {key: entries.whole(key) for key in entries}


def _whole(values: np.ndarray, key: str) -> np.ndarray:
    """An array of whole numbers; floats that are whole will do."""
    if values.dtype.kind not in "fiu" or not (np.isfinite(values) & (values == np.rint(values))).all():
        raise InputError(f"'{key}' does not hold whole numbers; repair the file")
    return values.astype(np.int64)


def _check_label(key: str, kind: Quantity, shape: tuple[int, ...], layout: _Layout) -> None:
    """Refuse an array that is no such label, in either layout."""
    if layout.accepts(kind, shape):
        return
    rows = layout.structures if kind.per == "system" else layout.atoms
    order = "; six numbers have no stated order" if kind.name == "stress" and shape == (rows, 6) else ""
    raise InputError(
        f"the label '{kind.name}' (key '{key}') has shape {shape} where {(rows, *kind.shape)} is needed{order}; "
        "repair the array or name another key"
    )


def _text(entries: Entries, key: str) -> str:
    if key not in entries:
        return "{}"
    if entries.dtype(key).kind != "U" or entries.shape(key):
        raise InputError(f"'{key}' is not one text with a JSON object; write one or leave it out")
    return str(entries.whole(key))


def _units(text: str) -> dict[str, str]:
    try:
        units = json.loads(text)
    except ValueError:
        units = None
    if not isinstance(units, dict) or not all(isinstance(unit, str) for unit in units.values()):
        raise InputError("'units' is not a JSON object of keys and units; write one or leave it out")
    return units


def _metadata(text: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise InputError("'metadata' is not a JSON object; write one or leave it out")
    return values
