"""Single structures whose stress does not fit the energies while those around them do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from atomlens.checking.comparable_frames import FramePairs, medians_of_frames
from atomlens.checking.robust import weighted_median
from atomlens.checking.stress_readings import READINGS, Reading, read_as
from atomlens.checking.unit_mixups import stress_mixups
from atomlens.data.dataset import Dataset

if TYPE_CHECKING:
    from atomlens.checking.stress import Fit

# Median over a structure's pairs: spreads of the residuals, and share of the energy differences.
_MISFIT, _SHARE = 6.0, 0.25
_MENDS = 0.3  # another reading explains a misfit that it brings down to this share
_MOST = 50
_FEWEST, _NEAREST = 2, 8  # pairs
_NOTHING = "nothing tried explains it"


@dataclass(frozen=True)
class WrongRow:
    """A structure whose stress is wrong, and how."""

    structure: int
    words: str


def wrong_rows(data: Dataset, pairs: FramePairs, fit: Fit) -> list[WrongRow]:
    """Structures whose stress is wrong, gravest first.

    They are set aside one by one, the worst first: one wrong stress spoils the pairs of all its neighbours.
    """
    scale = np.maximum(fit.usual * fit.scale, 1e-12)
    size = np.abs(fit.residual) / scale
    share = np.abs(fit.residual) / np.maximum(np.maximum(np.abs(fit.said), np.abs(fit.said + fit.residual)), 1e-12)
    grave = np.minimum(size / _MISFIT, share / _SHARE)
    left = np.ones(len(pairs), dtype=bool)
    found: list[int] = []
    while left.any() and len(found) < _MOST:
        structures, median, counts = medians_of_frames(pairs.at(left), grave[left])
        worst = int(np.argmax(np.where(counts >= _FEWEST, median, 0.0)))
        if counts[worst] < _FEWEST or median[worst] < 1.0:
            break
        found.append(int(structures[worst]))
        left &= (pairs.first != structures[worst]) & (pairs.second != structures[worst])
    wrong = np.array(found)
    return [WrongRow(structure, _mended_by(data, pairs, fit, scale, structure, wrong)) for structure in found]


def _mended_by(data: Dataset, pairs: FramePairs, fit: Fit, scale: np.ndarray, structure: int, wrong: np.ndarray) -> str:
    """What would make the stress of one structure fit, in words."""
    ahead = pairs.first == structure
    partner = np.where(ahead, pairs.second, pairs.first)
    rows = np.flatnonzero((ahead | (pairs.second == structure)) & ~np.isin(partner, wrong))
    if len(rows) < _FEWEST:
        return _NOTHING
    rows = rows[np.argsort(pairs.strain[rows], kind="stable")][:_NEAREST]
    side = np.where(ahead[rows], 0, 1)
    own = fit.ends[rows, side]
    # What this end would have to say for the pair to fit.
    needed = own + 2.0 * fit.residual[rows] / fit.slope
    strains = pairs.strains[rows, side]

    def off(said: np.ndarray) -> float:
        return float(np.median(np.abs(said - needed) / scale[rows]))

    before = off(own)
    tried = [(off(_said(data, structure, strains, reading)), reading.words) for reading in _other_readings(fit.reading)]
    factor = weighted_median(needed / np.where(own == 0.0, 1.0, own), np.abs(own) / scale[rows])
    ways = stress_mixups(factor)
    if ways:
        tried.append((off(factor * own), ways[0].meaning))
    smallest = min(size for size, _ in tried)
    # The first of those that do: an exchange comes before a cycle that a single shear cannot tell from it.
    size, words = next(entry for entry in tried if entry[0] <= max(1.5 * smallest, 1.0))
    return words if size < _MENDS * before else _NOTHING


def _said(data: Dataset, structure: int, strains: np.ndarray, reading: Reading) -> np.ndarray:
    rows = np.array([structure])
    stress = read_as(reading, np.asarray(data.labels["stress"][rows]), np.asarray(data.cell[rows]))[0]
    return np.asarray((stress * strains).sum(axis=(1, 2)))


def _other_readings(usual: Reading) -> list[Reading]:
    """Other orders of the shears than that of the others, and theirs with its sign turned."""
    turned = Reading("sign", "its sign is the opposite", usual.shears, usual.shear_factor, -1.0, usual.kind)
    return [
        *(
            reading if reading.words else Reading(reading.name, "its components are in another order than the others'")
            for reading in READINGS
            if reading != usual and reading.kind == usual.kind and reading.shear_factor == usual.shear_factor
        ),
        turned,
    ]
