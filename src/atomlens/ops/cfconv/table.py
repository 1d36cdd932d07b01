"""The convolution with tabulated filters, differentiable as often as needed.

Φ = Σ_p s_p g_i · (x_j ∘ W⁽ⁿ⁾(d_p)) is linear in g, s, x and the table C. Its derivatives by g (and x, on the transposed
graph), by s and by C are the three primitives; the derivative by d is the one by s with n + 1 in place of n. Each
function below is one primitive, and its backward pass is made of the same functions.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from atomlens.ops.cfconv.graph import Groups, PairGraph
from atomlens.ops.cfconv.kernels import Kernels
from atomlens.ops.cfconv.spline import SplineGrid


class Lookup:
    """Where the pairs of a batch lie in a table.

    Args:
        grid: the table's knots.
        graph: the pairs.
        distances: (pairs,) in Å.
        dtype: precision of the features.
        kernels: what computes.
    """

    def __init__(
        self, grid: SplineGrid, graph: PairGraph, distances: Tensor, dtype: torch.dtype, kernels: Kernels
    ) -> None:
        if distances.shape != graph.centre.shape:
            raise ValueError(f"{distances.shape[0]} distances for {graph.centre.shape[0]} pairs")
        self.grid, self.graph, self.kernels = grid, graph, kernels
        self.distances, self._dtype = distances.detach(), dtype
        self.place, self._fraction = kernels.locate(grid, self.distances)
        self._weights: dict[int, Tensor] = {}
        self._by_place: list[Groups] = []

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the features."""
        return self._dtype

    def weights(self, order: int) -> Tensor:
        """b⁽ⁿ⁾ of every pair, (pairs, 4); computed once, also for the transposed lookup."""
        if order not in self._weights:
            self._weights[order] = self.kernels.spline_weights(
                self.grid, self.distances, self._fraction, order, self._dtype
            )
        return self._weights[order]

    @property
    def by_place(self) -> Groups:
        """The pairs in the table's order; computed once, also for the transposed lookup."""
        if not self._by_place:
            self._by_place.append(self.kernels.group(self.place, self.grid.n_samples - 1))
        return self._by_place[0]

    def convolve(self, x: Tensor, table: Tensor, order: int, scale: Tensor | None = None) -> Tensor:
        """Σ_p s_p x_j ∘ W⁽ⁿ⁾_p, (atoms, F), outside of autograd."""
        self._check(heard=(x,), table=table, scale=scale)
        return self.kernels.convolve(x, table, self.graph, self.place, self.weights(order), scale)

    def convolve_both(self, x: Tensor, y: Tensor, table: Tensor, scale: Tensor | None) -> Tensor:
        """Σ_p x_j ∘ W_p + s_p y_j ∘ W'_p, (atoms, F), outside of autograd; without ``scale`` the first term alone."""
        if scale is None:
            return self.convolve(x, table, 0)
        self._check(heard=(x, y), table=table, scale=scale)
        weights, slopes = self.weights(0), self.weights(1)
        return self.kernels.convolve_both(x, y, table, self.graph, self.place, weights, slopes, scale)

    def dot(self, g: Tensor, x: Tensor, table: Tensor, order: int) -> Tensor:
        """g_i · (x_j ∘ W⁽ⁿ⁾_p), (pairs,), outside of autograd."""
        self._check(hears=g, heard=(x,), table=table)
        return self.kernels.dot(g, x, table, self.graph, self.place, self.weights(order))

    def table_gradient(self, g: Tensor, x: Tensor, order: int, scale: Tensor | None = None) -> Tensor:
        """Σ_p s_p b⁽ⁿ⁾_pm g_i ∘ x_j in row k_p + m, (rows, F), outside of autograd."""
        self._check(hears=g, heard=(x,), scale=scale)
        weights = self.weights(order)
        return self.kernels.table_gradient(g, x, self.graph, self.place, self.by_place, weights, scale)

    def table_gradient_both(self, g: Tensor, x: Tensor, y: Tensor, scale: Tensor | None) -> Tensor:
        """Σ_p g_i ∘ (b_pm x_j + s_p b'_pm y_j) in row k_p + m; without ``scale`` the first term alone."""
        if scale is None:
            return self.table_gradient(g, x, 0)
        self._check(hears=g, heard=(x, y), scale=scale)
        weights, slopes = self.weights(0), self.weights(1)
        return self.kernels.table_gradient_both(g, x, y, self.graph, self.place, self.by_place, weights, slopes, scale)

    def _check(
        self,
        *,
        heard: tuple[Tensor, ...],
        hears: Tensor | None = None,
        table: Tensor | None = None,
        scale: Tensor | None = None,
    ) -> None:
        """Kernels compute with addresses, so what does not fit must not reach them."""
        atoms, rows, pairs = self.graph.n_atoms, self.grid.n_samples + 2, self.distances.shape[0]
        width, others = heard[0].shape[1], self.graph.by_neighbour.starts.shape[0] - 1
        expected = [(table, (rows, width)), (scale, (pairs,)), (hears, (atoms, width))]
        for tensor, shape in (*expected, *((x, (others, width)) for x in heard)):
            if tensor is not None and (tensor.shape != shape or tensor.dtype != self._dtype):
                raise ValueError(
                    f"got {tuple(tensor.shape)} of {tensor.dtype} where {shape} of {self._dtype} fits {atoms} atoms, "
                    f"{pairs} pairs and {rows} rows of the table"
                )

    @cached_property
    def transposed(self) -> Lookup:
        """The same lookup for the pairs with their roles exchanged."""
        other = object.__new__(Lookup)
        other.__dict__.update({name: value for name, value in self.__dict__.items() if name != "_halves"})
        other.graph = self.graph.transposed
        return other


def table_cfconv(x: Tensor, table: Tensor, distances: Tensor, lookup: Lookup) -> Tensor:
    """v_i = Σ_j x_j ∘ W(d_ij) with W interpolated in a table (thesis eq. 4.5).

    Args:
        x: (atoms, F) features of the atoms that are heard.
        table: (rows, F) spline coefficients of the filters, see `spline_coefficients`.
        distances: (pairs,) in Å; they carry the gradient, ``lookup`` the places.
        lookup: where these distances lie in the table.

    Returns:
        (atoms, F)
    """
    result: Tensor = _Convolve.apply(x, table, distances, None, lookup, 0)
    return result


def pair_dot(g: Tensor, x: Tensor, table: Tensor, distances: Tensor, lookup: Lookup, order: int) -> Tensor:
    """g_i · (x_j ∘ W⁽ⁿ⁾(d_ij)) of every pair, (pairs,) in the precision of the distances; differentiable.

    Args:
        g: (atoms, F) of the atoms that hear.
        x: (atoms, F) of the atoms that are heard.
        table: (rows, F).
        distances: (pairs,) in Å.
        lookup: where these distances lie in the table.
        order: n, of the derivative by the distance.
    """
    result: Tensor = _Dot.apply(g, x, table, distances, lookup, order)
    return result.to(distances.dtype)


def spline_coefficients(values: Tensor, kernels: Kernels) -> Tensor:
    """Coefficients (blocks, samples + 2, F) of the splines through ``values`` (blocks, samples, F); differentiable."""
    result: Tensor = _Coefficients.apply(values, kernels, False)
    return result


class _Convolve(torch.autograd.Function):
    """v_i = Σ_p s_p x_j ∘ W⁽ⁿ⁾_p."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, table: Tensor, distances: Tensor, scale: Tensor | None, lookup: Lookup, order: int
    ) -> Tensor:
        ctx.save_for_backward(x, table, distances, scale)
        ctx.lookup, ctx.order = lookup, order
        return lookup.convolve(x, table, order, scale)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, table, distances, scale = ctx.saved_tensors
        lookup, order, needs = ctx.lookup, ctx.order, needed_now(ctx)
        by_x = _Convolve.apply(g, table, distances, scale, lookup.transposed, order) if needs[0] else None
        by_table = _TableGradient.apply(g, x, distances, scale, lookup, order) if needs[1] else None
        by_distance = _by_distance(g, x, table, distances, scale, lookup, order) if needs[2] else None
        by_scale = _Dot.apply(g, x, table, distances, lookup, order) if needs[3] else None
        return by_x, by_table, by_distance, by_scale, None, None


class _Dot(torch.autograd.Function):
    """g_i · (x_j ∘ W⁽ⁿ⁾_p) of every pair."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, x: Tensor, table: Tensor, distances: Tensor, lookup: Lookup, order: int) -> Tensor:
        ctx.save_for_backward(g, x, table, distances)
        ctx.lookup, ctx.order = lookup, order
        return lookup.dot(g, x, table, order)

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor | None, ...]:
        g, x, table, distances = ctx.saved_tensors
        lookup, order, needs = ctx.lookup, ctx.order, needed_now(ctx)
        by_g = _Convolve.apply(x, table, distances, v, lookup, order) if needs[0] else None
        by_x = _Convolve.apply(g, table, distances, v, lookup.transposed, order) if needs[1] else None
        by_table = _TableGradient.apply(g, x, distances, v, lookup, order) if needs[2] else None
        by_distance = _by_distance(g, x, table, distances, v, lookup, order) if needs[3] else None
        return by_g, by_x, by_table, by_distance, None, None


class _TableGradient(torch.autograd.Function):
    """Σ_p s_p b⁽ⁿ⁾_pm g_i ∘ x_j in row k_p + m."""

    @staticmethod
    def forward(
        ctx: Any, g: Tensor, x: Tensor, distances: Tensor, scale: Tensor | None, lookup: Lookup, order: int
    ) -> Tensor:
        ctx.save_for_backward(g, x, distances, scale)
        ctx.lookup, ctx.order = lookup, order
        return lookup.table_gradient(g, x, order, scale)

    @staticmethod
    def backward(ctx: Any, table: Tensor) -> tuple[Tensor | None, ...]:
        g, x, distances, scale = ctx.saved_tensors
        lookup, order, needs = ctx.lookup, ctx.order, needed_now(ctx)
        by_g = _Convolve.apply(x, table, distances, scale, lookup, order) if needs[0] else None
        by_x = _Convolve.apply(g, table, distances, scale, lookup.transposed, order) if needs[1] else None
        by_distance = _by_distance(g, x, table, distances, scale, lookup, order) if needs[2] else None
        by_scale = _Dot.apply(g, x, table, distances, lookup, order) if needs[3] else None
        return by_g, by_x, by_distance, by_scale, None, None


def needed_now(ctx: Any) -> list[bool]:
    """Which inputs' gradients the backward pass that runs now will use.

    What autograd knows when a function is applied is too much: forces need no gradients of tables, and training on
    forces none of distances.
    """
    used = list(ctx.needs_input_grad)
    # Tensors come first among the inputs, and only they have an entry.
    for place, (node, _) in enumerate(ctx.next_functions):
        used[place] = used[place] and _will_run(node)
    return used


def _will_run(node: Any) -> bool:
    # Private, but what the hooks of torch.autograd.graph ask; without it too much is computed, and nothing wrong.
    ask = getattr(torch._C, "_will_engine_execute_node", None)
    try:
        return ask is None or bool(ask(node))
    except RuntimeError:  # not answered for a leaf that autograd.grad was asked for
        return True


def _by_distance(
    g: Tensor, x: Tensor, table: Tensor, distances: Tensor, scale: Tensor | None, lookup: Lookup, order: int
) -> Tensor:
    """∂Φ/∂d of every pair, in the precision of the distances."""
    slope: Tensor = _Dot.apply(g, x, table, distances, lookup, order + 1)
    return (slope if scale is None else slope * scale).to(distances.dtype)


class _Coefficients(torch.autograd.Function):
    """The linear map from knot values to spline coefficients, or its adjoint."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, kernels: Kernels, adjoint: bool) -> Tensor:
        ctx.kernels, ctx.adjoint = kernels, adjoint
        return kernels.coefficients(values, adjoint=adjoint)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _Coefficients.apply(gradient, ctx.kernels, not ctx.adjoint), None, None
