"""Which atoms are bonded, from distances alone."""

from __future__ import annotations

import numpy as np
from ase.data import covalent_radii

# Of QM9's pairs of carbons hardly one lies between 1.66 Å (1.09), a long bond, and 1.75 Å (1.15); above come carbons
# that an ether bridges. Bonds of small atoms vary by more: F2 has 1.25.
_STRETCH = 1.15
_SLACK, _SLACK_UP_TO = 0.3, 1.6  # Å


def bonded_pairs(numbers: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Bonds of one open structure: closer than the covalent radii allow (Cordero et al. 2008, as in ASE).

    Two atoms with radii that sum to s are bonded below 1.15 s, or s + 0.3 Å where that is not beyond 1.6 Å. Images of
    periodic structures are not looked at.

    Args:
        numbers: (atoms,) atomic numbers.
        positions: (atoms, 3) in Å.

    Returns:
        (bonds, 2) atoms, the first with the lower number, in rising order.
    """
    radii = covalent_radii[np.asarray(numbers)]
    distances = np.linalg.norm(positions[:, None] - positions[None, :], axis=-1)
    return np.argwhere(np.triu(distances < longest_bond(radii[:, None] + radii[None, :]), k=1))


def longest_bond(sums: np.ndarray) -> np.ndarray:
    """Below which distance, in Å, two atoms are bonded whose covalent radii have these sums, of any shape, in Å."""
    return np.asarray(np.maximum(_STRETCH * sums, np.minimum(sums + _SLACK, _SLACK_UP_TO)))
