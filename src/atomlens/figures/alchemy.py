"""Figures of alchemical paths (thesis fig. 3.16)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from atomlens.figures import style

COLOURS = (style.BLUE, style.ORANGE, style.GREEN, style.MUTED)
_DASHES: tuple[Any, ...] = ("-", (0, (4, 2)), (0, (1, 1.5)), (0, (4, 1, 1, 1)))


@dataclass(frozen=True)
class Curve:
    """The energy along one path."""

    name: str
    alpha: ArrayLike  # (steps,) whole numbers are molecules
    energy: ArrayLike  # (steps,) eV
    plain: ArrayLike | None = None  # (molecules,) eV, the molecules at whole numbers by themselves
    colour: int = 0  # which of `COLOURS`
    dashes: int = 0  # which pattern of the line


@style.styled
def alchemical_path(
    curves: Sequence[Curve],
    stations: Sequence[str],
    label: str = "energy",
    *,
    labelled: ArrayLike | None = None,
    atom_energies: ArrayLike | None = None,
    atoms: Sequence[str] = (),
) -> Figure:
    """Energies along alchemical paths, and below them the terms of the atoms along one of them.

    Args:
        curves: paths with α from 0 to the last station.
        stations: names of the molecules at whole α.
        label: what the energies are, for the axis; they are shown in kcal/mol.
        labelled: (molecules,) in eV, what the data set says of the molecules, NaN where it does not.
        atom_energies: (steps, atoms) in eV along the first curve.
        atoms: their names; those of one name are drawn alike.
    """
    panels = 1 if atom_energies is None else 2
    figure = style.new_figure(3.6 if panels == 1 else 6.0)
    axes = figure.subplots(panels, 1, sharex=True, squeeze=False)[:, 0]
    _energies(axes[0], curves, label, None if labelled is None else np.asarray(labelled, dtype=float))
    if atom_energies is not None:
        _atoms(axes[1], np.asarray(curves[0].alpha, dtype=float), np.asarray(atom_energies, dtype=float), atoms)
    for each in axes:
        style.light_grid(each)
        each.grid(visible=False, axis="x")
        for place in range(len(stations)):
            each.axvline(place, color=style.HAIRLINE, lw=0.9, zorder=0)
    axes[-1].set_xticks(range(len(stations)), [f"{place}\n{name}" for place, name in enumerate(stations)])
    axes[-1].set_xlabel("α")
    return figure


def _energies(axes: Axes, curves: Sequence[Curve], label: str, labelled: NDArray[np.float64] | None) -> None:
    factor, shown = style.shown_unit("eV")
    hollow: dict[str, Any] = {"lw": 0.0, "marker": "o", "ms": 5, "mfc": "white", "mew": 1.2, "zorder": 4}
    for curve in curves:
        colour, pattern = COLOURS[curve.colour % len(COLOURS)], _DASHES[curve.dashes % len(_DASHES)]
        energy = factor * np.asarray(curve.energy, dtype=float)
        axes.plot(np.asarray(curve.alpha), energy, color=colour, ls=pattern, label=curve.name)
        if curve.plain is not None:
            plain = factor * np.asarray(curve.plain, dtype=float)
            axes.plot(range(len(plain)), plain, color=colour, **hollow)
    if any(curve.plain is not None for curve in curves):
        axes.plot([], [], color=style.INK, label="molecules by themselves", **hollow)
    if labelled is not None and np.isfinite(labelled).any():
        axes.plot(range(len(labelled)), factor * labelled, color=style.INK, lw=0.0, marker="+", ms=9, mew=1.4, zorder=5,
                  label="labels of the data set")  # fmt: skip
    axes.set_ylabel(f"{label}\n({shown})")
    axes.legend(loc="best", handlelength=2.2)


def _atoms(axes: Axes, alpha: NDArray[np.float64], values: NDArray[np.float64], atoms: Sequence[str]) -> None:
    factor, shown = style.shown_unit("eV")
    names = list(dict.fromkeys(atoms))
    for place, name in enumerate(names):
        colour = _spread_colour(place, len(names))
        for count, column in enumerate(np.flatnonzero(np.array(atoms) == name)):
            axes.plot(alpha, factor * values[:, column], color=colour, lw=1.3, label=None if count else name)
    axes.set_ylabel(f"terms of the atoms\n({shown})")
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.45, -0.26), ncols=min(4, len(names)), handlelength=1.2, fontsize=7.5
    )


def _spread_colour(place: int, count: int) -> str:
    """Few curves have the colours of the house, many are spread over the viridis map."""
    if count <= len(COLOURS):
        return COLOURS[place]
    return str(to_hex(matplotlib.colormaps[style.SEQUENTIAL](0.92 * place / (count - 1))))
