"""Sums over groups of rows."""

from __future__ import annotations

from torch import Tensor


def segment_sum(values: Tensor, segments: Tensor, count: int) -> Tensor:
    """Sum the rows of ``values`` that share a segment.

    Args:
        values: (rows, ...)
        segments: (rows,) the segment of each row, 0 ≤ segment < ``count``.
        count: number of segments; a segment without rows sums to zero.

    Returns:
        (count, ...)
    """
    return values.new_zeros((count, *values.shape[1:])).index_add(0, segments, values)
