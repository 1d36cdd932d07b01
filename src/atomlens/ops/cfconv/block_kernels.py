"""All interaction blocks in one call: their passes forward and back as machine code, in single precision.

A pass goes through phases, one more than there are blocks; in each, an atom needs of other atoms only what the phase
before has made. So a piece of atoms that hear none outside of it goes through all phases at once, by one thread and in
its cache; a structure too large for that takes one call per phase. Numbers of features are known to the compiler.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import types

from atomlens.ops.cfconv.mutual_kernels import BOTH, PLAIN, SCALED, SCALED_BY_REVERSE, convolve_row, dot_row
from atomlens.ops.cfconv.numba_kernels import convolve_both_rows, convolve_rows
from atomlens.ops.cfconv.row_kernels import (
    activate,
    add,
    add_curvature,
    add_groups_between,
    add_row,
    copy,
    dot_rows,
    multiply_slope,
    sum_rows,
    through_slope,
)
from atomlens.ops.numba_tools import KEEP, SOURCES, pointer, take
from atomlens.ops.product_kernels import multiply, multiply_transposed, strips

N_SLOTS = 56
_ROWS = 64  # that go through a phase together: their arrays fit a cache of half a megabyte


@numba.njit(inline="always")
def _array(address, atoms, width):  # type: ignore[no-untyped-def]
    return numba.carray(pointer(address), (atoms, width), np.float32)


@numba.njit(inline="always")
def _convolve_mutual(  # type: ignore[no-untyped-def]
    width, vectors, strip, kind, first, last, half_starts, pairs, weights, slopes, scale, x, y, table, out
):
    """`convolve_row` for the rows of a piece; ``pairs`` are addresses, see `compile_forward`."""
    half, neighbour, reverse, place = pairs
    for i in range(first, last):
        for s in range(0, width, strip):
            convolve_row(
                vectors, width, kind, i, half_starts[i], half_starts[i + 1], half, neighbour, reverse, place,
                weights, slopes, scale, x + 4 * s, y + 4 * s, table + 4 * s, out + 4 * s
            )  # fmt: skip


def compile_forward(width: int) -> Any:
    """The pass forward for one number of features; `numba_passes` fills the slots."""
    vectors, strip = strips(width)
    sources = SOURCES

    @numba.cfunc(types.void(types.voidptr), cache=KEEP)
    def forward(data):  # type: ignore[no-untyped-def]
        _ = sources
        s = numba.carray(data, N_SLOTS, np.int64)
        pieces, begin, end, blocks, atoms, pairs, table_rows = s[2], s[3], s[4], s[5], s[6], s[7], s[8]
        wide, square, row = 4 * atoms * width, 4 * width * width, 4 * width
        cut = numba.carray(pointer(s[9]), pieces + 1, np.int64)
        starts = numba.carray(pointer(s[10]), atoms + 1, np.int32)
        order = numba.carray(pointer(s[11]), pairs, np.int32)
        other = numba.carray(pointer(s[12]), pairs, np.int32)
        place = numba.carray(pointer(s[13]), pairs, np.int32)
        weights = numba.carray(pointer(s[14]), (pairs, 4), np.float32)
        unscaled = numba.carray(pointer(s[14]), 0, np.float32)
        tables, table_stride = s[15], s[16]
        w_in, w_mid, w_out, b_mid, b_out, zeros = s[17], s[18], s[19], s[20], s[21], s[22]
        given, x_kept, out, h_kept, c_kept, a_kept, s_kept = s[23], s[24], s[25], s[26], s[27], s[28], s[29]
        stride = s[30] * wide  # 0: only what the pass back needs is kept
        mutual, mutual_pairs = s[48], (s[49], s[12], s[50], s[13])
        half_starts = numba.carray(pointer(mutual), atoms + 1, np.int32)
        piece = take(data)
        while piece < pieces:
            together = cut[piece + 1] - cut[piece] if mutual else _ROWS
            for phase in range(begin, end):
                for first in range(cut[piece], cut[piece + 1], together):
                    last = min(first + together, cut[piece + 1])
                    rows, skip = last - first, row * first
                    x_here = x_kept + phase * stride if phase < blocks else out
                    if phase == 0:
                        copy(first, last, width, _array(given, atoms, width), _array(x_here, atoms, width))
                    else:
                        t = phase - 1
                        h, c, a = h_kept + t * wide, c_kept + t * stride, a_kept + t * stride
                        table = tables + t * table_stride
                        if mutual:
                            _convolve_mutual(
                                width, vectors, strip, PLAIN, first, last, half_starts, mutual_pairs,
                                s[14], 0, 0, h, h, table, c
                            )  # fmt: skip
                        else:
                            convolve_rows(
                                first, last, width, starts, order, other, place, weights, unscaled,
                                _array(h, atoms, width), _array(table, table_rows, width), _array(c, atoms, width)
                            )  # fmt: skip
                        multiply(
                            width,
                            width,
                            vectors,
                            strip,
                            rows,
                            c + skip,
                            w_mid + t * square,
                            b_mid + t * row,
                            0,
                            a + skip,
                        )
                        activate(first, last, width, _array(a, atoms, width), _array(s_kept + t * wide, atoms, width))
                        below = x_kept + t * stride
                        multiply(
                            width,
                            width,
                            vectors,
                            strip,
                            rows,
                            a + skip,
                            w_out + t * square,
                            below + skip,
                            width,
                            x_here + skip,
                        )
                        bias = numba.carray(pointer(b_out + t * row), width, np.float32)
                        add_row(first, last, width, _array(x_here, atoms, width), bias)
                    if phase < blocks:
                        h = h_kept + phase * wide
                        multiply(
                            width, width, vectors, strip, rows, x_here + skip, w_in + phase * square, zeros, 0, h + skip
                        )
            piece = take(data)

    return forward


def compile_back(width: int) -> Any:
    """The pass back."""
    vectors, strip = strips(width)
    sources = SOURCES

    @numba.cfunc(types.void(types.voidptr), cache=KEEP)
    def back(data):  # type: ignore[no-untyped-def]
        _ = sources
        s = numba.carray(data, N_SLOTS, np.int64)
        pieces, begin, end, blocks, atoms, pairs, table_rows = s[2], s[3], s[4], s[5], s[6], s[7], s[8]
        wide, square, row = 4 * atoms * width, 4 * width * width, 4 * width
        cut = numba.carray(pointer(s[9]), pieces + 1, np.int64)
        starts = numba.carray(pointer(s[10]), atoms + 1, np.int32)
        order = numba.carray(pointer(s[11]), pairs, np.int32)
        other = numba.carray(pointer(s[12]), pairs, np.int32)
        heard_starts = numba.carray(pointer(s[13]), atoms + 1, np.int32)
        heard_order = numba.carray(pointer(s[14]), pairs, np.int32)
        heard_other = numba.carray(pointer(s[15]), pairs, np.int32)
        place = numba.carray(pointer(s[16]), pairs, np.int32)
        weights = numba.carray(pointer(s[17]), (pairs, 4), np.float32)
        unscaled = numba.carray(pointer(s[17]), 0, np.float32)
        slopes = numba.carray(pointer(s[18]), (pairs, 4), np.float32)
        tables, table_stride = s[19], s[20]
        w_in, w_mid, w_out, zeros = s[21], s[22], s[23], s[24]
        given, h_kept, s_kept, by_h, by_s = s[25], s[26], s[27], s[28], s[29]
        out, g_kept, by_a_kept, by_m_kept, below_kept, back_kept = s[30], s[31], s[32], s[33], s[34], s[35]
        stride, below_stride = s[36] * wide, s[38] * wide  # 0: not kept; `below` then in turns of two
        dots = numba.carray(pointer(s[37]), pairs, np.float64)
        mutual, mutual_pairs = s[48], (s[49], s[12], s[50], s[16])
        half_starts = numba.carray(pointer(mutual), atoms + 1, np.int32)
        x_kept, c_kept, a_kept = s[41], s[42], s[43]
        groups, sums = s[39], s[40]  # pieces whose gradients of weights are added up one after another; 0: none asked
        group = take(data)
        while group < groups:
            first_piece, last_piece = group * pieces // groups, (group + 1) * pieces // groups
            gradients = sums + group * blocks * (3 * square + 2 * row)
            bias_gradients = gradients + 3 * blocks * square
            for turn in range((last_piece - first_piece) * (end - begin)):
                piece, phase = first_piece + turn // (end - begin), begin + turn % (end - begin)
                begun = piece > first_piece
                together = cut[piece + 1] - cut[piece] if mutual else _ROWS
                for first in range(cut[piece], cut[piece + 1], together):
                    last = min(first + together, cut[piece + 1])
                    rows, skip = last - first, row * first
                    more = begun or first > cut[piece]
                    t = blocks - phase  # the block that this phase leaves at its lower end
                    # g_kept holds ∂E/∂x above each block.
                    g = g_kept + (t - 1) * stride if t > 0 else out
                    if phase == 0:
                        copy(first, last, width, _array(given, atoms, width), _array(g, atoms, width))
                    else:
                        below = below_kept + (t * below_stride if below_stride else (t % 2) * wide)
                        table, returned = tables + t * table_stride, back_kept + t * stride
                        if mutual:
                            _convolve_mutual(
                                width, vectors, strip, PLAIN, first, last, half_starts, mutual_pairs,
                                s[17], 0, 0, below, below, table, returned
                            )  # fmt: skip
                        else:
                            convolve_rows(
                                first, last, width, heard_starts, heard_order, heard_other, place, weights, unscaled,
                                _array(below, atoms, width), _array(table, table_rows, width),
                                _array(returned, atoms, width)
                            )  # fmt: skip
                        if by_h:
                            extra = _array(by_h + t * wide, atoms, width)
                            add(first, last, width, extra, _array(returned, atoms, width))
                        if sums:
                            multiply_transposed(
                                width, width, vectors, strip, rows, returned + skip, x_kept + t * wide + skip, zeros,
                                more, gradients + t * square
                            )  # fmt: skip
                        above = g_kept + t * stride
                        multiply(
                            width,
                            width,
                            vectors,
                            strip,
                            rows,
                            returned + skip,
                            w_in + t * square,
                            above + skip,
                            width,
                            g + skip,
                        )
                    if phase < blocks:
                        t -= 1
                        slope = _array(s_kept + t * wide, atoms, width)
                        by_a, by_m = by_a_kept + t * stride, by_m_kept + t * stride
                        multiply(
                            width, width, vectors, strip, rows, g + skip, w_out + t * square, zeros, 0, by_a + skip
                        )
                        multiply_slope(
                            first, last, width, _array(by_a, atoms, width), slope, _array(by_m, atoms, width)
                        )
                        if by_s:
                            of_slope = _array(by_s + t * wide, atoms, width)
                            add_curvature(first, last, width, of_slope, slope, _array(by_m, atoms, width))
                        if sums:
                            multiply_transposed(
                                width, width, vectors, strip, rows, by_m + skip, c_kept + t * wide + skip, zeros, more,
                                gradients + (blocks + t) * square
                            )  # fmt: skip
                            multiply_transposed(
                                width, width, vectors, strip, rows, g + skip, a_kept + t * wide + skip, zeros, more,
                                gradients + (2 * blocks + t) * square
                            )  # fmt: skip
                            bias = numba.carray(pointer(bias_gradients + t * row), width, np.float32)
                            sum_rows(first, last, width, _array(by_m, atoms, width), more, bias)
                            bias = numba.carray(pointer(bias_gradients + (blocks + t) * row), width, np.float32)
                            sum_rows(first, last, width, _array(g, atoms, width), more, bias)
                        below = below_kept + (t * below_stride if below_stride else (t % 2) * wide)
                        multiply(
                            width, width, vectors, strip, rows, by_m + skip, w_mid + t * square, zeros, 0, below + skip
                        )
                        table, h = tables + t * table_stride, h_kept + t * wide
                        if s[37] and mutual:
                            for i in range(first, last):
                                dot_row(
                                    width, i, half_starts[i], half_starts[i + 1],
                                    s[49], s[12], s[50], s[16], s[18], below, h, table, s[37]
                                )  # fmt: skip
                        elif s[37]:
                            dot_rows(
                                first, last, width, starts, order, other, place, slopes, _array(below, atoms, width),
                                _array(h, atoms, width), _array(table, table_rows, width), dots
                            )  # fmt: skip
            group = take(data)

    return back


def compile_again(width: int) -> Any:
    """The derivative of the pass back."""
    vectors, strip = strips(width)
    sources = SOURCES

    @numba.cfunc(types.void(types.voidptr), cache=KEEP)
    def again(data):  # type: ignore[no-untyped-def]
        _ = sources
        s = numba.carray(data, N_SLOTS, np.int64)
        pieces, begin, end, blocks, atoms, pairs, table_rows = s[2], s[3], s[4], s[5], s[6], s[7], s[8]
        wide, square, row = 4 * atoms * width, 4 * width * width, 4 * width
        cut = numba.carray(pointer(s[9]), pieces + 1, np.int64)
        starts = numba.carray(pointer(s[10]), atoms + 1, np.int32)
        order = numba.carray(pointer(s[11]), pairs, np.int32)
        other = numba.carray(pointer(s[12]), pairs, np.int32)
        heard_starts = numba.carray(pointer(s[13]), atoms + 1, np.int32)
        heard_order = numba.carray(pointer(s[14]), pairs, np.int32)
        heard_other = numba.carray(pointer(s[15]), pairs, np.int32)
        place = numba.carray(pointer(s[16]), pairs, np.int32)
        weights = numba.carray(pointer(s[17]), (pairs, 4), np.float32)
        slopes = numba.carray(pointer(s[18]), (pairs, 4), np.float32)
        tables, table_stride = s[19], s[20]
        w_in, w_mid, w_out, zeros = s[21], s[22], s[23], s[24]
        given, h_kept, s_kept, by_a_kept, below_kept = s[25], s[26], s[27], s[28], s[29]
        scale = numba.carray(pointer(s[30]), pairs, np.float32)
        out, of_x_kept, of_back_kept, of_below_kept = s[31], s[32], s[33], s[34]
        of_by_a_kept, of_h_kept, of_s_kept = s[35], s[36], s[37]
        mutual, mutual_pairs = s[48], (s[49], s[12], s[50], s[16])
        half_starts = numba.carray(pointer(mutual), atoms + 1, np.int32)
        g_kept, by_m_kept, back_kept = s[41], s[42], s[43]
        stride = s[38] * wide
        groups, sums = s[39], s[40]  # pieces whose gradients of weights are added up one after another; 0: none asked
        group = take(data)
        while group < groups:
            first_piece, last_piece = group * pieces // groups, (group + 1) * pieces // groups
            gradients = sums + group * blocks * (3 * square + 2 * row)
            for turn in range((last_piece - first_piece) * (end - begin)):
                piece, phase = first_piece + turn // (end - begin), begin + turn % (end - begin)
                begun = piece > first_piece
                together = cut[piece + 1] - cut[piece] if mutual else _ROWS
                for first in range(cut[piece], cut[piece + 1], together):
                    last = min(first + together, cut[piece + 1])
                    rows, skip = last - first, row * first
                    more = begun or first > cut[piece]
                    x_here = of_x_kept + phase * stride if phase < blocks else out
                    if phase == 0:
                        if given:
                            copy(first, last, width, _array(given, atoms, width), _array(x_here, atoms, width))
                        else:
                            _array(x_here, atoms, width)[first:last] = 0.0
                    else:
                        t = phase - 1
                        skipped, table = t * wide, tables + t * table_stride
                        h, of_back, of_below = h_kept + skipped, of_back_kept + skipped, of_below_kept + t * stride
                        below, of_h, of_s = below_kept + skipped, of_h_kept + skipped, of_s_kept + skipped
                        by_a, of_by_a = by_a_kept + skipped, of_by_a_kept + t * stride
                        if mutual:
                            if phase == 1 and not given:
                                _convolve_mutual(
                                    width, vectors, strip, SCALED, first, last, half_starts, mutual_pairs,
                                    s[18], 0, s[30], h, h, table, of_below
                                )  # fmt: skip
                            else:
                                _convolve_mutual(
                                    width, vectors, strip, BOTH, first, last, half_starts, mutual_pairs,
                                    s[17], s[18], s[30], of_back, h, table, of_below
                                )  # fmt: skip
                            _convolve_mutual(
                                width, vectors, strip, SCALED_BY_REVERSE, first, last, half_starts, mutual_pairs,
                                s[18], 0, s[30], below, below, table, of_h
                            )  # fmt: skip
                        else:
                            heard, knots = _array(h, atoms, width), _array(table, table_rows, width)
                            if phase == 1 and not given:
                                convolve_rows(
                                    first, last, width, starts, order, other, place, slopes, scale, heard, knots,
                                    _array(of_below, atoms, width)
                                )  # fmt: skip
                            else:
                                convolve_both_rows(
                                    first, last, width, starts, order, other, place, weights, slopes, scale,
                                    _array(of_back, atoms, width), heard, knots, _array(of_below, atoms, width)
                                )  # fmt: skip
                            convolve_rows(
                                first, last, width, heard_starts, heard_order, heard_other, place, slopes, scale,
                                _array(below, atoms, width), knots, _array(of_h, atoms, width)
                            )  # fmt: skip
                        multiply(
                            width,
                            width,
                            vectors,
                            strip,
                            rows,
                            of_below + skip,
                            w_mid + t * square,
                            zeros,
                            0,
                            of_s + skip,
                        )
                        through_slope(
                            first, last, width, _array(s_kept + skipped, atoms, width), _array(by_a, atoms, width),
                            _array(of_by_a, atoms, width), _array(of_s, atoms, width)
                        )  # fmt: skip
                        multiply(
                            width, width, vectors, strip, rows, of_by_a + skip, w_out + t * square,
                            of_x_kept + t * stride + skip, width, x_here + skip
                        )  # fmt: skip
                        if sums:
                            multiply_transposed(
                                width, width, vectors, strip, rows, by_m_kept + skipped + skip, of_below + skip, zeros,
                                more, gradients + (blocks + t) * square
                            )  # fmt: skip
                            multiply_transposed(
                                width, width, vectors, strip, rows, g_kept + skipped + skip, of_by_a + skip, zeros,
                                more, gradients + (2 * blocks + t) * square
                            )  # fmt: skip
                    if phase < blocks and sums:
                        if phase > 0 or given:
                            multiply_transposed(
                                width, width, vectors, strip, rows, back_kept + phase * wide + skip, x_here + skip,
                                zeros, more, gradients + phase * square
                            )  # fmt: skip
                        elif not more:
                            _array(gradients, width, width)[:] = 0.0
                    if phase < blocks:
                        of_back = of_back_kept + phase * wide
                        if phase == 0 and not given:
                            _array(of_back, atoms, width)[first:last] = 0.0
                        else:
                            multiply(
                                width, width, vectors, strip, rows, x_here + skip, w_in + phase * square, zeros, 0,
                                of_back + skip
                            )  # fmt: skip
            group = take(data)

    return again


def compile_add_groups() -> Any:
    """The sum of groups (groups, numbers) in their order, (numbers,)."""

    @numba.cfunc(types.void(types.voidptr), cache=KEEP)
    def add_groups(data):  # type: ignore[no-untyped-def]
        s = numba.carray(data, N_SLOTS, np.int64)
        step, groups, numbers = s[1], s[2], s[3]
        given = numba.carray(pointer(s[4]), (groups, numbers), np.float32)
        out = numba.carray(pointer(s[5]), numbers, np.float32)
        first = take(data) * step
        while first < numbers:
            last = min(first + step, numbers)
            add_groups_between(first, last, groups, given, out)
            first = take(data) * step

    return add_groups
