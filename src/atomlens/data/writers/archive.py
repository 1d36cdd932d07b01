"""Numpy archives in both layouts."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from atomlens.data.dataset import Dataset
from atomlens.data.quantities import quantity
from atomlens.data.writers.rows import Advance, column_names, units_of
from atomlens.errors import InputError
from atomlens.files import replacing

_RESERVED = ("n_atoms", "numbers", "positions", "cell", "pbc", "charge", "total_charge", "units", "metadata")


def write_archive(data: Dataset, path: Path, advance: Advance, layout: str) -> None:
    """Write a compressed numpy archive; arrays go through from their maps without being held.

    Raises:
        InputError: the layout is that of frames, and the structures have not the same atoms in the same order.
    """
    names = column_names(data, _RESERVED)
    arrays: dict[str, Any] = {
        **(_flat(data) if layout == "flat" else _frames(data)),
        "cell": data.cell,
        "pbc": data.pbc,
        "charge": data.charge,
        **data.labels,
        **{names[key]: column.values for key, column in data.columns.items()},
        "units": np.array(json.dumps(units_of(data, names))),
        "metadata": np.array(json.dumps(dict(data.metadata))),
    }
    if layout == "frames":
        of_atoms = {name for name in data.labels if quantity(name).per == "atom"}
        of_atoms |= {names[key] for key, column in data.columns.items() if column.per == "atom"}
        for name in of_atoms:
            arrays[name] = arrays[name].reshape(len(data), -1, *arrays[name].shape[1:])
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for place, (name, values) in enumerate(arrays.items(), 1):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                npy.write_array(file, values, allow_pickle=False)
            advance(len(data) * place // len(arrays) - len(data) * (place - 1) // len(arrays))


def _flat(data: Dataset) -> dict[str, np.ndarray]:
    return {"n_atoms": data.n_atoms, "numbers": data.numbers.astype(np.uint8), "positions": data.positions}


def _frames(data: Dataset) -> dict[str, np.ndarray]:
    atoms = int(data.n_atoms[0]) if len(data) else 0
    other = np.flatnonzero(data.n_atoms != atoms)
    if not len(other):
        other = np.flatnonzero((data.numbers.reshape(-1, atoms) != data.numbers[:atoms]).any(axis=1))
    if len(other):
        raise InputError(
            "has other atoms than the first, or in another order; write the flat layout", structure=int(other[0])
        )
    return {
        "numbers": data.numbers[:atoms].astype(np.uint8),
        "positions": data.positions.reshape(len(data), atoms, 3),
    }
