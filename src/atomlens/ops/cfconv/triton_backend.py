"""The primitives on GPUs: tensors in, tensors out, around the kernels of `triton_kernels`."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
import triton
from torch import Tensor

from atomlens.ops.cfconv.graph import Groups, PairGraph
from atomlens.ops.cfconv.kernels import ComposedKernels
from atomlens.ops.cfconv.spline import interpolation_matrix
from atomlens.ops.cfconv.triton_kernels import banded_product, convolve, dot, interval_sums, row_sums

_PAIRS = 8  # in a tile: loads that are under way at the same time
_FEATURES = 128  # in a tile at most
_CHUNK = 128  # pairs that one program adds to a table at most, for distances may all lie in a few intervals
# Knots that a coefficient depends on, to either side: the influence falls by 2 - √3 = 0.268 from knot to knot.
_REACH = {torch.float32: 16, torch.float64: 32}


class TritonKernels(ComposedKernels):
    """Fused kernels, O(pairs · F) time and no array of pairs × features; float32 and float64."""

    name = "triton"

    def convolve(
        self, x: Tensor, table: Tensor, graph: PairGraph, place: Tensor, weights: Tensor, scale: Tensor | None
    ) -> Tensor:
        """See `Kernels.convolve`."""
        features = x.shape[1]
        out = x.new_empty(graph.n_atoms, features)
        inputs = (graph.by_centre.starts, graph.by_centre.order, graph.neighbour, place, weights, scale, x, table)
        _launch(convolve, _grid(out.shape[0], features), inputs, out, (features,))
        return out

    def dot(self, g: Tensor, x: Tensor, table: Tensor, graph: PairGraph, place: Tensor, weights: Tensor) -> Tensor:
        """See `Kernels.dot`."""
        pairs, features = place.shape[0], x.shape[1]
        out = x.new_empty(pairs)
        inputs = (graph.centre, graph.neighbour, place, weights, g, x, table)
        _launch(dot, (triton.cdiv(pairs, _PAIRS), 1, 1), inputs, out, (pairs, features))
        return out

    def table_gradient(
        self,
        g: Tensor,
        x: Tensor,
        graph: PairGraph,
        place: Tensor,
        by_place: Groups,
        weights: Tensor,
        scale: Tensor | None,
    ) -> Tensor:
        """See `Kernels.table_gradient`."""
        intervals, features = by_place.starts.shape[0] - 1, x.shape[1]
        sums = x.new_empty(intervals + triton.cdiv(place.shape[0], _CHUNK), 4, features)
        inputs = (by_place.starts, by_place.order, graph.centre, graph.neighbour, weights, scale, g, x)
        grid, sizes = _grid(sums.shape[0], features), (intervals, features)
        _launch(interval_sums, grid, inputs, sums, sizes, CHUNK=_CHUNK)
        out = x.new_empty(intervals + 3, features)
        grid = _grid(out.shape[0], features)
        _launch(row_sums, grid, (by_place.starts, sums), out, sizes, CHUNK=_CHUNK)
        return out

    def group(self, key: Tensor, groups: int) -> Groups:
        """See `Kernels.group`."""
        rising, order = torch.sort(key, stable=True)
        keys = torch.arange(groups + 1, dtype=key.dtype, device=key.device)
        return Groups(torch.searchsorted(rising, keys, out_int32=True), order.to(torch.int32))

    def coefficients(self, values: Tensor, *, adjoint: bool = False) -> Tensor:
        """See `Kernels.coefficients`."""
        blocks, columns, features = values.shape
        samples, rows = (columns - 2, columns - 2) if adjoint else (columns, columns + 2)
        out = values.new_empty(blocks, rows, features)
        reach = _REACH[values.dtype]
        first = (1 if adjoint else -1) - reach
        bands = _bands(samples, adjoint, first, reach, values.dtype, values.device)
        sizes = (rows, columns, first, features)
        _launch(banded_product, _grid(rows, features, blocks), (bands, values), out, sizes, REACH=reach)
        return out


@lru_cache(maxsize=16)
def _bands(samples: int, adjoint: bool, first: int, reach: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The interpolation matrix, or its adjoint, without what is rounded off: in row r the columns from r + first on.

    Far from both ends all rows are the same, so a small matrix has them all.
    """
    few = min(samples, 4 * reach)
    matrix = interpolation_matrix(few)
    matrix = matrix.T if adjoint else matrix
    rows, columns = matrix.shape
    column = np.arange(rows)[:, None] + first + np.arange(2 * reach + 1)
    bands = np.take_along_axis(matrix, column.clip(0, columns - 1), axis=1)
    bands = np.where((column >= 0) & (column < columns), bands, 0.0)
    times = np.ones(rows, dtype=np.int64)
    times[rows // 2] += samples - few
    return torch.from_numpy(bands.repeat(times, axis=0)).to(device, dtype)


def _width(features: int) -> int:
    """Features in a tile."""
    return min(int(triton.next_power_of_2(max(features, 1))), _FEATURES)


def _grid(rows: int, features: int, blocks: int = 1) -> tuple[int, int, int]:
    """A program for each row, tile of features, and block."""
    return rows, triton.cdiv(features, _width(features)), blocks


def _launch(
    kernel: Any,
    grid: tuple[int, int, int],
    inputs: tuple[Tensor | None, ...],
    out: Tensor,
    sizes: tuple[int, ...],
    **constants: int,
) -> None:
    """Run a kernel, unless there is nothing to compute; the last of the ``sizes`` is the number of features."""
    if out.numel() == 0:
        return
    tensors = [None if tensor is None else tensor.contiguous() for tensor in inputs]
    width = _width(sizes[-1])
    # Fused multiply-adds are named because Triton is about to change what it does unless told.
    options = {"num_warps": max(width // 32, 1), "enable_fp_fusion": True}
    with torch.cuda.device_of(out):
        kernel[grid](*tensors, out, *sizes, **constants, PAIRS=_PAIRS, FEATURES=width, **options)
