"""What the readers of molecular data sets share: arrays of a file taken over as labels and columns."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from atomlens.data.dataset import Column, Dataset, Origin
from atomlens.data.pieces import PIECE, cuts
from atomlens.data.quantities import quantity
from atomlens.data.readers.archive import load_arrays
from atomlens.data.units import to_internal
from atomlens.errors import InputError


@dataclass(frozen=True)
class Entry:
    """One array of a file: its unit and meaning, and what becomes of it."""

    key: str
    unit: str | None  # None: a number without one, or one that atomlens does not convert; the meaning tells
    meaning: str
    label: str = ""  # the quantity that it labels; none: it is kept as a column
    column: bool = False  # whether a label is kept as a column too, in its own unit
    per: Literal["system", "atom"] = "system"

    @property
    def described(self) -> str:
        """Its unit, meaning and use, for a card."""
        use = f"label {self.label}" if self.label else "column"
        return f"{f'{self.unit}, ' if self.unit else ''}{self.meaning} ({use})"


def taken(
    entries: Sequence[Entry],
    numbers: np.ndarray,
    positions: np.ndarray,
    n_atoms: np.ndarray,
    values: Mapping[str, np.ndarray],
    origin: Origin,
) -> Dataset:
    """A data set of open, neutral structures.

    Args:
        entries: what is known of the file; those that ``values`` lacks are passed over.
        numbers: (atoms,) atomic numbers.
        positions: (atoms, 3) in Å.
        n_atoms: (structures,) number of atoms.
        values: arrays by key.
        origin: for messages.

    Raises:
        InputError: a structure or label is impossible.
    """
    labels, columns, sources = {}, {}, {}
    for entry in entries:
        if entry.key not in values:
            continue
        array = np.asarray(values[entry.key])
        if entry.label:
            factor = to_internal(entry.unit or "1", quantity(entry.label).dimension, entry.label)
            labels[entry.label] = array.astype(np.float64) * factor
            sources[entry.label] = {"key": entry.key, "unit": entry.unit}
        if entry.column or not entry.label:
            columns[entry.key] = Column(_plain(array), entry.per, entry.unit, entry.meaning)
    try:
        return Dataset.from_arrays(
            numbers, positions, n_atoms, labels, metadata={"labels": sources}, origin=origin, columns=columns
        )
    except InputError as error:
        raise error.at(file=origin.file) from None


def _plain(values: np.ndarray) -> np.ndarray:
    return values.astype(np.int64 if values.dtype.kind in "iu" else np.float64)


def flat_pieces(path: Path, entries: Sequence[Entry], required: Sequence[str]) -> Iterator[Dataset]:
    """Read a numpy archive of many compositions: ``n_atoms``, then ``numbers`` and ``positions`` (Å) end to end.

    Args:
        path: of the archive.
        entries: what it may hold.
        required: keys without which it is not this data set.

    Raises:
        InputError: it is damaged, lacks a key, or an array has not one row per structure or atom.
    """
    try:
        arrays = load_arrays(path)
        for key in ("n_atoms", "numbers", "positions", *required):
            if key not in arrays:
                raise InputError(f"has no entry '{key}' (it has: {', '.join(arrays)}), so it is not this data set")
        n_atoms = arrays["n_atoms"].astype(np.int64).reshape(-1)
        rows = {"system": len(n_atoms), "atom": int(n_atoms.sum())}
        kept = [entry for entry in entries if entry.key in arrays]
        for key, per in [("numbers", "atom"), ("positions", "atom"), *((entry.key, entry.per) for entry in kept)]:
            if len(arrays[key]) != rows[per]:
                raise InputError(f"'{key}' has {len(arrays[key])} rows where {rows[per]} are needed; repair the file")
    except InputError as error:
        raise error.at(file=str(path)) from None
    offsets = np.concatenate([[0], np.cumsum(n_atoms)])
    for start, end in cuts(offsets, PIECE):
        atoms = slice(offsets[start], offsets[end])
        yield taken(
            kept,
            arrays["numbers"][atoms].astype(np.int64),
            arrays["positions"][atoms].astype(np.float64),
            n_atoms[start:end],
            {entry.key: arrays[entry.key][atoms if entry.per == "atom" else slice(start, end)] for entry in kept},
            Origin(str(path), places=np.arange(start, end)),
        )


def texts(path: Path, suffix: str) -> Iterator[tuple[str, str]]:
    """Names and contents of the text files in a folder or tar archive, one after the other; nothing is unpacked.

    Raises:
        InputError: the archive is damaged or ends too early.
    """
    if path.is_dir():
        for file in sorted(path.rglob(f"*{suffix}")):
            if file.is_file():  # folders may be called so, too
                yield str(file), file.read_text(encoding="utf-8", errors="replace")
        return
    try:
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                stream = archive.extractfile(member) if member.isfile() and member.name.endswith(suffix) else None
                if stream is not None:
                    yield member.name, stream.read().decode("utf-8", errors="replace")
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise InputError(f"is a damaged archive, or not all of one ({error}); fetch it again", file=str(path)) from None


def mat_arrays(path: Path, name: str, shapes: Mapping[str, tuple[int | None, ...]]) -> dict[str, np.ndarray]:
    """Arrays of a MATLAB file.

    Args:
        path: of the file.
        name: for messages.
        shapes: by key, None for a length that is free; the first of all is that of the structures, and the same.

    Raises:
        InputError: it is no such file, or an array is absent or of another shape.
    """
    from scipy.io import loadmat

    try:
        held: dict[str, Any] = loadmat(path, variable_names=list(shapes))
    except Exception as error:  # scipy's reader raises every kind of exception on damaged files
        problem = " ".join(str(error).split())[:120]
        raise InputError(f"cannot be read as a MATLAB file ({problem}); fetch it again", file=name) from None
    arrays = {}
    for key, shape in shapes.items():
        values = held.get(key)
        if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu":
            raise InputError(f"has no array '{key}', so it is not this data set", file=name)
        if len(shape) == 1 and values.ndim == 2 and 1 in values.shape:  # MATLAB knows no vectors
            values = values.reshape(-1)
        if len(values.shape) != len(shape) or any(
            n not in (None, found) for n, found in zip(shape, values.shape, strict=True)
        ):
            wanted = ", ".join("…" if n is None else str(n) for n in shape)
            raise InputError(f"'{key}' has shape {values.shape} where ({wanted}) is needed; fetch it again", file=name)
        arrays[key] = values
    return arrays
