"""Checks of forces and stress against central differences of energies: the limit, and the order of the approach."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import ase
import numpy as np

from atomlens.testing import structures
from atomlens.testing.result import Measurement, NotApplicable, require_energy
from atomlens.testing.subject import Subject, evaluate, predicted

# Steps over a decade: large enough for the error to stand far above rounding (1e-16 / 1e-3 of the energy), small
# against the 0.2 Å on which radial bases vary, so that the term of fourth order stays below a percent.
STEPS = 1e-2 * 10.0 ** (-np.arange(6) / 5.0)  # Å for displacements
STRAIN_PER_STEP = 0.2  # Å⁻¹; changes distances of 5 Å by the step
MARGIN = 2.5 * STEPS[0]  # Å; two atoms move towards each other by at most twice a step
# Trained networks may vary on a smaller scale. A wrong derivative is wrong at every step, a right one is found at some.
REFINEMENTS = (1.0, 0.25, 0.06, 0.015)
# The term of fourth order bends the line by a few thousandths; a wrong derivative flattens it to order 0.
ORDER_LIMIT = 0.1
# What the fit leaves at these steps, relative to the derivative: (1e-3 Å / 0.2 Å)⁴ and less.
ERROR_LIMIT = 1e-6
DIRECTIONS = 4
EPSILON = float(np.finfo(float).eps)

Changed = Callable[[np.ndarray, float], ase.Atoms]  # a structure moved along a direction by a step


@dataclass(frozen=True)
class Path:
    """Ways to change a structure, and the derivative of the energy that the model claims along each."""

    atoms: ase.Atoms
    changed: Changed
    directions: np.ndarray  # (directions, ...)
    claimed: np.ndarray  # (directions,)
    steps: np.ndarray  # (steps,)


def forces_error(subject: Subject) -> list[Measurement]:
    """Differences extrapolated to step zero equal -F·u."""
    return _checked(subject, _force_paths(subject), _error, "eV/Ang")


def forces_order(subject: Subject) -> list[Measurement]:
    """Central differences of the energy approach -F·u with the square of the step."""
    return _orders(subject, _force_paths(subject))


def stress_error(subject: Subject) -> list[Measurement]:
    """Differences by strain extrapolated to step zero equal V σ:ε."""
    return _checked(subject, _stress_paths(subject), _error, "eV")


def stress_order(subject: Subject) -> list[Measurement]:
    """Central differences of the energy by strain approach V σ:ε with the square of the step."""
    return _orders(subject, _stress_paths(subject))


def force_slopes(subject: Subject, atoms: ase.Atoms) -> tuple[np.ndarray, np.ndarray]:
    """Central differences of the energy for one structure along random directions u, for reports and figures.

    Returns:
        differences (steps, directions) at the steps of `STEPS`, and what the model claims, -F·u (directions,), in eV/Å.
    """
    path = _force_path(subject, atoms)
    return _differences(subject, path, path.steps), path.claimed


def _force_paths(subject: Subject) -> Iterator[Path]:
    require_energy(subject)
    return (_force_path(subject, atoms) for atoms in _smooth_cases(subject, subject.everything))


def _force_path(subject: Subject, atoms: ase.Atoms) -> Path:
    directions = np.random.default_rng(4).normal(size=(DIRECTIONS, len(atoms), 3))
    # The fastest atom moves by one step.
    directions /= np.linalg.norm(directions, axis=2).max(axis=1)[:, None, None]
    forces = predicted(subject.double, [atoms], forces=True, stress=False)["forces"].cpu().numpy()
    return Path(atoms, _displaced(atoms), directions, -np.einsum("kna,na->k", directions, forces), STEPS)


def _stress_paths(subject: Subject) -> Iterator[Path]:
    require_energy(subject)
    if subject.open_only:
        raise NotApplicable(subject.open_only)
    for atoms in _smooth_cases(subject, subject.crystals):
        strains = np.random.default_rng(5).uniform(-0.5, 0.5, (DIRECTIONS, 3, 3))
        strains = 0.5 * (strains + strains.transpose(0, 2, 1))
        stress = evaluate(subject.double, [atoms])["stress"][0].cpu().numpy()
        claimed = atoms.get_volume() * np.einsum("kab,ab->k", strains, stress)
        yield Path(atoms, _strained(atoms), strains, claimed, STRAIN_PER_STEP * STEPS)


def _smooth_cases(subject: Subject, atoms: tuple[ase.Atoms, ...]) -> list[ase.Atoms]:
    """Structures scaled so that no step takes a pair across the cutoff."""
    scaled = [structures.clear_of_cutoff(entry, subject.model.cutoff, MARGIN) for entry in atoms]
    chosen = [entry for entry in scaled if entry is not None]
    if not chosen:
        raise NotApplicable("every structure has distances too close to the cutoff for finite differences")
    return chosen


def _displaced(atoms: ase.Atoms) -> Changed:
    def changed(direction: np.ndarray, step: float) -> ase.Atoms:
        made = atoms.copy()
        made.positions += step * direction
        return made

    return changed


def _strained(atoms: ase.Atoms) -> Changed:
    def changed(strain: np.ndarray, step: float) -> ase.Atoms:
        made = atoms.copy()
        made.set_cell(made.cell.array @ (np.eye(3) + step * strain), scale_atoms=True)
        return made

    return changed


def _orders(subject: Subject, paths: Iterator[Path]) -> list[Measurement]:
    found = _checked(subject, paths, _order, "")
    if not found:
        raise NotApplicable("the energy hardly depends on the positions, its differences are rounding")
    return found


def _checked(
    subject: Subject, paths: Iterator[Path], judge: Callable[..., Measurement | None], unit: str
) -> list[Measurement]:
    """One measurement per path: the first that is kept, going to smaller steps, or the best."""
    measurements = []
    for path in paths:
        tried: list[Measurement] = []
        for refinement in REFINEMENTS:
            steps = refinement * path.steps
            noise = EPSILON * subject.sizes["energy"] / steps
            found = judge(path, steps, _differences(subject, path, steps), noise, unit)
            if found is not None:
                tried.append(found)
            if found is None or found.kept:
                break
        if tried:
            measurements.append(min(tried, key=lambda found: found.severity))
    return measurements


def _differences(subject: Subject, path: Path, steps: np.ndarray) -> np.ndarray:
    """(E(+h) - E(-h)) / 2h in float64 for all steps and directions, (steps, directions)."""
    signed = np.stack([steps, -steps], axis=1)
    made = [path.changed(direction, step) for step in signed.ravel() for direction in path.directions]
    energies = predicted(subject.bare, made, forces=False, stress=False)["energy"].cpu().numpy()
    ends = energies.reshape(len(steps), 2, len(path.directions))
    return np.asarray((ends[:, 0] - ends[:, 1]) / (2.0 * steps[:, None]))


def _order(path: Path, steps: np.ndarray, differences: np.ndarray, noise: np.ndarray, unit: str) -> Measurement | None:
    """Slope of the error against the step, both as logarithms; None where errors are too near to rounding."""
    errors = np.sqrt(np.square(differences - path.claimed).mean(axis=1))
    if not (errors > 1e2 * noise).any() or errors[0] < 1e5 * noise[0]:
        return None
    order = float(np.polyfit(np.log(steps), np.log(np.maximum(errors, 1e-300)), 1)[0])
    return Measurement(f"deviation from order 2, {path.atoms.symbols}", abs(order - 2.0), ORDER_LIMIT, unit)


def _error(path: Path, steps: np.ndarray, differences: np.ndarray, noise: np.ndarray, unit: str) -> Measurement:
    """Fit D(h) = D₀ + a h² + b h⁴ and compare D₀ with the derivative that the model claims."""
    powers = (steps / steps[0])[:, None] ** np.array([0, 2, 4])
    limits = np.linalg.lstsq(powers, differences, rcond=None)[0][0]
    allowed = ERROR_LIMIT * float(np.abs(limits).max()) + 10.0 * float(noise[-1])
    return Measurement(str(path.atoms.symbols), float(np.abs(limits - path.claimed).max()), allowed, unit)
