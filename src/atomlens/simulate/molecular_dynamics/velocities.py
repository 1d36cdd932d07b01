"""Velocities to start with, without motion of the whole, and the degrees of freedom that are left."""

from __future__ import annotations

import ase
import numpy as np
from ase import units

from atomlens.errors import InputError


def degrees_of_freedom(atoms: ase.Atoms, *, at_rest: bool) -> int:
    """Of the momenta: 3 per atom, less 3 for a centre of mass at rest, less 3 for a molecule that does not rotate.

    Two atoms have two axes to rotate about. Rotation means nothing where a boundary is periodic.

    Args:
        atoms: the structure.
        at_rest: whether the dynamics conserves momentum and angular momentum, which `halt` has set to zero.
    """
    if not at_rest:
        return 3 * len(atoms)
    if atoms.pbc.any() or len(atoms) == 1:
        return 3 * len(atoms) - 3
    return 3 * len(atoms) - (5 if len(atoms) == 2 else 6)


def start(atoms: ase.Atoms, temperature: float, rng: np.random.Generator) -> None:
    """Draw momenta from Maxwell's and Boltzmann's distribution at a temperature in K."""
    spread = np.sqrt(atoms.get_masses() * units.kB * temperature)  # per component
    atoms.set_momenta(spread[:, None] * rng.standard_normal((len(atoms), 3)))


def halt(atoms: ase.Atoms) -> None:
    """Take the motion of the centre of mass out, and without periodic boundaries the rotation about it.

    What is left of canonical momenta is canonical in the degrees of freedom that are left; nothing is rescaled.

    Raises:
        InputError: nothing would be left of it.
    """
    masses, momenta = atoms.get_masses()[:, None], atoms.get_momenta()
    momenta -= masses * momenta.sum(axis=0) / masses.sum()
    if not atoms.pbc.any() and len(atoms) > 1:
        arms = atoms.positions - atoms.get_center_of_mass()
        squares = (arms**2).sum(axis=1)[:, None, None] * np.eye(3) - arms[:, :, None] * arms[:, None, :]
        inertia = (masses[:, :, None] * squares).sum(axis=0)
        # About the axis of a linear molecule there is no inertia, and nothing to take out.
        turning = np.linalg.pinv(inertia, rcond=1e-10, hermitian=True) @ np.cross(arms, momenta).sum(axis=0)
        momenta -= masses * np.cross(turning, arms)
    if degrees_of_freedom(atoms, at_rest=True) < 1:
        raise InputError("a single atom whose centre of mass is at rest does not move; choose the ensemble 'langevin'")
    atoms.set_momenta(momenta)
