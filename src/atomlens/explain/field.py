"""Scalar fields around a structure: on regular grids, on planes, on surfaces; and their files."""

from __future__ import annotations

from dataclasses import dataclass

import ase
import numpy as np

from atomlens.data.system import AtomicSystem, symbol
from atomlens.errors import InputError
from atomlens.model import Structure

MAX_GRID_POINTS = 1_000_000


@dataclass(frozen=True)
class Plane:
    """A rectangle in space: origin + s u + t v with s and t within ± the half widths."""

    origin: np.ndarray  # (3,) Å
    u: np.ndarray  # (3,) unit vector
    v: np.ndarray  # (3,) unit vector, at right angles to u
    half_widths: tuple[float, float]  # Å
    description: str

    @classmethod
    def through(cls, structure: Structure, atoms: tuple[int, int, int] | None = None, margin: float = 2.5) -> Plane:
        """The plane of three atoms, or without them the one nearest to all atoms; ``margin`` Å beyond the outermost.

        Raises:
            InputError: an atom does not exist, or the three lie on one line.
        """
        positions = np.asarray(structure.positions)
        if atoms is None:
            origin, along = positions.mean(axis=0), np.linalg.svd(positions - positions.mean(axis=0))[2]
            u, v = along[0], along[1]
            description = "the plane nearest to all atoms"
        else:
            origin, u, v = _plane_of_three(positions, atoms)
            first, second, third = (f"{symbol(int(structure.numbers[atom]))}{atom}" for atom in atoms)
            description = f"the plane through {first}, {second} and {third}"
        flat = np.stack([(positions - origin) @ u, (positions - origin) @ v])
        middle = 0.5 * (flat.max(axis=1) + flat.min(axis=1))
        half = 0.5 * np.ptp(flat, axis=1) + margin
        return cls(origin + middle[0] * u + middle[1] * v, u, v, (float(half[0]), float(half[1])), description)

    def grid(self, spacing: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Coordinates s (columns,) and t (rows,) in Å, and the points (rows, columns, 3).

        Raises:
            InputError: there would be more than a million points.
        """
        wide, high = (2 * half / spacing for half in self.half_widths)
        if wide * high > MAX_GRID_POINTS:
            raise InputError(
                f"a cut of {wide * spacing:.4g} by {high * spacing:.4g} Å has over a million points at a spacing of "
                f"{spacing:g} Å; choose another plane, or look whether an atom lies far off"
            )
        s, t = (np.linspace(-half, half, max(round(2 * half / spacing), 1) + 1) for half in self.half_widths)
        return s, t, self.origin + s[None, :, None] * self.u + t[:, None, None] * self.v

    def coordinates(self, positions: np.ndarray) -> np.ndarray:
        """Positions (atoms, 3) as s, t and the height above the plane, (atoms, 3) in Å."""
        return np.asarray((positions - self.origin) @ np.stack([self.u, self.v, np.cross(self.u, self.v)]).T)


@dataclass(frozen=True)
class Grid:
    """Points origin + i a + j b + k c, i < nx, j < ny, k < nz."""

    origin: np.ndarray  # (3,) Å
    steps: np.ndarray  # (3, 3) Å, rows are a, b and c
    shape: tuple[int, int, int]

    @property
    def points(self) -> np.ndarray:
        """(nx * ny * nz, 3) in Å, the last index fastest."""
        indices = np.stack(np.meshgrid(*map(np.arange, self.shape), indexing="ij"), axis=-1).reshape(-1, 3)
        return np.asarray(self.origin + indices @ self.steps)

    @classmethod
    def around(cls, structure: Structure, points: int = 36, margin: float = 2.5) -> Grid:
        """A box along x, y and z, ``margin`` Å beyond the outermost atoms, with ``points`` along its longest side."""
        positions = np.asarray(structure.positions)
        low, high = positions.min(axis=0) - margin, positions.max(axis=0) + margin
        spacing = float((high - low).max()) / (points - 1)
        shape = tuple(int(np.ceil(side / spacing - 1e-9)) + 1 for side in high - low)
        return cls(low, spacing * np.eye(3), (shape[0], shape[1], shape[2]))


@dataclass(frozen=True)
class ScalarField:
    """A scalar on a grid around a structure."""

    grid: Grid
    values: np.ndarray  # (nx, ny, nz)
    name: str
    unit: str
    system: AtomicSystem


@dataclass(frozen=True)
class FieldCut:
    """A scalar over a plane."""

    x: np.ndarray  # (columns,) Å, along the plane's u
    y: np.ndarray  # (rows,) Å, along the plane's v
    values: np.ndarray  # (rows, columns)
    nearest_atom: np.ndarray  # (rows, columns) Å, distance of a point from the nearest atom
    plane: Plane
    name: str
    unit: str


def as_system(structure: Structure) -> AtomicSystem:
    """A structure as an `AtomicSystem`."""
    return AtomicSystem.from_ase(structure) if isinstance(structure, ase.Atoms) else structure


def _plane_of_three(positions: np.ndarray, atoms: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    for atom in atoms:
        if not 0 <= atom < len(positions):
            raise InputError(
                f"there is no atom {atom} (the last one is {len(positions) - 1}); choose others for the plane"
            )
    first, second, third = positions[list(atoms)]
    u = second - first
    v = third - first - u * (u @ (third - first)) / (u @ u)
    if np.linalg.norm(v) < 1e-6 * np.linalg.norm(u):
        raise InputError(f"atoms {atoms[0]}, {atoms[1]} and {atoms[2]} lie on one line; choose others for the plane")
    return first, u / np.linalg.norm(u), v / np.linalg.norm(v)
