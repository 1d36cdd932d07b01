"""Filters in space: bare, and summed over the images of a crystal (thesis 4.3.2, eq. 4.14, fig. 4.4 and 4.5)."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import torch
from ase.geometry import complete_cell

from atomlens.data.neighbours import neighbour_list
from atomlens.data.system import AtomicSystem, symbol
from atomlens.errors import InputError
from atomlens.explain.interactions.radial_filters import convolving, radial_filters
from atomlens.explain.probes.field import Plane, as_system
from atomlens.model import Model, Structure
from atomlens.ops.cfconv import SplineGrid, kernels_for, spline_coefficients
from atomlens.representations import SchNet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SELF = 1e-6  # Å; so near is the atom itself, whose filter is zero (thesis eq. 4.12)
_SAME_PLACE = 0.01  # Å, between an atom and one that a translation puts there
_INTERVALS = 1024  # of the spline for sums over images: its error is far below that of the models' own
_POINTS_AT_ONCE = 500


@dataclass(frozen=True)
class FilterCut:
    """Filters over a plane of displacements r = r_j - r_i: what atom i at zero would hear of an atom j there."""

    x: np.ndarray  # (columns,) Å, along the plane's u
    y: np.ndarray  # (rows,) Å, along the plane's v
    values: np.ndarray  # (interactions, F, rows, columns)
    nearest: np.ndarray  # (rows, columns) Å, the shortest distance at which a filter enters; infinite where none does
    plane: Plane

    def plot(self, places: list[list[int]] | None = None, shortest: float = 0.0) -> Figure:
        """Filters at ``places`` of each interaction, by default the first eight, as small maps (thesis fig. 4.4).

        What filters say below ``shortest`` Å is covered.
        """
        from atomlens.figures import filters

        places = [list(range(min(8, self.values.shape[1])))] * len(self.values) if places is None else places
        shown = np.stack([block[rows] for block, rows in zip(self.values, places, strict=True)])
        rows = [f"interaction {1 + place}" for place in range(len(shown))]
        near = [self.nearest] * len(shown)
        return filters.cuts(self.x, self.y, shown, rows, places, nearest=near, shortest=shortest)


def filter_cut(model: Model, half_width: float = 5.0, spacing: float = 0.1) -> FilterCut:
    """W(|r|) over a square around the atom that hears, by default of 10 × 10 Å as in the thesis.

    Args:
        model: with SchNet or DTNN.
        half_width: of the square, in Å.
        spacing: between points, in Å.

    Raises:
        InputError: the model has no filters.
    """
    plane = _square(np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0]), half_width, "any plane through the atom")
    x, y, points = plane.grid(spacing)
    distances = np.linalg.norm(points, axis=2)
    values = radial_filters(model, distances.ravel()).values
    values = np.where((distances < _SELF).reshape(-1, 1), 0.0, values)
    return FilterCut(x, y, values.transpose(0, 2, 1).reshape(len(values), -1, *distances.shape), distances, plane)


def periodic_filters(
    model: Model, crystal: Structure, plane: Plane | None = None, *, half_width: float = 4.0, spacing: float = 0.1
) -> FilterCut:
    """Σ_R W(|r + R|) over a plane: the filter of eq. 4.14, which an atom and all its images share.

    R runs over all translations that map the crystal onto itself, those of a smaller cell than the one given included:
    atoms that they exchange are alike, and the result does not depend on the choice of the cell. The number of
    neighbours, by which 'mean' divides, is left out.

    Args:
        model: with SchNet and a cutoff.
        crystal: periodic in one, two or three directions.
        plane: of displacements, with the atom that hears at zero; by default see `neighbour_plane`.
        half_width: of the default plane's square, in Å.
        spacing: between points, in Å.

    Raises:
        InputError: the model's interactions are no convolutions or have no cutoff, or nothing repeats.
    """
    system = as_system(crystal)
    representation, cutoff = convolving(model), model.cutoff or 0.0
    if not system.pbc.any():
        raise InputError("nothing repeats in this structure, so its filters are the bare ones; give a crystal")
    plane = plane or neighbour_plane(system, cutoff, half_width=half_width)
    x, y, points = plane.grid(spacing)
    images = _images(system, points.reshape(-1, 3), cutoff)
    values, nearest = _summed(representation, points.reshape(-1, 3), images)
    blocks, shape = len(representation.blocks), points.shape[:2]
    values = np.broadcast_to(values, (blocks, *values.shape[1:])).transpose(0, 2, 1).reshape(blocks, -1, *shape)
    return FilterCut(x, y, values, nearest.reshape(shape), plane)


def image_sum(model: Model, crystal: Structure, displacement: np.ndarray) -> np.ndarray:
    """Σ_R W(|r + R|) at one displacement (3,) in Å, with exact filters: (interactions, F).

    The distances are those of a neighbour list, from an atom at zero to one at r and its images, itself left out.

    Raises:
        InputError: see `periodic_filters`, or r lies within 0.2 Å of an image of the atom itself, but not there.
    """
    system = as_system(crystal)
    cutoff = convolving(model).filters.grid.end
    images = displacement + translations(system)
    apart = images @ np.linalg.inv(complete_cell(system.cell))
    apart[:, system.pbc] -= np.round(apart[:, system.pbc])
    images = images[np.linalg.norm(apart @ complete_cell(system.cell), axis=1) > _SELF]
    places = np.concatenate([np.zeros((1, 3)), images])
    probe = AtomicSystem(np.ones(len(places), dtype=np.int64), places, system.cell, system.pbc)
    centre, neighbour, shift = neighbour_list(probe, cutoff)
    # Images that differ from the atom by lattice vectors are those that the list finds for the atom itself.
    heard = (centre == 0) & ((neighbour > 0) | (len(images) < len(translations(system))))
    distances = np.linalg.norm(places[neighbour[heard]] + shift[heard] @ system.cell, axis=1)
    if not len(distances):
        return np.zeros_like(radial_filters(model, [cutoff]).values[:, 0])
    return np.asarray(radial_filters(model, distances).values.sum(axis=1))


def neighbour_plane(system: AtomicSystem, cutoff: float, atom: int = 0, half_width: float = 4.0) -> Plane:
    """The plane of displacements that holds the two nearest neighbours of an atom that are not in line with it.

    Raises:
        InputError: there is no such atom.
    """
    if not 0 <= atom < len(system.numbers):
        raise InputError(f"there is no atom {atom} (the last one is {len(system.numbers) - 1}); choose another")
    name = f"{symbol(int(system.numbers[atom]))}{atom}"
    vectors = displacements(system, cutoff, atom)
    first = vectors[0] / np.linalg.norm(vectors[0]) if len(vectors) else np.array([1.0, 0.0, 0.0])
    across = vectors - (vectors @ first)[:, None] * first
    aside = np.flatnonzero(np.linalg.norm(across, axis=1) > 0.1 * np.linalg.norm(vectors, axis=1))
    # Without a second neighbour any plane is as good as another: that of the axis most at right angles.
    second = across[aside[0]] if len(aside) else np.eye(3)[np.abs(first).argmin()]
    second = second - (second @ first) * first
    words = f"the plane through {name} and its two nearest neighbours"
    return _square(first, second / np.linalg.norm(second), half_width, words)


def displacements(system: AtomicSystem, cutoff: float, atom: int = 0) -> np.ndarray:
    """r_j - r_i from an atom i to all neighbours and images within the cutoff, nearest first: (neighbours, 3) in Å."""
    centre, neighbour, shift = neighbour_list(system, cutoff)
    own = centre == atom
    vectors = system.positions[neighbour[own]] - system.positions[atom] + shift[own] @ system.cell
    lengths = np.round(np.linalg.norm(vectors, axis=1), 6)  # ties in the same order everywhere
    return np.asarray(vectors[np.lexsort((*np.round(vectors, 6).T, lengths))])


def translations(system: AtomicSystem) -> np.ndarray:
    """Translations within the cell that map a crystal onto itself, (translations, 3) in Å, zero first."""
    counts = np.bincount(system.numbers)
    rarest = int(np.flatnonzero(system.numbers == np.flatnonzero(counts)[counts[counts > 0].argmin()])[0])
    found = [np.zeros(3)]
    for other in np.flatnonzero(system.numbers == system.numbers[rarest]):
        candidate = system.positions[other] - system.positions[rarest]
        if other != rarest and _maps_onto_itself(system, candidate):
            found.append(candidate)
    return np.array(found)


def _maps_onto_itself(system: AtomicSystem, translation: np.ndarray) -> bool:
    cell = np.asarray(complete_cell(system.cell))
    inverse, repeats = np.linalg.inv(cell), system.pbc.astype(float)
    for number in np.unique(system.numbers):
        places = system.positions[system.numbers == number]
        fractions = (places[:, None] + translation - places[None, :]) @ inverse
        apart = (fractions - repeats * np.round(fractions)) @ cell
        if (np.linalg.norm(apart, axis=2).min(axis=1) > _SAME_PLACE).any():
            return False
    return True


def _images(system: AtomicSystem, points: np.ndarray, cutoff: float) -> np.ndarray:
    """All R for which |r + R| may be below the cutoff at one of the points (points, 3): (images, 3) in Å."""
    cell = np.asarray(complete_cell(system.cell))
    inverse, within = np.linalg.inv(cell), translations(system)
    # Planes of constant fractional coordinate lie 1 / |column of the inverse cell| apart.
    extent = cutoff * np.linalg.norm(inverse, axis=0)
    fractions = (points[:, None] + within).reshape(-1, 3) @ inverse
    lowest, highest = np.floor(-fractions.max(axis=0) - extent), np.ceil(-fractions.min(axis=0) + extent)
    axes = [np.arange(a, b + 1) if repeats else [0] for a, b, repeats in zip(lowest, highest, system.pbc, strict=True)]
    return (within[:, None] + np.array(list(product(*axes))) @ cell).reshape(-1, 3)


def _summed(representation: SchNet, points: np.ndarray, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Σ_R W(|r + R|), (blocks, points, F), and the shortest distance at each point, (points,).

    A spline is linear in its coefficients: the weights of all images are summed first, so that the cost hardly grows
    with their number.
    """
    functions = copy.deepcopy(representation.filters).to("cpu", torch.float64)
    grid = replace(functions.grid, intervals=_INTERVALS)
    with torch.no_grad():
        table = spline_coefficients(
            functions.knot_values(grid.samples), kernels_for(torch.device("cpu"), torch.float64)
        )
    sums, nearest = [], []
    for start in range(0, len(points), _POINTS_AT_ONCE):
        chunk = points[start : start + _POINTS_AT_ONCE]
        middle = chunk.mean(axis=0)
        reach = grid.end + np.linalg.norm(chunk - middle, axis=1).max()
        near = images[np.linalg.norm(middle + images, axis=1) < reach]
        distances = np.linalg.norm(chunk[:, None] + near, axis=2)
        sums.append(_spline_weights(grid, distances, table.shape[1]) @ table.numpy())
        nearest.append(distances.min(axis=1, initial=np.inf))
    return np.concatenate(sums, axis=1), np.concatenate(nearest)


def _spline_weights(grid: SplineGrid, distances: np.ndarray, rows: int) -> np.ndarray:
    """What each coefficient of the spline weighs in the sum over the images of distances (points, images)."""
    point, image = np.nonzero((distances < grid.end) & (distances > _SELF))
    apart = torch.from_numpy(distances[point, image])
    place, fraction = grid.locate(apart)
    weights = grid.weights(apart, fraction, 0, torch.float64).numpy()
    where = point[:, None] * rows + place.numpy()[:, None].astype(np.int64) + np.arange(4)
    flat = np.bincount(where.ravel(), weights.ravel(), minlength=len(distances) * rows)
    return flat.reshape(len(distances), rows)


def _square(u: np.ndarray, v: np.ndarray, half_width: float, description: str) -> Plane:
    return Plane(np.zeros(3), u, v, (half_width, half_width), description)
