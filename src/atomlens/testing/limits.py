"""Checks at the edges: atoms alone, atoms too far apart to know of each other, and the moment they meet."""

from __future__ import annotations

from dataclasses import replace

import ase
import numpy as np
import torch

from atomlens.ops.radial import CONTINUOUS_DERIVATIVES
from atomlens.testing.result import Measurement, NotApplicable, require_energy
from atomlens.testing.subject import Subject, evaluate, largest
from atomlens.testing.symmetry import compared

STEP = 3e-5  # of the cutoff; one-sided extrapolations over three such steps leave errors of 1e-6 and less
# Of the largest value inside the cutoff: what is not faded jumps by 1e-3 and more, extrapolation leaves 1e-6.
JUMP = 1e-5


def single_atom(subject: Subject) -> list[Measurement]:
    """An atom alone has a finite energy and no force."""
    found = []
    for model in subject.precisions:
        for number in model.elements:
            outputs = evaluate(model, [ase.Atoms([number], [[0.3, -0.2, 0.1]])])
            wild = sum(int((~torch.isfinite(value)).sum()) for value in outputs.values())
            found.append(Measurement(f"numbers that are not finite, {ase.Atoms([number]).symbols}", wild, 0.0, ""))
            if "forces" in outputs:
                force = largest(outputs["forces"])
                found.append(Measurement(f"force, {ase.Atoms([number]).symbols}", force, 0.0, "eV/Ang"))
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
        if model.cutoff is None:
            continue
        alone = evaluate(model, [pair[:1], pair[1:]])
        expected = {name: alone[name] for name in together if together[name].shape == alone[name].shape}
        if "energy" in alone:
            expected["energy"] = alone["energy"].sum().reshape(1)
        found += compared(subject, model, together, expected, pair, " far apart")
        if "forces" in together:
            found.append(Measurement("force, far apart", largest(together["forces"]), 0.0, "eV/Ang"))
    return found


def isolation(subject: Subject) -> list[Measurement]:
    """The energy of one structure has no gradient with respect to the atoms of another in the same batch."""
    require_energy(subject)
    model = subject.double
    structures = [*subject.molecules[:2], *subject.crystals[:1], *subject.slabs[:1]]
    structures = structures if len(structures) > 1 else structures * 2
    batch = model.collate(structures)
    positions = batch.positions.clone().requires_grad_()
    energies = model(replace(batch, positions=positions))["energy"]
    worst = 0.0
    for place in range(len(structures)):
        (slope,) = torch.autograd.grad(
            energies[place], positions, retain_graph=True, materialize_grads=True, allow_unused=True
        )
        others = slope[batch.system != place]
        worst = max(worst, largest(others))
    return [Measurement("force on another structure's atoms", worst, 0.0, "eV/Ang")]


def cutoff_value(subject: Subject) -> list[Measurement]:
    """The energy does not jump when an atom crosses the cutoff."""
    return _jump(subject, 0)


def cutoff_slope(subject: Subject) -> list[Measurement]:
    """Forces do not jump when an atom crosses the cutoff."""
    return _jump(subject, 1)


def cutoff_curvature(subject: Subject) -> list[Measurement]:
    """The slope of forces does not jump when an atom crosses the cutoff, where the cutoff function promises it."""
    name = getattr(getattr(subject.model.representation, "config", None), "cutoff_function", None)
    if subject.model.cutoff is not None and CONTINUOUS_DERIVATIVES.get(str(name), 1) < 2:
        raise NotApplicable(f"the cutoff function '{name}' promises a continuous first derivative only")
    return _jump(subject, 2)


def _jump(subject: Subject, derivative: int) -> list[Measurement]:
    """Difference of the one-sided limits of a derivative of the energy at the cutoff.

    An atom comes towards another that has a neighbour already; energies and forces are taken at three distances on each
    side and extrapolated to the cutoff. Curvatures come from the forces, along the path.
    """
    require_energy(subject)
    cutoff = subject.model.cutoff
    if cutoff is None:
        raise NotApplicable("the model has no cutoff")
    if not subject.model.representation.continuous_forces:
        raise NotApplicable("the representation declares its energies discontinuous at the cutoff")
    step = STEP * cutoff
    inside = _curve(subject, cutoff - step * np.arange(1, 4))
    outside = _curve(subject, cutoff + step * np.arange(1, 4))
    path = np.linspace(0.4, 1.0, 60, endpoint=False) * cutoff
    along = _curve(subject, path)
    if derivative == 0:
        gap, size = _limit(inside[0]) - _limit(outside[0]), np.abs(along[0] - outside[0][-1]).max()
    elif derivative == 1:
        gap, size = _limit(inside[1]) - _limit(outside[1]), np.abs(along[1]).max()
    else:
        # Distances fall on the inner side, so its slope changes sign.
        gap = (-_slope(inside[1]) - _slope(outside[1])) / step
        size = np.abs(np.gradient(along[1], path, axis=0)).max()
    # Rounding of the samples, amplified by the extrapolation's weights.
    sampled = 3.0 * subject.open_scale.magnitude["energy"] if derivative == 0 else size / step ** (derivative - 1)
    noise = 100.0 * float(np.finfo(float).eps * sampled)
    unit = ("eV", "eV/Ang", "eV/Ang^2")[derivative]
    return [Measurement(f"jump at {cutoff:g} Å", float(np.abs(gap).max()), JUMP * float(size) + noise, unit)]


def _curve(subject: Subject, distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Energies (n,) and forces (n, 9) with an atom at ``distances`` (n,) Å from one that has a neighbour."""
    model, cutoff = subject.double, subject.model.cutoff or 0.0
    kinds = np.resize(np.asarray(model.elements), 3)
    structures = [ase.Atoms(kinds, [[0, 0, 0], [-0.3 * cutoff, 0, 0], [distance, 0, 0]]) for distance in distances]
    # On one line the second neighbour stays 0.3 r_c farther away: only one pair crosses at a time.
    outputs = evaluate(model, structures)
    return outputs["energy"].cpu().numpy(), outputs["forces"].reshape(-1, 9).cpu().numpy()


def _limit(samples: np.ndarray) -> np.ndarray:
    """Value at 0 of the parabola through samples (3, ...) at 1, 2 and 3."""
    return np.asarray(3.0 * samples[0] - 3.0 * samples[1] + samples[2])


def _slope(samples: np.ndarray) -> np.ndarray:
    """Slope at 0 of the parabola through samples (3, ...) at 1, 2 and 3."""
    return np.asarray(-2.5 * samples[0] + 4.0 * samples[1] - 1.5 * samples[2])
