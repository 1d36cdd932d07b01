"""Exact neighbour lists: every pair within the cutoff, every periodic image, no cap."""

from __future__ import annotations

import numpy as np
import vesin
from ase.geometry import complete_cell
from scipy.spatial import cKDTree

from atomlens.data.system import AtomicSystem, symbol
from atomlens.errors import InputError

MOST_BOXES = 1e4  # of a cell list in one direction; vesin breaks down with a hundred thousand
MIN_DISTANCE = 0.2  # Å; nothing that is an atom comes so close to another

NeighbourList = tuple[np.ndarray, np.ndarray, np.ndarray]


def neighbour_list(system: AtomicSystem, cutoff: float | None) -> NeighbourList:
    """All directed pairs with d < ``cutoff``; for open structures ``None`` means every pair.

    A periodic structure lists each image of a neighbour, its own atoms' images included, also in cells smaller than the
    cutoff.

    Args:
        system: the structure, in Å.
        cutoff: in Å.

    Returns:
        centre (pairs,) int64, in rising order; neighbour (pairs,) int64; shift (pairs, 3) int32, the lattice vectors to
        add to the neighbour's position.

    Raises:
        InputError: two atoms are closer than 0.2 Å, or a periodic structure is asked for without a cutoff.
    """
    if cutoff is None and system.pbc.any():
        raise InputError("is periodic, but the model has no cutoff and would sum over endless images; set a cutoff")
    found = _all_pairs(system) if cutoff is None else pairs_within(system.positions, system.cell, system.pbc, cutoff)
    centre, neighbour, shift, distance = found
    if len(distance) and distance.min() < MIN_DISTANCE:
        _refuse_clash(system, int(centre[distance.argmin()]), int(neighbour[distance.argmin()]), float(distance.min()))
    return centre.astype(np.int64), neighbour.astype(np.int64), shift.astype(np.int32).reshape(-1, 3)


def _all_pairs(system: AtomicSystem) -> tuple[np.ndarray, ...]:
    # A cell list with an endless cutoff would take time and memory that grow with the distances.
    centre, neighbour = np.nonzero(~np.eye(len(system.numbers), dtype=bool))
    distance = np.linalg.norm(system.positions[neighbour] - system.positions[centre], axis=1)
    return centre, neighbour, np.zeros((len(centre), 3)), distance


def pairs_within(
    positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, cutoff: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The pairs of `neighbour_list` from plain arrays, with their distances (pairs,) in Å; however close atoms are.

    Raises:
        InputError: the atoms of a periodic structure are spread out too far.
    """
    periodic = bool(pbc.any())
    if len(positions) == 1 and not periodic:
        return np.empty(0), np.empty(0), np.empty((0, 3)), np.empty(0)
    extent = np.ptp(positions, axis=0)[~pbc].max(initial=0.0)
    if extent > MOST_BOXES * cutoff:
        if periodic:
            raise InputError(f"atoms lie {extent:.3g} Å apart; repair or remove the structure")
        return _sparse_pairs(positions, cutoff)
    finder = vesin.NeighborList(cutoff=cutoff, full_list=True, sorted=True, n_threads=1)
    box = np.zeros((3, 3)) if not periodic else cell if pbc.all() else np.asarray(complete_cell(cell))
    centre, neighbour, shift, distance = finder.compute(
        points=positions, box=box, periodic=pbc.tolist(), quantities="ijSd"
    )
    return centre, neighbour, shift, distance


def _sparse_pairs(positions: np.ndarray, cutoff: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of a structure so spread out that a cell list would be all empty boxes."""
    once = cKDTree(positions).query_pairs(cutoff, output_type="ndarray")
    both = np.concatenate([once, once[:, ::-1]])
    both = both[np.lexsort((both[:, 1], both[:, 0]))]
    distance = np.linalg.norm(positions[both[:, 1]] - positions[both[:, 0]], axis=1)
    both, distance = both[distance < cutoff], distance[distance < cutoff]
    return both[:, 0], both[:, 1], np.zeros((len(both), 3)), distance


def _refuse_clash(system: AtomicSystem, first: int, second: int, distance: float) -> None:
    names = [f"atom {atom} ({symbol(int(system.numbers[atom]))})" for atom in sorted((first, second))]
    raise InputError(
        f"{names[0]} and {names[1]} are {distance:.3f} Å apart, closer than {MIN_DISTANCE} Å; "
        "repair or remove the structure"
    )
