"""Figure of a surface around a molecule, coloured by a potential."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import TriMesh
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.tri import Triangulation
from numpy.typing import ArrayLike, NDArray

from atomlens.figures import molecule, style
from atomlens.figures.contributions import symmetric_norm

Floats = NDArray[np.float64]

_LIGHT = np.array([-0.45, 0.55, 0.70])  # from the left and above, toward the reader
_DARKEST = 0.68  # of a colour, where the surface turns away from the light
_GLOSS = 0.25
_TILT = np.deg2rad(20.0)  # of the first view out of the molecule's plane, so that depth shows
_MARGIN = 0.25  # Å


@style.styled
def potential_surface(
    vertices: ArrayLike,
    triangles: ArrayLike,
    values: ArrayLike,
    symbols: Sequence[str],
    positions: ArrayLike,
    probe: str,
    *,
    relative_to: str | None = None,
) -> Figure:
    """Local chemical potential on an isosurface, from two sides (thesis fig. 3.12, 3.14, 4.10; insights paper fig. 5).

    Colours are centred at zero. The molecule's bonds shine through.

    Args:
        vertices: (vertices, 3) in Å.
        triangles: (triangles, 3) rows of ``vertices``, counter-clockwise when seen from outside.
        values: (vertices,) in eV; shown in kcal/mol.
        symbols: element symbols, (atoms,).
        positions: (atoms, 3) in Å.
        probe: element symbol of the probe.
        relative_to: what the values are measured from, for the colour bar.
    """
    factor, shown = style.shown_unit("eV")
    energies = factor * np.asarray(values, dtype=float)
    norm, xyz, atoms = symmetric_norm(energies), np.asarray(vertices, dtype=float), np.asarray(positions, dtype=float)
    frames = viewing_frames(atoms)
    corners = np.asarray(triangles, dtype=np.int64)
    width = max(float(np.ptp(xyz @ frame[0])) for frame in frames) + 2.0 * _MARGIN
    heights = [float(np.ptp(xyz @ frame[1])) + 2.0 * _MARGIN for frame in frames]
    beside = sum(heights) > width
    across, up = (2.0 * width, max(heights)) if beside else (width, sum(heights))
    figure = style.new_figure(float(np.clip(0.88 * style.WIDTH * up / across, 1.2, 6.5)) + 0.75)
    ratios = {"width_ratios": [1.0, 1.0]} if beside else {"height_ratios": heights}
    panels = figure.subplots(*((1, 2) if beside else (2, 1)), gridspec_kw=ratios)
    for axes, frame in zip(panels, frames, strict=True):
        draw_surface(axes, xyz @ frame.T, corners, energies, norm)
        draw_sticks(axes, symbols, atoms, frame)
        centre = 0.5 * ((xyz @ frame.T).max(axis=0) + (xyz @ frame.T).min(axis=0))
        half = 0.5 * np.array([width, max(heights) if beside else float(np.ptp(xyz @ frame[1])) + 2.0 * _MARGIN])
        axes.set(xlim=(centre[0] - half[0], centre[0] + half[0]), ylim=(centre[1] - half[1], centre[1] + half[1]))
        axes.set(aspect="equal")
        axes.set_axis_off()
    mapped = ScalarMappable(norm, matplotlib.colormaps[style.DIVERGING])
    bar = figure.colorbar(mapped, ax=panels, location="bottom", shrink=0.8, aspect=36, pad=0.02)
    bar.set_label(f"Ω of a probe {probe}{f', relative to {relative_to}' if relative_to else ''} ({shown})")
    bar.outline.set_visible(False)
    return figure


def viewing_frames(positions: Floats) -> tuple[Floats, Floats]:
    """Two views as rows right, up and toward the reader, (3, 3): onto a molecule's widest side, and onto its edge."""
    centred = np.vstack([positions - positions.mean(axis=0), np.zeros((3, 3))])
    right, up, toward = np.linalg.svd(centred)[2]
    toward = toward * np.sign(np.cross(right, up) @ toward)
    frames = []
    for tilt in (_TILT, _TILT - 0.5 * np.pi):
        turned = np.cos(tilt) * up + np.sin(tilt) * toward, np.cos(tilt) * toward - np.sin(tilt) * up
        frames.append(np.stack([right, *turned]))
    return frames[0], frames[1]


def draw_surface(axes: Axes, xyz: Floats, triangles: NDArray[np.int64], values: Floats, norm: Normalize) -> None:
    """Triangles that face the reader, far ones first, in the colours of their corners, lit."""
    corners = xyz[triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    facing = np.flatnonzero(normals[:, 2] > 0.0)
    order = facing[np.argsort(corners[facing, :, 2].mean(axis=1))]
    mesh = TriMesh(Triangulation(xyz[:, 0], xyz[:, 1], triangles[order]))
    colours: Any = _lit(matplotlib.colormaps[style.DIVERGING](norm(values))[:, :3], _smoothed(normals, triangles))
    mesh.set_facecolor(colours)
    mesh.set_rasterized(True)  # thousands of triangles would make the SVG large
    axes.add_collection(mesh)


def _smoothed(normals: Floats, triangles: NDArray[np.int64]) -> Floats:
    """Unit normals at vertices, from those of the triangles around each by their areas.

    Once more from these: a vertex among slivers has no normal worth the name of its own.
    """
    areas = np.linalg.norm(normals, axis=1, keepdims=True)
    found = _unit(_gathered(normals, triangles))
    return _unit(_gathered(found[triangles].sum(axis=1) * areas, triangles))


def _gathered(vectors: Floats, triangles: NDArray[np.int64]) -> Floats:
    """Sums (vertices, 3) of the triangles' vectors (triangles, 3) at their corners."""
    corners, weights = triangles.ravel(), vectors.repeat(3, axis=0)
    return np.stack([np.bincount(corners, weights[:, axis]) for axis in range(3)], axis=1)


def _unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))


def _lit(colours: Floats, normals: Floats) -> Floats:
    """Colours (vertices, 3) of a surface under a lamp: darker where it turns away, white where it mirrors the lamp."""
    light = _LIGHT / np.linalg.norm(_LIGHT)
    mirrored = light + np.array([0.0, 0.0, 1.0])
    bright = _DARKEST + (1.0 - _DARKEST) * np.clip(normals @ light, 0.0, 1.0)
    gloss = _GLOSS * np.clip(normals @ mirrored / np.linalg.norm(mirrored), 0.0, 1.0) ** 40
    dark = colours * bright[:, None]
    return np.asarray(dark + (1.0 - dark) * gloss[:, None])


def draw_sticks(axes: Axes, symbols: Sequence[str], positions: Floats, frame: Floats) -> None:
    """Bonds and the symbols of atoms but hydrogen and carbon, as if the surface were glass."""
    paper = positions @ frame.T
    for first, second in molecule.bonds(symbols, positions):
        ends = paper[[first, second], :2]
        axes.plot(*ends.T, color="white", lw=2.4, alpha=0.35, zorder=3)
        axes.plot(*ends.T, color=style.INK, lw=1.0, alpha=0.6, zorder=4)
    for name, (x, y, _) in zip(symbols, paper, strict=True):
        if name not in ("H", "C"):
            disc = {"boxstyle": "circle,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.75}
            axes.text(x, y, name, fontsize=8.0, ha="center", va="center_baseline", color=style.INK, bbox=disc, zorder=5)
