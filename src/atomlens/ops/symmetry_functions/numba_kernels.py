"""Symmetry functions and their derivatives as machine code for the CPU, in float64.

One kernel for G, Jᵀ g, J u and the Hessian of g·G times u. A centre is computed by one thread, which takes centres by
the ticket in the first slot (see `ops.numba_tools`), in the order of its entries: results do not depend on the
number of threads. Triples go through in blocks, so that every step is a loop over contiguous numbers of one block,
which the compiler vectorises, and no array of triples is ever made. All of it is one file because numba notices changes
of the file of a kept kernel only.

With x = d_ij, y = d_ik, z = d_jk, c = cos θ a term is A(c) P(x) Q(y) R(z), where P, Q and R are one faded Gaussian. All
derivatives are products of derivatives of these factors; `README.md` writes them out.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from atomlens.ops.numba_tools import FAST, KEEP, pointer, take

FEATURES, SLOPES, TANGENT, CURVATURE = range(4)  # odd ones give slopes; the last two move along u
SLOTS = 28
BLOCK = 64  # triples at once
_EXACT = {"contract", "nsz"}  # sums must not be regrouped where one term undoes the rounding of another

# Rows of a block. R: the Gaussian of d_jk; P, Q: of d_ij and d_ik; numbers count derivatives.
Z, INVERSE, C, F0, F1, F2, HX, HY, HZ, ALPHA, BETA, GAMMA, P0, P1, P2, Q0, Q1, Q2, R0, R1, R2 = range(21)
DX, DY, DZ, DC, EX, EY, EZ, EC, TX, TY, TZ, TC, POWER, SQUARE, T0, T1 = range(21, 37)
ROWS = 37
# Rows of what is kept of each entry of a centre: distance, unit vector, vector, weight, direction u, û·u, gradient.
X, UX, UY, UZ, VX, VY, VZ, W, KX, KY, KZ, ALONG, GX, GY, GZ = range(15)
LOCAL_ROWS = 15


@intrinsic
def _bits_of(typingctx: Any, number: Any) -> Any:
    """The 64 bits of a float64 as an integer."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.IntType(64))

    return types.int64(types.float64), build


@intrinsic
def _of_bits(typingctx: Any, bits: Any) -> Any:
    """The float64 of these 64 bits."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.DoubleType())

    return types.float64(types.int64), build


_TO_INTEGER = 1.5 * 2.0**52  # added, it leaves the rounded number in the last bits
_LOG2_E = 1.0 / math.log(2.0)
_LN2_HIGH = 0.693147180369123816490  # of ln 2, with zeros at the end, so that its small multiples are exact
_LN2_LOW = 1.90821492927058770002e-10


@numba.njit(fastmath=_EXACT, error_model="numpy")
def _exp(x):  # type: ignore[no-untyped-def]
    """exp(x) for x ≤ 0 to the last digit but one, as arithmetic that vectorises; below e⁻⁷⁰⁰ it stays there."""
    x = -700.0 if x < -700.0 else x  # NaN stays NaN
    shifted = x * _LOG2_E + _TO_INTEGER
    whole = shifted - _TO_INTEGER
    r = x - whole * _LN2_HIGH - whole * _LN2_LOW
    p = (r / 479001600.0 + 1.0 / 39916800.0) * r + 1.0 / 3628800.0
    p = ((p * r + 1.0 / 362880.0) * r + 1.0 / 40320.0) * r + 1.0 / 5040.0
    p = ((p * r + 1.0 / 720.0) * r + 1.0 / 120.0) * r + 1.0 / 24.0
    p = (((p * r + 1.0 / 6.0) * r + 0.5) * r + 1.0) * r + 1.0
    return p * _of_bits((_bits_of(shifted) << 52) + (1023 << 52))


@numba.njit(fastmath=_EXACT, error_model="numpy")
def _sine(y):  # type: ignore[no-untyped-def]
    """Sin y for |y| ≤ π/2, its Taylor series up to y²¹."""
    s = y * y
    p = (s / 51090942171709440000.0 - 1.0 / 121645100408832000.0) * s + 1.0 / 355687428096000.0
    p = ((p * s - 1.0 / 1307674368000.0) * s + 1.0 / 6227020800.0) * s - 1.0 / 39916800.0
    p = (((p * s + 1.0 / 362880.0) * s - 1.0 / 5040.0) * s + 1.0 / 120.0) * s - 1.0 / 6.0
    return y + y * s * p


@numba.njit(fastmath=_EXACT, error_model="numpy")
def _cosine(y):  # type: ignore[no-untyped-def]
    """Cos y for |y| ≤ π/2, its Taylor series up to y²⁰."""
    s = y * y
    p = (s / 2432902008176640000.0 - 1.0 / 6402373705728000.0) * s + 1.0 / 20922789888000.0
    p = ((p * s - 1.0 / 87178291200.0) * s + 1.0 / 479001600.0) * s - 1.0 / 3628800.0
    p = ((p * s + 1.0 / 40320.0) * s - 1.0 / 720.0) * s + 1.0 / 24.0
    p = p * s - 0.5
    return 1.0 + s * p


@numba.njit(fastmath=FAST, error_model="numpy")
def _fades(address, count, kind, end, mode):  # type: ignore[no-untyped-def]
    """Rows F0 … F2: the cutoff function of row Z and its derivatives; kind 1: cosine, 2: smooth."""
    block = numba.carray(pointer(address), (ROWS, BLOCK), np.float64)
    inverse = 1.0 / end
    if kind == 1:
        rate = np.pi * inverse
        for b in range(count):
            block[F0, b] = 0.5 - 0.5 * _sine(rate * block[Z, b] - 0.5 * np.pi)
        if mode != FEATURES:
            for b in range(count):
                block[F1, b] = -0.5 * rate * _cosine(rate * block[Z, b] - 0.5 * np.pi)
                block[F2, b] = rate * rate * (0.5 - block[F0, b])
        return
    for b in range(count):
        u = block[Z, b] * inverse
        u2 = u * u
        u4 = u2 * u2
        block[F0, b] = 1.0 + u4 * u2 * (-28.0 + u * (48.0 - 21.0 * u))
        block[F1, b] = u4 * u * (-168.0 + u * (336.0 - 168.0 * u)) * inverse
        block[F2, b] = u4 * (-840.0 + u * (2016.0 - 1176.0 * u)) * (inverse * inverse)


@numba.njit(fastmath=FAST, error_model="numpy")
def _gaussians(address, count, eta, mu, mode):  # type: ignore[no-untyped-def]
    """Rows R0 … R2: exp(-η (z - μ)²) fc(z) and its derivatives, as many as the mode needs."""
    block = numba.carray(pointer(address), (ROWS, BLOCK), np.float64)
    for b in range(count):
        off = block[Z, b] - mu
        block[T0, b] = _exp(-eta * off * off)
    for b in range(count):
        block[R0, b] = block[T0, b] * block[F0, b]
    if mode != FEATURES:
        for b in range(count):
            block[R1, b] = block[T0, b] * (block[F1, b] - 2.0 * eta * (block[Z, b] - mu) * block[F0, b])
    if mode == CURVATURE:
        for b in range(count):
            slope = -2.0 * eta * (block[Z, b] - mu)
            inner = block[F2, b] + 2.0 * slope * block[F1, b] + (slope * slope - 2.0 * eta) * block[F0, b]
            block[R2, b] = block[T0, b] * inner


@numba.njit(fastmath=FAST, error_model="numpy")
def _angles(address, count, angles, powers, mode):  # type: ignore[no-untyped-def]
    """2^{1-ζ} (1 + λ c)^ζ of row C in ``powers`` (3 angles, BLOCK), then its first and second derivatives."""
    block = numba.carray(pointer(address), (ROWS, BLOCK), np.float64)
    n = angles.shape[0]
    for a in range(n):
        zeta, sign = int(angles[a, 0]), angles[a, 1]
        if zeta == 1:
            for b in range(count):
                powers[a, b] = 1.0 + sign * block[C, b]
            if mode != FEATURES:
                for b in range(count):
                    powers[n + a, b] = sign
                for b in range(count):
                    powers[2 * n + a, b] = 0.0
            continue
        front = 2.0 ** (1.0 - zeta)
        for b in range(count):
            block[SQUARE, b] = 1.0 + sign * block[C, b]
            block[POWER, b] = front
        left = zeta - 2
        while left > 0:
            if left & 1:
                for b in range(count):
                    block[POWER, b] *= block[SQUARE, b]
            for b in range(count):
                block[SQUARE, b] *= block[SQUARE, b]
            left >>= 1
        for b in range(count):
            base = 1.0 + sign * block[C, b]
            powers[a, b] = block[POWER, b] * base * base
        if mode != FEATURES:
            for b in range(count):
                powers[n + a, b] = zeta * sign * (1.0 + sign * block[C, b]) * block[POWER, b]
            for b in range(count):
                powers[2 * n + a, b] = zeta * (zeta - 1) * sign * sign * block[POWER, b]


@numba.njit(fastmath=FAST, error_model="numpy")
def _triples_block(mode, address, count, cutoff, kind, ends, work, tables, g, out):  # type: ignore[no-untyped-def]
    """The terms of ``count`` triples of one pair of channels, whose features are ``g`` (slopes) or ``out``.

    Derivatives by x, y, z and c gather in rows DX … DC, and their changes along u in EX … EC.
    """
    block = numba.carray(pointer(address), (ROWS, BLOCK), np.float64)
    j, k = ends
    local, faded, powers = work
    gaussians, angles = tables[1], tables[2]
    n, m = gaussians.shape[0], angles.shape[0]
    _geometry(mode, address, count, j, k, local)
    _fades(address, count, kind, cutoff, mode)
    _angles(address, count, angles, powers, mode)
    if mode % 2 == 1:
        for row in range(DX, EC + 1):
            for b in range(count):
                block[row, b] = 0.0
    for s in range(n):
        _gaussians(address, count, gaussians[s, 0], gaussians[s, 1], mode)
        for b in range(count):
            block[P0, b], block[Q0, b] = faded[s, j[b]], faded[s, k[b]]
        if mode != FEATURES:
            for b in range(count):
                block[P1, b], block[Q1, b] = faded[n + s, j[b]], faded[n + s, k[b]]
        if mode == CURVATURE:
            for b in range(count):
                block[P2, b], block[Q2, b] = faded[2 * n + s, j[b]], faded[2 * n + s, k[b]]
        if mode % 2 == 1:
            for b in range(count):
                block[ALPHA, b], block[BETA, b], block[GAMMA, b] = 0.0, 0.0, 0.0
            for a in range(m):
                slope = g[s * m + a]
                for b in range(count):
                    block[ALPHA, b] += slope * powers[a, b]
                for b in range(count):
                    block[BETA, b] += slope * powers[m + a, b]
                if mode == CURVATURE:
                    for b in range(count):
                        block[GAMMA, b] += slope * powers[2 * m + a, b]
            if mode == SLOPES:
                _slopes_terms(address, count)
            else:
                _curvature_terms(address, count)
        elif mode == FEATURES:
            for b in range(count):
                block[T0, b] = block[P0, b] * block[Q0, b] * block[R0, b]
            for a in range(m):
                total = 0.0
                for b in range(count):
                    total += block[T0, b] * powers[a, b]
                out[s * m + a] += total
        else:
            for b in range(count):
                p, q, r = block[P0, b], block[Q0, b], block[R0, b]
                change = block[P1, b] * block[TX, b] * q * r + p * block[Q1, b] * block[TY, b] * r
                block[T0, b] = change + p * q * block[R1, b] * block[TZ, b]
                block[T1, b] = p * q * r * block[TC, b]
            for a in range(m):
                total = 0.0
                for b in range(count):
                    total += block[T0, b] * powers[a, b] + block[T1, b] * powers[m + a, b]
                out[s * m + a] += total
    if mode == SLOPES:
        _scatter_slopes(address, count, j, k, local)
    elif mode == CURVATURE:
        _scatter_curvature(address, count, j, k, local)


@numba.njit(fastmath=FAST, error_model="numpy")
def _slopes_terms(address, count):  # type: ignore[no-untyped-def]
    block = numba.carray(pointer(address), (ROWS, BLOCK), np.float64)
    for b in range(count):
        p, q, r = block[P0, b], block[Q0, b], block[R0, b]
        alpha = block[ALPHA, b]
        block[DX, b] += alpha * block[P1, b] * q * r
        block[DY, b] += alpha * p * block[Q1, b] * r
        block[DZ, b] += alpha * p * q * block[R1, b]
        block[DC, b] += block[BETA, b] * p * q * r


@numba.njit(fastmath=FAST, error_model="numpy")
def _curvature_terms(address, count):  # type: ignore[no-untyped-def]
    block = numba.carray(pointer(address), (ROWS, BLOCK), np.float64)
    _slopes_terms(address, count)
    for b in range(count):
        p, q, r, tx, ty = block[P0, b], block[Q0, b], block[R0, b], block[TX, b], block[TY, b]
        p1, q1, r1, tz = block[P1, b], block[Q1, b], block[R1, b], block[TZ, b]
        alpha, beta, tc = block[ALPHA, b], block[BETA, b], block[TC, b]
        change = beta * tc  # of α
        dp, dq, dr = p1 * tx, q1 * ty, r1 * tz
        block[EX, b] += change * p1 * q * r + alpha * (block[P2, b] * tx * q * r + p1 * dq * r + p1 * q * dr)
        block[EY, b] += change * p * q1 * r + alpha * (dp * q1 * r + p * block[Q2, b] * ty * r + p * q1 * dr)
        block[EZ, b] += change * p * q * r1 + alpha * (dp * q * r1 + p * dq * r1 + p * q * block[R2, b] * tz)
        block[EC, b] += block[GAMMA, b] * tc * p * q * r + beta * (dp * q * r + p * dq * r + p * q * dr)


@numba.njit(fastmath=FAST, error_model="numpy")
def _scatter_slopes(address, count, j, k, local):  # type: ignore[no-untyped-def]
    """∂/∂v_j = D_x û_j + D_z ẑ + D_c (û_k - c û_j) / x, and likewise for k with -ẑ."""
    block = numba.carray(pointer(address), (ROWS, BLOCK), np.float64)
    for b in range(count):
        p, q, c = j[b], k[b], block[C, b]
        dz, over_x, over_y = block[DZ, b], block[DC, b] / local[X, p], block[DC, b] / local[X, q]
        own_p, own_q = block[DX, b] - c * over_x, block[DY, b] - c * over_y
        for axis in range(3):
            up, uq, h = local[UX + axis, p], local[UX + axis, q], block[HX + axis, b]
            local[GX + axis, p] += own_p * up + over_x * uq + dz * h
            local[GX + axis, q] += own_q * uq + over_y * up - dz * h


@numba.njit(fastmath=FAST, error_model="numpy")
def _scatter_curvature(address, count, j, k, local):  # type: ignore[no-untyped-def]
    """The change along u of what `_scatter_slopes` adds."""
    block = numba.carray(pointer(address), (ROWS, BLOCK), np.float64)
    for b in range(count):
        p, q, c, tc = j[b], k[b], block[C, b], block[TC, b]
        ix, iy, iz = 1.0 / local[X, p], 1.0 / local[X, q], block[INVERSE, b]
        tx, ty, tz = local[ALONG, p], local[ALONG, q], block[TZ, b]
        dx, dy, dz, dc = block[DX, b], block[DY, b], block[DZ, b], block[DC, b]
        ex, ey, ez, ec = block[EX, b], block[EY, b], block[EZ, b], block[EC, b]
        for axis in range(3):
            up, uq, h = local[UX + axis, p], local[UX + axis, q], block[HX + axis, b]
            kp, kq = local[KX + axis, p], local[KX + axis, q]
            up_t, uq_t, h_t = (kp - up * tx) * ix, (kq - uq * ty) * iy, (kp - kq - h * tz) * iz
            third = ez * h + dz * h_t
            turn_p, turn_q = (uq - c * up) * ix, (up - c * uq) * iy
            turn_p_t = (uq_t - tc * up - c * up_t - turn_p * tx) * ix
            turn_q_t = (up_t - tc * uq - c * uq_t - turn_q * ty) * iy
            local[GX + axis, p] += ex * up + dx * up_t + ec * turn_p + dc * turn_p_t + third
            local[GX + axis, q] += ey * uq + dy * uq_t + ec * turn_q + dc * turn_q_t - third


@numba.njit(fastmath=FAST, error_model="numpy")
def _all_triples(  # type: ignore[no-untyped-def]
    mode, address, i, starts, n_channels, pair, pairs, cutoff, kind, ends, work, tables, g, out
):
    """The triples of centre i, by pairs of channels, in blocks of those with d_jk within the cutoff."""
    block = numba.carray(pointer(address), (ROWS, BLOCK), np.float64)
    (j, k), local = ends, work[0]
    size, origin, width = tables[1].shape[0] * tables[2].shape[0], starts[i * n_channels], g.shape[0]
    radial = width - pairs.shape[0] * (pairs.shape[0] + 1) // 2 * size
    squared = cutoff * cutoff
    for e in range(n_channels):
        first, last = starts[i * n_channels + e] - origin, starts[i * n_channels + e + 1] - origin
        if first == last:
            continue
        for f in range(e, n_channels):
            left, right = starts[i * n_channels + f] - origin, starts[i * n_channels + f + 1] - origin
            if left == right:
                continue
            place = radial + pairs[e, f] * size
            own_g, own_out = g[place : place + size], out[place : place + size]
            count = 0
            for p in range(first, last):
                vx, vy, vz, own = local[VX, p], local[VY, p], local[VZ, p], pair[origin + p]
                for q in range(p + 1 if e == f else left, right):
                    dx, dy, dz = vx - local[VX, q], vy - local[VY, q], vz - local[VZ, q]
                    square = dx * dx + dy * dy + dz * dz
                    # A mixture of elements has several entries of one pair, which are no triple. NaN goes on.
                    if square >= squared or pair[origin + q] == own:
                        continue
                    j[count], k[count] = p, q
                    block[Z, count], block[HX, count], block[HY, count], block[HZ, count] = square, dx, dy, dz
                    count += 1
                    if count == BLOCK:
                        _triples_block(mode, address, count, cutoff, kind, ends, work, tables, own_g, own_out)
                        count = 0
            if count > 0:
                _triples_block(mode, address, count, cutoff, kind, ends, work, tables, own_g, own_out)


@numba.njit(fastmath=FAST, error_model="numpy")
def _geometry(mode, address, count, j, k, local):  # type: ignore[no-untyped-def]
    """Rows Z, C and ẑ from squares and differences, and how x, y, z and c change along u (TX … TC)."""
    block = numba.carray(pointer(address), (ROWS, BLOCK), np.float64)
    for b in range(count):
        block[Z, b] = math.sqrt(block[Z, b])
        block[INVERSE, b] = 1.0 / block[Z, b]
    for b in range(count):
        p, q = j[b], k[b]
        block[C, b] = local[UX, p] * local[UX, q] + local[UY, p] * local[UY, q] + local[UZ, p] * local[UZ, q]
    if mode == FEATURES:
        return
    for b in range(count):
        block[HX, b] *= block[INVERSE, b]
        block[HY, b] *= block[INVERSE, b]
        block[HZ, b] *= block[INVERSE, b]
    if mode == SLOPES:
        return
    for b in range(count):
        p, q = j[b], k[b]
        block[TX, b], block[TY, b] = local[ALONG, p], local[ALONG, q]
        apart = crossed_p = crossed_q = 0.0
        for axis in range(3):
            kp, kq = local[KX + axis, p], local[KX + axis, q]
            apart += (kp - kq) * block[HX + axis, b]
            crossed_p += kp * local[UX + axis, q]
            crossed_q += kq * local[UX + axis, p]
        block[TZ, b] = apart
        c = block[C, b]
        block[TC, b] = (crossed_p - c * local[ALONG, p]) / local[X, p] + (crossed_q - c * local[ALONG, q]) / local[X, q]


@numba.njit(fastmath=FAST, error_model="numpy")
def _gather(mode, first, last, pair, weight, vectors, u, local):  # type: ignore[no-untyped-def]
    """What is kept of the entries of a centre; gradients start at zero."""
    for row in range(first, last):
        n, p = row - first, pair[row]
        x, y, z = vectors[p, 0], vectors[p, 1], vectors[p, 2]
        d = math.sqrt(x * x + y * y + z * z)
        local[X, n], local[W, n] = d, weight[row]
        local[VX, n], local[VY, n], local[VZ, n] = x, y, z
        local[UX, n], local[UY, n], local[UZ, n] = x / d, y / d, z / d
        local[GX, n], local[GY, n], local[GZ, n] = 0.0, 0.0, 0.0
        if mode >= TANGENT:
            local[KX, n], local[KY, n], local[KZ, n] = u[p, 0], u[p, 1], u[p, 2]
            local[ALONG, n] = (x * u[p, 0] + y * u[p, 1] + z * u[p, 2]) / d


@numba.njit(fastmath=FAST, error_model="numpy")
def _pairs_of_centre(mode, address, n, channel, cutoff, kind, work, tables, g, out):  # type: ignore[no-untyped-def]
    """The radial terms of a centre with n entries, and the faded Gaussians that its triples take from its pairs."""
    block = numba.carray(pointer(address), (ROWS, BLOCK), np.float64)
    local, faded = work[0], work[1]
    radial, gaussians = tables[0], tables[1]
    kinds, s_count = radial.shape[0], gaussians.shape[0]
    for start in range(0, n, BLOCK):
        count = min(BLOCK, n - start)
        for b in range(count):
            block[Z, b] = local[X, start + b]
        _fades(address, count, kind, cutoff, mode)
        for s in range(s_count):
            _gaussians(address, count, gaussians[s, 0], gaussians[s, 1], mode)
            for b in range(count):
                faded[s, start + b] = local[W, start + b] * block[R0, b]
            if mode != FEATURES:
                for b in range(count):
                    faded[s_count + s, start + b] = local[W, start + b] * block[R1, b]
            if mode == CURVATURE:
                for b in range(count):
                    faded[2 * s_count + s, start + b] = local[W, start + b] * block[R2, b]
        if mode % 2 == 1:
            for b in range(count):
                block[DX, b], block[EX, b] = 0.0, 0.0
        for r in range(kinds):
            _gaussians(address, count, radial[r, 0], radial[r, 1], mode)
            if mode == FEATURES:
                for b in range(count):
                    out[channel[start + b] * kinds + r] += local[W, start + b] * block[R0, b]
            elif mode == TANGENT:
                for b in range(count):
                    out[channel[start + b] * kinds + r] += local[W, start + b] * block[R1, b] * local[ALONG, start + b]
            else:
                for b in range(count):
                    slope = g[channel[start + b] * kinds + r] * local[W, start + b]
                    block[DX, b] += slope * block[R1, b]
                    if mode == CURVATURE:
                        block[EX, b] += slope * block[R2, b] * local[ALONG, start + b]
        if mode == SLOPES:
            for b in range(count):
                for axis in range(3):
                    local[GX + axis, start + b] += block[DX, b] * local[UX + axis, start + b]
        elif mode == CURVATURE:
            for b in range(count):
                q = start + b
                for axis in range(3):
                    turn = (local[KX + axis, q] - local[UX + axis, q] * local[ALONG, q]) / local[X, q]
                    local[GX + axis, q] += block[EX, b] * local[UX + axis, q] + block[DX, b] * turn


@numba.njit(fastmath=FAST, error_model="numpy")
def _centres(  # type: ignore[no-untyped-def]
    first, last, scratch, mode, n_channels, cutoff, kind, starts, pair, channel, weight, vectors, pairs, ends, work,
    tables, g, u, out, slopes,
):  # fmt: skip
    address = scratch.ctypes.data  # the caller holds the array: an address alone would not keep it from being freed
    local = work[0]
    for i in range(first, last):
        begin, end = starts[i * n_channels], starts[(i + 1) * n_channels]
        if mode % 2 == 0:
            for f in range(out.shape[1]):
                out[i, f] = 0.0
        _gather(mode, begin, end, pair, weight, vectors, u, local)
        own = channel[begin:end]
        _pairs_of_centre(mode, address, end - begin, own, cutoff, kind, work, tables, g[i], out[i])
        if tables[1].shape[0] * tables[2].shape[0] > 0:
            _all_triples(
                mode, address, i, starts, n_channels, pair, pairs, cutoff, kind, ends, work, tables, g[i], out[i]
            )
        if mode % 2 == 1:
            for row in range(begin, end):
                for axis in range(3):
                    slopes[pair[row], axis] += local[GX + axis, row - begin]


@numba.cfunc(types.void(types.voidptr), cache=KEEP)
def evaluate(data):  # type: ignore[no-untyped-def]
    """See `numba_backend`, which fills the slots. Rows that a mode does not use are never touched."""
    s = numba.carray(data, SLOTS, np.int64)
    step, mode, atoms, n_channels, entries, n_pairs, most = s[1], s[2], s[3], s[4], s[5], s[6], s[7]
    features, kind, cutoff = s[8], s[9], numba.carray(pointer(s[10]), 1, np.float64)[0]
    starts = numba.carray(pointer(s[11]), atoms * n_channels + 1, np.int32)
    pair = numba.carray(pointer(s[12]), entries, np.int64)
    channel = numba.carray(pointer(s[13]), entries, np.int64)
    weight = numba.carray(pointer(s[14]), entries, np.float64)
    vectors = numba.carray(pointer(s[15]), (n_pairs, 3), np.float64)
    radial = numba.carray(pointer(s[17]), (s[16], 2), np.float64)
    gaussians = numba.carray(pointer(s[19]), (s[18], 2), np.float64)
    angles = numba.carray(pointer(s[21]), (s[20], 2), np.float64)
    pairs = numba.carray(pointer(s[22]), (n_channels, n_channels), np.int64)
    g = numba.carray(pointer(s[23]), (atoms, features), np.float64)
    u = numba.carray(pointer(s[24]), (n_pairs, 3), np.float64)
    out = numba.carray(pointer(s[25]), (atoms, features), np.float64)
    slopes = numba.carray(pointer(s[26]), (n_pairs, 3), np.float64)
    scratch, ends = np.empty((ROWS, BLOCK)), (np.empty(BLOCK, np.int64), np.empty(BLOCK, np.int64))
    work = np.empty((LOCAL_ROWS, most)), np.empty((3 * s[18], most)), np.empty((3 * s[20], BLOCK))
    tables = radial, gaussians, angles
    first = take(data) * step
    while first < atoms:
        last = min(first + step, atoms)
        _centres(
            first, last, scratch, mode, n_channels, cutoff, kind, starts, pair, channel, weight, vectors, pairs, ends,
            work, tables, g, u, out, slopes,
        )  # fmt: skip
        first = take(data) * step
