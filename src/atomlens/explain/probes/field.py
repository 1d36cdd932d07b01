"""Scalar fields around a structure: on regular grids, on planes, on surfaces; and their files."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path

import ase
import numpy as np
from ase.geometry import complete_cell
from numpy.typing import ArrayLike

from atomlens.data.system import AtomicSystem, symbol
from atomlens.errors import InputError
from atomlens.explain.probes.field_files import write_cube, write_vtk
from atomlens.model import Structure

MAX_GRID_POINTS = 1_000_000
_FLAT = 0.05  # atoms whose width is below this share of their length lie on a line
_ROUND = 0.99  # and above this they have no long axis


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
        """The plane of three atoms, or without them a molecule's own; ``margin`` Å beyond the outermost atoms.

        A molecule's own plane is nearest, in the mean of squares, to its atoms other than hydrogen, or to all atoms
        where those others are fewer than three or lie on a line.

        Raises:
            InputError: an atom does not exist, or the three lie on one line.
        """
        positions = np.asarray(structure.positions)
        if atoms is None:
            origin, u, v, which = _nearest_plane(np.asarray(structure.numbers), positions)
            description = f"the plane nearest to all {which}"
        else:
            origin, u, v = _plane_of_three(positions, atoms)
            first, second, third = (f"{symbol(int(structure.numbers[atom]))}{atom}" for atom in atoms)
            description = f"the plane through {first}, {second} and {third}"
        flat = np.stack([(positions - origin) @ u, (positions - origin) @ v])
        middle = 0.5 * (flat.max(axis=1) + flat.min(axis=1))
        half = 0.5 * np.ptp(flat, axis=1) + margin
        return cls(origin + middle[0] * u + middle[1] * v, u, v, (float(half[0]), float(half[1])), description)

    @classmethod
    def at(cls, origin: ArrayLike, normal: ArrayLike, half_widths: tuple[float, float]) -> Plane:
        """The plane through a point (3,) in Å at right angles to ``normal`` (3,), so far to either side, in Å.

        Its first axis is the most level one: at right angles to z, or along x where the plane itself is.

        Raises:
            InputError: the normal has no direction, or a half width is not positive.
        """
        centre, across = np.array(origin, dtype=np.float64), np.array(normal, dtype=np.float64)
        length = float(np.linalg.norm(across))
        if not (np.isfinite(length) and length > 0.0 and np.isfinite(centre).all()):
            raise InputError(f"the normal {across.tolist()} of the plane has no direction; give another")
        if not all(half > 0.0 for half in half_widths):
            raise InputError(f"the half widths of the plane, {half_widths}, must be positive; correct them")
        across /= length
        level = np.cross([0.0, 0.0, 1.0], across)
        u = level / np.linalg.norm(level) if np.linalg.norm(level) > 1e-6 else np.array([1.0, 0.0, 0.0])
        v = np.cross(across, u)
        words = ", ".join(f"{part:.3g}" for part in across), ", ".join(f"{part:.3g}" for part in centre)
        description = f"the plane at right angles to ({words[0]}) through ({words[1]}) Å"
        return cls(centre, u, v / np.linalg.norm(v), (float(half_widths[0]), float(half_widths[1])), description)

    @property
    def normal(self) -> np.ndarray:
        """The unit vector (3,) in whose direction heights are positive."""
        return np.asarray(np.cross(self.u, self.v))

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
        return np.asarray((positions - self.origin) @ np.stack([self.u, self.v, self.normal]).T)


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

    @classmethod
    def of_cell(cls, structure: Structure, spacing: float = 0.2) -> Grid:
        """A crystal's cell from its corner, with at most ``spacing`` Å along each lattice vector.

        The far faces, which repeat the near ones, are left out.

        Raises:
            InputError: a lattice vector is missing, or there would be more than a million points.
        """
        cell = as_system(structure).cell
        lengths = np.linalg.norm(cell, axis=1)
        if not (lengths > 0.0).all():
            raise InputError("the structure has no cell with three lattice vectors; lay a grid around its atoms")
        counts = np.ceil(lengths / spacing - 1e-9)
        if counts.prod() > MAX_GRID_POINTS:
            raise InputError(
                f"a grid of {spacing:g} Å in a cell of {lengths[0]:.4g} by {lengths[1]:.4g} by {lengths[2]:.4g} Å has "
                "over a million points; choose a wider spacing"
            )
        return cls(np.zeros(3), cell / counts[:, None], (int(counts[0]), int(counts[1]), int(counts[2])))


@dataclass(frozen=True)
class ScalarField:
    """A scalar on a grid around a structure."""

    grid: Grid
    values: np.ndarray  # (nx, ny, nz)
    name: str
    unit: str
    system: AtomicSystem

    def to_cube(self, path: str | Path) -> None:
        """Write a Gaussian cube file, see `explain.field_files.write_cube`."""
        write_cube(self, path)

    def to_vtk(self, path: str | Path) -> None:
        """Write a legacy VTK file, see `explain.field_files.write_vtk`."""
        write_vtk(self, path)


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


@dataclass(frozen=True)
class NearbyAtom:
    """An atom in or near a plane, or one of its images, in the plane's coordinates."""

    index: int  # of the atom in the structure
    symbol: str
    x: float  # Å along the plane's u
    y: float  # Å along the plane's v
    height: float  # Å above the plane


def atoms_near(system: AtomicSystem, plane: Plane, reach: float = 1.2, margin: float = 0.6) -> list[NearbyAtom]:
    """The atoms within ``reach`` Å of a plane and ``margin`` Å of its rectangle; of a crystal with their images."""
    half = np.array([plane.half_widths[0] + margin, plane.half_widths[1] + margin, reach])
    corners = np.array(list(product((-1.0, 1.0), repeat=3))) * half @ np.stack([plane.u, plane.v, plane.normal])
    inverse = np.linalg.inv(np.asarray(complete_cell(system.cell)))
    of_box, of_atoms = (plane.origin + corners) @ inverse, system.positions @ inverse
    # By how many lattice vectors some atom must be moved to come into the box around the rectangle.
    first = np.floor(of_box.min(axis=0) - of_atoms.max(axis=0)).astype(int)
    last = np.ceil(of_box.max(axis=0) - of_atoms.min(axis=0)).astype(int)
    ranges = [range(a, b + 1) if repeats else (0,) for a, b, repeats in zip(first, last, system.pbc, strict=True)]
    found = []
    for shift in product(*ranges):
        places = plane.coordinates(system.positions + np.array(shift, dtype=np.float64) @ system.cell)
        for atom in np.flatnonzero((np.abs(places) <= half + 1e-9).all(axis=1)).tolist():
            x, y, height = places[atom].tolist()
            found.append(NearbyAtom(atom, symbol(int(system.numbers[atom])), x, y, height))
    return found


def as_system(structure: Structure) -> AtomicSystem:
    """A structure as an `AtomicSystem`."""
    return AtomicSystem.from_ase(structure) if isinstance(structure, ase.Atoms) else structure


def _nearest_plane(numbers: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
    """Origin, two unit vectors and the atoms that count, for the plane nearest to a molecule's atoms."""
    heavy = positions[numbers > 1]
    sizes = np.linalg.svd(heavy - heavy.mean(axis=0), compute_uv=False) if len(heavy) > 2 else np.zeros(3)
    chosen, which = (heavy, "atoms but hydrogen") if sizes[1] > _FLAT * max(sizes[0], 1e-9) else (positions, "atoms")
    origin = chosen.mean(axis=0)
    _, widths, (u, v, normal) = np.linalg.svd(np.vstack([chosen - origin, np.zeros((3, 3))]))
    first = chosen[0] - origin - normal * (normal @ (chosen[0] - origin))
    if widths[1] > _ROUND * widths[0] and np.linalg.norm(first) > 1e-6:  # no direction is the longest, as in a ring
        u = first / np.linalg.norm(first)
        v = np.cross(normal, u)
    return origin, u, v, which


def _plane_of_three(positions: np.ndarray, atoms: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    for atom in atoms:
        if not 0 <= atom < len(positions):
            raise InputError(
                f"there is no atom {atom} (the last one is {len(positions) - 1}); choose others for the plane"
            )
    first, second, third = positions[list(atoms)]
    u = second - first
    v = third - first - u * (u @ (third - first)) / max(float(u @ u), 1e-12)
    if not np.linalg.norm(v) > 1e-6 * np.linalg.norm(u) > 0.0:  # on one line, or at one place
        raise InputError(f"atoms {atoms[0]}, {atoms[1]} and {atoms[2]} lie on one line; choose others for the plane")
    return first, u / np.linalg.norm(u), v / np.linalg.norm(v)
