"""How long a trajectory remembers: the integrated autocorrelation time of a series, evenly sampled or not."""

from __future__ import annotations

import numpy as np

WINDOW = 5.0  # autocorrelation times that are summed; Sokal's advice is 4 to 6
_MOST_SLOTS = 1 << 22  # of a series whose steps are very uneven


def integrated_autocorrelation(series: np.ndarray) -> float:
    """τ = 1/2 + Σ_{t ≥ 1} ρ(t) of several independent runs of the same length, in steps.

    ρ is averaged over the runs, about their common mean, so that runs stuck in different states count as correlated.
    The sum ends at the first window M ≥ 5 τ(M) (A. Sokal, Monte Carlo methods in statistical mechanics, 1997,
    section 3), or at the end of a run that is too short for it. Values 2 τ apart count as independent; white noise has
    τ = 1/2.

    Args:
        series: (runs, steps).
    """
    deviations = series - series.mean()
    length = deviations.shape[1]
    covariance = _convolved(deviations).mean(axis=0)[:length]
    if covariance[0] <= 0:
        return 0.5
    return max(_windowed(covariance / covariance[0]), 0.5)


def autocorrelation_time(values: np.ndarray, times: np.ndarray, runs: np.ndarray) -> float:
    """Integrated autocorrelation time of series sampled at any times, in the unit of the times.

    Pairs of values are sorted by their distance in time into slots as wide as the median step, and products of
    deviations averaged in each (the discrete correlation function of R. A. Edelson and J. H. Krolik, Astrophys. J.
    1988, 333, 646). The sum ends as that of `integrated_autocorrelation`, which it equals for long, evenly sampled
    series. What is shorter than half a step is not resolved: it is reported as half a step.

    Args:
        values: (n,).
        times: (n,).
        runs: (n,) which run a value belongs to; values of different runs are not compared.

    Returns:
        NaN for fewer than two different times in every run.
    """
    order = np.lexsort((times, runs))
    values, times, runs = values[order] - values.mean(), times[order], runs[order]
    steps = np.diff(times)[(np.diff(runs) == 0) & (np.diff(times) > 0)]
    variance = float(np.square(values).mean())
    if not len(steps):
        return float("nan")
    starts = np.flatnonzero(np.diff(runs, prepend=runs[0] - 1))
    ends = np.append(starts[1:], len(runs))
    longest = float((times[ends - 1] - times[starts]).max())
    width = max(float(np.median(steps)), longest / _MOST_SLOTS)
    if variance <= 0:
        return 0.5 * width
    products, pairs = np.zeros(int(longest / width) + 2), np.zeros(int(longest / width) + 2)
    for start, end in zip(starts, ends, strict=True):
        slot = np.rint((times[start:end] - times[start]) / width).astype(np.int64)
        sums = np.bincount(slot, weights=values[start:end])
        counts = np.bincount(slot).astype(float)
        found, filled = _convolved(sums[None])[0][: len(sums)], _convolved(counts[None])[0][: len(sums)]
        found[0] -= np.square(values[start:end]).sum()  # a value is no pair with itself
        filled[0] -= end - start
        products[: len(found)] += found
        pairs[: len(found)] += np.rint(filled)
    rho = np.divide(products, pairs, out=np.zeros_like(products), where=pairs > 0) / variance
    if pairs[0] <= 0:
        rho[0] = 1.0
    return float(max(_windowed(rho) + 0.5 * (rho[0] - 1.0), 0.5) * width)


def _convolved(rows: np.ndarray) -> np.ndarray:
    """Σ_k x_k x_{k+t} of each row for every t; padding with zeros keeps the end of a run from meeting its beginning."""
    length = rows.shape[1]
    spectrum = np.fft.rfft(rows, 2 * length, axis=1)
    return np.asarray(np.fft.irfft(np.abs(spectrum) ** 2, 2 * length, axis=1))


def _windowed(rho: np.ndarray) -> float:
    """1/2 + Σ_{1 ≤ t ≤ M} ρ(t) up to the first window M ≥ 5 τ(M)."""
    times = np.cumsum(rho) - rho[0] + 0.5
    closed = np.flatnonzero(np.arange(len(rho)) >= WINDOW * times)
    return float(times[closed[0] if len(closed) else -1])
