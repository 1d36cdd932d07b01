"""How long a trajectory remembers: the integrated autocorrelation time of a series."""

from __future__ import annotations

from typing import Any

import numpy as np

WINDOW = 5.0  # autocorrelation times that are summed; Sokal's advice is 4 to 6


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
    # Padding with zeros keeps the end of a run from meeting its beginning.
    spectrum = np.fft.rfft(deviations, 2 * length, axis=1)
    covariance = np.fft.irfft(np.abs(spectrum) ** 2, 2 * length, axis=1)[:, :length].mean(axis=0)
    if covariance[0] <= 0:
        return 0.5
    times = np.cumsum(covariance / covariance[0]) - 0.5
    closed = np.flatnonzero(np.arange(length) >= WINDOW * times)
    return max(float(times[closed[0] if len(closed) else -1]), 0.5)


def judge_interval(tau: float, interval: float) -> dict[str, Any]:
    """Metadata that say whether frames ``interval`` fs apart are independent, by the energy's ``tau`` in fs."""
    independent = interval >= 2 * tau
    verdict = "are independent" if independent else f"count as {interval / (2 * tau):.0%} as many independent ones"
    return {
        "energy_autocorrelation_fs": tau,
        "decorrelated": independent,
        "decorrelation": (
            f"By the potential energy (autocorrelation time {tau:.0f} fs), frames {interval:g} fs apart {verdict}; "
            "slower motion, such as changes of conformer, is not judged by it."
        ),
    }
