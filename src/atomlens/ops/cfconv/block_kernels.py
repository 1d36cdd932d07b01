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


@numba.njit(inline="always")
def _convolve(  # type: ignore[no-untyped-def]
    width,
    vectors,
    strip,
    kind,
    first,
    last,
    sizes,
    mutual,
    half_starts,
    mutual_pairs,
    group,
    weights,
    scale,
    x,
    table,
    out,
):
    """One convolution of rows of atoms, of mutual pairs or of any; ``scale`` is an address, 0 for none."""
    atoms, pairs, table_rows = sizes
    if mutual:
        _convolve_mutual(
            width, vectors, strip, kind, first, last, half_starts, mutual_pairs, weights, 0, scale, x, x, table, out
        )
    else:
        starts, order, other, place = group
        convolve_rows(
            first, last, width, starts, order, other, place,
            numba.carray(pointer(weights), (pairs, 4), np.float32),
            numba.carray(pointer(scale), pairs if scale else 0, np.float32),
            _array(x, atoms, width), _array(table, table_rows, width), _array(out, atoms, width)
        )  # fmt: skip


@numba.njit(inline="always")
def _dense(width, vectors, strip, rows, skip, x, weight, bias, out):  # type: ignore[no-untyped-def]
    """Rows from ``skip`` bytes on, times a square weight, and one row added to all."""
    multiply(width, width, vectors, strip, rows, x + skip, weight, bias, 0, out + skip)


@numba.njit(inline="always")
def _dense_onto(width, vectors, strip, rows, skip, x, weight, given, out):  # type: ignore[no-untyped-def]
    """Rows times a square weight, and the rows of ``given`` added."""
    multiply(width, width, vectors, strip, rows, x + skip, weight, given + skip, width, out + skip)


@numba.njit(inline="always")
def _gradient(width, vectors, strip, rows, skip, left, right, zeros, more, out):  # type: ignore[no-untyped-def]
    """Adds leftᵀ right of rows to a square gradient, which without ``more`` is taken for zero."""
    multiply_transposed(width, width, vectors, strip, rows, left + skip, right + skip, zeros, more, out)


@numba.njit(inline="always")
def _grouped(starts, order, other, place, atoms, pairs):  # type: ignore[no-untyped-def]
    """Addresses of pairs grouped by an atom, and of their places, as arrays."""
    return (
        numba.carray(pointer(starts), atoms + 1, np.int32),
        numba.carray(pointer(order), pairs, np.int32),
        numba.carray(pointer(other), pairs, np.int32),
        numba.carray(pointer(place), pairs, np.int32),
    )


@numba.njit(inline="always")
def _sum(width, first, last, atoms, given, more, out):  # type: ignore[no-untyped-def]
    sum_rows(
        first, last, width, _array(given, atoms, width), more, numba.carray(pointer(out), width, np.float32)
    )  # fmt: skip


@numba.njit(inline="always")
def _dot(  # type: ignore[no-untyped-def]
    width, first, last, sizes, mutual, half_starts, mutual_pairs, group, slopes, g, x, table, out
):
    """Adds g_i · (x_j ∘ W'_p) of the pairs of rows of atoms, mutual or any, to ``out`` (pairs,)."""
    atoms, pairs, table_rows = sizes
    if mutual:
        half, neighbour, reverse, place = mutual_pairs
        for i in range(first, last):
            dot_row(
                width, i, half_starts[i], half_starts[i + 1], half, neighbour, reverse, place, slopes, g, x, table, out
            )  # fmt: skip
    else:
        starts, order, other, places = group
        dot_rows(
            first, last, width, starts, order, other, places, numba.carray(pointer(slopes), (pairs, 4), np.float32),
            _array(g, atoms, width), _array(x, atoms, width), _array(table, table_rows, width),
            numba.carray(pointer(out), pairs, np.float64)
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
        wide, square, row, sizes = 4 * atoms * width, 4 * width * width, 4 * width, (atoms, pairs, table_rows)
        cut = numba.carray(pointer(s[9]), pieces + 1, np.int64)
        group = _grouped(s[10], s[11], s[12], s[13], atoms, pairs)
        weights, tables, table_stride = s[14], s[15], s[16]
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
                    x = x_kept + phase * stride if phase < blocks else out
                    if phase == 0:
                        copy(first, last, width, _array(given, atoms, width), _array(x, atoms, width))
                    else:
                        t = phase - 1
                        h, c, a = h_kept + t * wide, c_kept + t * stride, a_kept + t * stride
                        table = tables + t * table_stride
                        _convolve(
                            width, vectors, strip, PLAIN, first, last, sizes, mutual, half_starts, mutual_pairs, group,
                            weights, 0, h, table, c
                        )  # fmt: skip
                        _dense(width, vectors, strip, rows, skip, c, w_mid + t * square, b_mid + t * row, a)
                        activate(first, last, width, _array(a, atoms, width), _array(s_kept + t * wide, atoms, width))
                        before = x_kept + t * stride
                        _dense_onto(width, vectors, strip, rows, skip, a, w_out + t * square, before, x)
                        bias = numba.carray(pointer(b_out + t * row), width, np.float32)
                        add_row(first, last, width, _array(x, atoms, width), bias)
                    if phase < blocks:
                        h, weight = h_kept + phase * wide, w_in + phase * square
                        _dense(width, vectors, strip, rows, skip, x, weight, zeros, h)
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
        wide, square, row, sizes = 4 * atoms * width, 4 * width * width, 4 * width, (atoms, pairs, table_rows)
        cut = numba.carray(pointer(s[9]), pieces + 1, np.int64)
        hears = _grouped(s[10], s[11], s[12], s[16], atoms, pairs)
        heard = _grouped(s[13], s[14], s[15], s[16], atoms, pairs)
        weights, slopes, tables, table_stride = s[17], s[18], s[19], s[20]
        w_in, w_mid, w_out, zeros = s[21], s[22], s[23], s[24]
        given, h_kept, s_kept, by_h, by_s = s[25], s[26], s[27], s[28], s[29]
        out, g_kept, by_a_kept, by_m_kept, below_kept, back_kept = s[30], s[31], s[32], s[33], s[34], s[35]
        stride, dots, below_stride = s[36] * wide, s[37], s[38] * wide  # 0: not kept; `below` then in turns of two
        mutual, mutual_pairs = s[48], (s[49], s[12], s[50], s[16])
        half_starts = numba.carray(pointer(mutual), atoms + 1, np.int32)
        x_kept, c_kept, a_kept = s[41], s[42], s[43]
        groups, sums = s[39], s[40]  # pieces whose gradients of weights are added up one after another; 0: none asked
        group = take(data)
        while group < groups:
            first_piece, last_piece = group * pieces // groups, (group + 1) * pieces // groups
            gradients = sums + group * blocks * (3 * square + 2 * row)
            for turn in range((last_piece - first_piece) * (end - begin)):
                piece, phase = first_piece + turn // (end - begin), begin + turn % (end - begin)
                together = cut[piece + 1] - cut[piece] if mutual else _ROWS
                for first in range(cut[piece], cut[piece + 1], together):
                    last = min(first + together, cut[piece + 1])
                    rows, skip, more = last - first, row * first, piece > first_piece or first > cut[piece]
                    t = blocks - phase  # the block that this phase leaves at its lower end
                    g = g_kept + (t - 1) * stride if t > 0 else out  # ∂E/∂x above each block is kept
                    if phase == 0:
                        copy(first, last, width, _array(given, atoms, width), _array(g, atoms, width))
                    else:
                        below = below_kept + (t * below_stride if below_stride else (t % 2) * wide)
                        table, back = tables + t * table_stride, back_kept + t * stride
                        _convolve(
                            width, vectors, strip, PLAIN, first, last, sizes, mutual, half_starts, mutual_pairs, heard,
                            weights, 0, below, table, back
                        )  # fmt: skip
                        if by_h:
                            add(first, last, width, _array(by_h + t * wide, atoms, width), _array(back, atoms, width))
                        if sums:
                            x, gradient = x_kept + t * wide, gradients + t * square
                            _gradient(width, vectors, strip, rows, skip, back, x, zeros, more, gradient)
                        above = g_kept + t * stride
                        _dense_onto(width, vectors, strip, rows, skip, back, w_in + t * square, above, g)
                    if phase < blocks:
                        t -= 1
                        by_a, by_m = by_a_kept + t * stride, by_m_kept + t * stride
                        slope, inner = _array(s_kept + t * wide, atoms, width), _array(by_m, atoms, width)
                        _dense(width, vectors, strip, rows, skip, g, w_out + t * square, zeros, by_a)
                        multiply_slope(first, last, width, _array(by_a, atoms, width), slope, inner)
                        if by_s:
                            of_s = _array(by_s + t * wide, atoms, width)
                            add_curvature(first, last, width, of_s, slope, inner)
                        if sums:
                            c, a = c_kept + t * wide, a_kept + t * wide
                            gradient = gradients + (blocks + t) * square
                            _gradient(width, vectors, strip, rows, skip, by_m, c, zeros, more, gradient)
                            gradient += blocks * square
                            _gradient(width, vectors, strip, rows, skip, g, a, zeros, more, gradient)
                            bias = gradients + 3 * blocks * square + t * row
                            _sum(width, first, last, atoms, by_m, more, bias)
                            _sum(width, first, last, atoms, g, more, bias + blocks * row)
                        below = below_kept + (t * below_stride if below_stride else (t % 2) * wide)
                        _dense(width, vectors, strip, rows, skip, by_m, w_mid + t * square, zeros, below)
                        if dots:
                            table, h = tables + t * table_stride, h_kept + t * wide
                            _dot(
                                width, first, last, sizes, mutual, half_starts, mutual_pairs, hears, slopes, below, h,
                                table, dots
                            )  # fmt: skip
            group = take(data)

    return back


@numba.njit(inline="always")
def _convolve_both(  # type: ignore[no-untyped-def]
    width,
    vectors,
    strip,
    first,
    last,
    sizes,
    mutual,
    half_starts,
    mutual_pairs,
    group,
    weights,
    slopes,
    scale,
    x,
    y,
    table,
    out,
):
    """Values by x and scaled slopes by y in one convolution."""
    atoms, pairs, table_rows = sizes
    if mutual:
        _convolve_mutual(
            width, vectors, strip, BOTH, first, last, half_starts, mutual_pairs, weights, slopes, scale, x, y, table,
            out
        )  # fmt: skip
    else:
        starts, order, other, place = group
        convolve_both_rows(
            first, last, width, starts, order, other, place,
            numba.carray(pointer(weights), (pairs, 4), np.float32),
            numba.carray(pointer(slopes), (pairs, 4), np.float32),
            numba.carray(pointer(scale), pairs, np.float32),
            _array(x, atoms, width), _array(y, atoms, width), _array(table, table_rows, width),
            _array(out, atoms, width)
        )  # fmt: skip


def compile_again(width: int) -> Any:
    """The derivative of the pass back."""
    vectors, strip = strips(width)
    sources = SOURCES

    @numba.cfunc(types.void(types.voidptr), cache=KEEP)
    def again(data):  # type: ignore[no-untyped-def]
        _ = sources
        s = numba.carray(data, N_SLOTS, np.int64)
        pieces, begin, end, blocks, atoms, pairs, table_rows = s[2], s[3], s[4], s[5], s[6], s[7], s[8]
        wide, square, row, sizes = 4 * atoms * width, 4 * width * width, 4 * width, (atoms, pairs, table_rows)
        cut = numba.carray(pointer(s[9]), pieces + 1, np.int64)
        hears = _grouped(s[10], s[11], s[12], s[16], atoms, pairs)
        heard = _grouped(s[13], s[14], s[15], s[16], atoms, pairs)
        weights, slopes, tables, table_stride = s[17], s[18], s[19], s[20]
        w_in, w_mid, w_out, zeros = s[21], s[22], s[23], s[24]
        given, h_kept, s_kept, by_a_kept, below_kept, scale = s[25], s[26], s[27], s[28], s[29], s[30]
        out, of_x_kept, of_back_kept, of_below_kept = s[31], s[32], s[33], s[34]
        of_by_a_kept, of_h_kept, of_s_kept, stride = s[35], s[36], s[37], s[38] * wide
        mutual, mutual_pairs = s[48], (s[49], s[12], s[50], s[16])
        half_starts = numba.carray(pointer(mutual), atoms + 1, np.int32)
        g_kept, by_m_kept, back_kept = s[41], s[42], s[43]
        groups, sums = s[39], s[40]  # as in the pass back
        group = take(data)
        while group < groups:
            first_piece, last_piece = group * pieces // groups, (group + 1) * pieces // groups
            gradients = sums + group * blocks * (3 * square + 2 * row)
            for turn in range((last_piece - first_piece) * (end - begin)):
                piece, phase = first_piece + turn // (end - begin), begin + turn % (end - begin)
                together = cut[piece + 1] - cut[piece] if mutual else _ROWS
                for first in range(cut[piece], cut[piece + 1], together):
                    last = min(first + together, cut[piece + 1])
                    rows, skip, more = last - first, row * first, piece > first_piece or first > cut[piece]
                    of_x = of_x_kept + phase * stride if phase < blocks else out
                    if phase > 0:
                        t = phase - 1
                        skipped, table = t * wide, tables + t * table_stride
                        h, of_back, of_below = h_kept + skipped, of_back_kept + skipped, of_below_kept + t * stride
                        of_s, of_by_a = of_s_kept + skipped, of_by_a_kept + t * stride
                        if t == 0 and not given:
                            _convolve(
                                width, vectors, strip, SCALED, first, last, sizes, mutual, half_starts, mutual_pairs,
                                hears, slopes, scale, h, table, of_below
                            )  # fmt: skip
                        else:
                            _convolve_both(
                                width, vectors, strip, first, last, sizes, mutual, half_starts, mutual_pairs, hears,
                                weights, slopes, scale, of_back, h, table, of_below
                            )  # fmt: skip
                        _convolve(
                            width, vectors, strip, SCALED_BY_REVERSE, first, last, sizes, mutual, half_starts,
                            mutual_pairs, heard, slopes, scale, below_kept + skipped, table, of_h_kept + skipped
                        )  # fmt: skip
                        _dense(width, vectors, strip, rows, skip, of_below, w_mid + t * square, zeros, of_s)
                        through_slope(
                            first, last, width, _array(s_kept + skipped, atoms, width),
                            _array(by_a_kept + skipped, atoms, width), _array(of_by_a, atoms, width),
                            _array(of_s, atoms, width)
                        )  # fmt: skip
                        before = of_x_kept + t * stride
                        _dense_onto(width, vectors, strip, rows, skip, of_by_a, w_out + t * square, before, of_x)
                        by_m, g, gradient = by_m_kept + skipped, g_kept + skipped, gradients + (blocks + t) * square
                        _gradient(width, vectors, strip, rows, skip, by_m, of_below, zeros, more, gradient)
                        gradient += blocks * square
                        _gradient(width, vectors, strip, rows, skip, g, of_by_a, zeros, more, gradient)
                    elif given:
                        copy(first, last, width, _array(given, atoms, width), _array(of_x, atoms, width))
                    else:  # nothing comes to the first block's `back`, which may not have been made
                        _array(of_x, atoms, width)[first:last] = 0.0
                        _array(of_back_kept, atoms, width)[first:last] = 0.0
                        _array(gradients, width, width)[:] = 0.0
                    if phase < blocks and (phase > 0 or given):
                        of_back, gradient = of_back_kept + phase * wide, gradients + phase * square
                        back = back_kept + phase * wide
                        _gradient(width, vectors, strip, rows, skip, back, of_x, zeros, more, gradient)
                        _dense(width, vectors, strip, rows, skip, of_x, w_in + phase * square, zeros, of_back)
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
