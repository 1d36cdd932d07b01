"""Writing structures with predictions or labels; the suffix chooses the format, and every file states its units."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import ase
import numpy as np

from atomlens.config import nearest
from atomlens.data.dataset import Dataset
from atomlens.data.pieces import in_pieces
from atomlens.data.quantities import quantity
from atomlens.data.readers.contents import fit
from atomlens.data.store import StoreWriter
from atomlens.data.system import AtomicSystem
from atomlens.data.writers.archive import write_archive
from atomlens.data.writers.csv_table import write_csv
from atomlens.data.writers.database import write_database
from atomlens.data.writers.extended_xyz import write_extended_xyz
from atomlens.data.writers.rows import Advance
from atomlens.data.writers.structures_json import write_json_structures
from atomlens.errors import InputError, Interrupted
from atomlens.files import disk_is_full
from atomlens.progress import stop_requests, track

__all__ = ["LAYOUTS", "WRITERS", "check_suffix", "write_dataset", "write_predictions"]

Writer = Callable[[Dataset, Path, Advance], None]

# What takes structures of every kind with all that is known about their atoms.
WRITERS: dict[str, Writer] = {
    ".xyz": write_extended_xyz,
    ".extxyz": write_extended_xyz,
    ".npz": partial(write_archive, layout="flat"),
    ".json": write_json_structures,
}
LAYOUTS = ["flat", "frames"]


def write_predictions(
    path: str | Path, structures: Sequence[ase.Atoms | AtomicSystem], predictions: Sequence[Mapping[str, np.ndarray]]
) -> None:
    """Write structures with what a model predicts for them, in one step.

    Args:
        path: ``.xyz`` or ``.extxyz`` (extended XYZ), ``.npz`` (flat layout) or ``.json``; an existing file is replaced.
        structures: in Å.
        predictions: per structure a mapping of quantity names to arrays in internal units, as `Model.predict` returns.

    Raises:
        InputError: the suffix or a quantity is unknown, a prediction does not fit its structure, or the disk is full.
    """
    write = _writer(path, WRITERS)
    systems = [AtomicSystem.from_ase(entry) if isinstance(entry, ase.Atoms) else entry for entry in structures]
    _write(write, _gathered(systems, predictions), Path(path), "")


def check_suffix(path: str | Path) -> None:
    """Refuse a path that `write_predictions` could not write to, before any long work.

    Raises:
        InputError: the suffix is unknown.
    """
    _writer(path, WRITERS)


def write_dataset(
    data: Dataset, path: str | Path, *, layout: Literal["flat", "frames"] = "flat", title: str = ""
) -> None:
    """Write a data set for other programs, or as a store where ``path`` has no suffix or ``.store``.

    Structures are written one after the other, so that a store of any size goes through little memory. Labels are in
    internal units, columns in their own, and the file says so; what a column means is kept by stores alone. A column
    whose name the format needs for something else gets an underscore.

    Args:
        data: the structures, labels and columns.
        path: ``.xyz`` or ``.extxyz`` (eight decimals per atom), ``.db`` (ASE database: energy, forces, stress, dipole
            and charges in ASE's own slots, the rest in ``data``), ``.npz``, ``.json``, ``.csv`` (`scalar_table` alone);
            an existing file is replaced.
        layout: of a numpy archive: ``flat``, or ``frames`` for positions (frames, atoms, 3) of one molecule.
        title: of a progress bar; none without it.

    Raises:
        InputError: the suffix is unknown, a store is in the way, the layout does not suit the data or the format, or
            the disk is full.
        Interrupted: it was asked to stop by SIGINT or SIGTERM; nothing is left behind.
    """
    further: dict[str, Writer] = {".db": write_database, ".csv": write_csv, ".store": _write_store, "": _write_store}
    write = _writer(path, {**WRITERS, **further})
    if layout not in LAYOUTS:
        raise InputError(f"unknown layout '{layout}'; {nearest(layout, LAYOUTS)}", file=str(path))
    if layout != "flat":
        if Path(path).suffix.lower() != ".npz":
            raise InputError(f"only a numpy archive (.npz) has the layout '{layout}'", file=str(path))
        write = partial(write_archive, layout=layout)
    _write(write, data, Path(path), title)


def _write(write: Writer, data: Dataset, path: Path, title: str) -> None:
    try:
        with stop_requests() as asked, track(title, len(data), "structures") as bar:

            def advance(steps: int) -> None:
                bar.advance(steps)
                if asked():
                    raise Interrupted(f"stopped; {path} was not written")

            write(data, path, advance)
    except InputError as error:
        raise error.at(file=str(path)) from None
    except OSError as error:
        if not disk_is_full(error):
            raise
        problem = "the disk is full, nothing was written; free space and try again"
        raise InputError(problem, file=str(path)) from None


def _write_store(data: Dataset, path: Path, advance: Advance) -> None:
    with StoreWriter(path) as writer:
        for piece in in_pieces(data):
            writer.append(piece)
            advance(len(piece))


def _writer(path: str | Path, known: Mapping[str, Writer]) -> Writer:
    suffix = Path(path).suffix.lower()
    if suffix not in known:
        hint = nearest(suffix, [entry for entry in known if entry])
        raise InputError(f"the suffix '{suffix}' names no format that can be written; {hint}", file=str(path))
    return known[suffix]


def _gathered(systems: Sequence[AtomicSystem], predictions: Sequence[Mapping[str, np.ndarray]]) -> Dataset:
    """Structures and predictions end to end, NaN where a structure has none of a quantity."""
    offsets = np.concatenate([[0], np.cumsum([len(system.numbers) for system in systems])]).astype(np.int64)
    labels: dict[str, np.ndarray] = {}
    for index, (system, values) in enumerate(zip(systems, predictions, strict=True)):
        for name, value in values.items():
            kind = quantity(name)
            shape = (len(system.numbers), *kind.shape) if kind.per == "atom" else kind.shape
            fitted = fit(np.asarray(value), shape)
            if fitted is None:
                raise InputError(f"'{name}' has shape {np.shape(value)} where {shape} is needed", structure=index)
            rows = offsets[-1] if kind.per == "atom" else len(systems)
            column = labels.setdefault(name, np.full((rows, *kind.shape), np.nan))
            column[slice(*offsets[index : index + 2]) if kind.per == "atom" else index] = fitted
    return Dataset(
        numbers=np.concatenate([np.asarray(system.numbers) for system in systems] or [np.zeros(0, dtype=np.int64)]),
        positions=np.concatenate([np.asarray(system.positions) for system in systems] or [np.zeros((0, 3))]),
        offsets=offsets,
        cell=np.array([system.cell for system in systems]).reshape(-1, 3, 3),
        pbc=np.array([system.pbc for system in systems], dtype=bool).reshape(-1, 3),
        charge=np.array([system.charge for system in systems], dtype=np.float64),
        labels=labels,
    )
