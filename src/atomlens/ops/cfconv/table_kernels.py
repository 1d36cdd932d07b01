"""Gradients of the tables of all interaction blocks as machine code, in single precision.

Pairs come in the table's order, so what those of one interval give to its four rows is summed in registers. Where every
pair has its reverse at the same distance, half of the pairs do for all.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from atomlens.ops.numba_tools import KEEP, SOURCES, pointer, take
from atomlens.ops.product_kernels import LANES, strips

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
        whole, half, single = ir.IntType(64), ir.IntType(32), ir.FloatType()
        vector = ir.VectorType(single, LANES)
        undefined, lane = ir.Constant(vector, ir.Undefined), ir.Constant(half, 0)
        everywhere = ir.Constant(ir.VectorType(half, LANES), [0] * LANES)
        order, centre, neighbour, reverse = (builder.inttoptr(a, half.as_pointer()) for a in addresses[:4])
        weights, slopes, scale, g, x, y = (builder.inttoptr(a, single.as_pointer()) for a in addresses[4:10])
        rows = [builder.inttoptr(a, single.as_pointer()) for a in addresses[10:]]

        def index(base: Any, place: Any) -> Any:
            return builder.sext(builder.load(builder.gep(base, [place])), whole)

        def spread(number: Any) -> Any:
            return builder.shuffle_vector(builder.insert_element(undefined, number, lane), undefined, everywhere)

        def vector_at(base: Any, v: int) -> Any:
            return builder.bitcast(builder.gep(base, [whole(v * LANES)]), vector.as_pointer())

        def load(base: Any, v: int) -> Any:
            found = builder.load(vector_at(base, v))
            found.align = 4
            return found

        def times(a: Any, b: Any) -> Any:
            return builder.fmul(a, b, flags=("contract",))

        def plus(a: Any, b: Any) -> Any:
            return builder.fadd(a, b, flags=("contract",))

        before, loop, after = builder.block, builder.append_basic_block(), builder.append_basic_block()
        zero = ir.Constant(vector, [0.0] * LANES)
        builder.cbranch(builder.icmp_signed("<", first, last), loop, after)
        builder.position_at_end(loop)
        q = builder.phi(whole)
        sums = [[builder.phi(vector) for _ in range(n)] for _ in range(4)]
        pair = index(order, q)
        i, j = (builder.mul(index(ends, pair), whole(stride)) for ends in (centre, neighbour))
        four = builder.mul(pair, whole(4))

        def numbers(base: Any) -> list[Any]:
            return [builder.load(builder.gep(base, [builder.add(four, whole(m))])) for m in range(4)]

        a = [spread(number) for number in numbers(weights)]
        if second:
            b = [spread(number) for number in numbers(slopes)]
            here = spread(builder.load(builder.gep(scale, [pair])))
            there = spread(builder.load(builder.gep(scale, [index(reverse, pair)]))) if twice else None
        g_i, x_j = builder.gep(g, [i]), builder.gep(x, [j])
        g_j, x_i = (builder.gep(g, [j]), builder.gep(x, [i])) if twice else (None, None)
        y_j, y_i = builder.gep(y, [j]), builder.gep(y, [i])
        added = [[None] * n for _ in range(4)]
        for v in range(n):
            left = load(g_i, v)
            right = load(g_j, v) if twice else None
            value = times(left, load(x_j, v))
            if twice:
                value = plus(times(right, load(x_i, v)), value)
            if second:
                slope = times(times(left, load(y_j, v)), here)
                if twice:
                    slope = plus(times(times(right, load(y_i, v)), there), slope)
            for m in range(4):
                total = plus(times(a[m], value), sums[m][v])
                added[m][v] = plus(times(b[m], slope), total) if second else total
        following = builder.add(q, whole(1))
        builder.cbranch(builder.icmp_signed("<", following, last), loop, after)
        q.add_incoming(first, before)
        q.add_incoming(following, loop)
        for m in range(4):
            for v in range(n):
                sums[m][v].add_incoming(zero, before)
                sums[m][v].add_incoming(added[m][v], loop)
        builder.position_at_end(after)
        found = [[builder.phi(vector) for _ in range(n)] for _ in range(4)]
        for m in range(4):
            for v in range(n):
                found[m][v].add_incoming(zero, before)
                found[m][v].add_incoming(added[m][v], loop)
        for m in range(4):
            for v in range(n):
                total = builder.fadd(load(rows[m], v), found[m][v])
                builder.store(total, vector_at(rows[m], v)).align = 4
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
