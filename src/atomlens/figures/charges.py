"""Figures of partial charges and dipole vectors beside references."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray

from atomlens.data.units import parse_unit
from atomlens.figures import style

_LINES: tuple[tuple[str, Any], ...] = (
    (style.BLUE, "-"),
    (style.ORANGE, "-"),
    (style.GREEN, "-"),
    (style.BLUE, (0, (3, 1.5))),
    (style.ORANGE, (0, (3, 1.5))),
    (style.GREEN, (0, (3, 1.5))),
)  # one per model, in turn

MOST_POINTS = 2500  # that a panel shows; more only make it larger


@style.styled
def charge_scatter(per_element: Mapping[str, tuple[ArrayLike, ArrayLike]], x_label: str, y_label: str) -> Figure:
    """Charges against other charges of the same atoms, one panel per element (insights paper 3.1, made quantitative).

    Args:
        per_element: symbol to charges along x and along y, each (atoms,) in e.
        x_label: what is along x; the unit is added.
        y_label: what is along y; the unit is added.
    """
    columns = 2 if len(per_element) > 1 else 1
    rows = -(-len(per_element) // columns)
    figure = style.new_figure(0.5 + 2.2 * rows)
    panels: NDArray[Any] = figure.subplots(rows, columns, squeeze=False)
    for axes in panels.flat[len(per_element) :]:
        axes.set_axis_off()
    for axes, (symbol, (x, y)) in zip(panels.flat, per_element.items(), strict=False):
        _element_panel(axes, symbol, np.asarray(x, dtype=float), np.asarray(y, dtype=float))
    figure.supxlabel(f"{x_label} (e)", fontsize=9.0)
    figure.supylabel(f"{y_label} (e)", fontsize=9.0)
    return figure


def _element_panel(axes: Axes, symbol: str, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    """One element's points with the diagonal and, where both vary, the line by least squares."""
    shown = evenly(len(x), MOST_POINTS)
    colour = style.element_colour(symbol)
    many = len(shown) > 1000
    axes.scatter(
        x[shown], y[shown], s=5 if many else 9, color=colour, alpha=0.25 if many else 0.5, lw=0, rasterized=many
    )
    span = np.array([x.min(), x.max()])
    axes.axline((0.0, 0.0), slope=1.0, color=style.MUTED, lw=0.8, ls=(0, (4, 2)), zorder=1)
    title = f"{len(x):,} atom{'s' if len(x) > 1 else ''}"
    if x.std() > 0.0 and y.std() > 0.0:
        slope, start = np.polyfit(x, y, 1)
        axes.plot(span, start + slope * span, color=style.INK, lw=1.0)
        title = f"r = {np.corrcoef(x, y)[0, 1]:.2f}, slope {slope:.2f}".replace("-", "−")
    _limits(axes, x, y)
    axes.set_title(title, fontsize=8.0, loc="right", pad=3)
    axes.set_title(symbol, fontsize=10.0, fontweight="bold", color=colour, loc="left", pad=3)
    style.light_grid(axes)


def _limits(axes: Axes, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    """Each axis as wide as its values, with room; zero is marked where it lies inside."""
    for values, set_limits, mark in ((x, axes.set_xlim, axes.axvline), (y, axes.set_ylim, axes.axhline)):
        pad = 0.08 * float(np.ptp(values)) or 0.05
        low, high = float(values.min()) - pad, float(values.max()) + pad
        set_limits(low, high)
        if low < 0.0 < high:
            mark(0.0, color=style.MUTED, lw=0.6, zorder=1)
    axes.locator_params(axis="x", nbins=4)
    axes.locator_params(axis="y", nbins=5)


@style.styled
def charge_distributions(per_element: Mapping[str, Mapping[str, ArrayLike]]) -> Figure:
    """How charges are distributed over the atoms of a data set, by element and model (insights paper, fig. 4).

    Args:
        per_element: symbol to name of a model to its charges, (atoms,) in e; every panel has its own range.
    """
    models = list(next(iter(per_element.values())))
    figure = style.new_figure(0.9 + 1.05 * len(per_element))
    panels = figure.subplots(len(per_element), 1, squeeze=False)[:, 0]
    for axes, (symbol, charges) in zip(panels, per_element.items(), strict=True):
        together = np.concatenate([np.asarray(values, dtype=float) for values in charges.values()])
        pad = 0.04 * float(np.ptp(together)) or 0.01
        edges = np.linspace(together.min() - pad, together.max() + pad, 81)
        for place, values in enumerate(charges.values()):
            heights = np.histogram(np.asarray(values, dtype=float), edges, density=True)[0]
            colour, dashes = _LINES[place % len(_LINES)]
            axes.stairs(heights, edges, color=colour, ls=dashes, lw=1.1, fill=len(models) == 1, alpha=0.9)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        colour = style.element_colour(symbol)
        axes.set_title(symbol, fontsize=10.0, fontweight="bold", color=colour, loc="left", pad=2)
    panels[-1].set_xlabel("latent charge (e)")
    styles = (_LINES[place % len(_LINES)] for place in range(len(models)))
    handles = [Line2D([], [], color=colour, ls=dashes, lw=1.3) for colour, dashes in styles]
    figure.legend(handles, models, loc="outside upper center", ncols=min(len(models), 3), fontsize=7.5)
    return figure


@style.styled
def dipole_vectors(reference: ArrayLike, predicted: ArrayLike, angles: ArrayLike) -> Figure:
    """Components of dipole vectors against reference components, and the angles between the vectors.

    Args:
        reference: (molecules, 3) in e·Å; shown in debye.
        predicted: (molecules, 3) in e·Å.
        angles: (molecules with a direction,) degrees; beside them is what random directions would give.
    """
    figure = style.new_figure(2.45)
    left, right = figure.subplots(1, 2)
    debye = parse_unit("D")[0]
    expected, found = (np.asarray(each, dtype=float).ravel() / debye for each in (reference, predicted))
    _component_panel(left, expected, found)
    _angle_histogram(right, np.asarray(angles, dtype=float))
    return figure


def _component_panel(axes: Axes, expected: NDArray[np.float64], found: NDArray[np.float64]) -> None:
    """Parity of the components; a few far ones that would leave no room for the rest are counted instead."""
    sizes = np.maximum(np.abs(expected), np.abs(found))
    reach = max(min(float(sizes.max()), 1.4 * float(np.percentile(sizes, 99.9))), 1e-3)
    inside = np.flatnonzero(sizes <= reach)
    shown = inside[evenly(len(inside), 2 * MOST_POINTS)]
    axes.scatter(expected[shown], found[shown], s=4, color=style.BLUE, alpha=0.3, lw=0, rasterized=True)
    axes.axline((0.0, 0.0), slope=1.0, color=style.INK, lw=0.8)
    axes.set(xlim=(-1.05 * reach, 1.05 * reach), ylim=(-1.05 * reach, 1.05 * reach), box_aspect=1.0)
    axes.set(xlabel="reference component (D)", ylabel="predicted component (D)")
    if len(inside) < len(sizes):
        axes.set_title(f"{len(sizes) - len(inside)} farther out", fontsize=8.0, loc="right", pad=3)
    style.light_grid(axes)


def _angle_histogram(axes: Axes, angles: NDArray[np.float64]) -> None:
    edges = np.linspace(0.0, 180.0, 61)
    if len(angles):
        axes.hist(
            angles, edges.tolist(), color=style.BLUE, alpha=0.85, weights=np.full(len(angles), 100.0 / len(angles))
        )
        axes.axvline(float(np.median(angles)), color=style.INK, lw=1.0)
        axes.set_title(f"median {np.median(angles):.1f}°", fontsize=8.0, loc="right", pad=3)
    random = 50.0 * -np.diff(np.cos(np.radians(edges)))
    axes.stairs(random, edges, color=style.ORANGE, lw=1.2, ls="--", label="random directions")
    axes.set(xlabel="angle between vectors (°)", ylabel="molecules (%)", xlim=(0.0, 180.0), box_aspect=1.0)
    axes.set_xticks([0, 45, 90, 135, 180])
    axes.legend(loc="upper right", fontsize=7.0)


def evenly(count: int, most: int) -> NDArray[np.int64]:
    """At most ``most`` places of ``count``, evenly spread."""
    return np.unique(np.linspace(0, max(count - 1, 0), min(count, most)).astype(np.int64))
