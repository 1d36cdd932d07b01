"""Activation functions."""

from __future__ import annotations

import math

import torch.nn.functional as functional
from torch import Tensor


def shifted_softplus(x: Tensor) -> Tensor:
    """ssp(x) = ln(0.5 eˣ + 0.5), smooth of every order and zero at zero (thesis eq. 4.8)."""
    # Above the threshold torch returns x itself; 30 keeps that step below float64 rounding of the forces.
    return functional.softplus(x, threshold=30.0) - math.log(2.0)
