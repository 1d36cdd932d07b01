"""Which key of a file labels which quantity, and in which unit: stated by the file or by the user, never guessed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from atomlens.config import nearest
from atomlens.data.dataset import Dataset, Origin
from atomlens.data.pieces import unknown
from atomlens.data.quantities import QUANTITIES, Quantity, quantity
from atomlens.data.readers.contents import Contents
from atomlens.data.units import LENGTH, same_unit, to_internal
from atomlens.errors import InputError

# Keys that are looked for, in this order, when the user names none. They are taken only where their unit is stated.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "energy": ("energy", "energies"),
    "forces": ("forces", "force"),
    "stress": ("stress",),
    "dipole": ("dipole", "dipoles"),
    "dipole_magnitude": ("dipole_magnitude", "mu"),
    "polarizability": ("polarizability", "polarisability"),
    "isotropic_polarizability": ("isotropic_polarizability", "alpha"),
    "electronic_spatial_extent": ("electronic_spatial_extent", "r2"),
    "zero_point_energy": ("zero_point_energy", "zpve"),
    "heat_capacity": ("heat_capacity", "Cv"),
    "charges": ("charges", "partial_charges"),
}


@dataclass(frozen=True)
class LabelSource:
    """Where a label stands in a file, and in which unit (None: the file states it)."""

    key: str
    unit: str | None = None


def parse_label(text: str) -> tuple[str, LabelSource]:
    """Read the command-line form ``NAME=KEY:UNIT`` of a label.

    ``energy=md17_energies:kcal/mol`` names key and unit, ``energy=U0`` leaves the unit to the file, and
    ``energy:kcal/mol`` (or ``energy=:kcal/mol``) means the key of the quantity's own name.

    Returns:
        The name of the quantity, and where its values stand.

    Raises:
        InputError: the quantity or the unit is unknown (the nearest is named), or the unit is of another dimension.
    """
    head, colon, unit = (part.strip() for part in text.rpartition(":"))
    if not colon:
        head, unit = unit, ""
    elif not unit:
        raise InputError(f"the label '{text}' has no unit after the colon; write NAME=KEY:UNIT")
    name, _, key = (part.strip() for part in head.partition("="))
    known_as = [known for known, names in SYNONYMS.items() if name in names]
    if name not in QUANTITIES and known_as:
        raise InputError(f"unknown quantity '{name}'; it is called {known_as[0]} here: {known_as[0]}={key or name}")
    kind = quantity(name)
    if unit:
        to_internal(unit, kind.dimension, name)
    return name, LabelSource(key or name, unit or None)


def label_sources(labels: Mapping[str, str] | None) -> dict[str, LabelSource] | None:
    """Labels as a run file has them, ``{quantity: "KEY:UNIT"}``, read.

    Raises:
        InputError: a quantity or unit is unknown.
    """
    return None if labels is None else dict(parse_label(f"{name}={source}") for name, source in labels.items())


def quantity_of(key: str) -> Quantity | None:
    """The quantity that a key names, if it names one."""
    if key in QUANTITIES:
        return QUANTITIES[key]
    return next((QUANTITIES[name] for name, keys in SYNONYMS.items() if key in keys), None)


class Translation:
    """Takes structures and labels of a file over into internal units, piece by piece.

    Args:
        labels: quantities that are wanted; None for every known one whose unit the file states.
        position_unit: of positions and cell; None for the file's, which is Å unless it states another.
        file: for messages and provenance.
    """

    def __init__(self, labels: Mapping[str, LabelSource] | None, position_unit: str | None, file: str) -> None:
        self._labels, self._position_unit, self._file = labels, position_unit, file
        self._keys: dict[str, None] = {}  # of all pieces
        self._chosen: dict[str, str] = {}  # the key of each label that was found by itself
        self._units: dict[str, str] = {}  # of the labels

    def dataset(self, contents: Contents) -> Dataset:
        """One piece; a label whose key it lacks is NaN, and the numbers of other keys are columns.

        Raises:
            InputError: a unit is not stated, unknown or contradicted, or a structure is impossible.
        """
        self._keys |= dict.fromkeys(contents.keys)
        wanted = self._stated(contents) if self._labels is None else self._labels
        taken = {source.key for source in wanted.values()}
        length = self._length_factor(contents)
        columns = {key: contents.column(key) for key in contents.keys if key not in taken}
        places = np.arange(contents.first, contents.first + len(contents.n_atoms)) if contents.first else None
        values = {name: self._values(name, source, contents) for name, source in wanted.items()}
        sources = {
            name: {"key": source.key, "unit": self._units[name]}
            for name, source in wanted.items()
            if name in self._units
        }
        return Dataset.from_arrays(
            contents.numbers,
            _scaled(contents.positions, length),
            contents.n_atoms,
            values,
            cell=_scaled(contents.cell, length),
            pbc=contents.pbc,
            charge=contents.charge,
            metadata={**contents.metadata, "source": self._file, "labels": sources},
            origin=Origin(self._file, places, unread=tuple(key for key in contents.keys if key not in taken)),
            columns={key: column for key, column in columns.items() if column is not None},
        )

    def finish(self) -> None:
        """After the last piece.

        Raises:
            InputError: no piece had the key of a label.
        """
        for name, source in (self._labels or {}).items():
            if source.key not in self._keys:
                raise absent(f"has no entry '{source.key}' for the label '{name}'", source.key, list(self._keys))

    def _values(self, name: str, source: LabelSource, contents: Contents) -> np.ndarray:
        kind = quantity(name)
        if source.key not in contents.keys:
            rows = int(contents.n_atoms.sum()) if kind.per == "atom" else len(contents.n_atoms)
            return unknown(rows, kind.shape)
        self._units[name] = unit = _unit_of(name, source, contents)
        return _scaled(contents.load(source.key, kind), to_internal(unit, kind.dimension, name))

    def _stated(self, contents: Contents) -> dict[str, LabelSource]:
        """The known quantities whose unit the file states."""
        for name in QUANTITIES:
            known_as = SYNONYMS.get(name, (name,))
            keys = [key for key in known_as if key in contents.keys and key in contents.units]
            if keys and known_as.index(keys[0]) < known_as.index(self._chosen.setdefault(name, keys[0])):
                raise InputError(
                    f"states the label '{name}' as '{keys[0]}' from about here on, and as '{self._chosen[name]}' "
                    f"before; say which to take, as in --label {name}={keys[0]}",
                    structure=contents.first,
                )
        return {name: LabelSource(key) for name, key in self._chosen.items() if key in contents.keys}

    def _length_factor(self, contents: Contents) -> float:
        stated = contents.units.get("positions")
        _refuse_contradiction("the positions", stated, self._position_unit)
        return to_internal(stated or self._position_unit or "Ang", LENGTH, "positions")


def _scaled(values: np.ndarray, factor: float) -> np.ndarray:
    wide = np.asarray(values, dtype=np.float64)
    return wide if factor == 1.0 else wide * factor


def _unit_of(name: str, source: LabelSource, contents: Contents) -> str:
    stated = contents.units.get(source.key)
    if stated is None and source.unit is None:
        raise InputError(
            f"does not state the unit of the label '{name}'; name it, "
            f"as in --label {name}={source.key}:{quantity(name).unit}"
        )
    _refuse_contradiction(f"'{source.key}'", stated, source.unit)
    return str(stated or source.unit)


def absent(problem: str, key: str, known: Sequence[str]) -> InputError:
    """The error about a key that is not there, with those that are and the nearest of them."""
    close = nearest(key, list(known))
    hint = close if close.startswith("did") else "name one of these" if known else "add it, or use another file"
    return InputError(f"{problem} (it has: {', '.join(known) or 'none'}); {hint}")


def _refuse_contradiction(what: str, stated: str | None, named: str | None) -> None:
    if stated and named and not same_unit(stated, named):
        raise InputError(f"states {what} in {stated}, not in {named}; leave the unit to the file or correct the file")
