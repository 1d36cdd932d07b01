"""A network with one hidden layer and one output for all atoms, with its derivatives written out.

m = x W_1ᵀ + b_1,  a = ssp(m),  s = σ(m),  o = a · w_2 + b_2          (thesis fig. 4.2, atom-wise layers)
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor

from atomlens.ops.activations import shifted_softplus
from atomlens.ops.cfconv import kernels_for
from atomlens.ops.cfconv.interaction import gradients_in_steps
from atomlens.ops.cfconv.table import needed_now


def atom_terms(x: Tensor, first: Tensor, first_bias: Tensor, second: Tensor, second_bias: Tensor) -> Tensor:
    """O of every atom.

    Args:
        x: (atoms, F).
        first: W_1, (H, F).
        first_bias: b_1, (H,).
        second: w_2, (1, H).
        second_bias: b_2, (1,).

    Returns:
        (atoms, 1)
    """
    backend = _backend(x, first, first_bias, second, second_bias)
    if backend is not None:
        result: Tensor = _Network.apply(x, first, first_bias, second, second_bias, backend)[0]
        return result
    return network_in_steps(x, first, first_bias, second, second_bias)[0]


def atom_terms_and_slopes(
    x: Tensor, first: Tensor, first_bias: Tensor, second: Tensor, second_bias: Tensor, scale: Tensor
) -> tuple[Tensor, Tensor] | None:
    """O of every atom, and ``scale`` times ∂o/∂x (atoms, F), outside of autograd; None where there is no kernel.

    Arguments as for `atom_terms`; ``scale`` is a number, ().
    """
    backend = _backend(x, first, first_bias, second, second_bias)
    if backend is None:
        return None
    out, s, _ = backend.forward(x, first, first_bias, second, second_bias)
    g = scale.to(out.dtype).expand_as(out)
    slopes: Tensor = backend.back(g, None, s, None, first, second, None, to_x=True, weights=False)[0]
    return out, slopes


def _backend(x: Tensor, *weights: Tensor) -> Any:
    """The module of kernels; None where there are none for such arrays."""
    if torch.compiler.is_exporting() or kernels_for(x.device, x.dtype).name != "numba":
        return None  # kernels are opaque to torch.export
    from atomlens.ops.atom_network import numba_backend

    return numba_backend if numba_backend.suits(x, *weights) else None


def network_in_steps(
    x: Tensor, first: Tensor, first_bias: Tensor, second: Tensor, second_bias: Tensor, backend: Any = None
) -> tuple[Tensor, Tensor]:
    """O and σ(m) by elementary functions; ``backend`` is there for the common signature."""
    del backend
    inner = functional.linear(x, first, first_bias)
    return functional.linear(shifted_softplus(inner), second, second_bias), torch.sigmoid(inner)


def _slope_in_steps(g: Tensor, s: Tensor, first: Tensor, second: Tensor, backend: Any) -> tuple[Tensor]:
    """∂E/∂x from g = ∂E/∂o by elementary functions."""
    del backend
    return (((g * second) * s) @ first,)


class _Network(torch.autograd.Function):
    """The network; s is an output as well, so that what the slopes' own gradients say of it comes back here."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, first: Tensor, first_bias: Tensor, second: Tensor, second_bias: Tensor, backend: Any
    ) -> tuple[Tensor, Tensor]:
        out, s, a = backend.forward(x, first, first_bias, second, second_bias)
        ctx.save_for_backward(x, first, first_bias, second, second_bias, s, a)
        ctx.backend = backend
        ctx.set_materialize_grads(False)
        return out, s

    @staticmethod
    def backward(ctx: Any, g: Tensor | None, by_s: Tensor | None) -> tuple[Tensor | None, ...]:
        x, first, first_bias, second, second_bias, s, a = ctx.saved_tensors
        needs, backend = needed_now(ctx), ctx.backend
        if torch.is_grad_enabled():
            if g is not None and by_s is None and not any(needs[1:]):
                return _Slope.apply(g, s, first, second, backend), *[None] * 5
            inputs = (x, first, first_bias, second, second_bias)
            return *gradients_in_steps(network_in_steps, inputs, backend, (g, by_s), needs), None
        g = x.new_zeros(x.shape[0], 1) if g is None else g
        by_x, weights = backend.back(g, x, s, a, first, second, by_s, to_x=needs[0], weights=any(needs[1:4]))
        last = g.sum(dim=0) if needs[4] else None
        return by_x, *((None, None, None) if weights is None else weights), last, None


class _Slope(torch.autograd.Function):
    """∂E/∂x from g = ∂E/∂o, where it will be differentiated again."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, s: Tensor, first: Tensor, second: Tensor, backend: Any) -> Tensor:
        by_x: Tensor = backend.back(g, None, s, None, first, second, None, to_x=True, weights=False)[0]
        ctx.save_for_backward(g, s, first, second)
        ctx.backend = backend
        return by_x

    @staticmethod
    def backward(ctx: Any, of_x: Tensor) -> tuple[Tensor | None, ...]:
        g, s, first, second = ctx.saved_tensors
        if torch.is_grad_enabled():
            needs = needed_now(ctx)
            return *gradients_in_steps(_slope_in_steps, (g, s, first, second), ctx.backend, (of_x,), needs), None
        of_g, of_s, (by_first, _, by_second) = ctx.backend.again(g, of_x, s, first, second)
        return of_g, of_s, by_first, by_second, None
