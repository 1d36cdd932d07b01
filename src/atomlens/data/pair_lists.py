"""The directed pairs of many structures at once: searched in pieces of bounded memory, kept in small whole numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from scipy.spatial import cKDTree

from atomlens.data.dataset import Dataset, ranges
from atomlens.data.neighbours import pairs_within
from atomlens.data.runs import runs_within
from atomlens.errors import InputError
from atomlens.progress import track

PIECE_PAIRS = 500_000  # expected in a piece: some 50 MB of work
_SMALL = 48  # atoms; looking at every pair of such structures at once beats one tree after the other
INDEX_KINDS = (np.uint8, np.uint16, np.int32)
SHIFT_KINDS = (np.int8, np.int16, np.int32)


class Pairing(Protocol):
    """Whoever knows the pairs of structures 0, 1, 2, ..."""

    @property
    def shortest(self) -> np.ndarray:
        """(structures,) Å, the closest pair; infinite where there is none, NaN where the search failed."""

    def counts(self, rows: np.ndarray) -> np.ndarray:
        """How many directed pairs the structures at ``rows`` have, (rows,) int64."""

    def gather(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Pairs of the structures at ``rows``, laid end to end, as in `PairLists`."""


@dataclass(frozen=True)
class PairLists:
    """Pairs laid end to end, in memory or mapped. Atoms are counted from the first one of their own structure."""

    offsets: np.ndarray  # (structures + 1,) int64, where the pairs of each structure start
    centre: np.ndarray  # (pairs,) uint8, uint16 or int32, rising within a structure
    neighbour: np.ndarray  # (pairs,) of the same kind
    shift: np.ndarray | None  # (pairs, 3) int8, int16 or int32 lattice vectors; None: no structure is periodic
    shortest: np.ndarray  # (structures,) Å

    def counts(self, rows: np.ndarray) -> np.ndarray:
        """How many directed pairs the structures at ``rows`` have, (rows,) int64."""
        return np.asarray(self.offsets[rows + 1] - self.offsets[rows])

    def gather(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Centres, neighbours and shifts of the structures at ``rows``, laid end to end."""
        pairs = ranges(self.offsets, rows)
        return self.centre[pairs], self.neighbour[pairs], None if self.shift is None else self.shift[pairs]


class AllPairs:
    """Every pair of open structures. They follow from the numbers of atoms, so that nothing is stored.

    Raises:
        InputError: a structure is periodic.
    """

    def __init__(self, data: Dataset, title: str = "") -> None:
        periodic = np.flatnonzero(data.pbc.any(axis=1))
        if len(periodic):
            problem = "is periodic, but the model has no cutoff and would sum over endless images; set a cutoff"
            raise data.located(InputError(problem), int(periodic[0]))
        self._sizes = data.n_atoms
        self.shortest = _shortest_distances(data, title)

    def counts(self, rows: np.ndarray) -> np.ndarray:
        """How many directed pairs the structures at ``rows`` have, (rows,) int64."""
        sizes = self._sizes[rows]
        return np.asarray(sizes * (sizes - 1))

    def gather(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, None]:
        """Centres and neighbours of the structures at ``rows``, laid end to end."""
        sizes = self._sizes[rows]
        atoms = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        others = np.repeat(sizes - 1, sizes)  # of each atom
        centre = np.repeat(atoms, others)
        place = np.arange(len(centre)) - np.repeat(np.cumsum(others) - others, others)
        return centre, place + (place >= centre), None


def searched(data: Dataset, cutoff: float, title: str = "") -> PairLists:
    """Search the pairs within ``cutoff`` Å, into memory. A title shows a bar."""
    pieces = list(pieces_of(data, cutoff, title))
    shifts = [piece.shift for piece in pieces if piece.shift is not None]
    counts = np.concatenate([np.diff(piece.offsets) for piece in pieces])
    return PairLists(
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        centre=np.concatenate([piece.centre for piece in pieces]),
        neighbour=np.concatenate([piece.neighbour for piece in pieces]),
        shift=np.concatenate(shifts) if shifts else None,
        shortest=np.concatenate([piece.shortest for piece in pieces]),
    )


def pieces_of(data: Dataset, cutoff: float, title: str = "") -> Iterator[PairLists]:
    """Search the pairs within ``cutoff`` Å, some structures after the other, in memory that does not grow with them."""
    kind, periodic = index_kind(data), bool(data.pbc.any())
    # Slices of plain arrays: those of mapped ones take longer than the search in a small molecule.
    plain = replace(
        data, positions=np.asarray(data.positions), cell=np.asarray(data.cell), pbc=np.asarray(data.pbc), labels={}
    )
    with track(title, len(data), "structures") as bar:
        for start, stop in runs_within(_expected_pairs(data, cutoff), PIECE_PAIRS):
            yield _search(plain, range(start, stop), cutoff, kind, periodic)
            bar.advance(stop - start)


def index_kind(data: Dataset) -> type[np.integer]:
    """The smallest whole numbers that count the atoms of every structure."""
    return _fitting(INDEX_KINDS, 0, int(data.n_atoms.max(initial=1)) - 1)


def _fitting(kinds: tuple[type[np.integer], ...], lowest: int, highest: int) -> type[np.integer]:
    return next(kind for kind in kinds if np.iinfo(kind).min <= lowest and highest <= np.iinfo(kind).max)


def _expected_pairs(data: Dataset, cutoff: float) -> np.ndarray:
    """(structures,) roughly how many pairs there will be; of open structures, how many are looked at."""
    squares = data.n_atoms.astype(np.float64) ** 2
    bulk = data.pbc.all(axis=1)
    volume = np.abs(np.linalg.det(data.cell[bulk]))
    squares[bulk] *= np.maximum(4.0 / 3.0 * np.pi * cutoff**3 / volume, 1e-3)
    return squares + 1.0


def _search(data: Dataset, rows: range, cutoff: float, kind: type[np.integer], periodic: bool) -> PairLists:
    """The pairs of some structures; one that the search refuses has none, and NaN for its closest pair."""
    shortest, empty = np.full(len(rows), np.inf), np.empty(0, dtype=kind)
    centres, neighbours, shifts, counts = [empty], [empty], [np.empty((0, 3), dtype=np.int8)], [0]
    for place, index in enumerate(rows):
        atoms = slice(data.offsets[index], data.offsets[index + 1])
        try:
            centre, neighbour, shift, distance = pairs_within(
                data.positions[atoms], data.cell[index], data.pbc[index], cutoff
            )
        except InputError:
            shortest[place], centre = np.nan, empty
        else:
            shortest[place] = distance.min(initial=np.inf)
            centres.append(centre.astype(kind))
            neighbours.append(neighbour.astype(kind))
            if periodic:
                shifts.append(_smallest(shift))
        counts.append(len(centre))
    return PairLists(
        offsets=np.cumsum(counts, dtype=np.int64),
        centre=np.concatenate(centres),
        neighbour=np.concatenate(neighbours),
        shift=np.concatenate(shifts) if periodic else None,
        shortest=shortest,
    )


def _smallest(shift: np.ndarray) -> np.ndarray:
    """The same lattice vectors in the smallest whole numbers that hold them."""
    return shift.astype(_fitting(SHIFT_KINDS, int(shift.min(initial=0)), int(shift.max(initial=0))))


def _shortest_distances(data: Dataset, title: str) -> np.ndarray:
    """(structures,) Å between the two closest atoms of open structures; infinite where there is but one."""
    shortest, sizes = np.full(len(data), np.inf), data.n_atoms
    with track(title, len(data), "structures") as bar:
        for start, stop in runs_within(sizes.astype(np.float64) ** 2, PIECE_PAIRS):
            some = sizes[start:stop]
            for size in np.unique(some[(some > 1) & (some <= _SMALL)]):
                rows = start + np.flatnonzero(some == size)
                shortest[rows] = _closest(data.positions[data.offsets[rows, None] + np.arange(size)])
            for index in start + np.flatnonzero(some > _SMALL):
                positions = data.positions[data.offsets[index] : data.offsets[index + 1]]
                shortest[index] = cKDTree(positions).query(positions, k=2)[0][:, 1].min()
            bar.advance(stop - start)
    return shortest


def _closest(positions: np.ndarray) -> np.ndarray:
    """(structures,) the shortest distance in each of ``positions`` (structures, atoms, 3), every pair looked at."""
    atoms = np.arange(positions.shape[1])
    squared = np.zeros((len(positions), len(atoms), len(atoms)))
    for axis in positions.transpose(2, 0, 1):
        squared += np.square(axis[:, :, None] - axis[:, None, :])
    squared[:, atoms, atoms] = np.inf
    return np.asarray(np.sqrt(squared.min(axis=(1, 2))))
