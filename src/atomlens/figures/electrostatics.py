"""Figures of electrostatic potentials side by side: contoured cuts, and surfaces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from numpy.typing import ArrayLike

from atomlens.figures import style, surface
from atomlens.figures.contributions import symmetric_norm
from atomlens.figures.potential import contour_levels

_IN_PLANE = 0.3  # Å; atoms closer to the plane are drawn filled
_WIDTHS = {1: style.WIDTH, 2: 6.6}  # inches, by the number of panels
_WIDEST = 9.0


@style.styled
def electrostatic_cuts(
    cuts: Sequence[tuple[str, ArrayLike]],
    x: ArrayLike,
    y: ArrayLike,
    atoms: Sequence[Mapping[str, Any]],
    limit: float,
    label: str = "electrostatic potential (V)",
) -> Figure:
    """Potentials of several sets of charges over one plane, on one scale (insights paper, fig. 6).

    Lines of negative potential, where a positive probe is attracted, are dashed. Beyond the limit, close to charges,
    all share the end colours.

    Args:
        cuts: title and values (rows, columns) of each.
        x: (columns,) Å.
        y: (rows,) Å.
        atoms: what `figures.atoms_near_plane` gives.
        limit: about where the scale ends, in both directions from zero.
        label: what is shown, with its unit.
    """
    width = _WIDTHS.get(len(cuts), _WIDEST)
    high, wide = float(np.ptp(np.asarray(y))), float(np.ptp(np.asarray(x)))
    height = float(np.clip(0.85 * width / len(cuts) * high / wide, 1.6, 5.0))
    figure = style.new_figure(height + 1.35, width)
    panels = figure.subplots(1, len(cuts), squeeze=False, sharey=True)[0]
    levels = contour_levels(limit)
    for axes, (title, values) in zip(panels, cuts, strict=True):
        filled = _cut(axes, x, y, np.asarray(values, dtype=float), levels)
        _mark_atoms(axes, atoms)
        axes.set(xlabel="x (Å)", aspect="equal")
        axes.set_title(title, fontsize=9.0)
    panels[0].set_ylabel("y (Å)")
    ticks = levels[len(levels) // 2 % 2 :: 2]  # zero is one of them
    bar = figure.colorbar(
        filled, ax=list(panels), location="bottom", shrink=0.7, aspect=40, pad=0.02, ticks=ticks, extend="both"
    )
    bar.set_label(label)
    return figure


@style.styled
def electrostatic_surfaces(
    surfaces: Sequence[tuple[str, ArrayLike]],
    vertices: ArrayLike,
    triangles: ArrayLike,
    symbols: Sequence[str],
    positions: ArrayLike,
    label: str = "electrostatic potential (V)",
) -> Figure:
    """Potentials of several sets of charges on one surface around a molecule, seen from its widest side, on one scale.

    Args:
        surfaces: title and values (vertices,) of each.
        vertices: (vertices, 3) in Å.
        triangles: (triangles, 3) rows of ``vertices``, counter-clockwise when seen from outside.
        symbols: element symbols, (atoms,).
        positions: (atoms, 3) in Å.
        label: what is shown, with its unit.
    """
    atoms, corners = np.asarray(positions, dtype=float), np.asarray(triangles, dtype=np.int64)
    frame = surface.viewing_frames(atoms)[0]
    xyz = np.asarray(vertices, dtype=float) @ frame.T
    norm = symmetric_norm(np.concatenate([np.asarray(values, dtype=float) for _, values in surfaces]), percentile=99.0)
    low, high = xyz.min(axis=0)[:2] - 0.25, xyz.max(axis=0)[:2] + 0.25
    width = _WIDTHS.get(len(surfaces), _WIDEST)
    wide, tall = high - low
    figure = style.new_figure(float(np.clip(0.95 * width / len(surfaces) * tall / wide, 1.2, 5.0)) + 1.1, width)
    panels = figure.subplots(1, len(surfaces), squeeze=False)[0]
    for axes, (title, values) in zip(panels, surfaces, strict=True):
        surface.draw_surface(axes, xyz, corners, np.asarray(values, dtype=float), norm)
        surface.draw_sticks(axes, symbols, atoms, frame)
        axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
        axes.set_axis_off()
        axes.set_title(title, fontsize=9.0)
    mapped = ScalarMappable(norm, matplotlib.colormaps[style.DIVERGING])
    bar = figure.colorbar(mapped, ax=list(panels), location="bottom", shrink=0.7, aspect=40, pad=0.02, extend="both")
    bar.set_label(label)
    return figure


def _cut(axes: Axes, x: ArrayLike, y: ArrayLike, values: np.ndarray, levels: np.ndarray) -> Any:
    """A wash of colour under contour lines."""
    across, up = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    half_x, half_y = 0.5 * np.ptp(across) / (len(across) - 1), 0.5 * np.ptp(up) / (len(up) - 1)
    extent = (across[0] - half_x, across[-1] + half_x, up[0] - half_y, up[-1] + half_y)
    filled = axes.imshow(
        values,
        cmap=matplotlib.colormaps[style.DIVERGING],
        norm=Normalize(float(levels[0]), float(levels[-1])),
        origin="lower",
        extent=extent,
        interpolation="bilinear",
    )
    axes.set(xlim=(across[0], across[-1]), ylim=(up[0], up[-1]))
    lines: list[float] = [level for level in levels.tolist() if values.min() < level < values.max()]
    if lines:
        dashes: Any = ["dashed" if level < 0.0 else "solid" for level in lines]
        widths = [1.3 if level == 0.0 else 0.7 for level in lines]
        axes.contour(across, up, values, lines, colors=style.INK, linestyles=dashes, linewidths=widths, alpha=0.75)
    axes.spines[["top", "right"]].set_visible(True)
    return filled


def _mark_atoms(axes: Axes, atoms: Sequence[Mapping[str, Any]]) -> None:
    """Atoms as discs, those nearest to the plane on top; open discs for atoms that lie above or below it."""
    for order, atom in enumerate(sorted(atoms, key=lambda each: -abs(each["height"]))):
        colour = style.element_colour(atom["symbol"])
        in_plane = abs(atom["height"]) <= _IN_PLANE
        place = (float(atom["x"]), float(atom["y"]))
        face, ink = (colour, style.text_on(colour)) if in_plane else ("white", style.INK)
        axes.add_patch(Circle(place, 0.3, facecolor=face, edgecolor=colour, lw=1.1, zorder=5 + 2 * order))
        axes.text(*place, f"{atom['symbol']}{atom['index']}", ha="center", va="center_baseline", fontsize=5.5,
                  color=ink, zorder=6 + 2 * order)  # fmt: skip
