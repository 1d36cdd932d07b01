"""The continuous-filter convolution as its definition reads; every faster kernel is judged against it."""

from __future__ import annotations

import torch
from torch import Tensor

from atomlens.ops.cfconv.graph import Groups, PairGraph
from atomlens.ops.cfconv.kernels import ComposedKernels
from atomlens.ops.cfconv.spline import interpolation_matrix
from atomlens.ops.segment import segment_sum


def cfconv(features: Tensor, filters: Tensor, centre: Tensor, neighbour: Tensor) -> Tensor:
    """v_i = Σ_j x_j ∘ W(d_ij) over the directed pairs (i hears j) (thesis eq. 4.5).

    Args:
        features: (atoms, F) x.
        filters: (pairs, F) W(d_ij), cutoff included.
        centre: (pairs,) the atom i that hears.
        neighbour: (pairs,) the atom j that is heard.

    Returns:
        (atoms, F)
    """
    return segment_sum(features.index_select(0, neighbour) * filters, centre, features.shape[0])


class ReferenceKernels(ComposedKernels):
    """The primitives in plain torch, through an array of pairs × features; on any device."""

    name = "reference"

    def convolve(
        self, x: Tensor, table: Tensor, graph: PairGraph, place: Tensor, weights: Tensor, scale: Tensor | None
    ) -> Tensor:
        """See `Kernels.convolve`."""
        weights = weights if scale is None else weights * scale[:, None]
        heard = x.index_select(0, graph.neighbour) * _filters(table, place, weights)
        return segment_sum(heard, graph.centre, graph.n_atoms)

    def dot(self, g: Tensor, x: Tensor, table: Tensor, graph: PairGraph, place: Tensor, weights: Tensor) -> Tensor:
        """See `Kernels.dot`."""
        both = g.index_select(0, graph.centre) * x.index_select(0, graph.neighbour)
        return (both * _filters(table, place, weights)).sum(dim=1)

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
        weights = weights if scale is None else weights * scale[:, None]
        both = g.index_select(0, graph.centre) * x.index_select(0, graph.neighbour)
        rows = by_place.starts.shape[0] + 2
        return sum(  # type: ignore[return-value]  # four tensors, never the bare 0 that sum starts from
            segment_sum(both * weights[:, m, None], place + m, rows) for m in range(4)
        )

    def group(self, key: Tensor, groups: int) -> Groups:
        """See `Kernels.group`."""
        counts = torch.bincount(key, minlength=groups)
        starts = torch.zeros(groups + 1, dtype=torch.int32, device=key.device)
        starts[1:] = torch.cumsum(counts, 0)
        return Groups(starts, torch.argsort(key, stable=True).to(torch.int32))

    def coefficients(self, values: Tensor, *, adjoint: bool = False) -> Tensor:
        """See `Kernels.coefficients`."""
        samples = values.shape[1] - 2 if adjoint else values.shape[1]
        matrix = torch.from_numpy(interpolation_matrix(samples)).to(values)
        return torch.matmul(matrix.T if adjoint else matrix, values)


def _filters(table: Tensor, place: Tensor, weights: Tensor) -> Tensor:
    """W_p of every pair, (pairs, F)."""
    rows = place[:, None] + torch.arange(4, dtype=place.dtype, device=place.device)
    return torch.einsum("pm,pmf->pf", weights, table[rows])
