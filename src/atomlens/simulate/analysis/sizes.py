"""How large an open structure is along a run: diameter, width of a cage, radius of gyration."""

from __future__ import annotations

import numpy as np

from atomlens.errors import InputError
from atomlens.simulate.analysis.distributions import BINS, Density, Measure, sampled_density
from atomlens.simulate.analysis.pairs import pair_distances
from atomlens.simulate.frames import Frames


def check_open(frames: Frames) -> None:
    """Sizes are of molecules.

    Raises:
        InputError: the structure is periodic, or a single atom.
    """
    if frames.pbc.any():
        raise InputError("a periodic structure has no size of its own; look at its cell instead")
    if len(frames.numbers) < 2:
        raise InputError("a single atom has no size; simulate a structure of two atoms or more")


def largest_distance(positions: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """The diameter of a set of points: the largest distance between two atoms, (1, samples) Å."""
    first, second = np.triu_indices(positions.shape[1], 1)
    return np.asarray(pair_distances(first, second)(positions, cells).max(axis=0, keepdims=True))


def gyration(masses: np.ndarray) -> Measure:
    """Radius of gyration, sqrt(Σ m |r - R|² / Σ m) about the centre of mass R, (1, samples) Å."""
    weights = np.asarray(masses, dtype=float) / float(np.sum(masses))

    def measure(positions: np.ndarray, _: np.ndarray) -> np.ndarray:
        centred = positions - np.einsum("a,sac->sc", weights, positions)[:, None]
        return np.sqrt(np.einsum("a,sac->s", weights, np.square(centred)))[None]

    return measure


def opposite_pairs(frames: Frames) -> np.ndarray:
    """Pairs of atoms, (atoms / 2, 2), each the farthest of the other by the mean distance over the run's frames.

    Raises:
        InputError: some atom is not its farthest atom's farthest: this is no cage with a centre.
    """
    check_open(frames)
    rows = np.unique(np.linspace(0, len(frames.times) - 1, 64).astype(int))
    positions = np.asarray(frames.positions[rows], dtype=float).reshape(-1, len(frames.numbers), 3)
    apart = np.zeros((len(frames.numbers),) * 2)
    for points in positions:
        apart += np.linalg.norm(points[:, None] - points[None], axis=-1)
    farthest = apart.argmax(axis=1)
    own = np.arange(len(farthest))
    if not np.array_equal(farthest[farthest], own) or (farthest == own).any():
        raise InputError("the atoms do not come in opposite pairs, as those of a cage do; ask for the diameter")
    return np.stack([own, farthest], axis=1)[own < farthest]


def diameter_density(
    frames: Frames, *, bins: int = BINS, limits: tuple[float, float] | None = None, title: str = ""
) -> Density:  # fmt: skip
    """Diameter: the largest distance between two atoms (thesis figure 5.6, middle, as the panels take it)."""
    check_open(frames)
    return sampled_density(frames, largest_distance, "diameter", "Å", bins=bins, limits=limits, title=title)


def opposite_density(
    frames: Frames, pairs: np.ndarray | None = None, *, bins: int = BINS, limits: tuple[float, float] | None = None,
    title: str = "",
) -> Density:  # fmt: skip
    """Width of a cage: the mean distance of its opposite atoms.

    Raises:
        InputError: the structure is no such cage.
    """
    check_open(frames)
    pairs = opposite_pairs(frames) if pairs is None else pairs
    distances = pair_distances(pairs[:, 0], pairs[:, 1])

    def measure(positions: np.ndarray, cells: np.ndarray) -> np.ndarray:
        return np.asarray(distances(positions, cells).mean(axis=0, keepdims=True))

    return sampled_density(frames, measure, "cage width", "Å", bins=bins, limits=limits, title=title)


def gyration_density(
    frames: Frames, *, bins: int = BINS, limits: tuple[float, float] | None = None, title: str = ""
) -> Density:  # fmt: skip
    """Mass-weighted radius of gyration."""
    check_open(frames)
    measure = gyration(frames.masses)
    return sampled_density(frames, measure, "radius of gyration", "Å", bins=bins, limits=limits, title=title)
