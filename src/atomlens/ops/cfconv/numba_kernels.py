"""The primitives as machine code for the CPU; numba compiles them on first use and keeps them on disk.

A kernel is a function of 64-bit slots, see `ops.numba_tools`. A row is computed by one thread, in the order of its
pairs, so results do not depend on the number of threads.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import types

from atomlens.ops.numba_tools import FAST, KEEP, Apart, pointer, take

# Where the rows at the edge of a thread's piece take another branch, products must round alike in both.
_ORDERED = {"contract", "nsz"}


@numba.njit(fastmath=FAST, error_model="numpy", pipeline_class=Apart, forceinline=True)
def convolve_rows(first, last, features, starts, order, other, place, weights, scale, x, table, out):  # type: ignore[no-untyped-def]
    """Σ_p s_p x_j ∘ W_p of the rows from ``first`` to ``last``; an empty ``scale`` is one of ones."""
    scaled = scale.shape[0] > 0
    for i in range(first, last):
        for f in range(features):
            out[i, f] = 0.0
        q, end = starts[i], starts[i + 1]
        while q + 1 < end:  # two pairs at a time: half the loads and stores of the sum
            p, r = order[q], order[q + 1]
            j, k, a0, a1, a2, a3 = other[p], place[p], weights[p, 0], weights[p, 1], weights[p, 2], weights[p, 3]
            l, m, b0, b1, b2, b3 = other[r], place[r], weights[r, 0], weights[r, 1], weights[r, 2], weights[r, 3]  # noqa: E741
            if scaled:
                a0, a1, a2, a3 = a0 * scale[p], a1 * scale[p], a2 * scale[p], a3 * scale[p]
                b0, b1, b2, b3 = b0 * scale[r], b1 * scale[r], b2 * scale[r], b3 * scale[r]
            for f in range(features):
                first_filter = a0 * table[k, f] + a1 * table[k + 1, f] + a2 * table[k + 2, f] + a3 * table[k + 3, f]
                other_filter = b0 * table[m, f] + b1 * table[m + 1, f] + b2 * table[m + 2, f] + b3 * table[m + 3, f]
                out[i, f] += x[j, f] * first_filter + x[l, f] * other_filter
            q += 2
        if q < end:
            p = order[q]
            j, k, a0, a1, a2, a3 = other[p], place[p], weights[p, 0], weights[p, 1], weights[p, 2], weights[p, 3]
            if scaled:
                a0, a1, a2, a3 = a0 * scale[p], a1 * scale[p], a2 * scale[p], a3 * scale[p]
            for f in range(features):
                last_filter = a0 * table[k, f] + a1 * table[k + 1, f] + a2 * table[k + 2, f] + a3 * table[k + 3, f]
                out[i, f] += x[j, f] * last_filter


@numba.njit(fastmath=FAST, error_model="numpy", pipeline_class=Apart, forceinline=True)
def _dot_pairs(first, last, features, centre, neighbour, place, weights, g, x, table, out):  # type: ignore[no-untyped-def]
    for p in range(first, last):
        i, j, k = centre[p], neighbour[p], place[p]
        a0, a1, a2, a3 = weights[p, 0], weights[p, 1], weights[p, 2], weights[p, 3]
        total = x.dtype.type(0.0)
        for f in range(features):
            w = a0 * table[k, f] + a1 * table[k + 1, f] + a2 * table[k + 2, f] + a3 * table[k + 3, f]
            total += g[i, f] * x[j, f] * w
        out[p] = total


@numba.njit(fastmath=_ORDERED, error_model="numpy", pipeline_class=Apart, forceinline=True)
def _table_rows(first, last, features, starts, order, centre, neighbour, weights, scale, g, x, out):  # type: ignore[no-untyped-def]
    scaled = scale.shape[0] > 0
    for r in range(first, last):
        for f in range(features):
            out[r, f] = 0.0
    for k in range(max(first - 3, 0), min(last, starts.shape[0] - 1)):
        inside = k >= first and k + 3 < last
        for q in range(starts[k], starts[k + 1]):
            p = order[q]
            i, j = centre[p], neighbour[p]
            s = scale[p] if scaled else x.dtype.type(1.0)
            a0, a1, a2, a3 = s * weights[p, 0], s * weights[p, 1], s * weights[p, 2], s * weights[p, 3]
            if inside:
                for f in range(features):
                    both = g[i, f] * x[j, f]
                    out[k, f] += a0 * both
                    out[k + 1, f] += a1 * both
                    out[k + 2, f] += a2 * both
                    out[k + 3, f] += a3 * both
            else:  # rows of another piece are left to it
                for m in range(4):
                    if first <= k + m < last:
                        a = s * weights[p, m]
                        for f in range(features):
                            out[k + m, f] += a * (g[i, f] * x[j, f])


@numba.njit(fastmath=FAST, error_model="numpy", pipeline_class=Apart, forceinline=True)
def convolve_both_rows(  # type: ignore[no-untyped-def]
    first, last, features, starts, order, other, place, weights, slopes, scale, x, y, table, out
):
    """Σ_p x_j ∘ W_p + s_p y_j ∘ W'_p of the rows from ``first`` to ``last``."""
    for i in range(first, last):
        for f in range(features):
            out[i, f] = 0.0
        for q in range(starts[i], starts[i + 1]):
            p = order[q]
            j, k, s = other[p], place[p], scale[p]
            a0, a1, a2, a3 = weights[p, 0], weights[p, 1], weights[p, 2], weights[p, 3]
            b0, b1, b2, b3 = s * slopes[p, 0], s * slopes[p, 1], s * slopes[p, 2], s * slopes[p, 3]
            for f in range(features):
                c0, c1, c2, c3 = table[k, f], table[k + 1, f], table[k + 2, f], table[k + 3, f]
                value = a0 * c0 + a1 * c1 + a2 * c2 + a3 * c3
                slope = b0 * c0 + b1 * c1 + b2 * c2 + b3 * c3
                out[i, f] += x[j, f] * value + y[j, f] * slope


@numba.njit(fastmath=_ORDERED, error_model="numpy", pipeline_class=Apart, forceinline=True)
def _table_both_rows(  # type: ignore[no-untyped-def]
    first, last, features, starts, order, centre, neighbour, weights, slopes, scale, g, x, y, out
):
    for r in range(first, last):
        for f in range(features):
            out[r, f] = 0.0
    for k in range(max(first - 3, 0), min(last, starts.shape[0] - 1)):
        inside = k >= first and k + 3 < last
        for q in range(starts[k], starts[k + 1]):
            p = order[q]
            i, j, s = centre[p], neighbour[p], scale[p]
            a0, a1, a2, a3 = weights[p, 0], weights[p, 1], weights[p, 2], weights[p, 3]
            b0, b1, b2, b3 = s * slopes[p, 0], s * slopes[p, 1], s * slopes[p, 2], s * slopes[p, 3]
            if inside:
                for f in range(features):
                    both, slope = g[i, f] * x[j, f], g[i, f] * y[j, f]
                    out[k, f] += a0 * both + b0 * slope
                    out[k + 1, f] += a1 * both + b1 * slope
                    out[k + 2, f] += a2 * both + b2 * slope
                    out[k + 3, f] += a3 * both + b3 * slope
            else:  # rows of another piece are left to it
                for m in range(4):
                    if first <= k + m < last:
                        a, b = weights[p, m], s * slopes[p, m]
                        for f in range(features):
                            out[k + m, f] += a * (g[i, f] * x[j, f]) + b * (g[i, f] * y[j, f])


@numba.njit(fastmath=FAST, error_model="numpy")
def _solve(values, out, left, right):  # type: ignore[no-untyped-def]
    """Coefficients (samples + 2, F) through values (samples, F): sweeps through the tridiagonal system (1 4 1)."""
    last = values.shape[0] - 1
    ratio = np.zeros(last, values.dtype)
    for f in range(left, right):
        out[1, f] = values[0, f]
        out[last + 1, f] = values[last, f]
    for i in range(1, last):
        ratio[i] = 1.0 / (4.0 - ratio[i - 1])
        six = 6.0 * ratio[i]
        for f in range(left, right):
            out[i + 1, f] = six * values[i, f] - ratio[i] * out[i, f]
    for i in range(last - 1, 0, -1):
        for f in range(left, right):
            out[i + 1, f] -= ratio[i] * out[i + 2, f]
    for f in range(left, right):
        out[0, f] = 2.0 * out[1, f] - out[2, f]
        out[last + 2, f] = 2.0 * out[last + 1, f] - out[last, f]


@numba.njit(fastmath=FAST, error_model="numpy")
def _solve_adjoint(gradient, out, left, right):  # type: ignore[no-untyped-def]
    """The adjoint of `_solve`: its steps in reverse, from (samples + 2, F) to (samples, F)."""
    last = out.shape[0] - 1
    ratio = np.zeros(last, out.dtype)
    for i in range(1, last):
        ratio[i] = 1.0 / (4.0 - ratio[i - 1])
    for i in range(last + 1):
        for f in range(left, right):
            out[i, f] = gradient[i + 1, f]
    for f in range(left, right):
        out[0, f] += 2.0 * gradient[0, f]
        out[1, f] -= gradient[0, f]
        out[last, f] += 2.0 * gradient[last + 2, f]
        out[last - 1, f] -= gradient[last + 2, f]
    for i in range(1, last):
        for f in range(left, right):
            out[i + 1, f] -= ratio[i] * out[i, f]
    for i in range(last - 1, 0, -1):
        for f in range(left, right):
            scaled = ratio[i] * out[i, f]
            out[i - 1, f] -= scaled
            out[i, f] = 6.0 * scaled


@numba.njit(cache=KEEP, nogil=True)
def count_and_place(key, starts, order):  # type: ignore[no-untyped-def]
    """Counting sort: ``order`` brings equal keys together and keeps their rows' order."""
    starts[:] = 0
    for p in range(key.shape[0]):
        starts[key[p] + 1] += 1
    for k in range(1, starts.shape[0]):
        starts[k] += starts[k - 1]
    following = starts[:-1].copy()
    for p in range(key.shape[0]):
        order[following[key[p]]] = p
        following[key[p]] += 1


def compile_kernels(real: Any, width: int) -> dict[str, Any]:
    """The kernels for one precision, by name; `numba_backend` fills their slots.

    Args:
        real: numpy's type.
        width: the number of features, which saves the ends of loops: a fifth of a kernel; 0: any.
    """
    made = (*_compile_primitives(real, width), *_compile_pairs_of_primitives(real, width))
    return {kernel.__name__: kernel for kernel in made}


def _compile_primitives(real: Any, width: int) -> tuple[Any, ...]:
    """Convolve, dot and table_gradient."""

    @numba.cfunc(types.void(types.voidptr), cache=KEEP)
    def convolve(data):  # type: ignore[no-untyped-def]
        s = numba.carray(data, 20, np.int64)
        step, rows, pairs, scaled, atoms, given, table_rows = s[1], s[2], s[3], s[4], s[5], s[6], s[7]
        features = width if width else given
        starts = numba.carray(pointer(s[8]), rows + 1, np.int32)
        order = numba.carray(pointer(s[9]), pairs, np.int32)
        other = numba.carray(pointer(s[10]), pairs, np.int32)
        place = numba.carray(pointer(s[11]), pairs, np.int32)
        weights = numba.carray(pointer(s[12]), (pairs, 4), real)
        scale = numba.carray(pointer(s[13]), scaled, real)
        x = numba.carray(pointer(s[14]), (atoms, features), real)
        table = numba.carray(pointer(s[15]), (table_rows, features), real)
        out = numba.carray(pointer(s[16]), (rows, features), real)
        first = take(data) * step
        while first < rows:
            convolve_rows(
                first, min(first + step, rows), features, starts, order, other, place, weights, scale, x, table, out
            )
            first = take(data) * step

    @numba.cfunc(types.void(types.voidptr), cache=KEEP)
    def dot(data):  # type: ignore[no-untyped-def]
        s = numba.carray(data, 20, np.int64)
        step, pairs, atoms, given, table_rows = s[1], s[2], s[3], s[4], s[5]
        features = width if width else given
        centre = numba.carray(pointer(s[6]), pairs, np.int32)
        neighbour = numba.carray(pointer(s[7]), pairs, np.int32)
        place = numba.carray(pointer(s[8]), pairs, np.int32)
        weights = numba.carray(pointer(s[9]), (pairs, 4), real)
        g = numba.carray(pointer(s[10]), (atoms, features), real)
        x = numba.carray(pointer(s[11]), (atoms, features), real)
        table = numba.carray(pointer(s[12]), (table_rows, features), real)
        out = numba.carray(pointer(s[13]), pairs, real)
        first = take(data) * step
        while first < pairs:
            _dot_pairs(first, min(first + step, pairs), features, centre, neighbour, place, weights, g, x, table, out)
            first = take(data) * step

    @numba.cfunc(types.void(types.voidptr), cache=KEEP)
    def table_gradient(data):  # type: ignore[no-untyped-def]
        s = numba.carray(data, 20, np.int64)
        step, rows, pairs, scaled, atoms, given = s[1], s[2], s[3], s[4], s[5], s[6]
        features = width if width else given
        starts = numba.carray(pointer(s[7]), rows - 2, np.int32)
        order = numba.carray(pointer(s[8]), pairs, np.int32)
        centre = numba.carray(pointer(s[9]), pairs, np.int32)
        neighbour = numba.carray(pointer(s[10]), pairs, np.int32)
        weights = numba.carray(pointer(s[11]), (pairs, 4), real)
        scale = numba.carray(pointer(s[12]), scaled, real)
        g = numba.carray(pointer(s[13]), (atoms, features), real)
        x = numba.carray(pointer(s[14]), (atoms, features), real)
        out = numba.carray(pointer(s[15]), (rows, features), real)
        first = take(data) * step
        while first < rows:
            _table_rows(
                first, min(first + step, rows), features, starts, order, centre, neighbour, weights, scale, g, x, out
            )
            first = take(data) * step

    return (convolve, dot, table_gradient)


def _compile_pairs_of_primitives(real: Any, width: int) -> tuple[Any, ...]:
    """Convolve_both and table_gradient_both."""

    @numba.cfunc(types.void(types.voidptr), cache=KEEP)
    def convolve_both(data):  # type: ignore[no-untyped-def]
        s = numba.carray(data, 20, np.int64)
        step, rows, pairs, atoms, given, table_rows = s[1], s[2], s[3], s[4], s[5], s[6]
        features = width if width else given
        starts = numba.carray(pointer(s[7]), rows + 1, np.int32)
        order = numba.carray(pointer(s[8]), pairs, np.int32)
        other = numba.carray(pointer(s[9]), pairs, np.int32)
        place = numba.carray(pointer(s[10]), pairs, np.int32)
        weights = numba.carray(pointer(s[11]), (pairs, 4), real)
        slopes = numba.carray(pointer(s[12]), (pairs, 4), real)
        scale = numba.carray(pointer(s[13]), pairs, real)
        x = numba.carray(pointer(s[14]), (atoms, features), real)
        y = numba.carray(pointer(s[15]), (atoms, features), real)
        table = numba.carray(pointer(s[16]), (table_rows, features), real)
        out = numba.carray(pointer(s[17]), (rows, features), real)
        first = take(data) * step
        while first < rows:
            last = min(first + step, rows)
            convolve_both_rows(
                first, last, features, starts, order, other, place, weights, slopes, scale, x, y, table, out
            )
            first = take(data) * step

    @numba.cfunc(types.void(types.voidptr), cache=KEEP)
    def table_gradient_both(data):  # type: ignore[no-untyped-def]
        s = numba.carray(data, 20, np.int64)
        step, rows, pairs, atoms, given = s[1], s[2], s[3], s[4], s[5]
        features = width if width else given
        starts = numba.carray(pointer(s[6]), rows - 2, np.int32)
        order = numba.carray(pointer(s[7]), pairs, np.int32)
        centre = numba.carray(pointer(s[8]), pairs, np.int32)
        neighbour = numba.carray(pointer(s[9]), pairs, np.int32)
        weights = numba.carray(pointer(s[10]), (pairs, 4), real)
        slopes = numba.carray(pointer(s[11]), (pairs, 4), real)
        scale = numba.carray(pointer(s[12]), pairs, real)
        g = numba.carray(pointer(s[13]), (atoms, features), real)
        x = numba.carray(pointer(s[14]), (atoms, features), real)
        y = numba.carray(pointer(s[15]), (atoms, features), real)
        out = numba.carray(pointer(s[16]), (rows, features), real)
        first = take(data) * step
        while first < rows:
            last = min(first + step, rows)
            _table_both_rows(
                first, last, features, starts, order, centre, neighbour, weights, slopes, scale, g, x, y, out
            )
            first = take(data) * step

    return (convolve_both, table_gradient_both)


def compile_coefficients(real: Any) -> Any:
    """The kernel of spline coefficients, for any number of features."""

    @numba.cfunc(types.void(types.voidptr), cache=KEEP)
    def coefficients(data):  # type: ignore[no-untyped-def]
        s = numba.carray(data, 20, np.int64)
        step, adjoint, blocks, samples, features = s[1], s[2], s[3], s[4], s[5]
        pieces = (features + step - 1) // step
        narrow, wide = (blocks, samples, features), (blocks, samples + 2, features)
        ticket = take(data)
        while ticket < blocks * pieces:
            block, left = ticket // pieces, (ticket % pieces) * step
            right = min(left + step, features)
            if adjoint:
                gradient = numba.carray(pointer(s[6]), wide, real)
                _solve_adjoint(gradient[block], numba.carray(pointer(s[7]), narrow, real)[block], left, right)
            else:
                values = numba.carray(pointer(s[6]), narrow, real)
                _solve(values[block], numba.carray(pointer(s[7]), wide, real)[block], left, right)
            ticket = take(data)

    return coefficients
