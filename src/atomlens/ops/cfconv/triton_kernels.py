"""The primitives as Triton kernels; `triton_backend` launches them.

A program goes through its pairs in tiles of pairs × features, each pair in a fixed lane, and sums the lanes when the
tiles are done; no two programs write to one place. So every sum has a fixed order, and results are deterministic.

If TRITON_INTERPRET=1 is set when this module is imported, the kernels run on the CPU, slowly. That takes Triton's
builtins alone: its library (tl.sum, tl.zeros …) is interpreted only where Triton too was imported under the variable.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _add(a, b):
    return a + b


@triton.jit
def _filters(table, place, weights, scale, pair, here, feature, inside, features):
    """W of a tile of pairs × features, zero where a lane has no pair."""
    row = tl.load(place + pair, mask=here, other=0).to(tl.int64)
    total = tl.full(inside.shape, 0.0, table.dtype.element_ty)
    for m in tl.static_range(4):
        weight = tl.load(weights + pair * 4 + m, mask=here, other=0.0)
        if scale is not None:
            weight *= tl.load(scale + pair, mask=here, other=0.0)
        total += weight[:, None] * tl.load(table + (row + m)[:, None] * features + feature, mask=inside, other=0.0)
    return total


@triton.jit
def convolve(
    starts, order, other, place, weights, scale, x, table, out, features, PAIRS: tl.constexpr, FEATURES: tl.constexpr
):
    """One centre's pairs, one block of features."""
    atom = tl.program_id(0).to(tl.int64)
    feature = (tl.program_id(1) * FEATURES + tl.arange(0, FEATURES))[None, :]
    lane = tl.arange(0, PAIRS)
    total = tl.full((PAIRS, FEATURES), 0.0, out.dtype.element_ty)
    end = tl.load(starts + atom + 1)
    for first in range(tl.load(starts + atom), end, PAIRS):
        here = first + lane < end
        pair = tl.load(order + first + lane, mask=here, other=0).to(tl.int64)
        inside = here[:, None] & (feature < features)
        heard = tl.load(other + pair, mask=here, other=0).to(tl.int64)[:, None] * features + feature
        filters = _filters(table, place, weights, scale, pair, here, feature, inside, features)
        total += tl.load(x + heard, mask=inside, other=0.0) * filters
    tl.store(out + atom * features + feature, tl.reduce(total, 0, _add)[None, :], mask=feature < features)


@triton.jit(do_not_specialize=["pairs"])
def dot(
    centre,
    neighbour,
    place,
    weights,
    g,
    x,
    table,
    out,
    pairs,
    features,
    PAIRS: tl.constexpr,
    FEATURES: tl.constexpr,
):
    """One tile's pairs, all features."""
    pair = tl.program_id(0).to(tl.int64) * PAIRS + tl.arange(0, PAIRS)
    here = pair < pairs
    hears = tl.load(centre + pair, mask=here, other=0).to(tl.int64)[:, None] * features
    heard = tl.load(neighbour + pair, mask=here, other=0).to(tl.int64)[:, None] * features
    total = tl.full((PAIRS, FEATURES), 0.0, out.dtype.element_ty)
    for first in range(0, features, FEATURES):
        feature = (first + tl.arange(0, FEATURES))[None, :]
        inside = here[:, None] & (feature < features)
        filters = _filters(table, place, weights, None, pair, here, feature, inside, features)
        hearing = tl.load(g + hears + feature, mask=inside, other=0.0)
        total += hearing * tl.load(x + heard + feature, mask=inside, other=0.0) * filters
    tl.store(out + pair, tl.reduce(total, 1, _add), mask=here)


@triton.jit(do_not_specialize=["intervals"])
def interval_sums(
    starts,
    order,
    centre,
    neighbour,
    weights,
    scale,
    g,
    x,
    out,
    intervals,
    features,
    CHUNK: tl.constexpr,
    PAIRS: tl.constexpr,
    FEATURES: tl.constexpr,
):
    """What the pairs of one interval in one chunk of the table's order add to the interval's four rows.

    The chunk c of interval k has the slot k + c. Along the order k and c only grow, so no two that hold pairs have the
    same slot, and there are no more slots than intervals and chunks, however the distances are spread. Slots without
    pairs get zeros.
    """
    slot = tl.program_id(0)
    low = 0
    high = intervals - 1
    while low < high:  # for the last interval whose first chunk has this slot or one before it
        middle = (low + high + 1) // 2
        begins = middle + tl.load(starts + middle) // CHUNK <= slot
        low = tl.where(begins, middle, low)
        high = tl.where(begins, high, middle - 1)
    chunk = slot - low
    end = tl.minimum(tl.load(starts + low + 1), (chunk + 1) * CHUNK)
    feature = (tl.program_id(1) * FEATURES + tl.arange(0, FEATURES))[None, :]
    lane = tl.arange(0, PAIRS)
    sum0 = tl.full((PAIRS, FEATURES), 0.0, out.dtype.element_ty)
    sum1 = tl.full((PAIRS, FEATURES), 0.0, out.dtype.element_ty)
    sum2 = tl.full((PAIRS, FEATURES), 0.0, out.dtype.element_ty)
    sum3 = tl.full((PAIRS, FEATURES), 0.0, out.dtype.element_ty)
    for first in range(tl.maximum(tl.load(starts + low), chunk * CHUNK), end, PAIRS):
        here = first + lane < end
        pair = tl.load(order + first + lane, mask=here, other=0).to(tl.int64)
        inside = here[:, None] & (feature < features)
        hears = tl.load(centre + pair, mask=here, other=0).to(tl.int64)[:, None] * features + feature
        heard = tl.load(neighbour + pair, mask=here, other=0).to(tl.int64)[:, None] * features + feature
        both = tl.load(g + hears, mask=inside, other=0.0) * tl.load(x + heard, mask=inside, other=0.0)
        if scale is not None:
            both *= tl.load(scale + pair, mask=here, other=0.0)[:, None]
        weight = weights + pair * 4
        sum0 += tl.load(weight, mask=here, other=0.0)[:, None] * both
        sum1 += tl.load(weight + 1, mask=here, other=0.0)[:, None] * both
        sum2 += tl.load(weight + 2, mask=here, other=0.0)[:, None] * both
        sum3 += tl.load(weight + 3, mask=here, other=0.0)[:, None] * both
    rows = out + slot.to(tl.int64) * 4 * features + feature
    tl.store(rows, tl.reduce(sum0, 0, _add)[None, :], mask=feature < features)
    tl.store(rows + features, tl.reduce(sum1, 0, _add)[None, :], mask=feature < features)
    tl.store(rows + 2 * features, tl.reduce(sum2, 0, _add)[None, :], mask=feature < features)
    tl.store(rows + 3 * features, tl.reduce(sum3, 0, _add)[None, :], mask=feature < features)


@triton.jit(do_not_specialize=["intervals"])
def row_sums(starts, sums, out, intervals, features, CHUNK: tl.constexpr, PAIRS: tl.constexpr, FEATURES: tl.constexpr):
    """One row of the table: the sum over the slots, see `interval_sums`, of the four intervals that reach it."""
    row = tl.program_id(0)
    feature = (tl.program_id(1) * FEATURES + tl.arange(0, FEATURES))[None, :]
    lane = tl.arange(0, PAIRS)
    total = tl.full((PAIRS, FEATURES), 0.0, out.dtype.element_ty)
    for m in tl.static_range(4):
        interval = row - m
        there = (interval >= 0) & (interval < intervals)
        first = interval + tl.load(starts + interval, mask=there, other=0) // CHUNK
        end = interval + (tl.load(starts + interval + 1, mask=there, other=0) + CHUNK - 1) // CHUNK
        for begin in range(first, end, PAIRS):
            slot = (begin + lane).to(tl.int64)[:, None]
            inside = (slot < end) & (feature < features)
            total += tl.load(sums + (slot * 4 + m) * features + feature, mask=inside, other=0.0)
    tl.store(out + row.to(tl.int64) * features + feature, tl.reduce(total, 0, _add)[None, :], mask=feature < features)


@triton.jit
def banded_product(
    bands, values, out, rows, columns, first, features, REACH: tl.constexpr, PAIRS: tl.constexpr, FEATURES: tl.constexpr
):
    """One row of a matrix times one block's values; row r has its 2 REACH + 1 entries in column r + first and after."""
    row = tl.program_id(0).to(tl.int64)
    block = tl.program_id(2).to(tl.int64)
    feature = (tl.program_id(1) * FEATURES + tl.arange(0, FEATURES))[None, :]
    total = tl.full((PAIRS, FEATURES), 0.0, out.dtype.element_ty)
    for begin in range(0, 2 * REACH + 1, PAIRS):
        entry = begin + tl.arange(0, PAIRS)
        column = row + first + entry
        here = (entry < 2 * REACH + 1) & (column >= 0) & (column < columns)
        factor = tl.load(bands + row * (2 * REACH + 1) + entry, mask=here, other=0.0)
        inside = here[:, None] & (feature < features)
        place = (block * columns + column)[:, None] * features + feature
        total += factor[:, None] * tl.load(values + place, mask=inside, other=0.0)
    result = tl.reduce(total, 0, _add)[None, :]
    tl.store(out + (block * rows + row) * features + feature, result, mask=feature < features)
