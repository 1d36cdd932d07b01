"""Symmetry functions that autograd can differentiate: three functions whose derivatives are each other.

G(v), Jᵀ g and J u: the derivative of g·G by v is Jᵀ g, that of u·(Jᵀ g) by g is J u, and both second ones by v are the
Hessian of g·G times u. Energies, forces, training on forces and Hessians need no more; derivatives of the Hessian go
through the definition.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from atomlens.ops.cfconv.backends import kernels_for
from atomlens.ops.cfconv.table import needed_now
from atomlens.ops.symmetry_functions.functions import FunctionSet
from atomlens.ops.symmetry_functions.kernels import SymmetryKernels
from atomlens.ops.symmetry_functions.neighbourhoods import Neighbourhoods
from atomlens.ops.symmetry_functions.reference import (
    ReferenceSymmetryKernels,
    parts,
    symmetry_functions_by_definition,
)


def symmetry_functions(vectors: Tensor, near: Neighbourhoods, functions: FunctionSet) -> Tensor:
    """G_i of every atom, see `symmetry_functions_by_definition`; linear in memory unless weights carry gradients.

    Args:
        vectors: (pairs, 3) r_j - r_i in Å.
        near: the neighbours within the cutoff.
        functions: parameters.

    Returns:
        (atoms, F) in the precision of the vectors.
    """
    if torch.is_grad_enabled() and near.weight.requires_grad:
        return symmetry_functions_by_definition(vectors, near, functions)
    result: Tensor = _Features.apply(vectors, _Work(near, functions, vectors))
    return result


def linearised_symmetry_functions(
    vectors: Tensor, near: Neighbourhoods, functions: FunctionSet
) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """G (atoms, F) and the map from g (atoms, F) to Jᵀ g (pairs, 3), outside of autograd; arguments as above."""
    work = _Work(near, functions, vectors)
    vectors = vectors.detach()

    def pullback(g: Tensor) -> Tensor:
        return work.kernels.slopes(vectors, near, functions, g)

    return work.kernels.features(vectors, near, functions), pullback


class _Work:
    """What does not change between the derivatives."""

    def __init__(self, near: Neighbourhoods, functions: FunctionSet, vectors: Tensor) -> None:
        self.near, self.functions = near, functions
        self.kernels = _kernels_for(vectors)


def _kernels_for(vectors: Tensor) -> SymmetryKernels:
    """The fused kernels where `ops.cfconv.use_kernels` and the device allow, else the reference in chunks."""
    if vectors.dtype == torch.float64 and kernels_for(vectors.device, vectors.dtype).name == "numba":
        return _fused()
    return ReferenceSymmetryKernels()


@cache
def _fused() -> SymmetryKernels:
    from atomlens.ops.symmetry_functions.numba_backend import NumbaSymmetryKernels

    return NumbaSymmetryKernels()


class _Features(torch.autograd.Function):
    """G(v)."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, work: _Work) -> Tensor:
        ctx.save_for_backward(vectors)
        ctx.work = work
        return work.kernels.features(vectors.detach(), work.near, work.functions)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        (vectors,) = ctx.saved_tensors
        return _Slopes.apply(vectors, g, ctx.work), None


class _Slopes(torch.autograd.Function):
    """Jᵀ g."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, g: Tensor, work: _Work) -> Tensor:
        ctx.save_for_backward(vectors, g)
        ctx.work = work
        return work.kernels.slopes(vectors.detach(), work.near, work.functions, g.detach())

    @staticmethod
    def backward(ctx: Any, u: Tensor) -> tuple[Tensor | None, ...]:
        vectors, g = ctx.saved_tensors
        needs = needed_now(ctx)
        by_vectors = _Curvature.apply(vectors, g, u, ctx.work) if needs[0] else None
        by_g = _Tangent.apply(vectors, u, ctx.work) if needs[1] else None
        return by_vectors, by_g, None


class _Tangent(torch.autograd.Function):
    """J u."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, u: Tensor, work: _Work) -> Tensor:
        ctx.save_for_backward(vectors, u)
        ctx.work = work
        return work.kernels.tangent(vectors.detach(), work.near, work.functions, u.detach())

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        vectors, u = ctx.saved_tensors
        needs = needed_now(ctx)
        by_vectors = _Curvature.apply(vectors, g, u, ctx.work) if needs[0] else None
        by_u = _Slopes.apply(vectors, g, ctx.work) if needs[1] else None
        return by_vectors, by_u, None


class _Curvature(torch.autograd.Function):
    """The Hessian of g·G times u."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, g: Tensor, u: Tensor, work: _Work) -> Tensor:
        ctx.save_for_backward(vectors, g, u)
        ctx.work = work
        return work.kernels.curvature(vectors.detach(), work.near, work.functions, g.detach(), u.detach())

    @staticmethod
    def backward(ctx: Any, t: Tensor) -> tuple[Tensor | None, ...]:
        # Of third order: nothing but the definition knows it. Views, so that nothing runs on into what made the inputs.
        work, keep, needs = ctx.work, torch.is_grad_enabled(), needed_now(ctx)
        found: list[Tensor | None] = [None, None, None]
        with torch.enable_grad():
            inputs = [saved.view_as(saved) if keep else saved.detach() for saved in ctx.saved_tensors]
            vectors, g, u = (value if value.requires_grad else value.requires_grad_() for value in inputs)
            for part in parts(work.near, work.functions):
                (slopes,) = _grad((part(vectors) * g).sum(), (vectors,))
                (bent,) = _grad((slopes * u).sum(), (vectors,))
                by = _grad((bent * t).sum(), (vectors, g, u), keep=keep)
                found = [new if old is None else old + new for old, new in zip(found, by, strict=True)]
        return *(value if need else None for value, need in zip(found, needs, strict=False)), None


def _grad(value: Tensor, inputs: tuple[Tensor, ...], *, keep: bool = True) -> tuple[Tensor, ...]:
    """Derivatives; zeros of what does not depend on anything, as parts without pairs."""
    if not value.requires_grad:
        return tuple(torch.zeros_like(entry) for entry in inputs)
    return torch.autograd.grad(value, inputs, create_graph=keep, materialize_grads=True)
