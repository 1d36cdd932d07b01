"""The local chemical potential Ω(r): what a probe atom at r would feel (thesis eq. 3.11-3.13; insights paper 3.2).

The probe hears the molecule and is not heard, so the molecule stays as it was. Ω is a view of what the network has
learned and not the energy of a real atom brought there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field as member
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from atomlens import figures
from atomlens.data.system import AtomicSystem, symbol
from atomlens.errors import InputError
from atomlens.explain.baseline import Baseline
from atomlens.explain.probes.field import Grid, Plane, ScalarField, atoms_near
from atomlens.explain.probes.isosurface import ISOVALUE, isosurface
from atomlens.explain.probes.probes import Probing
from atomlens.figures import surface as surface_figures
from atomlens.model import Model, Structure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Nearer to a nucleus no training structure ever had an atom, and Ω runs off every scale.
MASKED_RADIUS = 0.6  # Å
SURROUNDED = 1.0  # Å; where extremes are looked for, farther than this from every atom
REACH_SAMPLES = 500


@dataclass(frozen=True)
class PotentialCut:
    """Ω over a plane."""

    x: np.ndarray  # (columns,) Å, along the plane's u
    y: np.ndarray  # (rows,) Å, along the plane's v
    values: np.ndarray  # (rows, columns) eV, Ω of the probe, relative to the baseline
    nearest_atom: np.ndarray  # (rows, columns) Å, distance of a point from the nearest atom
    isolated: float  # eV, Ω of a probe that hears nothing, relative to the same baseline
    probe: str
    plane: Plane
    relative_to: Baseline
    system: AtomicSystem

    def to_dict(self) -> dict[str, Any]:
        """Facts for JSON, in eV; extremes are taken farther than 1 Å from every atom, where the network has data."""
        outside = self.values[self.nearest_atom > SURROUNDED] - self.isolated
        return {
            "probe": self.probe,
            "unit": "eV",
            "definition": "Ω(r), the energy term of a probe atom that hears the molecule and is not heard",
            "plane": self.plane.description,
            "origin": self.plane.origin.tolist(),
            "u": self.plane.u.tolist(),
            "v": self.plane.v.tolist(),
            "relative_to": "the isolated probe",
            "isolated": self.isolated,
            "minimum": float(outside.min()) if outside.size else None,
            "maximum": float(outside.max()) if outside.size else None,
        }

    def plot(self) -> Figure:
        """The cut with contour lines, negative ones dashed, relative to the isolated probe (insights paper fig. 5)."""
        shown = np.where(self.nearest_atom < MASKED_RADIUS, np.nan, self.values - self.isolated)
        near = [vars(atom) for atom in atoms_near(self.system, self.plane)]
        return figures.potential_cut(self.x, self.y, shown, near, self.probe, relative_to=f"the isolated {self.probe}")


@dataclass(frozen=True)
class PotentialSurface:
    """Ω on the surface Σ_i |r - r_i|⁻² = c around a molecule."""

    vertices: np.ndarray  # (vertices, 3) Å
    triangles: np.ndarray  # (triangles, 3) rows of vertices
    values: np.ndarray  # (vertices,) eV, Ω less that of the isolated probe, of the network and not interpolated
    nearest: np.ndarray  # (vertices,) the atom that is nearest to each
    isovalue: float  # c in Å⁻²
    probe: str
    system: AtomicSystem

    def to_dict(self) -> dict[str, Any]:
        """Extremes in eV and the atoms at which they lie, for JSON."""
        low, high = int(self.values.argmin()), int(self.values.argmax())
        return {
            "isovalue": self.isovalue,
            "vertices": len(self.vertices),
            **{
                name: {
                    "value": float(self.values[row]),
                    "atom": int(self.nearest[row]),
                    "position": self.vertices[row].tolist(),
                }
                for name, row in (("minimum", low), ("maximum", high))
            },
        }

    def plot(self) -> Figure:
        """The surface from two sides (thesis fig. 3.12, 3.14; insights paper fig. 5)."""
        symbols = [symbol(int(number)) for number in self.system.numbers]
        return surface_figures.potential_surface(
            self.vertices, self.triangles, self.values, symbols, self.system.positions, self.probe,
            relative_to=f"the isolated {self.probe}",
        )  # fmt: skip


@dataclass(frozen=True)
class LocalChemicalPotential:
    """Ω on a grid around a molecule, or over the cell of a crystal, with what it takes to look at it elsewhere."""

    field: ScalarField  # values (nx, ny, nz) in eV, Ω less that of the isolated probe
    nearest_atom: np.ndarray  # (nx, ny, nz) Å, distance of a grid point from the nearest atom
    isolated: float  # eV, Ω of a probe that hears nothing, relative to the baseline
    probe: str
    relative_to: Baseline
    probing: Probing = member(repr=False, compare=False)

    @property
    def values(self) -> np.ndarray:
        """Ω less that of the isolated probe, (nx, ny, nz) in eV."""
        return self.field.values

    @property
    def grid(self) -> Grid:
        """Where the values lie."""
        return self.field.grid

    def to_dict(self) -> dict[str, Any]:
        """Facts for JSON, in eV; extremes are taken farther than 1 Å from every atom."""
        outside = self.values[self.nearest_atom > SURROUNDED]
        return {
            "probe": self.probe,
            "unit": "eV",
            "relative_to": "the isolated probe",
            "isolated": self.isolated,
            "grid": {"origin": self.grid.origin.tolist(), "steps": self.grid.steps.tolist(), "shape": self.grid.shape},
            "minimum": float(outside.min()) if outside.size else None,
            "maximum": float(outside.max()) if outside.size else None,
        }

    def cut(self, plane: Plane | None = None, spacing: float = 0.08) -> PotentialCut:
        """Ω over a plane, of the network and not interpolated; without one the molecule's own (`Plane.through`).

        Raises:
            InputError: the plane would hold more than a million points.
        """
        return cut_through(self.probing, self.probe, plane, spacing, self.relative_to)

    def isosurface(self, isovalue: float = ISOVALUE, spacing: float = 0.2) -> PotentialSurface:
        """Ω on the surface Σ_i |r - r_i|⁻² = ``isovalue`` Å⁻², by marching cubes of ``spacing`` Å.

        Raises:
            InputError: the structure is a crystal, which has none, or scikit-image is not installed.
        """
        return surfaces(self.probing, (self.probe,), isovalue, spacing)[0]

    def plot(self) -> Figure:
        """The cut through the molecule's own plane; see `cut` and `isosurface` for others."""
        return self.cut().plot()

    def to_cube(self, path: str | Path) -> None:
        """Write a Gaussian cube, with values in eV; see `explain.field_files.write_cube`."""
        self.field.to_cube(path)

    def to_vtk(self, path: str | Path) -> None:
        """Write a legacy VTK file, with values in eV; see `explain.field_files.write_vtk`."""
        self.field.to_vtk(path)


def local_chemical_potential(
    model: Model,
    structure: Structure,
    probe: str = "H",
    *,
    points: int = 60,
    margin: float = 2.5,
    grid: Grid | None = None,
    relative_to: Baseline | None = None,
    title: str = "",
) -> LocalChemicalPotential:
    """Ω of a probe atom on a grid.

    Args:
        model: any model that predicts energies; of formation energies it is the probe's term of their mean.
        structure: a molecule or crystal; a crystal acts with all its images.
        probe: chemical symbol of an element that the model knows.
        points: along the longest side of the grid, around a molecule or over a crystal's cell.
        margin: of the grid around a molecule beyond its outermost atoms, in Å.
        grid: another grid.
        relative_to: what the isolated probe's energy is measured from; see `explain.baseline.energy_baseline`.
        title: shown with a progress bar, if given.

    Raises:
        InputError: the model predicts no energies, never saw the probe's element, or refuses the structure.
    """
    probing = Probing.of(model, structure)
    grid = grid or default_grid(probing.system, points, margin)
    return on_grid(probing, (probe,), grid, relative_to, title)[0]


def potential_at(
    model: Model,
    structure: Structure,
    points: np.ndarray,
    probe: str = "H",
    *,
    relative_to: Baseline | None = None,
    title: str = "",
) -> np.ndarray:
    """Ω of a probe atom at points in space.

    Args:
        model: any model that predicts energies.
        structure: a molecule or crystal; a crystal acts with all its images.
        points: (points, 3) in Å.
        probe: chemical symbol of an element that the model knows.
        relative_to: what the probe's energy is measured from; see `explain.baseline.energy_baseline`.
        title: shown with a progress bar, if given.

    Returns:
        (points,) in eV

    Raises:
        InputError: points are not finite or not of that shape; or see `local_chemical_potential`.
    """
    points = np.asarray(points, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 3 or not np.isfinite(points).all():
        raise InputError(f"points must be finite numbers of shape (points, 3), not {points.shape}; correct them")
    probing = Probing.of(model, structure)
    isolated, _ = probing.isolated(probe, relative_to)
    return np.asarray(probing.energies(points, (probe,), title)[0][0] + isolated)


def potential_cut(
    model: Model,
    structure: Structure,
    probe: str = "H",
    *,
    plane: Plane | None = None,
    spacing: float = 0.08,
    relative_to: Baseline | None = None,
    title: str = "",
) -> PotentialCut:
    """Ω over a plane (by default the molecule's own), on a grid of ``spacing`` Å.

    Raises:
        InputError: see `local_chemical_potential`, and `Plane.grid`.
    """
    return cut_through(Probing.of(model, structure), probe, plane, spacing, relative_to, title)


def probe_reach(model: Model, structure: Structure, cut: PotentialCut, samples: int = REACH_SAMPLES) -> float:
    """How far the probe's features lie beyond those of the structure's atoms; see `explain.probes.Probing.reach`.

    Args:
        model: that gave the cut.
        structure: that was cut through.
        cut: whose points farther than 1 Å from every atom are looked at.
        samples: how many of them, evenly spread, at most.
    """
    grid = cut.plane.origin + cut.x[None, :, None] * cut.plane.u + cut.y[:, None, None] * cut.plane.v
    points = thinned(grid[cut.nearest_atom > SURROUNDED], samples)
    return Probing.of(model, structure).reach(points, cut.probe) if len(points) else 1.0


def default_grid(system: AtomicSystem, points: int, margin: float) -> Grid:
    """Around a molecule's atoms, or over a crystal's cell, with so many points along the longest side."""
    if system.pbc.all():
        return Grid.of_cell(system, float(np.linalg.norm(system.cell, axis=1).max()) / points)
    return Grid.around(system, points, margin)


def on_grid(
    probing: Probing, probes: Sequence[str], grid: Grid, relative_to: Baseline | None = None, title: str = ""
) -> list[LocalChemicalPotential]:
    """Ω of several probes at once: what a probe hears does not depend on its element."""
    values, nearest = probing.energies(grid.points, probes, title)
    found = []
    for probe, part in zip(probes, values, strict=True):
        isolated, chosen = probing.isolated(probe, relative_to)
        name = f"local chemical potential of a probe {probe} relative to the isolated one"
        scalar = ScalarField(grid, part.reshape(grid.shape), name, "eV", probing.system)
        found.append(LocalChemicalPotential(scalar, nearest.reshape(grid.shape), isolated, probe, chosen, probing))
    return found


def cut_through(
    probing: Probing,
    probe: str,
    plane: Plane | None,
    spacing: float,
    relative_to: Baseline | None = None,
    title: str = "",
) -> PotentialCut:
    """Ω over a plane, or without one over the molecule's own."""
    isolated, chosen = probing.isolated(probe, relative_to)
    plane = plane or Plane.through(probing.system)
    x, y, grid = plane.grid(spacing)
    found, distances = probing.energies(grid.reshape(-1, 3), (probe,), title)
    values, nearest = found[0].reshape(grid.shape[:2]) + isolated, distances.reshape(grid.shape[:2])
    return PotentialCut(x, y, values, nearest, isolated, probe, plane, chosen, probing.system)


def surfaces(
    probing: Probing, probes: Sequence[str], isovalue: float = ISOVALUE, spacing: float = 0.2
) -> list[PotentialSurface]:
    """Ω of several probes on one surface."""
    system = probing.system
    found = isosurface(system, isovalue, spacing)
    values, _ = probing.energies(found.vertices, probes)
    nearest = probing.around.tree.query(found.vertices)[1]
    return [
        PotentialSurface(found.vertices, found.triangles, part, nearest, isovalue, probe, system)
        for probe, part in zip(probes, values, strict=True)
    ]


def thinned(points: np.ndarray, samples: int) -> np.ndarray:
    """At most about so many of the points (points, 3), evenly spread."""
    return points[:: max(len(points) // samples, 1)]
