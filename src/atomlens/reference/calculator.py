"""One molecule in tblite, with as little Python around it as ASE's dynamics and optimisers allow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ase
import numpy as np
from ase.calculators.calculator import CalculationFailed
from ase.units import Bohr, Hartree

# tblite's default, 1.0, leaves errors of 1e-4 eV/Å in the forces that depend on the step before; 0.1 leaves 7e-6 for a
# tenth more time (ethanol, measured against an accuracy of 1e-4).
ACCURACY = 0.1


class TightBinding:
    """GFN-xTB energy and forces of one molecule as ASE asks for them; the density of one step starts the next.

    `tblite.ase.TBLite` does the same and more, but a step of ethanol's dynamics takes 1.6 ms with it and 0.8 ms with
    this: it compares every array of the atoms with a copy several times a step, and fetches every result, asked for or
    not.

    Args:
        structure: numbers, positions (Å), charge (e) and multiplicity.
        method: GFN2-xTB or GFN1-xTB.
    """

    def __init__(self, structure: Mapping[str, Any], method: str) -> None:
        from tblite.interface import Calculator

        self._program = Calculator(
            method,
            np.array(structure["numbers"]),
            np.array(structure["positions"]) / Bohr,
            charge=structure["charge"],
            uhf=structure["multiplicity"] - 1,
        )
        self._program.set("accuracy", ACCURACY)
        self._program.set("verbosity", 0)
        self._result: Any = None
        self._positions: np.ndarray | None = None  # of the result

    def get_potential_energy(self, atoms: ase.Atoms, force_consistent: bool = True) -> float:  # noqa: ARG002
        """Energy in eV; with the electronic entropy, which is what the forces are the gradient of."""
        return float(self._at(atoms).get("energy")) * Hartree

    def get_forces(self, atoms: ase.Atoms) -> np.ndarray:
        """Forces in eV/Å, (atoms, 3)."""
        return np.asarray(self._at(atoms).get("gradient")) * (-Hartree / Bohr)

    def labels(self, atoms: ase.Atoms) -> dict[str, np.ndarray]:
        """Energy (eV), forces (eV/Å), dipole (e·Å, about the origin) and Mulliken charges (e).

        Raises:
            CalculationFailed: the SCF does not converge, or a result is not finite.
        """
        result = self._at(atoms)
        labels = {
            "energy": np.array(self.get_potential_energy(atoms)),
            "forces": self.get_forces(atoms),
            "dipole": np.array(result.get("dipole")) * Bohr,
            "charges": np.array(result.get("charges")),
        }
        if not all(np.isfinite(values).all() for values in labels.values()):
            raise CalculationFailed("a result is not finite")
        return labels

    def _at(self, atoms: ase.Atoms) -> Any:
        if self._positions is None or not np.array_equal(self._positions, atoms.positions):
            self._positions = None
            try:
                self._program.update(positions=atoms.positions / Bohr)
                self._result = self._program.singlepoint(self._result)
            except (RuntimeError, ValueError) as error:
                raise CalculationFailed(str(error)) from None
            self._positions = atoms.positions.copy()
        return self._result


def prepare(structure: Mapping[str, Any], method: str) -> ase.Atoms:
    """The structure with a fresh calculator; arguments as for `TightBinding`.

    Raises:
        CalculationFailed: tblite refuses the structure.
    """
    atoms = ase.Atoms(numbers=structure["numbers"], positions=structure["positions"])
    try:
        atoms.calc = TightBinding(structure, method)
    except (RuntimeError, ValueError) as error:
        raise CalculationFailed(str(error)) from None
    return atoms
