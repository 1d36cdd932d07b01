"""Extended XYZ, written by ASE."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ase
import numpy as np
from ase.io.extxyz import write_extxyz

from atomlens.data.dataset import Dataset
from atomlens.data.writers.rows import Advance, column_names, columns_of, labels_of, per_atom, units_of
from atomlens.files import replacing

# Names with a meaning of their own in the format or in ASE's reader.
_RESERVED = ("units", "charge", "total_charge", "Lattice", "Properties", "pbc", "uid", "species", "pos", "Z", "mass",
             "symbols", "numbers", "positions", "move_mask")  # fmt: skip
_TENSORS = ("stress", "virial")  # which are read as nothing else


def write_extended_xyz(data: Dataset, path: Path, advance: Advance) -> None:
    """Write extended XYZ with the units in each comment line."""
    tensors = [key for key in _TENSORS if key in data.columns and data.columns[key].values.shape[1:] != (3, 3)]
    names = column_names(data, (*_RESERVED, *tensors), plain=True)
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of ASE, about names of its own results
        write_extxyz(file, _frames(data, names, advance), write_results=False)


def _frames(data: Dataset, names: Mapping[str, str], advance: Advance) -> Iterator[ase.Atoms]:
    # The units are parted by spaces, which means the same as a product in a unit.
    units = " ".join(f"{name}={'*'.join(unit.split())}" for name, unit in units_of(data, names).items())
    of_atoms = set(per_atom(data, names))
    for index, system in enumerate(data):
        atoms = system.to_ase()
        atoms.info = {"units": units} | ({"charge": _digits(system.charge)} if system.charge else {})
        for name, values in labels_of(data, index).items():
            _put(atoms, name, values, of_atoms, values.ravel())
        for name, values in columns_of(data, index, names).items():
            # Of columns nobody knows the shape beforehand: JSON says it, but of the tensors that the format knows.
            _put(
                atoms, name, values, of_atoms, values if values.ndim > 1 and name not in _TENSORS else values.T.ravel()
            )
        yield atoms
        advance(1)


def _put(atoms: ase.Atoms, name: str, values: np.ndarray, of_atoms: set[str], row: np.ndarray) -> None:
    if name in of_atoms:
        # Columns of the format are numbers or rows of numbers; a tensor goes row by row.
        atoms.set_array(name, values.reshape(len(values), -1) if values.ndim > 2 else values)
    else:
        atoms.info[name] = row if row.ndim > 1 else " ".join(_digits(value) for value in row)


def _digits(value: Any) -> str:
    """All digits; of a float always with a point: some readers of extended XYZ take 1e-05 for a whole number."""
    if isinstance(value, np.integer):
        return str(int(value))
    text = repr(float(value))
    return text if "." in text or not math.isfinite(value) else text.replace("e", ".0e")
