"""Checks at the edges: atoms alone, atoms too far apart to know of each other, and the moment they meet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import ase
import numpy as np
import torch

from atomlens.data.quantities import quantity
from atomlens.model import Model
from atomlens.ops.radial import CONTINUOUS_DERIVATIVES
from atomlens.testing import rules
from atomlens.testing.multipoles import shares_charge
from atomlens.testing.result import Measurement, NotApplicable
from atomlens.testing.subject import Outputs, Subject, blended, evaluate, largest, readouts_of
from atomlens.testing.symmetry import compared

STEP = 3e-5  # of the cutoff; one-sided extrapolations over three such steps leave errors of 1e-6 and less
# Of the largest value inside the cutoff: what is not faded jumps by 1e-3 and more, extrapolation leaves 1e-6.
JUMP = 1e-5


def single_atom(subject: Subject) -> list[Measurement]:
    """An atom alone has finite properties, no force, and nothing about its own centre of mass."""
    found = []
    for model in subject.precisions:
        for number in model.elements:
            atoms = ase.Atoms([number], [[0.3, -0.2, 0.1]])
            outputs = evaluate(model, [atoms])
            wild = sum(int((~torch.isfinite(value)).sum()) for value in outputs.values())
            found.append(Measurement(f"numbers that are not finite, {atoms.symbols}", wild, 0.0, ""))
            if "forces" in outputs:
                found.append(Measurement(f"force, {atoms.symbols}", largest(outputs["forces"]), 0.0, "eV/Ang"))
            found += _totals(model, outputs, atoms, "")
    return found


def far_apart(subject: Subject) -> list[Measurement]:
    """Atoms beyond the cutoff (an empty neighbour list) are worth what they are worth alone, and feel no force."""
    elements = subject.model.elements
    first, second = elements[0], elements[-1]
    reach = 50.0 if subject.model.cutoff is None else 3.0 * subject.model.cutoff
    pair = ase.Atoms([first, second], [[0, 0, 0], [0, 0, reach]])
    found = []
    for model in subject.precisions:
        together = evaluate(model, [pair])
        wild = sum(int((~torch.isfinite(value)).sum()) for value in together.values())
        found.append(Measurement("numbers that are not finite, far apart", wild, 0.0, ""))
        found += _totals(model, together, pair, " far apart")
        if model.cutoff is None:
            continue
        alone = evaluate(model, [pair[:1], pair[1:]])
        # Conserved charges of an atom depend on what its structure's charges add up to, however far away.
        names = [r.atom_quantity for r in subject.readouts.values() if not shares_charge(r)]
        found += compared(subject, model, together, {name: alone[name] for name in names}, pair, " far apart")
        if "forces" in together:
            found.append(Measurement("force, far apart", largest(together["forces"]), 0.0, "eV/Ang"))
    return found


def _totals(model: Model, outputs: Outputs, atoms: ase.Atoms, where: str) -> Iterator[Measurement]:
    """Properties against the sums of their atom terms."""
    for name, readout in readouts_of(model).items():
        expected, limit = rules.total(name, outputs[readout.atom_quantity].cpu().numpy(), atoms)
        off = largest(outputs[name][0].cpu() - torch.from_numpy(expected))
        yield Measurement(f"{name} of {atoms.symbols}{where}", off, limit, quantity(name).unit)


def isolation(subject: Subject) -> list[Measurement]:
    """No property of a structure has a gradient with respect to the atoms of another in the same batch."""
    model = subject.double
    structures = [*subject.molecules[:2], *subject.crystals[:1], *subject.slabs[:1]]
    structures = structures if len(structures) > 1 else structures * 2
    batch = model.collate(structures)
    positions = batch.positions.clone().requires_grad_()
    outputs = model(replace(batch, positions=positions))
    found = []
    for name in subject.readouts:
        worst, values = 0.0, blended(outputs, name)
        for place in range(len(structures)):
            (slope,) = torch.autograd.grad(
                values[place], positions, retain_graph=True, materialize_grads=True, allow_unused=True
            )
            worst = max(worst, largest(slope[batch.system != place]))
        unit = f"{quantity(name).unit}/Ang"
        found.append(Measurement(f"slope of the {name} by another structure's atoms", worst, 0.0, unit))
    return found


def cutoff_value(subject: Subject) -> list[Measurement]:
    """No property jumps when an atom crosses the cutoff."""
    return _jumps(subject, 0)


def cutoff_slope(subject: Subject) -> list[Measurement]:
    """Slopes, forces among them, do not jump when an atom crosses the cutoff."""
    return _jumps(subject, 1)


def cutoff_curvature(subject: Subject) -> list[Measurement]:
    """The slope of slopes does not jump when an atom crosses the cutoff, where the cutoff function promises it."""
    return _jumps(subject, 2)


def _promised(subject: Subject) -> int:
    """How many derivatives the representation promises to be continuous at its cutoff; -1: not even values are."""
    representation = subject.model.representation
    name = getattr(getattr(representation, "config", None), "cutoff_function", None)
    return CONTINUOUS_DERIVATIVES.get(str(name), 1) if representation.continuous_forces else -1


def _edges(subject: Subject, derivative: int) -> list[tuple[str, float]]:
    """Properties and the distances in Å where they must be continuous: the model's cutoff, and a readout's own.

    Raises:
        NotApplicable: there is none.
    """
    cutoff, promised = subject.model.cutoff, _promised(subject)
    kept = cutoff is not None and promised >= derivative
    edges = [(name, cutoff) for name in subject.readouts if cutoff is not None and kept]
    for name, readout in subject.readouts.items():
        # A readout's own neighbours are held to two derivatives. At the model's cutoff both cross.
        if readout.cutoff is not None and readout.cutoff != cutoff:
            edges.append((name, readout.cutoff))
    if edges:
        return edges
    if cutoff is None:
        raise NotApplicable("the model has no cutoff")
    if promised < 0:
        raise NotApplicable("the representation declares its energies discontinuous at the cutoff")
    raise NotApplicable("the cutoff function promises a continuous first derivative only")


def _jumps(subject: Subject, derivative: int) -> list[Measurement]:
    return [_jump(subject, name, edge, derivative) for name, edge in _edges(subject, derivative)]


def _jump(subject: Subject, name: str, edge: float, derivative: int) -> Measurement:
    """Difference of the one-sided limits of a property's derivative at a cutoff.

    An atom comes towards another that has a neighbour already; values and slopes are taken at three distances on each
    side and extrapolated to the cutoff. Curvatures come from the slopes, along the path.
    """
    step = STEP * edge
    inside = _curve(subject, name, edge, edge - step * np.arange(1, 4))
    outside = _curve(subject, name, edge, edge + step * np.arange(1, 4))
    path = np.linspace(0.4, 1.0, 60, endpoint=False) * edge
    along = _curve(subject, name, edge, path)
    if derivative == 0:
        gap, size = _limit(inside[0]) - _limit(outside[0]), np.abs(along[0] - outside[0][-1]).max()
    elif derivative == 1:
        gap, size = _limit(inside[1]) - _limit(outside[1]), np.abs(along[1]).max()
    else:
        # Distances fall on the inner side, so its slope changes sign.
        gap = (-_slope(inside[1]) - _slope(outside[1])) / step
        size = np.abs(np.gradient(along[1], path, axis=0)).max()
    # Rounding of the samples, amplified by the extrapolation's weights.
    sampled = 3.0 * np.abs(along[0]).max() if derivative == 0 else size / step ** (derivative - 1)
    noise = 100.0 * float(np.finfo(float).eps * sampled)
    unit = quantity(name).unit + ("", "/Ang", "/Ang^2")[derivative]
    return Measurement(f"jump of the {name} at {edge:g} Å", float(np.abs(gap).max()), JUMP * float(size) + noise, unit)


def _curve(subject: Subject, name: str, edge: float, distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A property (n,) and its slopes (n, 9) with an atom at ``distances`` (n,) Å from one that has a neighbour.

    Slopes of energies are the model's forces; vectors and tensors come as one `blended` number.
    """
    model = subject.double
    kinds = np.resize(np.asarray(model.elements), 3)
    structures = [ase.Atoms(kinds, [[0, 0, 0], [-0.3 * edge, 0, 0], [distance, 0, 0]]) for distance in distances]
    # On one line the second neighbour stays 0.3 r_c farther away: only one pair crosses at a time.
    if name == "energy":
        outputs = evaluate(model, structures)
        return outputs[name].cpu().numpy(), -outputs["forces"].reshape(-1, 9).cpu().numpy()
    batch = model.collate(structures)
    positions = batch.positions.clone().requires_grad_()
    values = blended(model(replace(batch, positions=positions)), name)
    (slopes,) = torch.autograd.grad(values.sum(), positions, materialize_grads=True)
    return values.detach().cpu().numpy(), slopes.reshape(-1, 9).cpu().numpy()


def _limit(samples: np.ndarray) -> np.ndarray:
    """Value at 0 of the parabola through samples (3, ...) at 1, 2 and 3."""
    return np.asarray(3.0 * samples[0] - 3.0 * samples[1] + samples[2])


def _slope(samples: np.ndarray) -> np.ndarray:
    """Slope at 0 of the parabola through samples (3, ...) at 1, 2 and 3."""
    return np.asarray(-2.5 * samples[0] + 4.0 * samples[1] - 1.5 * samples[2])
