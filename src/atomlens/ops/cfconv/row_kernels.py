"""What the kernels of passes do with rows of features: from ``first`` to ``last``, F wide, one after another."""

from __future__ import annotations

import numba
import numpy as np

from atomlens.ops.numba_tools import FAST, KEEP, Apart
from atomlens.ops.product_kernels import softplus_and_slope

ORDERED = {"contract", "nsz"}


@numba.njit(fastmath=ORDERED, error_model="numpy", pipeline_class=Apart, forceinline=True)
def activate(first, last, features, inner, slope):  # type: ignore[no-untyped-def]
    """Turns ``inner`` into ssp of it, and ``slope`` into σ."""
    for i in range(first, last):
        for f in range(features):
            inner[i, f], slope[i, f] = softplus_and_slope(inner[i, f])


@numba.njit(fastmath=ORDERED, error_model="numpy", pipeline_class=Apart, forceinline=True)
def add_row(first, last, features, out, row):  # type: ignore[no-untyped-def]
    """Adds one row (F,) to all."""
    for i in range(first, last):
        for f in range(features):
            out[i, f] += row[f]


@numba.njit(fastmath=ORDERED, error_model="numpy", pipeline_class=Apart, forceinline=True)
def copy(first, last, features, given, out):  # type: ignore[no-untyped-def]
    """Copies rows."""
    for i in range(first, last):
        for f in range(features):
            out[i, f] = given[i, f]


@numba.njit(fastmath=ORDERED, error_model="numpy", pipeline_class=Apart, forceinline=True)
def add(first, last, features, given, out):  # type: ignore[no-untyped-def]
    """Adds rows to rows."""
    for i in range(first, last):
        for f in range(features):
            out[i, f] += given[i, f]


@numba.njit(fastmath=ORDERED, error_model="numpy", pipeline_class=Apart, forceinline=True)
def multiply_slope(first, last, features, given, slope, out):  # type: ignore[no-untyped-def]
    """Multiplies rows by σ(m)."""
    for i in range(first, last):
        for f in range(features):
            out[i, f] = given[i, f] * slope[i, f]


@numba.njit(fastmath=ORDERED, error_model="numpy", pipeline_class=Apart, forceinline=True)
def multiply_in_place(first, last, features, slope, out):  # type: ignore[no-untyped-def]
    """Multiplies rows by σ(m), where they are."""
    for i in range(first, last):
        for f in range(features):
            out[i, f] *= slope[i, f]


@numba.njit(fastmath=ORDERED, error_model="numpy", pipeline_class=Apart, forceinline=True)
def add_curvature(first, last, features, of_slope, slope, out):  # type: ignore[no-untyped-def]
    """Adds what a derivative by σ(m) is by m."""
    one = slope.dtype.type(1.0)
    for i in range(first, last):
        for f in range(features):
            out[i, f] += of_slope[i, f] * (slope[i, f] * (one - slope[i, f]))


@numba.njit(fastmath=ORDERED, error_model="numpy", pipeline_class=Apart, forceinline=True)
def through_slope(first, last, features, slope, given, product, of_slope):  # type: ignore[no-untyped-def]
    """For p = a s: from ∂/∂p in ``of_slope`` ∂/∂a to ``product`` and ∂/∂s to ``of_slope``."""
    for i in range(first, last):
        for f in range(features):
            of_product = of_slope[i, f]
            product[i, f] = of_product * slope[i, f]
            of_slope[i, f] = of_product * given[i, f]


@numba.njit(fastmath=FAST, error_model="numpy", pipeline_class=Apart, forceinline=True)
def dot_rows(first, last, features, starts, order, other, place, weights, g, x, table, out):  # type: ignore[no-untyped-def]
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
    """The first atom of each piece, and the end: pieces have ``least`` atoms or more, and none hears another."""
    across = np.zeros(atoms + 2, np.int32)
    for p in range(centre.shape[0]):
        i, j = centre[p], neighbour[p]
        across[min(i, j) + 1] += 1
        across[max(i, j) + 1] -= 1
    pieces = np.empty(atoms + 2, np.int64)
    pieces[0] = 0
    found, open_pairs = 1, 0
    for i in range(1, atoms):
        open_pairs += across[i]
        if open_pairs == 0 and i - pieces[found - 1] >= least:
            pieces[found] = i
            found += 1
    pieces[found] = atoms
    return pieces[: found + 1].copy()


@numba.njit(fastmath=ORDERED, error_model="numpy", pipeline_class=Apart, forceinline=True)
def sum_rows(first, last, features, given, begun, out):  # type: ignore[no-untyped-def]
    """Adds the sum of rows to ``out`` (F,), which without ``begun`` is taken for zero."""
    if not begun:
        for f in range(features):
            out[f] = 0.0
    for i in range(first, last):
        for f in range(features):
            out[f] += given[i, f]


@numba.njit(fastmath=ORDERED, error_model="numpy", pipeline_class=Apart, forceinline=True)
def add_groups_between(first, last, groups, given, out):  # type: ignore[no-untyped-def]
    """The sum of groups (groups, numbers) in their order, from one number to another."""
    for start in range(first, last, 512):
        end = min(start + 512, last)
        for i in range(start, end):
            out[i] = given[0, i]
        for group in range(1, groups):
            for i in range(start, end):
                out[i] += given[group, i]
