"""Where distances lie in a table, and what its rows weigh, as machine code."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numba import types

from atomlens.ops.numba_tools import FAST, KEEP, Apart, pointer, take

N_SLOTS = 16
NONE, COSINE, SMOOTH = range(3)  # cutoff functions of `ops.radial`
_SIXTH = 1.0 / 6.0
# sin πw and cos πw on |w| ≤ 1/2, to rounding in double precision; a library's would be called for one after another.
_S = tuple((-1) ** k * math.pi ** (2 * k + 1) / math.factorial(2 * k + 1) for k in range(10))
_C = tuple((-1) ** k * math.pi ** (2 * k) / math.factorial(2 * k) for k in range(11))
_S0, _S1, _S2, _S3, _S4, _S5, _S6, _S7, _S8, _S9 = _S
_C0, _C1, _C2, _C3, _C4, _C5, _C6, _C7, _C8, _C9, _C10 = _C


@numba.njit(fastmath=FAST, error_model="numpy", inline="always")
def _sine(w):  # type: ignore[no-untyped-def]
    q = w * w
    high = _S5 + q * (_S6 + q * (_S7 + q * (_S8 + q * _S9)))
    return w * (_S0 + q * (_S1 + q * (_S2 + q * (_S3 + q * (_S4 + q * high)))))


@numba.njit(fastmath=FAST, error_model="numpy", inline="always")
def _cosine(w):  # type: ignore[no-untyped-def]
    q = w * w
    high = _C5 + q * (_C6 + q * (_C7 + q * (_C8 + q * (_C9 + q * _C10))))
    return _C0 + q * (_C1 + q * (_C2 + q * (_C3 + q * (_C4 + q * high))))


@numba.njit(fastmath=FAST, error_model="numpy", inline="always")
def _fade(kind, order, d, end):  # type: ignore[no-untyped-def]
    """The cutoff function inside the cutoff, with its first two derivatives."""
    u = d / end
    if kind == COSINE:
        rate = math.pi / end
        w = 0.5 - u
        c = 0.5 * _sine(w)
        return c + 0.5, -0.5 * rate * _cosine(w) if order > 0 else 0.0, -rate * rate * c
    if kind == SMOOTH:
        u2 = u * u
        u4 = u2 * u2
        value = 1.0 + u4 * u2 * (-28.0 + u * (48.0 - 21.0 * u))
        slope = u4 * u * (-168.0 + u * (336.0 - 168.0 * u))
        return value, slope / end, u4 * (-840.0 + u * (2016.0 - 1176.0 * u)) / (end * end)
    return 1.0, 0.0, 0.0


@numba.njit(fastmath=FAST, error_model="numpy", inline="always")
def _weights(kind, order, d, u, spacing, end):  # type: ignore[no-untyped-def]
    """The four weights of one distance, see `SplineGrid.weights`."""
    h1 = 1.0 / spacing
    h2 = h1 * h1
    beyond = d >= end if kind != NONE else (d > end and order > 0)
    there = 0.0 if beyond else 1.0
    inside = 0.0 if beyond else d  # polynomials would overflow far away
    f0, f1, f2 = _fade(kind, order, inside, end)
    v = 1.0 - u
    w0, w3 = _SIXTH * v * v * v, _SIXTH * u * u * u
    w1, w2 = _SIXTH * (u * u * (3.0 * u - 6.0) + 4.0), _SIXTH * (v * v * (3.0 * v - 6.0) + 4.0)
    if order == 0:
        f0 *= there
        return f0 * w0, f0 * w1, f0 * w2, f0 * w3
    s0, s3 = -0.5 * v * v * h1, 0.5 * u * u * h1
    s1, s2 = 0.5 * u * (3.0 * u - 4.0) * h1, -0.5 * v * (3.0 * v - 4.0) * h1
    if order == 1:
        f0, f1 = f0 * there, f1 * there
        return f0 * s0 + f1 * w0, f0 * s1 + f1 * w1, f0 * s2 + f1 * w2, f0 * s3 + f1 * w3
    f0, f1, f2 = f0 * there, f1 * there, f2 * there
    return (
        f0 * v * h2 + 2.0 * f1 * s0 + f2 * w0,
        f0 * (3.0 * u - 2.0) * h2 + 2.0 * f1 * s1 + f2 * w1,
        f0 * (1.0 - 3.0 * u) * h2 + 2.0 * f1 * s2 + f2 * w2,
        f0 * u * h2 + 2.0 * f1 * s3 + f2 * w3,
    )


@numba.njit(fastmath=FAST, error_model="numpy", pipeline_class=Apart, forceinline=True)
def _weights_of(kind, order, first, last, distances, fraction, spacing, end, out):  # type: ignore[no-untyped-def]
    for p in range(first, last):
        out[p, 0], out[p, 1], out[p, 2], out[p, 3] = _weights(kind, order, distances[p], fraction[p], spacing, end)


@numba.njit(fastmath=FAST, error_model="numpy", pipeline_class=Apart, forceinline=True)
def _places_of(first, last, distances, spacing, intervals, ghosts, place, fraction):  # type: ignore[no-untyped-def]
    scale = 1.0 / spacing
    for p in range(first, last):
        steps = distances[p] * scale
        steps = (intervals if steps > intervals else steps) + ghosts
        # A distance that is NaN must not become an address; its fraction stays NaN.
        k = np.int32(steps) if steps >= 0.0 else np.int32(0)
        place[p] = k
        fraction[p] = steps - k


def compile_places() -> Any:
    """The kernel of `SplineGrid.locate`."""

    @numba.cfunc(types.void(types.voidptr), cache=KEEP)
    def places(data):  # type: ignore[no-untyped-def]
        s = numba.carray(data, N_SLOTS, np.int64)
        step, pairs, intervals, ghosts = s[1], s[2], np.float64(s[3]), np.float64(s[4])
        spacing = numba.carray(pointer(s[5]), 2, np.float64)[0]
        distances = numba.carray(pointer(s[6]), pairs, np.float64)
        place = numba.carray(pointer(s[7]), pairs, np.int32)
        fraction = numba.carray(pointer(s[8]), pairs, np.float64)
        first = take(data) * step
        while first < pairs:
            _places_of(first, min(first + step, pairs), distances, spacing, intervals, ghosts, place, fraction)
            first = take(data) * step

    return places


def compile_weights(real: Any, kind: int, order: int) -> Any:
    """The kernel of `SplineGrid.weights` for one precision of the weights, one cutoff function and one order."""

    @numba.cfunc(types.void(types.voidptr), cache=KEEP)
    def spline_weights(data):  # type: ignore[no-untyped-def]
        s = numba.carray(data, N_SLOTS, np.int64)
        step, pairs = s[1], s[2]
        sizes = numba.carray(pointer(s[5]), 2, np.float64)
        distances = numba.carray(pointer(s[6]), pairs, np.float64)
        fraction = numba.carray(pointer(s[7]), pairs, np.float64)
        out = numba.carray(pointer(s[8]), (pairs, 4), real)
        first = take(data) * step
        while first < pairs:
            last = min(first + step, pairs)
            _weights_of(kind, order, first, last, distances, fraction, sizes[0], sizes[1], out)
            first = take(data) * step

    return spline_weights
