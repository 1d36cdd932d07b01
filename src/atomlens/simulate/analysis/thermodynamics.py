"""Energies and temperatures of a run: means with error bars, equipartition, and whether velocities are canonical."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import units
from ase.data import chemical_symbols
from scipy import stats

from atomlens.errors import InputError
from atomlens.simulate.analysis.blocks import Average, block_average, per_run, plain
from atomlens.simulate.analysis.mechanics import degrees_of_freedom, freedom_of_atoms, kinetic_energies
from atomlens.simulate.frames import Frames

SIGNIFICANCE = 0.01  # of the test: one canonical run in a hundred fails it
FEWEST_SAMPLES = 50  # independent ones, for a test
_THINNING = 1.5  # statistical inefficiencies between samples; with 1 too many canonical runs fail
_CONSERVED = 0.05  # of the energy's canonical fluctuations; below, it is held constant


@dataclass(frozen=True)
class KineticEnergyTest:
    """Kinetic energies against the canonical distribution, a gamma distribution of shape f/2 and scale kT."""

    temperature: float  # K, that the run was to have
    degrees_of_freedom: float
    samples: int  # after thinning
    stride: int  # frames between samples, so that they are independent
    statistic: float  # of Kolmogorov and Smirnov
    p_value: float  # chance of so large a statistic in a canonical run
    mean_ratio: float  # mean over f kT / 2
    mean_ratio_error: float
    variance_ratio: float  # variance over f (kT)² / 2
    variance_ratio_error: float
    canonical: bool  # p_value ≥ 0.01
    verdict: str  # one sentence

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {name: plain(value) for name, value in vars(self).items()}


@dataclass(frozen=True)
class Thermodynamics:
    """Means of a run with one standard error each; None where they cannot be known."""

    potential: Average | None  # eV per structure
    temperature: Average | None  # K, from the kinetic energy
    temperature_by_element: dict[str, Average]  # K
    degrees_of_freedom: float | None
    heat_capacity: float | None  # eV/K at constant volume, per structure
    heat_capacity_error: float | None
    no_heat_capacity: str  # why there is none
    volume: Average | None  # Å³, of periodic structures
    density: float | None  # g/cm³
    drift: float | None  # eV/atom/ps, slope of potential and kinetic energy together, mean of the runs

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        found: dict[str, Any] = {}
        for name, value in vars(self).items():
            found[name] = value.to_dict() if isinstance(value, Average) else plain(value)
        found["temperature_by_element"] = {name: each.to_dict() for name, each in self.temperature_by_element.items()}
        return found


def thermodynamic_means(
    frames: Frames, *, temperature: float | None = None, free: float | None = None
) -> Thermodynamics:  # fmt: skip
    """Means along a run.

    The heat capacity of classical nuclei is f k/2 + var(V)/(kT²): momenta are known exactly, the potential energy V
    fluctuates. It holds at constant volume and temperature only, and is left out where the total energy is conserved.

    Args:
        frames: the run, equilibration left out.
        temperature: K, that a thermostat was set to; without, the run's own.
        free: degrees of freedom of one copy; found from the velocities without.
    """
    potential = None if frames.potential is None else per_run(np.asarray(frames.potential, dtype=float), frames.beads)
    kinetic, elements, degrees = None, {}, free
    if frames.velocities is not None:
        energies = kinetic_energies(frames)
        degrees = degrees_of_freedom(frames) if free is None else free
        kinetic = per_run(energies.sum(axis=-1), frames.beads)
        elements = _by_element(frames, energies, degrees)
    warmth = None
    if kinetic is not None and degrees:
        warmth = block_average(kinetic * (2.0 / (degrees * units.kB * frames.beads)), frames.interval)
    set_to = _of_capacity(temperature, warmth)
    capacity, error, why = _heat_capacity(frames, potential, kinetic, degrees, set_to)
    volume = block_average(per_run(np.abs(np.linalg.det(frames.cells)), frames.beads)) if frames.pbc.all() else None
    mass = float(frames.masses.sum()) * units._amu * 1e3 / 1e-24  # g Å³/cm³
    return Thermodynamics(
        None if potential is None else block_average(potential, frames.interval),
        warmth, elements, degrees, capacity, error, why, volume,
        None if volume is None else mass / float(volume.mean), _drift(frames, potential, kinetic),
    )  # fmt: skip


def kinetic_energy_test(
    frames: Frames, temperature: float, free: float | None = None, *, significance: float = SIGNIFICANCE
) -> KineticEnergyTest:
    """Whether kinetic energies are those of the canonical ensemble, by the test of Kolmogorov and Smirnov.

    Frames are first thinned to one in 1.5 statistical inefficiencies of the kinetic energy or of its square deviation,
    whichever is longer, as the test asks for independent samples.

    Args:
        frames: a run with classical nuclei, equilibration left out.
        temperature: K, that the thermostat was set to.
        free: degrees of freedom of one copy; found from the velocities without.
        significance: chance that a canonical run fails.

    Raises:
        InputError: no velocities, a path integral, or too few independent samples.
    """
    if frames.beads > 1:
        raise InputError("beads of a path are not thermostatted to one temperature each; test a run with one bead")
    kinetic = kinetic_energies(frames).sum(axis=-1)
    if kinetic.size < FEWEST_SAMPLES:
        raise InputError(
            f"the run has only {kinetic.size} frames, and a test of the distribution of kinetic energies needs "
            f"{FEWEST_SAMPLES} that are independent; run longer or with more replicas"
        )
    degrees = degrees_of_freedom(frames) if free is None else free
    kT = units.kB * temperature
    mean, spread = block_average(kinetic), block_average(np.square(kinetic - kinetic.mean()))
    stride = max(1, int(np.ceil(_THINNING * max(float(mean.inefficiency), float(spread.inefficiency)))))
    thinned = kinetic[::-1][::stride].ravel()  # from the end, where the run is best equilibrated
    if len(thinned) < FEWEST_SAMPLES:
        raise InputError(
            f"the run has only {len(thinned)} independent kinetic energies (one in {stride} frames), and a test of "
            f"their distribution needs {FEWEST_SAMPLES}; run longer or with more replicas"
        )
    found = stats.kstest(thinned, stats.gamma(0.5 * degrees, scale=kT).cdf)
    ratios = mean.mean / (0.5 * degrees * kT), spread.mean / (0.5 * degrees * kT**2)
    errors = mean.error / (0.5 * degrees * kT), spread.error / (0.5 * degrees * kT**2)
    canonical = bool(found.pvalue >= significance)
    return KineticEnergyTest(
        temperature, degrees, len(thinned), stride, float(found.statistic), float(found.pvalue),
        float(ratios[0]), float(errors[0]), float(ratios[1]), float(errors[1]), canonical,
        _verdict(canonical, float(found.pvalue), ratios, errors),
    )  # fmt: skip


def _verdict(canonical: bool, p_value: float, ratios: tuple[Any, Any], errors: tuple[Any, Any]) -> str:
    if canonical:
        return f"Kinetic energies are spread as at constant temperature (p = {p_value:.2g})."
    mean, spread = (float(each) for each in ratios)
    if abs(mean - 1.0) > 3.0 * float(errors[0]):
        side = "hot" if mean > 1 else "cold"
        return (
            f"The run is too {side}: its mean kinetic energy is {mean:.3f} times that of the temperature asked for "
            f"(p = {p_value:.2g})."
        )
    if spread < 1.0 - 3.0 * float(errors[1]):
        return (
            f"The mean is right, but kinetic energies vary too little ({spread:.2f} of the canonical variance), as "
            f"under a thermostat that rescales velocities, or at constant energy (p = {p_value:.2g})."
        )
    if spread > 1.0 + 3.0 * float(errors[1]):
        return (
            f"The mean is right, but kinetic energies vary too much ({spread:.2f} times the canonical variance), as "
            f"where a part of the motion never meets the thermostat (p = {p_value:.2g})."
        )
    return f"Kinetic energies are not spread as at constant temperature (p = {p_value:.2g})."


def _by_element(frames: Frames, energies: np.ndarray, degrees: float) -> dict[str, Average]:
    """Temperature of each element, its share of what rests being left out."""
    free = freedom_of_atoms(frames, degrees)
    found = {}
    for number in sorted(set(frames.numbers.tolist())):
        chosen = frames.numbers == number
        each = per_run(energies[:, :, chosen].sum(axis=-1), frames.beads)
        own = float(free[chosen].sum())
        if own > 1e-6:
            scale = 2.0 / (own * units.kB * frames.beads)
            found[chemical_symbols[number]] = block_average(each * scale, frames.interval)
    return found


def _of_capacity(temperature: float | None, warmth: Average | None) -> float | None:
    """What the thermostat was set to; the run's own temperature where that is another, or where none was set."""
    if warmth is None or temperature is None:
        return temperature if warmth is None else float(warmth.mean)
    return float(warmth.mean) if abs(warmth.mean - temperature) > 5.0 * warmth.error else temperature


def _heat_capacity(
    frames: Frames, potential: np.ndarray | None, kinetic: np.ndarray | None, degrees: float | None,
    temperature: float | None,
) -> tuple[float | None, float | None, str]:  # fmt: skip
    if frames.beads > 1:
        return None, None, "fluctuations of a path's potential energy are no heat capacity"
    if potential is None or temperature is None or not degrees:
        return None, None, "a heat capacity needs potential energies and a temperature"
    if frames.pbc.any() and np.ptp(frames.cells, axis=0).max() > 1e-6 * np.abs(frames.cells).max():
        return None, None, "the cell changes; the formula holds at constant volume"
    if kinetic is not None and (potential + kinetic).var(axis=0).mean() < _CONSERVED * kinetic.var(axis=0).mean():
        return None, None, "the total energy hardly varies; the formula holds at constant temperature"
    spread = block_average(np.square(potential - potential.mean()), frames.interval)
    per = units.kB * temperature**2
    found = 0.5 * degrees * units.kB + float(spread.mean) / per
    return found, float(spread.error) / per if np.isfinite(spread.error) else None, ""


def _drift(frames: Frames, potential: np.ndarray | None, kinetic: np.ndarray | None) -> float | None:
    if potential is None or kinetic is None or len(frames.times) < 3:
        return None
    slopes = np.polyfit(frames.times * 1e-3, potential + kinetic, 1)[0]
    return float(slopes.mean()) / len(frames.numbers)
