"""SchNet's interaction blocks around the convolution, all of them as one function, with the derivatives written out.

Left to autograd, training on forces walks through some sixty small nodes a block. Written out, it is three for all
blocks: the pass forward, the pass back, and that one's own derivative, each made by `Passes`. `interactions_in_steps`
is the same in elementary steps, which derivatives of third order go through.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor

from atomlens.ops.activations import shifted_softplus
from atomlens.ops.cfconv.passes import Forward, Layers
from atomlens.ops.cfconv.table import Lookup, needed_now, pair_dot, table_cfconv


def interactions(x: Tensor, distances: Tensor, tables: Tensor, layers: Layers, lookup: Lookup) -> Tensor:
    """All T blocks: x after the last from x before the first.

    Args:
        x: (atoms, F) features.
        distances: (pairs,) in Å.
        tables: (T, rows, N) spline coefficients of the blocks' filters; (1, rows, N) if they share them.
        layers: the blocks' dense layers.
        lookup: where these distances lie in the tables.

    Returns:
        (atoms, F)
    """
    result: Tensor = _Interactions.apply(x, distances, tables, *layers, lookup)[0]
    return result


def interactions_in_steps(
    x: Tensor,
    distances: Tensor,
    tables: Tensor,
    w_in: Tensor,
    w_mid: Tensor,
    b_mid: Tensor,
    w_out: Tensor,
    b_out: Tensor,
    lookup: Lookup,
) -> tuple[Tensor, Tensor, Tensor]:
    """X after the last block, and h and σ(m) of all blocks, by elementary functions."""
    kept_h, kept_s = [], []
    for t in range(w_in.shape[0]):
        h = x @ w_in[t].T
        m = functional.linear(table_cfconv(h, tables[t % len(tables)], distances, lookup), w_mid[t], b_mid[t])
        kept_h.append(h)
        kept_s.append(torch.sigmoid(m))
        x = x + functional.linear(shifted_softplus(m), w_out[t], b_out[t])
    return x, torch.stack(kept_h), torch.stack(kept_s)


def _slope_in_steps(
    g: Tensor,
    h: Tensor,
    s: Tensor,
    distances: Tensor,
    tables: Tensor,
    w_in: Tensor,
    w_mid: Tensor,
    w_out: Tensor,
    lookup: Lookup,
) -> tuple[Tensor, Tensor]:
    """∂E/∂x below the first block and ∂E/∂d from g = ∂E/∂x above the last by elementary functions."""
    by_distance = torch.zeros_like(distances)
    for t in range(w_in.shape[0] - 1, -1, -1):
        table = tables[t % len(tables)]
        below = ((g @ w_out[t]) * s[t]) @ w_mid[t]
        by_distance = by_distance + pair_dot(below, h[t], table, distances, lookup, 1)
        g = g + table_cfconv(below, table, distances, lookup.transposed) @ w_in[t]
    return g, by_distance


class _Interactions(torch.autograd.Function):
    """The blocks; h and s are outputs as well, so that what the forces' own gradients say of them comes back here."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        distances: Tensor,
        tables: Tensor,
        w_in: Tensor,
        w_mid: Tensor,
        b_mid: Tensor,
        w_out: Tensor,
        b_out: Tensor,
        lookup: Lookup,
    ) -> tuple[Tensor, Tensor, Tensor]:
        layers = Layers(w_in, w_mid, b_mid, w_out, b_out)
        passes = lookup.kernels.passes(tables, layers, lookup)
        made = passes.forward(x, keep=True)
        ctx.save_for_backward(x, distances, tables, *layers, made.h, made.s, made.x, made.c, made.a)
        ctx.lookup, ctx.passes = lookup, passes
        ctx.set_materialize_grads(False)
        return made.out, made.h, made.s

    @staticmethod
    def backward(ctx: Any, g: Tensor | None, by_h: Tensor | None, by_s: Tensor | None) -> tuple[Tensor | None, ...]:
        x, distances, tables, w_in, w_mid, b_mid, w_out, b_out, h, s, before, c, a = ctx.saved_tensors
        lookup, needs, passes = ctx.lookup, needed_now(ctx), ctx.passes
        if torch.is_grad_enabled():
            if g is not None and by_h is None and by_s is None and not any(needs[2:]):
                found = _Slope.apply(g, h, s, distances, tables, w_in, w_mid, w_out, lookup, passes, needs[0])
                return *found, *[None] * 7
            inputs = (x, distances, tables, w_in, w_mid, b_mid, w_out, b_out)
            steps = gradients_in_steps(interactions_in_steps, inputs, lookup, (g, by_h, by_s), needs)
            return *steps, None
        g = torch.zeros_like(x) if g is None else g
        forward, weights = Forward(g, h, s, before, c, a), any(needs[3:8])
        made = passes.back(g, forward, by_h=by_h, by_s=by_s, distances=needs[1], to_x=needs[0], weights=weights)
        return (
            made.by_x,
            None if made.by_distance is None else made.by_distance.to(distances.dtype),
            passes.table_gradients(made.below, h) if needs[2] else None,
            *((None,) * 5 if made.layers is None else made.layers),
            None,
        )


class _Slope(torch.autograd.Function):
    """∂E/∂x and ∂E/∂d from g = ∂E/∂x above: the blocks' pass back where it will be differentiated again."""

    @staticmethod
    def forward(
        ctx: Any,
        g: Tensor,
        h: Tensor,
        s: Tensor,
        distances: Tensor,
        tables: Tensor,
        w_in: Tensor,
        w_mid: Tensor,
        w_out: Tensor,
        lookup: Lookup,
        passes: Any,
        to_x: bool,
    ) -> tuple[Tensor | None, Tensor]:
        made = passes.back(g, Forward(g, h, s, None, None, None), distances=True, to_x=to_x)
        ctx.save_for_backward(g, h, s, distances, tables, w_in, w_mid, w_out)
        ctx.lookup, ctx.passes, ctx.kept = lookup, passes, made.kept
        ctx.set_materialize_grads(False)
        assert made.by_distance is not None
        return made.by_x, made.by_distance.to(distances.dtype)

    @staticmethod
    def backward(ctx: Any, of_x: Tensor | None, of_distance: Tensor | None) -> tuple[Tensor | None, ...]:
        g, h, s, distances, tables, w_in, w_mid, w_out = ctx.saved_tensors
        lookup, needs, passes, kept = ctx.lookup, needed_now(ctx), ctx.passes, ctx.kept
        if torch.is_grad_enabled():
            inputs = (g, h, s, distances, tables, w_in, w_mid, w_out)
            found = gradients_in_steps(_slope_in_steps, inputs, lookup, (of_x, of_distance), needs)
            return *found, None, None, None
        scale = None if of_distance is None else of_distance.to(g.dtype)
        again = passes.again(kept, h, s, of_x, scale)
        curvature = None
        if needs[3]:
            curvature = passes.curvature(kept.below, again.of_back, h, scale).to(distances.dtype)
        return (
            again.of_g if needs[0] else None,
            again.of_h if needs[1] else None,
            again.of_s if needs[2] else None,
            curvature,
            passes.table_gradients_both(kept.below, again.of_back, h, scale) if needs[4] else None,
            again.layers.w_in,
            again.layers.w_mid,
            again.layers.w_out,
            None,
            None,
            None,
        )


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
