"""Figures of simulations: distributions and spectra of runs over each other, traces along time, block averages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from atomlens.figures import style

WIDE = 7.2  # inches, of plots side by side
_COLUMNS = 3
_COLOURS = (style.BLUE, style.ORANGE, style.GREEN, style.INK)
_DASHES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)))  # a second way to tell runs apart
_MOST_POINTS = 4000  # of a trace; more only blacken the paper


@dataclass(frozen=True)
class Line:
    """A curve with its error."""

    name: str
    x: np.ndarray  # (points,)
    y: np.ndarray  # (points,)
    error: np.ndarray | None = None  # (points,) one standard error


@dataclass(frozen=True)
class Plot:
    """Curves on one pair of axes."""

    x_label: str  # with the unit in brackets
    y_label: str
    lines: Sequence[Line]
    title: str = ""
    marks: Sequence[tuple[str, float]] = ()  # horizontal lines with names
    x_limits: tuple[float, float] | None = None


@style.styled
def curves(plots: Sequence[Plot], columns: int = _COLUMNS) -> Figure:
    """Curves with shaded errors, each plot beside the next, one legend for all (thesis fig. 5.6).

    Args:
        plots: at least one; lines of one name are drawn alike in all.
        columns: how many side by side.
    """
    columns = min(columns, len(plots))
    rows = -(-len(plots) // columns)
    width = style.WIDTH if columns == 1 else WIDE
    names = list(dict.fromkeys(line.name for plot in plots for line in plot.lines))
    legend = 0.3 if len(names) > 1 else 0.0
    figure = style.new_figure(rows * (2.6 if columns == 1 else 2.3) + legend + 0.1, width)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    handles = {}
    for axes, plot in zip(grid, plots, strict=False):
        for line in plot.lines:
            handles[line.name] = _draw(axes, line, names.index(line.name))
        _finish(axes, plot)
    for axes in grid[len(plots) :]:
        axes.set_axis_off()
    if len(names) > 1:
        figure.legend(
            [handles[name] for name in names],
            names,
            loc="outside upper left",
            ncols=min(4, len(names)),
            fontsize=8.0,
            borderpad=0.0,
        )
    return figure


@style.styled
def traces(plots: Sequence[Plot]) -> Figure:
    """Quantities along time, below each other on one axis of time; the thick line is a running mean.

    Args:
        plots: at least one, all with the same label of x.
    """
    names = list(dict.fromkeys(line.name for plot in plots for line in plot.lines))
    figure = style.new_figure(1.55 * len(plots) + 0.55)
    grid = figure.subplots(len(plots), 1, squeeze=False, sharex=True).ravel()
    for axes, plot in zip(grid, plots, strict=True):
        for line in plot.lines:
            _trace(axes, line, names.index(line.name))
        _finish(axes, plot)
        axes.set_xlabel("")
    grid[-1].set_xlabel(plots[-1].x_label)
    if len(names) > 1:
        grid[0].legend(loc="upper right", ncols=len(names), fontsize=7.5)
    return figure


@style.styled
def block_curves(lengths: Sequence[np.ndarray], lines: Sequence[Line], chosen: Sequence[float], unit: str) -> Figure:
    """Standard error against the length of the blocks, relative to the error of independent frames.

    Args:
        lengths: of the blocks, frames, by line.
        lines: ``y`` the standard errors, ``error`` their uncertainties; ``x`` times of the blocks in fs.
        chosen: the length that the rule takes, by line.
        unit: of ``x``.
    """
    figure = style.new_figure(2.8)
    axes = figure.add_subplot()
    for place, (length, line, taken) in enumerate(zip(lengths, lines, chosen, strict=True)):
        colour = _COLOURS[place % len(_COLOURS)]
        scale = 1.0 / max(float(line.y[0]), 1e-300)
        error = None if line.error is None else scale * line.error
        axes.errorbar(
            line.x, scale * line.y, error, color=colour, lw=1.0, marker="o", ms=3.0, elinewidth=0.8, label=line.name
        )
        at = int(np.abs(np.asarray(length) - taken).argmin())
        axes.plot(
            line.x[at], scale * line.y[at], "o", ms=8.0, mfc="none", mec=colour, mew=1.2, zorder=4, label="_chosen"
        )
    low, high = (float(each) for each in (min(line.x[0] for line in lines), max(line.x[-1] for line in lines)))
    style.log_axis(axes, "x", max(low, 1e-12), max(high, 2 * low))
    axes.set(
        xlabel=f"length of the blocks ({unit})", ylabel="standard error / that of one-frame blocks", ylim=(0, None)
    )
    axes.legend(loc="upper left")
    axes.set_title("ringed: taken", fontsize=8.0, loc="right", color=style.MUTED, pad=3)
    style.light_grid(axes)
    return figure


def _draw(axes: Axes, line: Line, place: int) -> Line2D:
    colour = _COLOURS[place % len(_COLOURS)]
    (handle,) = axes.plot(line.x, line.y, color=colour, ls=_DASHES[place % len(_DASHES)], lw=1.2, zorder=3 + place)
    if line.error is not None and np.isfinite(line.error).any():
        error = np.nan_to_num(line.error)
        axes.fill_between(line.x, line.y - error, line.y + error, color=colour, alpha=0.28, lw=0, zorder=2)
    return handle


def _trace(axes: Axes, line: Line, place: int) -> None:
    """Every value faintly, and a running mean over a fiftieth of the trace."""
    colour = _COLOURS[place % len(_COLOURS)]
    thin = -(-len(line.x) // _MOST_POINTS)
    axes.plot(line.x[::thin], line.y[::thin], color=colour, lw=0.5, alpha=0.35, zorder=2, rasterized=len(line.x) > 500)
    window = max(1, len(line.x) // 50)
    smooth = np.convolve(line.y, np.full(window, 1.0 / window), mode="valid")
    start = (window - 1) // 2
    axes.plot(line.x[start : start + len(smooth)], smooth, color=colour, lw=1.3, label=line.name, zorder=3)


def _finish(axes: Axes, plot: Plot) -> None:
    for name, value in plot.marks:
        axes.axhline(value, color=style.MUTED, lw=0.9, ls=(0, (4, 2)), zorder=1)
        axes.annotate(
            name, (1.0, value), xycoords=("axes fraction", "data"), xytext=(-2, 2), textcoords="offset points",
            fontsize=7.0, color=style.MUTED, ha="right", va="bottom",
        )  # fmt: skip
    axes.set(xlabel=plot.x_label, ylabel=plot.y_label)
    if plot.x_limits is not None:
        axes.set_xlim(plot.x_limits)
    if plot.title:
        axes.set_title(plot.title, fontsize=8.5, pad=4)
    style.light_grid(axes)
