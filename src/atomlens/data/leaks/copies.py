"""Exact copies among any number of open structures, found without comparing each with each."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from atomlens.data.dataset import Dataset
from atomlens.data.leaks.fingerprints import fingerprints
from atomlens.data.timeline import root_mean_square_distance

COPY = 1e-3  # Å; three digits are the fewest that files have
_AT_ONCE = 10_000  # pairs
_CANDIDATES = 4  # nearest by the invariants that are looked at more closely


def copies(data: Dataset, group: np.ndarray, rows: np.ndarray, training: np.ndarray) -> np.ndarray:
    """Pairs of a structure in ``rows`` and a training structure that it is a copy of, (pairs, 2).

    Three sizes of a structure, Σ w_i w_j d_ij² with weights of its elements up to 1, differ by no more than the
    fingerprints do. Only structures whose sizes agree are compared by their fingerprints.

    Args:
        data: the structures; those that are periodic are not looked at.
        group: (structures,) number of each one's composition.
        rows: where copies are looked for.
        training: what they may be copies of.
    """
    is_open = ~np.asarray(data.pbc.any(axis=1))
    rows, training = rows[is_open[rows]], training[is_open[training]]
    rows = rows[np.isin(group[rows], group[training])]
    if not len(rows):
        return np.zeros((0, 2), dtype=np.int64)
    axes = _sizes(data, group)
    count = min(_CANDIDATES, len(training))
    _, found = cKDTree(axes[training]).query(axes[rows], k=count, distance_upper_bound=2.0 * COPY)
    which, place = np.nonzero(found.reshape(len(rows), count) < len(training))
    pairs = np.column_stack([rows[which], training[found.reshape(len(rows), count)[which, place]]])
    kept = pairs[_distances(data, group, pairs) < COPY]
    return kept[np.unique(kept[:, 0], return_index=True)[1]]


def _sizes(data: Dataset, group: np.ndarray) -> np.ndarray:
    """(structures, 4): the sizes in Å, and the composition, which sets structures farther apart than any size does."""
    numbers = np.asarray(data.numbers).astype(float)
    weights = (np.ones_like(numbers), numbers / 128.0, 1.0 / numbers)
    return np.column_stack([*(root_mean_square_distance(data, weight) for weight in weights), group.astype(float)])


def _distances(data: Dataset, group: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """(pairs,) how far apart the fingerprints of open structures of one composition are, in Å."""
    found = np.empty(len(pairs))
    for name in np.unique(group[pairs[:, 0]]):
        mine = np.flatnonzero(group[pairs[:, 0]] == name)
        for part in np.array_split(mine, len(mine) // _AT_ONCE + 1):
            first, second = (fingerprints(data, pairs[part, side]).astype(np.float64) for side in (0, 1))
            found[part] = np.linalg.norm(first - second, axis=1)
    return found
