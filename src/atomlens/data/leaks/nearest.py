"""The nearest of many fingerprints."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_AT_ONCE = 1 << 22  # entries of a table of distances


def nearest(
    queries: np.ndarray, known: np.ndarray, excluded: Callable[[slice], np.ndarray] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """For each query the row of the nearest known fingerprint, and how far it is.

    Args:
        queries: (q, columns) float32.
        known: (k, columns) float32, one at least.
        excluded: of a slice of queries, (queries, k) bool, which known ones do not count; None: all count.

    Returns:
        Rows (q,), -1 where none counts, and distances (q,), inf there.
    """
    centre = known.mean(axis=0)  # so that differences keep their digits
    known, queries = known - centre, queries - centre
    norms = np.square(known).sum(axis=1)
    row, distance = np.full(len(queries), -1), np.full(len(queries), np.inf)
    step = max(1, _AT_ONCE // len(known))
    for start in range(0, len(queries), step):
        part = slice(start, min(start + step, len(queries)))
        table = norms - 2.0 * (queries[part] @ known.T)
        if excluded is not None:
            table[excluded(part)] = np.inf
        best = table.argmin(axis=1)
        counts = np.isfinite(table[np.arange(len(best)), best])
        row[part] = np.where(counts, best, -1)
        # Once more by differences: the products lose what is small.
        exact = np.sqrt(np.square((queries[part] - known[best]).astype(np.float64)).sum(axis=1))
        distance[part] = np.where(counts, exact, np.inf)
    return row, distance
