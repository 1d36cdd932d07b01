"""Numpy archives: many compositions end to end (``n_atoms``), or the frames of one molecule.

Entries: ``numbers`` and ``positions`` (Å); with ``n_atoms`` (structures,) they are flat, (atoms,) and (atoms, 3), and
without it (atoms,) and (frames, atoms, 3) or (atoms, 3). Optional: ``cell`` (Å, rows are lattice vectors; periodic in
all directions unless it is zero or ``pbc`` says otherwise), ``charge``, ``units`` (a JSON object, key to unit, as a
text array) and ``metadata`` (a JSON object). Any other entry may be a label. Pickled entries are refused.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from atomlens.data.quantities import Quantity
from atomlens.data.readers.contents import CHARGE_KEYS, Contents
from atomlens.errors import InputError

_STRUCTURE_KEYS = {"numbers", "positions", "n_atoms", "cell", "pbc", "units", "metadata", *CHARGE_KEYS}


def read_archive(path: Path) -> Contents:
    """Read a numpy archive in either layout.

    Raises:
        InputError: it is no archive, truncated or pickled, or its arrays do not fit each other.
    """
    entries = load_arrays(path)
    for key in ("numbers", "positions"):
        if key not in entries:
            have = ", ".join(entries) or "nothing"
            raise InputError(f"has no entry '{key}' (it has: {have}); see the two layouts of numpy archives")
    numbers, positions, n_atoms = _structures(entries)
    if not len(n_atoms):
        raise InputError("holds no structures; give at least one")
    cell = _per_structure(entries, "cell", (3, 3), len(n_atoms), "fiu")
    pbc = _per_structure(entries, "pbc", (3,), len(n_atoms), "bui")
    if pbc is None:
        pbc = np.zeros((len(n_atoms), 3)) if cell is None else np.repeat((cell != 0).any(axis=(1, 2)), 3).reshape(-1, 3)
    charge = next(
        (_per_structure(entries, key, (), len(n_atoms), "fiu") for key in CHARGE_KEYS if key in entries), None
    )

    def load(key: str, kind: Quantity) -> np.ndarray:
        return _label(key, kind, entries[key], n_atoms)

    return Contents(
        numbers=numbers,
        positions=positions,
        n_atoms=n_atoms,
        cell=np.zeros((len(n_atoms), 3, 3)) if cell is None else cell,
        pbc=pbc.astype(bool),
        charge=np.zeros(len(n_atoms)) if charge is None else charge,
        keys=tuple(key for key, values in entries.items() if key not in _STRUCTURE_KEYS and values.dtype.kind in "fiu"),
        units=_units(_text(entries, "units")),
        load=load,
        metadata=_metadata(_text(entries, "metadata")),
    )


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a numpy archive, by name.

    Raises:
        InputError: it is no archive, truncated, or holds pickled objects or what is no array.
    """
    if not zipfile.is_zipfile(path):
        raise InputError("is not a whole numpy archive (.npz); it may be truncated, copy or write it again")
    try:
        with np.load(path, allow_pickle=False) as archive:
            entries = {key: archive[key] for key in archive.files}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError) as error:
        if "allow_pickle" in str(error):
            raise InputError("holds pickled objects, which are never read; save plain arrays") from None
        raise InputError(f"has a damaged entry ({error}); copy or write it again") from None
    for key, values in entries.items():
        if not isinstance(values, np.ndarray):  # numpy hands over other files in a zip archive as bytes
            raise InputError(f"holds '{key}', which is no array; write it with numpy.savez")
    return entries


def _structures(entries: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers (atoms,), positions (atoms, 3) and n_atoms (structures,) of all structures end to end."""
    numbers, positions = _whole(entries, "numbers"), entries["positions"]
    if positions.dtype.kind not in "fiu":
        raise InputError(f"'positions' holds {positions.dtype}, not numbers; repair the file")
    if numbers.ndim != 1:
        raise InputError(f"'numbers' has shape {numbers.shape} where (atoms,) is needed; repair the file")
    if "n_atoms" in entries:
        n_atoms = _whole(entries, "n_atoms")
        if n_atoms.ndim != 1 or (n_atoms < 0).any() or n_atoms.sum() != len(numbers):
            raise InputError(f"'n_atoms' does not add up to the {len(numbers)} atoms of 'numbers'; repair the file")
        needed: tuple[int, ...] = (len(numbers), 3)
    else:
        frames = positions.shape[0] if positions.ndim == 3 else 1
        n_atoms = np.full(frames, len(numbers), dtype=np.int64)
        needed = (frames, len(numbers), 3) if positions.ndim == 3 else (len(numbers), 3)
        numbers = np.tile(numbers, frames)
    if positions.shape != needed:
        raise InputError(f"'positions' has shape {positions.shape} where {needed} is needed; repair the file")
    return numbers, positions.reshape(-1, 3), n_atoms


def _whole(entries: Mapping[str, np.ndarray], key: str) -> np.ndarray:
    """An array of whole numbers; floats that are whole will do."""
    values = entries[key]
    if values.dtype.kind not in "fiu" or not (np.isfinite(values) & (values == np.rint(values))).all():
        raise InputError(f"'{key}' does not hold whole numbers; repair the file")
    return values.astype(np.int64)


def _per_structure(
    entries: Mapping[str, np.ndarray], key: str, shape: tuple[int, ...], structures: int, kinds: str
) -> np.ndarray | None:
    """An array with one row per structure, or the one row that all of them share; None where it is absent."""
    if key not in entries:
        return None
    values = entries[key]
    if values.dtype.kind not in kinds or values.shape not in {shape, (1, *shape), (structures, *shape)}:
        raise InputError(
            f"'{key}' holds {values.dtype} {values.shape} where {(structures, *shape)} is needed; repair the file"
        )
    return np.broadcast_to(values, (structures, *shape))


def _label(key: str, kind: Quantity, values: np.ndarray, n_atoms: np.ndarray) -> np.ndarray:
    """The rows of a label, from either layout, with or without a last axis of length one."""
    rows = len(n_atoms) if kind.per == "system" else int(n_atoms.sum())
    needed = (rows, *kind.shape)
    accepted = [needed]
    if kind.per == "atom" and (n_atoms == n_atoms[0]).all():
        accepted.append((len(n_atoms), int(n_atoms[0]), *kind.shape))
    if not kind.shape:
        accepted += [(*shape, 1) for shape in accepted]
    if kind.per == "system" and rows == 1:
        accepted.append(kind.shape)
    if values.shape not in accepted:
        order = "; six numbers have no stated order" if kind.name == "stress" and values.shape == (rows, 6) else ""
        raise InputError(
            f"the label '{kind.name}' (key '{key}') has shape {values.shape} where {needed} is needed{order}; "
            "repair the array or name another key"
        )
    return values.reshape(needed)


def _text(entries: Mapping[str, np.ndarray], key: str) -> str:
    if key not in entries:
        return "{}"
    if entries[key].dtype.kind != "U" or entries[key].ndim:
        raise InputError(f"'{key}' is not one text with a JSON object; write one or leave it out")
    return str(entries[key])


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
