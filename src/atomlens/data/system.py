"""One structure: atoms at positions, in a cell or free."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import ase
import numpy as np
from ase.data import chemical_symbols

from atomlens.errors import InputError

MAX_ATOMIC_NUMBER = 118


@dataclass(frozen=True)
class AtomicSystem:
    """A checked structure.

    Raises:
        InputError: on building, for positions that are not finite, an impossible atomic number, a periodic direction
            without a lattice vector or a singular cell.
    """

    numbers: np.ndarray  # (atoms,) atomic numbers
    positions: np.ndarray  # (atoms, 3) Å, float64
    cell: np.ndarray  # (3, 3) Å, rows are lattice vectors; zeros where there is none
    pbc: np.ndarray  # (3,) bool, which lattice directions repeat
    charge: float = 0.0  # e, of the whole structure

    def __post_init__(self) -> None:
        check_structure(self.numbers, self.positions, self.cell, self.pbc)

    @classmethod
    def from_ase(cls, atoms: ase.Atoms) -> AtomicSystem:
        """Take over numbers, positions, cell, periodicity and ``info["charge"]``.

        Raises:
            InputError: the structure is impossible, or its charge is not a number.
        """
        return cls(
            numbers=np.asarray(atoms.numbers, dtype=np.int64),
            positions=np.array(atoms.positions, dtype=np.float64),
            cell=np.array(atoms.cell.array, dtype=np.float64),
            pbc=np.array(atoms.pbc, dtype=bool),
            charge=total_charge(atoms.info.get("charge", 0.0)),
        )

    def to_ase(self) -> ase.Atoms:
        """The same structure for ASE."""
        atoms = ase.Atoms(numbers=self.numbers, positions=self.positions, cell=self.cell, pbc=self.pbc)
        if self.charge:
            atoms.info["charge"] = self.charge
        return atoms

    @property
    def formula(self) -> str:
        """Chemical formula in Hill order."""
        return formula(self.numbers)


def total_charge(value: Any) -> float:
    """The charge of a whole structure, in e.

    Raises:
        InputError: it is not a finite number.
    """
    try:
        charge = float(value)
    except (TypeError, ValueError):
        charge = math.nan
    if not math.isfinite(charge):
        raise InputError(f"the charge {value!r} is not a finite number; correct it")
    return charge


def formula(numbers: np.ndarray) -> str:
    """Chemical formula of atomic numbers in Hill order."""
    return str(ase.Atoms(numbers=numbers).get_chemical_formula(mode="hill"))


def symbol(number: int) -> str:
    """The chemical symbol of an atomic number."""
    return str(chemical_symbols[number])


def check_structure(numbers: np.ndarray, positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray) -> None:
    """Refuse a structure that no model can take; the arrays are those of `AtomicSystem`.

    Raises:
        InputError: see `AtomicSystem`.
    """
    if len(numbers) == 0:
        raise InputError("has no atoms; remove the structure")
    if positions.shape != (len(numbers), 3):
        raise InputError(f"positions have shape {positions.shape}, not ({len(numbers)}, 3); repair the structure")
    wild = np.flatnonzero((numbers < 1) | (numbers > MAX_ATOMIC_NUMBER))
    if len(wild):
        raise InputError(f"atomic number {numbers[wild[0]]} is not between 1 and 118; correct it", atom=int(wild[0]))
    bad = np.flatnonzero(~np.isfinite(positions).all(axis=1))
    if len(bad):
        raise InputError(
            f"the position of this {symbol(int(numbers[bad[0]]))} is not finite; repair or remove the structure",
            atom=int(bad[0]),
        )
    if not np.isfinite(cell).all():
        raise InputError("the cell holds a number that is not finite; repair or remove the structure")
    if not pbc.any():
        return
    lengths = np.linalg.norm(cell, axis=1)
    if (lengths[pbc] == 0).any():
        raise InputError(
            "is marked periodic but has no lattice vector for it; give the cell or switch the periodic flag off"
        )
    present = cell[lengths > 0] / lengths[lengths > 0, None]
    # The volume that the unit vectors span, squared: a flat cell has next to no volume for its size.
    if np.linalg.det(present @ present.T) < 1e-12:
        raise InputError("the cell is singular (its lattice vectors lie in one plane or line); correct the cell")
