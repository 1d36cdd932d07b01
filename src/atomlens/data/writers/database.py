"""ASE databases, as schnetpack and ASE itself read them."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import ase
import ase.db
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator

from atomlens.data.dataset import Dataset
from atomlens.data.readers.ase_files import OWN_METADATA
from atomlens.data.writers.rows import Advance, column_names, columns_of, labels_of, per_atom, units_of
from atomlens.errors import InputError
from atomlens.files import replacing

_SLOTS = ("energy", "forces", "stress", "dipole", "charges")
_VOIGT = ([0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1])  # xx yy zz yz xz xy


def write_database(data: Dataset, path: Path, advance: Advance) -> None:
    """Write an SQLite database: ASE's own results in its slots, everything else in ``data`` with its units stated.

    A stress that is not quite symmetric stands in ``data``, for ASE's slot has six numbers.
    """
    names = column_names(data, ("charge", "total_charge", *_SLOTS))
    units = units_of(data, names)
    metadata = {
        "_distance_unit": units.pop("positions"),
        "_property_unit_dict": units,
        OWN_METADATA: {"per_atom": per_atom(data, names), "metadata": dict(data.metadata)},
    }
    with replacing(path) as temporary:
        try:
            with ase.db.connect(str(temporary), type="db", use_lock_file=False) as database:
                database.metadata = metadata
                for index, system in enumerate(data):
                    slots, rest = _parted(labels_of(data, index))
                    rest |= columns_of(data, index, names)
                    if system.charge:
                        rest["total_charge"] = system.charge
                    database.write(_with_results(system.to_ase(), slots), data=rest)
                    advance(1)
        except sqlite3.OperationalError as error:
            if "full" not in str(error) and "disk I/O" not in str(error):
                raise
            raise InputError(f"cannot be written ({error}), nothing was kept; free space and try again") from None


def _parted(labels: dict[str, np.ndarray]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What goes into ASE's slots, and what does not."""
    slots: dict[str, Any] = {}
    for name in _SLOTS:
        values = labels.get(name)
        if values is None or (name == "stress" and (values != values.T).any()):
            continue
        slots[name] = values[_VOIGT] if name == "stress" else float(values) if name == "energy" else values
    return slots, {name: values for name, values in labels.items() if name not in slots}


def _with_results(atoms: ase.Atoms, results: dict[str, Any]) -> ase.Atoms:
    atoms.info = {}
    if results:
        atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms
