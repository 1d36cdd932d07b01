"""Filter networks of all blocks in one pass."""

from __future__ import annotations

import torch
from torch import Tensor

from atomlens.ops.activations import shifted_softplus


def filter_networks(first: Tensor, first_bias: Tensor, second: Tensor, second_bias: Tensor, basis: Tensor) -> Tensor:
    """W = ssp(e W_1 + b_1) W_2 + b_2 (thesis eq. 4.11) of every block.

    Args:
        first: (blocks, gaussians, F) weights, input first.
        first_bias: (blocks, 1, F).
        second: (blocks, F, F), input first.
        second_bias: (blocks, 1, F).
        basis: e, (samples, gaussians), the Gaussians at some distances.

    Returns:
        (blocks, samples, F)
    """
    blocks, gaussians, filters = first.shape
    wide = first.transpose(0, 1).reshape(gaussians, blocks * filters)
    hidden = torch.addmm(first_bias.reshape(-1), basis, wide)
    hidden = shifted_softplus(hidden).view(-1, blocks, filters).transpose(0, 1)
    return torch.baddbmm(second_bias, hidden, second)
