"""The primitives on the CPU: tensors in, tensors out, around the kernels of `numba_kernels`."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from atomlens.ops.cfconv.graph import Groups, PairGraph
from atomlens.ops.cfconv.kernels import Kernels
from atomlens.ops.cfconv.numba_filters import filter_tables
from atomlens.ops.cfconv.numba_kernels import compile_coefficients, compile_kernels, count_and_place
from atomlens.ops.cfconv.numba_passes import WIDTHS, NumbaPasses
from atomlens.ops.cfconv.passes import Layers, Passes
from atomlens.ops.cfconv.spline import GHOSTS, SplineGrid
from atomlens.ops.cfconv.spline_kernels import compile_places, compile_weights
from atomlens.ops.cfconv.table import Lookup
from atomlens.ops.compiling import uncompiled
from atomlens.ops.numba_tools import launch

_Slots = ctypes.c_int64 * 20
_FADES = ("none", "cosine", "smooth")  # in the order of the kernels' numbers


class NumbaKernels(Kernels):
    """Fused kernels, O(pairs · F) time and no array of pairs × features; float32 and float64."""

    name = "numba"

    @uncompiled
    def convolve(
        self, x: Tensor, table: Tensor, graph: PairGraph, place: Tensor, weights: Tensor, scale: Tensor | None
    ) -> Tensor:
        """See `Kernels.convolve`."""
        x, table, scale = x.contiguous(), table.contiguous(), _contiguous(scale)
        place, weights = place.contiguous(), weights.contiguous()
        rows, pairs, features = graph.n_atoms, place.shape[0], x.shape[1]
        out = x.new_empty(rows, features)
        slots = _Slots(
            0,
            0,
            rows,
            pairs,
            0 if scale is None else pairs,
            x.shape[0],
            features,
            table.shape[0],
            *_addresses(graph.by_centre.starts, graph.by_centre.order, graph.neighbour, place, weights),
            *_addresses(scale, x, table, out),
        )
        _launch("convolve", x.dtype, features, slots, rows, pairs * features)
        return out

    @uncompiled
    def dot(self, g: Tensor, x: Tensor, table: Tensor, graph: PairGraph, place: Tensor, weights: Tensor) -> Tensor:
        """See `Kernels.dot`."""
        g, x, table = g.contiguous(), x.contiguous(), table.contiguous()
        place, weights = place.contiguous(), weights.contiguous()
        pairs, features = place.shape[0], x.shape[1]
        out = x.new_empty(pairs)
        slots = _Slots(
            0,
            0,
            pairs,
            x.shape[0],
            features,
            table.shape[0],
            *_addresses(graph.centre, graph.neighbour, place, weights, g, x, table, out),
        )
        _launch("dot", x.dtype, features, slots, pairs, pairs * features)
        return out

    @uncompiled
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
        g, x, scale, weights = g.contiguous(), x.contiguous(), _contiguous(scale), weights.contiguous()
        rows, pairs, features = by_place.starts.shape[0] + 2, place.shape[0], x.shape[1]
        out = x.new_empty(rows, features)
        slots = _Slots(
            0,
            0,
            rows,
            pairs,
            0 if scale is None else pairs,
            x.shape[0],
            features,
            *_addresses(by_place.starts, by_place.order, graph.centre, graph.neighbour, weights, scale, g, x, out),
        )
        _launch("table_gradient", x.dtype, features, slots, rows, pairs * features)
        return out

    @uncompiled
    def convolve_both(
        self,
        x: Tensor,
        y: Tensor,
        table: Tensor,
        graph: PairGraph,
        place: Tensor,
        weights: Tensor,
        slopes: Tensor,
        scale: Tensor,
    ) -> Tensor:
        """See `Kernels.convolve_both`."""
        x, y, table, scale = x.contiguous(), y.contiguous(), table.contiguous(), scale.contiguous()
        place, weights, slopes = place.contiguous(), weights.contiguous(), slopes.contiguous()
        rows, pairs, features = graph.n_atoms, place.shape[0], x.shape[1]
        out = x.new_empty(rows, features)
        group = graph.by_centre
        slots = _Slots(
            *(0, 0, rows, pairs, x.shape[0], features, table.shape[0]),
            *_addresses(group.starts, group.order, graph.neighbour, place, weights, slopes, scale, x, y, table, out),
        )
        _launch("convolve_both", x.dtype, features, slots, rows, 2 * pairs * features)
        return out

    @uncompiled
    def table_gradient_both(
        self,
        g: Tensor,
        x: Tensor,
        y: Tensor,
        graph: PairGraph,
        place: Tensor,
        by_place: Groups,
        weights: Tensor,
        slopes: Tensor,
        scale: Tensor,
    ) -> Tensor:
        """See `Kernels.table_gradient_both`."""
        g, x, y, scale = g.contiguous(), x.contiguous(), y.contiguous(), scale.contiguous()
        weights, slopes = weights.contiguous(), slopes.contiguous()
        rows, pairs, features = by_place.starts.shape[0] + 2, place.shape[0], x.shape[1]
        out = x.new_empty(rows, features)
        ends = (graph.centre, graph.neighbour)
        slots = _Slots(
            *(0, 0, rows, pairs, x.shape[0], features),
            *_addresses(by_place.starts, by_place.order, *ends, weights, slopes, scale, g, x, y, out),
        )
        _launch("table_gradient_both", x.dtype, features, slots, rows, 2 * pairs * features)
        return out

    def passes(self, tables: Tensor, layers: Layers, lookup: Lookup) -> Passes:
        """See `Kernels.passes`."""
        return (NumbaPasses if NumbaPasses.suit(tables, layers, lookup) else Passes)(tables, layers, lookup)

    def makes_filter_tables(self, first: Tensor) -> bool:
        """See `Kernels.makes_filter_tables`."""
        return first.dtype == torch.float32 and first.shape[2] in WIDTHS

    def filter_tables(
        self, first: Tensor, first_bias: Tensor, second: Tensor, second_bias: Tensor, gaussians: Tensor
    ) -> Tensor:
        """See `Kernels.filter_tables`."""
        return filter_tables(first, first_bias, second, second_bias, gaussians, self)

    @uncompiled
    def group(self, key: Tensor, groups: int) -> Groups:
        """See `Kernels.group`."""
        starts, order = np.empty(groups + 1, np.int32), np.empty(key.shape[0], np.int32)
        count_and_place(key.numpy(), starts, order)
        return Groups(torch.from_numpy(starts), torch.from_numpy(order))

    @uncompiled
    def coefficients(self, values: Tensor, *, adjoint: bool = False) -> Tensor:
        """See `Kernels.coefficients`."""
        values = values.contiguous()
        blocks, rows, features = values.shape
        samples = rows - 2 if adjoint else rows
        out = values.new_empty(blocks, samples if adjoint else samples + 2, features)
        slots = _Slots(0, 0, adjoint, blocks, samples, features, *_addresses(values, out))
        launch(_coefficients(values.dtype), slots, features, blocks * samples * features, pieces=blocks)
        return out

    @uncompiled
    def locate(self, grid: SplineGrid, distances: Tensor) -> tuple[Tensor, Tensor]:
        """See `Kernels.locate`."""
        if distances.dtype != torch.float64:
            return grid.locate(distances)
        distances, pairs = distances.contiguous(), distances.shape[0]
        place, fraction = torch.empty(pairs, dtype=torch.int32), torch.empty(pairs, dtype=torch.float64)
        sizes = np.array([grid.spacing, grid.end])
        slots = _Slots(
            *(0, 0, pairs, grid.intervals, GHOSTS, sizes.ctypes.data), *_addresses(distances, place, fraction)
        )
        launch(_places(), slots, pairs, 8 * pairs)
        return place, fraction

    @uncompiled
    def spline_weights(
        self, grid: SplineGrid, distances: Tensor, fraction: Tensor, order: int, dtype: torch.dtype
    ) -> Tensor:
        """See `Kernels.spline_weights`."""
        if distances.dtype != torch.float64 or order > 2 or grid.fade not in _FADES:
            return grid.weights(distances, fraction, order, dtype)
        distances, fraction, pairs = distances.contiguous(), fraction.contiguous(), distances.shape[0]
        out = torch.empty(pairs, 4, dtype=dtype)
        sizes = np.array([grid.spacing, grid.end])
        slots = _Slots(*(0, 0, pairs, 0, 0, sizes.ctypes.data), *_addresses(distances, fraction, out))
        launch(_spline_weights(dtype, _FADES.index(grid.fade), order), slots, pairs, 16 * pairs)
        return out


def _contiguous(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.contiguous()


def _addresses(*tensors: Tensor | None) -> list[int]:
    return [0 if tensor is None else tensor.data_ptr() for tensor in tensors]


def _real(dtype: torch.dtype) -> Any:
    return np.float32 if dtype == torch.float32 else np.float64


@cache
def _kernels(dtype: torch.dtype, width: int) -> dict[str, Any]:
    return compile_kernels(_real(dtype), width)


@cache
def _coefficients(dtype: torch.dtype) -> Any:
    return compile_coefficients(_real(dtype))


def _launch(name: str, dtype: torch.dtype, features: int, slots: Any, rows: int, work: int) -> None:
    launch(_kernels(dtype, features if features in WIDTHS else 0)[name], slots, rows, work)


@cache
def _places() -> Any:
    return compile_places()


@cache
def _spline_weights(dtype: torch.dtype, kind: int, order: int) -> Any:
    return compile_weights(_real(dtype), kind, order)
