"""Spectra for the eye: lines of finite width; and how far one set of frequencies is from another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from atomlens.errors import InputError

WIDTH = 10.0  # cm⁻¹, full width at half maximum: about that of bands of small molecules at room temperature
_MOST_POINTS = 20_000


@dataclass(frozen=True)
class Comparison:
    """Frequencies of one Hessian beside those of another, both in rising order (thesis figure 5.5)."""

    reference: np.ndarray  # (modes,) cm⁻¹
    own: np.ndarray  # (modes,) cm⁻¹

    @property
    def relative(self) -> np.ndarray:
        """(own - reference) / |reference|, (modes,)."""
        return (self.own - self.reference) / np.maximum(np.abs(self.reference), np.finfo(float).tiny)

    @property
    def worst(self) -> int:
        """The place of the largest relative difference."""
        return int(np.abs(self.relative).argmax())

    @property
    def largest(self) -> float:
        """The size of the largest relative difference."""
        return float(np.abs(self.relative).max())

    @property
    def mean(self) -> float:
        """Mean absolute difference in cm⁻¹."""
        return float(np.abs(self.own - self.reference).mean())


def compared(reference: np.ndarray, own: np.ndarray) -> Comparison:
    """Set frequencies (modes,) in cm⁻¹ beside a reference's, by their order.

    Raises:
        InputError: they are not as many, or there are none.
    """
    if np.shape(reference) != np.shape(own) or np.ndim(own) != 1 or not len(own):
        raise InputError(
            f"{np.size(own)} frequencies cannot be set beside {np.size(reference)}; compare those of one molecule"
        )
    return Comparison(np.sort(np.asarray(reference, dtype=float)), np.sort(np.asarray(own, dtype=float)))


def broadened(
    frequencies: np.ndarray, intensities: np.ndarray, *, width: float = WIDTH, points: int = 2000
) -> tuple[np.ndarray, np.ndarray]:
    """A sum of Lorentzians, each with the area of its line; imaginary frequencies are left out.

    Args:
        frequencies: (modes,) cm⁻¹.
        intensities: (modes,) areas, such as km/mol; ones for a density of vibrations.
        width: full width at half maximum, cm⁻¹.
        points: at least so many; more where a width would have less than ten.

    Returns:
        Wavenumbers (points,) from 0 to ten widths or more beyond the last line, and the curve (points,), area per cm⁻¹.

    Raises:
        InputError: a width that is not positive.
    """
    if not 0.0 < width < np.inf:
        raise InputError(f"lines need a width above 0 cm⁻¹, not {width:g}; choose one such as {WIDTH:g}")
    kept = frequencies > 0
    last = float(frequencies[kept].max()) if kept.any() else 0.0
    end = max(last + 10.0 * width, 1.04 * last)
    grid = np.linspace(0.0, end, min(max(points, int(10.0 * end / width)), _MOST_POINTS))
    curve = np.zeros_like(grid)
    for centre, area in zip(frequencies[kept], np.asarray(intensities)[kept], strict=True):
        curve += area * (0.5 * width / np.pi) / ((grid - centre) ** 2 + (0.5 * width) ** 2)
    return grid, curve
