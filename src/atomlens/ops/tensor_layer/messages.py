"""The messages with distance factors from a table, and their derivatives written out.

For pair p = (i hears j), with z_p = h_j ∘ w(d_p) and v_p = tanh(W z_p), the sums are m_i = Σ_p s_p v_p. What is linear in
a table, in h and in rows of pairs are the convolution's three primitives, on a graph in which every pair is a centre of
its own (`PairLookup`); the rest are matrix products. Left to autograd, all arrays of pairs × K are written several
times; `messages_in_steps` is that, and derivatives of third order go through it.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor

from atomlens.ops.cfconv import Kernels, Lookup, PairGraph, SplineGrid, table_cfconv
from atomlens.ops.cfconv.graph import Groups
from atomlens.ops.cfconv.interaction import gradients_in_steps
from atomlens.ops.cfconv.table import needed_now, pair_dot
from atomlens.ops.segment import segment_sum


class PairLookup:
    """Where the pairs of a batch lie in a table, for results with a row for every pair.

    Args:
        grid: the table's knots.
        graph: the pairs.
        distances: (pairs,) in Å.
        dtype: precision of the factors.
        kernels: what computes.
    """

    def __init__(
        self, grid: SplineGrid, graph: PairGraph, distances: Tensor, dtype: torch.dtype, kernels: Kernels
    ) -> None:
        self.centre, self._by_centre, self._atoms = graph.centre, graph.by_centre, graph.n_atoms
        count = torch.arange(distances.shape[0] + 1, dtype=torch.int32, device=distances.device)
        each = PairGraph(count[:-1], graph.neighbour, Groups(count, count[:-1]), graph.by_neighbour)
        self.lookup = Lookup(grid, each, distances, dtype, kernels)
        self.back = self.lookup.transposed

    def sum(self, sent: Tensor, scale: Tensor | None) -> Tensor:
        """Σ_p s_p v_p of every centre, (atoms, F), outside of autograd."""
        if sent.shape[0] == 0:
            return sent.new_zeros(self._atoms, sent.shape[1])
        groups = self._by_centre
        return functional.embedding_bag(groups.order, sent, groups.starts[:-1], mode="sum", per_sample_weights=scale)

    def sum_in_steps(self, sent: Tensor, scale: Tensor | None) -> Tensor:
        """The same by elementary functions."""
        return segment_sum(sent if scale is None else sent * scale[:, None], self.centre, self._atoms)


def table_messages(
    heard: Tensor, distances: Tensor, table: Tensor, weight: Tensor, scale: Tensor | None, pairs: PairLookup
) -> Tensor:
    """Σ_j s_ij tanh(W_xf (h_j ∘ w(d_ij))) with w interpolated in a table (thesis eq. 3.2, 3.7).

    Args:
        heard: (atoms, K) factors h of the atoms that are heard.
        distances: (pairs,) in Å; they carry the gradient, ``pairs`` the places.
        table: (rows, K) spline coefficients of the distances' factors w.
        weight: (F, K) W_xf.
        scale: (pairs,) s; None for ones.
        pairs: where these distances lie in the table.

    Returns:
        (atoms, F)
    """
    result: Tensor = _Messages.apply(heard, distances, table, weight, scale, pairs)
    return result


def messages_in_steps(
    heard: Tensor, distances: Tensor, table: Tensor, weight: Tensor, scale: Tensor | None, pairs: PairLookup
) -> tuple[Tensor]:
    """`table_messages` by elementary functions."""
    sent = torch.tanh(table_cfconv(heard, table, distances, pairs.lookup) @ weight.T)
    return (pairs.sum_in_steps(sent, scale),)


def _slope_in_steps(
    g: Tensor,
    heard: Tensor,
    distances: Tensor,
    table: Tensor,
    weight: Tensor,
    scale: Tensor | None,
    pairs: PairLookup,
) -> tuple[Tensor, Tensor, Tensor]:
    """∂E/∂h, ∂E/∂d and ∂E/∂s from g = ∂E/∂m by elementary functions."""
    sent = torch.tanh(table_cfconv(heard, table, distances, pairs.lookup) @ weight.T)
    of_sent = g.index_select(0, pairs.centre)
    inner = of_sent * (1.0 - sent * sent)
    below = (inner if scale is None else inner * scale[:, None]) @ weight
    by_heard = table_cfconv(below, table, distances, pairs.back)
    return by_heard, pair_dot(below, heard, table, distances, pairs.lookup, 1), (of_sent * sent).sum(dim=1)


def tanh(x: Tensor) -> Tensor:
    """Tanh in place of ``x``, in single precision to 2e-7 and in a tenth of the time of torch's."""
    return x.mul_(2.0).sigmoid_().mul_(2.0).sub_(1.0) if x.dtype == torch.float32 else x.tanh_()


def _below_tanh(g: Tensor, sent: Tensor, scale: Tensor | None, pairs: PairLookup) -> Tensor:
    """s_p g_i ∘ (1 - v_p²), (pairs, F)."""
    inner = torch.ops.aten.tanh_backward(g.index_select(0, pairs.centre), sent)
    return inner if scale is None else inner.mul_(scale[:, None])


class _Messages(torch.autograd.Function):
    """Σ_p s_p tanh(W z_p)."""

    @staticmethod
    def forward(
        ctx: Any,
        heard: Tensor,
        distances: Tensor,
        table: Tensor,
        weight: Tensor,
        scale: Tensor | None,
        pairs: PairLookup,
    ) -> Tensor:
        products = pairs.lookup.convolve(heard, table, 0)
        sent = tanh(products @ weight.T)
        ctx.save_for_backward(heard, distances, table, weight, scale, products, sent)
        ctx.pairs = pairs
        return pairs.sum(sent, scale)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        heard, distances, table, weight, scale, products, sent = ctx.saved_tensors
        pairs, needs = ctx.pairs, needed_now(ctx)
        if torch.is_grad_enabled():
            if not (needs[2] or needs[3]):
                slopes = _Slope.apply(g, heard, distances, table, weight, scale, pairs, products, sent)
                return slopes[0], slopes[1], None, None, slopes[2] if needs[4] else None, None
            inputs = (heard, distances, table, weight, scale)
            return *gradients_in_steps(messages_in_steps, inputs, pairs, (g,), needs), None
        inner = _below_tanh(g, sent, scale, pairs)
        below = inner @ weight
        lookup = pairs.lookup
        return (
            pairs.back.convolve(below, table, 0) if needs[0] else None,
            lookup.dot(below, heard, table, 1).to(distances.dtype) if needs[1] else None,
            lookup.table_gradient(below, heard, 0) if needs[2] else None,
            inner.T @ products if needs[3] else None,
            (g.index_select(0, pairs.centre) * sent).sum(dim=1) if needs[4] else None,
            None,
        )


class _Slope(torch.autograd.Function):
    """∂E/∂h, ∂E/∂d and ∂E/∂s from g = ∂E/∂m: the backward pass where it will be differentiated again."""

    @staticmethod
    def forward(
        ctx: Any,
        g: Tensor,
        heard: Tensor,
        distances: Tensor,
        table: Tensor,
        weight: Tensor,
        scale: Tensor | None,
        pairs: PairLookup,
        products: Tensor,  # z and v, not to be differentiated: what they are made of is
        sent: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        inner = _below_tanh(g, sent, scale, pairs)
        below = inner @ weight
        ctx.save_for_backward(g, heard, distances, table, weight, scale, products, sent, inner, below)
        ctx.pairs = pairs
        ctx.set_materialize_grads(False)
        by_distance = pairs.lookup.dot(below, heard, table, 1).to(distances.dtype)
        by_scale = None if scale is None else (g.index_select(0, pairs.centre) * sent).sum(dim=1)
        return pairs.back.convolve(below, table, 0), by_distance, by_scale

    @staticmethod
    def backward(
        ctx: Any, of_heard: Tensor | None, of_distance: Tensor | None, of_scale: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        g, heard, distances, table, weight, scale, products, sent, inner, below = ctx.saved_tensors
        pairs, needs = ctx.pairs, needed_now(ctx)
        if torch.is_grad_enabled():
            inputs = (g, heard, distances, table, weight, scale)
            cotangents = (of_heard, of_distance, of_scale)
            return *gradients_in_steps(_slope_in_steps, inputs, pairs, cotangents, needs), None, None, None
        lookup, back = pairs.lookup, pairs.back
        of_heard = torch.zeros_like(heard) if of_heard is None else of_heard
        v = None if of_distance is None else of_distance.to(g.dtype)
        # Through `below` = inner W, which both ∂E/∂h and ∂E/∂d are linear in.
        of_below = lookup.convolve_both(of_heard, heard, table, v)
        of_inner = of_below @ weight.T
        of_g = torch.ops.aten.tanh_backward(of_inner, sent)  # before the scale
        g_pairs = g.index_select(0, pairs.centre)
        by_scale = (g_pairs * of_g).sum(dim=1) if needs[5] else None
        # ∂/∂v of s g (1 - v²) · of_inner + of_scale g v, then through the tanh.
        of_sent = of_inner.mul_(g_pairs).mul_(sent).mul_(-2.0)
        if scale is not None:
            of_sent, of_g = of_sent.mul_(scale[:, None]), of_g.mul_(scale[:, None])
        if of_scale is not None:
            of_sent.addcmul_(g_pairs, of_scale[:, None])
            of_g.addcmul_(sent, of_scale[:, None])
        of_inner = torch.ops.aten.tanh_backward(of_sent, sent)
        of_products = of_inner @ weight
        by_weight = None
        if needs[4]:
            by_weight = torch.addmm(inner.T @ of_below, of_inner.T, products)
        by_table = None
        if needs[3]:
            by_table = lookup.table_gradient_both(below, of_heard, heard, v)
            by_table += lookup.table_gradient(of_products, heard, 0)
        return (
            pairs.sum(of_g, None) if needs[0] else None,
            back.convolve_both(of_products, below, table, v) if needs[1] else None,
            _curvature(below, of_products, of_heard, heard, table, v, lookup).to(distances.dtype) if needs[2] else None,
            by_table,
            by_weight,
            by_scale,
            None,
            None,
            None,
        )


def _curvature(
    below: Tensor, of_products: Tensor, of_heard: Tensor, heard: Tensor, table: Tensor, v: Tensor | None, lookup: Lookup
) -> Tensor:
    """What the slopes' own gradients say of the distances (Hessians), (pairs,)."""
    first = lookup.dot(below, of_heard, table, 1).add_(lookup.dot(of_products, heard, table, 1))
    return first if v is None else first.addcmul_(v, lookup.dot(below, heard, table, 2))
