"""Figures of the checks of labels against each other: forces, energies, stress, composition."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from atomlens.data.units import KCAL_PER_MOL, from_internal
from atomlens.figures import style

_HEXAGONS_FROM = 1_500  # points; with fewer, every point is drawn
_RANGE = 99.5  # per cent of the points that the axes show
_BINS = 60


@style.styled
def net_forces(force: NDArray[np.float64], torque: NDArray[np.float64], size: float) -> Figure:
    """How large net forces and torques are, beside the forces on atoms.

    Args:
        force: (structures,) eV/Å, lengths of the net forces.
        torque: (structures,) eV, lengths of the net torques; NaN where there is none.
        size: eV/Å, root mean square length of the forces on atoms.
    """
    parts = [("net force (kcal/mol/Å)", force, style.BLUE)]
    turning = torque[np.isfinite(torque)]
    if len(turning):
        parts.append(("net torque (kcal/mol)", turning, style.GREEN))
    figure = style.new_figure(2.0 + 1.6 * (len(parts) - 1))
    shown = [values[values > 0.0] / KCAL_PER_MOL for _, values, _ in parts]
    most = size / KCAL_PER_MOL
    low = min([most, *(float(np.quantile(values, 0.001)) for values in shown if len(values))])
    high = max([most, *(float(values.max()) for values in shown if len(values))])
    edges = np.geomspace(0.5 * low, 2.0 * high, _BINS)
    rows = figure.subplots(len(parts), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (label, _, colour), values in zip(rows, parts, shown, strict=True):
        axes.hist(values, bins=edges, color=colour)
        if colour == style.BLUE:
            axes.axvline(most, color=style.ORANGE, lw=1.2)
        axes.set_xlabel(label)
        axes.set_ylabel("structures")
        style.log_axis(axes, "x", edges[0], edges[-1])
        axes.tick_params(labelbottom=True)
        style.light_grid(axes)
    rows[0].set_title("orange: force on an atom (root mean square)", fontsize=8.0, color=style.MUTED)
    return figure


@style.styled
def work_against_energy(
    work: NDArray[np.float64], energy: NDArray[np.float64], distance: NDArray[np.float64], slope: float
) -> Figure:
    """Differences of energy between near frames against what the forces along the way say.

    Args:
        work: (pairs,) eV, by the forces.
        energy: (pairs,) eV, by the energies.
        distance: (pairs,) Å between the frames.
        slope: of the energies against the work, in the data.
    """
    figure = style.new_figure(4.1)
    axes = figure.add_subplot()
    _points(figure, axes, work / KCAL_PER_MOL, energy / KCAL_PER_MOL, distance, "distance of the frames (Å)")
    _lines(axes, slope)
    axes.set_xlabel("energy difference by the forces (kcal/mol)")
    axes.set_ylabel("energy difference by the energies (kcal/mol)")
    return figure


@style.styled
def stress_against_energy(
    work: NDArray[np.float64], energy: NDArray[np.float64], strain: NDArray[np.float64], slope: float
) -> Figure:
    """Differences of energy between strained crystals against what the stress says.

    Args:
        work: (pairs,) eV, by the stress.
        energy: (pairs,) eV, by the energies, without what the forces explain.
        strain: (pairs,) between the two crystals.
        slope: of the energies against the work, in the data.
    """
    figure = style.new_figure(4.1)
    axes = figure.add_subplot()
    _points(figure, axes, work, energy, strain, "strain between the structures")
    _lines(axes, slope)
    axes.set_xlabel("energy difference by the stress (eV)")
    axes.set_ylabel("energy difference by the energies (eV)")
    return figure


@style.styled
def label_against_composition(values: NDArray[np.float64], fitted: NDArray[np.float64], name: str, unit: str) -> Figure:
    """A label against the linear regression on the composition.

    Args:
        values: (structures,) in internal units.
        fitted: (structures,) by the regression.
        name: of the label, in words.
        unit: in which it is shown.
    """
    figure = style.new_figure(4.1)
    axes = figure.add_subplot()
    x, y = (np.array([from_internal(value, unit) for value in column]) for column in (fitted, values))
    _points(figure, axes, x, y, None, "")
    _lines(axes, 1.0)
    axes.set_xlabel(f"{name} by the composition ({style.plain_unit(unit)})")
    axes.set_ylabel(f"{name}, labelled ({style.plain_unit(unit)})")
    return figure


def _points(
    figure: Figure,
    axes: Axes,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    colour: NDArray[np.float64] | None,
    meaning: str,
) -> None:
    """Points coloured by a number or, where they are many, hexagons by their number; a few far ones are left out."""
    (left, right), (low, high) = _limits(x), _limits(y)
    inside = (x >= left) & (x <= right) & (y >= low) & (y <= high)
    if len(x) >= _HEXAGONS_FROM:
        cells = axes.hexbin(
            x[inside], y[inside], gridsize=60, mincnt=1, extent=(left, right, low, high), cmap=style.SEQUENTIAL, lw=0.2
        )
        cells.set_norm(LogNorm(1.0, max(2.0, float(np.max(cells.get_array())))))  # type: ignore[arg-type]
        figure.colorbar(cells, ax=axes, label="points per cell", shrink=0.8)
    elif colour is None:
        axes.scatter(x[inside], y[inside], s=14, color=style.BLUE, alpha=0.55, linewidths=0, zorder=3)
    else:
        dots = axes.scatter(x[inside], y[inside], s=16, c=colour[inside], cmap=style.SEQUENTIAL, linewidths=0, zorder=3)
        figure.colorbar(dots, ax=axes, label=meaning, shrink=0.8)
    axes.set(xlim=(left, right), ylim=(low, high), box_aspect=1.0)
    style.light_grid(axes)
    if not inside.all():
        axes.set_title(f"{int((~inside).sum()):,} of {len(x):,} lie outside", fontsize=8.0, color=style.MUTED)


def _limits(values: NDArray[np.float64]) -> tuple[float, float]:
    tail = 0.5 * (100.0 - _RANGE)
    low, high = np.percentile(values, [tail, 100.0 - tail]) if len(values) > 200 else (values.min(), values.max())
    pad = 0.06 * float(high - low) or 1.0
    return float(low) - pad, float(high) + pad


def _lines(axes: Axes, slope: float) -> None:
    """The line of slope 1, and that of the data where it is another."""
    (left, right), limits = axes.get_xlim(), axes.get_ylim()
    ends = np.array([left, right])
    axes.plot(ends, ends, color=style.INK, lw=1.0, zorder=4, label="slope 1: labels agree")
    if abs(slope - 1.0) > 0.02:
        axes.plot(
            ends, slope * ends, color=style.ORANGE, lw=1.2, ls=(0, (4, 2)), zorder=4, label=f"data: slope {slope:.3g}"
        )
    axes.set(xlim=(left, right), ylim=limits)
    axes.legend(loc="best", handlelength=1.6)
