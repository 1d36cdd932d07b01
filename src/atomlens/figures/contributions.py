"""Figures of the atoms' shares of the energy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_hex
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from atomlens.figures import molecule, style

_MOST_COLUMNS = 6
_BINS = 48
_TAIL = 0.001  # of a distribution, at either end, that lies in the end bins


def symmetric_norm(values: ArrayLike, percentile: float = 100.0) -> Normalize:
    """Colour limits that lie symmetrically around zero and hold the given share of the magnitudes; NaN is ignored."""
    magnitudes = np.abs(np.asarray(values, dtype=float))
    finite = magnitudes[np.isfinite(magnitudes)]
    limit = float(np.percentile(finite, percentile)) if finite.size else 0.0
    return Normalize(-(limit or 1.0), limit or 1.0)


@style.styled
def atom_contributions(
    symbols: Sequence[str],
    positions: ArrayLike,
    values: ArrayLike,
    label: str = "contribution to the energy",
    unit: str = "eV",
) -> Figure:
    """The molecule with every atom coloured by its share of the energy E = Σ E_i (insights paper, eq. 2), or the like.

    Args:
        symbols: element symbols, (atoms,).
        positions: (atoms, 3) in Å.
        values: E_i, (atoms,) in ``unit``.
        label: what the values are, for the colour bar.
        unit: of the values; energies are shown in kcal/mol.
    """
    factor, shown = style.shown_unit(unit)
    energies = factor * np.asarray(values, dtype=float)
    largest = float(np.abs(energies).max())
    digits = int(np.clip(2 - np.floor(np.log10(largest or 1.0)), 0, 3))
    norm, colour_map = symmetric_norm(energies), matplotlib.colormaps[style.DIVERGING]
    paper, _ = molecule.project(positions)
    extent = np.ptp(paper, axis=0) + 2.0
    figure = style.new_figure(float(np.clip(style.WIDTH * extent[1] / extent[0], 2.2, 4.6)) + 0.6)
    axes = figure.add_subplot()
    colours = [to_hex(colour_map(norm(energy))) for energy in energies]
    labels = [
        f"{symbol}{index}\n{round(energy, digits) + 0.0:.{digits}f}".replace("-", "−")
        for index, (symbol, energy) in enumerate(zip(symbols, energies, strict=True))
    ]
    molecule.draw_atoms(axes, symbols, positions, colours, labels)
    bar = figure.colorbar(
        ScalarMappable(norm, colour_map), ax=axes, location="bottom", shrink=0.72, aspect=34, pad=0.02
    )
    bar.set_label(f"{label} ({shown})")
    bar.outline.set_visible(False)
    return figure


@style.styled
def contribution_distributions(
    contributions: Mapping[str, ArrayLike], label: str = "contribution to the energy", unit: str = "eV"
) -> Figure:
    """How the shares of the energy are distributed over many frames, by element (thesis fig. 4.8, paper fig. 2).

    Args:
        contributions: element symbol to its atoms' E_i in ``unit``, any shape; each is shown on its own range.
        label: what the values are, for the axis.
        unit: of the values; energies are shown in kcal/mol.
    """
    factor, shown = style.shown_unit(unit)
    figure = style.new_figure(0.7 + 1.15 * len(contributions))
    panels = figure.subplots(len(contributions), 1, squeeze=False)[:, 0]
    for axes, (symbol, values) in zip(panels, contributions.items(), strict=True):
        _distribution(axes, symbol, factor * np.asarray(values, dtype=float).ravel(), shown)
    panels[-1].set_xlabel(f"{label} ({shown})")
    return figure


def _distribution(axes: Axes, symbol: str, values: NDArray[np.float64], unit: str) -> None:
    """One element's histogram with its mean, and its spread in words."""
    mean, spread = float(values.mean()), float(values.std())
    pad = 0.04 * float(np.ptp(values)) or 1.0
    colour = style.element_colour(symbol)
    bins = int(np.clip(np.sqrt(values.size), 12, 70))
    axes.hist(values, bins=bins, range=(values.min() - pad, values.max() + pad), color=colour, alpha=0.85)
    axes.axvline(mean, color=style.INK, lw=1.0)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.locator_params(axis="x", nbins=6)
    digits = int(np.clip(1 - np.floor(np.log10(spread or 1.0)), 0, 6))
    words = f"mean {mean:.{digits}f}, spread {spread:.{digits}f} {unit}".replace("-", "−")
    axes.set_title(words, fontsize=8.0, loc="right", pad=2)
    axes.set_title(symbol, fontsize=10.0, fontweight="bold", color=colour, loc="left", pad=2)


@style.styled
def contribution_grid(
    contributions: Mapping[str, Mapping[str, ArrayLike]],
    totals: Mapping[str, ArrayLike],
    label: str = "contribution to the energy",
    unit: str = "eV",
    total_words: str = "sum",
) -> Figure:
    """Distributions by element (columns) and model (rows), to compare their widths (thesis fig. 4.8, paper fig. 2).

    All models share the axis of a column. The farthest thousandth at either end lies in the end bins. The six elements
    with the most atoms are drawn.

    Args:
        contributions: model to element symbol to its atoms' terms in ``unit``.
        totals: model to the structures' totals in ``unit``, for a last column.
        label: what the values are, for the axis.
        unit: of the values; energies are shown in kcal/mol.
        total_words: what the totals are.
    """
    factor, shown = style.shown_unit(unit)
    first = next(iter(contributions.values()))
    sizes = {name: np.size(values) for name, values in first.items()}
    common = set(sorted(sizes, key=lambda name: -sizes[name])[:_MOST_COLUMNS])
    columns = [*(name for name in sizes if name in common), total_words]
    rows = len(contributions)
    figure = style.new_figure(0.9 + 0.85 * rows, max(style.WIDTH, 1.25 * len(columns) + 0.4))
    panels = figure.subplots(rows, len(columns), squeeze=False, sharex="col")
    for column, name in enumerate(columns):
        values = [
            factor * np.asarray(totals[model] if name == total_words else own[name], dtype=float).ravel()
            for model, own in contributions.items()
        ]
        _column(
            panels[:, column].tolist(), name, values, style.INK if name == total_words else style.element_colour(name)
        )
    for row, model in enumerate(contributions):
        panels[row, 0].set_ylabel(model, rotation=0, ha="right", va="center", fontsize=8.0)
    figure.supxlabel(f"{label} ({shown})", fontsize=9.0)
    return figure


def _column(panels: Iterable[Axes], name: str, values: Sequence[NDArray[np.float64]], colour: str) -> None:
    """One element's histograms below each other on one axis, each scaled to its own height, with its spread."""
    every = np.concatenate(values)
    low, high = (float(end) for end in np.quantile(every, [_TAIL, 1.0 - _TAIL]))
    pad = 0.04 * (high - low) or 1.0
    edges = np.linspace(low - pad, high + pad, _BINS + 1)
    for axes, own in zip(panels, values, strict=True):
        counts, _ = np.histogram(np.clip(own, edges[0], edges[-1]), edges)
        axes.stairs(counts, edges, fill=True, color=colour, alpha=0.85)
        axes.set_ylim(0.0)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.locator_params(axis="x", nbins=3)
        axes.tick_params(axis="x", labelsize=7.0)
        axes.set_title(f"± {own.std():#.3g}".removesuffix("."), fontsize=7.0, loc="right", pad=1)
    next(iter(panels)).set_title(name, fontsize=10.0, fontweight="bold", color=colour, loc="left", pad=2)
