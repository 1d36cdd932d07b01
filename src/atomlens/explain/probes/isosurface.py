"""The surface Σ_i |r - r_i|⁻² = c around a molecule, on which potentials are shown (thesis fig. 3.12)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from atomlens.data.system import AtomicSystem
from atomlens.errors import InputError
from atomlens.explain.probes.field import as_system
from atomlens.model import Structure

ISOVALUE = 3.8  # Å⁻², of thesis chapter 3 and the insights paper's figure 5; 3.7 in thesis chapter 4
MAX_NODES = 8_000_000  # of the grid for marching cubes
_AT_ONCE = 1_000_000  # distances
_COARSE, _COARSE_STEPS = 0.7, 100  # Å between the points of a first look, and how many of them along a side at most
_STEPS = 60  # halving alone takes an edge to rounding in fifty


@dataclass(frozen=True)
class Isosurface:
    """A closed triangulated surface, its triangles counter-clockwise when seen from outside."""

    vertices: np.ndarray  # (vertices, 3) Å
    triangles: np.ndarray  # (triangles, 3) rows of vertices
    isovalue: float  # c in Å⁻²


def inverse_square_sum(system: AtomicSystem, points: np.ndarray) -> np.ndarray:
    """Σ_i |r - r_i|⁻² over a structure's atoms at points (points, 3) in Å: (points,) in Å⁻²; infinite at an atom."""
    found = np.empty(len(points))
    size = max(_AT_ONCE // len(system.numbers), 1)
    for start in range(0, len(points), size):
        part = points[start : start + size]
        squares = sum((part[:, None, axis] - system.positions[None, :, axis]) ** 2 for axis in range(3))
        with np.errstate(divide="ignore"):
            found[start : start + size] = (1.0 / squares).sum(axis=1)
    return found


def isosurface(structure: Structure, isovalue: float = ISOVALUE, spacing: float = 0.2) -> Isosurface:
    """The surface by marching cubes on a grid of ``spacing`` Å; its vertices lie on it to rounding.

    Raises:
        InputError: the structure repeats, or scikit-image is not installed.
    """
    system = as_system(structure)
    if not 0.0 < isovalue < np.inf:
        raise InputError(f"a surface needs an isovalue above 0 Å⁻², not {isovalue:g}; the documents take 3.8")
    if system.pbc.any():
        raise InputError(
            "the sum of |r - r_i|⁻² over the endless images of a crystal has no limit, so there is no such surface "
            "around it; look at cuts, or at a grid over its cell"
        )
    try:
        from skimage import measure
    except ImportError:
        raise InputError("surfaces need scikit-image; install it with: pip install 'atomlens[explain]'") from None
    nodes, shape = _nodes(system, isovalue, spacing)
    # The inverse root is smooth, also at atoms, and of one atom alone the distance from it.
    roots = (inverse_square_sum(system, nodes) ** -0.5).reshape(shape)
    if roots.min() >= isovalue**-0.5:
        raise InputError(
            f"the surface at {isovalue:g} Å⁻² is smaller than the grid's spacing of {spacing:g} Å; choose a lower value"
        )
    marching_cubes = cast(Any, measure.marching_cubes)  # it is not annotated
    places, triangles, _, _ = marching_cubes(
        roots, isovalue**-0.5, gradient_direction="descent", allow_degenerate=False
    )
    return Isosurface(_on_surface(system, places, nodes[0], spacing, isovalue), triangles.astype(np.int64), isovalue)


def _nodes(system: AtomicSystem, isovalue: float, spacing: float) -> tuple[np.ndarray, tuple[int, ...]]:
    """A grid (points, 3) in Å around the surface, first corner first, and its shape.

    Every atom adds at most 1/d², d being the distance from the nearest: beyond √(n / c) the sum is below c. That is far
    too wide for many atoms. But the inverse root of the sum grows by no more than the distance, so a coarse grid shows
    where the surface cannot be.

    Raises:
        InputError: there would be too many points.
    """
    positions = system.positions
    margin = np.sqrt(len(positions) / isovalue) + spacing
    low, high = positions.min(axis=0) - margin, positions.max(axis=0) + margin
    coarse = max(_COARSE, float((high - low).max()) / _COARSE_STEPS)
    rough = _box(low, high, coarse)[0]
    near = rough[inverse_square_sum(system, rough) ** -0.5 <= isovalue**-0.5 + 0.5 * np.sqrt(3.0) * coarse]
    margin = 0.5 * coarse + spacing
    low, high = near.min(axis=0) - margin, near.max(axis=0) + margin
    if float(np.prod((high - low) / spacing)) > MAX_NODES:
        raise InputError(
            f"a surface around {' by '.join(f'{side:.0f}' for side in high - low)} Å has too many points at a spacing "
            f"of {spacing:g} Å; choose a wider one"
        )
    return _box(low, high, spacing)


def _box(low: np.ndarray, high: np.ndarray, spacing: float) -> tuple[np.ndarray, tuple[int, ...]]:
    shape = tuple((np.ceil((high - low) / spacing).astype(int) + 1).tolist())
    return low + spacing * np.indices(shape).reshape(3, -1).T, shape


def _on_surface(
    system: AtomicSystem, places: np.ndarray, low: np.ndarray, spacing: float, isovalue: float
) -> np.ndarray:
    """Vertices moved along the edges of the grid on which they were found, to where the surface crosses these.

    Newton's steps that leave what is left of the edge, where the surface must lie, are halvings of it instead.

    Args:
        system: the molecule.
        places: (vertices, 3) in steps of the grid; each lies on an edge, so two of the three are whole numbers.
        low: (3,) the grid's corner in Å.
        spacing: of the grid in Å.
        isovalue: c in Å⁻².
    """
    places = places.astype(np.float64)
    axis = np.abs(places - np.round(places)).argmax(axis=1)
    along = spacing * np.eye(3)[axis]
    rows = np.arange(len(places))
    start = np.round(places)
    start[rows, axis] = np.floor(places[rows, axis])
    corner, level = low + spacing * start, isovalue**-0.5
    left, right = np.zeros(len(places)), np.ones(len(places))
    rising = inverse_square_sum(system, corner) ** -0.5 < level
    t, step = places[rows, axis] - start[rows, axis], 1e-6
    for _ in range(_STEPS):
        off, after = (
            inverse_square_sum(system, corner + (t + shift)[:, None] * along) ** -0.5 - level for shift in (0.0, step)
        )
        if np.abs(off).max(initial=0.0) < 1e-13 * level:
            break
        below = (off < 0.0) == rising
        left, right = np.where(below, t, left), np.where(below, right, t)
        with np.errstate(divide="ignore", invalid="ignore"):
            newton = t - off * step / (after - off)
        t = np.where((newton > left) & (newton < right), newton, 0.5 * (left + right))
    return np.asarray(corner + t[:, None] * along)
