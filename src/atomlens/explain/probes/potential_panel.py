"""The panel of the local chemical potential: grids, surfaces and a cut of several probes, and what speaks for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from atomlens.data.system import AtomicSystem, symbol
from atomlens.data.units import KCAL_PER_MOL
from atomlens.errors import InputError
from atomlens.explain.analysis import Analysis
from atomlens.explain.probes.chemical_potential import (
    MASKED_RADIUS,
    SURROUNDED,
    LocalChemicalPotential,
    PotentialSurface,
    cut_through,
    default_grid,
    on_grid,
    surfaces,
    thinned,
)
from atomlens.explain.probes.field import Plane
from atomlens.explain.probes.isosurface import inverse_square_sum
from atomlens.explain.probes.probe_comparison import Agreement, agreement, by_the_whole_network
from atomlens.explain.probes.probes import ENERGIES, Probing, energy_quantity
from atomlens.explain.subject import ExplainConfig, NamedModel, Subject
from atomlens.model import Model
from atomlens.panel import Check, Panel, Surface, Volume

DEFAULT_PROBES = ("H", "C", "O")
FAR_AWAY = 100.0  # Å; farther than any model hears, or than where what one without a cutoff hears changes
LARGEST_REACH = 10.0  # features of probes in learned representations reach 1 to 2 times as far as those of atoms
REACH = "within the features of atoms"  # name of a check
_COMPARED = 5  # points at which the whole network runs
_SAMPLES = 5_000  # points of a crystal's grid at which models are compared
_REACH_SAMPLES = 300
_ALIKE, _RELATED = 0.8, 0.5  # correlations from which two models show the same picture, and related ones
_NEXT_TO = 1.15  # atoms up to so many times as far as the nearest are next to a point as well
_NAMED = 3
# Of the range of Ω, between tables in the model's precision and exact functions in float64.
_ROUNDING = 1e-3
_SAME = 0.01  # kcal/mol, below which a field is called constant
_TERM = 16.0  # rounding errors of a term of float32, in units of the scale of what networks add


@dataclass(frozen=True)
class Places:
    """Where a probe's Ω is looked at: a molecule's surface, or points between the atoms of a crystal."""

    points: np.ndarray  # (points, 3) Å
    nearest: np.ndarray  # (points,) the atom nearest to each
    values: np.ndarray  # (probes, points) eV, Ω less that of the isolated probe
    words: str  # where that is


def _of_structure(subject: Subject, place: int) -> Panel:
    """Ω around one structure, of every probe."""
    system, config = subject.systems[place], subject.config
    served = _served(subject, system)
    entry, probing = served[0]
    probes = chosen_probes(config, entry.model)
    potentials = on_grid(probing, probes, default_grid(system, config.grid_points, config.margin))
    cut = cut_through(probing, probes[0], Plane.through(system, config.plane_atoms, config.margin), config.spacing)
    found, missing = _surfaces(probing, probes, config)
    places = _on_surface(found) if found else _between_atoms(potentials)
    compared = _compared(served[1:], places, probes)
    beyond = _beyond(probing, probes)
    checks = (*_checks(probing, potentials, found, places, beyond, config.seed), *_shared(compared))
    reach = next(check.value for check in checks if check.name == REACH)
    return Panel(
        ANALYSIS.name,
        place,
        reading=_reading(places, probes, probing, reach),
        trust=_trust(entry, compared, probing, beyond, missing),
        checks=checks,
        facts={
            "model": entry.name,
            "definition": "Ω(r), the energy term of a probe atom that hears the structure and is not heard",
            "unit": "eV",
            "probes": {one.probe: one.to_dict() for one in potentials},
            "surfaces": {one.probe: one.to_dict() for one in found},
            "cut": cut.to_dict(),
            "feature_reach": reach,
            "other_models": {name: {p: each.to_dict() for p, each in of.items()} for name, of in compared.items()},
        },
        figures={"potential_cut": cut.plot()} | ({"potential_surface": found[0].plot()} if found else {}),
        views=(*map(_volume, potentials), *map(_surface, found)),
        files={f"potential_{one.probe}.cube": one.to_cube for one in potentials}
        | {f"potential_{one.probe}.vtk": one.to_vtk for one in potentials},
    )


def chosen_probes(config: ExplainConfig, model: Model) -> tuple[str, ...]:
    """The probes asked for; else those of H, C and O that the model knows, or its lightest element."""
    known = [symbol(number) for number in model.elements]
    return config.probes or tuple(probe for probe in DEFAULT_PROBES if probe in known) or (known[0],)


def _served(subject: Subject, system: AtomicSystem) -> list[tuple[NamedModel, Probing]]:
    """The models that take the structure and predict the same kind of energy, energies before formation energies.

    Raises:
        InputError: there is none; what they refuse in the structure is said first.
    """
    problem = InputError("no model here predicts energy, of which a probe's would be one more term; give one that does")
    for quantity in ENERGIES:
        found = []
        for entry in subject.models:
            if quantity in entry.model.readouts and energy_quantity(entry.model) == quantity:
                try:
                    found.append((entry, Probing.of(entry.model, system)))
                except InputError as error:
                    problem = InputError(error.problem, atom=error.atom)
        if found:
            return found
    raise problem


def _surfaces(probing: Probing, probes: Sequence[str], config: ExplainConfig) -> tuple[list[PotentialSurface], str]:
    """The surfaces of a molecule, or the sentence why there are none."""
    try:
        return surfaces(probing, probes, config.isovalue, surface_spacing(len(probing.system.numbers))), ""
    except InputError as error:
        return [], f"No surface is shown: {error.problem}."


def surface_spacing(atoms: int) -> float:
    """Of the grid behind a surface, in Å: some three thousand vertices around a molecule of up to 25 atoms."""
    return float(np.clip(0.045 * np.sqrt(atoms), 0.08, 0.25))


def _on_surface(found: Sequence[PotentialSurface]) -> Places:
    first = found[0]
    words = f"on the surface Σ|r - r_i|⁻² = {first.isovalue:g} Å⁻²"
    return Places(first.vertices, first.nearest, np.stack([one.values for one in found]), words)


def _between_atoms(potentials: Sequence[LocalChemicalPotential]) -> Places:
    """Points of the grid farther than 1 Å from every atom, at most some thousands."""
    first = potentials[0]
    rows = np.flatnonzero(first.nearest_atom > SURROUNDED)
    rows = rows[:: max(len(rows) // _SAMPLES, 1)]
    if not len(rows):
        raise InputError(
            "no point of the grid lies farther than 1 Å from every atom, so there is nowhere to look; raise margin"
        )
    points, around = first.grid.points[rows], first.probing.around
    nearest = around.atom[around.tree.query(around.wrapped(points))[1]]
    values = np.stack([one.values.reshape(-1)[rows] for one in potentials])
    return Places(points, nearest, values, f"farther than {SURROUNDED:g} Å from every atom")


def _compared(
    others: Sequence[tuple[NamedModel, Probing]], places: Places, probes: Sequence[str]
) -> dict[str, dict[str, Agreement]]:
    """Per model beside the first, per probe that it knows: how its Ω agrees with the first one's."""
    compared = {}
    for entry, probing in others:
        shared = [row for row, probe in enumerate(probes) if probe in map(symbol, entry.model.elements)]
        if shared:
            values, _ = probing.energies(places.points, [probes[row] for row in shared])
            compared[entry.name] = {
                probes[row]: agreement(places.values[row], part, places.nearest)
                for row, part in zip(shared, values, strict=True)
            }
    return compared


def _beyond(probing: Probing, probes: Sequence[str]) -> np.ndarray:
    """Ω of each probe 100 Å and 200 Å beyond the outermost atom, (probes, 2) in eV."""
    positions = probing.system.positions
    direction = np.array([0.6, -0.48, 0.64])
    start = positions[(positions @ direction).argmax()]
    return probing.energies(start + np.outer([FAR_AWAY, 2.0 * FAR_AWAY], direction), probes)[0]


def _checks(
    probing: Probing,
    potentials: Sequence[LocalChemicalPotential],
    found: Sequence[PotentialSurface],
    places: Places,
    beyond: np.ndarray,
    seed: int,
) -> tuple[Check, ...]:
    first = potentials[0]
    rows = np.random.default_rng(seed).choice(len(places.points), min(_COMPARED, len(places.points)), replace=False)
    exact = by_the_whole_network(probing, places.points[rows], first.probe, seed)
    off = float(np.abs(exact - places.values[0, rows]).max()) / KCAL_PER_MOL
    # Where Ω is flat, rounding of the terms that it is a difference of is all there is.
    rounding = _TERM * float(np.finfo(np.float32).eps) * probing.model.scales[energy_quantity(probing.model)]
    allowed = max(_ROUNDING * float(np.ptp(places.values[0])), rounding) / KCAL_PER_MOL
    reach = probing.reach(thinned(places.points, _REACH_SAMPLES), first.probe)
    checks = [
        Check(
            "the whole network",
            f"Ω at {len(rows)} points against the whole network with the probe as an atom that nobody hears, in a "
            "turned copy, with exact functions of the distance in float64",
            off, f"below {_ROUNDING:g} of the range of Ω, or rounding: {allowed:.2g} kcal/mol", "kcal/mol",
            off < allowed,
        ),
        Check(
            REACH,
            "the largest feature of probes over the largest of the structure's atoms: beyond them the network is "
            "where it has learned nothing",
            reach, f"below {LARGEST_REACH:g}", "", reach < LARGEST_REACH, claim=True,
        ),
    ]  # fmt: skip
    if not probing.system.pbc.any():
        checks.append(_far_away(beyond, probing.model.cutoff is not None))
    if found:
        sums = inverse_square_sum(probing.system, found[0].vertices)
        miss = float(np.abs(sums - found[0].isovalue).max()) / found[0].isovalue
        what = "the largest share by which Σ|r - r_i|⁻² at a vertex misses the surface's value"
        checks.append(Check("vertices on the surface", what, miss, "below 1e-6", "", miss < 1e-6))
    return tuple(checks)


def _shared(compared: dict[str, dict[str, Agreement]]) -> list[Check]:
    """Whether other models show the same picture, where there are any."""
    found = [each.correlation for of in compared.values() for each in of.values() if np.isfinite(each.correlation)]
    if not found:
        return []
    low = min(found)
    what = "the lowest correlation of Ω at the same places with another model, over models and probes"
    return [Check("the same in other models", what, low, f"above {_ALIKE:g}", "", low > _ALIKE, claim=True)]


def _far_away(beyond: np.ndarray, hears_nothing: bool) -> Check:
    name = f"{FAR_AWAY:g} Å away"
    off = float(np.abs(beyond if hears_nothing else np.diff(beyond)).max()) / KCAL_PER_MOL
    what = "where it hears nothing, a probe's energy is that of its element alone"
    if not hears_nothing:
        what = f"a probe that far away feels the same at {2.0 * FAR_AWAY:g} Å, for the model has no cutoff"
    return Check(name, what, off, "below 1e-3 kcal/mol", "kcal/mol", off < 1e-3)


def _reading(places: Places, probes: Sequence[str], probing: Probing, reach: float) -> str:
    """Where each probe is favoured and disfavoured."""
    if reach > LARGEST_REACH:
        return (
            f"Do not read this potential: the probe's features reach {reach:,.0f} times beyond those of the atoms, "
            "where the network has learned nothing (symmetry functions are made for places where atoms are)."
        )
    parts = []
    for probe, values in zip(probes, places.values, strict=True):
        if float(np.ptp(values)) < _SAME * KCAL_PER_MOL:
            parts.append(f"{probe} feels the same everywhere ({_signed(values.mean())} kcal/mol)")
            continue
        low, high = (
            f"{_place(probing, places.points[row])} ({_signed(values[row])} kcal/mol)"
            for row in (values.argmin(), values.argmax())
        )
        nowhere = "is favoured nowhere: its energy" if values.min() > 0.0 else "has an energy that"
        parts.append(f"{probe} {nowhere} is lowest {low} and highest {high}")
    return (
        f"{places.words[0].upper()}{places.words[1:]}, a probe {'; a probe '.join(parts)}, each against the same atom "
        "alone. This is what the network has learned about places beside the atoms, not the energy of bringing an atom "
        "there: a real one would change the structure."
    )


def _place(probing: Probing, point: np.ndarray) -> str:
    """The atoms next to a point: one, or all that are about as near."""
    around, system = probing.around, probing.system
    distances = np.linalg.norm(around.positions - around.wrapped(point[None]), axis=1)
    near = np.flatnonzero(distances < _NEXT_TO * distances.min())
    names = [f"{symbol(int(system.numbers[atom]))}{atom}" for atom in around.atom[near[distances[near].argsort()]]]
    if len(names) > _NAMED:
        return f"amid {len(names)} atoms ({', '.join(names[:_NAMED])}, …)"
    return f"near {names[0]}" if len(names) == 1 else f"between {', '.join(names[:-1])} and {names[-1]}"


def _trust(
    entry: NamedModel, compared: dict[str, dict[str, Agreement]], probing: Probing, beyond: np.ndarray, missing: str
) -> str:
    """How many models agree, and what the zero of the scale is worth."""
    sentences = [_stability(entry, compared)]
    if probing.model.cutoff is None:
        worst = float(np.abs(beyond[:, 0]).max()) / KCAL_PER_MOL
        sentences.append(
            f"The model has no cutoff: even {FAR_AWAY:g} Å away a probe feels up to {worst:.1f} kcal/mol, which no "
            "training pair has fixed, so read differences between places rather than distances from zero."
        )
    sentences.append(
        "Nothing measured corresponds to Ω: checks say that the network's own answer is shown, not that it is right."
    )
    return " ".join([*sentences, missing]).strip()


def _stability(entry: NamedModel, compared: dict[str, dict[str, Agreement]]) -> str:
    every = [each for of in compared.values() for each in of.values()]
    found = [each.correlation for each in every if np.isfinite(each.correlation)]
    if not found:
        return f"Shown is {entry.name}; no other model here serves this, so nothing says how stable it is."
    low, high = (f"{value:.2f}".replace("-", "−") for value in (min(found), max(found)))
    shared = sum(each.same_minimum + each.same_maximum for each in every)
    verdict = "read the pattern, not the numbers"
    if min(found) < _ALIKE:
        share = "parts of the picture are" if float(np.median(found)) >= _RELATED else "the picture is largely"
        verdict = f"{share} this model's own"
    others = f"{len(compared)} other model{'s' if len(compared) > 1 else ''}"
    return (
        f"Shown is {entry.name}. Ω of {others} correlates with it by {low} to {high} over the probes, and {shared} of "
        f"{2 * len(every)} extremes lie at the same atoms: {verdict}."
    )


def _volume(potential: LocalChemicalPotential) -> Volume:
    values, nearest = potential.values, potential.nearest_atom
    outside = np.abs(values[nearest > SURROUNDED])
    limit = float(np.percentile(outside, 98.0)) if outside.size else 0.0
    shown = np.where(nearest < MASKED_RADIUS, np.nan, values)
    return Volume(
        f"Ω of a probe {potential.probe}", "eV", potential.grid.origin, potential.grid.steps, shown, limit or 1.0
    )


def _surface(found: PotentialSurface) -> Surface:
    return Surface(f"Ω of a probe {found.probe}", "eV", found.vertices, found.triangles, found.values)


def _signed(energy: float) -> str:
    return f"{energy / KCAL_PER_MOL:+.1f}".replace("-", "−")


ANALYSIS = Analysis(
    "chemical-potential",
    "What an atom would feel here",
    "The local chemical potential Ω_A(r): a probe atom of element A at r hears the structure at every pass, "
    "x_p ← x_p + Σ_j v(x_j, |r - r_j|), and is not heard; Ω_A(r) is the energy o(x_p) that the network "
    "gives it, here less that of the same atom alone.",
    "Thesis eq. 3.11-3.13 and 4.15, fig. 3.12-3.15, 4.9, 4.10; insights paper 3.2 and fig. 5",
    of_structure=_of_structure,
)
