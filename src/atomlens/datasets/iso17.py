"""ISO17: molecular dynamics of isomers of C7O2H10, with the split over molecules that SchNet was judged by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import ase.db
import numpy as np

from atomlens.data.dataset import Column, Dataset, Origin
from atomlens.data.readers.ase_files import translated
from atomlens.data.system import formula
from atomlens.datasets.card import Card, NamedDataset, RemoteFile
from atomlens.datasets.sources import Source, found
from atomlens.errors import InputError

SUBSETS = ("reference", "reference_eq", "test_within", "test_other", "test_eq")
COMPOSITION = "C7H10O2"
_NUMBERS = [1] * 10 + [6] * 7 + [8] * 2
PIECE = 20_000  # structures, of 19 atoms
_MEANING = "official part: " + ", ".join(f"{number} {name}" for number, name in enumerate(SUBSETS, 1))
_ENERGY, _FORCES = "total_energy", "atomic_forces"
_TRAJECTORY = ("trajectory", "isomer", "isomer_id", "molecule_id")  # keys that would tell the molecule of a frame


def read_iso17(paths: tuple[Path, ...]) -> Iterator[Dataset]:
    """The five databases one after the other, or those that are there.

    Raises:
        InputError: there is none, one is twice there, damaged, or of another data set.
    """
    with found(paths, tuple(f"{name}.db" for name in SUBSETS)) as sources:
        parts = _parts(sources)
        extra = _integer_keys([source for _, source in parts])
        for number, source in parts:
            yield from _database(source, number, extra)


def _parts(sources: Sequence[Source]) -> list[tuple[int, Source]]:
    parts: dict[int, Source] = {}
    for source in sources:
        name = source.inside.stem
        if name not in SUBSETS:
            known = ", ".join(f"{part}.db" for part in SUBSETS)
            raise InputError(f"is none of the parts of ISO17 ({known}); keep the official names", file=source.name)
        number = SUBSETS.index(name) + 1
        if number in parts:
            raise InputError(f"is there twice, also as {parts[number].name}; give one of them", file=source.name)
        parts[number] = source
    return sorted(parts.items())


def _integer_keys(sources: Sequence[Source]) -> tuple[str, ...]:
    """Keys with whole numbers that the first row of every database has; pieces must not differ in their columns."""
    common: set[str] | None = None
    for source in sources:
        first = next(_rows(source, 1), [])
        keys = {
            key for row in first for key, value in row.key_value_pairs.items() if isinstance(value, int | np.integer)
        }
        common = keys if common is None else common & keys
    return tuple(sorted((common or set()) - {"subset"}))


def _rows(source: Source, size: int) -> Iterator[list[Any]]:
    """The rows of a database, ``size`` at a time."""
    try:
        with translated("an ASE database"):
            database = ase.db.connect(str(source.path), type="db", use_lock_file=False)
        with database:  # or ASE opens the file anew for every row
            rows = iter(database.select())
            while True:
                with translated("an ASE database"):
                    taken = list(islice(rows, size))
                if not taken:
                    return
                yield taken
    except InputError as error:
        raise error.at(file=source.name) from None


def _database(source: Source, subset: int, extra: Sequence[str]) -> Iterator[Dataset]:
    start = 0
    for rows in _rows(source, PIECE):
        try:
            yield _piece(rows, subset, extra, Origin(source.name, np.arange(start, start + len(rows))))
        except InputError as error:
            raise error.at(file=source.name) from None
        start += len(rows)
    if not start:
        raise InputError("holds no structures; fetch it again", file=source.name)


def _piece(rows: Sequence[Any], subset: int, extra: Sequence[str], origin: Origin) -> Dataset:
    places: Sequence[int] | np.ndarray = [] if origin.places is None else origin.places
    for place, row in zip(places, rows, strict=True):
        if sorted(row.numbers) != _NUMBERS:
            raise InputError(f"is {formula(row.numbers)}, not {COMPOSITION}; give ISO17's files", structure=int(place))
    columns = {"subset": Column(np.full(len(rows), subset), "system", None, _MEANING)}
    for key in extra:
        values = np.array([row.key_value_pairs[key] for row in rows], dtype=np.int64)
        name = "trajectory" if key in _TRAJECTORY else key
        columns[name] = Column(values, "system", None, f"'{key}' of the file")
    return Dataset.from_arrays(
        np.concatenate([row.numbers for row in rows]),
        np.concatenate([row.positions for row in rows]),
        np.array([len(row.numbers) for row in rows]),
        {"energy": np.array([_energy(row) for row in rows]), "forces": np.concatenate([_forces(row) for row in rows])},
        metadata={
            "source": origin.file,
            "labels": {"energy": {"key": _ENERGY, "unit": "eV"}, "forces": {"key": _FORCES, "unit": "eV/Ang"}},
        },
        origin=origin,
        columns=columns,
    )


def _energy(row: Any) -> float:
    """In eV; also where schnetpack moved it into the data, and NaN where there is none."""
    value = row.key_value_pairs.get(_ENERGY, row.data.get(_ENERGY, np.nan))
    return float(np.asarray(value, dtype=np.float64).reshape(-1)[0])


def _forces(row: Any) -> np.ndarray:
    """(atoms, 3) eV/Å, NaN where there are none."""
    values = row.data.get(_FORCES)
    if values is None:
        return np.full((len(row.numbers), 3), np.nan)
    forces = np.asarray(values, dtype=np.float64)
    if forces.size != 3 * len(row.numbers):
        raise InputError(f"'{_FORCES}' has shape {forces.shape}; fetch the file again")
    return forces.reshape(-1, 3)


_CARD = Card(
    name="iso17",
    title="ISO17: molecular dynamics of 129 isomers of C7O2H10",
    citation=(
        "K. T. Schütt, P.-J. Kindermans, H. E. Sauceda, S. Chmiela, A. Tkatchenko, K.-R. Müller, Advances in Neural "
        "Information Processing Systems 30, 992 (2017), arXiv:1706.08566; K. T. Schütt et al., Nature Communications "
        "8, 13890 (2017); molecules from R. Ramakrishnan et al., Scientific Data 1, 140022 (2014)"
    ),
    licence="not stated at the official place (the ColabFit Exchange distributes it under CC0)",
    level="PBE with the van-der-Waals correction of Tkatchenko and Scheffler, FHI-aims",
    labels={
        _ENERGY: "eV, taken as energy",
        _FORCES: "eV/Ang, taken as forces",
        "subset": f"column: {_MEANING}",
    },
    structures=None,
    errata=(
        "The official page speaks of 129 molecules with 5,000 conformations each; copies have near 641,000 structures "
        "in their parts. What is there is read, and counted at import.",
        "The files do not say which isomer a frame belongs to. If yours do (an entry trajectory, isomer, isomer_id or "
        "molecule_id), it becomes the column 'trajectory'.",
        "The equilibrium structures of reference_eq and test_eq come along; choose by the column 'subset'.",
    ),
    advice=(
        "Judge by test_other (unknown molecules), and by test_within (known molecules, other frames) beside it; train "
        "on 'reference' alone. A random split over all of it tests neither.",
        "Frames are 1 fs apart: a random part of 'reference' for validation is close to what is trained on.",
    ),
)

DATASETS: tuple[NamedDataset, ...] = (
    NamedDataset(_CARD, (RemoteFile("iso17.tar.gz", "http://quantum-machine.org/datasets/iso17.tar.gz"),), read_iso17),
)
