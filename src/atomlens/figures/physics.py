"""Figures of the physics checks."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from atomlens.figures import style

_MEV = 1000.0  # meV in an eV


@style.styled
def energy_drift(
    times_fs: ArrayLike,
    total_energy_per_atom: ArrayLike,
    potential_energy_per_atom: ArrayLike | None = None,
    drift: float | None = None,
) -> Figure:
    """How well a constant-energy run conserves the energy, beside how much energy moves in it.

    Args:
        times_fs: (steps,) in fs.
        total_energy_per_atom: potential and kinetic energy, (steps,) in eV per atom.
        potential_energy_per_atom: (steps,) in eV per atom; without it the upper panel is left out.
        drift: in eV per atom and ps; by default the slope of a straight line through the total energy.
    """
    times = np.asarray(times_fs, dtype=float)
    total = np.asarray(total_energy_per_atom, dtype=float)
    figure = style.new_figure(3.6 if potential_energy_per_atom is not None else 2.5)
    count = 1 if potential_energy_per_atom is None else 2
    panels = figure.subplots(count, 1, sharex=True, squeeze=False)[:, 0]
    if potential_energy_per_atom is not None:
        _exchange(panels[0], times, total, np.asarray(potential_energy_per_atom, dtype=float))
    _deviation(panels[-1], times, total, drift)
    panels[-1].set_xlabel("time (fs)")
    return figure


def _exchange(
    axes: Axes, times: NDArray[np.float64], total: NDArray[np.float64], potential: NDArray[np.float64]
) -> None:
    """Potential and kinetic energy around their means: the scale on which the drift is small."""
    kinetic = total - potential
    for values, label, colour in ((potential, "potential", style.BLUE), (kinetic, "kinetic", style.ORANGE)):
        axes.plot(times, _MEV * (values - values.mean()), color=colour, label=label, lw=1.0)
    axes.set_ylabel("energy − mean\n(meV/atom)")
    axes.legend(loc="lower right", ncols=2, handlelength=1.2, bbox_to_anchor=(1.0, 0.97), borderaxespad=0.0)
    style.light_grid(axes)


def _deviation(axes: Axes, times: NDArray[np.float64], total: NDArray[np.float64], drift: float | None) -> None:
    """The total energy from its start, with the straight line through it."""
    deviation = _MEV * (total - total[0])
    axes.plot(times, deviation, color=style.INK, lw=1.0)
    if len(times) > 2:
        slope, start = np.polyfit(times, deviation, 1)
        axes.plot(times, start + slope * times, color=style.ORANGE, lw=1.2, ls=(0, (4, 2)))
        per_ps = 1000.0 * slope if drift is None else _MEV * drift
        axes.set_title(f"drift {per_ps:.2g} meV/atom per ps".replace("-", "−"), fontsize=8.0, loc="right", pad=3)
    axes.set_ylabel("total − start\n(meV/atom)")
    style.light_grid(axes)


@style.styled
def finite_difference_order(steps: ArrayLike, errors: ArrayLike, fitted_order: float) -> Figure:
    """Difference between forces and central differences of the energy, against the step; it must fall as the square.

    Args:
        steps: (n,) in Å.
        errors: differences from the force, root mean square over directions, (n,) in eV/Å.
        fitted_order: slope fitted where truncation, not rounding, rules.
    """
    widths, differences = np.asarray(steps, dtype=float), np.asarray(errors, dtype=float)
    kept = (widths > 0.0) & (differences > 0.0) & np.isfinite(differences)
    widths, differences = widths[kept], differences[kept]
    figure = style.new_figure(3.6)
    axes = figure.add_subplot()
    if widths.size:
        _order_line(axes, widths, differences, fitted_order)
        axes.plot(widths, differences, color=style.BLUE, marker="o", ms=5, lw=0.0, label="measured", zorder=3)
        style.log_axis(axes, "x", widths.min(), widths.max())
        style.log_axis(axes, "y", differences.min(), differences.max())
        axes.legend(loc="upper left")
    axes.set_xlabel("step of the central difference (Å)")
    axes.set_ylabel("RMS difference from the force (eV/Å)")
    style.light_grid(axes)
    return figure


def _order_line(axes: Axes, widths: NDArray[np.float64], differences: NDArray[np.float64], fitted_order: float) -> None:
    """The fitted power of the step through the points right of the smallest error, where truncation rules."""
    rising = widths >= widths[np.argmin(differences)]
    offset = float(np.median(np.log(differences[rising]) - fitted_order * np.log(widths[rising])))
    ends = np.array([widths[rising].min(), widths.max()])
    label = f"step to the power {fitted_order:.2f} (fitted)"
    axes.plot(ends, np.exp(offset) * ends**fitted_order, color=style.ORANGE, lw=1.3, label=label)
