"""What a backend supplies."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from atomlens.ops.cfconv.graph import Groups, PairGraph
from atomlens.ops.cfconv.passes import Layers, Passes
from atomlens.ops.cfconv.spline import SplineGrid

if TYPE_CHECKING:
    from atomlens.ops.cfconv.table import Lookup


class Kernels(ABC):
    """The three primitives of a convolution with tabulated filters, and two helpers, on one kind of device.

    The filter of pair p is W_p = Σ_m b_pm C[k_p + m]: four neighbouring rows of the table C (rows, F), weighted by
    ``weights`` (pairs, 4) from row ``place`` (pairs,) on. ``scale`` (pairs,) is s_p; None for ones. The same inputs
    give the same results bit for bit.
    """

    name: str

    @abstractmethod
    def convolve(
        self, x: Tensor, table: Tensor, graph: PairGraph, place: Tensor, weights: Tensor, scale: Tensor | None
    ) -> Tensor:
        """v_i = Σ_p s_p x_j ∘ W_p over the pairs p = (i hears j), (atoms, F)."""

    @abstractmethod
    def dot(self, g: Tensor, x: Tensor, table: Tensor, graph: PairGraph, place: Tensor, weights: Tensor) -> Tensor:
        """g_i · (x_j ∘ W_p) of every pair, (pairs,)."""

    @abstractmethod
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
        """Σ_p s_p b_pm g_i ∘ x_j in row k_p + m, (rows, F); ``by_place`` has the pairs in the table's order."""

    @abstractmethod
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
        """Σ_p x_j ∘ W_p + s_p y_j ∘ W'_p, (atoms, F), W' with ``slopes`` for ``weights``: two convolutions in one."""

    @abstractmethod
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
        """Σ_p g_i ∘ (b_pm x_j + s_p b'_pm y_j) in row k_p + m, (rows, F): two table gradients in one."""

    @abstractmethod
    def group(self, key: Tensor, groups: int) -> Groups:
        """Rows brought together by ``key`` (rows,) int32, 0 ≤ key < ``groups``, each group in the rows' order."""

    @abstractmethod
    def coefficients(self, values: Tensor, *, adjoint: bool = False) -> Tensor:
        """Spline coefficients (blocks, samples + 2, F) through knot values (blocks, samples, F), or the adjoint map."""

    @abstractmethod
    def locate(self, grid: SplineGrid, distances: Tensor) -> tuple[Tensor, Tensor]:
        """See `SplineGrid.locate`."""

    @abstractmethod
    def spline_weights(
        self, grid: SplineGrid, distances: Tensor, fraction: Tensor, order: int, dtype: torch.dtype
    ) -> Tensor:
        """See `SplineGrid.weights`."""

    def passes(self, tables: Tensor, layers: Layers, lookup: Lookup) -> Passes:
        """What goes through all interaction blocks of a batch."""
        return Passes(tables, layers, lookup)

    def makes_filter_tables(self, first: Tensor) -> bool:
        """Whether `filter_tables` takes networks of such first weights (blocks, gaussians, F)."""
        del first
        return False

    def filter_tables(
        self, first: Tensor, first_bias: Tensor, second: Tensor, second_bias: Tensor, gaussians: Tensor
    ) -> Tensor:
        """Spline coefficients (blocks, samples + 2, F) through the filters of all blocks, differentiable.

        Args:
            first: (blocks, gaussians, F), and so on as for `filters.filter_networks`.
            first_bias: (blocks, 1, F).
            second: (blocks, F, F).
            second_bias: (blocks, 1, F).
            gaussians: (samples, gaussians) at the knots, float64; the same tensor as long as they are the same.

        Raises:
            NotImplementedError: `makes_filter_tables` says no.
        """
        raise NotImplementedError(f"the {self.name} kernels make no tables of filter networks")

    def graph(self, centre: Tensor, neighbour: Tensor, n_atoms: int) -> PairGraph:
        """The graph of directed pairs (pairs,).

        Raises:
            IndexError: a pair names an atom that does not exist.
        """
        for atoms in (centre, neighbour):
            if atoms.shape[0] and not 0 <= int(atoms.min()) <= int(atoms.max()) < n_atoms:
                wrong = atoms[(atoms < 0) | (atoms >= n_atoms)][0]
                raise IndexError(f"a pair names atom {int(wrong)} of {n_atoms}")
        centre, neighbour = centre.to(torch.int32), neighbour.to(torch.int32)
        return PairGraph(centre, neighbour, self.group(centre, n_atoms), self.group(neighbour, n_atoms))


class ComposedKernels(Kernels):
    """What follows from the three primitives and `SplineGrid`, for backends that do nothing faster about it."""

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
        first = self.convolve(x, table, graph, place, weights, None)
        return first.add_(self.convolve(y, table, graph, place, slopes, scale))

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
        first = self.table_gradient(g, x, graph, place, by_place, weights, None)
        return first.add_(self.table_gradient(g, y, graph, place, by_place, slopes, scale))

    def locate(self, grid: SplineGrid, distances: Tensor) -> tuple[Tensor, Tensor]:
        """See `Kernels.locate`."""
        return grid.locate(distances)

    def spline_weights(
        self, grid: SplineGrid, distances: Tensor, fraction: Tensor, order: int, dtype: torch.dtype
    ) -> Tensor:
        """See `Kernels.spline_weights`."""
        return grid.weights(distances, fraction, order, dtype)
