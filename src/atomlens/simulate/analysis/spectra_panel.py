"""The panel of a run's spectra: vibrational density of states, infrared absorption, velocity autocorrelation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import units
from scipy.ndimage import median_filter
from scipy.signal import find_peaks

from atomlens.errors import InputError
from atomlens.figures import dynamics as drawing
from atomlens.panel import Chart, Check, Panel, Series, Table, Topic
from atomlens.simulate.analysis.mechanics import centroid_motion, degrees_of_freedom, kinetic_energies, rigid_motions
from atomlens.simulate.analysis.settings import RunSettings
from atomlens.simulate.analysis.spectra import (
    COARSE,
    Autocorrelation,
    Spectrum,
    infrared,
    velocity_autocorrelation,
    vibrational_density,
)
from atomlens.simulate.analysis.wording import error_series, matching, trust, with_error
from atomlens.simulate.frames import Frames

TOPIC = Topic(
    "spectra",
    "Spectra",
    "Vibrational density of states: the spectrum of velocities, Σ m ∫ <v(0)·v(t)> exp(-iωt) dt / kT, whose area counts "
    "the moving degrees of freedom. Infrared absorption: the spectrum of the dipole's rate of change over kT, in "
    "km/mol, which is exact for harmonic vibrations (harmonic quantum correction).",
    "Wiener-Khinchin theorem with Welch's segments; R. Ramírez et al., J. Chem. Phys. 121, 3973 (2004)",
)
_NAMED = 8  # peaks in the table, the highest
_STICKING_OUT = 8.0  # standard errors by which a peak rises over the valleys beside it; noise does so by six or seven
_FAINT = 1e-3  # of the highest value, below which nothing is a peak
_TOLD = 2e-2  # of the highest value; fainter peaks are in the table, not in the sentence
_END = 1e-2  # of the highest value; where drawings end
_LONGEST_LAG = 1000.0  # fs


def spectra_panel(frames: Frames, settings: RunSettings, beside: Frames | None = None) -> Panel:
    """Spectra of a run and, if there is one that has velocities too, of a run beside it.

    Raises:
        InputError: no velocities, a run that is too short, or runs of different structures.
    """
    frames, beside = matching(frames, beside, settings)
    own = _density(frames, settings)
    found, note = [(settings.name, own)], ""
    if beside is not None:
        try:
            found.append((settings.beside, _density(beside, settings)))
        except InputError as error:
            note = f" {settings.beside} is not shown: {error.problem}."
    light = None if frames.dipoles is None else infrared(
        frames, temperature=_temperature(frames, settings), resolution=settings.resolution
    )  # fmt: skip
    correlation = _correlation(frames)
    how = _how(frames, beside, own) + note
    return Panel(
        TOPIC.name,
        reading=_reading(own, light, settings),
        trust=trust(frames, beside, settings, [each.caution for _, each in found], how),
        checks=_checks(frames, own),
        facts=_facts(found, light, correlation),
        figures=_figures(found, light, correlation, settings),
        tables=_tables(own, light),
        views=_charts(found, light, settings),
    )


def _temperature(frames: Frames, settings: RunSettings) -> float:
    """What the thermostat was set to or, without one, the run's own."""
    if settings.temperature is not None:
        return settings.temperature
    free = (settings.degrees_of_freedom if frames.beads == 1 else None) or degrees_of_freedom(frames)
    return float(2.0 * kinetic_energies(frames).sum(axis=-1).mean() / (free * units.kB * frames.beads))


def _density(frames: Frames, settings: RunSettings) -> Spectrum:
    if frames.velocities is None:
        raise InputError("the run holds no velocities, so it has no spectrum; record them")
    temperature = _temperature(frames, settings)
    return vibrational_density(
        frames, temperature=temperature, resolution=settings.resolution, internal=not frames.pbc.any()
    )


def _correlation(frames: Frames) -> Autocorrelation | None:
    """Over a picosecond, or an eighth of a shorter run."""
    span = float(frames.times[-1] - frames.times[0]) * frames.replicas
    try:
        return velocity_autocorrelation(frames, min(_LONGEST_LAG, span / 10.0), internal=not frames.pbc.any())
    except InputError:  # only the spectrum is left then
        return None


def _how(frames: Frames, beside: Frames | None, own: Spectrum) -> str:
    text = (
        f"Lines are {own.resolution:.3g} cm⁻¹ wide by the length of the {own.segments:,} segments (Hann window, half "
        f"overlapping), whose spread gives the error bars; frames every {frames.interval:.4g} fs show up to "
        f"{own.highest:,.0f} cm⁻¹. "
    )
    text += (
        "Motion of the whole cell is left out. "
        if frames.pbc.any()
        else "Translation and rotation of the whole molecule are left out at every moment. "
    )
    text += (
        "Nuclei move classically, so peaks lie where classical anharmonic vibrations do; a thermostat broadens them."
    )
    if frames.beads > 1 or (beside is not None and beside.beads > 1):
        text += (
            " Of path integrals the centroids' motion is shown, which resembles quantum dynamics only where the "
            "thermostat leaves centroids alone."
        )
    return text


def peaks(spectrum: Spectrum) -> np.ndarray:
    """Rows of peaks that stand out of the noise, the highest first."""
    values = spectrum.values[1:-1]  # the ends hold half of what a bin holds between them
    found, about = find_peaks(values, prominence=_FAINT * float(values.max()))
    error = spectrum.error[1:-1]
    noise = np.maximum(error, median_filter(error, 9))[found]  # one bar of few runs may be short by chance
    found = found[about["prominences"] > _STICKING_OUT * noise] + 1
    return np.asarray(found[np.argsort(-spectrum.values[found], kind="stable")])


def _reading(own: Spectrum, light: Spectrum | None, settings: RunSettings) -> str:
    strongest = peaks(own)[:5]
    places = own.wavenumbers[strongest[own.values[strongest] > _TOLD * own.values.max()]]
    text = "No vibration stands out of the noise. "
    if len(places):
        listed = ", ".join(f"{place:.0f}" for place in np.sort(places))
        text = f"The atoms of {settings.name} vibrate mostly at {listed} cm⁻¹. "
    whole = float(own.values.sum()) or 1.0
    last = float(own.wavenumbers[int(np.searchsorted(np.cumsum(own.values) / whole, 0.95))])
    text += f"Nearly all motion (95 %) lies below {last:,.0f} cm⁻¹. "
    if len(own.parts) > 1:
        middles = {name: float((own.wavenumbers * part).sum() / part.sum()) for name, part in own.parts.items()}
        fastest = max(middles, key=lambda name: middles[name])
        text += f"{fastest} atoms move fastest, at {middles[fastest]:,.0f} cm⁻¹ on average. "
    if light is not None:
        bright = light.wavenumbers[peaks(light)[:3]]
        if len(bright):
            listed = ", ".join(f"{place:.0f}" for place in np.sort(bright))
            text += f"Infrared light is absorbed most at {listed} cm⁻¹. "
    return text.strip()


def _checks(frames: Frames, own: Spectrum) -> tuple[Check, ...]:
    """The sum rule, and whether frames are close enough."""
    centroids = centroid_motion(frames)
    expected = _internal_freedom(centroids)
    away = abs(own.area - expected) / max(own.area_error, 1e-300)
    checks = [
        Check(
            "sum rule",
            f"The area, {own.area:.2f}, is the number of degrees of freedom, {expected:g}, that move; "
            "difference in standard errors",
            away, "below 4", "", away < 4.0, claim=True,
        ),
    ]  # fmt: skip
    if own.interval_error is not None:
        what = "Displacements between frames against the mean of their velocities, for the fastest element"
        fine = own.interval_error < COARSE
        checks.append(Check("frames close enough", what, own.interval_error, f"below {COARSE:g}", "", fine, claim=True))
    return tuple(checks)


def _internal_freedom(frames: Frames) -> float:
    """Degrees of freedom that are left without the motion of the whole, by equipartition."""
    atoms = len(frames.numbers)
    if frames.pbc.any():
        return 3.0 * atoms - 3.0
    positions = np.asarray(frames.positions[0, 0], dtype=float)
    return 3.0 * atoms - len(rigid_motions(positions, frames.masses, open_=True))


def _facts(
    found: Sequence[tuple[str, Spectrum]], light: Spectrum | None, correlation: Autocorrelation | None
) -> dict[str, Any]:  # fmt: skip
    facts: dict[str, Any] = {
        "vibrational_density": {name: each.to_dict() for name, each in found},
        "peaks_cm": found[0][1].wavenumbers[peaks(found[0][1])].tolist(),
    }
    if light is not None:
        facts["infrared"] = light.to_dict()
    if correlation is not None:
        facts["velocity_autocorrelation"] = correlation.to_dict()
    return facts


def _end(spectra: Sequence[Spectrum], settings: RunSettings) -> float:
    """Where drawings end."""
    if settings.highest is not None:
        return settings.highest
    ends = [
        each.wavenumbers[np.flatnonzero(each.values > _END * each.values.max())[-1]] for each in spectra
    ]  # fmt: skip
    return 1.08 * float(max(ends))


def _figures(
    found: Sequence[tuple[str, Spectrum]], light: Spectrum | None, correlation: Autocorrelation | None,
    settings: RunSettings,
) -> dict[str, Any]:  # fmt: skip
    own = found[0][1]
    limits = 0.0, _end([each for _, each in found], settings)
    label = "density of states (1/cm⁻¹)"
    lines = [drawing.Line(name, each.wavenumbers, each.values, each.error) for name, each in found]
    figures = {
        "vibrational_density": drawing.curves([drawing.Plot("wavenumber (cm⁻¹)", label, lines, x_limits=limits)])
    }
    if len(own.parts) > 1:
        parts = [drawing.Line(name, own.wavenumbers, part) for name, part in own.parts.items()]
        figures["density_by_element"] = drawing.curves(
            [drawing.Plot("wavenumber (cm⁻¹)", label, parts, x_limits=limits)]
        )
    if light is not None:
        line = drawing.Line(settings.name, light.wavenumbers, light.values, light.error)
        plot = drawing.Plot("wavenumber (cm⁻¹)", "absorption (km/mol/cm⁻¹)", [line], x_limits=limits)
        figures["infrared"] = drawing.curves([plot])
    if correlation is not None:
        line = drawing.Line(settings.name, correlation.times, correlation.values, correlation.error)
        plot = drawing.Plot("time (fs)", "velocity autocorrelation", [line], marks=(("", 0.0),))
        figures["velocity_autocorrelation"] = drawing.curves([plot])
    return figures


def _tables(own: Spectrum, light: Spectrum | None) -> tuple[Table, ...]:
    rows = peaks(own)[:_NAMED]
    tables = [
        Table(
            "Highest peaks of the vibrational density of states",
            ("wavenumber (cm⁻¹)", "height (1/cm⁻¹)"),
            tuple((round(float(own.wavenumbers[row]), 1), with_error(own.values[row], own.error[row])) for row in rows),
        )
    ]
    if light is not None:
        rows = peaks(light)[:_NAMED]
        lines = tuple(
            (
                round(float(light.wavenumbers[row]), 1),
                with_error(light.values[row], light.error[row]),
                round(light.area_between(*_band(light, int(row))), 1),
            )
            for row in rows
        )
        columns = ("wavenumber (cm⁻¹)", "height (km/mol/cm⁻¹)", "area within 40 cm⁻¹ on both sides (km/mol)")
        tables.append(Table("Highest peaks of the infrared spectrum", columns, lines))
    return tuple(tables)


def _band(spectrum: Spectrum, row: int) -> tuple[float, float]:
    return float(spectrum.wavenumbers[row]) - 40.0, float(spectrum.wavenumbers[row]) + 40.0


def _charts(
    found: Sequence[tuple[str, Spectrum]], light: Spectrum | None, settings: RunSettings
) -> tuple[Chart, ...]:  # fmt: skip
    end = _end([each for _, each in found], settings)
    series = [_series(name, each, end) for name, each in found]
    own = found[0][1]
    kept = own.wavenumbers <= end
    if len(own.parts) > 1:
        series += [Series(name, own.wavenumbers[kept], part[kept], "dashed") for name, part in own.parts.items()]
    charts = [Chart("Vibrational density of states", "wavenumber (cm⁻¹)", "density (1/cm⁻¹)", tuple(series))]
    if light is not None:
        shown = _series(settings.name, light, end)
        charts.append(Chart("Infrared absorption", "wavenumber (cm⁻¹)", "km/mol/cm⁻¹", (shown,)))
    return tuple(charts)


def _series(name: str, spectrum: Spectrum, end: float) -> Series:
    kept = spectrum.wavenumbers <= end
    return error_series(name, spectrum.wavenumbers[kept], spectrum.values[kept], spectrum.error[kept])
