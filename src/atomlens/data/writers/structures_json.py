"""JSON with one structure per line."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from atomlens.data.dataset import Dataset
from atomlens.data.readers.structures_json import JSON_FORMAT
from atomlens.data.writers.rows import Advance, column_names, columns_of, labels_of, per_atom, units_of
from atomlens.files import replacing

_RESERVED = ("numbers", "positions", "cell", "pbc", "formula", "charge", "total_charge")


def write_json_structures(data: Dataset, path: Path, advance: Advance) -> None:
    """Write JSON for programs that read nothing else; what is no finite number is null."""
    names = column_names(data, _RESERVED)
    head = {
        "format": JSON_FORMAT,
        "format_version": 1,
        "units": units_of(data, names),
        "per_atom": per_atom(data, names),
        "metadata": dict(data.metadata),
    }
    # One structure per line: indented lists would put every coordinate on a line of its own.
    opening = json.dumps(head, indent=2, ensure_ascii=False, allow_nan=False).removesuffix("\n}")
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(f'{opening},\n  "structures": [\n')
        for index, system in enumerate(data):
            entry: dict[str, Any] = {
                "formula": system.formula,
                "numbers": system.numbers,
                "positions": system.positions,
            }
            if system.pbc.any() or system.cell.any():
                entry |= {"cell": system.cell, "pbc": system.pbc}
            if system.charge:
                entry["charge"] = np.array(system.charge)
            entry |= labels_of(data, index) | columns_of(data, index, names)
            text = json.dumps(_plain(entry), ensure_ascii=False, allow_nan=False)
            file.write(text + (",\n" if index + 1 < len(data) else "\n"))
            advance(1)
        file.write("]\n}\n")


def _plain(value: Any) -> Any:
    """Arrays as lists, and null for what is no finite number, for JSON has none."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
