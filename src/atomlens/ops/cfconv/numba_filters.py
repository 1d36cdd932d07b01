"""Tables of filter networks by the kernels of `filter_kernels`, with the networks' derivatives written out."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from atomlens.ops.cfconv.filter_kernels import N_SLOTS, compile_gradients, compile_tables
from atomlens.ops.cfconv.filters import filter_networks
from atomlens.ops.cfconv.interaction import gradients_in_steps
from atomlens.ops.cfconv.kernels import Kernels
from atomlens.ops.cfconv.table import needed_now, spline_coefficients
from atomlens.ops.compiling import uncompiled
from atomlens.ops.numba_tools import launch

# A Gaussian below it is nothing beside one that is near its centre, in single precision.
_NOTHING = 1e-9
_bases: WeakTensorKeyDictionary = WeakTensorKeyDictionary()  # by the Gaussians that they were made of
_Slots = ctypes.c_int64 * N_SLOTS


@dataclass(frozen=True)
class KnotBasis:
    """The Gaussians at the knots, and where they are not nothing."""

    values: Tensor  # (samples, gaussians) float32
    row_ends: np.ndarray  # (2, samples) first Gaussian of each knot, and beyond its last
    column_ends: np.ndarray  # (2, gaussians) first knot of each Gaussian, and beyond its last
    ratios: np.ndarray  # (samples,) float32, of the elimination in the splines' tridiagonal system (1 4 1)

    @classmethod
    def of(cls, values: Tensor) -> KnotBasis:
        """From the Gaussians (samples, gaussians), both in rising order."""
        values = torch.where(values < _NOTHING, 0.0, values).to(torch.float32).contiguous()
        there = values.numpy() > 0.0
        ratios = np.zeros(len(there), np.float32)
        previous = 0.0
        for place in range(1, len(there) - 1):
            previous = 1.0 / (4.0 - previous)
            ratios[place] = previous
        return cls(values, _ends(there), _ends(there.T), ratios)


def _ends(there: np.ndarray) -> np.ndarray:
    """(2, rows) the first that is there and beyond the last, rising from row to row; one at least."""
    columns = there.shape[1]
    some = there.any(axis=1)
    low = np.where(some, there.argmax(axis=1), columns - 1)
    high = np.where(some, columns - there[:, ::-1].argmax(axis=1), 1)
    # Rows without any take the widest range between their neighbours'.
    low = np.minimum.accumulate(low[::-1])[::-1]
    high = np.maximum(np.maximum.accumulate(high), low + 1)
    return np.ascontiguousarray(np.stack([low, high]).astype(np.int64))


@uncompiled
def filter_tables(
    first: Tensor, first_bias: Tensor, second: Tensor, second_bias: Tensor, gaussians: Tensor, kernels: Kernels
) -> Tensor:
    """Spline coefficients through the filters of all blocks, see `Kernels.filter_tables`.

    Returns:
        (blocks, samples + 2, F)
    """
    found = _bases.get(gaussians)
    if found is None:
        found = _bases[gaussians] = KnotBasis.of(gaussians)
    blocks, count, width = first.shape
    shapes = [(blocks, count, width), (blocks, 1, width), (blocks, width, width), (blocks, 1, width)]
    for tensor, shape in zip((first, first_bias, second, second_bias), shapes, strict=True):
        if tensor.shape != shape or tensor.dtype != torch.float32 or tensor.device.type != "cpu":
            raise ValueError(
                f"got {tuple(tensor.shape)} of {tensor.dtype} where {shape} of torch.float32 on the CPU fits"
            )
    if gaussians.ndim != 2 or gaussians.shape[1] != count:
        raise ValueError(f"got Gaussians {tuple(gaussians.shape)} for {count} rows of the first layers")
    result: Tensor = _FilterTables.apply(first, first_bias, second, second_bias, gaussians, found, kernels)
    return result


def _in_steps(
    first: Tensor, first_bias: Tensor, second: Tensor, second_bias: Tensor, at: tuple[Tensor, Kernels]
) -> tuple[Tensor]:
    gaussians, kernels = at
    values = filter_networks(first, first_bias, second, second_bias, gaussians.to(first))
    return (spline_coefficients(values, kernels),)


class _FilterTables(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        first: Tensor,
        first_bias: Tensor,
        second: Tensor,
        second_bias: Tensor,
        at_knots: Tensor,
        basis: KnotBasis,
        kernels: Kernels,
    ) -> Tensor:
        blocks, gaussians, width = first.shape
        samples = basis.values.shape[0]
        weights = [tensor.contiguous() for tensor in (first, second, first_bias, second_bias)]
        inner, slope = (first.new_empty(blocks, samples, width) for _ in range(2))
        out = first.new_empty(blocks, samples + 2, width)
        slots = _Slots(
            *(0, 0, blocks, samples, gaussians, basis.values.data_ptr(), *_rows(basis.row_ends)),
            *(tensor.data_ptr() for tensor in (*weights, inner, slope, out)),
            basis.ratios.ctypes.data,
        )
        launch(_tables(width), slots, blocks, blocks * samples * width * width)
        ctx.save_for_backward(first, first_bias, second, second_bias, inner, slope)
        ctx.basis, ctx.at = basis, (at_knots, kernels)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        first, first_bias, second, second_bias, inner, slope = ctx.saved_tensors
        basis, needs = ctx.basis, needed_now(ctx)
        if torch.is_grad_enabled():
            inputs = (first, first_bias, second, second_bias)
            return *gradients_in_steps(_in_steps, inputs, ctx.at, (gradient,), needs), None, None, None
        blocks, gaussians, width = first.shape
        samples = basis.values.shape[0]
        gradient, turned = gradient.contiguous(), second.transpose(1, 2).contiguous()
        zeros = first.new_zeros(width)
        by_values, by_inner = torch.empty_like(inner), torch.empty_like(inner)
        # All four in one pass: to leave one out would save little.
        found = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for tensor in (first, second)]
        found += [
            torch.empty_like(tensor, memory_format=torch.contiguous_format) for tensor in (first_bias, second_bias)
        ]
        slots = _Slots(
            *(0, 0, blocks, samples, gaussians, basis.values.data_ptr(), *_rows(basis.column_ends)),
            *(tensor.data_ptr() for tensor in (turned, zeros, inner, slope, gradient)),
            basis.ratios.ctypes.data,
            *(tensor.data_ptr() for tensor in (by_values, by_inner, *found)),
        )
        launch(_gradients(width), slots, blocks, 2 * blocks * samples * width * width)
        by_first, by_second, by_first_bias, by_second_bias = found
        return by_first, by_first_bias, by_second, by_second_bias, None, None, None


def _rows(ends: np.ndarray) -> tuple[int, int]:
    return ends[0].ctypes.data, ends[1].ctypes.data


@cache
def _tables(width: int) -> Any:
    return compile_tables(width)


@cache
def _gradients(width: int) -> Any:
    return compile_gradients(width)
