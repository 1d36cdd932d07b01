"""The messages with distance factors from a table, and their derivatives written out.

For pair p = (i hears j), with z_p = h_j ∘ w(d_p) and v_p = tanh(W z_p), the sums are m_i = Σ_p s_p v_p. What is linear
in a table, in h and in rows of pairs are the convolution's three primitives, on a graph in which every pair is a centre
of its own (`PairLookup`); the rest are matrix products. Derivatives of third order go through `messages_in_steps`, the
same in elementary steps.
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
        self.centre, self._by_centre, self.atoms = graph.centre, graph.by_centre, graph.n_atoms
        count = torch.arange(distances.shape[0] + 1, dtype=torch.int32, device=distances.device)
        each = PairGraph(count[:-1], graph.neighbour, Groups(count, count[:-1]), graph.by_neighbour)
        self.lookup = Lookup(grid, each, distances, dtype, kernels)
        self.back = self.lookup.transposed

    def sum(self, sent: Tensor, scale: Tensor | None) -> Tensor:
        """Σ_p s_p v_p of every centre, (atoms, F), outside of autograd."""
        if sent.shape[0] == 0:
            return sent.new_zeros(self.atoms, sent.shape[1])
        groups = self._by_centre
        return functional.embedding_bag(groups.order, sent, groups.starts[:-1], mode="sum", per_sample_weights=scale)


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
    result: Tensor = _Messages.apply(heard, distances, table, weight, scale, pairs)[0]
    return result


def messages_in_steps(
    heard: Tensor, distances: Tensor, table: Tensor, weight: Tensor, scale: Tensor | None, pairs: PairLookup
) -> tuple[Tensor, Tensor]:
    """The sums, and what each pair sends before it is scaled, (pairs, F), by elementary functions."""
    sent = torch.tanh(table_cfconv(heard, table, distances, pairs.lookup) @ weight.T)
    scaled = sent if scale is None else sent * scale[:, None]
    return segment_sum(scaled, pairs.centre, pairs.atoms), sent


class MessageStep:
    """One pass forward and one back outside of autograd; arguments as for `table_messages`."""

    def __init__(self, table: Tensor, weight: Tensor, scale: Tensor | None, pairs: PairLookup) -> None:
        self._table, self._weight, self._scale, self._pairs = table, weight, scale, pairs
        self._heard, self._sent = table, table  # until `forward` has been

    def forward(self, heard: Tensor) -> Tensor:
        """The sums, (atoms, F)."""
        self._heard = heard
        self._sent = tanh(self._pairs.lookup.convolve(heard, self._table, 0) @ self._weight.T)
        return self._pairs.sum(self._sent, self._scale)

    def backward(self, g: Tensor, by_distance: Tensor, by_scale: Tensor | None, *, last: bool) -> Tensor | None:
        """∂E/∂h from g = ∂E/∂m (None if ``last``, when nobody asks).

        Adds ∂E/∂d and ∂E/∂s to ``by_distance`` and ``by_scale`` (pairs,).
        """
        pairs, g = self._pairs, g.index_select(0, self._pairs.centre)
        if by_scale is not None:
            by_scale += torch.linalg.vecdot(g, self._sent)
        below = _through_tanh(g, self._sent, self._scale) @ self._weight
        by_distance += pairs.lookup.dot(below, self._heard, self._table, 1)
        return None if last else pairs.back.convolve(below, self._table, 0)


def tanh(x: Tensor) -> Tensor:
    """Tanh in place of ``x``; in single precision to 2e-7, in a fifth of the time of torch's."""
    # 2 σ(2x) - 1
    return x.mul_(2.0).sigmoid_().mul_(2.0).sub_(1.0) if x.dtype == torch.float32 else x.tanh_()


def _through_tanh(g: Tensor, sent: Tensor, scale: Tensor | None) -> Tensor:
    """s_p g_p ∘ (1 - v_p²), (pairs, F)."""
    inner: Tensor = torch.ops.aten.tanh_backward(g, sent)
    return inner if scale is None else inner.mul_(scale[:, None])


class _Messages(torch.autograd.Function):
    """The sums; what pairs send is an output as well, so that what slopes' own gradients say of it comes back here."""

    @staticmethod
    def forward(
        ctx: Any,
        heard: Tensor,
        distances: Tensor,
        table: Tensor,
        weight: Tensor,
        scale: Tensor | None,
        pairs: PairLookup,
    ) -> tuple[Tensor, Tensor]:
        products = pairs.lookup.convolve(heard, table, 0)
        sent = tanh(products @ weight.T)
        ctx.save_for_backward(heard, distances, table, weight, scale, products, sent)
        ctx.pairs = pairs
        ctx.set_materialize_grads(False)
        return pairs.sum(sent, scale), sent

    @staticmethod
    def backward(ctx: Any, g: Tensor | None, by_sent: Tensor | None) -> tuple[Tensor | None, ...]:
        heard, distances, table, weight, scale, products, sent = ctx.saved_tensors
        pairs, needs = ctx.pairs, needed_now(ctx)
        if torch.is_grad_enabled():
            if g is not None and by_sent is None and not (needs[2] or needs[3]):
                found = _Slope.apply(g, heard, sent, distances, table, weight, scale, pairs)
                return found[0], found[1], None, None, found[2], None
            inputs = (heard, distances, table, weight, scale)
            return *gradients_in_steps(messages_in_steps, inputs, pairs, (g, by_sent), needs), None
        of_sent = torch.zeros_like(sent) if g is None else g.index_select(0, pairs.centre)
        by_scale = torch.linalg.vecdot(of_sent, sent) if needs[4] else None
        of_sent = of_sent if scale is None else of_sent.mul_(scale[:, None])
        of_sent = of_sent if by_sent is None else of_sent.add_(by_sent)
        inner = _through_tanh(of_sent, sent, None)
        below = inner @ weight
        return (
            pairs.back.convolve(below, table, 0) if needs[0] else None,
            pairs.lookup.dot(below, heard, table, 1).to(distances.dtype) if needs[1] else None,
            pairs.lookup.table_gradient(below, heard, 0) if needs[2] else None,
            inner.T @ products if needs[3] else None,
            by_scale,
            None,
        )


def _slope_in_steps(
    g: Tensor,
    heard: Tensor,
    sent: Tensor,
    distances: Tensor,
    table: Tensor,
    weight: Tensor,
    scale: Tensor | None,
    pairs: PairLookup,
) -> tuple[Tensor, Tensor, Tensor]:
    """∂E/∂h, ∂E/∂d and ∂E/∂s from g = ∂E/∂m by elementary functions."""
    g = g.index_select(0, pairs.centre)
    inner = g * (1.0 - sent * sent)
    below = (inner if scale is None else inner * scale[:, None]) @ weight
    by_heard = table_cfconv(below, table, distances, pairs.back)
    return by_heard, pair_dot(below, heard, table, distances, pairs.lookup, 1), (g * sent).sum(dim=1)


class _Slope(torch.autograd.Function):
    """∂E/∂h, ∂E/∂d and ∂E/∂s from g = ∂E/∂m: the backward pass where it will be differentiated again."""

    @staticmethod
    def forward(
        ctx: Any,
        g: Tensor,
        heard: Tensor,
        sent: Tensor,
        distances: Tensor,
        table: Tensor,
        weight: Tensor,
        scale: Tensor | None,
        pairs: PairLookup,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        g_pairs = g.index_select(0, pairs.centre)
        inner = _through_tanh(g_pairs, sent, scale)
        below = inner @ weight
        ctx.save_for_backward(g, heard, sent, distances, table, weight, scale, inner, below)
        ctx.pairs = pairs
        ctx.set_materialize_grads(False)
        by_distance = pairs.lookup.dot(below, heard, table, 1).to(distances.dtype)
        by_scale = None if scale is None else torch.linalg.vecdot(g_pairs, sent)
        return pairs.back.convolve(below, table, 0), by_distance, by_scale

    @staticmethod
    def backward(
        ctx: Any, of_heard: Tensor | None, of_distance: Tensor | None, of_scale: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        g, heard, sent, distances, table, weight, scale, inner, below = ctx.saved_tensors
        pairs, needs = ctx.pairs, needed_now(ctx)
        if torch.is_grad_enabled():
            inputs = (g, heard, sent, distances, table, weight, scale)
            return *gradients_in_steps(_slope_in_steps, inputs, pairs, (of_heard, of_distance, of_scale), needs), None
        of_heard = torch.zeros_like(heard) if of_heard is None else of_heard
        v = None if of_distance is None else of_distance.to(g.dtype)
        of_below = pairs.lookup.convolve_both(of_heard, heard, table, v)
        of_inner = of_below @ weight.T
        of_g = torch.ops.aten.tanh_backward(of_inner, sent)
        g = g.index_select(0, pairs.centre)
        of_sent = (g * sent).mul_(of_inner).mul_(-2.0)
        by_scale = torch.linalg.vecdot(g, of_g) if needs[6] else None
        if scale is not None:
            of_sent, of_g = of_sent.mul_(scale[:, None]), of_g.mul_(scale[:, None])
        if of_scale is not None:
            of_sent.addcmul_(g, of_scale[:, None])
            of_g.addcmul_(sent, of_scale[:, None])
        return (
            pairs.sum(of_g, None) if needs[0] else None,
            pairs.back.convolve(below, table, 1, v) if needs[1] and v is not None else None,
            of_sent if needs[2] else None,
            _curvature(below, of_heard, heard, table, v, pairs.lookup).to(distances.dtype) if needs[3] else None,
            pairs.lookup.table_gradient_both(below, of_heard, heard, v) if needs[4] else None,
            inner.T @ of_below if needs[5] else None,
            by_scale,
            None,
        )


def _curvature(
    below: Tensor, of_heard: Tensor, heard: Tensor, table: Tensor, v: Tensor | None, lookup: Lookup
) -> Tensor:
    """What the slopes' own gradients say of the distances (Hessians), (pairs,)."""
    first = lookup.dot(below, of_heard, table, 1)
    return first if v is None else first.addcmul_(v, lookup.dot(below, heard, table, 2))
