"""A figure of what simple methods reach beside trained models."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from matplotlib.figure import Figure

from atomlens.figures import style


@style.styled
def baseline_errors(errors: Mapping[str, float], trained: Collection[str], quantity: str, unit: str) -> Figure:
    """Mean absolute errors on a logarithmic axis, the smallest on top.

    Args:
        errors: mean absolute error in ``unit`` by method; those of zero are left out.
        trained: which of them are trained models, drawn in another colour.
        quantity: in words.
        unit: unit of the errors; energies and forces are shown in kcal/mol and kcal/mol/Å.
    """
    factor, shown = style.shown_unit(unit)
    rows = sorted((factor * error, name) for name, error in errors.items() if error > 0)
    figure = style.new_figure(0.9 + 0.24 * max(len(rows), 2))
    axes = figure.add_subplot()
    values = np.array([error for error, _ in rows])
    names = [name for _, name in rows]
    low, high = (0.6 * values.min(), 2.2 * values.max()) if len(rows) else (0.1, 10.0)
    colours = [style.ORANGE if name in trained else style.BLUE for name in names]
    axes.hlines(range(len(rows)), low, values, color=style.HAIRLINE, lw=1.2, zorder=1)
    axes.scatter(values, range(len(rows)), s=30, color=colours, zorder=3)
    for place, value in enumerate(values):
        axes.annotate(f"{value:.3g}", (value, place), (6, 0), textcoords="offset points", va="center", fontsize=7.5)
    style.log_axis(axes, "x", low, high)
    axes.set(xlim=(low, high), xlabel=f"mean absolute error of the {quantity} ({shown})")
    axes.set_yticks(range(len(rows)), [name.replace("_", " ") for name in names])
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=True, axis="x")
    axes.set_ylim(max(len(rows), 1) - 0.4, -0.6)
    if set(trained) & set(names):
        axes.set_title("orange: trained models, blue: baselines", fontsize=8.0, color=style.MUTED)
    return figure
