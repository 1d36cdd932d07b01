"""Drawing molecules: the view that hides least, bonds, and atoms in the order of their depth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase.data import atomic_numbers, covalent_radii
from matplotlib.axes import Axes
from matplotlib.patches import Circle
from numpy.typing import ArrayLike, NDArray

from atomlens.figures import style

Floats = NDArray[np.float64]

_BOND_STRETCH = 1.2  # two atoms are drawn bonded up to this multiple of the sum of their covalent radii
_VIEWS = 400
_CLEAR_DISTANCE = 0.9  # Å on paper at which two atoms do not hide each other


def bonds(symbols: Sequence[str], positions: ArrayLike) -> list[tuple[int, int]]:
    """Pairs of atoms closer than 1.2 times the sum of their covalent radii (Cordero et al. 2008, as in ASE).

    Args:
        symbols: element symbols, (atoms,).
        positions: (atoms, 3) in Å.
    """
    xyz = np.asarray(positions, dtype=float)
    radii = np.array([_radius(symbol) for symbol in symbols])
    distances = np.linalg.norm(xyz[:, None] - xyz[None, :], axis=-1)
    bonded = distances < _BOND_STRETCH * (radii[:, None] + radii[None, :])
    first, second = np.nonzero(np.triu(bonded, k=1))
    return list(zip(first.tolist(), second.tolist(), strict=True))


def project(positions: ArrayLike) -> tuple[Floats, Floats]:
    """Look at a molecule along the direction, near the normal of its principal plane, in which atoms hide least.

    Args:
        positions: (atoms, 3) in Å.

    Returns:
        Coordinates on paper (atoms, 2) in Å with the longest axis along x, and depths (atoms,), larger is nearer.
    """
    xyz = np.asarray(positions, dtype=float)
    centred = xyz - xyz.mean(axis=0)
    aligned = _aligned(centred)
    view = max(_directions(), key=lambda direction: _clarity(aligned, direction))
    right = np.array([1.0, 0.0, 0.0]) - view[0] * view
    right /= np.linalg.norm(right)
    up = np.cross(view, right)
    paper = aligned @ np.stack([right, up], axis=1)
    return paper, aligned @ view


def _aligned(centred: Floats) -> Floats:
    """Coordinates along the principal axes, longest first: right-handed, or chirality would be lost; signs by rule."""
    _, _, axes = np.linalg.svd(centred, full_matrices=True)
    for axis in (0, 1):
        along = centred @ axes[axis]
        # The first of the farthest atoms lies on the positive side; rounding settles ties the same way everywhere.
        axes[axis] *= 1.0 if along[np.argmax(np.round(np.abs(along), 6))] >= 0.0 else -1.0
    axes[2] = np.cross(axes[0], axes[1])
    aligned: Floats = centred @ axes.T
    return aligned


def _directions() -> Floats:
    """View directions (views, 3) within 60 degrees of z, evenly spread (Fibonacci sphere), z itself first."""
    index = np.arange(_VIEWS)
    z = 1.0 - 0.5 * index / _VIEWS
    angle = np.pi * (3.0 - np.sqrt(5.0)) * index
    radius = np.sqrt(1.0 - z**2)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), z], axis=1)


def _clarity(aligned: Floats, direction: Floats) -> float:
    """Smallest distance between two atoms on paper, up to what is clear, less a price for tilting."""
    if len(aligned) < 2:
        return float(direction[2])
    first, second = np.triu_indices(len(aligned), k=1)
    apart = aligned[first] - aligned[second]
    on_paper = apart - (apart @ direction)[:, None] * direction
    nearest = np.linalg.norm(on_paper, axis=1).min()
    return round(float(min(nearest, _CLEAR_DISTANCE) - 0.5 * (1.0 - direction[2])), 6)


def draw_atoms(
    axes: Axes,
    symbols: Sequence[str],
    positions: ArrayLike,
    colours: Sequence[str],
    labels: Sequence[str],
) -> None:
    """Draw atoms as labelled circles joined by bonds, far ones first, with a bar of one Ångström.

    Args:
        axes: where; its own axes are hidden.
        symbols: element symbols, (atoms,).
        positions: (atoms, 3) in Å.
        colours: fill of every atom.
        labels: text of every atom.
    """
    paper, depth = project(positions)
    rank = np.argsort(np.argsort(depth))
    radii = np.array([0.24 + 0.26 * _radius(symbol) for symbol in symbols])
    points = _points_per_angstrom(axes, paper)
    bond_width, type_size = min(4.5, 0.09 * points), min(8.0, 0.165 * points)
    for first, second in bonds(symbols, positions):
        ends = paper[[first, second]]
        order = 2 * min(rank[first], rank[second]) + 1
        axes.plot(*ends.T, color="white", lw=bond_width + 3.0, zorder=order, solid_capstyle="butt")
        axes.plot(*ends.T, color="#9aa5b0", lw=bond_width, zorder=order, solid_capstyle="butt")
    for atom, (x, y) in enumerate(paper):
        order = 2 * rank[atom] + 2
        edge = style.element_colour(symbols[atom])
        axes.add_patch(Circle((x, y), radii[atom], facecolor=colours[atom], edgecolor=edge, lw=1.6, zorder=order))
        axes.text(x, y, labels[atom], ha="center", va="center", fontsize=type_size, linespacing=1.15,
                  color=style.text_on(colours[atom]), zorder=order)  # fmt: skip
    _frame(axes, paper, radii)


def _points_per_angstrom(axes: Axes, paper: Floats) -> float:
    """The scale of the drawing, so that letters fit into the circles."""
    return 72.0 * float(axes.figure.get_figure(root=True).get_figwidth()) / float(np.ptp(paper[:, 0]) + 1.2)


def _frame(axes: Axes, paper: Floats, radii: Floats) -> None:
    """Limits around the atoms, and the bar that gives the scale."""
    low = (paper - radii[:, None]).min(axis=0) - 0.15
    high = (paper + radii[:, None]).max(axis=0) + 0.15
    bar_y = low[1] - 0.25
    axes.plot([low[0] + 0.15, low[0] + 1.15], [bar_y, bar_y], color=style.MUTED, lw=1.2, solid_capstyle="butt")
    axes.text(low[0] + 1.27, bar_y, "1 Å", fontsize=8.0, color=style.MUTED, va="center_baseline")
    axes.set(xlim=(low[0], high[0]), ylim=(bar_y - 0.25, high[1]), aspect="equal")
    axes.set_axis_off()


def _radius(symbol: str) -> float:
    """Covalent radius in Å; unknown symbols count as ASE's placeholder."""
    return float(covalent_radii[atomic_numbers.get(symbol, 0)])
