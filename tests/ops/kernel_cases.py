"""Pairs on which the backends of the convolution are compared."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from atomlens.ops.cfconv.graph import Groups, PairGraph
from atomlens.ops.cfconv.kernels import ComposedKernels
from atomlens.ops.cfconv.spline import SplineGrid

END = 4.0


@dataclass(frozen=True)
class Case:
    """A graph with distances, before any backend has seen it."""

    centre: np.ndarray
    neighbour: np.ndarray
    distances: np.ndarray
    atoms: int
    features: int
    fade: str = "smooth"
    intervals: int = 4

    @property
    def grid(self):
        return SplineGrid(END, self.intervals, self.fade)


def draw(atoms, pairs, features, *, shortest=0.0, longest=1.2 * END, fade="smooth"):
    """Random pairs; the last atom hears nobody, the first one, a probe, is heard by nobody, and some are too far."""
    random = np.random.default_rng(atoms + pairs + features)
    centre = np.sort(random.integers(0, max(atoms - 1, 1), pairs))
    neighbour = random.integers(1, max(atoms, 2), pairs)
    return Case(centre, neighbour, random.uniform(shortest, longest, pairs), atoms, features, fade)


def _with_nan(case):
    distances = case.distances.copy()
    distances[3::7] = np.nan
    return replace(case, distances=distances)


CASES = {
    "any": draw(7, 40, 5),
    "one feature": draw(6, 20, 1, fade="cosine"),
    "64 features": draw(5, 18, 64),
    "128 features": draw(5, 12, 128),
    "two tiles of features": draw(4, 9, 131),
    "stays beyond the end": draw(6, 25, 3, fade="none"),
    "hub": draw(2, 300, 3, shortest=2.1, longest=2.2),  # one atom hears, and all pairs share an interval of the table
    "all too far": draw(6, 20, 3, shortest=END, longest=2.0 * END),
    "distances not known": _with_nan(draw(7, 40, 3)),
    "no pairs": draw(5, 0, 4),
    "no features": draw(5, 10, 0),
    "no atoms": draw(0, 0, 3),
}


@dataclass(frozen=True)
class Inputs:
    """What the primitives take."""

    x: Tensor
    y: Tensor
    g: Tensor
    table: Tensor
    scale: Tensor
    graph: PairGraph
    place: Tensor
    by_place: Groups
    weights: Tensor
    slopes: Tensor


def inputs(case, kernels, dtype, device):
    """The same numbers for every backend."""
    random = np.random.default_rng(0)

    def some(*shape):
        return torch.from_numpy(random.normal(size=shape)).to(device, dtype)

    grid, distances = case.grid, torch.from_numpy(case.distances)
    place, fraction = grid.locate(distances)
    weights, slopes = (grid.weights(distances, fraction, order, dtype).to(device) for order in (0, 1))
    place = place.to(device)
    centre, neighbour = (torch.from_numpy(index).to(device) for index in (case.centre, case.neighbour))
    return Inputs(
        x=some(case.atoms, case.features),
        y=some(case.atoms, case.features),
        g=some(case.atoms, case.features),
        table=some(grid.n_samples + 2, case.features),
        scale=some(len(case.distances)),
        graph=kernels.graph(centre, neighbour, case.atoms),
        place=place,
        by_place=kernels.group(place, grid.n_samples - 1),
        weights=weights,
        slopes=slopes,
    )


def in_double(given):
    """The same inputs, rounded or not, in float64."""
    names = ("x", "g", "table", "y", "scale", "weights", "slopes")
    return replace(given, **{name: getattr(given, name).double() for name in names})


def primitives(kernels, given, graph, scale):
    """The results of the three primitives by name, and of what the backend computes itself in place of several."""
    here, by_place, weights = (graph, given.place), given.by_place, given.weights
    found = {
        "convolve": kernels.convolve(given.x, given.table, *here, weights, scale),
        "dot": kernels.dot(given.g, given.x, given.table, *here, weights),
        "table_gradient": kernels.table_gradient(given.g, given.x, *here, by_place, weights, scale),
    }
    return found if isinstance(kernels, ComposedKernels) else found | combinations(kernels, given, graph)


def combinations(kernels, given, graph):
    """The results of two primitives in one, by name."""
    here, both = (graph, given.place), (given.weights, given.slopes, given.scale)
    return {
        "convolve_both": kernels.convolve_both(given.x, given.y, given.table, *here, *both),
        "table_gradient_both": kernels.table_gradient_both(given.g, given.x, given.y, *here, given.by_place, *both),
    }


def assert_rounding(found, expected, *, units=16):
    """Equal but for roundings: ``units`` in the last place of the largest number, NaN where NaN is expected."""
    largest = float(expected.nan_to_num(0.0).abs().max()) if expected.numel() else 0.0
    atol = units * torch.finfo(found.dtype).eps * largest
    torch.testing.assert_close(found.cpu().double(), expected, rtol=0.0, atol=atol, equal_nan=True)
