"""Alchemical paths: one molecule morphed into another (thesis 3.6.3, eq. 3.14 and 3.15).

Elements are mixed in the network's own features, x_i⁰ = α A[Z_a] + (1-α) A[Z_b] with a the end and b the start of the
path, and atoms without a partner are faded in and out by factors β on their messages and energy terms. What a readout
knows of elements beside the features (free atoms, offsets, networks per element) is mixed in the same proportions, so
that both ends are the plain molecules.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import ase
import numpy as np
import torch
from matplotlib.figure import Figure
from scipy.integrate import simpson
from torch import Tensor

from atomlens.data.batch import Batch
from atomlens.data.system import AtomicSystem, formula, symbol
from atomlens.errors import InputError
from atomlens.explain.baseline import Baseline, energy_baseline
from atomlens.figures import alchemy as drawing
from atomlens.model import Model, Structure

Geometry = Literal["fixed", "interpolated"]
Mapping = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class AlchemicalPath:
    """Energies along a path; all of them relative to the baseline, which is mixed and faded like the atoms."""

    alpha: np.ndarray  # (steps,) share of the end in mixed atoms, from 0 at the start to 1
    energy: np.ndarray  # (steps,) eV
    atom_energies: np.ndarray  # (steps, atoms) eV, faded
    slope: np.ndarray | None  # (steps,) eV, dE/dα; None where it was not asked for
    plain: np.ndarray  # (2,) eV, the molecules at both ends, predicted without any mixing
    numbers: np.ndarray  # (2, atoms) atomic numbers at the start and at the end, 0 where an atom is not there
    origin: np.ndarray  # (2, atoms) which atom of the start and of the end each is, -1 where it is not there
    positions: np.ndarray  # (steps, atoms, 3) Å
    weights: np.ndarray  # (steps, atoms) the fading factors β
    geometry: Geometry
    relative_to: Baseline

    @property
    def end_error(self) -> float:
        """Largest difference between an end of the path and the plain molecule, in eV."""
        return float(np.abs(self.energy[[0, -1]] - self.plain).max())

    @property
    def bow(self) -> np.ndarray:
        """What the energy lies above the straight line between the ends, (steps,) in eV; no baseline enters."""
        line: np.ndarray = self.energy[0] + self.alpha * (self.energy[-1] - self.energy[0])
        return np.asarray(self.energy - line)

    @property
    def integrated(self) -> float:
        """∫ dE/dα dα by Simpson's rule, in eV, which is what the ends differ by; NaN without slopes."""
        return float("nan") if self.slope is None else float(simpson(self.slope, x=self.alpha))

    @property
    def barrier(self) -> float:
        """How far the path rises above its higher end, in eV; zero where it does not."""
        return float(max(self.energy.max() - max(self.energy[0], self.energy[-1]), 0.0))

    def to_dict(self) -> dict[str, Any]:
        """For JSON, in eV."""
        return {
            "unit": "eV",
            "definition": "x_i⁰ = α A[end] + (1-α) A[start]; messages and terms of atoms without a partner fade",
            "geometry": self.geometry,
            "relative_to": self.relative_to,
            "start": _formula(self.numbers[0]),
            "end": _formula(self.numbers[1]),
            "alpha": self.alpha.tolist(),
            "energy": self.energy.tolist(),
            "slope": None if self.slope is None else self.slope.tolist(),
            "atom_energies": self.atom_energies.tolist(),
            "plain": self.plain.tolist(),
            "end_error": self.end_error,
            "rise": float(self.energy[-1] - self.energy[0]),
            "largest_bow": float(self.bow[np.abs(self.bow).argmax()]),
            "barrier": self.barrier,
        }

    def plot(self) -> Figure:
        """The energy and the atoms' terms against α, in kcal/mol."""
        stations = (_formula(self.numbers[0]), _formula(self.numbers[1]))
        curve = drawing.Curve(self.geometry, self.alpha, self.energy, self.plain)
        names = [f"{_symbol(first)}→{_symbol(last)}" for first, last in self.numbers.T]
        label = f"energy relative to {self.relative_to}"
        return drawing.alchemical_path([curve], stations, label, atom_energies=self.atom_energies, atoms=names)


def alchemical_path(
    model: Model,
    start: Structure,
    end: Structure,
    mapping: Mapping,
    *,
    steps: int = 21,
    geometry: Geometry = "fixed",
    slopes: bool = False,
    relative_to: Baseline | None = None,
) -> AlchemicalPath:
    """Morph one molecule into another.

    The end is laid upon the start so that mapped atoms meet as nearly as they can (Kabsch 1976). With the geometry
    "fixed" mapped atoms then stay where the start has them; "interpolated" moves them in straight lines to where the
    end has them. Atoms without a partner rest.

    Args:
        model: with an energy readout and a representation that has element features (SchNet, DTNN).
        start: an open molecule.
        end: another one, of the same charge.
        mapping: pairs (atom of the start, atom of the end) that are one atom of the path.
        steps: number of α from 0 to 1, evenly spaced; all run in one batch.
        geometry: see above.
        slopes: also dE/dα, by differentiating the network.
        relative_to: see `explain.baseline.energy_baseline`.

    Raises:
        InputError: the model has no energies or no element features, or refuses a molecule; the mapping names an atom
            twice or one that is not there, or is no list of pairs; the geometry is neither of the two; molecules are
            periodic or differ in charge; two atoms meet on the way.
    """
    baseline, chosen = energy_baseline(model, relative_to)
    route = _route(model, start, end, mapping, geometry)
    # A caller may have switched derivatives off.
    with torch.inference_mode(False), torch.set_grad_enabled(slopes):
        alpha = torch.linspace(0.0, 1.0, _checked_steps(steps), dtype=torch.float64, device=model.device)
        batch = _batch(model, route, alpha)
        alpha.requires_grad_(slopes)
        energy, terms, weight = _energies(model, route, batch, alpha, torch.from_numpy(baseline).to(model.device))
        slope = torch.autograd.grad(energy.sum(), alpha)[0].cpu().numpy() if slopes else None
    ends = [route.molecule(side) for side in (0, 1)]
    plain = [float(found["energy"]) for found in model.predict(ends, forces=False, stress=False)]
    known = [float(baseline[molecule.numbers].sum()) for molecule in ends]
    shape = (steps, len(route.stays))
    return AlchemicalPath(
        alpha=alpha.detach().cpu().numpy(),
        energy=energy.detach().cpu().numpy(),
        atom_energies=terms.detach().cpu().numpy().reshape(shape),
        slope=slope,
        plain=np.array(plain) - np.array(known),
        numbers=np.where(route.origin >= 0, route.numbers, 0),
        origin=route.origin,
        positions=batch.positions.cpu().numpy().reshape(*shape, 3),
        weights=weight.detach().cpu().numpy().reshape(shape),
        geometry=geometry,
        relative_to=chosen,
    )


def mixes_elements(model: Model) -> bool:
    """Whether a model has learned features of elements; symmetry functions (Behler-Parrinello) have none."""
    return isinstance(getattr(model.representation, "embedding", None), torch.nn.Embedding)


@dataclass(frozen=True)
class _Route:
    """What a path leads from and to, by its own atoms: mapped ones, then those of the start, then those of the end."""

    numbers: np.ndarray  # (2, atoms); an atom that is there at one end only keeps its element
    positions: np.ndarray  # (2, atoms, 3) Å
    origin: np.ndarray  # (2, atoms), -1 where it is not there
    charge: float

    @property
    def stays(self) -> np.ndarray:
        """(atoms,) whether an atom is there at both ends."""
        return np.asarray((self.origin >= 0).all(axis=0))

    def molecule(self, side: int) -> AtomicSystem:
        """The plain molecule at one end."""
        there = self.origin[side] >= 0
        return _open(self.numbers[side, there], self.positions[side, there], self.charge)


def _route(model: Model, start: Structure, end: Structure, mapping: Mapping, geometry: Geometry) -> _Route:
    if geometry not in get_args(Geometry):
        known = " or ".join(f"'{name}'" for name in get_args(Geometry))
        raise InputError(f"the geometry of a path cannot be '{geometry}'; choose {known}")
    if not mixes_elements(model):
        raise InputError("this model has not learned features of elements that could be mixed; use SchNet or DTNN")
    molecules = [AtomicSystem.from_ase(each) if isinstance(each, ase.Atoms) else each for each in (start, end)]
    for name, molecule in zip(("start", "end"), molecules, strict=True):
        try:
            model.collate([molecule])
        except InputError as error:
            raise InputError(f"the {name} of the path {error.problem}", atom=error.atom) from None
        if molecule.pbc.any():
            raise InputError(f"the {name} of the path is periodic; alchemical paths need open molecules")
    if molecules[0].charge != molecules[1].charge:
        raise InputError("the ends of the path differ in charge; give molecules of the same charge")
    sizes = [len(molecule.numbers) for molecule in molecules]
    origin = _origins(mapping, sizes)
    numbers = np.stack([each.numbers[rows] for each, rows in zip(molecules, origin, strict=True)])
    first, last = molecules[0].positions[origin[0]], molecules[1].positions[origin[1]]
    mapped = (origin >= 0).all(axis=0)
    last = _laid_upon(last, last[mapped], first[mapped])
    for side, other in ((0, 1), (1, 0)):
        numbers[side] = np.where(origin[side] < 0, numbers[other], numbers[side])
    first = np.where((origin[0] < 0)[:, None], last, first)
    resting = (origin[1] < 0) | (mapped & (geometry == "fixed"))
    last = np.where(resting[:, None], first, last)
    return _Route(numbers, np.stack([first, last]), origin, molecules[0].charge)


def _origins(mapping: Mapping, sizes: list[int]) -> np.ndarray:
    """Which atom of the start and of the end each atom of the path is, (2, atoms), -1 where it is not there."""
    try:
        pairs = np.array([(operator.index(a), operator.index(b)) for a, b in mapping], dtype=np.int64).reshape(-1, 2)
    except (TypeError, ValueError):
        raise InputError("the mapping is no list of pairs (atom of the start, atom of the end); correct it") from None
    if not len(pairs):
        raise InputError("the mapping is empty; give at least one pair (atom of the start, atom of the end)")
    for column, size, name in zip(pairs.T, sizes, ("start", "end"), strict=True):
        if column.min() < 0 or column.max() >= size:
            wrong = int(column[(column < 0) | (column >= size)][0])
            raise InputError(f"the mapping names atom {wrong} of the {name}, whose last one is {size - 1}; correct it")
        atoms, times = np.unique(column, return_counts=True)
        if (times > 1).any():
            raise InputError(f"the mapping names atom {atoms[times > 1][0]} of the {name} twice; map it once")
    leaving, coming = (np.setdiff1d(np.arange(size), column) for column, size in zip(pairs.T, sizes, strict=True))
    return np.stack(
        [
            np.concatenate([pairs[:, 0], leaving, np.full(len(coming), -1)]),
            np.concatenate([pairs[:, 1], np.full(len(leaving), -1), coming]),
        ]
    )


def _laid_upon(positions: np.ndarray, mapped: np.ndarray, onto: np.ndarray) -> np.ndarray:
    """Positions (atoms, 3) turned and moved so that ``mapped`` come as near to ``onto`` as they can (Kabsch 1976)."""
    u, _, v = np.linalg.svd((mapped - mapped.mean(axis=0)).T @ (onto - onto.mean(axis=0)))
    u[:, -1] *= np.sign(np.linalg.det(u @ v))  # a rotation, never a mirror image
    return np.asarray((positions - mapped.mean(axis=0)) @ (u @ v) + onto.mean(axis=0))


def _checked_steps(steps: int) -> int:
    if steps < 2:
        raise InputError(f"a path of {steps} steps has no two ends; ask for 2 or more")
    return steps


def _batch(model: Model, route: _Route, alpha: Tensor) -> Batch:
    """All steps as structures of one batch, with the elements of the start."""
    shares = alpha.cpu().numpy()[:, None, None]
    positions = (1.0 - shares) * route.positions[0] + shares * route.positions[1]
    try:
        return model.collate([_open(route.numbers[0], each, route.charge) for each in positions])
    except InputError as error:
        step = error.structure or 0
        problem = error.problem.rpartition("; ")[0] or error.problem
        raise InputError(
            f"at step {step} of the path {problem}; map such atoms on each other, or place new ones elsewhere"
        ) from None


def _energies(
    model: Model, route: _Route, batch: Batch, alpha: Tensor, baseline: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Energies (steps,), terms of the atoms (steps * atoms,) in eV relative to the baseline, and the fading factors."""
    steps, device = len(alpha), model.device
    share = alpha.index_select(0, batch.system)
    sides = [torch.from_numpy(numbers).to(device).repeat(steps) for numbers in route.numbers]
    first, last = (torch.from_numpy(each).to(device).repeat(steps, 1) for each in route.positions)
    # β rises with α in atoms that come and falls in those that leave.
    trend = torch.from_numpy((route.origin[1] >= 0) * 1.0 - (route.origin[0] >= 0)).to(device).repeat(steps)
    weight = torch.where(trend < 0, 1.0, 1.0 - trend) + trend * share
    embed: Any = model.representation.embed
    mixed = replace(batch, positions=torch.lerp(first, last, share[:, None]), vectors=None, weight=weight)
    as_start, as_end = (replace(mixed, numbers=numbers) for numbers in sides)
    features = torch.lerp(embed(as_start).double(), embed(as_end).double(), share[:, None])
    found = model.representation(replace(mixed, initial_features=features))
    readout = model.energy_readout
    # Terms are linear in what belongs to an element alone; a network that all elements share gives the same twice.
    terms = torch.lerp(readout.terms(found, as_start), readout.terms(found, as_end), share)
    terms = terms - weight * torch.lerp(baseline[sides[0]], baseline[sides[1]], share)
    return readout.total(terms, batch), terms, weight


def _open(numbers: np.ndarray, positions: np.ndarray, charge: float) -> AtomicSystem:
    return AtomicSystem(numbers, positions, np.zeros((3, 3)), np.zeros(3, dtype=bool), charge)


def _symbol(number: int) -> str:
    return symbol(int(number)) if number else "·"


def _formula(numbers: np.ndarray) -> str:
    return formula(numbers[numbers > 0])
