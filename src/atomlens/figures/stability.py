"""Figures of how far models agree on a partition over atoms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from atomlens.figures import style

_COLUMNS = 2
_MOST_ELEMENTS = 6
_ENDS = np.array([-1.0, 1.0])
_MOST_POINTS = 4000  # of one element; more only blacken the paper and swell the file


@style.styled
def partition_scatter(
    points: Mapping[str, ArrayLike],
    correlations: Mapping[str, float],
    models: Sequence[str],
    score: float,
    words: str = "energy contribution",
    unit: str = "eV",
) -> Figure:
    """Atom terms of one model against another's, an element in each panel (thesis fig. B.1-B.3).

    The full line is where both say the same, the dashed one allows them a constant for the element. Both axes have the
    same scale, each around its own middle. The six elements with the most atoms are drawn.

    Args:
        points: element symbol to the terms of both models, (2, atoms).
        correlations: within each element; NaN where there is none.
        models: their two names.
        score: the share of variance within elements that they have in common, for the title.
        words: what the terms are.
        unit: of the terms; energies are shown in kcal/mol.
    """
    factor, shown = style.shown_unit(unit)
    values = {name: factor * np.asarray(pair, dtype=float) for name, pair in points.items()}
    chosen = sorted(sorted(values, key=lambda name: -values[name].shape[1])[:_MOST_ELEMENTS], key=list(values).index)
    columns = min(_COLUMNS, len(chosen))
    rows = -(-len(chosen) // columns)
    side = style.WIDTH / max(columns, 1.4)
    figure = style.new_figure(0.65 + (side - 0.15) * rows)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, name in zip(panels, chosen, strict=False):
        _element(axes, name, values[name], correlations[name])
    for axes in panels[len(chosen) :]:
        axes.set_axis_off()
    figure.supxlabel(f"{words}, {models[0]} ({shown})", fontsize=9.0)
    figure.supylabel(f"{words}, {models[1]} ({shown})", fontsize=9.0)
    figure.suptitle(_title(score), fontsize=9.0, x=0.02, ha="left")
    return figure


def _title(score: float) -> str:
    if not np.isfinite(score):
        return "nothing varies within elements"
    return f"score {score:.2f} (1: the same up to a constant per element; 0: unrelated)"


def _element(axes: Axes, symbol: str, pair: NDArray[np.float64], correlation: float) -> None:
    """One element's points; both axes have the same scale."""
    colour = style.element_colour(symbol)
    drawn = pair[:, :: -(-pair.shape[1] // _MOST_POINTS)]
    size = float(np.clip(130.0 / np.sqrt(pair.shape[1]), 2.0, 14.0))
    axes.scatter(
        drawn[0], drawn[1], s=size, color=colour, alpha=0.35, linewidths=0, rasterized=drawn.shape[1] > 500, zorder=3
    )
    half = 0.53 * float(np.ptp(pair, axis=1).max()) or 1.0  # alike along x and y, each around its own middle
    middle = 0.5 * (pair.min(axis=1) + pair.max(axis=1))
    shift = float(np.diff(pair.mean(axis=1))[0])
    ends = np.array([middle.min() - 2.0 * half, middle.max() + 2.0 * half])
    axes.plot(ends, ends, color=style.INK, lw=0.8, zorder=2)
    axes.plot(ends, ends + shift, color=style.MUTED, lw=0.9, ls=(0, (4, 2)), zorder=2)
    axes.set(xlim=middle[0] + half * _ENDS, ylim=middle[1] + half * _ENDS, box_aspect=1.0)
    axes.locator_params(axis="x", nbins=3)
    axes.locator_params(axis="y", nbins=4)
    style.light_grid(axes)
    axes.set_title(symbol, fontsize=10.0, fontweight="bold", color=colour, loc="left", pad=3)
    words = f"r = {correlation:.2f}" if np.isfinite(correlation) else "no spread"
    axes.set_title(f"{words}, {pair.shape[1]:,} atoms".replace("-", "−"), fontsize=8.0, loc="right", pad=3)
