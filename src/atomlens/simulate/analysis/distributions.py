"""How a quantity of a structure is distributed along a run, with error bars in every bin; and two runs compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from atomlens.errors import InputError
from atomlens.progress import track
from atomlens.simulate.analysis.blocks import Average, block_average, plain
from atomlens.simulate.frames import Frames

# Positions (samples, atoms, 3) and cells (samples, 3, 3), both in Å, to values (values, samples).
Measure = Callable[[np.ndarray, np.ndarray], np.ndarray]

BINS = 120
MOST_BLOCKS = 2048  # of one run that are kept; longer runs are averaged in blocks while they are read
_CHUNK = 400_000  # numbers at once: fits the processor's cache
_LOOKED_AT = 200  # frames from which the range of the bins is taken
_MARGIN = 0.2  # of that range, on each side


@dataclass(frozen=True)
class Density:
    """The probability density of a quantity, its mean and its width."""

    name: str
    unit: str
    edges: np.ndarray  # (bins + 1,) in `unit`
    density: np.ndarray  # (bins,) 1/unit; with what lies outside it integrates to 1
    error: np.ndarray  # (bins,) one standard error
    average: Average  # of the quantity
    width: float  # standard deviation of the distribution, in `unit`
    width_error: float  # NaN where there are too few samples
    outside: float  # share of the samples beyond the edges
    values: int  # samples per frame and copy
    plateau: bool  # whether the bars of mean and width stand on one
    worth: float  # independent samples, by the slower of mean and width; 0 where that is unknown
    lowest: float  # value of all samples
    highest: float
    series: np.ndarray  # (times, runs) mean of the frame, or of a block of frames in long runs
    caution: str = ""  # see `Average.caution`

    @property
    def centres(self) -> np.ndarray:
        """Middles of the bins."""
        return 0.5 * (self.edges[1:] + self.edges[:-1])

    @property
    def mean(self) -> float:
        """Of the quantity."""
        return float(self.average.mean)

    @property
    def mean_error(self) -> float:
        """One standard error; NaN where there are too few samples."""
        return float(self.average.error)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        found = {name: plain(value) for name, value in vars(self).items() if name not in ("average", "series")}
        return {**found, "mean": self.average.to_dict()}


@dataclass(frozen=True)
class Comparison:
    """How far one quantity is distributed differently in two runs, the second less the first."""

    name: str
    unit: str
    shift: float  # of the mean
    shift_error: float
    shift_p: float  # two-sided, by Welch's t test; NaN without error bars
    widening: float  # of the standard deviation
    widening_error: float
    widening_p: float
    overlap: float  # area that the two densities have in common, 1 for the same; noise lowers it a little

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {name: plain(value) for name, value in vars(self).items()}


def sampled_density(
    frames: Frames, measure: Measure, name: str, unit: str, *, bins: int = BINS,
    limits: tuple[float, float] | None = None, title: str = "",
) -> Density:  # fmt: skip
    """The distribution of what `measure` finds in every frame and copy, with errors by block averaging.

    Beads of a path are averaged within their frame, as each is one sample of the quantum distribution but all move
    together. The run is read in pieces of bounded memory.

    Args:
        frames: the run, equilibration left out.
        measure: the quantity.
        name: of the quantity.
        unit: of it.
        bins: how many.
        limits: of the bins; without, the range seen in 200 frames and a fifth of it on each side.
        title: of the progress bar; nothing is shown without one.

    Raises:
        InputError: the quantity does not exist in this structure, or is not finite.
    """
    low, high = limits or seen_limits(frames, measure)
    block = max(1, len(frames.times) // MOST_BLOCKS)
    skipped = len(frames.times) % block
    scale, samples, moments, squares, outside = bins / (high - low), [], [], np.zeros(bins), 0
    count, lowest, highest = 0, np.inf, -np.inf
    with track(title, len(frames.times), "frames") as bar:
        for positions, cells in chunks(frames, block, skipped):
            values = measure(positions, cells)
            if not np.isfinite(values).all():
                raise InputError(f"{name} is not a finite number in some frame; find the frame where the run broke")
            count = len(values) * frames.beads
            lowest, highest = min(lowest, float(values.min())), max(highest, float(values.max()))
            shares, missing = _histograms((values - low) * scale, frames, bins)
            shares *= scale / count
            squares += np.square(shares).sum(axis=(0, 1))
            outside += missing
            samples.append(_blocks(shares, block))
            moments.append(_moments(values, 0.5 * (low + high), frames))
            bar.advance(len(shares))
    density = _binned(np.concatenate(samples), squares, block, frames)
    both = np.concatenate(moments)
    average, width, spread = _mean_and_width(both, 0.5 * (low + high), frames.interval)
    kept = (len(frames.times) - skipped) * frames.replicas * count
    return Density(
        name, unit, np.linspace(low, high, bins + 1), density.mean, density.error, average, width,
        float(spread.error) / (2 * width) if width > 0 else 0.0, outside / kept, count // frames.beads,
        average.plateau and spread.plateau, min(_worth(average), _worth(spread)), lowest, highest,
        _blocks(both[..., 0], block) + 0.5 * (low + high), average.caution or spread.caution,
    )  # fmt: skip


def chunks(frames: Frames, block: int = 1, skip: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Positions (samples, atoms, 3) and cells (samples, 3, 3) of whole blocks of frames; copies of a frame in a row."""
    copies, atoms = frames.positions.shape[1:3]
    step = block * max(1, int(_CHUNK / (copies * max(3 * atoms, atoms * (atoms - 1) // 2))) // block)
    for start in range(skip, len(frames.times), step):
        positions = frames.positions[start : start + step].reshape(-1, atoms, 3)
        yield np.asarray(positions, dtype=float), frames.cells[start : start + step].reshape(-1, 3, 3)


def seen_limits(frames: Frames, measure: Measure) -> tuple[float, float]:
    """The range of a quantity in 200 frames from all along the run, with a fifth of it added on each side."""
    rows = np.unique(np.linspace(0, len(frames.times) - 1, _LOOKED_AT).astype(int))
    atoms = frames.positions.shape[2]
    values = measure(
        np.asarray(frames.positions[rows], dtype=float).reshape(-1, atoms, 3), frames.cells[rows].reshape(-1, 3, 3)
    )
    if not values.size:
        raise InputError("this structure has nothing of the kind to measure; choose another quantity")
    low, high = float(values.min()), float(values.max())
    pad = _MARGIN * (high - low) or 0.01 * max(abs(high), 1e-3)
    return low - pad, high + pad


def common_limits(runs: Sequence[Frames], measure: Measure) -> tuple[float, float]:
    """Limits that hold what is seen in every run."""
    limits = [seen_limits(each, measure) for each in runs]
    return min(low for low, _ in limits), max(high for _, high in limits)


def compare(first: Density, second: Density) -> Comparison:
    """Whether mean and width of a quantity differ between two runs (Welch's t test on the blocked errors).

    Raises:
        InputError: the two are not of one quantity on one set of bins.
    """
    if first.name != second.name or first.unit != second.unit or not np.array_equal(first.edges, second.edges):
        raise InputError("two distributions are compared on the same bins; give both the same limits and bins")
    degrees = first.average.degrees, second.average.degrees
    errors = (first.mean_error, second.mean_error), (first.width_error, second.width_error)
    shift, widening = second.mean - first.mean, second.width - first.width
    overlap = float((np.minimum(first.density, second.density) * np.diff(first.edges)).sum())
    return Comparison(
        first.name, first.unit, shift, float(np.hypot(*errors[0])), welch_p(shift, errors[0], degrees),
        widening, float(np.hypot(*errors[1])), welch_p(widening, errors[1], degrees), overlap,
    )  # fmt: skip


def welch_p(difference: float, errors: tuple[float, float], degrees: tuple[Any, Any]) -> float:
    """The chance of so large a difference of two means whose standard errors have these degrees of freedom."""
    squares = np.square(np.array(errors, dtype=float))
    freedom = np.array([float(each) for each in degrees])
    if not np.isfinite(squares).all() or squares.sum() == 0 or (freedom < 1).any():
        return float("nan")
    together = squares.sum() ** 2 / (np.square(squares) / freedom).sum()
    return float(2 * stats.t.sf(abs(difference) / np.sqrt(squares.sum()), together))


def fitting_bins(runs: Sequence[Frames], most: int, values: int = 1) -> int:
    """Bins that the shortest run can fill, rising with the cube root of its samples (D. W. Scott, 1979)."""
    samples = min(each.positions.shape[0] * each.positions.shape[1] * values for each in runs)
    return int(np.clip(3.0 * samples ** (1 / 3), 16, most))


def _worth(average: Average) -> float:
    """Independent samples."""
    known = np.isfinite(average.inefficiency) and average.inefficiency > 0
    return float(average.frames * average.runs / average.inefficiency) if known else 0.0


def _histograms(places: np.ndarray, frames: Frames, bins: int) -> tuple[np.ndarray, int]:
    """Counts (frames, runs, bins) of values (values, samples) given in bins, and how many lie outside."""
    samples = places.shape[1]
    runs = samples // frames.beads
    owner = np.repeat(np.arange(runs), frames.beads) * bins
    inside = (places >= 0) & (places < bins)
    flat = (places.astype(np.int64) + owner)[inside]
    counts = np.bincount(flat, minlength=runs * bins).astype(float)
    return counts.reshape(-1, frames.replicas, bins), int(places.size - flat.size)


def _moments(values: np.ndarray, origin: float, frames: Frames) -> np.ndarray:
    """First and second moment about `origin` of every frame and run, (frames, runs, 2)."""
    shifted = values - origin
    both = np.stack([shifted.mean(axis=0), np.square(shifted).mean(axis=0)], axis=-1)
    return np.asarray(both.reshape(-1, frames.replicas, frames.beads, 2).mean(axis=2))


def _blocks(values: np.ndarray, block: int) -> np.ndarray:
    """Means of `block` consecutive frames."""
    return values if block == 1 else np.asarray(values.reshape(-1, block, *values.shape[1:]).mean(axis=1))


def _binned(samples: np.ndarray, squares: np.ndarray, block: int, frames: Frames) -> Average:
    """Means of the bins with errors, from blocks and the sum of squares of single frames."""
    total = samples.shape[0] * samples.shape[1] * block
    variance = np.maximum(squares / total - np.square(samples.mean(axis=(0, 1))), 0.0)
    return block_average(samples, frames.interval, block=block, variance=variance)


def _mean_and_width(moments: np.ndarray, origin: float, interval: float) -> tuple[Average, float, Average]:
    """Mean, standard deviation, and the variance with its error.

    The variance is the mean of (x - µ)²: to first order the error of µ does not enter it.
    """
    first = block_average(moments[..., 0], interval)
    middle = float(first.mean)
    spread = block_average(moments[..., 1] - 2 * middle * moments[..., 0] + middle**2, interval)
    missing = float(np.square(first.error)) if np.isfinite(first.error) else 0.0  # by which the sample's is too small
    width = float(np.sqrt(max(float(spread.mean) + missing, 0.0)))
    shifted = {**vars(first), "mean": first.mean + origin}
    return Average(**shifted), width, spread
