"""Structures as lists of distances, which no rotation, shift, reflection or order of atoms changes.

The Euclidean distance of two fingerprints is in Å: the root mean square by which sorted distances differ. It is zero
for copies; that it is zero for nothing else holds for nearly all structures (M. Boutin and G. Kemper, Adv. Appl. Math.
2004, 32, 709). Sorting makes it at most the root mean square difference of the two matrices of distances, whichever
atoms correspond.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from ase.geometry import complete_cell
from scipy.spatial import cKDTree

from atomlens.data.dataset import Dataset
from atomlens.data.neighbours import pairs_within

MOST_COLUMNS = 400  # of a fingerprint; of longer lists evenly spaced entries are taken
_LARGEST = 1_000  # atoms of an open structure whose pairs are all formed
_AT_ONCE = 1 << 17  # distances of a chunk: its arrays stay in the processor's cache
_SHELLS = 16  # nearest neighbours of an atom in a crystal
_QUANTILES = 8  # of a shell, over the atoms of an element


def fingerprints(data: Dataset, rows: np.ndarray) -> np.ndarray:
    """(rows, columns) float32 of structures of one composition.

    All distances are compared in open structures of up to a thousand atoms, and those between neighbours in others.

    Args:
        data: the structures.
        rows: which of them, one at least; all have the same formula, or the same ratio of elements if periodic.
    """
    if data.pbc[rows[0]].any() or data.n_atoms[rows[0]] > _LARGEST:
        return shell_fingerprints(data, rows)
    return open_fingerprints(data, rows)


def open_fingerprints(data: Dataset, rows: np.ndarray) -> np.ndarray:
    """(rows, columns) float32 of open structures of one composition: all distances, sorted by pair of elements.

    Args:
        data: the structures.
        rows: which of them; all have the same formula.
    """
    size = int(data.n_atoms[rows[0]])
    first, second = np.triu_indices(size, k=1)
    if not len(first):
        return np.zeros((len(rows), 1), dtype=np.float32)
    numbers = np.sort(np.asarray(data.numbers[data.offsets[rows[0]] : data.offsets[rows[0] + 1]]))
    kinds = numbers[first] * 128 + numbers[second]
    order = np.argsort(kinds, kind="stable")
    first, second, kinds = first[order], second[order], kinds[order]
    kept = _thinned(kinds)
    weights = _weights(kinds, kept)
    bounds = np.flatnonzero(np.diff(kinds, prepend=-1, append=-1))
    found = np.empty((len(rows), len(weights)), dtype=np.float32)
    step = max(1, _AT_ONCE // len(first))
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        atoms = data.offsets[part][:, None] + np.arange(size)
        atoms = np.take_along_axis(atoms, np.argsort(data.numbers[atoms], axis=1, kind="stable"), axis=1)
        squared = np.zeros((len(part), len(first)))
        for axis in range(3):
            along = data.positions[atoms, axis]
            squared += np.square(along[:, first] - along[:, second])
        for low, high in pairwise(bounds):
            squared[:, low:high].sort(axis=1)
        found[start : start + step] = (np.sqrt(squared[:, kept]) * weights).astype(np.float32)
    return found


def _weights(kinds: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """(kept,) that make the Euclidean distance of fingerprints the root mean square over all pairs of atoms."""
    pairs = np.unique(kinds, return_counts=True)[1]
    _, place, columns = np.unique(kinds[kept], return_inverse=True, return_counts=True)
    return np.asarray(np.sqrt(pairs / columns / len(kinds))[place])


def _thinned(kinds: np.ndarray) -> np.ndarray:
    """Positions of the entries that stay, evenly spaced within each kind, of sorted ``kinds``."""
    if len(kinds) <= MOST_COLUMNS:
        return np.arange(len(kinds))
    found = []
    for kind in np.unique(kinds):
        places = np.flatnonzero(kinds == kind)
        count = max(1, len(places) * MOST_COLUMNS // len(kinds))
        found.append(places[((np.arange(count) + 0.5) * len(places) / count).astype(np.int64)])
    return np.concatenate(found)


def shell_fingerprints(data: Dataset, rows: np.ndarray) -> np.ndarray:
    """(rows, columns) float32 of structures of one ratio of elements, by the neighbours of their atoms.

    For every element and k up to 16, the distances from its atoms to their k-th nearest neighbours, of any element, as
    quantiles over its atoms: the distance distributions of D. Widdowson and V. Kurlin (NeurIPS 2022), which are the
    same for every choice of the cell. Shares of the elements are the weights.

    Args:
        data: the structures.
        rows: which of them; all have the same ratio of elements.
    """
    return np.stack([_shells(data, int(row)) for row in rows])


def _shells(data: Dataset, row: int) -> np.ndarray:
    atoms = slice(int(data.offsets[row]), int(data.offsets[row + 1]))
    numbers = np.asarray(data.numbers[atoms])
    nearest = _nearest(np.asarray(data.positions[atoms]), np.asarray(data.cell[row]), np.asarray(data.pbc[row]))
    found = []
    for element in np.unique(numbers):
        of_element = np.sort(nearest[numbers == element], axis=0)
        count = len(of_element)
        steps = ((np.arange(_QUANTILES) + 0.5) * count / _QUANTILES).astype(np.int64)
        found.append(of_element[steps].ravel() * np.sqrt(count / len(numbers) / (_QUANTILES * _SHELLS)))
    return np.concatenate(found).astype(np.float32)


def _nearest(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray) -> np.ndarray:
    """(atoms, 16) distances in Å to the nearest neighbours, images included; those that are missing are 0."""
    if not pbc.any():
        found = cKDTree(positions).query(positions, k=_SHELLS + 1)[0][:, 1:]
        return np.where(np.isfinite(found), found, 0.0)
    volume = abs(float(np.linalg.det(np.asarray(complete_cell(cell)))))
    reach = (1.5 * _SHELLS * max(volume, 1e-3) / len(positions) * 0.75 / np.pi) ** (1 / 3)
    found = np.zeros((len(positions), _SHELLS))
    for _ in range(6 if pbc.all() else 2):  # a slab or chain may have fewer neighbours than that, however far one looks
        centre, _, _, distance = pairs_within(positions, cell, pbc, reach)
        counts = np.bincount(centre.astype(np.int64), minlength=len(positions))
        if counts.min() >= _SHELLS:
            break
        reach *= 1.3
    order = np.lexsort((distance, centre))
    starts = np.cumsum(counts) - counts
    place = np.arange(len(order)) - np.repeat(starts, counts)
    keep = place < _SHELLS
    found[np.repeat(np.arange(len(positions)), counts)[keep], place[keep]] = distance[order][keep]
    return found
