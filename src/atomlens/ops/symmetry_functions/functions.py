"""Which symmetry functions: their parameters, and the published recipes that give them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

Gaussian = tuple[float, float]  # η in Å⁻², μ in Å


@dataclass(frozen=True)
class FunctionSet:
    """Parameters of radial and angular functions; every Gaussian of an angular function comes with every angle.

    ``n_channels`` are the kinds of neighbours that are told apart: elements, or one for weighted functions. Features
    are ordered by channel and radial Gaussian, then by unordered pair of channels (0 0, 0 1, …, 1 1, …), Gaussian and
    angle.
    """

    cutoff: float  # Å
    fade: str  # the cutoff function's name in `ops.radial.CUTOFF_FUNCTIONS`
    radial: tuple[Gaussian, ...]
    gaussians: tuple[Gaussian, ...]  # of the angular functions
    angles: tuple[tuple[int, float], ...]  # (ζ, λ) of 2^{1-ζ} (1 + λ cos θ)^ζ; ζ is an integer ≥ 1
    n_channels: int

    @property
    def n_pairs_of_channels(self) -> int:
        """Number of unordered pairs of channels, equal ones included."""
        return self.n_channels * (self.n_channels + 1) // 2

    @property
    def n_radial(self) -> int:
        """Number of radial features."""
        return self.n_channels * len(self.radial)

    @property
    def n_angular(self) -> int:
        """Number of angular features."""
        return self.n_pairs_of_channels * len(self.gaussians) * len(self.angles)

    @property
    def n_features(self) -> int:
        """Number of features."""
        return self.n_radial + self.n_angular

    @cached_property
    def tables(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Radial Gaussians, angular ones and angles as contiguous arrays (n, 2) of float64, for kernels."""
        parts = (self.radial, self.gaussians, self.angles)
        first, second, third = (np.array(part, dtype=np.float64).reshape(-1, 2) for part in parts)
        return first, second, third

    @cached_property
    def pair_of_channels(self) -> np.ndarray:
        """Place of the unordered pair of two channels, (channels, channels) int64."""
        first, second = np.triu_indices(self.n_channels)
        place = np.empty((self.n_channels, self.n_channels), np.int64)
        place[first, second] = place[second, first] = np.arange(len(first))
        return place


def shifted_grid(count: int, start: float, end: float) -> tuple[Gaussian, ...]:
    """Gaussians centred at ``count`` equidistant distances r_m from ``start`` to ``end`` Å, η = 1 / (2 Δr²).

    The 'shifted' recipe of Gastegger et al., J. Chem. Phys. 148, 241709 (2018): neighbours overlap at one standard
    deviation. A single function has the width of the whole interval.
    """
    if count == 0:
        return ()
    spacing = (end - start) / max(count - 1, 1)
    return tuple((0.5 / spacing**2, r) for r in _grid(count, start, end))


def centred_grid(count: int, start: float, end: float) -> tuple[Gaussian, ...]:
    """Gaussians centred at the atom, η_m = 1 / (2 r_m²) with r_m as for `shifted_grid` (the 'centred' recipe there)."""
    return tuple((0.5 / r**2, 0.0) for r in _grid(count, start, end))


def _grid(count: int, start: float, end: float) -> Sequence[float]:
    return [float(r) for r in np.linspace(start, end, count)] if count > 1 else [end] * count
