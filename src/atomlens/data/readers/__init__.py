"""Reading structures and labels, at once or piece by piece: one file per format, one row in `READERS`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from atomlens.data.dataset import Dataset
from atomlens.data.pieces import PIECE, concatenate, in_pieces
from atomlens.data.quantities import quantity
from atomlens.data.readers.archive import count_archive, read_archive
from atomlens.data.readers.ase_files import count_database, read_any, read_database
from atomlens.data.readers.contents import Contents
from atomlens.data.readers.extended_xyz import estimate_extended_xyz, read_extended_xyz
from atomlens.data.readers.labels import LabelSource, Translation, label_sources, parse_label
from atomlens.data.readers.stores import from_store
from atomlens.data.readers.structures_json import read_structures_json
from atomlens.data.store import HEADER, StoreWriter, is_store, read_header, read_store
from atomlens.data.system import AtomicSystem
from atomlens.data.units import LENGTH, to_internal
from atomlens.errors import InputError, Interrupted
from atomlens.progress import stop_requests, track

__all__ = [
    "READERS",
    "LabelSource",
    "count_structures",
    "import_dataset",
    "label_sources",
    "parse_label",
    "read_dataset",
    "read_structures",
    "stream_dataset",
]


@dataclass(frozen=True)
class Reader:
    """How files of a format are read."""

    pieces: Callable[[Path, int | None], Iterator[Contents]]  # so many structures at a time, None: as suits the format
    count: Callable[[Path], int | None] = lambda _: None  # structures, or about as many; None: not known beforehand


# By suffix; a compressed file goes by the suffix before. Any other file is ASE's to read.
READERS: dict[str, Reader] = {
    ".npz": Reader(read_archive, count_archive),
    ".db": Reader(read_database, count_database),
    ".json": Reader(read_structures_json),
    ".xyz": Reader(read_extended_xyz, estimate_extended_xyz),
    ".extxyz": Reader(read_extended_xyz, estimate_extended_xyz),
}
_COMPRESSIONS = {".gz", ".bz2", ".xz"}
_BLOCK = 1 << 20  # bytes


def read_dataset(
    path: str | Path, labels: Mapping[str, LabelSource] | None = None, position_unit: str | None = None
) -> Dataset:
    """Read structures with their labels: a store, a numpy archive, extended XYZ, an ASE database or whatever ASE reads.

    Args:
        path: the file, or the folder of a store.
        labels: by quantity, where its values stand and in which unit; None takes every known quantity whose unit the
            file states, and the labels of a store. A structure without the label gets NaN. Numbers of other keys, one
            row per structure or atom, become the data set's columns.
        position_unit: of positions and cell where it is not Å.

    Raises:
        InputError: the file cannot be read, a label is absent, its unit is unknown, not stated or contradicts the
            file, or a structure is impossible; names the file and, where known, structure and atom.
    """
    _check_names(path, labels, position_unit)
    try:
        if is_store(path):
            return from_store(read_store(path), labels, position_unit)
        return concatenate(_translated(Path(path), labels, position_unit, None))
    except InputError as error:
        raise error.at(file=str(path)) from None


def stream_dataset(
    path: str | Path,
    labels: Mapping[str, LabelSource] | None = None,
    position_unit: str | None = None,
    pieces_of: int = PIECE,
) -> Iterator[Dataset]:
    """Read what `read_dataset` reads piece by piece, in memory that does not grow with the file.

    Errors name structures by their numbers in the whole file. A piece of a file without the key of a label has NaN; of
    labels that the file states by itself, it has those that occur in it. ASE's own JSON and formats that ASE reads in
    one go are held as a whole.

    Args:
        path: as in `read_dataset`.
        labels: as in `read_dataset`.
        position_unit: as in `read_dataset`.
        pieces_of: structures of a piece; large ones come fewer at a time.

    Returns:
        Data sets that laid end to end are the whole.

    Raises:
        InputError: see `read_dataset`; while reading on, where it only shows then.
    """
    _check_names(path, labels, position_unit)
    if pieces_of < 1:
        raise InputError(f"pieces of {pieces_of} structures cannot be read; ask for at least one")
    return _located(path, labels, position_unit, pieces_of)


def _located(
    path: str | Path, labels: Mapping[str, LabelSource] | None, position_unit: str | None, pieces_of: int
) -> Iterator[Dataset]:
    try:
        if is_store(path):
            yield from in_pieces(from_store(read_store(path), labels, position_unit), pieces_of)
        else:
            yield from _translated(Path(path), labels, position_unit, pieces_of)
    except InputError as error:
        raise error.at(file=str(path)) from None


def import_dataset(
    path: str | Path,
    store: str | Path,
    labels: Mapping[str, LabelSource] | None = None,
    position_unit: str | None = None,
    title: str = "",
) -> Dataset:
    """Read a file piece by piece into a new store.

    Args:
        path: as in `read_dataset`.
        store: folder; nothing may be there.
        labels: as in `read_dataset`.
        position_unit: as in `read_dataset`.
        title: of a progress bar; none without it.

    Returns:
        The data set, mapped from the store.

    Raises:
        InputError: see `read_dataset`; or something is at ``store``, or the disk is full. Nothing is left behind.
        Interrupted: it was asked to stop by SIGINT or SIGTERM; nothing is left behind.
    """
    pieces = stream_dataset(path, labels, position_unit)
    with stop_requests() as asked, StoreWriter(store, provenance=_provenance(path)) as writer:
        expected = count_structures(path)
        with track(title, expected or 0, "structures") as bar:
            for piece in pieces:
                writer.append(piece)
                bar.expect(max(expected or 0, len(writer)))
                bar.advance(len(piece))
                if asked():
                    raise Interrupted(f"stopped after {len(writer)} structures; nothing was written, import it again")
            bar.expect(len(writer))
    return read_store(store)


def count_structures(path: str | Path) -> int | None:
    """How many structures a file or store has, or about how many, without reading it; None where that takes reading."""
    if is_store(path):
        return int(read_header(path)["structures"])
    return None if Path(path).is_dir() or not Path(path).exists() else _reader(Path(path)).count(Path(path))


def read_structures(path: str | Path, position_unit: str | None = None) -> list[AtomicSystem]:
    """Read structures and leave labels aside, for prediction.

    Args:
        path: as in `read_dataset`.
        position_unit: as in `read_dataset`.

    Raises:
        InputError: the file cannot be read or a structure is impossible.
    """
    return list(read_dataset(path, {}, position_unit))


def _check_names(path: str | Path, labels: Mapping[str, LabelSource] | None, position_unit: str | None) -> None:
    try:
        for name in labels or {}:
            quantity(name)
        if position_unit is not None:
            to_internal(position_unit, LENGTH, "positions")
    except InputError as error:
        raise error.at(file=str(path)) from None


def _translated(
    path: Path, labels: Mapping[str, LabelSource] | None, position_unit: str | None, pieces_of: int | None
) -> Iterator[Dataset]:
    translation = Translation(labels, position_unit, str(path))
    try:
        if path.is_dir():
            raise InputError(f"is a folder without {HEADER}, so no atomlens store; {_instead_of(path)}")
        with path.open("rb") as file:
            if not file.read(1):
                raise InputError("is empty; check how it was written")
        for contents in _reader(path).pieces(path, pieces_of):
            yield translation.dataset(contents)
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror or error}); check the path") from None
    translation.finish()


def _instead_of(folder: Path) -> str:
    """What to do with a folder that is no store."""
    if any(folder.glob("*.cif")):
        return "CIF files with a table of their targets are read by `atomlens data get materials-project --from FOLDER`"
    return "give a store or a file"


def _reader(path: Path) -> Reader:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    suffix = next((entry for entry in reversed(suffixes) if entry not in _COMPRESSIONS), "")
    return READERS.get(suffix, Reader(read_any))


def _provenance(path: str | Path) -> dict[str, str]:
    """Name and checksum of a file, or the hash of a store, and what read it."""
    if is_store(path):
        return {"source": Path(path).name, "store_hash": read_header(path)["hash"], "reader": "store"}
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError:  # the reader says it better
        return {}
    reader = _reader(Path(path)).pieces.__name__.removeprefix("read_")
    return {"source": Path(path).name, "sha256": digest.hexdigest(), "reader": reader}
