"""Coulomb matrices: M_ii = Z_i^2.4 / 2, M_ij = Z_i Z_j / |r_i - r_j|, zero beyond the last atom (by dscribe)."""

from __future__ import annotations

import warnings
from typing import Literal

import numpy as np

from atomlens.baselines.descriptor import dense, optional, pieces
from atomlens.data.dataset import Dataset


def sorted_coulomb_matrix(data: Dataset, training: np.ndarray, title: str = "") -> np.ndarray:
    """The upper triangle, rows sorted by falling length: (structures, N (N + 1) / 2) for at most N atoms.

    Rupp et al., Phys. Rev. Lett. 108, 058301 (2012); sorting by Montavon et al., NeurIPS (2012).
    """
    del training
    return _by_dscribe(data, "sorted_l2", title)


def unsorted_coulomb_matrix(data: Dataset, training: np.ndarray, title: str = "") -> np.ndarray:
    """The upper triangle with the atoms in the order of the file, for frames of one molecule; no jumps by sorting."""
    del training
    return _by_dscribe(data, "none", title)


def coulomb_eigenspectrum(data: Dataset, training: np.ndarray, title: str = "") -> np.ndarray:
    """The eigenvalues by falling size: (structures, N). Rupp et al., Phys. Rev. Lett. 108, 058301 (2012)."""
    del training
    return _by_dscribe(data, "eigenspectrum", title)


def _by_dscribe(data: Dataset, order: Literal["sorted_l2", "none", "eigenspectrum"], title: str) -> np.ndarray:
    with optional("dscribe"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of ase, about what dscribe calls
        from dscribe.descriptors import CoulombMatrix
    most = int(data.n_atoms.max())
    made = CoulombMatrix(n_atoms_max=most, permutation=order)
    upper = np.arange(most) if order == "eigenspectrum" else _upper_triangle(most)
    table = dense(len(data), len(upper), "Coulomb matrices")
    for rows, some in pieces(data, title):
        found = np.asarray(made.create([system.to_ase() for system in some]))
        table[rows] = found.reshape(len(some), -1)[:, upper]
    return table


def _upper_triangle(size: int) -> np.ndarray:
    """Places of the upper triangle in a flat (size, size) matrix."""
    return np.flatnonzero(np.triu(np.ones((size, size), dtype=bool)))
