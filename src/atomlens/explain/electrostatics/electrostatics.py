"""The electrostatic potential of a molecule's latent charges, beside that of GFN2-xTB's charges and of other models.

Insights paper 3.2 and fig. 6.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from ase.data import atomic_masses
from matplotlib.figure import Figure

from atomlens.data.system import AtomicSystem, symbol
from atomlens.errors import InputError
from atomlens.explain.analysis import Analysis
from atomlens.explain.electrostatics.charge_comparison import compare_charges, known
from atomlens.explain.electrostatics.charge_sign import ChargeSign, conserves_charge, sign_in
from atomlens.explain.electrostatics.charge_views import listed, signed, sum_check
from atomlens.explain.electrostatics.point_charges import (
    NAME,
    colour_limit,
    coulomb_potential,
    electrostatic_grid,
    multipoles,
    nearest_atom,
)
from atomlens.explain.electrostatics.potential_comparison import PotentialComparison, compare_potentials
from atomlens.explain.electrostatics.xtb_charges import XTB, has_tblite, xtb_charges
from atomlens.explain.probes.field import Grid, Plane
from atomlens.explain.probes.isosurface import Isosurface
from atomlens.explain.subject import ExplainConfig, Subject
from atomlens.figures import style
from atomlens.panel import AtomValues, Chart, Check, Panel, Series, Surface, Volume

LARGEST_FOR_XTB = 120  # atoms; two seconds
FAR = 20.0  # times the molecule's reach, where its potential must be that of its multipoles
_SHOWN_CHARGE = 0.005  # e; smaller ones are printed as zero
_SIDE_BY_SIDE = 3  # cuts in one figure


@dataclass(frozen=True)
class _Scene:
    """One structure with all charges that are known for it."""

    system: AtomicSystem
    name: str  # of the model that is shown
    sign: ChargeSign
    dipole: np.ndarray  # (3,) e·Å, the model's, about the centre of mass
    conserved: bool  # whether the model makes charges add up
    models: Mapping[str, np.ndarray]  # name to charges (atoms,) in e; the first is shown
    xtb: np.ndarray | None  # (atoms,) e
    without_xtb: str  # why there are none, as a sentence
    config: ExplainConfig

    @property
    def charges(self) -> np.ndarray:
        """The charges shown, (atoms,) in e."""
        return self.models[self.name]

    @property
    def atoms(self) -> list[str]:
        """What atoms are called."""
        return [f"{symbol(int(number))}{index}" for index, number in enumerate(self.system.numbers)]

    @cached_property
    def potentials(self) -> PotentialComparison:
        """Those of all charges, the model shown first."""
        config, sources = self.config, {**self.models, **({} if self.xtb is None else {XTB: self.xtb})}
        plane = Plane.through(self.system, config.plane_atoms, config.margin)
        return compare_potentials(sources, self.system, plane=plane, spacing=config.spacing, isovalue=config.isovalue)


def _of_structure(subject: Subject, place: int) -> Panel:
    """The potential of one molecule's latent charges."""
    scene = _scene(subject, place)
    grid = Grid.around(scene.system, subject.config.grid_points, subject.config.margin)
    field = electrostatic_grid(scene.charges, scene.system, grid)
    near = nearest_atom(scene.system.positions, grid.points).reshape(grid.shape)
    limit = colour_limit(field.values, near)
    views: list[Any] = [
        AtomValues("latent charge", "e", scene.charges),
        Volume(NAME, "V", grid.origin, grid.steps, field.values, limit),
    ]
    surface = scene.potentials.surface
    if surface is not None:
        values = scene.potentials.on_surface[scene.name]
        views.append(Surface(NAME, "V", surface.vertices, surface.triangles, values))
    if scene.xtb is not None:
        views.append(_atom_chart(scene, scene.xtb))
    return Panel(
        ANALYSIS.name,
        place,
        reading=_reading(scene),
        trust=_trust(scene),
        checks=tuple(_checks(scene)),
        facts=_facts(scene),
        figures=_figures(scene),
        views=tuple(views),
        files={"electrostatic_potential.cube": field.to_cube, "electrostatic_potential.vtk": field.to_vtk},
    )


def _scene(subject: Subject, place: int) -> _Scene:
    """Charges by all models that serve the structure, and by GFN2-xTB.

    Raises:
        InputError: no model does.
    """
    system, problem = subject.systems[place], None
    models: dict[str, np.ndarray] = {}
    shown: tuple[str, ChargeSign, np.ndarray, bool] | None = None
    for entry in subject.serving("charges"):
        try:
            predicted = subject.of_structure(entry, place)
        except InputError as error:
            problem = InputError(error.problem, atom=error.atom)
            continue
        sign = sign_in(subject, entry)
        models[entry.name] = sign.factor * predicted["charges"]
        shown = shown or (entry.name, sign, sign.factor * predicted["dipole"], conserves_charge(entry.model))
    if shown is None:
        assert problem is not None
        raise problem
    xtb, without = _by_xtb(system)
    return _Scene(system, *shown, models, xtb, without, subject.config)


def _by_xtb(system: AtomicSystem) -> tuple[np.ndarray | None, str]:
    """GFN2-xTB's charges (atoms,) in e, or why there are none."""
    if not has_tblite():
        return None, "GFN2-xTB was not asked: pip install 'atomlens[xtb]'."
    if len(system.numbers) > LARGEST_FOR_XTB:
        return None, f"GFN2-xTB was not asked, for it would take long with more than {LARGEST_FOR_XTB} atoms."
    result = xtb_charges([system])
    if result.failed:
        return None, f"GFN2-xTB has no charges for this structure: {result.failed[0]}."
    return result.found[0].charges, ""


def _reading(scene: _Scene) -> str:
    charges, atoms = scene.charges, scene.atoms
    low, high = int(charges.argmin()), int(charges.argmax())
    if np.abs(charges).max() < _SHOWN_CHARGE:
        return f"All charges that {scene.name} gives to atoms of this structure are smaller than {_SHOWN_CHARGE:g} e."
    words = [
        f"{scene.name} gives {atoms[low]} the lowest charge, {signed(float(charges[low]))} e, and {atoms[high]} "
        f"the highest, {signed(float(charges[high]))} e."
        if low != high
        else f"{scene.name} gives {atoms[low]} a charge of {signed(float(charges[low]))} e."
    ]
    if scene.potentials.surface is not None:
        words.append(_surface_words(scene, scene.potentials.surface))
    if scene.xtb is not None:
        correlation, same = scene.potentials.agreement(XTB)
        if np.isfinite(correlation):
            words.append(
                f"GFN2-xTB's charges give the same sign on {100.0 * same:.0f} % of that surface, with a correlation of "
                f"{signed(correlation)} (1: in step, 0: unrelated)."
            )
    return " ".join(words)


def _surface_words(scene: _Scene, surface: Isosurface) -> str:
    """Between what the potential lies on the surface, and whether it has two signs there."""
    values = scene.potentials.on_surface[scene.name]
    low, high = int(values.argmin()), int(values.argmax())
    ends = [f"{signed(float(values[end]))} V, near {_nearest(scene, surface.vertices[end])}" for end in (low, high)]
    apart = float(np.median(nearest_atom(scene.system.positions, surface.vertices)))
    drawn = "it is drawn to where the potential is negative (blue, dashed lines)"
    if values[low] >= 0.0:
        drawn = "nowhere on it is the potential negative"
    elif values[high] <= 0.0:
        drawn = "nowhere on it is the potential positive"
    return (
        f"On a surface around the molecule, about {apart:.1f} Å from the nearest atom, a probe of +1 e feels between "
        f"{ends[0]}, and {ends[1]}: {drawn}."
    )


def _trust(scene: _Scene) -> str:
    words = [
        scene.sign.sentence,
        "Latent charges were made to give dipole moments: they show that part of the potential, and close to atoms no "
        "point charges can show the true one.",
    ]
    others = [name for name in scene.models if name != scene.name]
    if others and scene.potentials.surface is not None:
        found = {name: scene.potentials.agreement(name)[0] for name in others}
        alike = [f"{name} {signed(value)}" for name, value in found.items() if np.isfinite(value)]
        if alike:
            words.append(f"Correlation with the potential of other models on the surface: {listed(alike)}.")
    elif not others:
        words.append("There is one model here; others may divide the charge in another way.")
    if scene.potentials.surface is None:
        words.append(f"There is no surface around this molecule: {scene.potentials.without_surface}.")
    return " ".join([*words, scene.without_xtb]).strip()


def _checks(scene: _Scene) -> list[Check]:
    missing = abs(float(scene.charges.sum()) - scene.system.charge)
    far = _far_off(scene)
    checks = [
        sum_check("the sum of the charges against the total charge of the structure", missing, scene.conserved),
        Check(
            "far potential",
            f"{FAR:g} molecule sizes away the potential is held against that of the total charge and the model's own "
            "dipole moment; the difference in units of what higher multipoles can make at most",
            far,
            "at most 1",
            "1",
            far <= 1.0,
        ),
    ]
    if scene.xtb is not None:
        same = scene.potentials.agreement(XTB)[1]
        if np.isfinite(same):
            words = "share of the surface on which latent and GFN2-xTB charges give potentials of the same sign"
            checks.append(
                Check(f"sign of the potential, {XTB}", words, same, "above 0.75", "1", same > 0.75, claim=True)
            )
    return checks


def _far_off(scene: _Scene) -> float:
    """The largest difference from the multipoles' potential over a far sphere, over the bound on it."""
    positions, masses = scene.system.positions, atomic_masses[scene.system.numbers]
    expansion = multipoles(scene.charges, positions, scene.dipole, masses @ positions / masses.sum())
    distance = FAR * max(expansion.reach, 1.0)
    corners = np.array(
        [(x, y, z) for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1) if (x, y, z) != (0, 0, 0)]
    )
    points = expansion.centre + distance * corners / np.linalg.norm(corners, axis=1)[:, None]
    off = np.abs(coulomb_potential(scene.charges, positions, points) - expansion.potential(points)).max()
    rounding = 1e-12  # V, of what a lone neutral atom has nothing of
    return float(off / (expansion.bound(distance) + rounding))


def _facts(scene: _Scene) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "unit": "V",
        "probe_charge": 1.0,
        "model": scene.name,
        "sign": known(vars(scene.sign)),
        "symbols": [symbol(int(number)) for number in scene.system.numbers],
        "charges": {name: values.tolist() for name, values in scene.models.items()},
        "dipole": scene.dipole.tolist(),
        "plane": next(iter(scene.potentials.cuts.values())).plane.description,
    }
    if scene.xtb is not None:
        facts["xtb_charges"] = scene.xtb.tolist()
        facts["charges_beside_xtb"] = compare_charges(scene.system.numbers, scene.charges, {XTB: scene.xtb})[
            XTB
        ].to_dict()
    if scene.potentials.surface is not None:
        facts["surface"] = scene.potentials.to_dict()
    return facts


def _figures(scene: _Scene) -> dict[str, Figure]:
    """Cuts of the first models and of GFN2-xTB; the surface of the model shown and of GFN2-xTB."""
    xtb = [] if scene.xtb is None else [XTB]
    first = list(scene.models)[: _SIDE_BY_SIDE - len(xtb)]
    figures = {"electrostatic_cut": scene.potentials.plot([*first, *xtb])}
    if scene.potentials.surface is not None:
        figures["electrostatic_surface"] = scene.potentials.plot_surfaces([scene.name, *xtb])
    return figures


def _nearest(scene: _Scene, point: np.ndarray) -> str:
    return scene.atoms[int(np.linalg.norm(scene.system.positions - point, axis=1).argmin())]


def _atom_chart(scene: _Scene, xtb: np.ndarray) -> Chart:
    series = []
    for number in np.unique(scene.system.numbers):
        chosen = np.flatnonzero(scene.system.numbers == number)
        names = tuple(scene.atoms[int(atom)] for atom in chosen)
        name = symbol(int(number))
        colour = style.element_colour(name)
        series.append(Series(name, xtb[chosen], scene.charges[chosen], "text", names, colour))
    title = "Latent charges beside GFN2-xTB charges"
    return Chart(title, "GFN2-xTB charge (e)", "latent charge (e)", tuple(series), equal=True)


ANALYSIS = Analysis(
    "electrostatics",
    "Electrostatic potential",
    "Φ(r) = Σ_i q_p q_i / |r − r_i|, what a probe of q_p = +1 e feels beside the latent charges q_i, which the network "
    "inferred from dipole moments.",
    "Insights paper 3.2 and fig. 6",
    of_structure=_of_structure,
)
