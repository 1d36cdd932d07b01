"""Long work cut into runs of bounded size."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def runs_within(sizes: np.ndarray, budget: float, least: int = 1) -> Iterator[tuple[int, int]]:
    """Cut a sequence into runs, as first and end, whose sizes add up to ``budget`` at most.

    Args:
        sizes: (items,) of each item, at least 0.
        budget: of a run; one of ``least`` items may need more.
        least: items of a run; the last run may have fewer.
    """
    ends, start = np.cumsum(sizes), 0
    while start < len(sizes):
        reach = budget + (ends[start - 1] if start else 0)
        stop = min(max(int(np.searchsorted(ends, reach, side="right")), start + least), len(sizes))
        yield start, stop
        start = stop
