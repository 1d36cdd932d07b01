"""Frames whose labels do not fit those of their neighbours while the neighbours' fit each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from atomlens.checking.comparable_frames import FramePairs, medians_of_frames
from atomlens.checking.robust import running_spread, weighted_median

# In spreads of the residuals of pairs that are as far apart. Of right labels, the median over a frame's pairs stays
# below 7 in all of MD17 and rMD17.
_MISFIT, _FAR_OFF = 6.0, 15.0
_EXPLAINS = 0.25  # a change of one label explains a misfit that it brings down to this share of it
_FEWEST = 3  # pairs of a frame that is judged
_MOST_SHARE = 0.2  # of more frames than this none is an exception
_MOST = 200
# Of the derivative's change along the way, which is of the second order, the third leaves 0.13 and less even on the
# wall of a dimer's curve: what is beyond is no end of a scan, whose neighbours all lie on one side.
_BEYOND_THIRD, _OTHER_FACTOR = 0.15, 1.5


@dataclass(frozen=True)
class Misfit:
    """One frame, and what would make it fit."""

    structure: int
    kind: Literal["sign", "factor", "energy", "other"]
    size: float  # eV that the energy is off; of a factor, the factor
    deviations: float
    sure: bool = False  # more than the third order of the energy can explain


def misfit_frames(pairs: FramePairs, slope: float) -> list[Misfit]:
    """Frames that fit none of their neighbours, gravest first.

    Args:
        pairs: near frames.
        slope: of energy against work, which all right frames share.
    """
    residual = pairs.energy - 0.5 * slope * pairs.paths.sum(axis=1)
    scale = np.maximum(running_spread(np.abs(residual), pairs.distance), 1e-9)
    size = np.abs(residual) / scale
    structures, median, counts = medians_of_frames(pairs, size)
    suspects = np.flatnonzero((median > _MISFIT) & (counts >= _FEWEST))
    if not len(suspects) or len(suspects) > _MOST_SHARE * len(structures):
        return []
    suspects = suspects[np.argsort(-median[suspects], kind="stable")][:_MOST]
    wrong = set(structures[suspects].tolist())
    found = [_explained(pairs, slope, scale, int(structures[row]), float(median[row]), wrong) for row in suspects]
    return [entry for entry in found if entry is not None]


def _explained(
    pairs: FramePairs, slope: float, scale: np.ndarray, structure: int, deviations: float, wrong: set[int]
) -> Misfit | None:
    """What is wrong with one frame; None if nothing is that its sound neighbours would show."""
    ahead = pairs.first == structure
    rows = np.flatnonzero(ahead | (pairs.second == structure))
    partner = np.where(ahead[rows], pairs.second[rows], pairs.first[rows])
    rows = rows[[int(entry) not in wrong for entry in partner]]
    if len(rows) < _FEWEST:
        return None
    sign = np.where(ahead[rows], 1.0, -1.0)  # every pair as one from this frame to its neighbour
    energy = sign * pairs.energy[rows]
    own = sign * np.where(ahead[rows], pairs.paths[rows, 0], pairs.paths[rows, 1])
    other = sign * np.where(ahead[rows], pairs.paths[rows, 1], pairs.paths[rows, 0])
    spread = scale[rows]
    residual = energy - 0.5 * slope * (own + other)
    before = float(np.median(np.abs(residual) / spread))
    if before < _MISFIT:
        return None
    missing = float(np.median(np.abs(residual)))

    def beyond(own_path: np.ndarray) -> bool:
        """Whether more is missing than the third order leaves, once this frame's labels are put right."""
        return missing > _BEYOND_THIRD * abs(slope) * float(np.median(np.abs(other - own_path)))

    def after(corrected: np.ndarray) -> float:
        return float(np.median(np.abs(corrected) / spread)) / before

    shift = weighted_median(residual, 1.0 / spread)
    needed = 2.0 * energy / slope - other  # what this frame's forces should say along the way
    factor = float((own * needed / spread**2).sum() / max((own * own / spread**2).sum(), 1e-300))
    turned = energy - 0.5 * slope * (other - own)
    scaled = energy - 0.5 * slope * (other + factor * own)
    tried: list[tuple[float, Misfit]] = [
        # A sign is the simplest mistake, so it is believed before a number that was fitted.
        (0.5 * after(turned), Misfit(structure, "sign", -1.0, deviations, beyond(-own))),
        (after(residual - shift), Misfit(structure, "energy", -shift, deviations, beyond(own))),
    ]
    if factor > 0.0:
        sure = abs(np.log(factor)) > np.log(_OTHER_FACTOR) and beyond(factor * own)
        tried.append((after(scaled), Misfit(structure, "factor", 1.0 / factor, deviations, sure)))
    left, best = min(tried, key=lambda entry: entry[0])
    if left < _EXPLAINS and (best.sure or before > _FAR_OFF):
        return best
    if before > _FAR_OFF:
        return Misfit(structure, "other", float(np.median(np.abs(residual))), deviations)
    return None
