"""Matrices for crystals in the manner of the Coulomb matrix, as eigenvalues (Faber et al., IJQC 115, 1094 (2015)).

Both are taken as eigenvalues: like the matrices sorted, they do not depend on the order of the atoms, and 200 atoms
give 200 numbers instead of 20,100.
"""

from __future__ import annotations

import warnings

import numpy as np

from atomlens.baselines.descriptor import dense, optional, pieces
from atomlens.data.dataset import Dataset
from atomlens.data.system import AtomicSystem


def sine_matrix(system: AtomicSystem) -> np.ndarray:
    """The sine matrix of a crystal, (atoms, atoms), in e²/Å.

    M_ii = Z_i^2.4 / 2 and M_ij = Z_i Z_j / |Σ_k a_k sin²(π f_k)| with the lattice vectors a_k and the fractional
    components f_k of r_i - r_j: the Coulomb matrix made periodic (Faber et al. 2015, eq. 24).
    """
    numbers = system.numbers.astype(np.float64)
    fractional = np.linalg.solve(system.cell.T, system.positions.T).T
    squares = np.sin(np.pi * (fractional[:, None] - fractional[None, :])) ** 2
    apart = np.linalg.norm(squares @ system.cell, axis=2)
    np.fill_diagonal(apart, 1.0)
    matrix = numbers[:, None] * numbers[None, :] / apart
    np.fill_diagonal(matrix, 0.5 * numbers**2.4)
    return matrix


def sine_eigenspectrum(data: Dataset, training: np.ndarray, title: str = "") -> np.ndarray:
    """Eigenvalues of the sine matrix by falling size, zero beyond the last atom: (structures, most atoms)."""
    del training
    table = dense(len(data), int(data.n_atoms.max()), "sine matrices")
    for rows, some in pieces(data, title):
        for row, system in zip(range(rows.start, rows.stop), some, strict=True):
            table[row, : len(system.numbers)] = _by_size(np.linalg.eigvalsh(sine_matrix(system)))
    return table


def ewald_eigenspectrum(data: Dataset, training: np.ndarray, title: str = "") -> np.ndarray:
    """Eigenvalues of the Ewald sum matrix (by dscribe) by falling size: (structures, most atoms)."""
    del training
    with optional("dscribe"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from dscribe.descriptors import EwaldSumMatrix
    table = dense(len(data), int(data.n_atoms.max()), "Ewald sum matrices")
    for rows, some in pieces(data, title):
        for row, system in zip(range(rows.start, rows.stop), some, strict=True):
            atoms = len(system.numbers)
            made = EwaldSumMatrix(n_atoms_max=atoms, permutation="eigenspectrum")
            table[row, :atoms] = np.asarray(made.create(system.to_ase(), accuracy=1e-4)).reshape(-1)
    return table


def _by_size(values: np.ndarray) -> np.ndarray:
    return values[np.argsort(-np.abs(values), kind="stable")]
