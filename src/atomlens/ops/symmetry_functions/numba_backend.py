"""The primitives on the CPU: tensors in, tensors out, around the kernel of `numba_kernels`."""

from __future__ import annotations

import ctypes

import numpy as np
import torch
from torch import Tensor

from atomlens.ops.numba_tools import launch
from atomlens.ops.symmetry_functions.functions import FunctionSet
from atomlens.ops.symmetry_functions.kernels import SymmetryKernels
from atomlens.ops.symmetry_functions.neighbourhoods import Neighbourhoods
from atomlens.ops.symmetry_functions.numba_kernels import CURVATURE, FEATURES, SLOPES, SLOTS, TANGENT, evaluate

_Slots = ctypes.c_int64 * SLOTS
_KINDS = {"cosine": 1, "smooth": 2}


class NumbaSymmetryKernels(SymmetryKernels):
    """Fused kernels, O(triples · F) time and O(pairs + atoms · F) memory, in float64."""

    name = "numba"

    def features(self, vectors: Tensor, near: Neighbourhoods, functions: FunctionSet) -> Tensor:
        """See `SymmetryKernels.features`."""
        out = vectors.new_empty(near.n_atoms, functions.n_features)
        _run(FEATURES, vectors, near, functions, out=out)
        return out

    def slopes(self, vectors: Tensor, near: Neighbourhoods, functions: FunctionSet, g: Tensor) -> Tensor:
        """See `SymmetryKernels.slopes`."""
        out = torch.zeros_like(vectors, memory_format=torch.contiguous_format)
        _run(SLOPES, vectors, near, functions, g=g, slopes=out)
        return out

    def tangent(self, vectors: Tensor, near: Neighbourhoods, functions: FunctionSet, u: Tensor) -> Tensor:
        """See `SymmetryKernels.tangent`."""
        out = vectors.new_empty(near.n_atoms, functions.n_features)
        _run(TANGENT, vectors, near, functions, u=u, out=out)
        return out

    def curvature(self, vectors: Tensor, near: Neighbourhoods, functions: FunctionSet, g: Tensor, u: Tensor) -> Tensor:
        """See `SymmetryKernels.curvature`."""
        out = torch.zeros_like(vectors, memory_format=torch.contiguous_format)
        _run(CURVATURE, vectors, near, functions, g=g, u=u, slopes=out)
        return out


def _run(
    mode: int,
    vectors: Tensor,
    near: Neighbourhoods,
    functions: FunctionSet,
    *,
    g: Tensor | None = None,
    u: Tensor | None = None,
    out: Tensor | None = None,
    slopes: Tensor | None = None,
) -> None:
    """Let the kernel fill ``out`` (atoms, F) or add to ``slopes`` (pairs, 3), on as many threads as are worth it."""
    if not near.n_atoms:
        return
    vectors, g, u = vectors.contiguous(), _contiguous(g), _contiguous(u)
    pair, channel, weight = near.pair.contiguous(), near.channel.contiguous(), near.weight.detach().contiguous()
    starts = near.starts.contiguous()
    _check(vectors, near, functions, g, u)
    counts = starts[:: near.n_channels].diff()
    most = int(counts.max())
    radial, gaussians, angles = functions.tables
    cutoff = np.array([functions.cutoff])
    places = functions.pair_of_channels
    slots = _Slots(
        *(0, 0, mode, near.n_atoms, near.n_channels, pair.shape[0], vectors.shape[0], max(most, 1)),
        *(functions.n_features, _KINDS[functions.fade], cutoff.ctypes.data),
        *(starts.data_ptr(), pair.data_ptr(), channel.data_ptr(), weight.data_ptr(), vectors.data_ptr()),
        *(len(radial), radial.ctypes.data, len(gaussians), gaussians.ctypes.data, len(angles), angles.ctypes.data),
        places.ctypes.data,
        *(0 if tensor is None else tensor.data_ptr() for tensor in (g, u, out, slopes)),
    )
    work = int(counts.to(torch.int64).square().sum()) // 2 * len(gaussians) * (len(angles) + 4)
    launch(evaluate, slots, near.n_atoms, work)


def _check(vectors: Tensor, near: Neighbourhoods, functions: FunctionSet, g: Tensor | None, u: Tensor | None) -> None:
    """The kernel computes with addresses, so what does not fit must not reach it."""
    for tensor, shape in (
        (vectors, (vectors.shape[0], 3)),
        (g, (near.n_atoms, functions.n_features)),
        (u, tuple(vectors.shape)),
        (near.weight, tuple(near.pair.shape)),
    ):
        if tensor is not None and (tuple(tensor.shape) != tuple(shape) or tensor.dtype != torch.float64):
            raise ValueError(f"got {tuple(tensor.shape)} of {tensor.dtype} where {tuple(shape)} of float64 fits")
    if near.n_channels != functions.n_channels:
        raise ValueError(f"neighbours on {near.n_channels} channels, functions of {functions.n_channels}")


def _contiguous(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.contiguous()
