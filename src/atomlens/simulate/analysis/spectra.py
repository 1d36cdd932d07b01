"""Spectra of a run: vibrational density of states from velocities, infrared absorption from dipoles.

Runs are cut into segments that overlap by half, each under a Hann window (Welch's method); by the Wiener-Khinchin
theorem this is the transform of the autocorrelation function. Frequencies in cm⁻¹. Error bars come from the spread of
the segments or, from eight runs on, of the runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import units
from ase.data import chemical_symbols
from scipy import fft, signal

from atomlens.errors import InputError
from atomlens.simulate.analysis.blocks import FEWEST_BLOCKS, plain, spread_average
from atomlens.simulate.analysis.mechanics import centroid_motion, internal_velocities
from atomlens.simulate.frames import Frames

LIGHT = 2.99792458e-5  # cm/fs
RESOLUTION = 10.0  # cm⁻¹
FEWEST_SEGMENTS = 4
COARSE = 0.35  # of `interval_error`; above, the fastest motions are recorded less than four times a period or so
_HANN_WIDTH = 1.44  # full width at half height of a line under the window, over 1 / (duration of a segment)
_OVERLAP = 1.0 + 2.0 * (1.0 / 6.0) ** 2  # inefficiency of half-overlapping segments under a Hann window
_EDGE = 0.8  # of the highest frequency; power above hints at motions that are folded back
# N_A / (12 ε0 c²), from (e/√amu)² to km/mol: the integrated molar absorption (natural logarithm) of one normal mode.
KM_PER_MOL = units._Nav * units._e**2 / (12.0 * units._eps0 * units._c**2 * units._amu) * 1e-3


@dataclass(frozen=True)
class Spectrum:
    """A power spectrum with one standard error, and what may be read from it."""

    name: str
    unit: str  # of the values; their integral over cm⁻¹ is in the unit without /cm⁻¹
    wavenumbers: np.ndarray  # (points,) cm⁻¹
    values: np.ndarray  # (points,)
    error: np.ndarray  # (points,)
    parts: dict[str, np.ndarray]  # by element, (points,); they add up to the values
    area: float  # integral over all wavenumbers
    area_error: float
    resolution: float  # cm⁻¹, full width at half height of an undamped line
    highest: float  # cm⁻¹, half the sampling rate
    segments: int  # of all runs
    edge: float  # share of the power in the highest fifth of the wavenumbers
    interval_error: float | None  # see `interval_error`; None without velocities
    caution: str = ""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        parts = {name: plain(value) for name, value in self.parts.items()}
        return {name: plain(value) for name, value in vars(self).items() if name != "parts"} | {"parts": parts}

    def area_between(self, low: float, high: float) -> float:
        """The integral over a band, cm⁻¹."""
        chosen = (self.wavenumbers >= low) & (self.wavenumbers <= high)
        return float(self.values[chosen].sum() * (self.wavenumbers[1] - self.wavenumbers[0]))


@dataclass(frozen=True)
class Autocorrelation:
    """A normalised autocorrelation function with one standard error."""

    times: np.ndarray  # (lags,) fs
    values: np.ndarray  # (lags,), 1 at lag 0
    error: np.ndarray  # (lags,)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {name: plain(value) for name, value in vars(self).items()}


def vibrational_density(
    frames: Frames, *, temperature: float, resolution: float = RESOLUTION, internal: bool = False
) -> Spectrum:  # fmt: skip
    """Vibrational density of states: the spectrum of mass-weighted velocities over kT.

    Σ_i m_i ∫ <v_i(0) v_i(t)> e^{-iωt} dt / kT, normalised so that it integrates to the number of degrees of freedom
    that equipartition finds, 3N of classical atoms at that temperature. Of paths the centroids are taken; their
    spectrum approximates quantum dynamics only where the internal modes' thermostat leaves the centroid alone.

    Args:
        frames: the run, equilibration left out.
        temperature: K.
        resolution: full width at half height of a line, cm⁻¹.
        internal: leave out motion of the whole (centre of mass and, of open structures, rotation) frame by frame.

    Raises:
        InputError: no velocities, or the run is too short for the resolution.
    """
    moving, velocities = _velocities(frames, internal)
    weighted = velocities * np.sqrt(moving.masses)[:, None] / units.fs
    kinds = sorted(set(moving.numbers.tolist()))
    groups = [np.flatnonzero(moving.numbers == number) for number in kinds]
    power, segments, numbers = _power(weighted, groups, moving, resolution)
    power /= units.kB * temperature
    parts = {chemical_symbols[number]: power[:, :, place].mean(axis=0) for place, number in enumerate(kinds)}
    coarse = interval_error(moving)  # beads swing faster than their centroids, which the spectrum is of
    total = power.sum(axis=2)
    return _spectrum("vibrational density of states", "1/cm⁻¹", total, segments, numbers, parts, moving, coarse)


def infrared(frames: Frames, *, temperature: float, resolution: float = RESOLUTION) -> Spectrum:
    """Infrared absorption of one molecule or cell from the classical dipole, per mole of it.

    N_A / (12 ε0 c²) · S(ν)/kT with S the spectrum of dM/dt that integrates to <|dM/dt|²>. This is Fermi's golden rule
    with the harmonic quantum correction βħω / (1 - e^{-βħω}) of the classical dipole autocorrelation (R. Ramírez et
    al., J. Chem. Phys. 121, 3973 (2004)), exact for harmonic oscillators: a band's integral is the km/mol of the
    harmonic intensities. dM/dt is the difference of frames, corrected by its exact response (ωΔt/2 / sin(ωΔt/2))².

    Args:
        frames: with dipoles, equilibration left out; beads are averaged over.
        temperature: K.
        resolution: full width at half height of a line, cm⁻¹.

    Raises:
        InputError: no dipoles, or the run is too short for the resolution.
    """
    if frames.dipoles is None:
        raise InputError("the run holds no dipoles; an infrared spectrum needs a model with a dipole readout")
    moving = centroid_motion(frames)
    dipoles = np.asarray(moving.dipoles, dtype=float)
    if moving.interval == 0:
        raise InputError("a single frame has no spectrum; record more")
    rates = np.diff(dipoles, axis=0)[:, :, None] / (moving.interval * units.fs)  # e Å per ASE's unit of time: e/√amu
    power, segments, numbers = _power(rates, [np.array([0])], moving, resolution)
    half = np.pi * LIGHT * numbers * moving.interval  # ωΔt/2
    response = np.square(np.sinc(half / np.pi))
    power = power[:, :, 0] / response * (KM_PER_MOL / (units.kB * temperature))
    coarse = interval_error(moving) if moving.velocities is not None else None
    return _spectrum("infrared absorption", "km/mol/cm⁻¹", power, segments, numbers, {}, moving, coarse)


def velocity_autocorrelation(frames: Frames, longest: float, *, internal: bool = False) -> Autocorrelation:
    """Normalised mass-weighted velocity autocorrelation, Σ m <v(0)·v(t)> / Σ m <v²>.

    Each run is cut into segments of twice the longest lag; their spread gives the error.

    Args:
        frames: the run, equilibration left out.
        longest: lag in fs.
        internal: leave out motion of the whole, see `vibrational_density`.

    Raises:
        InputError: no velocities, or the run is too short.
    """
    moving, velocities = _velocities(frames, internal)
    lags = round(longest / moving.interval) + 1 if moving.interval else 1
    length = 2 * lags
    if lags < 2 or len(velocities) // length * moving.replicas < FEWEST_SEGMENTS:
        raise InputError(
            f"the run of {moving.times[-1] - moving.times[0]:g} fs is too short for a correlation over {longest:g} fs; "
            f"run at least {FEWEST_SEGMENTS} times twice as long"
        )
    weighted = (velocities * np.sqrt(moving.masses)[:, None]).reshape(len(velocities), moving.replicas, -1)
    whole = weighted[len(weighted) % length :].reshape(-1, length, *weighted.shape[1:])
    found = np.stack([_correlate(segment, lags) for segment in whole]).reshape(-1, lags)
    mean = found.mean(axis=0)
    values = mean / mean[0]
    _, error = spread_average((found - found[:, :1] * values) / mean[0])  # of a ratio of two means
    return Autocorrelation(np.arange(lags) * moving.interval, values, error)


def interval_error(frames: Frames) -> float:
    """How badly the interval between frames resolves the fastest motion: 0 for not at all, about 1 for hopelessly.

    Over one interval each atom's displacement is compared with the interval times the mean of its two velocities;
    a motion of frequency ω differs by (ωΔt)²/12, one beyond half the sampling rate by more than itself. The worst
    element counts.

    Raises:
        InputError: no velocities.
    """
    if frames.velocities is None:
        raise InputError("the run holds no velocities; record them")
    if len(frames.times) < 2:
        raise InputError("a single frame has no motion; record more")
    rows = np.unique(np.linspace(0, len(frames.times) - 2, 500).astype(int))
    after = rows + 1
    moved = np.asarray(frames.positions[after], dtype=float) - frames.positions[rows]
    meant = 0.5 * frames.interval * (np.asarray(frames.velocities[after], dtype=float) + frames.velocities[rows])
    worst = 0.0
    for number in sorted(set(frames.numbers.tolist())):
        chosen = frames.numbers == number
        size = float(np.square(meant[:, :, chosen]).sum())
        worst = max(worst, float(np.square(moved - meant)[:, :, chosen].sum()) / max(size, 1e-300))
    return float(np.sqrt(worst))


def _velocities(frames: Frames, internal: bool) -> tuple[Frames, np.ndarray]:
    """Centroids, and their velocities (frames, runs, atoms, 3) in Å/fs."""
    if frames.velocities is None:
        raise InputError("the run holds no velocities; record them")
    moving = centroid_motion(frames)
    velocities = np.asarray(moving.velocities, dtype=float)
    if internal:
        positions = np.asarray(moving.positions, dtype=float)
        open_ = not moving.pbc.any()
        velocities = np.asarray(internal_velocities(positions, velocities, moving.masses, open_=open_))
    return moving, velocities


def finest_resolution(duration: float, replicas: int) -> float:
    """Full width at half height of a line, in cm⁻¹, that a run of this duration (fs) and so many copies resolves."""
    halves = 0.5 * (-(-FEWEST_SEGMENTS // replicas) - 1)  # that segments reach beyond the first one
    return _HANN_WIDTH * (1.0 + halves) / (LIGHT * duration)


def _power(
    values: np.ndarray, groups: list[np.ndarray], frames: Frames, resolution: float
) -> tuple[np.ndarray, int, np.ndarray]:  # fmt: skip
    """One-sided spectral density per cm⁻¹ of (frames, runs, atoms, axes), summed over axes and groups of atoms.

    Returns:
        (segments, points, groups), segments of all runs; how many there are of one run; the wavenumbers (points,).
    """
    if frames.interval == 0:
        raise InputError("a single frame has no spectrum; record more")
    length = max(8, round(_HANN_WIDTH / (resolution * LIGHT * frames.interval)))
    each = (len(values) - length) // (length // 2) + 1 if len(values) >= length else 0
    if each * frames.replicas < FEWEST_SEGMENTS:
        need = length * frames.interval * (1 + (FEWEST_SEGMENTS - 1) / 2) * 1e-3
        raise InputError(
            f"a run of {(frames.times[-1] - frames.times[0]) * 1e-3:.3g} ps is too short to resolve {resolution:g} "
            f"cm⁻¹; a run of {need:.2g} ps is long enough"
        )
    window = signal.windows.hann(length, sym=False)
    once = np.full(length // 2 + 1, 2.0)  # both signs of a frequency, but for zero and the highest of an even length
    once[0] = 1.0
    once[-1] = 1.0 if length % 2 == 0 else 2.0
    once *= frames.interval * LIGHT / np.square(window).sum()
    found = []
    for run in range(values.shape[1]):
        for place in range(each):
            start = len(values) - length - place * (length // 2)  # from the end; what is left over is the beginning
            piece = values[start : start + length, run] * window[:, None, None]
            power = np.square(np.abs(fft.rfft(piece, axis=0))).sum(axis=2) * once[:, None]
            found.append(np.stack([power[:, atoms].sum(axis=1) for atoms in groups], axis=1))
    return np.stack(found), each, np.arange(length // 2 + 1) / (length * frames.interval * LIGHT)


def _spectrum(
    name: str, unit: str, power: np.ndarray, each: int, numbers: np.ndarray, parts: dict[str, np.ndarray],
    frames: Frames, coarse: float | None,
) -> Spectrum:  # fmt: skip
    step = float(numbers[1])
    if frames.replicas >= FEWEST_BLOCKS:  # what one run keeps for long, such as a mode's energy, is seen between runs
        power, overlap = power.reshape(frames.replicas, each, -1).mean(axis=1), 1.0
    else:
        overlap = _OVERLAP if each > 1 else 1.0
    values, error = spread_average(power, inefficiency=overlap)
    area, area_error = spread_average(power.sum(axis=1) * step, inefficiency=overlap)
    edge = float(values[numbers > _EDGE * numbers[-1]].sum() / max(values.sum(), 1e-300))
    length = 2 * (len(numbers) - 1)
    return Spectrum(
        name, unit, numbers, values, error, parts, float(area), float(area_error),
        _HANN_WIDTH * step, 0.5 / (frames.interval * LIGHT), each * frames.replicas, edge, coarse,
        _caution(coarse, edge, frames.interval, length),
    )  # fmt: skip


def _caution(coarse: float | None, edge: float, interval: float, length: int) -> str:
    highest = 0.5 / (interval * LIGHT)
    if (coarse or 0.0) > COARSE or edge > 0.05:
        return (
            f"frames every {interval:g} fs show nothing above {highest:.0f} cm⁻¹, and fast motions lie near or beyond "
            "that and appear at wrong places; record more often"
        )
    return "" if length >= 32 else "a segment has fewer than 32 frames, so peaks are blunt; record more often"


def _correlate(values: np.ndarray, lags: int) -> np.ndarray:
    """Autocorrelation (runs, lags) of (frames, runs, components), summed over components; unbiased at every lag."""
    size = fft.next_fast_len(len(values) + lags, real=True)
    raw = fft.irfft(np.square(np.abs(fft.rfft(values, size, axis=0))).sum(axis=2), size, axis=0)[:lags]
    return np.asarray((raw / (len(values) - np.arange(lags))[:, None]).T)
