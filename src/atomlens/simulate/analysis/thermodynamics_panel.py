"""The panel of a run's energies and temperatures, and of whether they are canonical."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import units
from scipy import stats

from atomlens.errors import InputError
from atomlens.figures import dynamics as drawing
from atomlens.panel import Chart, Check, Panel, Series, Table, Topic
from atomlens.simulate.analysis.blocks import FEWEST_BLOCKS, Average, block_average, block_curve, per_run
from atomlens.simulate.analysis.mechanics import kinetic_energies
from atomlens.simulate.analysis.settings import RunSettings
from atomlens.simulate.analysis.thermodynamics import (
    SIGNIFICANCE,
    KineticEnergyTest,
    Thermodynamics,
    kinetic_energy_test,
    thermodynamic_means,
)
from atomlens.simulate.analysis.wording import BY_BLOCKS, halves_check, matching, trust, with_error
from atomlens.simulate.frames import Frames

TOPIC = Topic(
    "thermodynamics",
    "Energy and temperature",
    "Temperature: T = 2 <K> / (f k) with f degrees of freedom. Heat capacity at constant volume: f k/2 + var(V)/(kT²). "
    "At constant temperature K follows a gamma distribution of shape f/2 and scale kT.",
    "canonical ensemble; test of Kolmogorov and Smirnov on frames thinned to independent ones",
)
_APART = 4.0  # standard errors
_BINS = 40
_MOST_POINTS = 500  # of a trace on the page


def thermodynamics_panel(frames: Frames, settings: RunSettings, beside: Frames | None = None) -> Panel:
    """Energies of a run and, if there is one, of a run beside it.

    Raises:
        InputError: the run holds neither energies nor velocities, or the runs are of different structures.
    """
    frames, beside = matching(frames, beside, settings)
    if frames.potential is None and frames.velocities is None:
        raise InputError("the run holds neither energies nor velocities; record at least one of them")
    runs = [frames] if beside is None else [frames, beside]
    names = [settings.name, settings.beside][: len(runs)]
    found = [thermodynamic_means(each, temperature=settings.temperature, free=_free(settings, each)) for each in runs]
    test, no_test = _test(frames, settings)
    plots = _trace_plots(runs, names, found, settings)
    cautions = [each.caution for part in found for each in (part.potential, part.temperature) if each is not None]
    facts = {
        "energy_unit": "eV",
        "runs": dict(zip(names, (each.to_dict() for each in found), strict=True)),
        "kinetic_energy_test": None if test is None else test.to_dict(),
    }
    return Panel(
        TOPIC.name,
        reading=_reading(frames, found[0], test, settings),
        trust=trust(
            frames, beside, settings, cautions, BY_BLOCKS + (f" No test of the ensemble: {no_test}." * bool(no_test))
        ),
        checks=_checks(frames, found[0], test, settings),
        facts=facts,
        figures=_figures(frames, settings.name, plots, test),
        tables=(_table(found, names, frames),),
        views=_charts(names, plots, frames, test),
    )


def _free(settings: RunSettings, frames: Frames) -> int | None:
    """The setting counts for classical runs; beads of a path are free to move against each other."""
    return settings.degrees_of_freedom if frames.beads == 1 else None


def _test(frames: Frames, settings: RunSettings) -> tuple[KineticEnergyTest | None, str]:
    if settings.temperature is None:
        return None, "it needs the temperature that the thermostat was set to"
    try:
        return kinetic_energy_test(frames, settings.temperature, _free(settings, frames)), ""
    except InputError as error:
        return None, error.problem


def _reading(
    frames: Frames, found: Thermodynamics, test: KineticEnergyTest | None, settings: RunSettings
) -> str:  # fmt: skip
    text = ""
    if found.temperature is not None:
        text += f"The temperature of {settings.name} is {_shown(found.temperature, 1.0, 'K')}"
        text += f"; {settings.temperature:g} K were asked for. " if settings.temperature is not None else ". "
        memory = float(found.temperature.correlation_time)
        if frames.interval and np.isfinite(memory):
            shown = f"some {memory:.0f} fs" if memory > frames.interval else "one frame"
            text += f"It forgets its value within {shown} (correlation time). "
    if test is not None:
        text += test.verdict + " "
    if found.heat_capacity is not None:
        text += f"The heat capacity is {_capacity(found, frames)} k per coordinate of an atom; harmonic atoms have 1. "
    if found.drift is not None and found.no_heat_capacity.startswith("the total energy"):
        text += f"The total energy drifts by {found.drift:.2g} eV per atom and picosecond. "
    if found.volume is not None:
        text += f"The density is {found.density:.4g} g/cm³. "
    return text.strip() or f"The potential energy is {_shown(found.potential, 1.0, 'eV')}."


def _capacity(found: Thermodynamics, frames: Frames) -> str:
    """Heat capacity over k per coordinate, with its error."""
    scale = 1.0 / (units.kB * 3 * len(frames.numbers))
    error = None if found.heat_capacity_error is None else found.heat_capacity_error * scale
    return with_error((found.heat_capacity or 0.0) * scale, error)


def _shown(average: Average | None, scale: float, unit: str) -> str:
    return "–" if average is None else with_error(float(average.mean) * scale, float(average.error) * scale, unit)


def _checks(
    frames: Frames, found: Thermodynamics, test: KineticEnergyTest | None, settings: RunSettings
) -> tuple[Check, ...]:  # fmt: skip
    checks: list[Check] = []
    if found.temperature is not None and settings.temperature is not None and np.isfinite(found.temperature.error):
        away = abs(float(found.temperature.mean) - settings.temperature) / max(float(found.temperature.error), 1e-12)
        what = f"Mean temperature against the {settings.temperature:g} K asked for, in standard errors"
        checks.append(Check("temperature", what, away, f"below {_APART:g}", "", away < _APART, claim=True))
    if len(found.temperature_by_element) > 1:
        checks += _equipartition(found)
    if test is not None:
        what = f"Chance that kinetic energies of {test.samples:,} independent frames are drawn from a canonical run"
        limit = f"at least {SIGNIFICANCE:g}"
        checks.append(Check("canonical", what, test.p_value, limit, "", test.canonical, claim=True))
    if frames.potential is not None:
        series = per_run(np.asarray(frames.potential, dtype=float), frames.beads)
        checks += halves_check(series, "potential energy", settings.name)
    return tuple(checks)


def _equipartition(found: Thermodynamics) -> list[Check]:
    """Whether all elements are equally warm."""
    warm = [each for each in found.temperature_by_element.values() if np.isfinite(each.error)]
    if len(warm) < 2:
        return []
    low = min(warm, key=lambda each: float(each.mean))
    high = max(warm, key=lambda each: float(each.mean))
    away = float(high.mean - low.mean) / max(float(np.hypot(high.error, low.error)), 1e-12)
    what = "Temperatures of the warmest and the coldest element, difference in standard errors"
    return [Check("equipartition", what, away, f"below {_APART:g}", "", away < _APART, claim=True)]


def _table(found: Sequence[Thermodynamics], names: Sequence[str], frames: Frames) -> Table:
    rows: list[tuple[str, ...]] = [
        ("potential energy (eV)", *(_shown(each.potential, 1.0, "") for each in found)),
        ("temperature (K)", *(_shown(each.temperature, 1.0, "") for each in found)),
    ]
    elements = list(found[0].temperature_by_element)
    if len(elements) > 1:
        rows += [
            (f"temperature of {name} (K)", *(_shown(each.temperature_by_element.get(name), 1.0, "") for each in found))
            for name in elements
        ]
    rows.append(
        (
            "degrees of freedom",
            *(f"{each.degrees_of_freedom:.6g}" if each.degrees_of_freedom else "–" for each in found),
        )
    )
    capacities = ["–" if each.heat_capacity is None else _capacity(each, frames) for each in found]
    rows.append(("heat capacity (k per coordinate)", *capacities))
    rows.append(
        (
            "drift of the total energy (eV/atom/ps)",
            *("–" if each.drift is None else f"{each.drift:.2g}" for each in found),
        )
    )
    if found[0].volume is not None:
        rows.append(("volume (Å³)", *(_shown(each.volume, 1.0, "") for each in found)))
        rows.append(("density (g/cm³)", *(f"{each.density:.4g}" for each in found if each.density is not None)))
    return Table("Means by run, with one standard error", ("quantity", *names), tuple(rows))


def _figures(
    frames: Frames, name: str, plots: Sequence[drawing.Plot], test: KineticEnergyTest | None
) -> dict[str, Any]:  # fmt: skip
    figures: dict[str, Any] = {"energy_traces": drawing.traces(plots)}
    if test is not None:
        x, density, error, expected = _kinetic_histogram(frames, test)
        lines = [drawing.Line(name, x, density, error), drawing.Line("canonical", x, expected)]
        figures["kinetic_energy"] = drawing.curves([drawing.Plot("kinetic energy (eV)", "density (1/eV)", lines)])
    curves = _block_lines(frames)
    if curves is not None:
        figures["block_averages"] = drawing.block_curves(*curves)
    return figures


def _trace_plots(
    runs: Sequence[Frames], names: Sequence[str], found: Sequence[Thermodynamics], settings: RunSettings
) -> list[drawing.Plot]:  # fmt: skip
    plots, potential, warmth = [], [], []
    for name, frames, means in zip(names, runs, found, strict=True):
        times = (frames.times - frames.times[0]) * 1e-3
        if frames.potential is not None and runs[0].potential is not None:
            values = np.asarray(frames.potential, dtype=float).mean(axis=1)
            potential.append(drawing.Line(name, times, values - float(np.asarray(runs[0].potential).mean())))
        if frames.velocities is not None and means.degrees_of_freedom:
            kinetic = kinetic_energies(frames).sum(axis=-1).mean(axis=1)
            warmth.append(drawing.Line(name, times, kinetic * 2 / (means.degrees_of_freedom * units.kB * frames.beads)))
    if potential:
        plots.append(drawing.Plot("time (ps)", "potential energy,\nless its mean (eV)", potential))
    if warmth:
        marks = (("asked for", settings.temperature),) if settings.temperature is not None else ()
        plots.append(drawing.Plot("time (ps)", "temperature (K)", warmth, marks=marks))
    return plots


def _kinetic_histogram(frames: Frames, test: KineticEnergyTest) -> tuple[np.ndarray, ...]:
    """Middles of bins, density, its error as of independent samples, and the canonical density."""
    values = kinetic_energies(frames).sum(axis=-1).ravel()
    canonical = stats.gamma(0.5 * test.degrees_of_freedom, scale=units.kB * test.temperature)
    low, high = (float(each) for each in canonical.ppf([1e-4, 1 - 1e-4]))
    counts, edges = np.histogram(values, _BINS, (min(low, float(values.min())), max(high, float(values.max()))))
    middles, width = 0.5 * (edges[1:] + edges[:-1]), edges[1] - edges[0]
    density = counts / (len(values) * width)
    worth = len(values) / test.stride
    error = np.sqrt(np.maximum(density, 0.0) / (worth * width))
    return middles, density, error, np.asarray(canonical.pdf(middles))


def _block_lines(frames: Frames) -> tuple[list[np.ndarray], list[drawing.Line], list[float], str] | None:
    """The error of the mean energies against the length of blocks."""
    series = {}
    if frames.potential is not None:
        series["potential energy"] = per_run(np.asarray(frames.potential, dtype=float), frames.beads)
    if frames.velocities is not None:
        series["kinetic energy"] = per_run(kinetic_energies(frames).sum(axis=-1), frames.beads)
    if len(frames.times) * frames.replicas < 4 * FEWEST_BLOCKS:
        return None
    lengths, lines, chosen = [], [], []
    for name, values in series.items():
        curve = block_curve(values)
        lengths.append(curve.lengths)
        lines.append(drawing.Line(name, curve.lengths * frames.interval, curve.errors, curve.uncertainties))
        chosen.append(float(block_average(values).block))
    return lengths, lines, chosen, "fs"


def _charts(
    names: Sequence[str], plots: Sequence[drawing.Plot], frames: Frames, test: KineticEnergyTest | None
) -> tuple[Chart, ...]:  # fmt: skip
    charts = []
    for plot in plots:
        series = [_thinned(line) for line in plot.lines]
        label = plot.y_label.replace("\n", " ")
        charts.append(Chart(label.split(" (")[0].capitalize(), plot.x_label, label, tuple(series)))
    if test is not None:
        x, density, error, expected = _kinetic_histogram(frames, test)
        labels = tuple(f"± {each:.2g}" for each in error)
        both = Series(names[0], x, density, labels=labels), Series("canonical", x, expected, "dashed")
        charts.append(Chart("Kinetic energy", "kinetic energy (eV)", "density (1/eV)", both))
    return tuple(charts)


def _thinned(line: drawing.Line) -> Series:
    """Means of consecutive frames, few enough for a page."""
    block = -(-len(line.x) // _MOST_POINTS)
    kept = len(line.x) - len(line.x) % block
    return Series(line.name, *(values[:kept].reshape(-1, block).mean(axis=1) for values in (line.x, line.y)))
