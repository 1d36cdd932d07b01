"""A network with one hidden layer and one output for all atoms, its passes forward and back, in single precision.

m = x W_1ᵀ + b_1,  a = ssp(m),  s = σ(m),  o = a · w_2 + b_2
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import types

from atomlens.ops.numba_tools import FAST, KEEP, SOURCES, Apart, pointer, take
from atomlens.ops.product_kernels import multiply, multiply_transposed, softplus_and_slope, strips

N_SLOTS = 32
_ROWS = 64  # that a thread takes together


@numba.njit(inline="always")
def _array(address, rows, width):  # type: ignore[no-untyped-def]
    return numba.carray(pointer(address), (rows, width), np.float32)


@numba.njit(fastmath=FAST, error_model="numpy", pipeline_class=Apart, forceinline=True)
def _outputs(first, last, hidden, a, s, weight, bias, out):  # type: ignore[no-untyped-def]
    """Turns m in ``a`` to ssp(m), and gives σ(m) and the outputs."""
    for i in range(first, last):
        for f in range(hidden):
            a[i, f], s[i, f] = softplus_and_slope(a[i, f])
    for i in range(first, last):
        total = np.float32(0.0)
        for f in range(hidden):
            total += a[i, f] * weight[f]
        out[i] = total + bias


@numba.njit(fastmath=FAST, error_model="numpy", pipeline_class=Apart, forceinline=True)
def _to_inner(first, last, hidden, g, weight, s, q):  # type: ignore[no-untyped-def]
    """Q = ∂E/∂m from g = ∂E/∂o."""
    for i in range(first, last):
        for f in range(hidden):
            q[i, f] = g[i] * weight[f] * s[i, f]


@numba.njit(fastmath=FAST, error_model="numpy", pipeline_class=Apart, forceinline=True)
def _add_curvature(first, last, hidden, by_s, s, q):  # type: ignore[no-untyped-def]
    one = np.float32(1.0)
    for i in range(first, last):
        for f in range(hidden):
            q[i, f] += by_s[i, f] * (s[i, f] * (one - s[i, f]))


@numba.njit(fastmath=FAST, error_model="numpy", pipeline_class=Apart, forceinline=True)
def _sum_inner(first, last, hidden, begun, q, g, a, inner_bias, weight):  # type: ignore[no-untyped-def]
    """Adds Σ q and Σ g a over atoms."""
    if not begun:
        for f in range(hidden):
            inner_bias[f] = 0.0
            weight[f] = 0.0
    for i in range(first, last):
        for f in range(hidden):
            inner_bias[f] += q[i, f]
            weight[f] += g[i] * a[i, f]


@numba.njit(fastmath=FAST, error_model="numpy", pipeline_class=Apart, forceinline=True)
def _derive_inner(first, last, hidden, begun, of_q, g, s, weight, of_g, of_s, of_weight):  # type: ignore[no-untyped-def]
    """From ∂/∂q in ``of_q``: ∂/∂g, ∂/∂s and what is added to ∂/∂w_2."""
    if not begun:
        for f in range(hidden):
            of_weight[f] = 0.0
    for i in range(first, last):
        total = np.float32(0.0)
        for f in range(hidden):
            through = of_q[i, f] * s[i, f]
            total += through * weight[f]
            of_weight[f] += through * g[i]
            of_s[i, f] = of_q[i, f] * g[i] * weight[f]
        of_g[i] = total


def compile_forward(features: int, hidden: int) -> Any:
    """The pass forward for one number of features and one of hidden units."""
    vectors, strip = strips(hidden)
    sources = SOURCES

    @numba.cfunc(types.void(types.voidptr), cache=KEEP)
    def network_forward(data):  # type: ignore[no-untyped-def]
        _ = sources
        s = numba.carray(data, N_SLOTS, np.int64)
        atoms, x, first_weight, first_bias = s[2], s[3], s[4], s[5]
        weight, bias = numba.carray(pointer(s[6]), hidden, np.float32), numba.carray(pointer(s[7]), 1, np.float32)[0]
        a, slope = _array(s[8], atoms, hidden), _array(s[9], atoms, hidden)
        out = numba.carray(pointer(s[10]), atoms, np.float32)
        first = take(data) * _ROWS
        while first < atoms:
            last = min(first + _ROWS, atoms)
            multiply(
                features, hidden, vectors, strip, last - first, x + 4 * first * features, first_weight, first_bias, 0,
                s[8] + 4 * first * hidden
            )  # fmt: skip
            _outputs(first, last, hidden, a, slope, weight, bias, out)
            first = take(data) * _ROWS

    return network_forward


def compile_back(features: int, hidden: int) -> Any:
    """The pass back."""
    vectors, strip = strips(features)
    sources = SOURCES

    @numba.cfunc(types.void(types.voidptr), cache=KEEP)
    def network_back(data):  # type: ignore[no-untyped-def]
        _ = sources
        s = numba.carray(data, N_SLOTS, np.int64)
        groups, atoms, x, first_weight, zeros = s[2], s[3], s[4], s[5], s[6]
        weight, g = numba.carray(pointer(s[7]), hidden, np.float32), numba.carray(pointer(s[8]), atoms, np.float32)
        a, slope = _array(s[9], atoms, hidden), _array(s[10], atoms, hidden)
        by_s, inner, out, sums = s[11], s[12], s[13], s[14]
        q = _array(inner, atoms, hidden)
        group = take(data)
        while group < groups:
            # Per group: gradients by W_1, b_1 and w_2.
            gradients = sums + 4 * group * hidden * (features + 2)
            rest = gradients + 4 * hidden * features
            begin, end = group * atoms // groups, (group + 1) * atoms // groups
            for first in range(begin, end, _ROWS):
                last = min(first + _ROWS, end)
                _to_inner(first, last, hidden, g, weight, slope, q)
                if by_s:
                    _add_curvature(first, last, hidden, _array(by_s, atoms, hidden), slope, q)
                here = inner + 4 * first * hidden
                if sums:
                    multiply_transposed(
                        hidden, features, vectors, strip, last - first, here, x + 4 * first * features, zeros,
                        first > begin, gradients
                    )  # fmt: skip
                    _sum_inner(
                        first, last, hidden, first > begin, q, g, a, numba.carray(pointer(rest), hidden, np.float32),
                        numba.carray(pointer(rest + 4 * hidden), hidden, np.float32)
                    )  # fmt: skip
                if out:
                    multiply(
                        hidden, features, vectors, strip, last - first, here, first_weight, zeros, 0,
                        out + 4 * first * features
                    )  # fmt: skip
            group = take(data)

    return network_back


def compile_again(features: int, hidden: int) -> Any:
    """The derivative of the pass back."""
    vectors, strip = strips(hidden)
    wide_vectors, wide_strip = strips(features)
    sources = SOURCES

    @numba.cfunc(types.void(types.voidptr), cache=KEEP)
    def network_again(data):  # type: ignore[no-untyped-def]
        _ = sources
        s = numba.carray(data, N_SLOTS, np.int64)
        groups, atoms, of_x, first_weight, zeros = s[2], s[3], s[4], s[5], s[6]
        weight, g = numba.carray(pointer(s[7]), hidden, np.float32), numba.carray(pointer(s[8]), atoms, np.float32)
        slope, inner = _array(s[9], atoms, hidden), s[10]
        of_g, of_s = numba.carray(pointer(s[11]), atoms, np.float32), _array(s[12], atoms, hidden)
        q, sums = _array(inner, atoms, hidden), s[13]
        group = take(data)
        while group < groups:
            gradients = sums + 4 * group * hidden * (features + 2)
            rest = gradients + 4 * hidden * features
            numba.carray(pointer(rest), hidden, np.float32)[:] = 0.0  # b_1 has no part
            begin, end = group * atoms // groups, (group + 1) * atoms // groups
            for first in range(begin, end, _ROWS):
                last = min(first + _ROWS, end)
                here, there = inner + 4 * first * hidden, of_x + 4 * first * features
                _to_inner(first, last, hidden, g, weight, slope, q)
                multiply_transposed(
                    hidden, features, wide_vectors, wide_strip, last - first, here, there, zeros, first > begin,
                    gradients
                )  # fmt: skip
                multiply(features, hidden, vectors, strip, last - first, there, first_weight, zeros, 0, here)
                _derive_inner(
                    first, last, hidden, first > begin, q, g, slope, weight, of_g, of_s,
                    numba.carray(pointer(rest + 4 * hidden), hidden, np.float32)
                )  # fmt: skip
            group = take(data)

    return network_again
