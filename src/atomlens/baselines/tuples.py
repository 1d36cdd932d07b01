"""Pairs, angles and dihedrals of many open structures at once, in flat arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from atomlens.data.bonds import bonded_pairs
from atomlens.data.dataset import Dataset, ranges


@dataclass(frozen=True)
class Tuples:
    """Atoms that belong together, and what is measured between them."""

    structure: np.ndarray  # (n,)
    atoms: np.ndarray  # (n, 2, 3 or 4), counted through the data set
    value: np.ndarray  # (n,) Å or rad


def all_pairs(data: Dataset) -> Tuples:
    """Every pair of atoms of a structure once, with its distance."""
    sizes = data.n_atoms
    of_atom = np.repeat(np.arange(len(data)), sizes)
    later = data.offsets[1:][of_atom] - np.arange(len(of_atom)) - 1  # atoms of the structure that follow
    first = np.repeat(np.arange(len(of_atom)), later)
    second = first + 1 + np.arange(len(first)) - np.repeat(np.cumsum(later) - later, later)
    apart = np.linalg.norm(data.positions[first] - data.positions[second], axis=1)
    return Tuples(of_atom[first], np.stack([first, second], axis=1), apart)


def bonds(data: Dataset) -> np.ndarray:
    """(bonds, 2) bonded atoms by distance, each bond once; see `bonded_pairs`."""
    found = [
        bonded_pairs(system.numbers, system.positions) + start
        for system, start in zip(data, data.offsets[:-1], strict=True)
    ]
    return np.concatenate(found).reshape(-1, 2)


def bond_angles(data: Dataset, bonded: np.ndarray) -> Tuples:
    """Every angle i-j-k between two bonds once, 0 to π."""
    ends, partners, offsets = _directed(bonded, len(data.numbers))
    rows = np.repeat(np.arange(len(ends)), np.diff(offsets)[ends])
    other = partners[ranges(offsets, ends)]
    atoms = np.stack([partners[rows], ends[rows], other], axis=1)
    atoms = atoms[atoms[:, 0] < atoms[:, 2]]
    place = data.positions[atoms]
    value = _angle(place[:, 0] - place[:, 1], place[:, 2] - place[:, 1])
    return Tuples(_structure_of(data, atoms), atoms, value)


def dihedrals(data: Dataset, bonded: np.ndarray) -> Tuples:
    """Every dihedral i-j-k-l along three bonds once, its size from 0 to π: mirror images are alike."""
    _, partners, offsets = _directed(bonded, len(data.numbers))
    degree = np.diff(offsets)
    rows = np.repeat(np.arange(len(bonded)), degree[bonded[:, 0]])
    left = partners[ranges(offsets, bonded[:, 0])]
    middle = bonded[rows]
    again = np.repeat(np.arange(len(rows)), degree[middle[:, 1]])
    right = partners[ranges(offsets, middle[:, 1])]
    atoms = np.concatenate([left[again, None], middle[again], right[:, None]], axis=1)
    i, j, k, l = atoms.T  # noqa: E741
    atoms = atoms[(i != k) & (j != l) & (i != l)]
    place = data.positions[atoms]
    axis = place[:, 2] - place[:, 1]
    value = _angle(np.cross(place[:, 0] - place[:, 1], axis), np.cross(place[:, 3] - place[:, 2], axis))
    return Tuples(_structure_of(data, atoms), atoms, value)


def _directed(bonded: np.ndarray, atoms: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both directions of every bond sorted by the first atom: first, second, and where each atom's bonds begin."""
    both = np.concatenate([bonded, bonded[:, ::-1]])
    both = both[np.lexsort((both[:, 1], both[:, 0]))]
    offsets = np.concatenate([[0], np.cumsum(np.bincount(both[:, 0], minlength=atoms))])
    return both[:, 0], both[:, 1], offsets


def _structure_of(data: Dataset, atoms: np.ndarray) -> np.ndarray:
    return np.searchsorted(data.offsets, atoms[:, 0], side="right") - 1


def _angle(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Angles between rows, also near 0 and π; 0 where one has no length."""
    return np.arctan2(np.linalg.norm(np.cross(first, second), axis=1), (first * second).sum(axis=1))
