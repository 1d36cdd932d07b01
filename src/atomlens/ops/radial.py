"""Functions of one distance: radial bases and cutoffs."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def gaussian_basis(distances: Tensor, centres: Tensor, gamma: float) -> Tensor:
    """e_k(d) = exp(-γ (d - μ_k)²) (thesis eq. 3.3, 4.11).

    Args:
        distances: (pairs,) in Å.
        centres: (basis,) in Å.
        gamma: in Å⁻².

    Returns:
        (pairs, basis)
    """
    return torch.exp(-gamma * (distances[:, None] - centres).square())


def cosine_cutoff(distances: Tensor, cutoff: float, order: int = 0) -> Tensor:
    """½ (cos(π d / r_c) + 1) inside r_c, else 0 (insights paper 2.1). Its second derivative jumps there.

    Args:
        distances: (pairs,) in Å.
        cutoff: r_c in Å.
        order: of the derivative by d that is returned.

    Returns:
        (pairs,) in Å⁻ᵒʳᵈᵉʳ
    """
    rate = math.pi / cutoff
    inside = 0.5 * rate**order * torch.cos(distances * rate + 0.5 * math.pi * order)
    inside = inside + 0.5 if order == 0 else inside
    return torch.where(distances < cutoff, inside, torch.zeros_like(inside))


def smooth_cutoff(distances: Tensor, cutoff: float, order: int = 0) -> Tensor:
    """1 - 28 u⁶ + 48 u⁷ - 21 u⁸ with u = d / r_c inside r_c, else 0; arguments as for `cosine_cutoff`.

    The polynomial envelope of Gasteiger et al. (2020) with p = 6: value, first and second derivative vanish at r_c, so
    forces have a continuous slope there, and short distances are left nearly untouched.
    """
    u = (distances / cutoff).clamp(max=1.0)
    if order == 0:
        return 1.0 + u.pow(6) * (-28.0 + u * (48.0 - 21.0 * u))
    power = 6 - order  # of u in the first term; only distances inside count, also where the derivative does not vanish
    terms = [factor * math.perm(6 + k, order) for k, factor in enumerate((-28.0, 48.0, -21.0))]
    inside = u.pow(power) * (terms[0] + u * (terms[1] + u * terms[2])) / cutoff**order
    return torch.where(distances < cutoff, inside, torch.zeros_like(inside))


def no_cutoff(distances: Tensor, cutoff: float, order: int = 0) -> Tensor:
    """One at every distance; ``cutoff`` is there for the common signature."""
    del cutoff
    return torch.zeros_like(distances) if order else torch.ones_like(distances)


CUTOFF_FUNCTIONS = {"cosine": cosine_cutoff, "smooth": smooth_cutoff, "none": no_cutoff}
# How many derivatives stay continuous at the cutoff; the contract suite holds models to it.
CONTINUOUS_DERIVATIVES = {"cosine": 1, "smooth": 2}
