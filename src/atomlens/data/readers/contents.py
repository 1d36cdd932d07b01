"""What a file holds, before its units are known: the common form that every reader hands over."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ase
import numpy as np

from atomlens.data.quantities import Quantity
from atomlens.data.system import total_charge
from atomlens.data.units import same_unit
from atomlens.errors import InputError

CHARGE_KEYS = ("charge", "total_charge")

# Positions of xx xy xz / yx yy yz / zx zy zz in ASE's Voigt order xx yy zz yz xz xy.
_VOIGT = [0, 5, 4, 5, 1, 3, 4, 3, 2]


@dataclass(frozen=True)
class Contents:
    """Structures end to end (shapes as in `Dataset`, lengths in the file's unit) and the keys that may hold labels."""

    numbers: np.ndarray  # (atoms,)
    positions: np.ndarray  # (atoms, 3)
    n_atoms: np.ndarray  # (structures,)
    cell: np.ndarray  # (structures, 3, 3)
    pbc: np.ndarray  # (structures, 3)
    charge: np.ndarray  # (structures,) e
    keys: tuple[str, ...]
    units: Mapping[str, str]  # units that the file states, by key; "positions" for positions and cell
    load: Callable[[str, Quantity], np.ndarray]  # values of a key, one row per structure or atom, in the file's unit
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Frame:
    """One structure of a file that stores them one by one, with whatever it says about it."""

    numbers: np.ndarray  # (atoms,)
    positions: np.ndarray  # (atoms, 3)
    cell: np.ndarray  # (3, 3)
    pbc: np.ndarray  # (3,)
    values: Mapping[str, Any]
    units: Mapping[str, str]

    @classmethod
    def from_atoms(cls, atoms: ase.Atoms, units: Mapping[str, str], *, results_stated: bool) -> Frame:
        """Lay open what ASE spreads over calculator, ``info`` and ``arrays``.

        Args:
            atoms: as ASE read it.
            units: stated by the file, by key.
            results_stated: whether the calculator's results are in ASE's units by definition of the format.
        """
        results = dict(getattr(atoms.calc, "results", {}))
        if "energies" in results:
            # ASE's name for the contributions of atoms; elsewhere "energies" are those of the structures.
            results["atom_energies"] = results.pop("energies")
        arrays = {key: values for key, values in atoms.arrays.items() if key not in ("numbers", "positions")}
        return cls(
            numbers=atoms.numbers,
            positions=atoms.positions,
            cell=atoms.cell.array,
            pbc=atoms.pbc,
            values={**arrays, **atoms.info, **results},
            units={**(ase_units(results) if results_stated else {}), **units},
        )


# What ASE defines for its databases and for the results that it parses from programs.
_ASE_UNITS = {
    "energy": "eV",
    "forces": "eV/Ang",
    "stress": "eV/Ang^3",
    "dipole": "e*Ang",
    "charges": "e",
    "atom_energies": "eV",
}


def ase_units(results: Mapping[str, Any]) -> dict[str, str]:
    """The units that ASE defines for the results that are there."""
    return {key: unit for key, unit in _ASE_UNITS.items() if key in results}


def known_units(units: Mapping[Any, Any]) -> dict[str, str]:
    """The entries of a file's own dictionary of units that are text; other entries state nothing."""
    return {str(key): unit for key, unit in units.items() if isinstance(unit, str) and unit.strip()}


def from_frames(frames: Sequence[Frame], stated: Mapping[str, str] | None = None) -> Contents:
    """Lay structures end to end.

    Args:
        frames: in the order of the file.
        stated: units that hold for the whole file.

    Raises:
        InputError: there are none, one has a charge that is no number, or two state different units for one key.
    """
    if not frames:
        raise InputError("holds no structures; give at least one")
    keys = {key for frame in frames for key, value in frame.values.items() if _numeric(value)}

    def load(key: str, kind: Quantity) -> np.ndarray:
        rows = [_row(key, kind, frame, place) for place, frame in enumerate(frames)]
        return np.concatenate(rows) if kind.per == "atom" else np.stack(rows)

    return Contents(
        numbers=np.concatenate([frame.numbers for frame in frames]),
        positions=np.concatenate([frame.positions for frame in frames]),
        n_atoms=np.array([len(frame.numbers) for frame in frames]),
        cell=np.stack([frame.cell for frame in frames]),
        pbc=np.stack([frame.pbc for frame in frames]),
        charge=np.array([_charge(frame, place) for place, frame in enumerate(frames)]),
        keys=tuple(sorted(keys - set(CHARGE_KEYS))),
        units={**_common_units(frames), **(stated or {})},
        load=load,
    )


def _charge(frame: Frame, place: int) -> float:
    value = next((frame.values[key] for key in CHARGE_KEYS if key in frame.values), 0.0)
    try:
        return total_charge(np.squeeze(value).item() if isinstance(value, np.ndarray) and value.size == 1 else value)
    except InputError as error:
        raise error.at(structure=place) from None


def _common_units(frames: Sequence[Frame]) -> dict[str, str]:
    """The unit of each key, which must be stated alike by every structure that has the key."""
    found: dict[str, str | None] = {}
    for place, frame in enumerate(frames):
        for key in {**frame.values, "positions": None}:
            unit = frame.units.get(key)
            first = found.setdefault(key, unit)
            if first != unit and not (first and unit and same_unit(first, unit)):
                raise InputError(
                    f"states '{key}' in {unit or 'no unit'}, the structures before it in {first or 'no unit'}; "
                    "write them in one unit",
                    structure=place,
                )
    return {key: unit for key, unit in found.items() if unit is not None}


def _numeric(value: Any) -> bool:
    try:
        return not isinstance(value, str | dict) and np.asarray(value).dtype.kind in "fiu"
    except ValueError:  # a ragged list
        return False


def _row(key: str, kind: Quantity, frame: Frame, place: int) -> np.ndarray:
    """The values of one structure, NaN where it has none."""
    atoms = len(frame.numbers)
    needed = kind.shape if kind.per == "system" else (atoms, *kind.shape)
    value = frame.values.get(key)
    if value is None:
        return np.full(needed, np.nan)
    shaped = fit(np.asarray(value), needed) if _numeric(value) else None
    if shaped is None and kind.name == "stress":
        shaped = full_stress(np.asarray(value))
    if shaped is None:
        raise InputError(
            f"the label '{kind.name}' (key '{key}') is {_described(value)} where numbers of shape {needed} are needed; "
            "repair or remove the structure",
            structure=place,
        )
    return shaped


def fit(values: np.ndarray, needed: tuple[int, ...]) -> np.ndarray | None:
    """Numbers in the shape that is needed, where only axes of length one differ; None where they do not fit."""
    if values.dtype.kind not in "fiu" or [n for n in values.shape if n != 1] != [n for n in needed if n != 1]:
        return None
    return values.reshape(needed).astype(np.float64, copy=False)


def full_stress(values: np.ndarray) -> np.ndarray | None:
    """(3, 3) from six numbers in ASE's Voigt order xx yy zz yz xz xy; None where there are not six."""
    flat = fit(values, (6,))
    return None if flat is None else flat[_VOIGT].reshape(3, 3)


def _described(value: Any) -> str:
    return f"of shape {np.shape(value)}" if _numeric(value) else f"{value!r}"[:60]
