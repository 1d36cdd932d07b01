"""The vibrations of a structure under a model, in one call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase
import numpy as np
from ase.data import atomic_masses

from atomlens.data.system import AtomicSystem, symbol
from atomlens.errors import InputError
from atomlens.files import replacing
from atomlens.model import Model, Structure
from atomlens.simulate.vibrations.hessian import Curvature, against_differences, curvature, in_float64
from atomlens.simulate.vibrations.infrared import Infrared, infrared
from atomlens.simulate.vibrations.normal_modes import ROUNDING, NormalModes, normal_modes

FORCE_LIMIT = 0.01  # eV/Å; beyond, a structure is no minimum by anyone's measure


@dataclass(frozen=True)
class Vibrations:
    """Harmonic vibrations of a structure, and what says how far they can be trusted."""

    system: AtomicSystem
    curvature: Curvature
    modes: NormalModes
    infrared: Infrared | None  # None: neither the model nor a second one has dipoles
    difference: float  # of H v from central differences of forces, relative, worst of random directions
    other_dipoles: bool = False  # whether the dipoles are those of a second model

    @property
    def hessian(self) -> np.ndarray:
        """(3 atoms, 3 atoms) eV/Å², symmetric."""
        return self.curvature.hessian

    @property
    def max_force(self) -> float:
        """Length of the largest force on an atom, in eV/Å."""
        return self.curvature.max_force

    @property
    def way_to_minimum(self) -> float:
        """How far the farthest atom is from the minimum of the harmonic energy, in Å, along the real modes."""
        modes, real = self.modes, self.modes.frequencies > ROUNDING
        steps = modes.displacements[real]
        push = np.einsum("kia,ia->k", steps, self.curvature.forces) / modes.force_constants[real]
        return float(np.linalg.norm(np.einsum("k,kia->ia", push, steps), axis=1).max(initial=0.0))

    def to_dict(self) -> dict[str, Any]:
        """For JSON, without the Hessian and the displacements, which `write` keeps."""
        modes = self.modes
        found: dict[str, Any] = {
            "frequencies": modes.frequencies.tolist(),
            "frequency_unit": "cm^-1",
            "imaginary": modes.imaginary,
            "reduced_masses": modes.reduced_masses.tolist(),
            "force_constants": modes.force_constants.tolist(),
            "force_constant_unit": "eV/Ang^2",
            "zero_point_energy": modes.zero_point_energy,
            "energy_unit": "eV",
            "free_motions": modes.free.tolist(),
            "leak": modes.leak,
            "max_force": self.max_force,
            "way_to_minimum": self.way_to_minimum,
            "asymmetry": self.curvature.asymmetry,
            "sum_rule": self.curvature.sum_rule,
            "difference": self.difference,
        }
        if self.infrared is not None:
            found["infrared"] = self.infrared.intensities.tolist()
            found["infrared_unit"] = "km/mol"
            found["dipole"] = self.infrared.dipole.tolist()
        return found

    def write(self, path: str | Path) -> None:
        """Everything as numpy arrays (.npz), in the units of this class."""
        system, modes = self.system, self.modes
        arrays = {
            "numbers": system.numbers, "positions": system.positions, "cell": system.cell, "pbc": system.pbc,
            "masses": modes.masses, "hessian": self.hessian, "forces": self.curvature.forces,
            "frequencies": modes.frequencies, "displacements": modes.displacements,
            "reduced_masses": modes.reduced_masses, "force_constants": modes.force_constants,
        }  # fmt: skip
        if self.infrared is not None:
            arrays |= {"infrared": self.infrared.intensities, "polar_tensors": self.infrared.polar_tensors}
        save: Callable[..., None] = np.savez_compressed
        with replacing(path) as temporary:
            save(temporary, **arrays)


def harmonic_vibrations(
    model: Model,
    structure: Structure,
    *,
    dipole_model: Model | None = None,
    masses: np.ndarray | None = None,
    force_limit: float = FORCE_LIMIT,
    title: str = "",
) -> Vibrations:
    """Harmonic frequencies, normal modes and, where a dipole is predicted, infrared intensities.

    Args:
        model: with an energy readout.
        structure: relaxed with this model.
        dipole_model: where the dipoles are from; by default the model itself, if it has them.
        masses: (atoms,) atomic mass units; by default those of ASE's atoms, or else the elements'.
        force_limit: in eV/Å, beyond which a structure is refused; ``float("inf")`` takes the curvature anywhere.
        title: of the progress bar.

    Raises:
        InputError: the model or the dipole model refuses the structure, it is not relaxed, atoms are held fixed, or
            the dipole model has no dipoles.
    """
    if isinstance(structure, ase.Atoms) and structure.constraints:
        raise InputError(
            "has constraints, and vibrations are those of atoms that are all free to move; call `del atoms.constraints`"
        )
    system = AtomicSystem.from_ase(structure) if isinstance(structure, ase.Atoms) else structure
    _check_relaxed(system, _forces(model, system), force_limit)
    found = curvature(model, system, title=title)
    if masses is None:
        masses = structure.get_masses() if isinstance(structure, ase.Atoms) else atomic_masses[system.numbers]
    modes = normal_modes(found.hessian, masses, system.positions, cell=system.cell, pbc=system.pbc)
    source = dipole_model if dipole_model is not None else model if "dipole" in model.predicted else None
    return Vibrations(
        system=system,
        curvature=found,
        modes=modes,
        infrared=None if source is None else infrared(source, system, modes),
        difference=against_differences(model, system, found.hessian),
        other_dipoles=dipole_model is not None,
    )


def _forces(model: Model, system: AtomicSystem) -> np.ndarray:
    model.energy_readout  # noqa: B018  refuses models without energies
    return in_float64(model).predict(system, stress=False)["forces"]


def _check_relaxed(system: AtomicSystem, forces: np.ndarray, force_limit: float) -> None:
    sizes = np.linalg.norm(forces, axis=1)
    atom = int(sizes.argmax())
    if sizes[atom] <= force_limit:
        return
    raise InputError(
        f"the force on this {symbol(int(system.numbers[atom]))} is {sizes[atom]:.3g} eV/Å (at most {force_limit:g}), "
        "so that the structure is no minimum of this model and its frequencies would not be those of one; relax it "
        "with this model first, or raise the limit if the curvature is wanted here",
        atom=atom,
    )
