"""Which atoms of a structure, with all their images, points in space lie near to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from ase.geometry import complete_cell
from scipy.spatial import cKDTree

from atomlens.data.system import AtomicSystem

POINTS_AT_ONCE = 16_384  # fewer repeat the structure's own work and let threads meet too often
PAIRS_AT_ONCE = 300_000
FEW_IMAGES = 100  # up to which distances from all of them are found faster than by a tree


@dataclass(frozen=True)
class NearPairs:
    """Points with the atoms that lie within the cutoff of each; ordered by point, then by image."""

    points: np.ndarray  # (points, 3) Å, moved by lattice vectors into the cell
    point: np.ndarray  # (pairs,) which point
    image: np.ndarray  # (pairs,) which image of `Surroundings`
    nearest: np.ndarray  # (points,) Å, distance from the nearest atom


@dataclass(frozen=True)
class Surroundings:
    """The atoms within a cutoff of a structure's cell, images included; of an open structure, its atoms."""

    positions: np.ndarray  # (images, 3) Å
    atom: np.ndarray  # (images,) which atom of the structure each is
    shift: np.ndarray  # (images, 3) by which lattice vectors it was moved
    cutoff: float  # Å; infinite where points are near to everything
    tree: cKDTree  # of the positions
    cell: np.ndarray  # (3, 3) Å, rows are lattice vectors, made up where there are none
    pbc: np.ndarray  # (3,) bool

    @classmethod
    def of(cls, system: AtomicSystem, cutoff: float | None) -> Surroundings:
        """Everything within ``cutoff`` Å (None: everything, of an open structure) of any point."""
        reach = np.inf if cutoff is None else cutoff
        cell, pbc = np.asarray(complete_cell(system.cell)), np.asarray(system.pbc, dtype=bool)
        fractional = system.positions @ np.linalg.inv(cell)
        home = np.where(pbc, -np.floor(fractional), 0.0)
        # Planes of constant fractional coordinate lie 1/|row of the reciprocal cell| apart.
        extent = np.where(pbc, (0.0 if cutoff is None else cutoff) * np.linalg.norm(np.linalg.inv(cell), axis=0), 0.0)
        shift = np.array(list(product(*(np.arange(-n, n + 1) for n in np.ceil(extent)))))
        shift, atom = (shift[:, None] + home).reshape(-1, 3), np.tile(np.arange(len(home)), len(shift))
        places = fractional[atom] + shift
        inside = (~pbc | ((places >= -extent - 1e-9) & (places <= 1.0 + extent + 1e-9))).all(axis=1)
        shift, atom = shift[inside], atom[inside]
        positions = system.positions[atom] + shift @ np.where(pbc[:, None], cell, 0.0)
        return cls(positions, atom, shift, reach, cKDTree(positions), cell, pbc)

    def wrapped(self, points: np.ndarray) -> np.ndarray:
        """Points (points, 3) moved by lattice vectors into the cell, along the directions that repeat."""
        if not self.pbc.any():
            return points
        cells = np.floor(points @ np.linalg.inv(self.cell))
        return np.asarray(points - np.where(self.pbc, cells, 0.0) @ self.cell)

    def chunks(
        self, points: np.ndarray, most_points: int | None = None, most_pairs: int | None = None
    ) -> Iterator[NearPairs]:
        """Points (points, 3) in runs of no more points and pairs than that (but one point at least).

        Without these bounds, and never beyond, `POINTS_AT_ONCE` and `PAIRS_AT_ONCE`.
        """
        size = POINTS_AT_ONCE if most_points is None else max(min(POINTS_AT_ONCE, most_points), 1)
        most = PAIRS_AT_ONCE if most_pairs is None else min(PAIRS_AT_ONCE, most_pairs)
        if self._few:
            size = max(min(size, most // len(self.positions)), 1)
            yield from (self.near(points[start : start + size]) for start in range(0, len(points), size))
            return
        for start in range(0, len(points), size):
            yield from self._halved(self.wrapped(points[start : start + size]), most)

    def _halved(self, points: np.ndarray, most: int) -> Iterator[NearPairs]:
        if len(points) > 1 and cKDTree(points).count_neighbors(self.tree, self.cutoff) > most:
            middle = len(points) // 2
            yield from self._halved(points[:middle], most)
            yield from self._halved(points[middle:], most)
        else:
            yield self.near(points)

    @property
    def _few(self) -> bool:
        return len(self.positions) <= FEW_IMAGES or self.cutoff == np.inf

    def near(self, points: np.ndarray) -> NearPairs:
        """Pairs of points (points, 3) with images closer than the cutoff.

        In a crystal with nothing within the cutoff the nearest distance is that to the nearest image looked at.
        """
        points = self.wrapped(np.asarray(points, dtype=np.float64))
        if not self._few:
            found = cKDTree(points).sparse_distance_matrix(self.tree, self.cutoff, output_type="ndarray")
            key = found["i"] * len(self.positions) + found["j"]
            point, image = np.divmod(np.sort(key[found["v"] < self.cutoff]), len(self.positions))
            return NearPairs(points, point, image, self.tree.query(points)[0])
        # |p - q|² by matrix product would round near zero; a loop over axes needs no (points, images, 3) array.
        distances = np.sqrt(sum((points[:, None, axis] - self.positions[None, :, axis]) ** 2 for axis in range(3)))
        point, image = np.nonzero(distances < self.cutoff)
        return NearPairs(points, point, image, distances.min(axis=1))
