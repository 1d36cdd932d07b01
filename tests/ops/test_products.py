"""Matrix products and activations inside kernels, against numpy and float64."""

import ctypes
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

numba = pytest.importorskip("numba")

from atomlens.ops.product_kernels import (  # noqa: E402
    LANES,
    multiply,
    multiply_banded,
    multiply_banded_transposed,
    multiply_transposed,
    softplus_and_slope,
    strips,
)

GUARD = 64  # numbers around every output that nobody may write to


class Guarded:
    """An output with numbers around it."""

    def __init__(self, *shape):
        self.all = np.full(math.prod(shape) + 2 * GUARD, np.float32(7.5))
        self.inner = self.all[GUARD:-GUARD].reshape(shape)
        self.inner[:] = np.nan

    @property
    def address(self):
        return self.inner.ctypes.data

    def untouched(self):
        return (self.all[:GUARD] == 7.5).all() and (self.all[-GUARD:] == 7.5).all()


def call(kernel, *numbers):
    slots = (ctypes.c_int64 * len(numbers))(*numbers)
    numba.cfunc(numba.types.void(numba.types.voidptr))(kernel).ctypes(ctypes.addressof(slots))


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(
    ("rows", "depth", "width"), [(1, 64, 64), (5, 32, 32), (6, 16, 32), (67, 128, 64), (23, 64, 96)]
)
def test_product(rows, depth, width):
    vectors, strip = strips(width)
    a, b, bias, out = normal(rows, depth), normal(depth, width, seed=1), normal(width, seed=2), Guarded(rows, width)

    def kernel(data):
        s = numba.carray(data, 5, np.int64)
        multiply(depth, width, vectors, strip, s[0], s[1], s[2], s[3], 0, s[4])

    call(kernel, rows, a.ctypes.data, b.ctypes.data, bias.ctypes.data, out.address)
    np.testing.assert_allclose(out.inner, a.astype(float) @ b + bias, atol=2e-6 * depth)
    assert out.untouched()


def test_product_added_to_rows():
    vectors, strip = strips(64)
    a, b, start, out = normal(13, 64), normal(64, 64, seed=1), normal(13, 64, seed=2), Guarded(13, 64)

    def kernel(data):
        s = numba.carray(data, 5, np.int64)
        multiply(64, 64, vectors, strip, s[0], s[1], s[2], s[3], 64, s[4])

    call(kernel, 13, a.ctypes.data, b.ctypes.data, start.ctypes.data, out.address)
    np.testing.assert_allclose(out.inner, a.astype(float) @ b + start, atol=1e-4)
    call(kernel, 13, a.ctypes.data, b.ctypes.data, out.address, out.address)  # where it is
    np.testing.assert_allclose(out.inner, 2.0 * (a.astype(float) @ b) + start, atol=2e-4)
    assert out.untouched()


@pytest.mark.parametrize(("rows", "height", "width"), [(1, 32, 64), (128, 64, 64), (129, 64, 32), (300, 16, 96)])
def test_transposed_product(rows, height, width):
    vectors, strip = strips(width)
    a, b, zeros, out = (
        normal(rows, height),
        normal(rows, width, seed=1),
        np.zeros(width, np.float32),
        Guarded(height, width),
    )

    def kernel(data):
        s = numba.carray(data, 6, np.int64)
        multiply_transposed(height, width, vectors, strip, s[0], s[1], s[2], s[3], s[4], s[5])

    expected = a.T.astype(float) @ b
    for begun in (0, 1):  # the second time it is added
        call(kernel, rows, a.ctypes.data, b.ctypes.data, zeros.ctypes.data, begun, out.address)
        np.testing.assert_allclose(out.inner, (1 + begun) * expected, atol=1e-5 * rows)
    assert out.untouched()


@pytest.mark.parametrize(("rows", "columns"), [(40, 21), (6, 4), (13, 50), (90, 3)])
def test_banded_products(rows, columns):
    """A band that rises, with rows and columns that are all but empty."""
    places, centres = np.linspace(-1.0, 6.0, rows), np.linspace(0.0, 5.0, columns)
    a = np.exp(-10.0 * (places[:, None] - centres) ** 2).astype(np.float32)
    a[a < 1e-3] = 0.0
    from atomlens.ops.cfconv.numba_filters import KnotBasis

    basis = KnotBasis.of(torch.from_numpy(a.astype(float)))
    vectors, strip = strips(32)
    b, bias, out = normal(columns, 32), normal(32, seed=1), Guarded(rows, 32)
    rows_low, rows_high = basis.row_ends

    def kernel(data):
        s = numba.carray(data, 7, np.int64)
        low = numba.carray(pointer(s[4]), s[0], np.int64)
        high = numba.carray(pointer(s[5]), s[0], np.int64)
        multiply_banded(32, vectors, strip, s[0], s[1], columns, low, high, s[2], s[3], s[6])

    from atomlens.ops.numba_tools import pointer

    ends = [end.ctypes.data for end in (rows_low, rows_high)]
    call(kernel, rows, a.ctypes.data, b.ctypes.data, bias.ctypes.data, *ends, out.address)
    np.testing.assert_allclose(out.inner, a.astype(float) @ b + bias, atol=1e-5)
    assert out.untouched()
    left, zeros, turned = normal(rows, 32, seed=3), np.zeros(32, np.float32), Guarded(columns, 32)

    def transposed(data):
        s = numba.carray(data, 7, np.int64)
        low = numba.carray(pointer(s[4]), s[0], np.int64)
        high = numba.carray(pointer(s[5]), s[0], np.int64)
        multiply_banded_transposed(32, vectors, strip, s[0], s[1], low, high, s[2], s[3], s[6])

    ends = [end.ctypes.data for end in basis.column_ends]
    call(transposed, columns, a.ctypes.data, left.ctypes.data, zeros.ctypes.data, *ends, turned.address)
    np.testing.assert_allclose(turned.inner, a.T.astype(float) @ left, atol=1e-5)
    assert turned.untouched()


def test_strips_cover_the_columns():
    for width in (32, 64, 96, 128, 256):
        vectors, strip = strips(width)
        assert strip == vectors * LANES
        assert width % strip == 0
    with pytest.raises(ValueError, match="no multiple"):
        strips(LANES + 1)


def test_shifted_softplus_and_its_slope():
    """Against float64; what is too large for the exponential, and what is no number, included."""
    x = np.concatenate([np.linspace(-120.0, 120.0, 240_001), [-1e30, 1e30, -np.inf, np.inf, 1e-9, 0.0]]).astype(
        np.float32
    )

    @numba.njit
    def both(x, value, slope):
        for i in range(len(x)):
            value[i], slope[i] = softplus_and_slope(x[i])

    value, slope = np.empty_like(x), np.empty_like(x)
    both(x, value, slope)
    wide = x.astype(float)
    decay = np.exp(-np.abs(wide))
    expected = np.maximum(wide, 0.0) + np.log1p(decay) - math.log(2.0)
    finite = np.isfinite(wide)
    np.testing.assert_allclose(value[finite], expected[finite], rtol=2e-7, atol=3e-7)
    assert value[-3] == np.inf
    assert value[-4] == pytest.approx(-math.log(2.0), abs=3e-7)
    rising = np.where(wide > 0.0, 1.0, decay) / (1.0 + decay)
    np.testing.assert_allclose(slope, rising, rtol=4e-7, atol=1e-37)
    both(np.full(3, np.nan, np.float32), value, slope)
    assert np.isnan(value[:3]).all()
    assert np.isnan(slope[:3]).all()


@pytest.mark.slow
@pytest.mark.parametrize("features", ["+avx2,+fma", "+sse4.2"])
def test_other_processors(features, tmp_path):
    """Kernels for narrower vectors, as other processors compile them, give the same to rounding."""
    if not sys.platform.startswith("linux") or os.uname().machine != "x86_64":
        pytest.skip("the names of vectors are those of x86-64")
    environment = os.environ | {
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": features,
        "NUMBA_CACHE_DIR": str(tmp_path),
        "PYTHONPATH": str(Path(__file__).parent),
    }
    program = """
import torch
import test_interaction as cases
from atomlens.ops.cfconv.numba_backend import NumbaKernels
from atomlens.ops.product_kernels import LANES
inputs, places = cases.network(64, 90, 2, pairs="mutual")
exact = cases.trained(inputs, places, torch.float64, NumbaKernels())
found = cases.trained(inputs, places, torch.float32, NumbaKernels(), passes=cases.NumbaPasses)
print(LANES, max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(found, exact)))
"""
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    lanes, error = done.stdout.split()
    assert int(lanes) == (8 if "avx2" in features else 4)
    assert float(error) < 1e-5
