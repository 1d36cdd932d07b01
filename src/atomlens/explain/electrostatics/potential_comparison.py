"""Electrostatic potentials of one molecule from several sources, beside each other on a cut and on a surface."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from atomlens.data.system import AtomicSystem, symbol
from atomlens.errors import InputError
from atomlens.explain.electrostatics.charge_comparison import known, pearson
from atomlens.explain.electrostatics.point_charges import (
    CLOSEST,
    NAME,
    as_charges,
    colour_limit,
    coulomb_potential,
    nearest_atom,
)
from atomlens.explain.probes.field import FieldCut, Plane, as_system
from atomlens.explain.probes.isosurface import ISOVALUE, Isosurface, isosurface
from atomlens.figures import atoms_near_plane
from atomlens.figures.electrostatics import electrostatic_cuts, electrostatic_surfaces
from atomlens.model import Model, Structure

CLEAR_POTENTIAL = 0.01  # V; less has no sign to agree with

Potential = Callable[[np.ndarray], np.ndarray]  # points (..., 3) in Å to (...) in V


@dataclass(frozen=True)
class PotentialComparison:
    """Potentials by their sources, the first of which the others are held against."""

    system: AtomicSystem
    cuts: Mapping[str, FieldCut]  # over one plane
    surface: Isosurface | None  # around the molecule; None where it cannot be had
    on_surface: Mapping[str, np.ndarray]  # (vertices,) V; empty without a surface
    without_surface: str = ""  # why there is none, and what would help

    @property
    def first(self) -> str:
        """The name of the first source."""
        return next(iter(self.cuts))

    def agreement(self, name: str) -> tuple[float, float]:
        """Pearson's correlation of one potential with the first on the surface, and the share with the same sign.

        Only places where the named one is not next to nothing are asked for signs; both are NaN without any.
        """
        if not self.on_surface:
            return np.nan, np.nan
        ours, theirs = self.on_surface[self.first], self.on_surface[name]
        clear = np.abs(theirs) > CLEAR_POTENTIAL
        if not clear.any() or np.abs(ours).max() < CLEAR_POTENTIAL:
            return np.nan, np.nan
        return pearson(ours, theirs), float((np.sign(ours) == np.sign(theirs))[clear].mean())

    def to_dict(self) -> dict[str, Any]:
        """Extremes on the surface and agreement with the first, by source, for JSON, in V; empty without a surface."""
        rows = {}
        for name, values in self.on_surface.items():
            correlation, same = self.agreement(name)
            extremes = {"minimum": float(values.min()), "maximum": float(values.max())}
            rows[name] = known({**extremes, "correlation": correlation, "same_sign": same})
        return {"isovalue": self.surface.isovalue, "potentials": rows} if self.surface else {}

    def plot(self, names: Sequence[str] | None = None) -> Figure:
        """The cuts of these sources (None: of all) side by side on one scale."""
        cuts = {name: self.cuts[name] for name in names or self.cuts}
        first = next(iter(cuts.values()))
        plane = first.plane
        atoms = atoms_near_plane(self._symbols, self.system.positions, plane.origin, plane.u, plane.v)
        limit = max(colour_limit(cut.values, cut.nearest_atom) for cut in cuts.values())
        return electrostatic_cuts([(name, cut.values) for name, cut in cuts.items()], first.x, first.y, atoms, limit)

    def plot_surfaces(self, names: Sequence[str] | None = None) -> Figure:
        """The surface in the colours of these sources (None: of all) side by side on one scale.

        Raises:
            InputError: there is no surface; says why.
        """
        if self.surface is None:
            raise InputError(self.without_surface)
        values = [(name, self.on_surface[name]) for name in names or self.on_surface]
        return electrostatic_surfaces(
            values, self.surface.vertices, self.surface.triangles, self._symbols, self.system.positions
        )

    @property
    def _symbols(self) -> list[str]:
        return [symbol(int(number)) for number in self.system.numbers]


def compare_potentials(
    sources: Mapping[str, Model | ArrayLike | Potential],
    structure: Structure,
    *,
    plane: Plane | None = None,
    spacing: float = 0.1,
    isovalue: float = ISOVALUE,
) -> PotentialComparison:
    """Potentials for a probe of +1 e from several sources, over a plane and on a surface around the molecule.

    Without scikit-image, and around molecules so large that its grid would have too many points, there is no surface.

    Args:
        sources: name to a model with a dipole readout (its latent charges count), charges of the atoms (atoms,) in e,
            or a function of points (..., 3) in Å that gives V, such as a closure around `explain.quantum_potential`.
        structure: an open molecule.
        plane: of the cut; None: the molecule's own, see `Plane.through`.
        spacing: between points of the cut in Å.
        isovalue: c of the surface Σ|r - r_i|⁻² = c in Å⁻².

    Raises:
        InputError: there is no source; else see `explain.electrostatic_potential`.
    """
    if not sources:
        raise InputError("there are no charges to compare potentials of; give some")
    system = as_system(structure)
    potentials = {name: _potential(source, system) for name, source in sources.items()}
    plane = plane or Plane.through(system)
    x, y, points = plane.grid(spacing)
    nearest = nearest_atom(system.positions, points)
    surface, without = _surface(system, isovalue)
    return PotentialComparison(
        system,
        {name: FieldCut(x, y, each(points), nearest, plane, NAME, "V") for name, each in potentials.items()},
        surface,
        {} if surface is None else {name: each(surface.vertices) for name, each in potentials.items()},
        without,
    )


def _surface(system: AtomicSystem, isovalue: float) -> tuple[Isosurface | None, str]:
    """The surface, or None and why it cannot be had: the cuts need none."""
    try:
        return isosurface(system, isovalue), ""
    except InputError as error:
        return None, error.problem


def _potential(source: Model | ArrayLike | Potential, system: AtomicSystem) -> Potential:
    """A source as a function of points.

    Raises:
        InputError: the structure is periodic, or charges and atoms do not fit.
    """
    if callable(source) and not isinstance(source, Model):
        as_charges(np.zeros(len(system.numbers)), system)  # refuses crystals
        return source
    charges = as_charges(source, system)
    return lambda points: coulomb_potential(charges, system.positions, points, closest=CLOSEST)
