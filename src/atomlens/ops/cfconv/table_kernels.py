"""Gradients of the tables of all interaction blocks as machine code, in single precision.

Pairs come in the table's order, so what those of one interval give to its four rows is summed in registers. Where every
pair has its reverse at the same distance, half of the pairs do for all.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic

from atomlens.ops.cfconv.mutual_kernels import Emitter
from atomlens.ops.numba_tools import KEEP, SOURCES, pointer, take
from atomlens.ops.product_kernels import strips

N_SLOTS = 24


@intrinsic(prefer_literal=True)
def _interval(  # type: ignore[no-untyped-def]
    typingctx, vectors, width, both, mutual, first, last, order, centre, neighbour, reverse, weights, slopes, scale,
    g, x, y, row0, row1, row2, row3
):  # fmt: skip
    """Adds Σ_p g_i ∘ (b_pm x_j + s_p b'_pm y_j) to row m, for the pairs p = order[first] to order[last - 1].

    ``vectors``, ``width``, ``both`` and ``mutual`` are literal: the columns gone through, the distance between rows,
    whether there is the second term, and whether a pair's reverse is added with it. The rest are addresses.
    """
    n, stride = vectors.literal_value, width.literal_value
    second, twice = bool(both.literal_value), bool(mutual.literal_value)

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        first, last, *addresses = args[4:]
        emit = Emitter(builder)
        order, centre, neighbour, reverse = (emit.integers(address) for address in addresses[:4])
        weights, slopes, scale, g, x, y, *rows = (emit.numbers(address) for address in addresses[4:])
        places = [(m, v) for m in range(4) for v in range(n)]
        before, loop, after = builder.block, builder.append_basic_block(), builder.append_basic_block()
        builder.cbranch(builder.icmp_signed("<", first, last), loop, after)
        builder.position_at_end(loop)
        q = builder.phi(emit.whole)
        sums = {place: builder.phi(emit.vector) for place in places}
        pair = emit.index(order, q)
        ends = [emit.index(end, pair) for end in (centre, neighbour)]
        (g_i, g_j), (x_i, x_j), (y_i, y_j) = ([emit.row(base, end, stride) for end in ends] for base in (g, x, y))
        a = emit.four(weights, pair)
        b = emit.four(slopes, pair) if second else []
        here = emit.spread(scale, pair) if second else None
        there = emit.spread(scale, emit.index(reverse, pair)) if second and twice else None
        added = {}
        for v in range(n):
            left, right = emit.load(g_i, v), emit.load(g_j, v) if twice else None
            value = emit.times(left, emit.load(x_j, v))
            value = emit.plus(emit.times(right, emit.load(x_i, v)), value) if twice else value
            slope = emit.times(emit.times(left, emit.load(y_j, v)), here) if second else None
            if second and twice:
                slope = emit.plus(emit.times(emit.times(right, emit.load(y_i, v)), there), slope)
            for m in range(4):
                total = emit.plus(emit.times(a[m], value), sums[m, v])
                added[m, v] = emit.plus(emit.times(b[m], slope), total) if second else total
        following = builder.add(q, emit.whole(1))
        builder.cbranch(builder.icmp_signed("<", following, last), loop, after)
        for phi, start, later in [(q, first, following), *((sums[p], emit.zero, added[p]) for p in places)]:
            phi.add_incoming(start, before)
            phi.add_incoming(later, loop)
        builder.position_at_end(after)
        found = {place: builder.phi(emit.vector) for place in places}
        for place in places:
            found[place].add_incoming(emit.zero, before)
            found[place].add_incoming(added[place], loop)
        for m, v in places:
            emit.store(builder.fadd(emit.load(rows[m], v), found[m, v]), rows[m], v)
        return context.get_dummy_value()

    return types.void(vectors, width, both, mutual, *[types.int64] * 16), build


def compile_table_gradients(width: int, *, both: bool, mutual: bool) -> Any:
    """The kernel for one number of features, with a second term or without, for halved pairs or all."""
    return _compile(width, int(both), int(mutual))


def _compile(width: int, both: int, mutual: int) -> Any:
    vectors, strip = strips(width)
    sources = SOURCES

    @numba.cfunc(types.void(types.voidptr), cache=KEEP)
    def table_gradients(data):  # type: ignore[no-untyped-def]
        _ = sources
        s = numba.carray(data, N_SLOTS, np.int64)
        step, blocks, atoms, rows = s[1], s[2], s[3], s[4]
        starts = numba.carray(pointer(s[5]), rows - 2, np.int32)
        order, centre, neighbour, reverse, weights, slopes, scale = s[6], s[7], s[8], s[9], s[10], s[11], s[12]
        g, x, y, out = s[13], s[14], s[15], s[16]
        wide, row, places = 4 * atoms * width, 4 * width, rows - 3
        pieces = (rows + step - 1) // step
        spare = np.zeros(width, np.float32)
        elsewhere = spare.ctypes.data  # rows of another piece are left to it
        ticket = take(data)
        while ticket < blocks * pieces:
            t, first = ticket // pieces, (ticket % pieces) * step
            last = min(first + step, rows)
            table = out + t * rows * row
            numba.carray(pointer(table), (rows, width), np.float32)[first:last] = 0.0
            for k in range(max(first - 3, 0), min(last, places)):
                begin, end = np.int64(starts[k]), np.int64(starts[k + 1])
                if begin < end:
                    for s0 in range(0, width, strip):
                        c = 4 * s0
                        _interval(
                            vectors, width, both, mutual, begin, end, order, centre, neighbour, reverse, weights,
                            slopes, scale, g + t * wide + c, x + t * wide + c, y + t * wide + c,
                            table + k * row + c if k >= first else elsewhere,
                            table + (k + 1) * row + c if first <= k + 1 < last else elsewhere,
                            table + (k + 2) * row + c if first <= k + 2 < last else elsewhere,
                            table + (k + 3) * row + c if first <= k + 3 < last else elsewhere
                        )  # fmt: skip
            ticket = take(data)
        spare[0] = 0.0  # so that it lives till here

    return table_gradients
