"""Figures of continuous filters: curves over the distance, all of them at a glance, and cuts through space."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from atomlens.figures import style

_UNSEEN = "#e9ecef"  # where no pair of atoms lies
Floats = NDArray[np.float64]


def curve_colours(count: int) -> list[str]:
    """Colours (``#rrggbb``) of curves in an order, such as from near to far, dark ones first."""
    colour_map = matplotlib.colormaps[style.SEQUENTIAL]
    return [to_hex(colour_map(0.9 * place / max(count - 1, 1))) for place in range(count)]


@style.styled
def radial_curves(
    distances: ArrayLike,
    curves: Sequence[ArrayLike],
    names: Sequence[str],
    density: ArrayLike | None = None,
    shortest: float = 0.0,
) -> Figure:
    """Filters of each interaction against the distance.

    Args:
        distances: (distances,) in Å.
        curves: per interaction (filters, distances), in the order in which they are coloured, dark ones first.
        names: of the interactions.
        density: (distances,) how many pairs of atoms lie at each, drawn grey at the foot.
        shortest: distance in Å of the closest pair; what filters say below is drawn grey.
    """
    apart = np.asarray(distances, dtype=float)
    figure = style.new_figure(0.7 + 1.45 * len(curves))
    panels = figure.subplots(len(curves), 1, sharex=True, squeeze=False)[:, 0]
    for axes, block, name in zip(panels, curves, names, strict=True):
        values = np.asarray(block, dtype=float)
        for line, colour in zip(values, curve_colours(len(values)), strict=True):
            axes.plot(apart, line, color=colour, lw=1.1)
        _pairs(axes, apart, values[:, apart >= shortest], density, shortest)
        axes.set_title(name, pad=3)
        axes.axhline(0.0, color=style.MUTED, lw=0.6)
        axes.set(ylabel="W(d)", xlim=(apart[0], apart[-1]))
        axes.tick_params(length=0)
    panels[-1].set_xlabel(_distance_label(density, shortest))
    return figure


def _distance_label(density: ArrayLike | None, shortest: float) -> str:
    if density is None:
        return "distance d (Å)"
    return f"distance d (Å)\ngrey: distances between atoms in the data, none below {shortest:.2f} Å"


def _pairs(axes: Axes, apart: Floats, seen: Floats, density: ArrayLike | None, shortest: float) -> None:
    """Limits by what is seen beyond the shortest distance, and under the curves how many pairs lie where."""
    axes.set_ylim(float(seen.min()), float(seen.max()) + 1e-9)
    low, high = min(float(seen.min()), 0.0), max(float(seen.max()), 0.0)
    pad = 0.06 * (high - low) or 1.0
    bottom = low - pad
    if density is not None:
        bottom -= 0.3 * (high - low)
        heights = bottom + 0.28 * (high - low) * np.asarray(density, dtype=float)
        axes.fill_between(apart, bottom, heights, color=style.HAIRLINE, lw=0.0, zorder=0)
    axes.set_yticks([tick for tick in axes.get_yticks() if low - pad <= tick <= high + pad])
    axes.set_ylim(bottom, high + pad)
    if shortest > apart[0]:
        axes.axvspan(float(apart[0]), shortest, facecolor=_UNSEEN, lw=0.0, zorder=2.5, alpha=0.85)


@style.styled
def all_filters(
    distances: ArrayLike, values: Sequence[ArrayLike], names: Sequence[str], shortest: float = 0.0
) -> Figure:
    """Every filter as a line of colour, each divided by its largest magnitude where pairs of atoms are.

    Args:
        distances: (distances,) in Å, evenly spaced.
        values: per interaction (filters, distances), from top to bottom.
        names: of the interactions.
        shortest: distance in Å of the closest pair; below it nothing is drawn.
    """
    apart = np.asarray(distances, dtype=float)
    figure = style.new_figure(0.9 + 1.5 * len(values))
    panels = figure.subplots(len(values), 1, sharex=True, squeeze=False)[:, 0]
    image = None
    for axes, block, name in zip(panels, values, names, strict=True):
        lines = np.asarray(block, dtype=float)
        seen = np.where(apart < shortest, np.nan, lines)
        lines = seen / np.maximum(np.nanmax(np.abs(seen), axis=1, keepdims=True), 1e-300)
        image = axes.imshow(
            lines, cmap=style.DIVERGING, vmin=-1.0, vmax=1.0, aspect="auto", interpolation="nearest",
            extent=(apart[0], apart[-1], len(lines), 0),
        )  # fmt: skip
        axes.set(facecolor=_UNSEEN, yticks=[], ylabel=f"{len(lines)} filters")
        axes.set_title(name, pad=3)
    panels[-1].set_xlabel(
        "distance d (Å)" + (f"; grey: closer than any two atoms, {shortest:.2f} Å" if shortest else "")
    )
    if image is not None:
        bar = figure.colorbar(image, ax=panels.tolist(), location="bottom", shrink=0.6, aspect=40, pad=0.02)
        bar.set_label("W(d), of its largest size")
        bar.outline.set_visible(False)
    return figure


@style.styled
def loudness(
    distances: ArrayLike,
    lines: Sequence[ArrayLike],
    names: Sequence[str],
    density: ArrayLike | None = None,
    shortest: float = 0.0,
) -> Figure:
    """How loudly a neighbour is heard at each distance, one line per interaction, each relative to its largest value.

    Args:
        distances: (distances,) in Å.
        lines: (distances,) each.
        names: of the lines.
        density: see `radial_curves`.
        shortest: see `radial_curves`.
    """
    apart = np.asarray(distances, dtype=float)
    figure = style.new_figure(2.9)
    axes = figure.add_subplot()
    values = np.stack([np.asarray(line, dtype=float) for line in lines])
    values = values / values[:, apart >= shortest].max(axis=1, keepdims=True)
    for line, name, colour in zip(values, names, curve_colours(len(values)), strict=True):
        axes.plot(apart, line, color=colour, label=name)
    _pairs(axes, apart, values[:, apart >= shortest], density, shortest)
    axes.set(ylabel="loudness, of its largest", xlim=(apart[0], apart[-1]), xlabel=_distance_label(density, shortest))
    axes.set_yticks([0.0, 0.5, 1.0])
    axes.legend(loc="upper right")
    return figure


@style.styled
def cuts(
    x: ArrayLike,
    y: ArrayLike,
    values: ArrayLike,
    rows: Sequence[str],
    places: Sequence[Sequence[int]] | None = None,
    atoms: Sequence[ArrayLike] | None = None,
    nearest: Sequence[ArrayLike] | None = None,
    shortest: float = 0.0,
) -> Figure:
    """Filters over a plane as small maps, each on a colour scale of its own with white at zero (thesis fig. 4.4, 4.5).

    Args:
        x: (columns of points,) in Å.
        y: (rows of points,) in Å.
        values: (rows of maps, maps, rows of points, columns of points).
        rows: names of the rows of maps.
        places: numbers of the filters, for the titles of the maps.
        atoms: per row (atoms, 2) in Å, where neighbours really are, marked by rings.
        nearest: per row (rows of points, columns of points) in Å, the shortest distance that enters at each point.
        shortest: of two atoms in the data, in Å; what is nearer is drawn grey and does not count for the colours.
    """
    across, up = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    maps = np.asarray(values, dtype=float)
    count = maps.shape[1]
    width = max(style.WIDTH, 0.62 * count + 0.6)
    side = (width - 0.5) / count
    figure = style.new_figure(len(rows) * (side * float(np.ptp(up) / np.ptp(across)) + 0.22) + 0.45, width)
    panels = figure.subplots(len(rows), count, squeeze=False)
    extent = (float(across[0]), float(across[-1]), float(up[0]), float(up[-1]))
    for row, name in enumerate(rows):
        for column, axes in enumerate(panels[row]):
            field, near = maps[row, column], None if nearest is None else np.asarray(nearest[row], dtype=float)
            counted = np.abs(field) if near is None else np.abs(field[near >= shortest])
            limit = float(counted.max(initial=0.0))
            axes.imshow(
                field, origin="lower", extent=extent, cmap=style.DIVERGING, vmin=-limit or -1.0, vmax=limit or 1.0
            )
            if near is not None and near.min() < shortest:
                axes.contourf(across, up, near, [-1.0, shortest], colors=[_UNSEEN])
            axes.set(xticks=[], yticks=[])
            for spine in axes.spines.values():
                spine.set(visible=True, color=style.HAIRLINE)
            if places is not None:
                axes.set_title(f"{places[row][column]}", fontsize=6.5, pad=2, color=style.MUTED)
            if atoms is not None:
                rings = np.asarray(atoms[row], dtype=float).reshape(-1, 2)
                axes.scatter(rings[:, 0], rings[:, 1], s=12, facecolors="none", edgecolors=style.INK, linewidths=0.7)
                axes.set(xlim=extent[:2], ylim=extent[2:])
        panels[row, 0].set_ylabel(name, fontsize=8.0)
    figure.supxlabel(f"each map {np.ptp(across):.0f} × {np.ptp(up):.0f} Å; blue negative, red positive", fontsize=8.0)
    return figure
