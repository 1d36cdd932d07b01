"""What a piece of a file holds, before its units are known: the common form that every reader hands over."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import ase
import numpy as np

from atomlens.data.dataset import Column
from atomlens.data.quantities import Quantity

CHARGE_KEYS = ("charge", "total_charge")

# Positions of xx xy xz / yx yy yz / zx zy zz in ASE's Voigt order xx yy zz yz xz xy.
_VOIGT = [0, 5, 4, 5, 1, 3, 4, 3, 2]


@dataclass(frozen=True)
class Contents:
    """Structures end to end (shapes as in `Dataset`, lengths in the file's unit) and the keys that may hold labels.

    A file comes in pieces of bounded size; a key may be missing from some of them.
    """

    numbers: np.ndarray  # (atoms,)
    positions: np.ndarray  # (atoms, 3)
    n_atoms: np.ndarray  # (structures,)
    cell: np.ndarray  # (structures, 3, 3)
    pbc: np.ndarray  # (structures, 3)
    charge: np.ndarray  # (structures,) e
    keys: tuple[str, ...]
    units: Mapping[str, str]  # units that the file states, by key; "positions" for positions and cell
    load: Callable[[str, Quantity], np.ndarray]  # values of a key, one row per structure or atom, in the file's unit
    column: Callable[[str], Column | None]  # the same of a key that labels nothing; None: there is no such row
    metadata: Mapping[str, Any] = field(default_factory=dict)
    first: int = 0  # number of the piece's first structure in the file


@dataclass(frozen=True)
class Frame:
    """One structure of a file that stores them one by one, with whatever it says about it."""

    numbers: np.ndarray  # (atoms,)
    positions: np.ndarray  # (atoms, 3)
    cell: np.ndarray  # (3, 3)
    pbc: np.ndarray  # (3,)
    values: Mapping[str, Any]
    units: Mapping[str, str]
    per_atom: Collection[str] = ()  # keys with one row per atom
    unclear: Collection[str] = ()  # keys of which only the shape tells whether they have

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
            per_atom=(arrays.keys() - atoms.info.keys()) | (results.keys() & ATOM_RESULTS),
        )


# ASE's names for results with one row per atom.
ATOM_RESULTS = {"forces", "charges", "magmoms", "stresses", "atom_energies", "born_effective_charges"}

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


def numeric(value: Any) -> bool:
    """Whether something that a file says is a number or an array of numbers."""
    try:
        return not isinstance(value, str | dict) and np.asarray(value).dtype.kind in "fiu"
    except ValueError:  # a ragged list
        return False


def column_type(values: np.ndarray) -> np.ndarray:
    """Numbers as a column has them: int64 for whole ones, else float64."""
    # What int64 cannot hold is no identifier that anybody needs to the last digit.
    whole = values.dtype.kind == "i" or (values.dtype.kind == "u" and (not values.size or values.max() < 2**63))
    return np.ascontiguousarray(values, dtype=np.int64 if whole else np.float64)


def fit(values: np.ndarray, needed: tuple[int, ...]) -> np.ndarray | None:
    """Numbers in the shape that is needed, where only axes of length one differ; None where they do not fit."""
    if values.dtype.kind not in "fiu" or [n for n in values.shape if n != 1] != [n for n in needed if n != 1]:
        return None
    return values.reshape(needed).astype(np.float64, copy=False)


def fit_tensors(values: np.ndarray, needed: tuple[int, ...]) -> np.ndarray | None:
    """Tensors (..., 3, 3) whose nine numbers stand in one row, which their symmetry lets have only one order."""
    if needed[-2:] != (3, 3):
        return None
    flat = fit(values, (*needed[:-2], 9))
    return None if flat is None else flat.reshape(needed)


def full_stress(values: np.ndarray) -> np.ndarray | None:
    """(3, 3) from six numbers in ASE's Voigt order xx yy zz yz xz xy; None where there are not six."""
    flat = fit(values, (6,))
    return None if flat is None else flat[_VOIGT].reshape(3, 3)
