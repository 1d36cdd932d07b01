"""The electrostatic potential of latent charges, Φ(r) = Σ_i q_p q_i / |r - r_i| (insights paper 3.2).

Latent charges were learned to give dipole moments, so they stand for the part of the potential that a dipole moment
tells of, and no more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial import cKDTree

from atomlens.data.units import parse_unit
from atomlens.errors import InputError
from atomlens.explain.electrostatics.charge_sign import latent_charges
from atomlens.explain.probes.field import FieldCut, Grid, Plane, ScalarField, as_system
from atomlens.model import Model, Structure

COULOMB = parse_unit("Ha*bohr")[0]  # eV·Å; e²/(4πε₀), which is one in atomic units
NAME = "electrostatic potential"
CLOSEST = 0.1  # Å, on grids and cuts
_PAIRS_AT_ONCE = 2_000_000


def coulomb_potential(
    charges: ArrayLike, positions: ArrayLike, points: ArrayLike, probe_charge: float = 1.0, *, closest: float = 0.0
) -> np.ndarray:
    """The energy of a probe charge beside point charges, Σ_i q_p q_i / (4πε₀ |r - r_i|).

    Args:
        charges: q_i, (atoms,) in e.
        positions: r_i, (atoms, 3) in Å.
        points: r, (..., 3) in Å.
        probe_charge: q_p, in e.
        closest: shorter distances count as this one, in Å; with 0 the energy is infinite on a charge.

    Returns:
        (...) eV; for a probe of +1 e the same numbers are the potential in V.

    Raises:
        InputError: a point is not a number.
    """
    q, sources = np.asarray(charges, dtype=float), np.asarray(positions, dtype=float)
    places = np.asarray(points, dtype=float)
    if np.isnan(places).any():
        raise InputError("a coordinate of the points is not a number (NaN); give points in Å")
    charged = q != 0.0  # at its own place no charge makes 0 · ∞, which is nothing
    q, sources = q[charged], sources[charged]
    flat = places.reshape(-1, 3)
    values = np.empty(len(flat))
    size = max(_PAIRS_AT_ONCE // max(len(q), 1), 1)
    with np.errstate(divide="ignore"):
        for start in range(0, len(flat), size):
            chunk = flat[start : start + size]
            # |p - q|² by matrix product would round near zero; a loop over axes needs no (points, atoms, 3) array.
            squares = sum((chunk[:, None, axis] - sources[None, :, axis]) ** 2 for axis in range(3))
            values[start : start + size] = (1.0 / np.maximum(np.sqrt(squares), closest)) @ q
    return probe_charge * COULOMB * values.reshape(places.shape[:-1])


def electrostatic_potential(
    charges: Model | ArrayLike, structure: Structure, points: ArrayLike, *, probe_charge: float = 1.0
) -> np.ndarray:
    """Φ at points in space.

    Args:
        charges: a model with a dipole readout, whose latent charges are taken with their sign fixed
            (`explain.charge_sign`), or charges of the atoms, (atoms,) in e.
        structure: an open molecule.
        points: (..., 3) in Å.
        probe_charge: q_p, in e.

    Returns:
        (...) eV, which is V for the default probe of +1 e.

    Raises:
        InputError: the structure is periodic, or charges and atoms do not fit; the model has no charges or refuses the
            structure.
    """
    return coulomb_potential(as_charges(charges, structure), as_system(structure).positions, points, probe_charge)


def electrostatic_grid(
    charges: Model | ArrayLike, structure: Structure, grid: Grid | None = None, *, probe_charge: float = 1.0
) -> ScalarField:
    """Φ on a grid, by default `Grid.around` the structure; arguments, units and errors as `electrostatic_potential`.

    Distances below `CLOSEST` count as that, so that a file can hold every value.
    """
    grid, system = grid or Grid.around(structure), as_system(structure)
    q = as_charges(charges, structure)
    values = coulomb_potential(q, system.positions, grid.points, probe_charge, closest=CLOSEST).reshape(grid.shape)
    return ScalarField(grid, values, NAME, _unit(probe_charge), system)


def electrostatic_cut(
    charges: Model | ArrayLike,
    structure: Structure,
    plane: Plane | None = None,
    *,
    spacing: float = 0.1,
    probe_charge: float = 1.0,
) -> FieldCut:
    """Φ over a plane (by default the one nearest to all atoms), on points ``spacing`` Å apart; else as on a grid."""
    plane, positions = plane or Plane.through(structure), as_system(structure).positions
    x, y, points = plane.grid(spacing)
    values = coulomb_potential(as_charges(charges, structure), positions, points, probe_charge, closest=CLOSEST)
    nearest = nearest_atom(positions, points)
    return FieldCut(x, y, values, nearest, plane, NAME, _unit(probe_charge))


def nearest_atom(positions: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Distances of points (..., 3) from the nearest of positions (atoms, 3): (...) in Å."""
    distances: np.ndarray = cKDTree(positions).query(points.reshape(-1, 3))[0]
    return distances.reshape(points.shape[:-1])


def colour_limit(values: np.ndarray, nearest: np.ndarray) -> float:
    """Where a colour scale may end: what 98 % of the points farther than 1 Å from every atom do not exceed.

    One volt where there is nothing but rounding.
    """
    outside = np.abs(values[nearest > 1.0])
    limit = float(np.percentile(outside, 98.0)) if outside.size else 0.0
    return limit if limit > 1e-6 else 1.0


def as_charges(charges: Model | ArrayLike, structure: Structure) -> np.ndarray:
    """Charges (atoms,) in e of an open molecule, be they given or a model's latent ones with their sign fixed.

    Raises:
        InputError: see `electrostatic_potential`.
    """
    system = as_system(structure)
    if system.pbc.any():
        raise InputError(
            "is periodic, where the sum over charges does not converge by itself; give an open molecule, or a cluster"
        )
    if isinstance(charges, Model):
        return latent_charges(charges, [system])[0]
    values = np.asarray(charges, dtype=float)
    if values.shape != system.numbers.shape or not np.isfinite(values).all():
        raise InputError(
            f"charges of shape {values.shape}, or not all finite, do not fit {len(system.numbers)} atoms; "
            "give one number per atom"
        )
    return values


def _unit(probe_charge: float) -> str:
    return "V" if probe_charge == 1.0 else "eV"


@dataclass(frozen=True)
class Multipoles:
    """A molecule's charge and dipole moment, and how far its potential can be from theirs."""

    charge: float  # e
    dipole: np.ndarray  # (3,) e·Å, about the centre
    centre: np.ndarray  # (3,) Å
    reach: float  # Å, of the farthest atom from the centre
    spread: float  # e·Å², Σ |q_i| |r_i - centre|²

    def potential(self, points: np.ndarray) -> np.ndarray:
        """Φ = Q / R + μ·R / R³ at points (..., 3) in Å: (...) in V."""
        arms = points - self.centre
        distances = np.linalg.norm(arms, axis=-1)
        return COULOMB * (self.charge / distances + arms @ self.dipole / distances**3)

    def bound(self, distance: float) -> float:
        """What point charges can differ by at that distance R in Å, in V.

        In Legendre's series of 1/|R - r| the terms from the second on add up to at most r² / (R² (R - r)).
        """
        return COULOMB * self.spread / (distance**2 * (distance - self.reach))


def multipoles(charges: np.ndarray, positions: np.ndarray, dipole: np.ndarray, centre: np.ndarray) -> Multipoles:
    """Multipoles about a centre: dipole (3,) in e·Å as it is said to be, the rest from charges (atoms,) in e."""
    arms = np.linalg.norm(positions - centre, axis=1)
    return Multipoles(float(charges.sum()), dipole, centre, float(arms.max()), float(np.abs(charges) @ arms**2))
