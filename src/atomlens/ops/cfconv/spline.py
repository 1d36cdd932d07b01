"""Uniform cubic B-splines: functions of one distance as tables that are linear in their knot values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import scipy.linalg
import torch
from torch import Tensor

from atomlens.ops.radial import CUTOFF_FUNCTIONS

# Knots beyond either end, where the function is sampled as well: the error of a spline's free end falls by
# 2 - √3 = 0.268 from knot to knot, so ten of them take it from 1e-5 of the function's range to 1e-11.
GHOSTS = 10


@dataclass(frozen=True)
class SplineGrid:
    """Knots a uniform distance apart over [0, end], with `GHOSTS` more on either side.

    Args:
        end: in Å.
        intervals: how many the range [0, end] is cut into.
        fade: the cutoff function that multiplies what the table holds, one of `ops.radial.CUTOFF_FUNCTIONS`, with its
            cutoff at the end; 'none': beyond the end the function stays at its last value.
    """

    end: float
    intervals: int
    fade: str = "none"

    @property
    def spacing(self) -> float:
        """Distance between knots in Å."""
        return self.end / self.intervals

    @property
    def n_samples(self) -> int:
        """Number of knots."""
        return self.intervals + 1 + 2 * GHOSTS

    @cached_property
    def samples(self) -> Tensor:
        """(samples,) float64 distances of the knots in Å; those of the ghosts are negative or beyond the end."""
        return self.spacing * torch.arange(-GHOSTS, self.intervals + 1 + GHOSTS, dtype=torch.float64)

    def locate(self, distances: Tensor) -> tuple[Tensor, Tensor]:
        """The interval of each distance and where in it.

        Args:
            distances: (pairs,) in Å.

        Returns:
            place (pairs,) int32, the first of the four coefficients that count; fraction (pairs,) in [0, 1], NaN for a
            distance that is NaN.
        """
        # Beyond the end of a function that stays, the place of the end itself.
        steps = (distances.detach() * (1.0 / self.spacing)).clamp(max=float(self.intervals)) + GHOSTS
        place = steps.nan_to_num(0.0).floor().clamp(0, self.n_samples - 2)
        return place.to(torch.int32), steps - place

    def weights(self, distances: Tensor, fraction: Tensor, order: int, dtype: torch.dtype) -> Tensor:
        """What the four coefficients weigh in the n-th derivative by distance: (pairs, 4), Å⁻ⁿ.

        (f b_m)⁽ⁿ⁾ = Σ_k (n over k) f⁽ᵏ⁾ b_m⁽ⁿ⁻ᵏ⁾ with the cutoff function f: fading costs nothing per feature, and
        is exact, also at the cutoff.
        """
        distances = distances.detach()
        if self.fade == "none":
            weights = torch.stack(basis(fraction, order), dim=1) * self.spacing**-order
            # Constant beyond the end.
            weights = weights.masked_fill((distances > self.end)[:, None], 0.0) if order else weights
            return weights.to(dtype)
        fade = CUTOFF_FUNCTIONS[self.fade]
        weights = torch.zeros(distances.shape[0], 4, dtype=distances.dtype, device=distances.device)
        for k in range(order + 1):
            part = torch.stack(basis(fraction, order - k), dim=1)
            factor = math.comb(order, k) * self.spacing ** (k - order)
            weights.addcmul_(part, fade(distances, self.end, k)[:, None], value=factor)
        return weights.to(dtype)


def basis(u: Tensor, order: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The n-th derivatives by u of the four cubic B-splines that are not zero on an interval, u from 0 to 1."""
    if order == 0:
        v = 1.0 - u
        return (
            v * v * v / 6.0,
            (u * u * (3.0 * u - 6.0) + 4.0) / 6.0,
            (v * v * (3.0 * v - 6.0) + 4.0) / 6.0,
            u * u * u / 6.0,
        )
    if order == 1:
        v = 1.0 - u
        return -0.5 * v * v, 0.5 * u * (3.0 * u - 4.0), -0.5 * v * (3.0 * v - 4.0), 0.5 * u * u
    if order == 2:
        return 1.0 - u, 3.0 * u - 2.0, 1.0 - 3.0 * u, u + 0.0
    one = torch.ones_like(u) + 0.0 * u  # NaN stays NaN
    return (-one, 3.0 * one, -3.0 * one, one) if order == 3 else (0.0 * u, 0.0 * u, 0.0 * u, 0.0 * u)


@lru_cache(maxsize=8)
def interpolation_matrix(samples: int) -> np.ndarray:
    """(samples + 2, samples) the coefficients of the spline through knot values, with free ends (zero curvature)."""
    inner = samples - 2
    bands = np.zeros((2, inner))
    bands[0, 1:], bands[1] = 1.0, 4.0
    right = np.zeros((inner, samples))
    right[np.arange(inner), np.arange(1, samples - 1)] = 6.0
    right[0, 0] -= 1.0
    right[-1, -1] -= 1.0
    matrix = np.zeros((samples + 2, samples))
    matrix[2:-2] = scipy.linalg.solveh_banded(bands, right)
    matrix[1, 0] = matrix[-2, -1] = 1.0
    matrix[0] = 2.0 * matrix[1] - matrix[2]
    matrix[-1] = 2.0 * matrix[-2] - matrix[-3]
    return matrix
