"""Figures of element embeddings: the periodic table as a network sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray

from atomlens.figures import style

# Colours after Okabe and Ito, which all kinds of colour vision tell apart; the symbols say the rest.
_GROUP_COLOURS = {
    1: "#0072b2",
    2: "#e69f00",
    13: "#009e73",
    14: "#4d4d4d",
    15: "#cc79a7",
    16: "#d55e00",
    17: "#56b4e9",
    18: "#9a86d4",
}
_OTHER = "#c4cbd2"  # transition metals, lanthanides and actinides
_SIZE = (4.0, 3.3)  # inches that the axes take, roughly
_DIAMETER = 0.17  # inches, of an element's circle
_ROMAN = {1: "I", 2: "II", 13: "III", 14: "IV", 15: "V", 16: "VI", 17: "VII", 18: "VIII"}


def class_colour(number: int, by: Literal["group", "period"]) -> str:
    """The colour (``#rrggbb``) of a group (1 to 18, or 0 for none) or of a period (1 to 7)."""
    if by == "group":
        return _GROUP_COLOURS.get(number, _OTHER)
    return to_hex(matplotlib.colormaps[style.SEQUENTIAL](0.05 + 0.9 * (number - 1) / 6.0))


def class_name(number: int, by: Literal["group", "period"]) -> str:
    """What a legend says: ``group II``, ``group 8``, ``no group`` or ``period 3``."""
    if by == "period":
        return f"period {number}"
    return f"group {_ROMAN.get(number, number)}" if number else "no group"


def component_name(place: int, share: float) -> str:
    """The label of an axis: a principal component, counted from 0, with its share of the variance."""
    return f"principal component {1 + place} ({100 * share:.0f} % of the variance)"


@style.styled
def element_map(
    places: ArrayLike,
    symbols: Sequence[str],
    classes: Sequence[int],
    explained: Sequence[float],
    by: Literal["group", "period"] = "group",
) -> Figure:
    """Elements in two principal components, coloured by group or by period (thesis fig. 4.15; insights paper fig. 7).

    Elements of groups I and II are joined in the order of their weight.

    Args:
        places: (elements, 2) along the two leading components, elements in the order of their atomic numbers; one
            component suffices where there are two elements.
        symbols: of the elements.
        classes: group (0 for none) or period of each.
        explained: the share of the variance along either component.
        by: what ``classes`` are.
    """
    points = np.asarray(places, dtype=float)
    figure = style.new_figure(4.4)
    axes = figure.add_subplot()
    if by == "group":
        for number in (1, 2):
            axes.plot(*points[np.asarray(classes) == number].T, color=class_colour(number, by), lw=1.0, alpha=0.55)
    _circles(axes, points, symbols, [class_colour(number, by) for number in classes])
    names = [component_name(place, share) for place, share in enumerate(explained)]
    axes.set(xlabel=names[0], ylabel=names[1])
    style.light_grid(axes)
    handles = [
        Line2D([], [], marker="o", ls="", color=class_colour(number, by), label=class_name(number, by))
        for number in sorted(set(classes))
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, handletextpad=0.1, columnspacing=1.2)
    return figure


def _circles(axes: Axes, points: NDArray[np.float64], symbols: Sequence[str], colours: Sequence[str]) -> None:
    """A circle with its symbol for every element; where they would hide each other, beside its place."""
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.06 * (high - low) + 1e-9
    axes.set(xlim=(low[0] - margin[0], high[0] + margin[0]), ylim=(low[1] - margin[1], high[1] + margin[1]))
    scale = np.array(_SIZE) / (high - low + 2.0 * margin)
    shown = spread(points * scale, _DIAMETER) / scale
    for place, centre, name, colour in zip(points, shown, symbols, colours, strict=True):
        x, y = float(centre[0]), float(centre[1])
        if np.linalg.norm((place - centre) * scale) > 0.02:
            axes.plot([place[0], x], [place[1], y], color=colour, lw=0.8, zorder=3)
            axes.plot(place[:1], place[1:], "o", color=colour, ms=2.2, zorder=3)
        axes.scatter(x, y, s=130, color=colour, edgecolors="white", linewidths=0.8, zorder=4, clip_on=False)
        axes.text(x, y, name, ha="center", va="center_baseline", fontsize=6.8, color=style.text_on(colour), zorder=5)


def spread(points: ArrayLike, distance: float) -> NDArray[np.float64]:
    """Points pushed apart until none are nearer than ``distance``, each staying as near to its place as that allows.

    Args:
        points: (points, 2), those nearer to each other than ``distance`` being few.
        distance: in the unit of the points.
    """
    moved = np.array(points, dtype=float)
    first, second = np.triu_indices(len(moved), k=1)
    for _ in range(200):
        apart = moved[second] - moved[first]
        length = np.linalg.norm(apart, axis=1)
        close = np.flatnonzero(length < distance * (1.0 - 1e-3))
        if not close.size:
            break
        # Points at one place part along x.
        apart[length < 1e-9] = [1e-9, 0.0]
        length = np.maximum(length, 1e-9)
        push = 0.5 * ((distance - length) / length)[:, None] * apart
        np.add.at(moved, second[close], push[close])
        np.add.at(moved, first[close], -push[close])
    return moved
