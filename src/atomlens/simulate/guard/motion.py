"""Forces that models disagree about, and temperatures and energies that no ensemble explains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import ase
import numpy as np
from scipy.special import chdtri

from atomlens.data.system import symbol
from atomlens.simulate.guard.alarm import Finding
from atomlens.simulate.guard.config import GuardConfig


def disagreement(forces: np.ndarray) -> np.ndarray:
    """Spread of forces over models, (atoms,) in eV/Å: sqrt(mean over models of |F - mean F|²).

    The measure of query by committee in DP-GEN (Zhang, Lin, Wang, Car, E, Phys. Rev. Materials 2019, 3, 023804).

    Args:
        forces: (models, atoms, 3) eV/Å
    """
    found: np.ndarray = np.sqrt(np.square(forces - forces.mean(axis=0)).sum(axis=2).mean(axis=0))
    return found


def divided(structure: int, numbers: np.ndarray, forces: np.ndarray, config: GuardConfig) -> list[Finding]:
    """The atom on whose force the models (models, atoms, 3) disagree most, if that is too much."""
    spread = disagreement(forces)
    atom = int(spread.argmax())
    value, limit = float(spread[atom]), config.committee_limit
    if not value > limit:
        return []
    words = (
        f"{len(forces)} models disagree by {value:.3g} eV/Å about the force on {symbol(int(numbers[atom]))} {atom} "
        f"(limit {limit:g} eV/Å)"
    )
    return [Finding(structure, "committee", (atom,), value, limit, words)]


def highest_temperature(target: float, atoms: int, config: GuardConfig) -> float:
    """The temperature in K from which on a canonical ensemble does not explain it.

    The kinetic energy of f degrees of freedom is kT/2 times a number of the χ² distribution with f; its relative
    deviation is sqrt(2 / f). The smallest f that a molecule can have is taken, 3N - 6, so that the limit is on the high
    side.

    Args:
        target: the thermostat's, in K.
        atoms: their number N.
        config: the probability of a false alarm, and the least rise that is worth one.
    """
    freedom = max(3 * atoms - 6, 1)
    return target * max(float(chdtri(freedom, config.temperature_chance)) / freedom, 1.0 + config.temperature_rise)


def hot(structure: int, temperature: float, target: float, atoms: int, config: GuardConfig) -> list[Finding]:
    """A temperature in K above the highest that the thermostat's explains."""
    limit = highest_temperature(target, atoms, config)
    if not temperature > limit:
        return []
    words = (
        f"the temperature is {temperature:.0f} K, more than chance allows around {target:g} K (at most {limit:.0f} K)"
    )
    return [Finding(structure, "temperature", (), temperature, limit, words)]


def drifted(structure: int, energy: float, start: float, config: GuardConfig) -> list[Finding]:
    """A total energy, in eV per atom, too far from that of the first look."""
    value, limit = abs(energy - start), config.energy_drift
    if not value > limit:
        return []
    words = f"the total energy has changed by {value:.3g} eV per atom since the first look (limit {limit:g})"
    return [Finding(structure, "energy", (), value, limit, words)]


def total_energy(atoms: ase.Atoms, results: Mapping[str, np.ndarray]) -> float | None:
    """Potential and kinetic energy in eV per atom; None where the results have no energy."""
    if "energy" not in results:
        return None
    return (float(results["energy"]) + float(atoms.get_kinetic_energy())) / len(atoms)


def broken(structures: Sequence[ase.Atoms], results: Sequence[Mapping[str, np.ndarray]]) -> list[Finding]:
    """Structures whose positions or predictions are not finite."""
    found = []
    for place, (atoms, values) in enumerate(zip(structures, results, strict=True)):
        arrays = {"positions": atoms.positions, "cell": atoms.cell.array, **values}
        bad = [name for name, array in arrays.items() if not np.isfinite(np.asarray(array, dtype=np.float64)).all()]
        if bad:
            found.append(Finding(place, "broken", (), 0.0, 0.0, f"the {bad[0].replace('_', ' ')} are not finite"))
    return found
