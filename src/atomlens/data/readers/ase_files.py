"""ASE databases, and every structure file that ASE reads."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ase.db
import ase.io
import numpy as np
from ase.calculators.calculator import all_properties
from ase.io.formats import UnknownFileTypeError, filetype

from atomlens.data.readers.contents import Contents, Frame, ase_units, from_frames, known_units
from atomlens.errors import InputError

# Formats whose results ASE stores or converts in its own units; for any other the user names the unit.
_ASE_UNIT_FORMATS = {"traj", "bundletrajectory", "vasp-out", "vasp-xml", "aims-output", "espresso-out", "gpaw-out",
                     "gaussian-out", "nwchem-out", "orca-output", "castep-castep"}  # fmt: skip


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn whatever ASE raises on a damaged file into one sentence, and silence its warnings."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except InputError:
        raise
    except MemoryError:
        raise
    except UnknownFileTypeError:
        raise InputError("is of no format that ASE knows; check its suffix or convert it to extended XYZ") from None
    # ASE's parsers raise every kind of exception on damaged files.
    except Exception as error:
        raise InputError(
            f"cannot be read as {what} ({reason(error)}); check that it is complete and of that format"
        ) from None


def reason(error: Exception) -> str:
    """What an exception says, on one short line."""
    return " ".join(str(error).split())[:120] or type(error).__name__


def read_any(path: Path) -> Contents:
    """Read a structure file of any format that ASE knows.

    Raises:
        InputError: ASE knows no such format, or the file is damaged or holds no structures.
    """
    with translated("a structure file"):
        name = filetype(str(path))
        frames = ase.io.read(str(path), index=":", format=name, do_not_split_by_at_sign=True)
    stated = name in _ASE_UNIT_FORMATS
    return from_frames([Frame.from_atoms(atoms, {}, results_stated=stated) for atoms in frames])


def read_database(path: Path) -> Contents:
    """Read an ASE database (SQLite or JSON).

    Its slots (energy, forces, stress, dipole, charges) are in ASE's units by definition. The units of ``data`` entries
    are those of the metadata ``_property_unit_dict`` and ``_distance_unit``, as schnetpack writes them.

    Raises:
        InputError: it is no database, damaged or empty.
    """
    with translated("an ASE database"):
        database = ase.db.connect(str(path), use_lock_file=False)
        metadata = dict(database.metadata)
        stated = known_units(metadata.get("_property_unit_dict") or {})
        frames = [_frame(row, stated) for row in database.select()]
    if isinstance(metadata.get("_distance_unit"), str):
        stated["positions"] = metadata["_distance_unit"]
    return from_frames(frames, {key: unit for key, unit in stated.items() if key == "positions"})


def _frame(row: Any, stated: dict[str, str]) -> Frame:
    results = {name: row[name] for name in all_properties if name in row}
    if "energies" in results:
        results["atom_energies"] = results.pop("energies")
    data = dict(row.data)
    # A data entry whose unit the metadata states is what the database is about; else ASE's own slots come first.
    declared = {key: value for key, value in data.items() if key in stated}
    units = {**ase_units(results), **{key: stated[key] for key in declared}}
    return Frame(
        numbers=np.asarray(row.numbers),
        positions=np.asarray(row.positions),
        cell=np.asarray(row.cell, dtype=np.float64),
        pbc=np.asarray(row.pbc, dtype=bool),
        values={**row.key_value_pairs, **data, **results, **declared},
        units=units,
    )
