"""Checks of forces, stress and second derivatives against differences of energies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import ase
import numpy as np
import torch
from torch import Tensor

from atomlens.data.batch import Batch
from atomlens.testing import structures
from atomlens.testing.result import Measurement, NotApplicable, require_energy
from atomlens.testing.subject import Subject, evaluate, predicted

# Steps over a decade: large enough for the error to stand far above rounding (1e-16 / 1e-3 of the energy), small
# against the 0.2 Å on which the radial bases vary, so that the term of fourth order stays below a percent.
STEPS = 1e-2 * 10.0 ** (-np.arange(6) / 5.0)  # Å for displacements
STRAIN_STEPS = 0.2 * STEPS
MARGIN = 2.5 * STEPS[0]  # Å; two atoms move towards each other by at most twice a step
# The term of fourth order bends the line by a few thousandths; a wrong force flattens it to order 0.
ORDER_LIMIT = 0.1
# What two orders of Richardson extrapolation leave at the smallest steps, relative to the force: (1e-3 Å / 0.2 Å)⁴.
ERROR_LIMIT = 1e-6
DIRECTIONS = 4
AUTOGRAD_STEP = 1e-4  # Å, of five-point differences; they err by the fourth power of it
EPSILON = float(np.finfo(float).eps)

Slopes = tuple[np.ndarray, np.ndarray]  # central differences (steps, directions), derivatives (directions,)


def forces_order(subject: Subject) -> list[Measurement]:
    """Central differences of the energy approach -F·u with the square of the step."""
    return _orders(_all_force_slopes(subject), STEPS, subject)


def forces_error(subject: Subject) -> list[Measurement]:
    """Differences extrapolated to step zero equal -F·u."""
    return _errors(_all_force_slopes(subject), STEPS, subject, "eV/Ang")


def stress_order(subject: Subject) -> list[Measurement]:
    """Central differences of the energy by strain approach V σ:ε with the square of the step."""
    return _orders(_all_stress_slopes(subject), STRAIN_STEPS, subject)


def stress_error(subject: Subject) -> list[Measurement]:
    """Differences by strain extrapolated to step zero equal V σ:ε."""
    return _errors(_all_stress_slopes(subject), STRAIN_STEPS, subject, "eV")


def gradcheck(subject: Subject) -> list[Measurement]:
    """Autograd's first derivatives by positions and strain equal numerical ones, under torch's own test as well."""
    return _autograd_check(subject, torch.autograd.gradcheck, 0)


def gradgradcheck(subject: Subject) -> list[Measurement]:
    """Autograd's second derivatives equal differences of its first, under torch's own test as well."""
    return _autograd_check(subject, torch.autograd.gradgradcheck, 1)


def _all_force_slopes(subject: Subject) -> list[tuple[ase.Atoms, Slopes]]:
    require_energy(subject)
    chosen = _smooth_cases(subject, subject.everything)
    return [(atoms, _force_slopes(subject, atoms)) for atoms in chosen]


def _all_stress_slopes(subject: Subject) -> list[tuple[ase.Atoms, Slopes]]:
    require_energy(subject)
    if subject.model.cutoff is None:
        raise NotApplicable("without a cutoff periodic structures are refused")
    chosen = _smooth_cases(subject, subject.crystals)
    return [(atoms, _stress_slopes(subject, atoms)) for atoms in chosen]


def _smooth_cases(subject: Subject, atoms: tuple[ase.Atoms, ...]) -> list[ase.Atoms]:
    """Structures scaled so that no step takes a pair across the cutoff."""
    scaled = [structures.clear_of_cutoff(entry, subject.model.cutoff, MARGIN) for entry in atoms]
    chosen = [entry for entry in scaled if entry is not None]
    if not chosen:
        raise NotApplicable("every structure has distances too close to the cutoff for finite differences")
    return chosen


def _force_slopes(subject: Subject, atoms: ase.Atoms) -> Slopes:
    directions = np.random.default_rng(4).normal(size=(DIRECTIONS, len(atoms), 3))
    directions /= np.linalg.norm(directions, axis=2).max(axis=1)[:, None, None]  # the fastest atom moves by one step

    def changed(direction: np.ndarray, step: float) -> ase.Atoms:
        made = atoms.copy()
        made.positions += step * direction
        return made

    forces = predicted(subject.double, [atoms], forces=True, stress=False)["forces"].cpu().numpy()
    return _differences(subject, changed, directions, STEPS), -np.einsum("kna,na->k", directions, forces)


def _stress_slopes(subject: Subject, atoms: ase.Atoms) -> Slopes:
    strains = np.random.default_rng(5).uniform(-0.5, 0.5, (DIRECTIONS, 3, 3))
    strains = 0.5 * (strains + strains.transpose(0, 2, 1))

    def changed(strain: np.ndarray, step: float) -> ase.Atoms:
        made = atoms.copy()
        made.set_cell(made.cell.array @ (np.eye(3) + step * strain), scale_atoms=True)
        return made

    stress = evaluate(subject.double, [atoms])["stress"][0].cpu().numpy()
    return _differences(subject, changed, strains, STRAIN_STEPS), atoms.get_volume() * np.einsum(
        "kab,ab->k", strains, stress
    )


def _differences(
    subject: Subject, changed: Callable[[np.ndarray, float], ase.Atoms], directions: np.ndarray, steps: np.ndarray
) -> np.ndarray:
    """(E(+h) - E(-h)) / 2h in float64 for all steps and directions, (steps, directions)."""
    signed = np.stack([steps, -steps], axis=1)
    made = [changed(direction, step) for step in signed.ravel() for direction in directions]
    energies = predicted(subject.bare, made, forces=False, stress=False)["energy"].cpu().numpy()
    pairs = energies.reshape(len(steps), 2, len(directions))
    return np.asarray((pairs[:, 0] - pairs[:, 1]) / (2.0 * steps[:, None]))


def _orders(found: list[tuple[ase.Atoms, Slopes]], steps: np.ndarray, subject: Subject) -> list[Measurement]:
    measurements = []
    for atoms, (differences, slopes) in found:
        errors = np.sqrt(np.square(differences - slopes).mean(axis=1))
        # Too near to rounding for a slope; whether such small differences are right is for the other checks to say.
        if errors[0] < 1e5 * EPSILON * subject.largest_term / steps[0]:
            continue
        order = np.polyfit(np.log(steps), np.log(np.maximum(errors, 1e-300)), 1)[0]
        measurements.append(
            Measurement(f"deviation from order 2, {atoms.symbols}", abs(float(order) - 2.0), ORDER_LIMIT, "")
        )
    if not measurements:
        raise NotApplicable("the energy hardly depends on the positions, its differences are rounding")
    return measurements


def _errors(found: list[tuple[ase.Atoms, Slopes]], steps: np.ndarray, subject: Subject, unit: str) -> list[Measurement]:
    """Fit D(h) = D₀ + a h² + b h⁴ and compare D₀ with the derivative."""
    powers = (steps / steps[0])[:, None] ** np.array([0, 2, 4])
    measurements = []
    for atoms, (differences, slopes) in found:
        limits = np.linalg.lstsq(powers, differences, rcond=None)[0][0]
        error = float(np.abs(limits - slopes).max())
        noise = 10.0 * EPSILON * subject.largest_term / steps[-1]
        measurements.append(
            Measurement(str(atoms.symbols), error, ERROR_LIMIT * float(np.abs(slopes).max()) + noise, unit)
        )
    return measurements


def _autograd_check(subject: Subject, test: Callable[..., bool], order: int) -> list[Measurement]:
    require_energy(subject)
    smallest = [min(kind, key=len) for kind in (subject.molecules, subject.crystals) if kind]
    return [found for atoms in smallest for found in _autograd_errors(subject, atoms, test, order)]


def _autograd_errors(
    subject: Subject, atoms: ase.Atoms, test: Callable[..., bool], order: int
) -> Iterator[Measurement]:
    batch = subject.bare.collate([atoms])
    inputs = (batch.positions.clone().requires_grad_(), torch.zeros_like(batch.cell).requires_grad_())

    def energy(positions: Tensor, strain: Tensor) -> Tensor:
        moved: Batch = replace(batch, positions=positions).strained(strain)
        outputs: dict[str, Tensor] = subject.bare(moved)
        return outputs["energy"]

    def slopes(positions: Tensor, strain: Tensor) -> Tensor:
        found = torch.autograd.grad(
            energy(positions, strain).sum(), (positions, strain), create_graph=True, materialize_grads=True
        )
        return torch.cat([part.reshape(-1) for part in found])

    error, size = _against_differences(slopes if order else energy, inputs)
    unit = "eV/Ang^2" if order else "eV/Ang"
    # Energies, and forces as large as energies over the width of the radial bases, divided by the steps.
    noise = 100.0 * EPSILON * subject.largest_term * (5.0 if order else 1.0)
    found = Measurement(str(atoms.symbols), error, ERROR_LIMIT * size + noise / AUTOGRAD_STEP, unit)
    yield found
    if found.kept:
        test(energy, inputs, atol=1e-5 * size + noise / 1e-6, rtol=1e-3)  # steps by 1e-6 Å, and raises where it fails


def _against_differences(function: Callable[..., Tensor], inputs: tuple[Tensor, Tensor]) -> tuple[float, float]:
    """Largest deviation of autograd's Jacobian from central differences, and its largest entry."""
    exact = torch.autograd.functional.jacobian(function, inputs)
    worst, size = 0.0, 0.0
    for place, value in enumerate(inputs):
        analytic = exact[place].reshape(-1, value.numel())
        for entry in range(value.numel()):
            ends = []
            for sign in (1.0, -1.0, 2.0, -2.0):
                moved = [other.detach().clone().requires_grad_() for other in inputs]
                with torch.no_grad():
                    moved[place].view(-1)[entry] += sign * AUTOGRAD_STEP
                ends.append(function(*moved).detach().reshape(-1))
            numerical = (8.0 * (ends[0] - ends[1]) - (ends[2] - ends[3])) / (12.0 * AUTOGRAD_STEP)
            worst = max(worst, float((analytic[:, entry] - numerical).abs().max()))
            size = max(size, float(numerical.abs().max()))
    return worst, size
