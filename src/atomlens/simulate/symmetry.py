"""Symmetry of molecules: the rotations and reflections that map a structure onto itself, and their point group."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import ase
import numpy as np
from scipy.spatial import cKDTree

from atomlens.errors import InputError

_LIKE = 0.2  # of matrix elements; operations of a group of molecules differ by more


@dataclass(frozen=True)
class PointGroup:
    """The operations that map a molecule onto itself within a tolerance."""

    name: str  # Schönflies symbol; "unclear" where the tolerance lets in a part of a group
    operations: np.ndarray  # (order, 3, 3), about the centre of the atoms; of a linear molecule those of finite order
    error: float  # Å, the farthest that an atom lies from where one of the operations takes another

    @property
    def order(self) -> int:
        """The number of operations."""
        return len(self.operations)


def point_group(atoms: ase.Atoms, tolerance: float = 0.05) -> PointGroup:
    """The point group of a molecule.

    Two atoms that span a plane with the centre are mapped onto every pair like them; what then maps all atoms is an
    operation.

    Args:
        atoms: not periodic; at least two atoms.
        tolerance: how far from its image an atom may lie, in Å.

    Raises:
        InputError: the structure is periodic or a single atom.
    """
    if atoms.pbc.any() or len(atoms) < 2:
        raise InputError("point groups are those of molecules of two atoms and more; give an open structure")
    positions, numbers = atoms.positions - atoms.positions.mean(axis=0), atoms.numbers
    if np.linalg.svd(positions, compute_uv=False)[1] < tolerance:
        return _linear(positions, numbers, tolerance)
    found = []
    for matrix in _candidates(positions, numbers, tolerance):
        off = _error(matrix, positions, numbers)
        if off < tolerance:
            found.append((matrix, off))
    operations = np.array([matrix for matrix, _ in found])
    # A tolerance may let in some operations of a larger group without the others.
    name = _name(operations) if _closed(operations) else "unclear"
    return PointGroup(name, operations, max(off for _, off in found))


def _closed(operations: np.ndarray) -> bool:
    """Whether every product of two operations is one of them, to what a tolerance of positions allows."""
    for first in operations:
        products = first @ operations
        gaps = np.abs(products[:, None] - operations[None]).max(axis=(2, 3)).min(axis=1)
        if gaps.max() > _LIKE:
            return False
    return True


def _candidates(positions: np.ndarray, numbers: np.ndarray, tolerance: float) -> Iterator[np.ndarray]:
    """Orthogonal matrices that take two atoms, which span a plane with the centre, to two others like them."""
    lengths = np.linalg.norm(positions, axis=1)
    areas = np.linalg.norm(np.cross(positions[:, None], positions[None]), axis=2)
    first, second = np.unravel_index(areas.argmax(), areas.shape)
    frame = _frame(positions[first], positions[second])
    apart = np.linalg.norm(positions[:, None] - positions[None], axis=2)
    like = [
        np.flatnonzero((numbers == numbers[atom]) & (np.abs(lengths - lengths[atom]) < 2.0 * tolerance))
        for atom in (first, second)
    ]
    for one, other in product(*like):
        if one == other or abs(apart[one, other] - apart[first, second]) > 2.0 * tolerance:
            continue
        image = _frame(positions[one], positions[other])
        yield image.T @ frame
        yield image.T @ np.diag([1.0, 1.0, -1.0]) @ frame


def _frame(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Orthonormal rows: the two vectors' bisector, what is across it in their plane, and the normal."""
    normal = np.cross(first, second)
    normal = normal / np.linalg.norm(normal)
    middle = first / np.linalg.norm(first) + second / np.linalg.norm(second)
    middle = middle / np.linalg.norm(middle)
    return np.array([middle, np.cross(normal, middle), normal])


def _error(matrix: np.ndarray, positions: np.ndarray, numbers: np.ndarray) -> float:
    """The farthest that an atom's image lies from an atom of its element; infinite if two images share one."""
    worst = 0.0
    for number in np.unique(numbers):
        own = positions[numbers == number]
        distances, hits = cKDTree(own).query(own @ matrix.T)
        if len(set(hits.tolist())) < len(own):
            return np.inf
        worst = max(worst, float(distances.max()))
    return worst


def _linear(positions: np.ndarray, numbers: np.ndarray, tolerance: float) -> PointGroup:
    off = _error(-np.eye(3), positions, numbers)
    if off < tolerance:
        return PointGroup("D∞h", np.array([np.eye(3), -np.eye(3)]), off)
    return PointGroup("C∞v", np.eye(3)[None], 0.0)


def _name(operations: np.ndarray) -> str:
    """Schönflies symbol, from how many rotations and reflections there are."""
    proper = operations[np.linalg.det(operations) > 0]
    improper = operations[np.linalg.det(operations) < 0]
    angles = np.arccos(np.clip((np.trace(proper, axis1=1, axis2=2) - 1.0) / 2.0, -1.0, 1.0))
    axis = max(round(2.0 * np.pi / angle) if angle > 0.1 else 1 for angle in angles)
    traces = np.trace(improper, axis1=1, axis2=2)
    mirrors, inversion = int((traces > 1.0 - 1e-2).sum()), bool((traces < -3.0 + 1e-2).any())
    if len(proper) > 2 * axis:  # several axes of three and more
        family = {12: "T", 24: "O", 60: "I"}[len(proper)]
        ending = "" if not len(improper) else "h" if inversion else "d"
        return family + ending
    if len(proper) == 2 * axis and axis > 1:
        ending = "" if not len(improper) else "h" if inversion == (axis % 2 == 0) else "d"
        return f"D{axis}{ending}"
    if not len(improper):
        return f"C{axis}"
    if axis == 1:
        return "Ci" if inversion else "Cs"
    if mirrors == 0:
        return f"S{2 * axis}"
    return f"C{axis}v" if mirrors == axis else f"C{axis}h"
