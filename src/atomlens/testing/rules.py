"""What atom terms add up to, property by property, written a second time in plain numpy."""

from __future__ import annotations

from collections.abc import Callable

import ase
import numpy as np
from ase.data import atomic_masses

from atomlens.data.quantities import quantity

EPSILON = float(np.finfo(float).eps)


def total(name: str, terms: np.ndarray, atoms: ase.Atoms) -> tuple[np.ndarray, float]:
    """The property that terms (atoms, ...) of a structure stand for, and the rounding that adding them may cost.

    Extensive properties are sums and others means, but for multipoles, Σ q_i (r_i - r_0) and Σ q_i |r_i - r_0|² with
    r_0 the centre of mass (insights paper eq. 3).

    Returns:
        the property (...), and the largest rounding error of a component; both in the property's unit
    """
    terms = np.asarray(terms, dtype=np.float64)
    count, reach = len(terms), 1.0
    if name in _POWERS:
        arms = centred(atoms)
        found = terms @ arms if name == "dipole" else terms @ np.square(arms).sum(axis=1)
        # Positions are rounded where they lie, however short the arms are.
        reach = float(np.linalg.norm(atoms.positions, axis=1).max()) ** _POWERS[name]
    elif quantity(name).extensive:
        found = terms.sum(axis=0)
    else:
        found = terms.mean(axis=0)
    # Adding n numbers in any order errs by at most n eps of their absolute sum; a few more for products and centres.
    size = float(np.abs(terms).reshape(count, -1).sum(axis=0).max())
    return np.asarray(found), (count + 4) * EPSILON * size * reach


def centred(atoms: ase.Atoms) -> np.ndarray:
    """Positions about the centre of mass, (atoms, 3) in Å."""
    masses = atomic_masses[atoms.numbers]
    return np.asarray(atoms.positions - masses @ atoms.positions / masses.sum())


_POWERS = {"dipole": 1, "electronic_spatial_extent": 2}  # of lengths in them

# What follows from a whole property, by the part's name.
DERIVED: dict[str, Callable[[np.ndarray], float]] = {
    "dipole_magnitude": lambda vector: float(np.sqrt(np.square(vector).sum())),
    "isotropic_polarizability": lambda tensor: float(np.trace(tensor)) / 3.0,
}
