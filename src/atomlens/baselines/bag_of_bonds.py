"""Bag of bonds (Hansen et al., J. Phys. Chem. Lett. 6, 2326 (2015))."""

from __future__ import annotations

import numpy as np

from atomlens.baselines.descriptor import dense, pieces
from atomlens.baselines.tuples import Tuples, all_pairs
from atomlens.data.dataset import Dataset

_BASE = 128  # above every atomic number


def bag_of_bonds(data: Dataset, training: np.ndarray, title: str = "") -> np.ndarray:
    """Terms of the Coulomb matrix in one bag per element and per pair of elements, each sorted by falling size.

    A bag is as long as the fullest one of its kind, and ends in zeros: (structures, lengths of all bags). Bags of one
    element hold Z^2.4 / 2, those of pairs Z_i Z_j / |r_i - r_j| of every pair, bonded or not.
    """
    del training
    found = [_entries(some, rows.start) for rows, some in pieces(data, title)]
    structure, bag, value = (np.concatenate(part) for part in zip(*found, strict=True))
    bags, bag = np.unique(bag, return_inverse=True)
    order = np.lexsort((-value, bag, structure))
    structure, bag, value = structure[order], bag[order], value[order]
    group = structure * len(bags) + bag
    _, starts, times = np.unique(group, return_index=True, return_counts=True)
    rank = np.arange(len(group)) - np.repeat(starts, times)
    lengths = np.zeros(len(bags), dtype=np.int64)
    np.maximum.at(lengths, bag, rank + 1)
    begins = np.cumsum(lengths) - lengths
    table = dense(len(data), int(lengths.sum()), "bags of bonds")
    table[structure, begins[bag] + rank] = value
    return table


def _entries(data: Dataset, first: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Structure, bag and value of every entry; ``first`` is the number of the first structure."""
    pairs: Tuples = all_pairs(data)
    numbers = data.numbers
    ends = np.sort(numbers[pairs.atoms], axis=1)
    single = np.repeat(np.arange(len(data)), data.n_atoms)
    return (
        first + np.concatenate([single, pairs.structure]),
        np.concatenate([numbers, _BASE * ends[:, 0] + ends[:, 1] + _BASE]),
        np.concatenate([0.5 * numbers**2.4, ends.prod(axis=1) / pairs.value]),
    )
