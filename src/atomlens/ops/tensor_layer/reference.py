"""The messages of a factorised tensor layer as their definition reads; the faster ones are judged against it."""

from __future__ import annotations

import torch
from torch import Tensor

from atomlens.ops.segment import segment_sum


def messages(
    heard: Tensor, factors: Tensor, weight: Tensor, scale: Tensor | None, centre: Tensor, neighbour: Tensor
) -> Tensor:
    """Σ_j s_ij tanh(W_xf (h_j ∘ w(d_ij))) over the directed pairs (i hears j) (thesis eq. 3.2, 3.7).

    Args:
        heard: (atoms, K) factors h = W_fx x + b of the atoms that are heard.
        factors: (pairs, K) factors w(d_ij) of the distances.
        weight: (F, K) W_xf.
        scale: (pairs,) s_ij, cutoff function and weight of the neighbour; None for ones.
        centre: (pairs,) the atom i that hears.
        neighbour: (pairs,) the atom j that is heard.

    Returns:
        (atoms, F)
    """
    sent = torch.tanh((heard.index_select(0, neighbour) * factors) @ weight.T)
    return segment_sum(sent if scale is None else sent * scale[:, None], centre, heard.shape[0])
