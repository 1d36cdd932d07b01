"""Which molecules are the same by elements and bonds, whatever their shape."""

from __future__ import annotations

import numpy as np
from ase.data import covalent_radii

from atomlens.data.bonds import longest_bond
from atomlens.data.dataset import Dataset
from atomlens.data.neighbours import pairs_within

_AT_ONCE = 1 << 17  # pairs of a chunk: its arrays stay in the processor's cache
_LARGEST = 300  # atoms of a structure whose pairs are all formed
_ROUNDS = 64  # of refinement at most; a chain of 128 atoms is told from any other by then


def bond_graphs(data: Dataset, indices: np.ndarray | None = None) -> np.ndarray:
    """Number the graphs of atoms and bonds of open structures.

    Bonds are those of `atomlens.data.bonds`. Graphs are told apart by colour refinement (B. Weisfeiler and A. Leman
    1968; N. Shervashidze et al., J. Mach. Learn. Res. 2011, 12, 2539): an atom's colour is its element, then its colour
    and the multiset of its neighbours' colours, until no more colours appear. Colours are 64-bit hashes. The few graphs
    that this cannot tell apart (decalin and bicyclopentyl), stereoisomers and conformers count as the same.

    Args:
        data: open structures; images of periodic ones are not looked at.
        indices: which of them; None: all.

    Returns:
        (structures,) number of the graph of each one of ``indices``, from 0.
    """
    rows = np.arange(len(data)) if indices is None else indices
    sizes = data.n_atoms[rows]
    starts = np.cumsum(sizes) - sizes
    first, second = _bonds(data, rows, starts)
    atoms = np.repeat(data.offsets[rows] - starts, sizes) + np.arange(int(sizes.sum()))
    colour = _mixed(np.asarray(data.numbers[atoms]).astype(np.uint64))
    found = 0
    for _ in range(_ROUNDS):
        before, found = found, int(np.count_nonzero(np.diff(np.sort(colour)))) + 1
        if found == before:
            break
        heard = np.zeros(len(colour), dtype=np.uint64)
        np.add.at(heard, first, _mixed(colour[second]))
        colour = _mixed(colour * np.uint64(3) + heard)
    whole = np.add.reduceat(_mixed(colour), starts)
    return np.asarray(np.unique(whole, return_inverse=True)[1]).reshape(-1)


def _bonds(data: Dataset, rows: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both atoms of every bond, in both directions, counted along the structures laid end to end."""
    sizes = data.n_atoms[rows]
    found = [np.zeros((0, 2), dtype=np.int64)]
    found += [starts[large] + _large(data, int(rows[large])) for large in np.flatnonzero(sizes > _LARGEST)]
    for size in np.unique(sizes[sizes <= _LARGEST]):
        group = np.flatnonzero(sizes == size)
        step = max(1, _AT_ONCE // int(size) ** 2)
        for start in range(0, len(group), step):
            part = group[start : start + step]
            atoms = data.offsets[rows[part]][:, None] + np.arange(size)
            which, one, other = np.nonzero(_bonded(data.numbers[atoms], data.positions[atoms]))
            found.append(starts[part[which]][:, None] + np.column_stack([one, other]))
    first, second = np.concatenate(found).T
    return first, second


def _large(data: Dataset, index: int) -> np.ndarray:
    """(bonds, 2) of one structure of many atoms, in both directions; those that are out of reach are not formed."""
    system = data[index]
    radii = covalent_radii[system.numbers]
    reach = float(longest_bond(2.0 * radii.max()))
    one, other, _, distance = pairs_within(system.positions, system.cell, system.pbc, reach)
    bonded = distance < longest_bond(radii[one] + radii[other])
    return np.column_stack([one, other])[bonded].astype(np.int64)


def _bonded(numbers: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """(structures, n, n) bool from (structures, n) and (structures, n, 3)."""
    radii = covalent_radii[numbers]
    squared = np.zeros((*numbers.shape, numbers.shape[1]))
    for axis in range(3):
        along = positions[..., axis]
        squared += np.square(along[:, :, None] - along[:, None, :])
    bonded = squared < np.square(longest_bond(radii[:, :, None] + radii[:, None, :]))
    bonded[:, np.arange(numbers.shape[1]), np.arange(numbers.shape[1])] = False
    return np.asarray(bonded)


def _mixed(values: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64 (G. Steele, D. Lea, C. Flood, OOPSLA 2014): similar numbers become unlike ones."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(values ^ (values >> np.uint64(31)))
