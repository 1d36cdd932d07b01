"""The primitives through torch.compile (Inductor's C++); for the comparison of code generators only."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch._dynamo
from torch import Tensor

from atomlens.ops.cfconv.graph import Groups, PairGraph
from atomlens.ops.segment import segment_sum
from benchmarks.generators.primitives import PrimitiveKernels

# Every shape, precision and number of threads is a program of its own.
torch._dynamo.config.recompile_limit = 64


class InductorKernels(PrimitiveKernels):
    """The five functions over pairs compiled from torch; grouping, places, weights and coefficients remain numba's."""

    name = "inductor"

    def convolve(
        self, x: Tensor, table: Tensor, graph: PairGraph, place: Tensor, weights: Tensor, scale: Tensor | None
    ) -> Tensor:
        """See `Kernels.convolve`."""
        return _run(_convolve, x, table, graph.centre, graph.neighbour, graph.n_atoms, place, weights, scale)

    def dot(self, g: Tensor, x: Tensor, table: Tensor, graph: PairGraph, place: Tensor, weights: Tensor) -> Tensor:
        """See `Kernels.dot`."""
        return _run(_dot, g, x, table, graph.centre, graph.neighbour, place, weights)

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
        rows = by_place.starts.shape[0] + 2
        return _run(_table_gradient, g, x, graph.centre, graph.neighbour, place, rows, weights, scale)

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
        ends = (graph.centre, graph.neighbour, graph.n_atoms)
        return _run(_convolve_both, x, y, table, *ends, place, weights, slopes, scale)

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
        ends = (graph.centre, graph.neighbour, place, by_place.starts.shape[0] + 2)
        return _run(_table_gradient_both, g, x, y, *ends, weights, slopes, scale)


@cache
def _compiled(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return torch.compile(function, fullgraph=True, dynamic=False)


def _run(function: Callable[..., Tensor], *arguments: Any) -> Tensor:
    # Whether an argument carries a gradient is autograd's business, and would make another program.
    plain = [argument.detach() if isinstance(argument, Tensor) else argument for argument in arguments]
    with torch.no_grad():
        return _compiled(function)(*plain)


def _convolve(
    x: Tensor, table: Tensor, centre: Tensor, neighbour: Tensor, atoms: int, place: Tensor, weights: Tensor,
    scale: Tensor | None,
) -> Tensor:  # fmt: skip
    weights = weights if scale is None else weights * scale[:, None]
    return segment_sum(x.index_select(0, neighbour) * _filters(table, place, weights), centre, atoms)


def _dot(
    g: Tensor, x: Tensor, table: Tensor, centre: Tensor, neighbour: Tensor, place: Tensor, weights: Tensor
) -> Tensor:
    both = g.index_select(0, centre) * x.index_select(0, neighbour)
    return (both * _filters(table, place, weights)).sum(dim=1)


def _table_gradient(
    g: Tensor, x: Tensor, centre: Tensor, neighbour: Tensor, place: Tensor, rows: int, weights: Tensor,
    scale: Tensor | None,
) -> Tensor:  # fmt: skip
    weights = weights if scale is None else weights * scale[:, None]
    both = g.index_select(0, centre) * x.index_select(0, neighbour)
    return _add_rows(both[:, None, :] * weights[:, :, None], place, rows)


def _convolve_both(
    x: Tensor, y: Tensor, table: Tensor, centre: Tensor, neighbour: Tensor, atoms: int, place: Tensor, weights: Tensor,
    slopes: Tensor, scale: Tensor,
) -> Tensor:  # fmt: skip
    value = x.index_select(0, neighbour) * _filters(table, place, weights)
    slope = y.index_select(0, neighbour) * _filters(table, place, slopes * scale[:, None])
    return segment_sum(value + slope, centre, atoms)


def _table_gradient_both(
    g: Tensor, x: Tensor, y: Tensor, centre: Tensor, neighbour: Tensor, place: Tensor, rows: int, weights: Tensor,
    slopes: Tensor, scale: Tensor,
) -> Tensor:  # fmt: skip
    heard = x.index_select(0, neighbour)[:, None, :] * weights[:, :, None]
    heard = heard + y.index_select(0, neighbour)[:, None, :] * (slopes * scale[:, None])[:, :, None]
    return _add_rows(g.index_select(0, centre)[:, None, :] * heard, place, rows)


def _filters(table: Tensor, place: Tensor, weights: Tensor) -> Tensor:
    """W_p of every pair, (pairs, F); the four terms are written out, for einsum would store what it multiplies."""
    terms = (weights[:, m, None] * table.index_select(0, place + m) for m in range(4))
    return sum(terms, start=torch.zeros((), dtype=table.dtype))


def _add_rows(values: Tensor, place: Tensor, rows: int) -> Tensor:
    """Values (pairs, 4, F) added to rows place + 0, … place + 3 of (rows, F)."""
    places = place[:, None] + torch.arange(4, dtype=place.dtype)
    return segment_sum(values.flatten(0, 1), places.flatten(), rows)
