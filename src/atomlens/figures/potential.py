"""Figure of a local chemical potential as a contoured cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from atomlens.figures import style
from atomlens.figures.contributions import symmetric_norm

_IN_PLANE = 0.3  # Å; atoms closer to the plane are drawn filled
_SAME_PLACE = 0.3  # Å; atoms above and below the same spot share a marker
_LARGEST_MASK = 1.0  # Å; wider masks are no nuclei's
_MASKED = "#e9ecef"
_FEWEST_LINES = 4


def atoms_near_plane(
    symbols: Sequence[str], positions: ArrayLike, origin: ArrayLike, axis_x: ArrayLike, axis_y: ArrayLike,
    reach: float = 1.2,
) -> list[dict[str, Any]]:  # fmt: skip
    """The atoms in or near a plane, in its coordinates.

    Args:
        symbols: element symbols, (atoms,).
        positions: (atoms, 3) in Å.
        origin: the point of the plane where x = y = 0, (3,) in Å.
        axis_x: unit vector along x, (3,).
        axis_y: unit vector along y, (3,), at right angles to ``axis_x``.
        reach: how far from the plane an atom may be, in Å.

    Returns:
        One dictionary per atom with ``index``, ``symbol``, ``x``, ``y`` and ``height`` (Å).
    """
    across, up = np.asarray(axis_x, dtype=float), np.asarray(axis_y, dtype=float)
    frame = np.stack([across, up, np.cross(across, up)], axis=1)
    local = (np.asarray(positions, dtype=float) - np.asarray(origin, dtype=float)) @ frame
    return [
        {"index": index, "symbol": symbol, "x": float(x), "y": float(y), "height": float(height)}
        for index, (symbol, (x, y, height)) in enumerate(zip(symbols, local, strict=True))
        if abs(height) <= reach
    ]


@style.styled
def potential_cut(
    x: ArrayLike,
    y: ArrayLike,
    values: ArrayLike,
    atoms_in_plane: Sequence[Mapping[str, Any]],
    probe: str,
    *,
    relative_to: str | None = None,
) -> Figure:
    """Local chemical potential Ω(r) of a probe atom in a plane (thesis eq. 3.13 and 4.15; insights paper, fig. 5).

    Lines of negative values are dashed, as in the paper. Colours are centred at zero, and the strongest two per cent of
    the values share the end colours.

    Args:
        x: (nx,) in Å.
        y: (ny,) in Å.
        values: (ny, nx) in eV, NaN where masked (close to nuclei); shown in kcal/mol.
        atoms_in_plane: what `atoms_near_plane` gives.
        probe: element symbol of the probe.
        relative_to: what the values are measured from, for the colour bar.
    """
    factor, shown = style.shown_unit("eV")
    field = np.ma.masked_invalid(factor * np.asarray(values, dtype=float))
    norm = symmetric_norm(field.filled(np.nan), percentile=98.0)
    levels = contour_levels(float(norm.vmax or 1.0))
    figure = style.new_figure(_height(np.asarray(x, dtype=float), np.asarray(y, dtype=float)))
    axes = figure.add_subplot(facecolor=_MASKED)
    # Bands finer than the lines give an even wash of colour under them.
    bands = np.linspace(levels[0], levels[-1], 6 * (len(levels) - 1) + 1)
    colour_map = matplotlib.colormaps[style.DIVERGING]
    norm.vmin, norm.vmax = float(levels[0]), float(levels[-1])
    filled = axes.contourf(x, y, field, bands, cmap=colour_map, norm=norm, extend="both", antialiased=False)
    filled.set_rasterized(True)  # hundreds of bands would make the SVG large
    present = field.compressed() if field.count() else np.zeros(1)
    lines = contour_lines(levels, present)
    if lines:
        steep = _without_flat_zero(field, float(levels[-1]))
        dashes: Any = ["dashed" if level < 0.0 else "solid" for level in lines]
        widths = [1.3 if level == 0.0 else 0.7 for level in lines]
        axes.contour(x, y, steep, lines, colors=style.INK, linestyles=dashes, linewidths=widths, alpha=0.75)
    _round_masks(axes, np.asarray(x, dtype=float), np.asarray(y, dtype=float), field.mask, atoms_in_plane)
    _mark_atoms(axes, atoms_in_plane)
    limits = {"xlim": (np.min(x), np.max(x)), "ylim": (np.min(y), np.max(y))}  # atoms' marks may reach beyond
    axes.set(xlabel="x (Å)", ylabel="y (Å)", aspect="equal", **limits)
    axes.spines[["top", "right"]].set_visible(True)
    bar = figure.colorbar(filled, ax=axes, location="bottom", shrink=0.8, aspect=36, pad=0.02, ticks=levels[::2])
    bar.set_label(f"Ω of a probe {probe}{f', relative to {relative_to}' if relative_to else ''} ({shown})")
    return figure


def contour_levels(limit: float) -> NDArray[np.float64]:
    """Round levels, evenly spaced and symmetric around zero, that reach ``limit``."""
    ticks = np.asarray(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]).tick_values(0.0, limit))
    positive = ticks[ticks > 1e-9 * limit]
    return np.concatenate([-positive[::-1], [0.0], positive])


def contour_lines(levels: NDArray[np.float64], values: NDArray[np.float64]) -> list[float]:
    """The levels that values reach; finer round ones where the bulk of the values would lie between two or three."""
    low, high = np.percentile(values, (2.0, 98.0))
    if low < high and np.count_nonzero((levels > low) & (levels < high)) < _FEWEST_LINES:
        levels = np.asarray(MaxNLocator(nbins=8, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high))
    return [level for level in levels.tolist() if values.min() < level < values.max()]


def _height(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Height of the figure (inches) that leaves no empty margins at the usual width."""
    return float(np.clip(0.88 * style.WIDTH * np.ptp(y) / np.ptp(x), 2.0, 5.5)) + 1.15


def _mark_atoms(axes: Axes, atoms: Sequence[Mapping[str, Any]]) -> None:
    """Filled circles for atoms in the plane, open ones for atoms near it."""
    centre = np.mean([(atom["x"], atom["y"]) for atom in atoms], axis=0) if atoms else np.zeros(2)
    halo = [withStroke(linewidth=2.0, foreground="white")]
    for group in _grouped(atoms):
        first = group[0]
        place = (float(first["x"]), float(first["y"]))
        in_plane = abs(first["height"]) <= _IN_PLANE
        colour = style.element_colour(first["symbol"])
        face = colour if in_plane else "white"
        label = "/".join(f"{atom['symbol']}{atom['index']}" for atom in group)
        radius = 0.24 if in_plane else 0.2
        axes.add_patch(Circle(place, radius, facecolor=face, edgecolor=colour, lw=1.2, zorder=5))
        if in_plane:
            axes.text(*place, label, ha="center", va="center_baseline", fontsize=7.0, zorder=6,
                      color=style.text_on(colour), clip_on=True)  # fmt: skip
        else:
            away = np.array(place) - centre
            right, up = 13.0 * away / max(float(np.linalg.norm(away)), 1e-9)
            axes.annotate(label, place, (right, up), textcoords="offset points", ha="center", va="center",
                          fontsize=7.0, zorder=6, path_effects=halo)  # fmt: skip


def _without_flat_zero(field: Any, limit: float) -> Any:
    """The field with its flat far regions masked, where the line of zero would follow mere rounding."""
    slope = np.hypot(*np.gradient(field.filled(np.nan)))
    flat = (np.abs(field) < 0.01 * limit) & (np.nan_to_num(slope) < 0.002 * limit)
    return np.ma.masked_where(np.ma.filled(flat, True), field)


def _round_masks(
    axes: Axes, x: NDArray[np.float64], y: NDArray[np.float64], mask: Any, atoms: Sequence[Mapping[str, Any]]
) -> None:
    """Discs over the masked surroundings of nuclei, whose edges the grid makes ragged."""
    rows, columns = np.nonzero(np.broadcast_to(mask, (len(y), len(x))))
    if not rows.size or not atoms:
        return
    places = np.array([(atom["x"], atom["y"]) for atom in atoms])
    distances = np.hypot(x[columns, None] - places[:, 0], y[rows, None] - places[:, 1])
    owner = distances.argmin(axis=1)
    cell = float(np.hypot(x[1] - x[0], y[1] - y[0]))
    for atom, (centre_x, centre_y) in enumerate(places.tolist()):
        own = distances[owner == atom, atom]
        if own.size and own.max() < _LARGEST_MASK:
            axes.add_patch(Circle((centre_x, centre_y), own.max() + cell, facecolor=_MASKED, lw=0.0, zorder=4))


def _grouped(atoms: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Atoms that lie over the same spot together, those nearest to the plane first."""
    groups: list[list[Mapping[str, Any]]] = []
    for atom in sorted(atoms, key=lambda each: abs(each["height"])):
        for group in groups:
            if np.hypot(group[0]["x"] - atom["x"], group[0]["y"] - atom["y"]) < _SAME_PLACE:
                group.append(atom)
                break
        else:
            groups.append([atom])
    return groups
