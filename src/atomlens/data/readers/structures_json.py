"""JSON: the file that atomlens writes for other programs, or an ASE database in JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from atomlens.data.readers.ase_files import read_database
from atomlens.data.readers.contents import Contents, Frame, known_units
from atomlens.data.readers.frames import laid_out
from atomlens.errors import InputError
from atomlens.files import read_json

JSON_FORMAT = "atomlens-structures"
_STRUCTURE_KEYS = {"numbers", "positions", "cell", "pbc", "formula"}


def read_structures_json(path: Path, pieces_of: int | None) -> Iterator[Contents]:
    """Read what `write_dataset` wrote, or else an ASE database.

    Raises:
        InputError: it is neither, or damaged.
    """
    values = read_json(path)
    if not isinstance(values, dict) or values.get("format") != JSON_FORMAT:
        return read_database(path, pieces_of)
    if values.get("format_version") != 1:
        raise InputError(f"has format version {values.get('format_version')}, this atomlens reads 1; write it again")
    stated, entries = values.get("units", {}), values.get("structures", [])
    if not isinstance(stated, dict) or not isinstance(entries, list):
        raise InputError("'units' is no object or 'structures' no list; write the file again")
    units = known_units(stated)
    metadata = values.get("metadata")
    return laid_out(
        _frames(entries, units, values.get("per_atom")),
        pieces_of,
        {key: unit for key, unit in units.items() if key == "positions"},
        metadata if isinstance(metadata, dict) else {},
    )


def _frames(entries: list[Any], units: dict[str, str], per_atom: Any) -> Iterator[Frame]:
    for place, entry in enumerate(entries):
        try:
            frame = _frame(entry, units)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"cannot be read ({error!r}); write the file again", structure=place) from None
        if isinstance(per_atom, list):
            yield replace(frame, per_atom=frozenset(map(str, per_atom)))
        else:  # as it was written before it said so
            yield replace(frame, unclear=frame.values.keys())


def _frame(entry: dict[str, Any], units: dict[str, str]) -> Frame:
    values = {
        # JSON has no NaN: null stands for a label that is not known.
        key: value if isinstance(value, str) else _numbers(value)
        for key, value in entry.items()
        if key not in _STRUCTURE_KEYS and value is not None
    }
    numbers = np.array(entry["numbers"], dtype=np.int64).reshape(-1)
    return Frame(
        numbers=numbers,
        positions=np.array(entry["positions"], dtype=np.float64).reshape(len(numbers), 3),
        cell=np.array(entry.get("cell", np.zeros((3, 3))), dtype=np.float64).reshape(3, 3),
        pbc=np.array(entry.get("pbc", [False] * 3), dtype=bool).reshape(3),
        values=values,
        units={key: unit for key, unit in units.items() if key in values},
    )


def _numbers(value: Any) -> np.ndarray:
    found = np.array(value)
    return found if found.dtype.kind == "i" else np.array(value, dtype=np.float64)
