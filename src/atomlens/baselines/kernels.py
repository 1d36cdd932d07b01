"""How alike structures are: kernels of descriptors of structures, and of descriptors of atoms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from scipy.sparse import issparse

from atomlens.baselines.descriptor import optional
from atomlens.data.dataset import Dataset, ranges
from atomlens.progress import Reporter

_SAMPLE = 500  # structures or atoms that a typical distance is taken from
_BLOCK = 4_000_000  # entries of a block of pairs of atoms
KernelAt = Callable[[float], np.ndarray]  # from a width to the matrix, (rows, columns)


class Kernel(Protocol):
    """Kernels of one descriptor; structures are named by their rows."""

    names: tuple[str, ...]  # of the functions
    cheap: bool  # whether another width costs next to nothing once `between` was called

    def scale(self, name: str, rows: np.ndarray) -> float:
        """A typical distance among the structures, that widths are counted in."""

    def between(self, name: str, rows: np.ndarray, columns: np.ndarray, bar: Reporter | None = None) -> KernelAt:
        """The kernel matrix of two sets of structures, as a function of the width."""


class StructureKernel:
    """exp(-d₂² / 2σ²) (Gaussian) and exp(-d₁ / σ) (Laplacian) of descriptors of structures.

    Args:
        features: (structures, D), or a sparse CSR array.
    """

    names: tuple[str, ...] = ("gaussian", "laplacian")
    cheap = True

    def __init__(self, features: Any) -> None:
        self._sparse = issparse(features)
        # Distances by products lose digits far from the origin.
        self._features = features if self._sparse else features - features.mean(axis=0, dtype=np.float64)

    def scale(self, name: str, rows: np.ndarray) -> float:
        """The median distance."""
        some = _spread(rows, _SAMPLE)
        return _middle(self._distances(name, some, some)[np.triu_indices(len(some), 1)])

    def between(self, name: str, rows: np.ndarray, columns: np.ndarray, bar: Reporter | None = None) -> KernelAt:
        """See `Kernel`."""
        del bar
        distances = self._distances(name, rows, columns)
        if name == "gaussian":
            np.square(distances, out=distances)

        def at(width: float) -> np.ndarray:
            found = distances * (-0.5 / width**2 if name == "gaussian" else -1.0 / width)
            return np.exp(found, out=found)

        return at

    def _distances(self, name: str, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        with optional("scikit-learn"):
            from sklearn.metrics.pairwise import euclidean_distances, manhattan_distances
        first, second = (self._features[some].astype(np.float64) for some in (rows, columns))
        measure = euclidean_distances if name == "gaussian" else manhattan_distances
        return np.asarray(measure(first, second))


class AtomKernel:
    """Σ_i Σ_j exp(-|x_i - x_j|² / 2σ²) over atoms of the same element of two structures.

    Args:
        features: (atoms, D) descriptors of atoms.
        data: the structures.
        average: divide by both numbers of atoms, for labels that do not grow with the structure.
    """

    names: tuple[str, ...] = ("gaussian",)
    cheap = False

    def __init__(self, features: np.ndarray, data: Dataset, *, average: bool) -> None:
        self._features, self._data, self._average = features, data, average

    def scale(self, name: str, rows: np.ndarray) -> float:
        """The median distance between atoms of the same element."""
        del name
        atoms = ranges(self._data.offsets, rows)
        numbers = self._data.numbers[atoms]
        found = []
        for element in np.unique(numbers):
            share = int(np.ceil(_SAMPLE * (numbers == element).mean()))
            some = self._features[_spread(atoms[numbers == element], share)].astype(np.float64)
            found.append(np.sqrt(_squares(some, some)[np.triu_indices(len(some), 1)]))
        return _middle(np.concatenate(found))

    def between(self, name: str, rows: np.ndarray, columns: np.ndarray, bar: Reporter | None = None) -> KernelAt:
        """See `Kernel`; the bar counts structures of ``rows``."""
        del name
        last: dict[float, np.ndarray] = {}

        def at(width: float) -> np.ndarray:
            if width not in last:
                last.clear()
                last[width] = self._matrix(rows, columns, width, bar)
            return last[width].copy()

        return at

    def _matrix(self, rows: np.ndarray, columns: np.ndarray, width: float, bar: Reporter | None) -> np.ndarray:
        result = np.zeros((len(rows), len(columns)))
        right = {element: self._of_element(element, columns) for element in self._data.elements}
        most = max((len(atoms) for atoms, _, _ in right.values()), default=1)
        # Whole structures at a time, so that the atoms of the rows of one block are never split.
        sizes = np.cumsum(self._data.n_atoms[rows])
        block = np.floor_divide(sizes, max(_BLOCK // max(most, 1), 1))
        for part in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(block)) + 1):
            for element, (there, column, begins) in right.items():
                here, row, starts = self._of_element(element, rows[part])
                if len(here) and len(there):
                    found = _squares(here, there)
                    found *= -0.5 / width**2
                    np.exp(found, out=found)
                    sums = np.add.reduceat(np.add.reduceat(found, begins, axis=1), starts, axis=0)
                    result[np.ix_(part[row], column)] += sums
            if bar is not None:
                bar.advance(len(part))
        if self._average:
            result /= self._data.n_atoms[rows][:, None] * self._data.n_atoms[columns]
        return result

    def _of_element(self, element: int, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Features of the atoms of an element, the places in ``rows`` that have any, and where each begins."""
        atoms = ranges(self._data.offsets, rows)
        place = np.repeat(np.arange(len(rows)), self._data.n_atoms[rows])
        kept = self._data.numbers[atoms] == element
        places, starts = np.unique(place[kept], return_index=True)
        return self._features[atoms[kept]].astype(np.float64), places, starts


def _squares(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Squared distances of all rows, (m, n)."""
    centre = second.mean(axis=0)
    first, second = first - centre, second - centre
    found = first @ (-2.0 * second.T)
    found += np.square(first).sum(axis=1)[:, None]
    found += np.square(second).sum(axis=1)
    return np.maximum(found, 0.0, out=found)


def _middle(distances: np.ndarray) -> float:
    """The median of the distances that are not zero; 1 where all are."""
    distances = distances[distances > 0]
    return float(np.median(distances)) if len(distances) else 1.0


def _spread(rows: np.ndarray, count: int) -> np.ndarray:
    """At most ``count`` of the rows, evenly over their order."""
    return rows if len(rows) <= count else rows[np.linspace(0, len(rows) - 1, count).astype(np.int64)]
