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

from atomlens.ops.cfconv.numba_kernels import convolve_both_rows, convolve_rows
from atomlens.ops.numba_tools import FAST, KEEP, Apart, pointer, take
from atomlens.ops.product_kernels import multiply, multiply_transposed, softplus_and_slope, strips

N_SLOTS = 48
_ROWS = 64  # that go through a phase together: their arrays fit a cache of half a megabyte
_ORDERED = {"contract", "nsz"}


@numba.njit(fastmath=_ORDERED, error_model="numpy", pipeline_class=Apart, forceinline=True)
def _activate(first, last, features, inner, slope):  # type: ignore[no-untyped-def]
    """Turns ``inner`` into ssp of it, and ``slope`` into σ."""
    for i in range(first, last):
        for f in range(features):
            inner[i, f], slope[i, f] = softplus_and_slope(inner[i, f])


@numba.njit(fastmath=_ORDERED, error_model="numpy", pipeline_class=Apart, forceinline=True)
def _add_row(first, last, features, out, row):  # type: ignore[no-untyped-def]
    for i in range(first, last):
        for f in range(features):
            out[i, f] += row[f]


@numba.njit(fastmath=_ORDERED, error_model="numpy", pipeline_class=Apart, forceinline=True)
def _copy(first, last, features, given, out):  # type: ignore[no-untyped-def]
    for i in range(first, last):
        for f in range(features):
            out[i, f] = given[i, f]


@numba.njit(fastmath=_ORDERED, error_model="numpy", pipeline_class=Apart, forceinline=True)
def _add(first, last, features, given, out):  # type: ignore[no-untyped-def]
    for i in range(first, last):
        for f in range(features):
            out[i, f] += given[i, f]


@numba.njit(fastmath=_ORDERED, error_model="numpy", pipeline_class=Apart, forceinline=True)
def _multiply_slope(first, last, features, given, slope, out):  # type: ignore[no-untyped-def]
    for i in range(first, last):
        for f in range(features):
            out[i, f] = given[i, f] * slope[i, f]


@numba.njit(fastmath=_ORDERED, error_model="numpy", pipeline_class=Apart, forceinline=True)
def _add_curvature(first, last, features, of_slope, slope, out):  # type: ignore[no-untyped-def]
    """Adds what a derivative by σ(m) is by m."""
    one = slope.dtype.type(1.0)
    for i in range(first, last):
        for f in range(features):
            out[i, f] += of_slope[i, f] * (slope[i, f] * (one - slope[i, f]))


@numba.njit(fastmath=_ORDERED, error_model="numpy", pipeline_class=Apart, forceinline=True)
def _through_slope(first, last, features, slope, given, product, of_slope):  # type: ignore[no-untyped-def]
    """For p = a s: from ∂/∂p in ``of_slope`` ∂/∂a to ``product`` and ∂/∂s to ``of_slope``."""
    for i in range(first, last):
        for f in range(features):
            of_product = of_slope[i, f]
            product[i, f] = of_product * slope[i, f]
            of_slope[i, f] = of_product * given[i, f]


@numba.njit(fastmath=FAST, error_model="numpy", pipeline_class=Apart, forceinline=True)
def _dot_rows(first, last, features, starts, order, other, place, weights, g, x, table, out):  # type: ignore[no-untyped-def]
    """Adds g_i · (x_j ∘ W_p) of the pairs of the rows i."""
    for i in range(first, last):
        for q in range(starts[i], starts[i + 1]):
            p = order[q]
            j, k = other[p], place[p]
            a0, a1, a2, a3 = weights[p, 0], weights[p, 1], weights[p, 2], weights[p, 3]
            total = x.dtype.type(0.0)
            for f in range(features):
                w = a0 * table[k, f] + a1 * table[k + 1, f] + a2 * table[k + 2, f] + a3 * table[k + 3, f]
                total += g[i, f] * x[j, f] * w
            out[p] += total


@numba.njit(cache=KEEP)
def closed_pieces(centre, neighbour, atoms, least):  # type: ignore[no-untyped-def]
    """Where atoms can be cut into pieces of at least ``least``, none of which hears another: the first of each, and the end."""
    across = np.zeros(atoms + 2, np.int32)
    for p in range(centre.shape[0]):
        i, j = centre[p], neighbour[p]
        across[min(i, j) + 1] += 1
        across[max(i, j) + 1] -= 1
    pieces = np.empty(atoms + 1, np.int64)
    pieces[0] = 0
    found, open_pairs = 1, 0
    for i in range(1, atoms):
        open_pairs += across[i]
        if open_pairs == 0 and i - pieces[found - 1] >= least:
            pieces[found] = i
            found += 1
    pieces[found] = atoms
    return pieces[: found + 1].copy()


def compile_blocks(width: int) -> dict[str, Any]:
    """The kernels of passes for one number of features, by name; `numba_passes` fills their slots."""
    made = (_compile_forward(width), _compile_back(width), _compile_again(width), _compile_weight_gradients(width))
    return {kernel.__name__: kernel for kernel in made}


def _compile_forward(width: int) -> Any:
    vectors, strip = strips(width)

    @numba.cfunc(types.void(types.voidptr), cache=KEEP)
    def forward(data):  # type: ignore[no-untyped-def]
        s = numba.carray(data, N_SLOTS, np.int64)
        pieces, begin, end, blocks, atoms, pairs, table_rows = s[2], s[3], s[4], s[5], s[6], s[7], s[8]
        shape, wide = (atoms, width), 4 * atoms * width
        cut = numba.carray(pointer(s[9]), pieces + 1, np.int64)
        starts = numba.carray(pointer(s[10]), atoms + 1, np.int32)
        order = numba.carray(pointer(s[11]), pairs, np.int32)
        other = numba.carray(pointer(s[12]), pairs, np.int32)
        place = numba.carray(pointer(s[13]), pairs, np.int32)
        weights = numba.carray(pointer(s[14]), (pairs, 4), np.float32)
        unscaled = numba.carray(pointer(s[14]), 0, np.float32)
        tables, table_stride = s[15], s[16]
        w_in, w_mid, w_out, b_mid, b_out, zeros = s[17], s[18], s[19], s[20], s[21], s[22]
        given = numba.carray(pointer(s[23]), shape, np.float32)
        x_kept, out, h_kept, c_kept, a_kept, s_kept = s[24], s[25], s[26], s[27], s[28], s[29]
        stride = s[30] * wide  # 0: only what the pass back needs is kept
        square, row = 4 * width * width, 4 * width
        piece = take(data)
        while piece < pieces:
            for phase in range(begin, end):
                for first in range(cut[piece], cut[piece + 1], _ROWS):
                    last = min(first + _ROWS, cut[piece + 1])
                    rows, skip = last - first, row * first
                    x_here = x_kept + phase * stride if phase < blocks else out
                    if phase == 0:
                        _copy(first, last, width, given, numba.carray(pointer(x_here), shape, np.float32))
                    else:
                        t = phase - 1
                        h = numba.carray(pointer(h_kept + t * wide), shape, np.float32)
                        table = numba.carray(pointer(tables + t * table_stride), (table_rows, width), np.float32)
                        c = numba.carray(pointer(c_kept + t * stride), shape, np.float32)
                        convolve_rows(first, last, width, starts, order, other, place, weights, unscaled, h, table, c)
                        a_here = a_kept + t * stride
                        multiply(
                            width,
                            vectors,
                            strip,
                            rows,
                            c_kept + t * stride + skip,
                            w_mid + t * square,
                            b_mid + t * row,
                            0,
                            a_here + skip,
                        )
                        _activate(
                            first,
                            last,
                            width,
                            numba.carray(pointer(a_here), shape, np.float32),
                            numba.carray(pointer(s_kept + t * wide), shape, np.float32),
                        )
                        multiply(
                            width,
                            vectors,
                            strip,
                            rows,
                            a_here + skip,
                            w_out + t * square,
                            x_kept + t * stride + skip,
                            width,
                            x_here + skip,
                        )
                        _add_row(
                            first,
                            last,
                            width,
                            numba.carray(pointer(x_here), shape, np.float32),
                            numba.carray(pointer(b_out + t * row), width, np.float32),
                        )
                    if phase < blocks:
                        multiply(
                            width,
                            vectors,
                            strip,
                            rows,
                            x_here + skip,
                            w_in + phase * square,
                            zeros,
                            0,
                            h_kept + phase * wide + skip,
                        )
            piece = take(data)

    return forward


def _compile_back(width: int) -> Any:
    vectors, strip = strips(width)

    @numba.cfunc(types.void(types.voidptr), cache=KEEP)
    def back(data):  # type: ignore[no-untyped-def]
        s = numba.carray(data, N_SLOTS, np.int64)
        pieces, begin, end, blocks, atoms, pairs, table_rows = s[2], s[3], s[4], s[5], s[6], s[7], s[8]
        shape, wide = (atoms, width), 4 * atoms * width
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
        given = numba.carray(pointer(s[25]), shape, np.float32)
        h_kept, s_kept, by_h, by_s = s[26], s[27], s[28], s[29]
        out, g_kept, by_a_kept, by_m_kept, below_kept, back_kept = s[30], s[31], s[32], s[33], s[34], s[35]
        stride = s[36] * wide  # 0: nothing is kept, `below` in turns of two
        dots = numba.carray(pointer(s[37]), pairs, np.float64)
        square, row = 4 * width * width, 4 * width
        piece = take(data)
        while piece < pieces:
            for phase in range(begin, end):
                for first in range(cut[piece], cut[piece + 1], _ROWS):
                    last = min(first + _ROWS, cut[piece + 1])
                    rows, skip = last - first, row * first
                    t = blocks - phase  # the block that this phase leaves at its lower end
                    below_there = below_kept + (t * stride if stride else (t % 2) * wide)
                    # g_kept holds ∂E/∂x above each block.
                    g_here = g_kept + (t - 1) * stride if t > 0 else out
                    if phase == 0:
                        _copy(first, last, width, given, numba.carray(pointer(g_here), shape, np.float32))
                    else:
                        below = numba.carray(pointer(below_there), shape, np.float32)
                        table = numba.carray(pointer(tables + t * table_stride), (table_rows, width), np.float32)
                        back_here = back_kept + t * stride
                        returned = numba.carray(pointer(back_here), shape, np.float32)
                        convolve_rows(
                            first,
                            last,
                            width,
                            heard_starts,
                            heard_order,
                            heard_other,
                            place,
                            weights,
                            unscaled,
                            below,
                            table,
                            returned,
                        )
                        if by_h:
                            extra = numba.carray(pointer(by_h + t * wide), shape, np.float32)
                            _add(first, last, width, extra, returned)
                        multiply(
                            width,
                            vectors,
                            strip,
                            rows,
                            back_here + skip,
                            w_in + t * square,
                            g_kept + t * stride + skip,
                            width,
                            g_here + skip,
                        )
                    if phase < blocks:
                        t -= 1
                        slope = numba.carray(pointer(s_kept + t * wide), shape, np.float32)
                        by_a_here, by_m_here = by_a_kept + t * stride, by_m_kept + t * stride
                        by_m = numba.carray(pointer(by_m_here), shape, np.float32)
                        multiply(
                            width,
                            vectors,
                            strip,
                            rows,
                            g_here + skip,
                            w_out + t * square,
                            zeros,
                            0,
                            by_a_here + skip,
                        )
                        _multiply_slope(
                            first, last, width, numba.carray(pointer(by_a_here), shape, np.float32), slope, by_m
                        )
                        if by_s:
                            of_slope = numba.carray(pointer(by_s + t * wide), shape, np.float32)
                            _add_curvature(first, last, width, of_slope, slope, by_m)
                        below_here = below_kept + (t * stride if stride else (t % 2) * wide)
                        multiply(
                            width,
                            vectors,
                            strip,
                            rows,
                            by_m_here + skip,
                            w_mid + t * square,
                            zeros,
                            0,
                            below_here + skip,
                        )
                        if s[37]:
                            _dot_rows(
                                first,
                                last,
                                width,
                                starts,
                                order,
                                other,
                                place,
                                slopes,
                                numba.carray(pointer(below_here), shape, np.float32),
                                numba.carray(pointer(h_kept + t * wide), shape, np.float32),
                                numba.carray(pointer(tables + t * table_stride), (table_rows, width), np.float32),
                                dots,
                            )
            piece = take(data)

    return back


def _compile_again(width: int) -> Any:
    vectors, strip = strips(width)

    @numba.cfunc(types.void(types.voidptr), cache=KEEP)
    def again(data):  # type: ignore[no-untyped-def]
        s = numba.carray(data, N_SLOTS, np.int64)
        pieces, begin, end, blocks, atoms, pairs, table_rows = s[2], s[3], s[4], s[5], s[6], s[7], s[8]
        shape, wide = (atoms, width), 4 * atoms * width
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
        square, row = 4 * width * width, 4 * width
        piece = take(data)
        while piece < pieces:
            for phase in range(begin, end):
                for first in range(cut[piece], cut[piece + 1], _ROWS):
                    last = min(first + _ROWS, cut[piece + 1])
                    rows, skip = last - first, row * first
                    x_here = of_x_kept + phase * wide if phase < blocks else out
                    of_x = numba.carray(pointer(x_here), shape, np.float32)
                    if phase == 0:
                        if given:
                            _copy(first, last, width, numba.carray(pointer(given), shape, np.float32), of_x)
                        else:
                            of_x[first:last] = 0.0
                    else:
                        t = phase - 1
                        h = numba.carray(pointer(h_kept + t * wide), shape, np.float32)
                        table = numba.carray(pointer(tables + t * table_stride), (table_rows, width), np.float32)
                        of_below = numba.carray(pointer(of_below_kept + t * wide), shape, np.float32)
                        if phase == 1 and not given:
                            convolve_rows(
                                first, last, width, starts, order, other, place, slopes, scale, h, table, of_below
                            )
                        else:
                            of_back = numba.carray(pointer(of_back_kept + t * wide), shape, np.float32)
                            convolve_both_rows(
                                first,
                                last,
                                width,
                                starts,
                                order,
                                other,
                                place,
                                weights,
                                slopes,
                                scale,
                                of_back,
                                h,
                                table,
                                of_below,
                            )
                        convolve_rows(
                            first,
                            last,
                            width,
                            heard_starts,
                            heard_order,
                            heard_other,
                            place,
                            slopes,
                            scale,
                            numba.carray(pointer(below_kept + t * wide), shape, np.float32),
                            table,
                            numba.carray(pointer(of_h_kept + t * wide), shape, np.float32),
                        )
                        multiply(
                            width,
                            vectors,
                            strip,
                            rows,
                            of_below_kept + t * wide + skip,
                            w_mid + t * square,
                            zeros,
                            0,
                            of_s_kept + t * wide + skip,
                        )
                        _through_slope(
                            first,
                            last,
                            width,
                            numba.carray(pointer(s_kept + t * wide), shape, np.float32),
                            numba.carray(pointer(by_a_kept + t * wide), shape, np.float32),
                            numba.carray(pointer(of_by_a_kept + t * wide), shape, np.float32),
                            numba.carray(pointer(of_s_kept + t * wide), shape, np.float32),
                        )
                        multiply(
                            width,
                            vectors,
                            strip,
                            rows,
                            of_by_a_kept + t * wide + skip,
                            w_out + t * square,
                            of_x_kept + t * wide + skip,
                            width,
                            x_here + skip,
                        )
                    if phase < blocks:
                        if phase == 0 and not given:
                            numba.carray(pointer(of_back_kept), shape, np.float32)[first:last] = 0.0
                        else:
                            multiply(
                                width,
                                vectors,
                                strip,
                                rows,
                                x_here + skip,
                                w_in + phase * square,
                                zeros,
                                0,
                                of_back_kept + phase * wide + skip,
                            )
            piece = take(data)

    return again


def _compile_weight_gradients(width: int) -> Any:
    vectors, strip = strips(width)

    @numba.cfunc(types.void(types.voidptr), cache=KEEP)
    def weight_gradients(data):  # type: ignore[no-untyped-def]
        s = numba.carray(data, N_SLOTS, np.int64)
        blocks, parts, atoms, left, right, zeros, out, sums = s[2], s[3], s[4], s[5], s[6], s[7], s[8], s[9]
        wide, square, part_rows = 4 * atoms * width, 4 * width * width, width // parts
        ticket = take(data)
        while ticket < blocks * parts:
            t, part = ticket // parts, ticket % parts
            begin = part * part_rows
            multiply_transposed(
                width,
                vectors,
                strip,
                begin,
                begin + part_rows,
                atoms,
                left + t * wide,
                right + t * wide,
                zeros,
                out + t * square,
            )
            if sums:
                given = numba.carray(pointer(left + t * wide), (atoms, width), np.float32)
                total = numba.carray(pointer(sums + 4 * t * width), width, np.float32)
                total[begin : begin + part_rows] = 0.0
                for i in range(atoms):
                    for f in range(begin, begin + part_rows):
                        total[f] += given[i, f]
            ticket = take(data)

    return weight_gradients
