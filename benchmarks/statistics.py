"""From times of rounds to medians and spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Spread:
    """Median and quartiles."""

    median: float
    lower: float
    upper: float

    @classmethod
    def of(cls, values: Sequence[float] | np.ndarray) -> Spread:
        """Of at least one value."""
        lower, median, upper = np.quantile(np.asarray(values, dtype=np.float64), [0.25, 0.5, 0.75]).tolist()
        return cls(median, lower, upper)


def ratios(times: Mapping[str, Sequence[float]], baseline: str) -> dict[str, Spread]:
    """How many times faster than ``baseline`` each one is round by round (one time per round), and its spread."""
    if baseline not in times:
        return {}
    first = np.asarray(times[baseline])
    return {name: Spread.of(first / np.asarray(values)) for name, values in times.items() if name != baseline}


def order_of_round(names: Sequence[str], number: int) -> list[str]:
    """Who runs when: each round begins with the next one, so that no one always follows the same one's caches."""
    turn = number % len(names)
    rotated = [*names[turn:], *names[:turn]]
    return rotated if number % 2 == 0 else rotated[::-1]


def steps_per_turn(seconds: float, turn_seconds: float, most: int = 200) -> int:
    """How many steps of ``seconds`` fill a turn, one at least."""
    return int(np.clip(np.ceil(turn_seconds / max(seconds, 1e-9)), 1, most))


def slope(sizes: Sequence[float], times: Sequence[float]) -> float:
    """The exponent p of time ∝ sizeᵖ, by least squares in logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])


def deviation(found: np.ndarray, reference: np.ndarray) -> float:
    """The largest difference."""
    return float(np.abs(found - reference).max())


def rms(values: np.ndarray) -> float:
    """Root of the mean square."""
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))
