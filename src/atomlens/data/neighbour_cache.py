"""Pairs that are searched once for a whole store and kept in its folder, where every later reading maps them."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from atomlens.data.dataset import Dataset
from atomlens.data.growing import GrowingArray
from atomlens.data.pair_lists import INDEX_KINDS, SHIFT_KINDS, PairLists, index_kind, pieces_of
from atomlens.data.runs import runs_within
from atomlens.data.store import HEADER, is_store, read_header, read_store
from atomlens.errors import InputError
from atomlens.progress import say

FOLDER = "neighbours"  # in a store's
FORMAT = "atomlens-neighbours"
FORMAT_VERSION = 1
WORTH_KEEPING = 0.05  # of a store's atoms; for fewer, the search for all would take longer than it spares
_COMPARED_AT_ONCE = 1 << 20  # atoms
_NEEDED = ("offsets", "centre", "neighbour", "shortest")

_not_kept: set[str] = set()  # stores that could not be written to, each said once


@dataclass(frozen=True)
class StoredPairs(PairLists):
    """The pairs of a store's structures, mapped from its folder; another process maps them again."""

    store: str
    cutoff: float  # Å

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self.store, self.cutoff)


def stored_neighbours(data: Dataset, cutoff: float, title: str = "") -> tuple[StoredPairs, np.ndarray] | None:
    """The pairs of the store that a data set comes from, and the place of each of its structures there.

    They are searched and written first where they are not there, do not fit, or are damaged. None for data from
    elsewhere, for a small part of a store without kept pairs, and where the folder cannot be written to, which is said.

    Args:
        data: a store that was opened, or a subset of one.
        cutoff: in Å.
        title: of a progress bar over the search.
    """
    found = _store_of(data)
    if found is None:
        return None
    store, places = found
    folder = Path(str(store.origin.file))
    pairs = open_pairs(folder, cutoff)
    if pairs is None and len(data.numbers) >= WORTH_KEEPING * len(store.numbers):
        pairs = _kept(store, folder, cutoff, title)
    return None if pairs is None else (pairs, places)


def cache_folder(store: str | Path, cutoff: float) -> Path:
    """Where the pairs of a store within ``cutoff`` Å are kept."""
    return Path(store) / FOLDER / f"cutoff-{float(cutoff)!r}"


def open_pairs(store: str | Path, cutoff: float) -> StoredPairs | None:
    """The kept pairs of a store; None where there are none, or damaged ones, or those of other structures."""
    folder = cache_folder(store, cutoff)
    try:
        said = json.loads((folder / HEADER).read_text(encoding="utf-8"))
        if any(said[key] != value for key, value in _belonging(store, cutoff).items()):
            return None
        arrays = {name: _mapped(folder, name) for name in _NEEDED}
        shift = _mapped(folder, "shift") if said["shift"] else None
        if not _fits(arrays, shift, said["structures"], said["pairs"]):
            return None
    except (InputError, OSError, ValueError, KeyError, TypeError, EOFError):
        return None
    return StoredPairs(**arrays, shift=shift, store=str(store), cutoff=float(cutoff))


def _mapped(folder: Path, name: str) -> np.ndarray:
    # As a plain array: indexing a mapped one takes many times as long, whatever is read.
    return np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False))


def _reopened(store: str, cutoff: float) -> StoredPairs:
    pairs = open_pairs(store, cutoff)
    if pairs is None:
        raise InputError("lost its neighbour lists while they were used; start again", file=store)
    return pairs


def _belonging(store: str | Path, cutoff: float) -> dict[str, Any]:
    """What kept pairs must say about themselves; the store's hash covers every position and cell."""
    header = read_header(store)
    about = {"format": FORMAT, "format_version": FORMAT_VERSION, "cutoff": float(cutoff)}
    return about | {key: header[key] for key in ("hash", "structures")}


def _fits(arrays: Mapping[str, np.ndarray], shift: np.ndarray | None, structures: int, pairs: int) -> bool:
    shapes = {"offsets": (structures + 1,), "shortest": (structures,), "centre": (pairs,), "neighbour": (pairs,)}
    if any(arrays[name].shape != shape for name, shape in shapes.items()):
        return False
    if any(arrays[name].dtype not in INDEX_KINDS for name in ("centre", "neighbour")):
        return False
    if shift is not None and (shift.shape != (pairs, 3) or shift.dtype not in SHIFT_KINDS):
        return False
    offsets = arrays["offsets"]
    return bool(offsets[0] == 0 and offsets[-1] == pairs and (offsets[1:] >= offsets[:-1]).all())


def _store_of(data: Dataset) -> tuple[Dataset, np.ndarray] | None:
    """The store that these very structures come from, and their places there."""
    if data.origin.file is None or not is_store(data.origin.file):
        return None
    try:
        store = read_store(data.origin.file)
    except InputError:
        return None
    places = np.arange(len(data)) if data.origin.places is None else np.asarray(data.origin.places)
    return (store, places) if _same_structures(data, store, places) else None


def _same_structures(data: Dataset, store: Dataset, places: np.ndarray) -> bool:
    """Whether atoms lie where they lie in the store: whoever moves them keeps the origin, and not the neighbours."""
    if not len(data) or len(places) != len(data) or not 0 <= places.min() <= places.max() < len(store):
        return False
    begins = np.asarray(store.offsets)[places]
    if not np.array_equal(np.asarray(store.offsets)[places + 1] - begins, data.n_atoms):
        return False
    for start, stop in runs_within(data.n_atoms, _COMPARED_AT_ONCE):
        some, atoms = places[start:stop], slice(data.offsets[start], data.offsets[stop])
        away = np.repeat(begins[start:stop] - data.offsets[start:stop], data.n_atoms[start:stop])
        same = (
            np.array_equal(data.positions[atoms], store.positions[away + np.arange(atoms.start, atoms.stop)])
            and np.array_equal(data.cell[start:stop], store.cell[some])
            and np.array_equal(data.pbc[start:stop], store.pbc[some])
        )
        if not same:
            return False
    return True


def _kept(store: Dataset, folder: Path, cutoff: float, title: str) -> StoredPairs | None:
    """Search the pairs of a whole store and write them; None where they cannot be written."""
    target = cache_folder(folder, cutoff)
    try:
        target.parent.mkdir(exist_ok=True)
        for kind in SHIFT_KINDS:
            with _beside(target) as temporary:
                if _write(store, folder, temporary, cutoff, kind, title):
                    _put(temporary, target, folder, cutoff)
                    return open_pairs(folder, cutoff)
    except OSError as error:
        if str(folder) not in _not_kept:
            _not_kept.add(str(folder))
            reason = error.strerror or str(error)
            say(f"note: neighbour lists cannot be kept in {target.parent} ({reason}); they are searched anew each time")
    return None


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-"))
    try:
        temporary.chmod(0o755)
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _put(temporary: Path, target: Path, store: Path, cutoff: float) -> None:
    """Rename; what another process has put there meanwhile stays if it is whole, and goes if not."""
    try:
        temporary.rename(target)
    except OSError:
        if open_pairs(store, cutoff) is not None:
            return
        with _beside(target) as aside:
            target.rename(aside / "damaged")
        temporary.rename(target)


def _write(store: Dataset, source: Path, folder: Path, cutoff: float, shift_kind: type[np.integer], title: str) -> bool:
    """Write pairs piece by piece into ``folder``; False where a shift does not fit ``shift_kind``."""
    index = np.dtype(index_kind(store))
    files = {name: GrowingArray(folder / f"{name}.npy", index, ()) for name in ("centre", "neighbour")}
    files["offsets"] = GrowingArray(folder / "offsets.npy", np.dtype(np.int64), ())
    files["shortest"] = GrowingArray(folder / "shortest.npy", np.dtype(np.float64), ())
    if store.pbc.any():
        files["shift"] = GrowingArray(folder / "shift.npy", np.dtype(shift_kind), (3,))
    try:
        files["offsets"].append(np.zeros(1, dtype=np.int64))
        for piece in pieces_of(store, cutoff, title):
            if piece.shift is not None and piece.shift.dtype.itemsize > files["shift"].dtype.itemsize:
                return False
            before = files["centre"].rows
            for name, file in files.items():
                file.append(piece.offsets[1:] + before if name == "offsets" else getattr(piece, name))
        for file in files.values():
            file.finish()
    finally:
        for file in files.values():
            file.close()
    header = {**_belonging(source, cutoff), "pairs": files["centre"].rows, "shift": "shift" in files}
    with open(folder / HEADER, "w", encoding="utf-8") as text:
        text.write(json.dumps(header, indent=2) + "\n")
        text.flush()
        os.fsync(text.fileno())
    return True
