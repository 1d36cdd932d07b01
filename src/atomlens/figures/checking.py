"""Figures of the checks of data: lengths, energies, outliers, elements and sizes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import units as ase_units
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from atomlens.figures import style

_BOHR: float = ase_units.Bohr
_MOST_ELEMENTS = 20


@style.styled
def length_ratios(values: ArrayLike) -> Figure:
    """How far nearest atoms are apart, over the sum of their covalent radii, with where other units would lie.

    Args:
        values: medians over atoms, (structures,).
    """
    ratios = np.asarray(values, dtype=float)
    figure = style.new_figure(2.6)
    axes = figure.add_subplot()
    low, high = min(0.45, float(ratios.min()) * 0.95), max(2.1, float(ratios.max()) * 1.05)
    axes.hist(ratios, bins=np.geomspace(low, high, 121).tolist(), color=style.BLUE)
    style.log_axis(axes, "x", low, high)
    axes.set_xlim(low, high)
    marks = [mark for mark in (0.02, 0.05, 0.1, 0.2, 0.5, 0.7, 1.0, 1.4, 2.0, 5.0, 10.0, 50.0) if low < mark < high]
    axes.set_xticks(marks, [f"{mark:g}" for mark in marks])
    axes.set_yscale("log")
    axes.set_ylim(0.7, None)
    for place, words in ((1.0, "Å"), (1 / _BOHR, "Bohr"), (_BOHR, "Å taken\nfor Bohr")):
        axes.axvline(place, color=style.ORANGE if words != "Å" else style.GREEN, lw=1.0, ls=(0, (4, 2)), zorder=0)
        axes.annotate(words, (place, 1.0), (3, -2), xycoords=("data", "axes fraction"), textcoords="offset points",
                      fontsize=7.5, va="top", color=style.MUTED)  # fmt: skip
    axes.set_xlabel("nearest distance over the sum of covalent radii")
    axes.set_ylabel("structures")
    style.light_grid(axes)
    return figure


@style.styled
def energy_residuals(values: ArrayLike) -> Figure:
    """What the elements do not explain of the energies.

    Args:
        values: residuals of the fit to compositions, (structures,) in meV per atom.
    """
    residuals = np.asarray(values, dtype=float)
    figure = style.new_figure(2.6)
    axes = figure.add_subplot()
    _symmetric_histogram(axes, residuals)
    axes.set_xlabel("energy beyond its composition's (meV/atom)")
    return figure


def _symmetric_histogram(axes: Axes, values: np.ndarray) -> None:
    """A histogram over all values, with counts on a logarithmic axis so that single ones are seen."""
    low, high = float(values.min()), float(values.max())
    pad = 0.02 * (high - low) or 1.0
    axes.hist(values, bins=np.linspace(low - pad, high + pad, 121).tolist(), color=style.BLUE)
    axes.set_yscale("log")
    axes.set_ylim(0.7, None)
    axes.set_ylabel("structures")
    style.light_grid(axes)


@style.styled
def outliers(values: ArrayLike, limit: float, quantity: str) -> Figure:
    """The share of structures beyond each deviation, with where outliers begin.

    Args:
        values: deviations from what compositions lead to expect, (structures,), in any unit.
        limit: where outliers begin, in robust standard deviations.
        quantity: for the axis.
    """
    off = np.asarray(values, dtype=float)
    off = np.abs(off - np.median(off))
    size = np.sort(off / (1.4826 * np.median(off)))[::-1]
    figure = style.new_figure(2.8)
    axes = figure.add_subplot()
    share = np.arange(1, len(size) + 1) / len(size)
    highest = 1.5 * max(float(size[0]), limit)
    apart = size > limit
    axes.plot(size[~apart], share[~apart], color=style.BLUE)
    axes.plot(size[apart], share[apart], color=style.ORANGE, marker="o", ms=4, lw=0)
    axes.axvline(limit, color=style.ORANGE, lw=1.0, ls=(0, (4, 2)))
    style.log_axis(axes, "x", 0.3, highest)
    axes.set_xlim(0.3, highest)
    axes.set_yscale("log")
    axes.set_ylim(0.5 / len(size), 1.3)
    axes.set_xlabel(
        f"{quantity}: deviation from its composition's\n(robust standard deviations; outliers beyond the dashes)"
    )
    axes.set_ylabel("share of structures beyond")
    style.light_grid(axes)
    return figure


@style.styled
def element_counts(symbols: Sequence[str], structures: ArrayLike) -> Figure:
    """How many structures have each element; of many elements the rarest are drawn.

    Args:
        symbols: element symbols, (elements,).
        structures: with each, (elements,).
    """
    times = np.asarray(structures, dtype=float)
    chosen = np.sort(np.argsort(times, kind="stable")[:_MOST_ELEMENTS])
    figure = style.new_figure(2.6)
    axes = figure.add_subplot()
    places = np.arange(len(chosen))
    axes.bar(places, times[chosen], color=[style.element_colour(symbols[row]) for row in chosen], width=0.8)
    if times[chosen].max() > 3 * times[chosen].min():
        low, high = 0.7 * float(times[chosen].min()), 1.5 * float(times[chosen].max())
        style.log_axis(axes, "y", low, high)
        axes.set_ylim(low, high)
    axes.set_xticks(places, [symbols[row] for row in chosen])
    axes.set_ylabel("structures with the element")
    if len(chosen) < len(times):
        words = f"the {len(chosen)} rarest of {len(times)} elements"
        axes.set_title(words, fontsize=8.0, loc="right", color=style.MUTED)
    style.light_grid(axes)
    axes.grid(visible=False, axis="x")
    return figure


@style.styled
def sizes(n_atoms: ArrayLike) -> Figure:
    """How many structures have how many atoms.

    Args:
        n_atoms: of each structure, (structures,).
    """
    counts = np.asarray(n_atoms, dtype=int)
    figure = style.new_figure(2.4)
    axes = figure.add_subplot()
    step = max(1, int(np.ceil((counts.max() - counts.min() + 1) / 100)))
    edges = np.arange(counts.min(), counts.max() + step + 1, step) - 0.5
    axes.hist(counts, bins=edges.tolist(), color=style.BLUE, rwidth=0.9)
    axes.set_yscale("log")
    axes.set_ylim(0.7, None)
    axes.set_xlim(edges[0] - step, edges[-1] + step)
    if counts.max() == counts.min():
        axes.set_xticks([int(counts[0])])
    axes.set_xlabel("atoms in the structure")
    axes.set_ylabel("structures")
    style.light_grid(axes)
    return figure
