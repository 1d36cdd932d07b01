"""Figure of atom terms beside an additive model of groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from atomlens.figures import style


@style.styled
def group_scatter(
    elements: Sequence[str],
    constants: Mapping[str, ArrayLike],
    terms: ArrayLike,
    counts: ArrayLike,
    words: str = "energy contribution",
    unit: str = "eV",
) -> Figure:
    """Mean atom term of every environment over its additive constant; a panel for each choice of the constants.

    Args:
        elements: symbol of each environment's own element, (environments,).
        constants: which best fit it is, to its constants (environments,) in ``unit``.
        terms: mean atom terms of a network, (environments,) in ``unit``.
        counts: atoms in each environment, (environments,); circles grow with them.
        words: what the terms are.
        unit: energies are shown in kcal/mol.
    """
    factor, shown = style.shown_unit(unit)
    mean, sizes = factor * np.asarray(terms, dtype=float), np.asarray(counts, dtype=float)
    figure = style.new_figure(3.6 * len(constants) + 0.3)
    panels = figure.subplots(len(constants), 1, squeeze=False)[:, 0]
    for axes, (name, values) in zip(panels, constants.items(), strict=True):
        _panel(axes, elements, factor * np.asarray(values, dtype=float), mean, 8.0 + 110.0 * sizes / sizes.max())
        axes.set_title(f"additive constants {name}", fontsize=9.0, loc="left")
        axes.set_ylabel(f"mean {words} ({shown})")
    panels[-1].set_xlabel(f"additive constant of the environment ({shown})")
    panels[0].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), handletextpad=0.2, borderaxespad=0.2)
    return figure


def _panel(
    axes: Axes, elements: Sequence[str], x: NDArray[np.float64], y: NDArray[np.float64], sizes: NDArray[np.float64]
) -> None:
    """Environments as circles, elements by colour, both axes alike."""
    symbols = np.array(elements)
    for name in dict.fromkeys(elements):
        own = symbols == name
        colour = style.element_colour(name)
        axes.scatter(
            x[own], y[own], s=sizes[own], color=colour, alpha=0.6, linewidths=0.6, edgecolors="white", zorder=3
        )
        axes.scatter([], [], s=36.0, color=colour, alpha=0.8, label=name)
    low, high = min(x.min(), y.min()), max(x.max(), y.max())
    pad = 0.06 * (high - low) or 1.0
    ends = [low - pad, high + pad]
    axes.plot(ends, ends, color=style.INK, lw=0.8, zorder=2)
    axes.set(xlim=ends, ylim=ends, box_aspect=1.0)
    axes.locator_params(nbins=6)
    style.light_grid(axes)
