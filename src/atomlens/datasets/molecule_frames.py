"""Frames of one molecule from numpy archives: the layouts of MD17, of its revision and of plain repacked archives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from atomlens.data.dataset import Column, Dataset, Origin
from atomlens.data.system import formula
from atomlens.data.units import ENERGY, FORCE, LENGTH, Dimension, to_internal
from atomlens.datasets.npz_rows import NpzRows, npz_rows
from atomlens.datasets.sources import found, one
from atomlens.errors import InputError

PIECE = 20_000  # frames; of 24 atoms they take 23 MB with their forces
ENERGY_UNIT, FORCE_UNIT = "kcal/mol", "kcal/mol/Ang"

# Names in commands and file names, with the composition that an archive must have.
MOLECULES = {
    "aspirin": "C9H8O4",
    "azobenzene": "C12H10N2",
    "benzene": "C6H6",
    "ethanol": "C2H6O",
    "malonaldehyde": "C3H4O2",
    "naphthalene": "C10H8",
    "paracetamol": "C8H9NO2",
    "salicylic": "C7H6O3",
    "toluene": "C7H8",
    "uracil": "C4H4N2O2",
}


@dataclass(frozen=True)
class Layout:
    """Where an archive keeps what: keys of the arrays with one row per frame, and of the elements."""

    numbers: str
    positions: str
    energy: str
    forces: str
    frame: str | None = None  # place in the original trajectory; None: see ``rows_in_time``
    others: Mapping[str, tuple[str, str, Literal["system", "atom"], str]] = field(default_factory=dict)
    without: tuple[str, ...] = ()  # keys that tell another layout

    @property
    def keys(self) -> tuple[str, ...]:
        """All that it needs."""
        needed = (self.numbers, self.positions, self.energy, self.forces)
        return needed + (() if self.frame is None else (self.frame,)) + tuple(self.others)


def _others(energy: str, forces: str, name: str, meaning: str) -> dict[str, Any]:
    return {
        energy: (f"{name}_energies", ENERGY_UNIT, "system", f"energy, {meaning}"),
        forces: (f"{name}_forces", FORCE_UNIT, "atom", f"forces, {meaning}"),
    }


_ORIGINAL, _REVISED = "original MD17 (PBE+vdW-TS)", "revised (PBE/def2-SVP)"
SGDML = Layout("z", "R", "E", "F")
PLAIN = Layout("numbers", "positions", "energies", "forces", without=("md17_energies",))
_PUBLISHED = ("nuclear_charges", "coords")
_REPACKED = ("numbers", "positions")
REVISED = (
    Layout(*_PUBLISHED, "energies", "forces", "old_indices", _others("old_energies", "old_forces", "md17", _ORIGINAL)),
    Layout(*_REPACKED, "energies", "forces", "md17_index", _others("md17_energies", "md17_forces", "md17", _ORIGINAL)),
)
ORIGINAL = (
    SGDML,
    Layout(*_PUBLISHED, "old_energies", "old_forces", "old_indices", _others("energies", "forces", "rmd17", _REVISED)),
    Layout(*_REPACKED, "md17_energies", "md17_forces", "md17_index", _others("energies", "forces", "rmd17", _REVISED)),
)


@dataclass(frozen=True)
class Trajectory:
    """What is to be read from an archive, and what it has to be."""

    molecule: str  # for messages
    composition: str  # in Hill order
    layouts: tuple[Layout, ...]
    rows_in_time: bool = False  # whether the rows of an archive without a key for it are the frames in order
    theory: Callable[[str], bool] = lambda _: True  # whether the level that an archive states will do


def molecule_reader(wanted: Trajectory, patterns: Sequence[str]) -> Callable[[tuple[Path, ...]], Iterator[Dataset]]:
    """A reader of the one archive among the user's files that fits ``patterns``."""

    def read(paths: tuple[Path, ...]) -> Iterator[Dataset]:
        with found(paths, patterns) as sources:
            source = one(sources, patterns)
            yield from frames(source.path, wanted, source.name)

    return read


def frames(
    path: Path,
    wanted: Trajectory,
    name: str = "",
    more: Mapping[str, Column] | None = None,
    size: int = PIECE,
) -> Iterator[Dataset]:
    """The frames of an archive, ``size`` at a time, in internal units.

    Args:
        path: of the archive.
        wanted: what it has to be.
        name: by which messages and the provenance call it, where it is not its path.
        more: columns with one row for every frame of the archive, which are cut along.
        size: frames of a piece.

    Raises:
        InputError: it is damaged, of another layout, another molecule or another level of theory.
    """
    name = name or str(path)
    with npz_rows(path, name) as archive:
        layout = _layout(archive, wanted)
        numbers = _numbers(archive, layout, wanted)
        units = _units(archive)
        metadata = {"source": name, "labels": _labels(layout, units)} | _stated(archive, wanted)
        for start, arrays in archive.pieces([key for key in layout.keys if key != layout.numbers], size):
            columns = _time(arrays, layout, wanted, start) | _cut(more or {}, start, len(arrays[layout.positions]))
            yield _piece(
                numbers, arrays, layout, units, columns, metadata, Origin(name, _places(arrays, layout, start))
            )


def _piece(
    numbers: np.ndarray,
    arrays: Mapping[str, np.ndarray],
    layout: Layout,
    units: Mapping[str, str],
    columns: Mapping[str, Column],
    metadata: Mapping[str, Any],
    origin: Origin,
) -> Dataset:
    count = len(arrays[layout.positions])
    shape = {"system": (count,), "atom": (count * len(numbers), 3)}

    def scaled(key: str, unit: str, dimension: Dimension, per: str) -> np.ndarray:
        return arrays[key].astype(np.float64).reshape(shape[per]) * to_internal(unit, dimension, key)

    others = {
        column: Column(arrays[key].astype(np.float64).reshape(shape[per]), per, unit, meaning)
        for key, (column, unit, per, meaning) in layout.others.items()
    }
    try:
        return Dataset.from_arrays(
            np.tile(numbers, count),
            scaled(layout.positions, units["positions"], LENGTH, "atom"),
            np.full(count, len(numbers)),
            {
                "energy": scaled(layout.energy, units["energy"], ENERGY, "system"),
                "forces": scaled(layout.forces, units["forces"], FORCE, "atom"),
            },
            metadata=metadata,
            origin=origin,
            columns={**columns, **others},
        )
    except InputError as error:
        raise error.at(file=origin.file) from None


def _cut(columns: Mapping[str, Column], start: int, count: int) -> dict[str, Column]:
    return {key: replace(column, values=column.values[start : start + count]) for key, column in columns.items()}


def _places(arrays: Mapping[str, np.ndarray], layout: Layout, start: int) -> np.ndarray:
    return np.arange(start, start + len(arrays[layout.positions]))


def _layout(archive: NpzRows, wanted: Trajectory) -> Layout:
    have = archive.shapes
    for layout in wanted.layouts:
        if all(key in have for key in layout.keys) and not any(key in have for key in layout.without):
            return layout
    needed = " or ".join("+".join(layout.keys) for layout in wanted.layouts)
    raise InputError(
        f"is no archive of this data set of {wanted.molecule} (it has: {', '.join(have) or 'nothing'}; "
        f"needed are {needed}); give the official file"
    )


def _numbers(archive: NpzRows, layout: Layout, wanted: Trajectory) -> np.ndarray:
    """(atoms,) atomic numbers, after a look at the composition and at the shapes of all arrays."""
    numbers = archive.whole(layout.numbers).astype(np.int64).reshape(-1)
    composition = formula(numbers) if len(numbers) and (numbers > 0).all() and (numbers < 119).all() else "nothing"
    if composition != wanted.composition:
        raise InputError(
            f"holds {composition}, not {wanted.molecule} ({wanted.composition}); name the data set of that molecule"
        )
    shapes = archive.shapes
    count, atoms = shapes[layout.positions][:1] or (0,), (len(numbers), 3)
    per = {key: atoms if kind == "atom" else () for key, (_, _, kind, _) in layout.others.items()}
    needed = {layout.positions: atoms, layout.energy: (), layout.forces: atoms} | per
    for key, tail in needed.items():
        accepted = {(*count, *tail)} if tail else {count, (*count, 1)}
        if shapes[key] not in accepted:
            raise InputError(f"'{key}' has shape {shapes[key]} where {(*count, *tail)} is needed; fetch the file again")
    if not count[0]:
        raise InputError("holds no frames; fetch the file again")
    return numbers


def _units(archive: NpzRows) -> dict[str, str]:
    """Those of the data set, unless the archive states others, as files of sGDML do (``r_unit``, ``e_unit``)."""
    energy, length = archive.text("e_unit") or ENERGY_UNIT, archive.text("r_unit") or "Ang"
    return {"positions": length, "energy": energy, "forces": f"{energy}/{length}"}


def _labels(layout: Layout, units: Mapping[str, str]) -> dict[str, Any]:
    return {
        "energy": {"key": layout.energy, "unit": units["energy"]},
        "forces": {"key": layout.forces, "unit": units["forces"]},
    }


def _stated(archive: NpzRows, wanted: Trajectory) -> dict[str, str]:
    """What the archive says of itself, after a look at the level of theory."""
    theory = archive.text("theory")
    if theory and not wanted.theory(theory):
        raise InputError(f"states the level '{theory}', which is not this data set's; name the one that it belongs to")
    return {key: text for key in ("name", "theory") if (text := archive.text(key))}


def _time(arrays: Mapping[str, np.ndarray], layout: Layout, wanted: Trajectory, start: int) -> dict[str, Column]:
    meaning = "place in the trajectory of the original MD17, from 0"
    if layout.frame is not None:
        return {"frame": Column(arrays[layout.frame].astype(np.int64).reshape(-1), "system", None, meaning)}
    if not wanted.rows_in_time:
        return {}
    return {"frame": Column(_places(arrays, layout, start), "system", None, meaning)}
