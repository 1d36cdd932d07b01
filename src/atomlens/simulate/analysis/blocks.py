"""Means of correlated samples with honest error bars: block averaging with an automatic plateau.

Blocks: H. Flyvbjerg and H. G. Petersen, J. Chem. Phys. 91, 461 (1989). Plateau: the shortest block of B frames with
B³ > 2 N n², where N frames of all runs have the statistical inefficiency n = (error at B / error at 1)² (R. M. Lee et
al., Phys. Rev. E 83, 066706 (2011)): there the bias of short blocks and the noise of few blocks weigh the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from atomlens.errors import InputError

FEWEST_BLOCKS = 8  # with which the error bar itself is known to a quarter
_PLATEAU_TIMES = 64  # correlation times that the rule needs to find eight blocks
_BEYOND_CHANCE = 1e-3  # below, runs differ by more than their own fluctuations explain
_PIECES = 5  # of a run, whose slopes say how far that of the whole can be trusted


@dataclass(frozen=True)
class Average:
    """Means over frames and runs, each with its standard error; arrays of one shape, () for a single quantity."""

    mean: np.ndarray
    error: np.ndarray  # one standard deviation of the mean; NaN where there are too few samples for any bar
    inefficiency: np.ndarray  # frames that weigh as much as one independent frame
    block: np.ndarray  # frames, the length of the blocks that were taken
    degrees: np.ndarray  # of freedom of the error bar: blocks, less one
    lower_bound: np.ndarray  # bool: no plateau, the true error may be larger
    runs_differ: np.ndarray  # bool: runs lie further apart than their own fluctuations explain
    frames: int  # of each run
    runs: int
    interval: float  # fs between frames; 0 where there is no time

    @property
    def correlation_time(self) -> np.ndarray:
        """Integrated correlation time in fs: half the inefficiency, times the interval."""
        return 0.5 * self.inefficiency * self.interval

    @property
    def plateau(self) -> bool:
        """Whether every error bar stands on a plateau."""
        return not bool(np.any(self.lower_bound))

    @property
    def caution(self) -> str:
        """What to know of the bars, in one clause; empty where they are sound."""
        if np.isnan(self.error).any():
            return (
                f"{self.frames * self.runs} frames are too few for an error bar (at least {FEWEST_BLOCKS} are needed)"
            )
        if not self.plateau:
            return (
                f"the run is shorter than some {_PLATEAU_TIMES} correlation times of what it shows; "
                "error bars are lower bounds"
            )
        if np.any(self.runs_differ):
            return (
                "independent runs differ by more than their own fluctuations explain; bars are taken from that spread"
            )
        return ""

    def to_dict(self) -> dict[str, Any]:
        """For JSON: numbers or nested lists; what is not finite becomes None."""
        found: dict[str, Any] = {
            name: plain(getattr(self, name))
            for name in ("mean", "error", "inefficiency", "block", "lower_bound", "runs_differ")
        }
        if self.interval:
            found["correlation_time_fs"] = plain(self.correlation_time)
        return {**found, "frames": self.frames, "runs": self.runs}


@dataclass(frozen=True)
class BlockCurve:
    """The error of a mean against the length of the blocks: it rises to a plateau (Flyvbjerg and Petersen, fig. 2)."""

    lengths: np.ndarray  # (levels,) frames
    errors: np.ndarray  # (levels, ...) standard error of the mean
    uncertainties: np.ndarray  # (levels, ...) of these errors
    blocks: np.ndarray  # (levels,) how many there are

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {name: plain(value) for name, value in vars(self).items()}


def block_average(
    values: np.ndarray, interval: float = 0.0, *, block: int = 1, variance: np.ndarray | None = None
) -> Average:
    """Mean over frames and independent runs, with the error of block averaging.

    Blocks of all runs are taken together. From eight runs on, the spread of the runs' means serves where no plateau
    is found; at any number it serves where runs differ by more than chance allows (F test, one in a thousand).

    Args:
        values: (frames, runs, ...); beads of a path are no independent runs: average over them first.
        interval: fs between frames.
        block: how many frames each of `values` is a mean of already.
        variance: (...) of single frames, where `block` is not 1.

    Returns:
        Mean and error of every entry of the shape (...).

    Raises:
        InputError: there are no frames, or a value is not finite.
    """
    values = np.asarray(values, dtype=float)
    if values.ndim < 2 or 0 in values.shape[:2]:
        raise InputError("there are no frames to average; run longer")
    if not np.isfinite(values).all():
        raise InputError("a quantity along the run is not a finite number; find the frame where the run broke")
    frames, runs = values.shape[0] * block, values.shape[1]
    mean, total = values.mean(axis=(0, 1)), frames * runs
    shape = mean.shape
    if values.shape[0] * runs < FEWEST_BLOCKS:
        no, nan = np.ones(shape, dtype=bool), np.full(shape, np.nan)
        return Average(mean, nan, nan, np.full(shape, block), np.zeros(shape), no, ~no, frames, runs, interval)
    curve = block_curve(values, block=block)
    single = np.square(curve.errors[0]) if variance is None else np.asarray(variance) / total
    chosen, found = _plateau(curve, single, total)
    rows = np.where(found, chosen, len(curve.lengths) - 1 if runs >= FEWEST_BLOCKS else curve.errors.argmax(axis=0))
    error = np.take_along_axis(curve.errors, rows[None], axis=0)[0]
    length, degrees = curve.lengths[rows], curve.blocks[rows] - 1.0
    between, differ = _between(values)
    error = np.where(differ, np.maximum(between, error), error)
    degrees, length = np.where(differ, runs - 1.0, degrees), np.where(differ, frames, length)
    inefficiency = np.where(single > 0, np.square(error) / np.where(single > 0, single, 1.0), 1.0)
    lower = ~found & (runs < FEWEST_BLOCKS) & ~differ
    return Average(mean, error, inefficiency, length, degrees, lower, differ, frames, runs, interval)


def block_curve(values: np.ndarray, *, block: int = 1) -> BlockCurve:
    """Standard error of the mean by blocks of 1, 2, 4, ... frames, down to eight blocks; see `block_average`.

    Args:
        values: (frames, runs, ...), with eight values or more in all.
        block: how many frames each of `values` is a mean of already.
    """
    runs, total = values.shape[1], values.shape[0] * values.shape[1]
    levels, length, data = [], 1, np.asarray(values, dtype=float)
    while len(data) * runs >= FEWEST_BLOCKS:
        levels.append((length, len(data) * runs, data.var(axis=(0, 1), ddof=1)))
        if len(data) < 2:
            break
        data = data[len(data) % 2 :]  # what is left over lies at the beginning
        data, length = 0.5 * (data[0::2] + data[1::2]), 2 * length
    if runs >= FEWEST_BLOCKS and levels[-1][0] != len(values):
        levels.append((len(values), runs, values.mean(axis=0).var(axis=0, ddof=1)))
    lengths, blocks = np.array([level[0] for level in levels]), np.array([level[1] for level in levels])
    errors = np.stack([np.sqrt(level[2] * level[0] / total) for level in levels])
    spread = np.sqrt(0.5 / np.maximum(blocks - 1, 1)).reshape(-1, *[1] * (errors.ndim - 1))
    return BlockCurve(block * lengths, errors, errors * spread, blocks)


def _plateau(curve: BlockCurve, single: np.ndarray, total: int) -> tuple[np.ndarray, np.ndarray]:
    """The first level (...) at which blocks are long enough by the rule, and whether there is one."""
    ratio = np.square(curve.errors) / np.where(single > 0, single, 1.0)
    lengths = curve.lengths.reshape(-1, *[1] * (curve.errors.ndim - 1)).astype(float)
    enough = lengths**3 > 2.0 * total * np.square(np.where(single > 0, ratio, 1.0))
    return enough.argmax(axis=0), np.asarray(enough.any(axis=0))


def _between(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The error by the spread of the runs' means, and whether blocks within runs vary too little to explain it."""
    times, runs = values.shape[:2]
    shape = values.shape[2:]
    if runs < 2 or times < 4:
        return np.zeros(shape), np.zeros(shape, dtype=bool)
    means = values.mean(axis=0)
    between = means.std(axis=0, ddof=1) / np.sqrt(runs)
    curve = block_curve(values - means)
    levels = max(1, int((curve.blocks >= max(2 * runs, FEWEST_BLOCKS)).sum()))
    curve = BlockCurve(
        curve.lengths[:levels], curve.errors[:levels], curve.uncertainties[:levels], curve.blocks[:levels]
    )
    chosen, found = _plateau(curve, np.square(curve.errors[0]), times * runs)
    rows = np.where(found, chosen, curve.errors.argmax(axis=0))
    degrees = (curve.blocks - runs)[rows]
    within = np.square(np.take_along_axis(curve.errors, rows[None], axis=0)[0]) * (curve.blocks[rows] - 1) / degrees
    return between, np.asarray(np.square(between) > stats.f.isf(_BEYOND_CHANCE, runs - 1, degrees) * within)


def spread_average(values: np.ndarray, axis: int = 0, inefficiency: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard error of samples that are independent but for a known statistical inefficiency."""
    error = values.std(axis=axis, ddof=1) * np.sqrt(inefficiency / values.shape[axis])
    return values.mean(axis=axis), error


def plain(values: Any) -> Any:
    """Arrays as nested lists and numbers for JSON; None for what is not finite."""
    if isinstance(values, np.ndarray):
        return plain(values.tolist())
    if isinstance(values, list):
        return [plain(value) for value in values]
    if isinstance(values, np.generic):
        return plain(values.item())
    return None if isinstance(values, float) and not np.isfinite(values) else values


def per_run(values: np.ndarray, beads: int) -> np.ndarray:
    """(frames, copies, ...) as (frames, runs, ...): the beads of a path are no samples apart, so they are averaged."""
    if beads == 1:
        return values
    return np.asarray(values.reshape(len(values), -1, beads, *values.shape[2:]).mean(axis=2))


def slope(times: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """Slope by least squares, and its standard error from those of five pieces.

    What a thermostat's work is subtracted from wanders as a diffusing particle does, so that slopes of pieces spread √5
    times as much as that of the whole.

    Args:
        times: (samples,).
        values: (samples,).

    Returns:
        NaN for both with fewer than three samples; an infinite error with fewer than fifteen.
    """
    if len(times) < 3:
        return float("nan"), float("nan")
    whole = float(np.polyfit(times - times[0], values - values[0], 1)[0])
    if len(times) < 3 * _PIECES:
        return whole, float("inf")
    pieces = zip(np.array_split(times, _PIECES), np.array_split(values, _PIECES), strict=True)
    slopes = [np.polyfit(when - when[0], part - part[0], 1)[0] for when, part in pieces]
    return whole, float(np.std(slopes, ddof=1) / np.sqrt(_PIECES))
