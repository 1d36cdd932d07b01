"""Distances between atoms along a run: of all pairs, of bonded pairs, to the nearest neighbour, and g(r)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
import vesin
from ase.data import chemical_symbols, covalent_radii
from ase.geometry import complete_cell

from atomlens.errors import InputError
from atomlens.progress import track
from atomlens.simulate.analysis.blocks import block_average, plain
from atomlens.simulate.analysis.distributions import (
    BINS,
    MOST_BLOCKS,
    Density,
    Measure,
    sampled_density,
    seen_limits,
)
from atomlens.simulate.frames import Frames

REACH = 8.0  # Å, how far g(r) goes by default
# Two atoms with covalent radii (Cordero et al. 2008) that sum to s are bonded below 1.15 s, or s + 0.3 Å up to 1.6 Å.
_STRETCH, _SLACK, _SLACK_UP_TO = 1.15, 0.3, 1.6
_AT_ONCE = 128  # frames, to spare memory
_LOOKED_AT = 64  # frames over which a bond's length is averaged to tell whether it is one


@dataclass(frozen=True)
class Bonds:
    """Bonded pairs, each once; with the lattice vectors that lead from the first atom's cell to the second's image."""

    first: np.ndarray  # (bonds,)
    second: np.ndarray  # (bonds,)
    shift: np.ndarray  # (bonds, 3)

    def __len__(self) -> int:
        return len(self.first)

    def of(self, chosen: np.ndarray) -> Bonds:
        """Some of them."""
        return Bonds(self.first[chosen], self.second[chosen], self.shift[chosen])


@dataclass(frozen=True)
class PairDistribution:
    """g(r) of one pair of elements: the density of the second around the first, over its mean density in the cell."""

    pair: str  # such as "O–H"
    edges: np.ndarray  # (bins + 1,) Å
    values: np.ndarray  # (bins,)
    error: np.ndarray  # (bins,) one standard error
    neighbours: (
        np.ndarray
    )  # (bins,) mean number of the second element around one atom of the first, up to the bin's end
    neighbours_error: np.ndarray  # (bins,)
    caution: str = ""

    @property
    def centres(self) -> np.ndarray:
        """Middles of the bins in Å."""
        return 0.5 * (self.edges[1:] + self.edges[:-1])

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {name: plain(value) for name, value in vars(self).items()}


def element_pairs(numbers: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of the structure's elements, each once, in rising order of atomic numbers."""
    return list(combinations_with_replacement(sorted({int(number) for number in numbers}), 2))


def pair_name(pair: tuple[int, int]) -> str:
    """Such as ``C–H``; the heavier element stands first."""
    return f"{chemical_symbols[pair[1]]}–{chemical_symbols[pair[0]]}"


def find_bonds(frames: Frames) -> Bonds:
    """Pairs that are bonded by their mean distance over the run, so that a vibration never makes or breaks one.

    Candidates come from the first frame of the first copy; positions may not be wrapped into the cell.

    Raises:
        InputError: no two atoms are bonded.
    """
    radii = covalent_radii[frames.numbers]
    found = [*_neighbours(frames, 0, 0, 1.6 * 2 * float(radii.max()))]
    first, second, shift = (np.asarray(each) for each in found[:3])
    bonds = Bonds(first.astype(np.int64), second.astype(np.int64), shift.astype(float).reshape(-1, 3))
    rows = np.unique(np.linspace(0, len(frames.times) - 1, _LOOKED_AT).astype(int))
    atoms = len(frames.numbers)
    positions = np.asarray(frames.positions[rows], dtype=float).reshape(-1, atoms, 3)
    lengths = bond_lengths(bonds)(positions, frames.cells[rows].reshape(-1, 3, 3)).mean(axis=1)
    bonds = bonds.of(lengths < _bonded_below(bonds, frames.numbers))
    if not len(bonds):
        raise InputError("no two atoms are as close as a bond on average; look at nearest neighbours instead")
    return bonds


def _bonded_below(bonds: Bonds, numbers: np.ndarray) -> np.ndarray:
    """The length in Å up to which two such atoms count as bonded."""
    radii = covalent_radii[numbers]
    sums = radii[bonds.first] + radii[bonds.second]
    return np.asarray(np.maximum(_STRETCH * sums, np.minimum(sums + _SLACK, _SLACK_UP_TO)))


def stretched_bonds(frames: Frames) -> np.ndarray:
    """How far the bonds of the first frame are stretched in any frame and copy: a broken one leaves no trace in means.

    Returns:
        (bonds,) the longest that each gets, over the length up to which two such atoms count as bonded; empty where
        the first frame has no bonds.
    """
    start = Frames(
        frames.numbers, frames.masses, frames.pbc, frames.times[:1], frames.positions[:1, :1], frames.cells[:1, :1]
    )
    try:
        bonds = find_bonds(start)
    except InputError:
        return np.empty(0)
    measure, longest, atoms = bond_lengths(bonds), np.zeros(len(bonds)), len(frames.numbers)
    for row in range(0, len(frames.times), _AT_ONCE):
        positions = np.asarray(frames.positions[row : row + _AT_ONCE], dtype=float).reshape(-1, atoms, 3)
        cells = frames.cells[row : row + _AT_ONCE].reshape(-1, 3, 3)
        longest = np.maximum(longest, measure(positions, cells).max(axis=1))
    return np.asarray(longest / _bonded_below(bonds, frames.numbers))


def bond_lengths(bonds: Bonds) -> Measure:
    """The length of every bond in Å."""

    def measure(positions: np.ndarray, cells: np.ndarray) -> np.ndarray:
        axes = np.ascontiguousarray(positions.transpose(2, 1, 0))
        return np.sqrt(_squares(axes, bonds.first, bonds.second, bonds.shift if bonds.shift.any() else None, cells))

    return measure


def pair_distances(first: np.ndarray, second: np.ndarray) -> Measure:
    """The distances in Å of pairs of atoms of an open structure."""
    return bond_lengths(Bonds(first, second, np.zeros((len(first), 3))))


def nearest_distances(pbc: np.ndarray) -> Measure:
    """For every atom the distance to its nearest neighbour in Å, images included."""

    def open_measure(positions: np.ndarray, cells: np.ndarray) -> np.ndarray:
        atoms = positions.shape[1]
        first, second = np.triu_indices(atoms, 1)
        squares = _squares(np.ascontiguousarray(positions.transpose(2, 1, 0)), first, second, None, cells)
        return np.sqrt(np.stack([squares[(first == atom) | (second == atom)].min(axis=0) for atom in range(atoms)]))

    def periodic_measure(positions: np.ndarray, cells: np.ndarray) -> np.ndarray:
        return np.stack([_nearest(points, cell, pbc) for points, cell in zip(positions, cells, strict=True)], axis=1)

    return periodic_measure if pbc.any() else open_measure


def bond_density(
    frames: Frames, bonds: Bonds | None = None, *, name: str = "bond length", bins: int = BINS,
    limits: tuple[float, float] | None = None, title: str = "",
) -> Density:  # fmt: skip
    """Distances between bonded neighbours: "nearest neighbours" of thesis figure 5.6 as the panels take it."""
    measure = bond_lengths(find_bonds(frames) if bonds is None else bonds)
    return sampled_density(frames, measure, name, "Å", bins=bins, limits=limits, title=title)


def nearest_density(
    frames: Frames, *, bins: int = BINS, limits: tuple[float, float] | None = None, title: str = ""
) -> Density:  # fmt: skip
    """For every atom the distance to the one atom that is nearest in that frame.

    Raises:
        InputError: there is one atom only and no image of it.
    """
    if len(frames.numbers) < 2 and not frames.pbc.any():
        raise InputError("a single atom has no neighbour; simulate a structure of two atoms or more")
    measure = nearest_distances(frames.pbc)
    return sampled_density(frames, measure, "nearest neighbour", "Å", bins=bins, limits=limits, title=title)


def distance_density(
    frames: Frames, pair: tuple[int, int] | None = None, *, bins: int = BINS,
    limits: tuple[float, float] | None = None, title: str = "",
) -> Density:  # fmt: skip
    """Radial distribution h(r) of an open structure: the density of the distance of a pair of atoms drawn at random.

    It integrates to 1, unlike g(r), which needs a volume; times the number of other atoms it counts the neighbours of
    an atom (thesis figure 5.6, right).

    Args:
        frames: the run.
        pair: atomic numbers of two elements; every pair of atoms without.
        bins: how many.
        limits: in Å.
        title: of the progress bar.

    Raises:
        InputError: the structure is periodic, or has no such pair.
    """
    if frames.pbc.any():
        raise InputError("a periodic structure has no end of pairs; ask for g(r), which counts per volume")
    first, second = np.triu_indices(len(frames.numbers), 1)
    if pair is not None:
        kinds = np.sort(np.stack([frames.numbers[first], frames.numbers[second]]), axis=0)
        chosen = (kinds[0] == min(pair)) & (kinds[1] == max(pair))
        first, second = first[chosen], second[chosen]
    if not len(first):
        raise InputError("the structure has no such pair of atoms; choose other elements")
    name = "pair distance" if pair is None else f"{pair_name(pair)} distance"
    measure = pair_distances(first, second)
    if limits is None:
        low, high = seen_limits(frames, measure)
        limits = max(low, 0.0), high
    return sampled_density(frames, measure, name, "Å", bins=bins, limits=limits, title=title)


def pair_distributions(
    frames: Frames, reach: float = REACH, *, bins: int = BINS, title: str = ""
) -> list[PairDistribution]:
    """g(r) of every pair of elements of a periodic structure, exact at every distance: all images are counted.

    g_ab = C_ab / (N_a N_b/V · shell) with C_ab ordered pairs in a shell of exact volume, normalised by the volume of
    each frame. Of independent atoms it is 1 between elements and 1 - 1/N within one, as an atom is no neighbour of
    itself.

    Args:
        frames: the run, equilibration left out.
        reach: up to which distance, Å; may be beyond half the cell.
        bins: how many.
        title: of the progress bar.

    Raises:
        InputError: the structure is not periodic in all three directions.
    """
    if not frames.pbc.all():
        raise InputError("g(r) needs a structure that is periodic in three directions; an open one has h(r) instead")
    pairs = element_pairs(frames.numbers)
    block = max(1, len(frames.times) // MOST_BLOCKS)
    skipped = len(frames.times) % block
    samples, squares = [], np.zeros((2, len(pairs), bins))
    with track(title, len(frames.times), "frames") as bar:
        for start in range(skipped, len(frames.times), block):
            rows = np.stack([_shells(frames, frame, reach, bins, pairs) for frame in range(start, start + block)])
            squares += np.square(rows).sum(axis=(0, 1))
            samples.append(rows.mean(axis=0))
            bar.advance(block)
    values = np.stack(samples)
    total = values.shape[0] * values.shape[1] * block
    variance = np.maximum(squares / total - np.square(values.mean(axis=(0, 1))), 0.0)
    average = block_average(values, frames.interval, block=block, variance=variance)
    edges = np.linspace(0.0, reach, bins + 1)
    return [
        PairDistribution(
            pair_name(pair), edges, average.mean[0, row], average.error[0, row], average.mean[1, row],
            average.error[1, row], average.caution,
        )
        for row, pair in enumerate(pairs)
    ]  # fmt: skip


def _shells(frames: Frames, frame: int, reach: float, bins: int, pairs: list[tuple[int, int]]) -> np.ndarray:
    """g(r) and neighbour counts of one frame, (runs, 2, pairs, bins)."""
    edges = np.linspace(0.0, reach, bins + 1)
    shell = 4.0 / 3.0 * np.pi * np.diff(edges**3)
    code = {number: place for place, number in enumerate(sorted(set(frames.numbers.tolist())))}
    kinds = np.array([code[number] for number in frames.numbers.tolist()])
    amount = np.bincount(kinds).astype(float)
    found = []
    for copy in range(frames.positions.shape[1]):
        first, second, _, distance = _neighbours(frames, frame, copy, reach)
        low, high = np.minimum(kinds[first], kinds[second]), np.maximum(kinds[first], kinds[second])
        place = np.minimum((distance * (bins / reach)).astype(np.int64), bins - 1)
        flat = (low * len(code) + high) * bins + place
        counts = np.bincount(flat, minlength=len(code) ** 2 * bins).reshape(len(code), len(code), bins).astype(float)
        volume = abs(float(np.linalg.det(frames.cells[frame, copy])))
        rows = []
        for small, large in pairs:
            a, b = code[small], code[large]
            ordered = counts[a, b] * (2.0 if a == b else 1.0)
            # The name has the heavier element first: its atoms are in the middle.
            rows.append((ordered * volume / (amount[a] * amount[b] * shell), np.cumsum(ordered) / amount[b]))
        found.append(np.array(rows).transpose(1, 0, 2))
    return np.stack(found).reshape(frames.replicas, frames.beads, 2, len(pairs), bins).mean(axis=1)


def _neighbours(frames: Frames, frame: int, copy: int, cutoff: float) -> tuple[np.ndarray, ...]:
    """Pairs within a cutoff, each once: first, second, shift and distance."""
    return _vesin(frames.positions[frame, copy], frames.cells[frame, copy], frames.pbc, cutoff, full=False)


def _vesin(
    positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, cutoff: float, *, full: bool
) -> tuple[np.ndarray, ...]:  # fmt: skip
    finder = vesin.NeighborList(cutoff=cutoff, full_list=full, n_threads=1)
    found: tuple[np.ndarray, ...] = finder.compute(
        points=np.asarray(positions, dtype=float),
        box=_box(np.asarray(cell, dtype=float), pbc),
        periodic=[bool(each) for each in pbc],
        quantities="ijSd",
    )
    return found


def _box(cell: np.ndarray, pbc: np.ndarray) -> np.ndarray:
    return np.asarray(complete_cell(cell)) if pbc.any() else np.zeros((3, 3))


def _nearest(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray) -> np.ndarray:
    """(atoms,) distance to the nearest atom or image, looked for further out until every atom has one."""
    nearest = np.full(len(positions), np.inf)
    reach = 2.5
    while np.isinf(nearest).any():
        first, _, _, distance = _vesin(positions, cell, pbc, reach, full=True)
        np.minimum.at(nearest, first.astype(np.int64), distance)
        reach *= 1.5
    return nearest


def _squares(
    axes: np.ndarray, first: np.ndarray, second: np.ndarray, shift: np.ndarray | None, cells: np.ndarray
) -> np.ndarray:  # fmt: skip
    """Squared distances (pairs, samples) from coordinates (3, atoms, samples)."""
    total = np.zeros((len(first), axes.shape[2]))
    for axis in range(3):
        apart = axes[axis][second]
        apart -= axes[axis][first]
        if shift is not None:
            apart += shift @ cells[:, :, axis].T
        total += np.square(apart, out=apart)
    return total


def pairs_of(bonds: Bonds, numbers: np.ndarray) -> Iterator[tuple[str, Bonds]]:
    """Bonds by their two elements, with names."""
    for pair in element_pairs(numbers):
        kinds = np.sort(np.stack([numbers[bonds.first], numbers[bonds.second]]), axis=0)
        chosen = (kinds[0] == pair[0]) & (kinds[1] == pair[1])
        if chosen.any():
            yield pair_name(pair), bonds.of(chosen)
