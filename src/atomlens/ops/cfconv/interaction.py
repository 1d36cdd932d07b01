"""SchNet's interaction block around the convolution, with its derivatives written out.

    h = x W_inᵀ,  c = conv(h),  m = c W_midᵀ + b_mid,  x' = x + ssp(m) W_outᵀ + b_out          (thesis fig. 4.2, middle)

Left to autograd, training on forces walks through some sixty small nodes a block; written out, it is three, and
convolutions that the same arrays enter are done in one pass. `interaction_in_steps` is the same in elementary steps,
which derivatives of third order go through.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor

from atomlens.ops.activations import shifted_softplus
from atomlens.ops.cfconv.table import Lookup, needed_now, pair_dot, table_cfconv


def interaction(
    x: Tensor,
    distances: Tensor,
    table: Tensor,
    w_in: Tensor,
    w_mid: Tensor,
    b_mid: Tensor,
    w_out: Tensor,
    b_out: Tensor,
    lookup: Lookup,
) -> Tensor:
    """One block: x' from x.

    Args:
        x: (atoms, F) features.
        distances: (pairs,) in Å.
        table: (rows, F) spline coefficients of the block's filters.
        w_in: (F, F) weight of the first dense layer, output first.
        w_mid: (F, F) weight of the second.
        b_mid: (F,) its bias.
        w_out: (F, F) weight of the third.
        b_out: (F,) its bias.
        lookup: where these distances lie in the table.

    Returns:
        (atoms, F)
    """
    result: Tensor = _Interaction.apply(x, distances, table, w_in, w_mid, b_mid, w_out, b_out, lookup)[0]
    return result


def interaction_in_steps(
    x: Tensor,
    distances: Tensor,
    table: Tensor,
    w_in: Tensor,
    w_mid: Tensor,
    b_mid: Tensor,
    w_out: Tensor,
    b_out: Tensor,
    lookup: Lookup,
) -> tuple[Tensor, Tensor, Tensor]:
    """x', h and m of one block by elementary functions; arguments as for `interaction`."""
    h = x @ w_in.T
    m = functional.linear(table_cfconv(h, table, distances, lookup), w_mid, b_mid)
    return x + functional.linear(shifted_softplus(m), w_out, b_out), h, m


class InteractionStep:
    """One block in a pass forward and one back outside of autograd; arguments as for `interaction`."""

    def __init__(
        self, table: Tensor, w_in: Tensor, w_mid: Tensor, b_mid: Tensor, w_out: Tensor, b_out: Tensor, lookup: Lookup
    ) -> None:
        self._table, self._lookup = table, lookup
        self._w_in, self._w_mid, self._b_mid, self._w_out, self._b_out = w_in, w_mid, b_mid, w_out, b_out
        self._h, self._s = table, table  # until `forward` has been

    def forward(self, x: Tensor) -> Tensor:
        """x', (atoms, F)."""
        self._h = x @ self._w_in.T
        m = torch.addmm(self._b_mid, self._lookup.convolve(self._h, self._table, 0), self._w_mid.T)
        out = torch.addmm(x, functional.softplus(m, threshold=30.0).sub_(math.log(2.0)), self._w_out.T)
        self._s = m.sigmoid_()
        return out.add_(self._b_out)

    def backward(self, g: Tensor, by_distance: Tensor, *, last: bool) -> Tensor:
        """∂E/∂x from g = ∂E/∂x' (g itself if ``last``, when nobody asks); adds ∂E/∂d to ``by_distance`` (pairs,)."""
        below = (g @ self._w_out).mul_(self._s) @ self._w_mid
        by_distance += self._lookup.dot(below, self._h, self._table, 1)
        return g if last else torch.addmm(g, self._lookup.transposed.convolve(below, self._table, 0), self._w_in)


def _slope_in_steps(
    g: Tensor,
    h: Tensor,
    m: Tensor,
    distances: Tensor,
    table: Tensor,
    w_in: Tensor,
    w_mid: Tensor,
    w_out: Tensor,
    lookup: Lookup,
) -> tuple[Tensor, Tensor]:
    """∂E/∂x and ∂E/∂d from g = ∂E/∂x' by elementary functions."""
    below = ((g @ w_out) * torch.sigmoid(m)) @ w_mid
    by_h = table_cfconv(below, table, distances, lookup.transposed)
    return g + by_h @ w_in, pair_dot(below, h, table, distances, lookup, 1)


class _Interaction(torch.autograd.Function):
    """The block; h and m are outputs as well, so that what the forces' own gradients say of them comes back here."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        distances: Tensor,
        table: Tensor,
        w_in: Tensor,
        w_mid: Tensor,
        b_mid: Tensor,
        w_out: Tensor,
        b_out: Tensor,
        lookup: Lookup,
    ) -> tuple[Tensor, Tensor, Tensor]:
        h = x @ w_in.T
        c = lookup.convolve(h, table, 0)
        m = torch.addmm(b_mid, c, w_mid.T)
        a = functional.softplus(m, threshold=30.0).sub_(math.log(2.0))
        out = torch.addmm(b_out, a, w_out.T).add_(x)
        s = torch.sigmoid(m)
        ctx.save_for_backward(x, distances, table, w_in, w_mid, b_mid, w_out, b_out, h, m, c, a, s)
        ctx.lookup = lookup
        ctx.set_materialize_grads(False)
        return out, h, m

    @staticmethod
    def backward(ctx: Any, g: Tensor | None, by_h: Tensor | None, by_m: Tensor | None) -> tuple[Tensor | None, ...]:
        x, distances, table, w_in, w_mid, b_mid, w_out, b_out, h, m, c, a, s = ctx.saved_tensors
        lookup, needs = ctx.lookup, needed_now(ctx)
        if torch.is_grad_enabled():
            if g is not None and by_h is None and by_m is None and not any(needs[2:]):
                by_x, by_distance = _Slope.apply(g, h, m, distances, table, w_in, w_mid, w_out, lookup, s)
                return by_x, by_distance, *[None] * 7
            inputs = (x, distances, table, w_in, w_mid, b_mid, w_out, b_out)
            found = gradients_in_steps(interaction_in_steps, inputs, lookup, (g, by_h, by_m), needs)
            return *found, None
        g = torch.zeros_like(x) if g is None else g
        by_a = g @ w_out
        by_m = by_a.mul_(s) if by_m is None else torch.addcmul(by_m, by_a, s)
        below = by_m @ w_mid
        back = lookup.transposed.convolve(below, table, 0) if needs[0] or needs[3] else None
        if back is not None and by_h is not None:
            back = back.add_(by_h)
        return (
            torch.addmm(g, back, w_in) if needs[0] and back is not None else None,
            lookup.dot(below, h, table, 1).to(distances.dtype) if needs[1] else None,
            lookup.table_gradient(below, h, 0) if needs[2] else None,
            back.T @ x if needs[3] and back is not None else None,
            by_m.T @ c if needs[4] else None,
            by_m.sum(dim=0) if needs[5] else None,
            g.T @ a if needs[6] else None,
            g.sum(dim=0) if needs[7] else None,
            None,
        )


class _Slope(torch.autograd.Function):
    """∂E/∂x and ∂E/∂d from g = ∂E/∂x': the block's backward pass where it will be differentiated again."""

    @staticmethod
    def forward(
        ctx: Any,
        g: Tensor,
        h: Tensor,
        m: Tensor,
        distances: Tensor,
        table: Tensor,
        w_in: Tensor,
        w_mid: Tensor,
        w_out: Tensor,
        lookup: Lookup,
        s: Tensor,  # σ(m), not to be differentiated: m is
    ) -> tuple[Tensor, Tensor]:
        by_a = g @ w_out
        by_m = by_a * s
        below = by_m @ w_mid
        back = lookup.transposed.convolve(below, table, 0)
        ctx.save_for_backward(g, h, m, distances, table, w_in, w_mid, w_out, s, by_a, by_m, below, back)
        ctx.lookup = lookup
        ctx.set_materialize_grads(False)
        return torch.addmm(g, back, w_in), lookup.dot(below, h, table, 1).to(distances.dtype)

    @staticmethod
    def backward(ctx: Any, of_x: Tensor | None, of_distance: Tensor | None) -> tuple[Tensor | None, ...]:
        g, h, m, distances, table, w_in, w_mid, w_out, s, by_a, by_m, below, back = ctx.saved_tensors
        lookup, needs = ctx.lookup, needed_now(ctx)
        if torch.is_grad_enabled():
            inputs = (g, h, m, distances, table, w_in, w_mid, w_out)
            return *gradients_in_steps(_slope_in_steps, inputs, lookup, (of_x, of_distance), needs), None, None
        of_x = torch.zeros_like(g) if of_x is None else of_x
        of_back = of_x @ w_in.T
        v = None if of_distance is None else of_distance.to(g.dtype)
        of_below = lookup.convolve_both(of_back, h, table, v)
        of_by_m = of_below @ w_mid.T
        of_by_a = of_by_m * s
        return (
            torch.addmm(of_x, of_by_a, w_out.T) if needs[0] else None,
            lookup.transposed.convolve(below, table, 1, v) if needs[1] and v is not None else None,
            of_by_m.mul_(by_a).mul_(s * (1.0 - s)) if needs[2] else None,
            _curvature(below, of_back, h, table, v, lookup).to(distances.dtype) if needs[3] else None,
            lookup.table_gradient_both(below, of_back, h, v) if needs[4] else None,
            back.T @ of_x if needs[5] else None,
            by_m.T @ of_below if needs[6] else None,
            g.T @ of_by_a if needs[7] else None,
            None,
            None,
        )


def _curvature(below: Tensor, of_back: Tensor, h: Tensor, table: Tensor, v: Tensor | None, lookup: Lookup) -> Tensor:
    """What the slopes' own gradients say of the distances (Hessians), (pairs,)."""
    first = lookup.dot(below, of_back, table, 1)
    return first if v is None else first.addcmul_(v, lookup.dot(below, h, table, 2))


def gradients_in_steps(
    function: Callable[..., Sequence[Tensor]],
    inputs: Sequence[Tensor | None],
    lookup: Any,
    cotangents: Sequence[Tensor | None],
    needs: Sequence[bool],
) -> list[Tensor | None]:
    """Gradients of ``function`` that can be differentiated further: by autograd, through elementary functions."""
    # Views, so that a derivative by one input does not run on into what another was made from.
    views = [None if tensor is None else tensor.view_as(tensor) for tensor in inputs]
    outputs = function(*views, lookup)
    wanted = [view for view, need in zip(views, needs, strict=False) if need and view is not None]
    given = [
        (out, cotangent)
        for out, cotangent in zip(outputs, cotangents, strict=True)
        if cotangent is not None and out.requires_grad  # h is constant in the first block of a frozen network
    ]
    found = iter(
        torch.autograd.grad(
            [out for out, _ in given],
            wanted,
            [cotangent for _, cotangent in given],
            create_graph=True,
            materialize_grads=True,
        )
    )
    return [next(found) if need else None for need, _ in zip(needs, inputs, strict=False)]
