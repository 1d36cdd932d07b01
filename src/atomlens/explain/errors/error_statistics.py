"""Statistics of errors: averages with bootstrap intervals, by size, and by element (thesis fig. 3.4 and 3.6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from atomlens.data.system import symbol

_NUMBERS_AT_ONCE = 2_000_000  # that a bootstrap draws
_MANY = 20_000  # structures, of which fewer samples tell as much
MOST_SIZES = 30  # that are shown one by one


@dataclass(frozen=True)
class ErrorSummary:
    """Averages of errors, in the unit of the errors; intervals hold 95 % of bootstrap samples."""

    count: int
    mae: float
    rmse: float
    median: float  # of magnitudes
    p95: float  # 95 % of magnitudes are smaller
    largest: float
    mean: float | None  # of signed errors; None for vectors and tensors
    worst_share: float  # of the sum of squares, that the worst hundredth of structures makes
    intervals: Mapping[str, tuple[float, float]]  # of mae, rmse, median and p95

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return vars(self) | {"intervals": {name: list(ends) for name, ends in self.intervals.items()}}


@dataclass(frozen=True)
class SizeBins:
    """Mean errors of structures of like size."""

    low: np.ndarray  # (bins,) smallest number of atoms
    high: np.ndarray  # (bins,) largest
    count: np.ndarray  # (bins,) structures
    mean: np.ndarray  # (bins,) of magnitudes
    standard_error: np.ndarray  # (bins,) of the mean; NaN of one structure

    @property
    def names(self) -> list[str]:
        """Such as ``12`` or ``12-15``."""
        pairs = zip(self.low.tolist(), self.high.tolist(), strict=True)
        return [f"{low}" if low == high else f"{low}-{high}" for low, high in pairs]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {name: plain(values) for name, values in vars(self).items()}


@dataclass(frozen=True)
class ElementErrors:
    """Errors of structures with an element, and what each of its atoms adds to the error to be expected.

    The last two come from a straight-line fit of magnitudes to compositions, |error| = a + Σ_Z b_Z n_Z, with standard
    errors that allow for unequal spread; NaN where the compositions cannot tell elements apart.
    """

    numbers: np.ndarray  # (elements,) atomic numbers
    count: np.ndarray  # (elements,) structures that contain it
    mean: np.ndarray  # (elements,) magnitude of their errors
    standard_error: np.ndarray  # (elements,)
    mean_without: np.ndarray  # (elements,) of the other structures; NaN where there are none
    per_atom: np.ndarray  # (elements,) b_Z
    per_atom_error: np.ndarray  # (elements,) its standard error

    @property
    def symbols(self) -> list[str]:
        """Of the elements."""
        return [symbol(int(number)) for number in self.numbers]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"symbols": self.symbols} | {name: plain(values) for name, values in vars(self).items()}


def plain(values: np.ndarray) -> list[float | int | None]:
    """Numbers for JSON; None where they are not finite."""
    return [value if np.isfinite(value) else None for value in values.tolist()]


def summarise(errors: np.ndarray, *, signed: bool, seed: int = 0) -> ErrorSummary:
    """Averages of errors (structures,), signed or magnitudes."""
    magnitudes = np.abs(errors)
    squares = np.sort(np.square(magnitudes))[::-1]
    worst = max(len(squares) // 100, 1)
    total = float(squares.sum())
    return ErrorSummary(
        count=len(errors),
        mae=float(magnitudes.mean()),
        rmse=float(np.sqrt(squares.mean())),
        median=float(np.median(magnitudes)),
        p95=float(np.quantile(magnitudes, 0.95)),
        largest=float(magnitudes.max()),
        mean=float(errors.mean()) if signed else None,
        worst_share=float(squares[:worst].sum()) / total if total else 0.0,
        intervals=bootstrap_intervals(magnitudes, seed),
    )


def bootstrap_intervals(magnitudes: np.ndarray, seed: int = 0) -> dict[str, tuple[float, float]]:
    """Between the 2.5 % and 97.5 % quantiles of what samples drawn with replacement give (Efron 1979).

    Args:
        magnitudes: (structures,) of errors.
        seed: of the draws.
    """
    count, rng = len(magnitudes), np.random.default_rng(seed)
    samples = 1000 if count <= 2000 else 400 if count <= _MANY else 100
    at_once = max(_NUMBERS_AT_ONCE // count, 1)
    found: list[np.ndarray] = []
    for start in range(0, samples, at_once):
        drawn = magnitudes[rng.integers(0, count, (min(at_once, samples - start), count))]
        middle, high = np.quantile(drawn, [0.5, 0.95], axis=1)
        found.append(np.stack([drawn.mean(axis=1), np.sqrt(np.square(drawn).mean(axis=1)), middle, high]))
    low, high = np.quantile(np.concatenate(found, axis=1), [0.025, 0.975], axis=1)
    names = ("mae", "rmse", "median", "p95")
    return {name: (float(a), float(b)) for name, a, b in zip(names, low, high, strict=True)}


def errors_by_size(magnitudes: np.ndarray, sizes: np.ndarray, most: int = MOST_SIZES) -> SizeBins:
    """Mean magnitudes by the number of atoms; beyond ``most`` different sizes, of neighbouring sizes together.

    Args:
        magnitudes: (structures,) of errors.
        sizes: (structures,) numbers of atoms.
        most: bins.
    """
    different, place, times = np.unique(sizes, return_inverse=True, return_counts=True)
    if len(different) > most:  # shares of like numbers of structures
        before = np.cumsum(times) - times
        group = np.unique(before * most // len(sizes), return_inverse=True)[1]
    else:
        group = np.arange(len(different))
    of_structure = group[place]
    count = np.bincount(of_structure)
    mean = np.bincount(of_structure, magnitudes) / count
    squares = np.bincount(of_structure, np.square(magnitudes - mean[of_structure]))
    starts = np.searchsorted(group, np.arange(len(count)))
    ends = np.searchsorted(group, np.arange(len(count)), side="right") - 1
    return SizeBins(different[starts], different[ends], count, mean, _standard_error(squares, count))


def errors_by_element(magnitudes: np.ndarray, counts: np.ndarray, numbers: np.ndarray) -> ElementErrors:
    """Mean magnitudes of structures with each element, and the fit to compositions.

    Args:
        magnitudes: (structures,) of errors.
        counts: (structures, elements) atoms of each element.
        numbers: (elements,) atomic numbers.
    """
    with_it = counts > 0
    times = with_it.sum(axis=0)
    mean = (magnitudes @ with_it) / times
    squares = np.square(magnitudes) @ with_it - times * np.square(mean)
    others = len(magnitudes) - times
    without = np.where(others > 0, (magnitudes.sum() - magnitudes @ with_it) / np.maximum(others, 1), np.nan)
    slopes, deviations = _composition_fit(magnitudes, counts)
    spread = _standard_error(np.maximum(squares, 0.0), times)
    return ElementErrors(numbers, times, mean, spread, without, slopes, deviations)


def _standard_error(squares: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Of means, from sums of squared deviations; NaN of one value."""
    several = np.maximum(count, 2)
    return np.asarray(np.where(count > 1, np.sqrt(squares / (several - 1) / several), np.nan))


def _composition_fit(magnitudes: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """b_Z of a least-squares fit a + Σ b_Z n_Z with White's standard errors (1980, HC1), both (elements,)."""
    rows, elements = counts.shape
    design = np.column_stack([np.ones(rows), counts])
    if rows <= elements + 1 or np.linalg.matrix_rank(design) <= elements:
        return np.full(elements, np.nan), np.full(elements, np.nan)
    inverse = np.linalg.inv(design.T @ design)
    slopes = inverse @ (design.T @ magnitudes)
    left = design * (magnitudes - design @ slopes)[:, None]
    covariance = inverse @ (left.T @ left) @ inverse * rows / (rows - elements - 1)
    return slopes[1:], np.sqrt(np.diag(covariance))[1:]
