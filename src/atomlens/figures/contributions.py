"""Figures of the atoms' shares of the energy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_hex
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from atomlens.figures import molecule, style


def symmetric_norm(values: ArrayLike, percentile: float = 100.0) -> Normalize:
    """Colour limits that lie symmetrically around zero and hold the given share of the magnitudes; NaN is ignored."""
    magnitudes = np.abs(np.asarray(values, dtype=float))
    finite = magnitudes[np.isfinite(magnitudes)]
    limit = float(np.percentile(finite, percentile)) if finite.size else 0.0
    return Normalize(-(limit or 1.0), limit or 1.0)


@style.styled
def atom_contributions(
    symbols: Sequence[str], positions: ArrayLike, values: ArrayLike, label: str = "contribution to the energy"
) -> Figure:
    """The molecule with every atom coloured by its share of the energy E = Σ E_i (insights paper, eq. 2).

    Args:
        symbols: element symbols, (atoms,).
        positions: (atoms, 3) in Å.
        values: E_i, (atoms,) in eV; shown in kcal/mol.
        label: what the values are, for the colour bar.
    """
    factor, shown = style.shown_unit("eV")
    energies = factor * np.asarray(values, dtype=float)
    digits = 1 if np.abs(energies).max() < 100.0 else 0
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
    contributions: Mapping[str, ArrayLike], label: str = "contribution to the energy"
) -> Figure:
    """How the shares of the energy are distributed over many frames, by element (thesis fig. 4.8, paper fig. 2).

    Args:
        contributions: element symbol to its atoms' E_i in eV, any shape; shown in kcal/mol, each on its own range.
        label: what the values are, for the axis.
    """
    factor, shown = style.shown_unit("eV")
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
