"""Figures of path integrals: estimators along a run, and energies against the number of beads."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from atomlens.figures import style

_COLOURS = (style.BLUE, style.ORANGE, style.GREEN)
_MOST_POINTS = 4000  # of a trace; more only blacken the paper


@style.styled
def path_energies(
    times: ArrayLike, energies: Mapping[str, np.ndarray], temperatures: ArrayLike, temperature: float
) -> Figure:
    """Estimators along a run, each with its mean up to each time, and the temperature of the momenta.

    Args:
        times: (rows,) ps.
        energies: by name (rows,) eV; names that begin with "kinetic" share an axis, others are from their means.
        temperatures: (rows,) K.
        temperature: asked for, K.
    """
    along = np.asarray(times, dtype=float)
    figure = style.new_figure(4.9)
    top, middle, bottom = figure.subplots(3, 1, sharex=True)
    kinetic = {name: values for name, values in energies.items() if name.startswith("kinetic")}
    others = {name: values for name, values in energies.items() if name not in kinetic}
    for axes, group in ((top, others), (middle, kinetic)):
        for place, (name, values) in enumerate(group.items()):
            _trace(axes, along, values, _COLOURS[place + (axes is middle)], name)
    middle.legend(loc="lower right", ncols=2, fontsize=7.5, bbox_to_anchor=(1.0, 0.98), borderaxespad=0.0)
    top.set_ylabel("potential energy,\nless its mean (eV)")
    middle.set_ylabel("kinetic energy (eV)")
    _trace(bottom, along, np.asarray(temperatures, dtype=float), style.INK, "temperature")
    bottom.axhline(temperature, color=style.MUTED, lw=0.9, ls=(0, (4, 2)), zorder=4)
    bottom.set(xlabel="time (ps); thick: mean up to there", ylabel="temperature (K)")
    for axes in (top, middle, bottom):
        style.light_grid(axes)
    return figure


@style.styled
def bead_convergence(
    beads: ArrayLike,
    energies: ArrayLike,
    errors: ArrayLike,
    grid: ArrayLike,
    curve: ArrayLike,
    limit_error: float,
) -> Figure:
    """Energies against the number of beads P, and against 1/P² with the fit that leads to their limit.

    Args:
        beads: (n,) numbers P.
        energies: (n,) less the limit, kcal/mol per atom.
        errors: (n,) standard errors.
        grid: (m,) numbers of beads along the fit.
        curve: (m,) the fit.
        limit_error: standard error of the limit.
    """
    count, values, spread = (np.asarray(each, dtype=float) for each in (beads, energies, errors))
    inner, fit = np.asarray(grid, dtype=float), np.asarray(curve, dtype=float)
    fitted = count >= inner.min() * (1 - 1e-9)
    seen = inner <= 1.2 * count.max()
    figure = style.new_figure(2.9, 7.2)
    whole, enlarged = figure.subplots(1, 2)
    points = {"color": style.BLUE, "marker": "o", "ms": 4.0, "lw": 0.0, "elinewidth": 1.0, "zorder": 3}
    for axes in (whole, enlarged):
        axes.axhspan(-limit_error, limit_error, color=style.ORANGE, alpha=0.2, lw=0, zorder=1)
        axes.axhline(0.0, color=style.MUTED, lw=0.9, ls=(0, (4, 2)), zorder=1)
        style.light_grid(axes)
    whole.errorbar(count, values, spread, label="runs", **points)
    whole.plot(inner[seen], fit[seen], color=style.ORANGE, lw=1.3, label="fit in powers of 1/P²", zorder=2)
    whole.set_xscale("log", base=2)
    whole.set_xticks(count, [f"{number:.0f}" for number in count])
    whole.set(xlabel="number of beads P", ylabel="energy, less its limit\n(kcal/mol per atom)")
    whole.legend(loc="lower right")
    enlarged.errorbar(1.0 / np.square(count[fitted]), values[fitted], spread[fitted], **points)
    enlarged.plot(1.0 / np.square(inner), fit, color=style.ORANGE, lw=1.3, zorder=2)
    enlarged.set_xlabel("1/P²")
    enlarged.set_title("numbers that were fitted", fontsize=8.5, pad=4)
    return figure


def _trace(axes: Axes, times: np.ndarray, values: np.ndarray, colour: str, name: str) -> None:
    """Every value faintly, and the mean up to each time."""
    thin = -(-len(times) // _MOST_POINTS)
    axes.plot(times[::thin], values[::thin], color=colour, lw=0.5, alpha=0.35, zorder=2, rasterized=len(times) > 500)
    mean = np.cumsum(values) / np.arange(1, len(values) + 1)
    axes.plot(times[::thin], mean[::thin], color=colour, lw=1.5, label=name, zorder=3)
