"""Reading structures and labels: one file per format, one row in `READERS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from atomlens.data.dataset import Dataset, Origin
from atomlens.data.quantities import quantity
from atomlens.data.readers.archive import read_archive
from atomlens.data.readers.ase_files import read_any, read_database
from atomlens.data.readers.contents import Contents
from atomlens.data.readers.extended_xyz import read_extended_xyz
from atomlens.data.readers.labels import LabelSource, absent, parse_label, to_dataset
from atomlens.data.readers.structures_json import read_structures_json
from atomlens.data.store import HEADER, is_store, read_store
from atomlens.data.system import AtomicSystem
from atomlens.data.units import LENGTH, same_unit, to_internal
from atomlens.errors import InputError

__all__ = ["READERS", "LabelSource", "parse_label", "read_dataset", "read_structures"]

# By suffix; a compressed file goes by the suffix before. Any other file is ASE's to read.
READERS: dict[str, Callable[[Path], Contents]] = {
    ".npz": read_archive,
    ".db": read_database,
    ".json": read_structures_json,
    ".xyz": read_extended_xyz,
    ".extxyz": read_extended_xyz,
}
_COMPRESSIONS = {".gz", ".bz2", ".xz"}


def read_dataset(
    path: str | Path, labels: Mapping[str, LabelSource] | None = None, position_unit: str | None = None
) -> Dataset:
    """Read structures with their labels: a store, a numpy archive, extended XYZ, an ASE database or whatever ASE reads.

    Args:
        path: the file, or the folder of a store.
        labels: by quantity, where its values stand and in which unit; None takes every known quantity whose unit the
            file states. A structure without the label gets NaN.
        position_unit: of positions and cell where it is not Å.

    Raises:
        InputError: the file cannot be read, a label is absent, its unit is unknown, not stated or contradicts the
            file, or a structure is impossible; names the file and, where known, structure and atom.
    """
    try:
        for name in labels or {}:
            quantity(name)
        if position_unit is not None:
            to_internal(position_unit, LENGTH, "positions")
        if is_store(path):
            return _from_store(read_store(path), labels, position_unit)
        return to_dataset(_contents(Path(path)), labels, position_unit, str(path))
    except InputError as error:
        raise error.at(file=str(path)) from None


def read_structures(path: str | Path, position_unit: str | None = None) -> list[AtomicSystem]:
    """Read structures and leave labels aside, for prediction.

    Args:
        path: as in `read_dataset`.
        position_unit: as in `read_dataset`.

    Raises:
        InputError: the file cannot be read or a structure is impossible.
    """
    return list(read_dataset(path, {}, position_unit))


def _contents(path: Path) -> Contents:
    try:
        if path.is_dir():
            raise InputError(f"is a folder without {HEADER}, so no atomlens store; give a store or a file")
        with path.open("rb") as file:
            if not file.read(1):
                raise InputError("is empty; check how it was written")
        suffixes = [suffix.lower() for suffix in path.suffixes]
        suffix = next((entry for entry in reversed(suffixes) if entry not in _COMPRESSIONS), "")
        return READERS.get(suffix, read_any)(path)
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror or error}); check the path") from None


def _from_store(data: Dataset, labels: Mapping[str, LabelSource] | None, position_unit: str | None) -> Dataset:
    """The labels that are wanted, under the names they shall have; the arrays stay mapped."""
    if position_unit is not None and not same_unit(position_unit, "Ang"):
        raise InputError(f"is a store, with positions in Ang, not in {position_unit}; leave the unit to the store")
    if labels is None:
        return data
    chosen = {}
    for name, source in labels.items():
        if source.key not in data.labels:
            raise absent(f"has no label '{source.key}'", source.key, list(data.labels))
        unit = quantity(source.key).unit
        if source.unit is not None and not same_unit(source.unit, unit):
            raise InputError(f"states '{source.key}' in {unit}, not in {source.unit}; leave the unit to the store")
        to_internal(unit, quantity(name).dimension, name)
        chosen[name] = data.labels[source.key]
    unread = tuple(key for key in data.labels if key not in {source.key for source in labels.values()})
    return replace(data, labels=chosen, origin=Origin(data.origin.file, unread=unread))
