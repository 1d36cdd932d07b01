"""Bonds to hydrogen as springs: their stiffness tells the unit of forces, their spread how hot frames are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import units as ase_units

from atomlens.checking.distances import distances
from atomlens.checking.places import structure_of
from atomlens.data.dataset import Dataset

# eV/Å², harmonic: 4.9 mdyn/Å for C-H, 6.5 for N-H, 7.4 for O-H (1 mdyn/Å is 6.24 eV/Å²).
STIFFNESS = {6: 31.0, 7: 41.0, 8: 46.0}
_FEWEST = 100  # bonds
_LEAST_SPREAD = 5e-3  # Å; relaxed structures tell nothing
_HOT_SPREAD = 0.015  # Å; a C-H bond at 80 K
_MOST = 200_000  # bonds that are looked at


@dataclass(frozen=True)
class Spring:
    """How the force on hydrogen along its bond depends on the bond's length."""

    partner: int  # atomic number of what hydrogen is bonded to
    stiffness: float  # eV/Å², minus the slope of the force over the length
    correlation: float
    bonds: int


def hydrogen_bonds(data: Dataset, partner: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of hydrogen atoms of open structures whose nearest atom is a ``partner``, and of these partners."""
    found = distances(data)
    hydrogen = np.flatnonzero((data.numbers == 1) & (found.partner >= 0) & (found.ratio < 1.4))
    other = found.partner[hydrogen]
    chosen = (data.numbers[other] == partner) & ~data.pbc[structure_of(data, hydrogen)].any(axis=1)
    step = max(1, int(chosen.sum()) // _MOST)
    return hydrogen[chosen][::step], other[chosen][::step]


def springs(data: Dataset) -> list[Spring]:
    """The springs that the labelled forces show, for each element whose bonds to hydrogen vary enough."""
    if "forces" not in data.labels:
        return []
    found = []
    forces = data.labels["forces"]
    for partner in STIFFNESS:
        hydrogen, other = hydrogen_bonds(data, partner)
        along = data.positions[hydrogen] - data.positions[other]
        length = np.linalg.norm(along, axis=1)
        pull = (forces[hydrogen] * along).sum(axis=1) / length
        known = np.isfinite(pull)
        length, pull = length[known], pull[known]
        if len(length) < _FEWEST or length.std() < _LEAST_SPREAD or not pull.any():
            continue
        # Compressed bonds are stiffer than stretched ones: a cubic of the length takes that out of the slope.
        off = length - np.median(length)
        slope = np.polynomial.polynomial.polyfit(off, pull, 3)[1]
        found.append(Spring(partner, -float(slope), float(np.corrcoef(off, pull)[0, 1]), len(length)))
    return found


def temperature(data: Dataset, rows: np.ndarray) -> float | None:
    """In K, from how much the bonds to hydrogen vary in frames of one open molecule; None where they tell nothing.

    Equipartition: stiffness × ⟨(r - ⟨r⟩)²⟩ = k T, in each bond on its own, with classical nuclei.

    Args:
        data: the structures.
        rows: frames with the same atoms in the same order.
    """
    size = int(data.n_atoms[rows[0]])
    found = distances(data)
    atoms = data.offsets[rows][:, None] + np.arange(size)
    partner = found.partner[atoms] - data.offsets[rows][:, None]
    kinetic = []
    for atom in np.flatnonzero(data.numbers[atoms[0]] == 1):
        nearest = int(np.median(partner[:, atom]))
        stiffness = STIFFNESS.get(int(data.numbers[atoms[0, nearest]])) if nearest >= 0 else None
        same = partner[:, atom] == nearest
        if stiffness is None or same.mean() < 0.95:
            continue
        spread = found.distance[atoms[same, atom]].std()
        if spread > _HOT_SPREAD:
            kinetic.append(stiffness * spread**2)
    return float(np.median(kinetic)) / ase_units.kB if kinetic else None
