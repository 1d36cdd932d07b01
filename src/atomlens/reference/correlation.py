"""Whether frames of a sampled trajectory are independent of each other."""

from __future__ import annotations

from typing import Any

from atomlens.data.correlation import integrated_autocorrelation

__all__ = ["integrated_autocorrelation", "judge_interval"]


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
