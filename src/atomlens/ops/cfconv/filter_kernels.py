"""Filter networks at the knots of their table, forward and back, as machine code in single precision.

A thread takes a block: its two dense layers and the spline through what they give. Gaussians that have died away at a
knot are left out of the first layer, three quarters of them.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import types

from atomlens.ops.cfconv.row_kernels import activate, multiply_in_place, sum_rows
from atomlens.ops.numba_tools import KEEP, SOURCES, Apart, pointer, take
from atomlens.ops.product_kernels import (
    multiply,
    multiply_banded,
    multiply_banded_transposed,
    multiply_transposed,
    strips,
)

N_SLOTS = 24
_ORDERED = {"contract", "nsz", "arcp"}


@numba.njit(fastmath=_ORDERED, error_model="numpy", pipeline_class=Apart, forceinline=True)
def _solve(samples, features, ratio, out):  # type: ignore[no-untyped-def]
    """Spline coefficients (samples + 2, F), free at the ends, in place of the knot values in rows 1 to samples."""
    last = samples - 1
    for i in range(1, last):
        six = np.float32(6.0) * ratio[i]
        for f in range(features):
            out[i + 1, f] = six * out[i + 1, f] - ratio[i] * out[i, f]
    for i in range(last - 1, 0, -1):
        for f in range(features):
            out[i + 1, f] -= ratio[i] * out[i + 2, f]
    two = np.float32(2.0)
    for f in range(features):
        out[0, f] = two * out[1, f] - out[2, f]
        out[last + 2, f] = two * out[last + 1, f] - out[last, f]


@numba.njit(fastmath=_ORDERED, error_model="numpy", pipeline_class=Apart, forceinline=True)
def _solve_adjoint(samples, features, ratio, gradient, out):  # type: ignore[no-untyped-def]
    """The adjoint of `_solve`: its steps in reverse, from (samples + 2, F) to (samples, F)."""
    last = samples - 1
    two, six = np.float32(2.0), np.float32(6.0)
    for i in range(samples):
        for f in range(features):
            out[i, f] = gradient[i + 1, f]
    for f in range(features):
        out[0, f] += two * gradient[0, f]
        out[1, f] -= gradient[0, f]
        out[last, f] += two * gradient[last + 2, f]
        out[last - 1, f] -= gradient[last + 2, f]
    for i in range(1, last):
        for f in range(features):
            out[i + 1, f] -= ratio[i] * out[i, f]
    for i in range(last - 1, 0, -1):
        for f in range(features):
            scaled = ratio[i] * out[i, f]
            out[i - 1, f] -= scaled
            out[i, f] = six * scaled


def compile_tables(width: int) -> Any:
    """From weights to tables for one number of filters; `numba_filters` fills the slots."""
    vectors, strip = strips(width)
    sources = SOURCES

    @numba.cfunc(types.void(types.voidptr), cache=KEEP)
    def tables(data):  # type: ignore[no-untyped-def]
        _ = sources
        s = numba.carray(data, N_SLOTS, np.int64)
        blocks, samples, gaussians = s[2], s[3], s[4]
        basis, first, second, first_bias, second_bias = s[5], s[8], s[9], s[10], s[11]
        low, high = numba.carray(pointer(s[6]), samples, np.int64), numba.carray(pointer(s[7]), samples, np.int64)
        inner, slope, out = s[12], s[13], s[14]
        ratio = numba.carray(pointer(s[15]), samples, np.float32)
        row, wide = 4 * width, 4 * width * samples
        t = take(data)
        while t < blocks:
            here, table = inner + t * wide, out + t * (wide + 2 * row)
            multiply_banded(
                width, vectors, strip, samples, basis, gaussians, low, high,
                first + t * gaussians * row, first_bias + t * row, here
            )  # fmt: skip
            activate(0, samples, width,
                numba.carray(pointer(here), (samples, width), np.float32),
                numba.carray(pointer(slope + t * wide), (samples, width), np.float32)
            )  # fmt: skip
            multiply(
                width,
                width,
                vectors,
                strip,
                samples,
                here,
                second + t * width * row,
                second_bias + t * row,
                0,
                table + row,
            )
            _solve(samples, width, ratio, numba.carray(pointer(table), (samples + 2, width), np.float32))
            t = take(data)

    return tables


def compile_gradients(width: int) -> Any:
    """From gradients of tables to gradients of weights."""
    vectors, strip = strips(width)
    sources = SOURCES

    @numba.cfunc(types.void(types.voidptr), cache=KEEP)
    def gradients(data):  # type: ignore[no-untyped-def]
        _ = sources
        s = numba.carray(data, N_SLOTS, np.int64)
        blocks, samples, gaussians = s[2], s[3], s[4]
        basis, second, zeros, inner, slope, given = s[5], s[8], s[9], s[10], s[11], s[12]
        low, high = numba.carray(pointer(s[6]), gaussians, np.int64), numba.carray(pointer(s[7]), gaussians, np.int64)
        ratio = numba.carray(pointer(s[13]), samples, np.float32)
        by_values, by_inner = s[14], s[15]
        by_first, by_second, by_first_bias, by_second_bias = s[16], s[17], s[18], s[19]
        row, wide = 4 * width, 4 * width * samples
        shape = (samples, width)
        t = take(data)
        while t < blocks:
            values = numba.carray(pointer(by_values + t * wide), shape, np.float32)
            hidden = numba.carray(pointer(by_inner + t * wide), shape, np.float32)
            gradient = numba.carray(pointer(given + t * (wide + 2 * row)), (samples + 2, width), np.float32)
            _solve_adjoint(samples, width, ratio, gradient, values)
            sum_rows(
                0, samples, width, values, False, numba.carray(pointer(by_second_bias + t * row), width, np.float32)
            )
            multiply_transposed(
                width, width, vectors, strip, samples, inner + t * wide, by_values + t * wide, zeros, 0,
                by_second + t * width * row
            )  # fmt: skip
            multiply(
                width, width, vectors, strip, samples, by_values + t * wide, second + t * width * row, zeros, 0,
                by_inner + t * wide
            )  # fmt: skip
            multiply_in_place(0, samples, width, numba.carray(pointer(slope + t * wide), shape, np.float32), hidden)
            sum_rows(
                0, samples, width, hidden, False, numba.carray(pointer(by_first_bias + t * row), width, np.float32)
            )
            out = by_first + t * gaussians * row
            multiply_banded_transposed(
                width, vectors, strip, gaussians, basis, low, high, by_inner + t * wide, zeros, out
            )
            t = take(data)

    return gradients
