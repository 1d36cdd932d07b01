"""Nearest neighbours and bonds of a whole data set, measured once for all checks."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import vesin
from ase.data import covalent_radii
from ase.geometry import complete_cell
from scipy.spatial import cKDTree

from atomlens.data.bonds import longest_bond
from atomlens.data.dataset import Dataset
from atomlens.data.system import MAX_ATOMIC_NUMBER

MOST_PERIODIC = 50_000  # periodic structures that are looked at; of more an evenly spaced sample
MOST_OPEN = 1_000_000
_AT_ONCE = 1 << 17  # pairs of a chunk: its arrays stay in the processor's cache
_LARGEST = 300  # atoms of an open structure whose pairs are all formed; of larger ones a tree is asked
LINK = 1.5  # times the sum of the radii: a bond in hot molecules, and no hydrogen bond (1.8) or second neighbour (1.6)
_FARTHEST = 12.0  # Å, where atoms of a cell have no neighbour within the longest bond

_Found = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Distances:
    """How near the atoms of a data set are to each other, as a share of what their covalent radii add up to.

    The radii are those of Cordero et al. 2008, as in ASE: a ratio of 1 is a usual bond.
    """

    measured: np.ndarray  # (measured,) structures that were looked at, in rising order
    ratio: np.ndarray  # (atoms,) smallest distance over the sum of the two radii; inf: none near, NaN: not looked at
    distance: np.ndarray  # (atoms,) Å, of that neighbour
    partner: np.ndarray  # (atoms,) row of that neighbour; -1: none
    links: np.ndarray  # (links, 2) rows of atoms of open structures within 1.5 times the sum of their radii
    pairs: dict[tuple[int, int], int]  # atomic numbers of bonded atoms to the number of structures with such a bond


_KNOWN: dict[int, Distances] = {}


def distances(data: Dataset) -> Distances:
    """The nearest neighbours in a data set; measured at the first call and kept as long as the data set lives."""
    key = id(data)
    if key not in _KNOWN:
        _KNOWN[key] = _measure(data)
        weakref.finalize(data, _KNOWN.pop, key, None)
    return _KNOWN[key]


def per_structure(reduction: np.ufunc, values: np.ndarray, data: Dataset) -> np.ndarray:
    """(structures,) ``reduction`` (`np.minimum`, `np.add`) of the values of each structure's atoms."""
    return np.asarray(reduction.reduceat(values, data.offsets[:-1]))


def median_per_structure(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """(structures,) lower median of the values of each structure's atoms, which start at ``offsets``."""
    sizes = np.diff(offsets)
    order = np.lexsort((values, np.repeat(np.arange(len(sizes)), sizes)))
    return np.asarray(values[order][offsets[:-1] + (sizes - 1) // 2])


def _measure(data: Dataset) -> Distances:
    atoms, periodic = len(data.numbers), np.asarray(data.pbc.any(axis=1))
    ratio, distance, partner = np.full(atoms, np.nan), np.full(atoms, np.nan), np.full(atoms, -1)
    sound = sound_structures(data)
    chosen = _sample(sound & ~periodic, MOST_OPEN), _sample(sound & periodic, MOST_PERIODIC)
    measured = np.sort(np.concatenate(chosen))
    rows = np.repeat(np.isin(np.arange(len(data)), measured), data.n_atoms)
    ratio[rows], distance[rows] = np.inf, np.inf
    links, kinds = [np.zeros((0, 2), dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    system = np.repeat(np.arange(len(data)), data.n_atoms)
    for first, second, length, share in _neighbours(data, measured, periodic[measured]):
        _keep_nearest(first, second, length, share, ratio, distance, partner)
        linked = (share < LINK) & (first < second) & ~periodic[system[first]]
        links.append(np.column_stack([first[linked], second[linked]]))
        close = (length < longest_bond(_sums(data, first, second))) & (first <= second)
        one, other = first[close], second[close]
        low, high = np.sort([data.numbers[one], data.numbers[other]], axis=0)
        kinds.append(np.unique((system[one] * 128 + low) * 128 + high))
    return Distances(measured, ratio, distance, partner, np.concatenate(links), _pairs(kinds))


def sound_structures(data: Dataset) -> np.ndarray:
    """(structures,) bool: atoms that exist at finite positions and, where periodic, a cell that spans a volume."""
    atoms = np.isfinite(data.positions).all(axis=1) & (data.numbers > 0) & (data.numbers <= MAX_ATOMIC_NUMBER)
    lengths = np.linalg.norm(data.cell, axis=2)
    volume = np.abs(np.linalg.det(np.where(lengths[:, :, None] > 0, data.cell, np.eye(3))))
    spanned = volume > 1e-6 * np.prod(np.where(lengths > 0, lengths, 1.0), axis=1)
    cells = np.isfinite(data.cell).all(axis=(1, 2)) & spanned & ~(data.pbc & (lengths == 0)).any(axis=1)
    return np.logical_and.reduceat(atoms, data.offsets[:-1]) & (cells | ~data.pbc.any(axis=1))


def _pairs(kinds: list[np.ndarray]) -> dict[tuple[int, int], int]:
    found, times = np.unique(np.concatenate(kinds) % (128 * 128), return_counts=True)
    return {(int(key) // 128, int(key) % 128): int(count) for key, count in zip(found, times, strict=True)}


def _sample(which: np.ndarray, most: int) -> np.ndarray:
    rows = np.flatnonzero(which)
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]


def _keep_nearest(
    first: np.ndarray,
    second: np.ndarray,
    length: np.ndarray,
    share: np.ndarray,
    ratio: np.ndarray,
    distance: np.ndarray,
    partner: np.ndarray,
) -> None:
    """Enter the nearest of the neighbours of each atom in the arrays of all atoms."""
    order = np.lexsort((share, first))
    starts = np.flatnonzero(np.diff(first[order], prepend=-1))
    best = order[starts]
    ratio[first[best]], distance[first[best]], partner[first[best]] = share[best], length[best], second[best]


def _neighbours(data: Dataset, measured: np.ndarray, periodic: np.ndarray) -> Iterator[_Found]:
    """Rows of both atoms, distance in Å and its share of the radii, of all pairs that may be bonds or nearest.

    Every pair comes in both directions, and all pairs of an atom come in one piece.
    """
    is_open = measured[~periodic]
    sizes = data.n_atoms[is_open]
    for size in np.unique(sizes[sizes <= _LARGEST]):
        group = is_open[sizes == size]
        step = max(1, _AT_ONCE // int(size) ** 2)
        for start in range(0, len(group), step):
            yield _small(data, group[start : start + step], int(size))
    for index in is_open[sizes > _LARGEST]:
        yield _large(data, int(index))
    yield from _gathered(data, measured[periodic])


def _small(data: Dataset, group: np.ndarray, size: int) -> _Found:
    """Nearest neighbours and bonds of open structures of one size."""
    rows = data.offsets[group][:, None] + np.arange(size)
    radii = covalent_radii[data.numbers[rows]]
    squared = np.zeros((len(group), size, size))
    for axis in range(3):
        along = data.positions[rows, axis]
        squared += (along[:, :, None] - along[:, None, :]) ** 2
    length = np.sqrt(squared)
    sums = radii[:, :, None] + radii[:, None, :]
    share = length / sums
    share[:, np.arange(size), np.arange(size)] = np.inf
    keep = share < np.maximum(LINK, longest_bond(sums) / sums)
    if size > 1:
        nearest = share.argmin(axis=2)
        keep[np.arange(len(group))[:, None], np.arange(size), nearest] = True
    which, one, other = np.nonzero(keep)
    return rows[which, one], rows[which, other], length[which, one, other], share[which, one, other]


def _large(data: Dataset, index: int) -> _Found:
    """Nearest neighbours and bonds of one open structure of many atoms, among the sixteen nearest of each."""
    atoms = np.arange(data.offsets[index], data.offsets[index + 1])
    length, other = cKDTree(data.positions[atoms]).query(data.positions[atoms], k=min(17, len(atoms)))
    one = np.repeat(np.arange(len(atoms)), length.shape[1])
    length, other = length.ravel(), other.ravel()
    apart = one != other
    first, second, length = atoms[one[apart]], atoms[other[apart]], length[apart]
    return first, second, length, length / _sums(data, first, second)


def _sums(data: Dataset, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.asarray(covalent_radii[data.numbers[first]] + covalent_radii[data.numbers[second]])


def _gathered(data: Dataset, indices: np.ndarray) -> Iterator[_Found]:
    """Pairs of periodic structures, in pieces of some hundred thousand."""
    pieces: list[_Found] = []
    held = 0
    for index in indices:
        pieces.append(_periodic(data, int(index)))
        held += len(pieces[-1][0])
        if held > 2 * _AT_ONCE:
            yield _joined(pieces)
            pieces, held = [], 0
    if pieces:
        yield _joined(pieces)


def _joined(pieces: list[_Found]) -> _Found:
    first, second, length, share = (np.concatenate(column) for column in zip(*pieces, strict=True))
    return first, second, length, share


def _periodic(data: Dataset, index: int) -> _Found:
    """Pairs within the longest bond in one cell, or farther where an atom has no neighbour within it."""
    atoms = slice(int(data.offsets[index]), int(data.offsets[index + 1]))
    reach = float(longest_bond(np.array(2.0 * covalent_radii[data.numbers[atoms]].max())))
    count = atoms.stop - atoms.start
    # No farther than some hundred neighbours an atom: a cell that is far too small would have millions.
    density = count / max(abs(float(np.linalg.det(complete_cell(data.cell[index])))), 1e-6)
    farthest = min(_FARTHEST, (500 / density) ** (1 / 3))
    for wider in (reach, 1.5 * reach, max(reach, farthest)):
        first, second, length = _within(data, index, atoms, wider)
        if len(np.unique(first)) == count:
            break
    first, second = first + atoms.start, second + atoms.start
    return first, second, length, length / _sums(data, first, second)


def _within(data: Dataset, index: int, atoms: slice, reach: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    cell = np.asarray(complete_cell(data.cell[index]))
    volume = abs(float(np.linalg.det(cell)))
    # A cell of no size holds endless neighbours; the few nearest will do.
    reach = min(reach, max(1.0, (2_000 * volume / (atoms.stop - atoms.start)) ** (1 / 3)))
    finder = vesin.NeighborList(cutoff=reach, full_list=True, sorted=False, n_threads=1)
    one, other, length = finder.compute(
        points=np.asarray(data.positions[atoms]), box=cell, periodic=data.pbc[index].tolist(), quantities="ijd"
    )
    return one.astype(np.int64), other.astype(np.int64), length
