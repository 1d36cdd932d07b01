"""Figures of harmonic vibrations: spectra, and the frequencies of one model beside those of another."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from scipy.signal import find_peaks

from atomlens.figures import style

_NAMED = 6  # peaks that are written beside, the highest
_FAINT = 0.05  # of the highest; less has no name


@style.styled
def vibrational_spectrum(
    frequencies: ArrayLike, heights: ArrayLike, grid: ArrayLike, curve: ArrayLike, label: str, note: str = ""
) -> Figure:
    """Lines of a spectrum under their broadened sum; the highest peaks are named by their wavenumbers.

    Args:
        frequencies: (modes,) cm⁻¹; imaginary ones, given as negative numbers, are dashed left of zero.
        heights: (modes,) of the lines, on the scale of the curve.
        grid: (points,) cm⁻¹.
        curve: (points,).
        label: of the ordinate, with its unit.
        note: a few words at the top, such as the width of the lines.
    """
    centres, tall = np.asarray(frequencies, dtype=float), np.asarray(heights, dtype=float)
    figure = style.new_figure(3.0)
    axes = figure.add_subplot()
    axes.plot(grid, curve, color=style.BLUE, lw=1.1, zorder=2)
    axes.fill_between(np.asarray(grid), np.asarray(curve), color=style.BLUE, alpha=0.12, lw=0, zorder=1)
    real = centres >= 0
    axes.vlines(centres[real], 0.0, tall[real], color=style.ORANGE, lw=1.0, zorder=3)
    top = max(float(np.max(curve)), float(tall.max(initial=0.0))) or 1.0
    if not real.all():
        axes.vlines(centres[~real], 0.0, 0.5 * top, color=style.INK, lw=1.0, ls=(0, (2, 2)), zorder=3)
        axes.text(centres.min(), 0.52 * top, "imaginary", fontsize=7.0, color=style.INK, ha="left", va="bottom")
    _name_peaks(axes, np.asarray(grid), np.asarray(curve), top)
    left = 1.1 * float(centres.min(initial=0.0))
    axes.set(xlabel="wavenumber (cm⁻¹)", ylabel=label, ylim=(0.0, 1.16 * top), xlim=(left, float(np.max(grid))))
    if note:
        axes.set_title(note, fontsize=8.0, loc="right", pad=3)
    style.light_grid(axes)
    return figure


def _name_peaks(axes: Axes, grid: np.ndarray, curve: np.ndarray, top: float) -> None:
    """Wavenumbers above the highest peaks of the curve, none on top of another."""
    apart, written = 0.075 * float(np.ptp(grid)), np.empty(0)
    peaks = find_peaks(curve, height=_FAINT * top)[0]
    for place in peaks[np.argsort(-curve[peaks], kind="stable")]:
        if len(written) == _NAMED:
            return
        if len(written) and np.abs(written - grid[place]).min() < apart:
            continue
        written = np.append(written, grid[place])
        height = curve[place] + 0.02 * top
        axes.text(grid[place], height, f"{grid[place]:.0f}", fontsize=7.0, ha="center", va="bottom")


@style.styled
def frequencies_compared(reference: ArrayLike, own: ArrayLike, names: tuple[str, str]) -> Figure:
    """Two sets of frequencies, the reference's upwards and the other's downwards, and what lies between them below.

    Args:
        reference: (modes,) cm⁻¹, in rising order.
        own: (modes,) cm⁻¹, in rising order.
        names: of the reference and of the other.
    """
    first, second = np.asarray(reference, dtype=float), np.asarray(own, dtype=float)
    figure = style.new_figure(3.8)
    lines, below = figure.subplots(2, 1, sharex=True, height_ratios=(1.0, 1.1))
    for values, side, colour, name in ((first, 1, style.BLUE, names[0]), (second, -1, style.ORANGE, names[1])):
        lines.vlines(values, 0.0, side, color=colour, lw=0.9)
        lines.text(0.0, 1.06 * side, name, color=colour, fontsize=8.0, va="bottom" if side > 0 else "top",
                   transform=lines.get_yaxis_transform())  # fmt: skip
    lines.axhline(0.0, color=style.MUTED, lw=0.7)
    lines.set(ylim=(-1.45, 1.45), yticks=[])
    lines.spines[["left", "bottom"]].set_visible(False)
    lines.tick_params(length=0)
    _differences(below, first, second)
    return figure


def _differences(axes: Axes, first: np.ndarray, second: np.ndarray) -> None:
    """Relative differences in per cent, and where the largest is."""
    relative = 100.0 * (second - first) / np.maximum(np.abs(first), np.finfo(float).tiny)
    worst = int(np.abs(relative).argmax())
    axes.axhline(0.0, color=style.MUTED, lw=0.7)
    axes.plot(first, relative, color=style.ORANGE, marker="o", ms=3.0, lw=0.0)
    axes.plot(first[worst], relative[worst], color=style.INK, marker="o", ms=6.0, lw=0.0, mfc="none")
    largest = f"largest: {abs(relative[worst]):.2g} % at {first[worst]:.0f} cm⁻¹"
    axes.set_title(largest, fontsize=8.0, loc="right", pad=3)
    axes.set(xlabel="wavenumber (cm⁻¹)", ylabel="difference (%)")
    style.light_grid(axes)
