"""What atoms that stay as they are send, as functions of the distance alone, in tables: for probes that only hear.

The message of an atom j in a pass t, tanh(W (h_jt ∘ w(d))), depends on the probe by the distance alone, so all passes
of an atom are one function of d. Looked up in a table, it costs a pair four rows instead of T matrix products.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from atomlens.ops.cfconv import Kernels, PairGraph, SplineGrid, kernels_for, spline_coefficients

TABLE_BYTES = 128 * 2**20  # that the tables of all atoms may take


@dataclass(frozen=True)
class SenderTables:
    """Σ_t tanh(W (h_jt ∘ w(d))) of every atom j as a spline of d."""

    grid: SplineGrid
    coefficients: Tensor  # (atoms * rows, F)
    kernels: Kernels

    def sums(self, distances: Tensor, atom: Tensor, graph: PairGraph, scale: Tensor | None) -> Tensor:
        """Σ_p s_p v_j(d_p) of every probe, (probes, F).

        Args:
            distances: (pairs,) in Å.
            atom: (pairs,) int64, the sender of each.
            graph: the pairs, grouped by the probe that hears.
            scale: (pairs,) s_p; None for ones.
        """
        dtype, rows = self.coefficients.dtype, self.grid.n_samples + 2
        place, fraction = self.kernels.locate(self.grid, distances)
        weights = self.kernels.spline_weights(self.grid, distances, fraction, 0, dtype)
        # Each atom has rows of its own, by which the same features, ones, are multiplied.
        own = replace(graph, neighbour=torch.zeros_like(graph.neighbour))
        ones = self.coefficients.new_ones(1, self.coefficients.shape[1])
        place = place + (rows * atom).to(place.dtype)
        return self.kernels.convolve(ones, self.coefficients, own, place, weights, scale)


def tabulated_senders(
    factors: Callable[[Tensor], Tensor],
    heard: Sequence[Tensor],
    weight: Tensor,
    grid: SplineGrid,
    accuracy: float,
    kernels: Kernels,
) -> SenderTables | None:
    """Tabulate what atoms send, on as many knots as it takes.

    Args:
        factors: from distances (samples,) in float64 to w (samples, K) in float64, on the CPU.
        heard: per pass the atoms' factors h, (atoms, K).
        weight: (F, K) W_xf.
        grid: the knots to begin with, and the cutoff function that scales messages.
        accuracy: interpolation error allowed halfway between knots, of the range of an atom's functions.
        kernels: what looks up.

    Returns:
        None where tables of that accuracy would take more than `TABLE_BYTES`.
    """
    passes, w_xf = [each.to("cpu", torch.float64) for each in heard], weight.to("cpu", torch.float64)
    while True:
        rows = grid.n_samples + 2
        if len(passes[0]) * rows * len(weight) * weight.element_size() > TABLE_BYTES:
            return None
        found, worst = weight.new_empty(len(passes[0]), rows, len(weight)), 0.0
        at_knots, halfway = factors(grid.samples), factors(_halfway(grid))
        for atom in range(len(found)):
            own = [each[atom] for each in passes]
            splines = _splines(_sent(at_knots, own, w_xf))
            worst = max(worst, _error(splines, _sent(halfway, own, w_xf), grid))
            if worst > accuracy:
                break
            found[atom] = splines
        else:
            return SenderTables(grid, found.flatten(0, 1), kernels)
        # The error falls with the fourth power of the spacing.
        finer = min(max((worst / accuracy) ** 0.25, 1.2), 4.0)
        grid = replace(grid, intervals=int(grid.intervals * finer) + 1)


def _sent(factors: Tensor, passes: Sequence[Tensor], w_xf: Tensor) -> Tensor:
    """Σ_t tanh(W (h_t ∘ w)) of one atom for factors w (samples, K): (samples, F)."""
    return torch.stack([torch.tanh((heard * factors) @ w_xf.T) for heard in passes]).sum(dim=0)


def _splines(values: Tensor) -> Tensor:
    """Coefficients (samples + 2, F) through values (samples, F)."""
    return spline_coefficients(values[None], kernels_for(values.device, values.dtype))[0]


def _halfway(grid: SplineGrid) -> Tensor:
    return (torch.arange(grid.intervals, dtype=torch.float64) + 0.5) * grid.spacing


def _error(splines: Tensor, exact: Tensor, grid: SplineGrid) -> float:
    """The largest difference halfway between knots, as a share of the largest range of a function of one atom."""
    place, fraction = grid.locate(_halfway(grid))
    weights = replace(grid, fade="none").weights(_halfway(grid), fraction, 0, torch.float64)
    found = torch.stack([weights[:, m, None] * splines[place + m] for m in range(4)]).sum(dim=0)
    span = (exact.amax(dim=0) - exact.amin(dim=0)).max()
    return float((found - exact).abs().max() / span.clamp(min=torch.finfo(torch.float64).tiny))
