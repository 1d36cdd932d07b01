"""The continuous-filter convolution as its definition reads; every faster kernel is judged against it."""

from __future__ import annotations

from torch import Tensor

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
