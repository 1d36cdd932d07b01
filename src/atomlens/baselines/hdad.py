"""Histograms of distances, angles and dihedrals (HDAD; Faber et al., J. Chem. Theory Comput. 13, 5255 (2017))."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

from atomlens.baselines.descriptor import dense, pieces
from atomlens.baselines.tuples import Tuples, all_pairs, bond_angles, bonds, dihedrals
from atomlens.data.dataset import Dataset

_BASE = 128  # above every atomic number
_STEP = (0.02, np.pi / 180, np.pi / 180)  # of the fine histograms that extremes are looked for in: Å, rad, rad
_SMOOTH = 4.0  # steps
_NEGLIGIBLE = 0.01  # of the highest maximum; lower ones are noise


def hdad(data: Dataset, training: np.ndarray, title: str = "") -> np.ndarray:
    """How many distances, bond angles and dihedrals a structure has near each centre: (structures, centres).

    One histogram per combination of elements: distances of all pairs, angles and dihedrals along bonds. Its centres
    are the maxima and minima of the training structures' smoothed distribution, and its ends; a value counts for the
    two centres around it in shares that are linear in the distances to them. Counts of atoms come first.
    """
    found = [_measure(some, rows.start) for rows, some in pieces(data, title)]
    taken = np.zeros(len(data), dtype=bool)
    taken[training] = True
    blocks = [data.counts()[0]]
    for step, parts in zip(_STEP, zip(*found, strict=True), strict=True):
        structure, key, value = (np.concatenate(column) for column in zip(*parts, strict=True))
        for kind in np.unique(key):
            rows = np.flatnonzero(key == kind)
            known = rows[taken[structure[rows]]]
            if len(known):
                blocks.append(_histograms(len(data), structure[rows], value[rows], _centres(value[known], step)))
    table = dense(len(data), sum(block.shape[1] for block in blocks), "histograms")
    return np.concatenate(blocks, axis=1, out=table, casting="same_kind")


def _measure(data: Dataset, first: int) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Structure, combination of elements and value of all distances, angles and dihedrals."""
    bonded = bonds(data)
    found = (all_pairs(data), bond_angles(data, bonded), dihedrals(data, bonded))
    return [(first + part.structure, _key(data, part), part.value) for part in found]


def _key(data: Dataset, part: Tuples) -> np.ndarray:
    """A number for the elements along a tuple, the same from both ends."""
    numbers = data.numbers[part.atoms]
    weights = _BASE ** np.arange(numbers.shape[1], dtype=np.int64)
    return np.minimum(numbers @ weights, numbers[:, ::-1] @ weights)


def _centres(values: np.ndarray, step: float) -> np.ndarray:
    """The ends of a sample, and the extremes of its smoothed distribution between them, rising."""
    low, high = float(values.min()), float(values.max())
    count = max(int(np.ceil((high - low) / step)), 1)
    density, edges = np.histogram(values, bins=count, range=(low, high if high > low else low + step))
    smooth = gaussian_filter1d(density.astype(float), _SMOOTH, mode="constant")
    slope = np.sign(np.diff(smooth))
    turns = 1 + np.flatnonzero(slope[:-1] * slope[1:] < 0)
    turns = turns[smooth[turns] > _NEGLIGIBLE * smooth.max()]
    middles = 0.5 * (edges[1:] + edges[:-1])
    return np.unique(np.concatenate([[low], middles[turns], [high]]))


def _histograms(structures: int, structure: np.ndarray, value: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """(structures, centres) shares of the values; beyond the outermost centres they count for these."""
    counts = np.zeros((structures, len(centres)))
    if len(centres) == 1:
        return np.asarray(np.bincount(structure, minlength=structures)[:, None], dtype=float)
    place = np.interp(value, centres, np.arange(len(centres)))
    lower = np.minimum(place.astype(np.int64), len(centres) - 2)
    np.add.at(counts, (structure, lower), lower + 1 - place)
    np.add.at(counts, (structure, lower + 1), place - lower)
    return counts
