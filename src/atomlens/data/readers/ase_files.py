"""ASE databases, and every structure file that ASE reads."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ase.db
import ase.io
import numpy as np
from ase.calculators.calculator import all_properties
from ase.io.formats import UnknownFileTypeError, filetype

from atomlens.data.readers.contents import ATOM_RESULTS, Contents, Frame, ase_units, known_units
from atomlens.data.readers.frames import laid_out
from atomlens.errors import InputError

# Formats whose results ASE stores or converts in its own units; for any other the user names the unit.
_ASE_UNIT_FORMATS = {"traj", "bundletrajectory", "vasp-out", "vasp-xml", "aims-output", "espresso-out", "gpaw-out",
                     "gaussian-out", "nwchem-out", "orca-output", "castep-castep"}  # fmt: skip

OWN_METADATA = "atomlens"  # key under which a database written by atomlens says what its entries are
_FETCHED = 1_000


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


def translated_steps(frames: Iterator[Frame], what: str) -> Iterator[Frame]:
    """The same around each step of a reader, and around nothing of what is done with the frames."""
    while True:
        with translated(what):
            frame = next(frames, None)
        if frame is None:
            return
        yield frame


def reason(error: Exception) -> str:
    """What an exception says, on one short line."""
    return " ".join(str(error).split())[:120] or type(error).__name__


def read_any(path: Path, pieces_of: int | None) -> Iterator[Contents]:
    """Read a structure file of any format that ASE knows, in pieces where ASE reads it so.

    Raises:
        InputError: ASE knows no such format, or the file is damaged or holds no structures.
    """
    return laid_out(translated_steps(_any_frames(path), "a structure file"), pieces_of)


def _any_frames(path: Path) -> Iterator[Frame]:
    name = filetype(str(path))
    stated = name in _ASE_UNIT_FORMATS
    for atoms in ase.io.iread(str(path), index=":", format=name, do_not_split_by_at_sign=True):
        yield Frame.from_atoms(atoms, {}, results_stated=stated)


def read_database(path: Path, pieces_of: int | None) -> Iterator[Contents]:
    """Read an ASE database (SQLite or JSON) in pieces.

    Its slots (energy, forces, stress, dipole, charges) are in ASE's units by definition. The units of ``data`` entries
    are those of the metadata ``_property_unit_dict`` and ``_distance_unit``, as schnetpack writes them.

    Raises:
        InputError: it is no database, damaged or empty.
    """
    with translated("an ASE database"):
        database = ase.db.connect(str(path), use_lock_file=False)
        metadata = dict(database.metadata)
    stated = known_units(metadata.get("_property_unit_dict") or {})
    whole = {"positions": metadata["_distance_unit"]} if isinstance(metadata.get("_distance_unit"), str) else {}
    own = metadata.get(OWN_METADATA)
    own = own if isinstance(own, dict) else {}
    per_atom = frozenset(own.get("per_atom", ()))
    said = own.get("metadata")
    frames = (_frame(row, stated, per_atom, known=bool(own)) for row in _rows(database))
    steps = translated_steps(frames, "an ASE database")
    yield from laid_out(steps, pieces_of, whole, said if isinstance(said, dict) else {})


def _rows(database: Any) -> Iterator[Any]:
    """The rows in rising order of their numbers; a thousand at a time, for ASE fetches all that it selects."""
    if getattr(database, "type", "json") != "db":  # one that connect() made of a JSON file has no type
        yield from database.select()
        return
    last = 0
    while rows := list(database.select(f"id>{last}", limit=_FETCHED)):
        yield from rows
        last = rows[-1].id


def count_database(path: Path) -> int | None:
    """The number of structures; None where it cannot be told."""
    try:
        with translated("an ASE database"):
            return int(ase.db.connect(str(path), use_lock_file=False).count())
    except InputError:
        return None


def _frame(row: Any, stated: Mapping[str, str], per_atom: frozenset[str], *, known: bool) -> Frame:
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
        per_atom=(results.keys() & ATOM_RESULTS) | per_atom,
        unclear=() if known else data.keys() - results.keys(),
    )
