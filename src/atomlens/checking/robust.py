"""Estimates that a few wrong rows cannot move."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_TUKEY = 4.685  # Tukey's bisquare with 95 % efficiency for normal errors
_NORMAL = 1.4826  # standard deviations in a median absolute deviation of normal errors
_ROUNDS = 30


@dataclass(frozen=True)
class Line:
    """A line through the origin, y = slope x."""

    slope: float
    error: float  # standard error of the slope, from the residuals as they are
    correlation: float  # weighted as in the fit, about zero


def line_through_origin(x: np.ndarray, y: np.ndarray, spread: np.ndarray) -> Line:
    """The slope of y against x by Tukey's bisquare; ``spread`` is the relative size of the errors expected of y."""
    start = weighted_median(y / np.where(x == 0.0, 1.0, x), np.where(x == 0.0, 0.0, np.abs(x) / spread))
    slopes, errors, weights = bisquare(x[:, None], y, spread, np.array([start]))
    square_x, square_y = float((weights * x * x).sum()), float((weights * y * y).sum())
    correlation = float((weights * x * y).sum() / np.sqrt(square_x * square_y)) if square_x * square_y > 0 else 0.0
    return Line(float(slopes[0]), float(errors[0]), correlation)


def plane_through_origin(columns: np.ndarray, y: np.ndarray, spread: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients of y in several columns by Tukey's bisquare, begun at the least absolute deviations; their errors.

    Args:
        columns: (rows, columns).
        y: (rows,).
        spread: (rows,) relative size of the errors expected of y.
    """
    scaled, aim = columns / spread[:, None], y / spread
    found = np.zeros(columns.shape[1])
    for _ in range(_ROUNDS):
        off = np.abs(aim - scaled @ found)
        weights = 1.0 / np.sqrt(np.maximum(off, 1e-3 * np.median(off) + 1e-30))
        found = np.linalg.lstsq(scaled * weights[:, None], aim * weights, rcond=None)[0]
    found, errors, _ = bisquare(columns, y, spread, found)
    return found, errors


def bisquare(
    columns: np.ndarray, y: np.ndarray, spread: np.ndarray, start: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coefficients, their standard errors and the final weights of the rows.

    The errors are the sandwich estimate (White, Econometrica 48, 817, 1980): those of y may differ between the rows in
    ways that ``spread`` misses.
    """
    found, weights, limit = start, 1.0 / spread**2, 0.0
    for _ in range(_ROUNDS):
        scaled = (y - columns @ found) / spread
        limit = _TUKEY * _NORMAL * float(np.median(np.abs(scaled)))
        if limit <= 0.0:
            break
        weights = np.clip(1.0 - (scaled / limit) ** 2, 0.0, None) ** 2 / spread**2
        root = np.sqrt(weights)
        found = np.linalg.lstsq(columns * root[:, None], y * root, rcond=None)[0]
    # Of the loss' second derivative, so that rows whose weight is about to vanish count for what they hide.
    curvature = weights
    if limit > 0.0:
        far = ((y - columns @ found) / spread / limit) ** 2
        curvature = np.where(far < 1.0, (1.0 - far) * (1.0 - 5.0 * far), 0.0) / spread**2
    bread = np.linalg.pinv((columns * curvature[:, None]).T @ columns)
    meat = columns * (weights * (y - columns @ found))[:, None]
    return found, np.sqrt(np.diag(bread @ (meat.T @ meat) @ bread)), weights


def weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    """The value below which half of the weight lies."""
    order = np.argsort(values)
    below = np.cumsum(weights[order])
    return float(values[order[min(int(np.searchsorted(below, 0.5 * below[-1])), len(order) - 1)]])


def spread(values: np.ndarray) -> float:
    """The standard deviation of normal values, from the median of their sizes; of residuals, about zero."""
    return _NORMAL * float(np.median(np.abs(values))) if len(values) else 0.0


def running_spread(size: np.ndarray, by: np.ndarray, window: int = 101) -> np.ndarray:
    """The spread of residuals of this ``size`` among those whose ``by`` is nearest, for every one of them."""
    order = np.argsort(by, kind="stable")
    half = min(window, len(size)) // 2
    padded = np.pad(size[order], half, mode="reflect") if half else size[order]
    found = np.empty(len(size))
    found[order] = _NORMAL * np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1), axis=1)
    return found


def rank_correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's correlation: of labels that belong to other rows it is 0 within 1 / sqrt(rows - 1)."""
    if len(x) < 3:
        return 0.0
    first, second = (np.argsort(np.argsort(values, kind="stable"), kind="stable").astype(float) for values in (x, y))
    return float(np.corrcoef(first, second)[0, 1])
