"""Benzene, pyridine, pyrazine and s-triazine: the ready-made chain of alchemical paths (thesis fig. 3.16).

Every molecule has the same twelve sites: six of the ring, round it from 0 to 5, and beside them six of hydrogens, 6 to
11; a nitrogen leaves its hydrogen's site empty. The geometries are those of QM9, relaxed with B3LYP/6-31G(2df,p)
(Ramakrishnan et al. 2014, Scientific Data 1, 140022; CC0; molecules 214, 215, 216 and 218), made exactly symmetric,
which moves no atom by more than 7e-5 Å.
"""

from __future__ import annotations

import numpy as np

from atomlens.data.system import AtomicSystem

AZINES = ("benzene", "pyridine", "pyrazine", "s-triazine")
NITROGENS: dict[str, tuple[int, ...]] = {"benzene": (), "pyridine": (0,), "pyrazine": (0, 3), "s-triazine": (0, 2, 4)}
SITES = 12
# x and y in Å of the sites 0 to 3 and 6 to 9; the others are their mirror images at x = 0.
_HALVES: dict[str, tuple[tuple[float, float] | None, ...]] = {
    "benzene": (
        (0.0, -1.39346), (1.20677, -0.69673), (1.20677, 0.69673), (0.0, 1.39346),
        (0.0, -2.47860), (2.14653, -1.23930), (2.14653, 1.23930), (0.0, 2.47860),
    ),
    "pyridine": (
        (0.0, -1.39468), (1.13997, -0.69785), (1.19599, 0.69333), (0.0, 1.40372),
        None, (2.05623, -1.28361), (2.15334, 1.20259), (0.0, 2.48886),
    ),
    "pyrazine": (
        (0.0, -1.40518), (1.13078, -0.69676), (1.13078, 0.69676), (0.0, 1.40518),
        None, (2.06411, -1.25425), (2.06411, 1.25425), None,
    ),
    "s-triazine": (
        (0.0, -1.37243), (1.11847, -0.64575), (1.18856, 0.68621), (0.0, 1.29149),
        None, (2.06057, -1.18967), None, (0.0, 2.37935),
    ),
}  # fmt: skip


def azine(name: str, geometry: str | None = None) -> AtomicSystem:
    """One of `AZINES` with its atoms in the order of their sites, in its own geometry or in that of another.

    The other must have an atom at each of its sites, as benzene does.
    """
    found = occupied(name)
    numbers = np.where(np.isin(found, NITROGENS[name]), 7, np.where(found < 6, 6, 1))
    positions = site_positions(geometry or name)[found]
    return AtomicSystem(numbers, positions, np.zeros((3, 3)), np.zeros(3, dtype=bool))


def occupied(name: str) -> np.ndarray:
    """Sites (atoms,) of a molecule's atoms."""
    empty = [6 + site for site in NITROGENS[name]]
    return np.array([site for site in range(SITES) if site not in empty])


def shared_sites(start: str, end: str) -> list[tuple[int, int]]:
    """The mapping of one molecule's atoms on another's: those at the same sites."""
    left, right = occupied(start).tolist(), occupied(end).tolist()
    return [(left.index(site), right.index(site)) for site in left if site in right]


def site_positions(name: str) -> np.ndarray:
    """Positions of the sites, (12, 3) in Å; NaN where a molecule has no atom."""
    half = np.array([(np.nan, np.nan) if entry is None else entry for entry in _HALVES[name]])
    mirrored = half * np.array([-1.0, 1.0])
    ring, beside = half[:4], half[4:]
    plane = np.concatenate([ring, mirrored[2:0:-1], beside, mirrored[6:4:-1]])
    return np.column_stack([plane, np.zeros(SITES)])
