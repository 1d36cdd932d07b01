"""Matrix products and activations for use inside kernels, in single precision.

The matrix products of a network of atoms are narrow: thousands of rows, and 64 or 128 columns. A product of its own has
no call to pay for, stays in the cache between the steps of a kernel, and uses the widest vectors that the processor
has, which libraries do not do on every make of it.
"""

from __future__ import annotations

import math
import platform
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic

# What numba compiles for, which its settings can make less than the processor.
_FEATURES = config.CPU_FEATURES if config.CPU_FEATURES is not None else llvm.get_host_cpu_features().flatten()
_WIDE, _MEDIUM = "+avx512f" in _FEATURES, "+avx2" in _FEATURES
LANES = 16 if _WIDE else 8 if _MEDIUM else 4  # numbers per vector
# Vectors side by side in a tile; with six rows their sums fill the registers, of which AVX2 has half as many.
VECTORS = 4 if _WIDE or platform.machine() in ("arm64", "aarch64") else 2

_ROUNDED = {"contract", "nsz", "arcp"}
_real = np.float32
_ZERO, _HALF, _ONE, _TWO = _real(0.0), _real(0.5), _real(1.0), _real(2.0)
_LN2, _PER_LN2 = _real(math.log(2.0)), _real(1.0 / math.log(2.0))
_LN2_REST = _real(math.log(2.0) - float(_LN2))
# The first has few bits: k times it is exact.
_LN2_HIGH, _LN2_LOW = _real(0.693359375), _real(math.log(2.0) - 0.693359375)
_LOWEST = _real(-87.0)  # below, 2ᵏ is no normal number
# eʳ - 1 - r over r² on |r| ≤ ln 2 / 2, after Cephes; ln(1 + t) = 2 artanh(t / (2 + t)) by its series.
_E0, _E1, _E2 = _real(1.9875691500e-4), _real(1.3981999507e-3), _real(8.3334519073e-3)
_E3, _E4, _E5 = _real(4.1665795894e-2), _real(1.6666665459e-1), _real(5.0000001201e-1)
_A1, _A2, _A3, _A4 = _real(1 / 3), _real(1 / 5), _real(1 / 7), _real(1 / 9)
_A5, _A6, _A7 = _real(1 / 11), _real(1 / 13), _real(1 / 15)


@intrinsic(prefer_literal=True)
def _tile(  # type: ignore[no-untyped-def]
    typingctx, rows, vectors, a, a_row, a_step, b, b_step, depth, start, start_row, c, c_row
):
    """c[r] = start[r] + Σ_k a[r, k] b[k] for a few rows r of ``vectors`` vectors, kept in registers.

    ``rows`` and ``vectors`` are literal numbers; a, b, start and c addresses; the rest distances in numbers: a[r, k]
    lies at a + r a_row + k a_step, and so on.
    """
    count, width = rows.literal_value, vectors.literal_value

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, _, a, a_row, a_step, b, b_step, depth, start, start_row, c, c_row = args
        whole, single = ir.IntType(64), ir.FloatType()
        vector = ir.VectorType(single, LANES)
        undefined, lane = ir.Constant(vector, ir.Undefined), ir.Constant(ir.IntType(32), 0)
        everywhere = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        a, b, start, c = (builder.inttoptr(address, single.as_pointer()) for address in (a, b, start, c))
        places = [(r, v) for r in range(count) for v in range(width)]

        def at(base: Any, distance: Any, r: int, v: int) -> Any:
            place = builder.add(builder.mul(whole(r), distance), whole(v * LANES))
            return builder.bitcast(builder.gep(base, [place]), vector.as_pointer())

        def load(pointer: Any) -> Any:
            found = builder.load(pointer)
            found.align = 4
            return found

        zero = ir.Constant(vector, [0.0] * LANES)
        before, loop, after = builder.block, builder.append_basic_block(), builder.append_basic_block()
        builder.branch(loop)
        builder.position_at_end(loop)
        k = builder.phi(whole)
        sums = {place: builder.phi(vector) for place in places}
        row = builder.gep(b, [builder.mul(k, b_step)])
        others = [load(at(row, b_step, 0, v)) for v in range(width)]
        added = {}
        for r in range(count):
            number = builder.load(builder.gep(a, [builder.add(builder.mul(whole(r), a_row), builder.mul(k, a_step))]))
            spread = builder.shuffle_vector(builder.insert_element(undefined, number, lane), undefined, everywhere)
            for v in range(width):
                product = builder.fmul(spread, others[v], flags=("contract",))
                added[r, v] = builder.fadd(product, sums[r, v], flags=("contract",))
        following = builder.add(k, whole(1))
        builder.cbranch(builder.icmp_signed("<", following, depth), loop, after)
        for phi, first, later in [(k, whole(0), following), *((sums[p], zero, added[p]) for p in places)]:
            phi.add_incoming(first, before)
            phi.add_incoming(later, loop)
        builder.position_at_end(after)
        for r, v in places:  # the start comes last: a large one would round every term of the sum
            total = builder.fadd(load(at(start, start_row, r, v)), added[r, v])
            builder.store(total, at(c, c_row, r, v)).align = 4
        return context.get_dummy_value()

    return types.void(rows, vectors, *[types.int64] * 10), build


@numba.njit(inline="always")
def multiply(depth, width, vectors, strip, rows, a, b, start, start_row, out):  # type: ignore[no-untyped-def]
    """Writes start + a b to ``out`` for addresses of a (rows, depth), b (depth, width) and ``out``, depth at least 1.

    ``vectors`` and ``strip``, the columns of as many vectors, are literal numbers from `strips`; ``start_row`` is the
    distance between rows of ``start``: ``width``, or 0 for one row for all. ``out`` may be ``start``, and not a.
    """
    r = 0
    while r < rows:
        left = a + 4 * r * depth
        for s in range(0, width, strip):
            here, begin = out + 4 * (r * width + s), start + 4 * (r * start_row + s)
            if r + 6 <= rows:
                _tile(6, vectors, left, depth, 1, b + 4 * s, width, depth, begin, start_row, here, width)
            else:
                _tile(1, vectors, left, depth, 1, b + 4 * s, width, depth, begin, start_row, here, width)
        r += 6 if r + 6 <= rows else 1


@numba.njit(inline="always")
def multiply_banded(width, vectors, strip, rows, a, columns, low, high, b, start, out):  # type: ignore[no-untyped-def]
    """Writes start + a b for a (rows, columns) whose row r is zero but from low[r] to high[r], both rising with r.

    b is (columns, width), ``start`` one row for all.
    """
    r = 0
    while r < rows:
        count = 6 if r + 6 <= rows else 1
        k = low[r]
        depth = high[r + count - 1] - k
        for s in range(0, width, strip):
            here, there = out + 4 * (r * width + s), b + 4 * (k * width + s)
            if count == 6:
                _tile(
                    6,
                    vectors,
                    a + 4 * (r * columns + k),
                    columns,
                    1,
                    there,
                    width,
                    depth,
                    start + 4 * s,
                    0,
                    here,
                    width,
                )
            else:
                _tile(
                    1,
                    vectors,
                    a + 4 * (r * columns + k),
                    columns,
                    1,
                    there,
                    width,
                    depth,
                    start + 4 * s,
                    0,
                    here,
                    width,
                )
        r += count


@numba.njit(inline="always")
def multiply_banded_transposed(width, vectors, strip, columns, a, low, high, b, zeros, out):  # type: ignore[no-untyped-def]
    """Writes aᵀ b for a (rows, columns) whose column k is zero but from low[k] to high[k], both rising with k.

    b is (rows, width), out (columns, width), ``zeros`` a row of them.
    """
    k = 0
    while k < columns:
        count = 4 if k + 4 <= columns else 1
        r = low[k]
        depth = high[k + count - 1] - r
        for s in range(0, width, strip):
            here, there = out + 4 * (k * width + s), b + 4 * (r * width + s)
            if count == 4:
                _tile(4, vectors, a + 4 * (r * columns + k), 1, columns, there, width, depth, zeros, 0, here, width)
            else:
                _tile(1, vectors, a + 4 * (r * columns + k), 1, columns, there, width, depth, zeros, 0, here, width)
        k += count


@numba.njit(inline="always")
def multiply_transposed(height, width, vectors, strip, rows, a, b, zeros, begun, out):  # type: ignore[no-untyped-def]
    """Adds aᵀ b for addresses of a (rows, height) and b (rows, width) to ``out`` (height, width).

    Without ``begun``, ``out`` is taken for zero. ``height`` is a multiple of four. The rows are gone through in panels
    that stay in the cache; ``zeros`` is the address of a row of them.
    """
    panel = 0
    while panel < rows:
        depth = min(128, rows - panel)
        fresh = panel == 0 and not begun
        for s in range(0, width, strip):
            there = b + 4 * (panel * width + s)
            for r in range(0, height, 4):
                here = out + 4 * (r * width + s)
                start, start_row = (zeros, 0) if fresh else (here, width)
                _tile(
                    4, vectors, a + 4 * (panel * height + r), 1, height, there, width, depth, start, start_row, here,
                    width
                )  # fmt: skip
        panel += 128


def strips(width: int) -> tuple[int, int]:
    """Vectors per tile and columns that they cover, for matrices of so many columns.

    Raises:
        ValueError: no vectors cover so many columns.
    """
    for vectors in range(min(VECTORS, width // LANES), 0, -1):
        if width % (vectors * LANES) == 0:
            return vectors, vectors * LANES
    raise ValueError(f"{width} columns are no multiple of {LANES}")


@numba.njit(fastmath=_ROUNDED, error_model="numpy", inline="always")
def _exponential(x):  # type: ignore[no-untyped-def]
    """Eˣ of a number that is not positive; NaN stays NaN."""
    number = x if x > _LOWEST else _LOWEST  # also for NaN, which has no whole part
    k = np.int32(number * _PER_LN2 - _HALF)
    x = _LOWEST if x < _LOWEST else x
    whole = np.float32(k)
    r = x - whole * _LN2_HIGH - whole * _LN2_LOW
    p = ((((_E0 * r + _E1) * r + _E2) * r + _E3) * r + _E4) * r + _E5
    power = np.int32((k + np.int32(127)) << np.int32(23)).view(np.float32)
    return (p * (r * r) + r + _ONE) * power


@numba.njit(fastmath=_ROUNDED, error_model="numpy", inline="always")
def softplus_and_slope(x):  # type: ignore[no-untyped-def]
    """ssp(x) = ln(0.5 eˣ + 0.5) and its derivative σ(x), each to 3e-7 (relative where that is more)."""
    t = _exponential(-x if x > _ZERO else x)
    rising = _ONE / (_ONE + t)
    u = t / (_TWO + t)
    q = u * u
    log = q * (_A1 + q * (_A2 + q * (_A3 + q * (_A4 + q * (_A5 + q * (_A6 + q * _A7))))))
    two = u + u
    # ln 2 in two parts, taken from what is of its size first.
    value = ((x if x > _ZERO else _ZERO) + ((two - _LN2) + two * log)) - _LN2_REST
    return value, rising if x > _ZERO else t * rising
