"""What panels of runs say alike: numbers with errors, how long and how often, and whether the run had settled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from atomlens.errors import InputError
from atomlens.figures.dynamics import Line
from atomlens.panel import Chart, Check, Series, Table
from atomlens.simulate.analysis.blocks import FEWEST_BLOCKS, block_average
from atomlens.simulate.analysis.distributions import Comparison, Density, compare, welch_p
from atomlens.simulate.analysis.settings import RunSettings
from atomlens.simulate.frames import Frames
from atomlens.wording import counted

SETTLED = 1e-3  # chance, below which the halves of a run are said to differ
_EXACT = 1e-9  # of a value; a smaller error is rounding
INDEPENDENT = 50  # samples that a run should be worth


def with_error(value: float, error: float | None, unit: str = "") -> str:
    """A number with its error to two digits, such as ``1.4312 ± 0.0017 Å``."""
    tail = f" {unit}" if unit else ""
    if error is None or not np.isfinite(error):
        return f"{value:.4g}{tail} (no error bar)".replace("-", "−")
    if error <= _EXACT * abs(value):
        return f"{value:.6g}{tail}".replace("-", "−")
    digits = int(np.clip(1 - np.floor(np.log10(error)), 0, 9))
    return f"{value:.{digits}f} ± {error:.{digits}f}{tail}".replace("-", "−")


def chance(p_value: float) -> str:
    """A p value in words."""
    if not np.isfinite(p_value):
        return "p unknown"
    return "p < 0.001" if p_value < 1e-3 else f"p = {p_value:.2g}"


def settled(frames: Frames, settings: RunSettings) -> Frames:
    """The frames that count: equilibration left out."""
    return frames.after(float(frames.times[0]) + settings.skip) if settings.skip else frames


def matching(frames: Frames, beside: Frames | None, settings: RunSettings) -> tuple[Frames, Frames | None]:
    """Both runs without equilibration.

    Raises:
        InputError: they are of different structures, or end before equilibration does.
    """
    if beside is not None and not np.array_equal(frames.numbers, beside.numbers):
        raise InputError(
            f"'{settings.name}' and '{settings.beside}' are runs of different structures; compare runs of one"
        )
    return settled(frames, settings), None if beside is None else settled(beside, settings)


def length_of(frames: Frames) -> str:
    """How much was sampled, in words."""
    text = counted(len(frames.times), "frame")
    if frames.interval:
        duration = frames.interval * len(frames.times)
        shown = f"{duration * 1e-3:.3g} ps" if duration >= 1000 else f"{duration:.3g} fs"
        text += f" every {frames.interval:.4g} fs ({shown})"
    if frames.replicas > 1:
        text += f" of each of {frames.replicas:,} copies"
    return text + (f" with {frames.beads} beads" if frames.beads > 1 else "")


def trust(frames: Frames, beside: Frames | None, settings: RunSettings, cautions: Iterable[str], how: str) -> str:
    """How long, how many copies, error bars how."""
    text = f"{settings.name}: {length_of(frames)}"
    if beside is not None:
        text += f"; {settings.beside}: {length_of(beside)}"
    text += f"; the first {settings.skip:g} fs left out. " if settings.skip else ". "
    text += how
    marked = sum(int(each.marked.sum()) for each in (frames, beside) if each is not None and each.marked is not None)
    if marked:
        text += f" A guard warned of {counted(marked, 'frame')}."
    for caution in dict.fromkeys(each for each in cautions if each):
        text += f" Beware: {caution}."
    return text


BY_BLOCKS = (
    "Error bars and shades are one standard error by block averaging (Flyvbjerg and Petersen)"
    "; beads of a path are averaged before, copies count as independent."
)


def halves_check(series: np.ndarray, what: str, run: str) -> tuple[Check, ...]:
    """Whether the first and the second half of a run (times, runs) have one mean; none where that cannot be told."""
    middle = len(series) // 2
    if middle * series.shape[1] < FEWEST_BLOCKS:
        return ()
    first, second = block_average(series[:middle]), block_average(series[middle:])
    errors = float(first.error), float(second.error)
    p_value = welch_p(float(second.mean - first.mean), errors, (first.degrees, second.degrees))
    if not np.isfinite(p_value):
        return ()
    text = f"Chance that the mean {what} of the first and the second half of {run} differ as they do in a settled run"
    return (
        Check(f"settled: {run}", text, p_value, f"above {SETTLED:g}", "", p_value > SETTLED, claim=True),
    )  # fmt: skip


def length_check(density: Density, run: str) -> Check:
    """Whether a run is worth enough independent samples."""
    text = f"How many independent frames {run} is worth, by mean and width of the {density.name}"
    enough = density.worth >= INDEPENDENT and density.plateau
    limit = f"at least {INDEPENDENT}"
    if not density.plateau:
        text += "; so short a run may hide slower motion, for error bars still grow with the length of the blocks"
        limit += ", with error bars that have stopped growing"
    return Check(f"long enough: {run}", text, density.worth, limit, "", enough, claim=True)


def density_line(name: str, density: Density) -> Line:
    """A distribution as a curve with its error."""
    return Line(name, density.centres, density.density, density.error)


def density_chart(title: str, densities: Sequence[tuple[str, Density]]) -> Chart:
    """Distributions of one quantity over each other."""
    first = densities[0][1]
    return Chart(
        title, f"{first.name} ({first.unit})", f"probability density (1/{first.unit})",
        tuple(error_series(name, each.centres, each.density, each.error) for name, each in densities),
    )  # fmt: skip


def error_series(name: str, x: np.ndarray, y: np.ndarray, error: np.ndarray) -> Series:
    """A curve whose error is told on hovering."""
    return Series(name, x, y, labels=tuple(f"± {each:.2g}" for each in error))


def density_table(title: str, names: Sequence[str], rows: Sequence[Sequence[Density]]) -> Table:
    """Mean and width of quantities, by run, and whether two runs differ."""
    columns = ["quantity"]
    for name in names:
        columns += [f"mean, {name}", f"width, {name}"]
    if len(names) > 1:
        columns += ["chance of equal means", "chance of equal widths"]
    found = []
    for densities in rows:
        row: list[str | int | float] = [f"{densities[0].name} ({densities[0].unit})"]
        for each in densities:
            row += [with_error(each.mean, each.mean_error), with_error(each.width, each.width_error)]
        if len(names) > 1:
            between = comparison(densities)
            row += [chance(between.shift_p), chance(between.widening_p)] if between else ["–", "–"]
        found.append(tuple(row))
    return Table(title, tuple(columns), tuple(found))


def comparison(densities: Sequence[Density]) -> Comparison | None:
    """Of the run with the one beside it, if there is one."""
    return compare(densities[1], densities[0]) if len(densities) > 1 else None


def told(densities: Sequence[Density], names: Sequence[str]) -> str:
    """Two sentences on one quantity: its mean and width, and how another run differs."""
    own = densities[0]
    text = (
        f"The {own.name} is {with_error(own.mean, own.mean_error, own.unit)} on average and varies by "
        f"{with_error(own.width, own.width_error, own.unit)} (standard deviation)"
    )
    between = comparison(densities)
    if between is None:
        return text + ". "
    text += f" in {names[0]}. "
    sure = np.isfinite(between.widening_p) and between.widening_p < 0.01
    size = with_error(abs(between.widening), between.widening_error, own.unit)
    if sure:
        side = "wider" if between.widening > 0 else "narrower"
        return text + f"That distribution is {side} by {size} than in {names[1]} ({chance(between.widening_p)}). "
    return text + f"Its width differs from {names[1]} by {size}, no more than chance ({chance(between.widening_p)}). "
