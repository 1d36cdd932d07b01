"""Which structures are made of the same."""

from __future__ import annotations

import numpy as np

from atomlens.data.dataset import Dataset


def compositions(data: Dataset, *, reduced: bool = False) -> np.ndarray:
    """(structures,) number of each structure's composition, from 0.

    Args:
        data: the structures.
        reduced: take periodic structures of the same ratio of elements for the same, as a crystal and its supercell.
    """
    counts = data.counts()[0].astype(np.uint64)
    periodic = np.asarray(data.pbc.any(axis=1))
    if reduced and periodic.any():
        counts[periodic] //= np.gcd.reduce(counts[periodic], axis=1)[:, None]
    counts = np.concatenate([counts, periodic[:, None].astype(np.uint64)], axis=1)
    # One 64-bit number for each row: sorting numbers is much faster than sorting rows.
    keys = np.random.default_rng(0).integers(1 << 63, size=counts.shape[1], dtype=np.uint64)
    return np.asarray(np.unique(counts @ keys, return_inverse=True)[1]).reshape(-1)
