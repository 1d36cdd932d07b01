"""Panels of path integrals: energies of quantum nuclei, and their convergence with the number of beads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from atomlens.data.units import KCAL_PER_MOL
from atomlens.figures import path_integrals as drawing
from atomlens.panel import Chart, Check, Panel, Series, Table, Topic
from atomlens.simulate.analysis.blocks import Average
from atomlens.simulate.analysis.wording import halves_check, with_error
from atomlens.simulate.path_integrals.convergence import BeadConvergence
from atomlens.simulate.path_integrals.energies import PathEnergies
from atomlens.simulate.path_integrals.estimators import beads_needed

TOPIC = Topic(
    "path-integrals",
    "Quantum nuclei",
    "A quantum nucleus at temperature T has the statistics of a ring of P classical beads, joined by springs of "
    "frequency P k_B T/ħ, as P grows. Its energy: <V> + <K>, K by the centroid-virial estimator "
    "3N k_B T/2 − Σ_j (q_j − q̄)·f_j/(2P).",
    "SchNet thesis, section 5.3; Ceriotti, More and Manolopoulos, Comput. Phys. Commun. 185, 1019 (2014)",
)
CONVERGENCE = Topic(
    "bead-convergence",
    "Convergence with the number of beads",
    "The error of a path of P beads falls as 1/P²: E(P) = E∞ + c₂/P² + c₄/P⁴.",
    "Trotter product; Ceriotti, More and Manolopoulos, Comput. Phys. Commun. 185, 1019 (2014)",
)
APART = 4.0  # standard errors
DRIFT = 1e-3  # eV/atom/ps
LACKING = 0.05  # share of the fastest vibration's energy


def path_integrals_panel(
    found: PathEnergies, *, structure: int | None = None, frequencies: Sequence[float] | None = None
) -> Panel:
    """Energies of a run.

    Args:
        found: from `path_energies`.
        structure: its place among the structures of the report.
        frequencies: of the structure's harmonic vibrations in cm⁻¹, by which the number of beads is judged.
    """
    fastest = max(frequencies) if frequencies is not None and len(frequencies) else None
    return Panel(
        TOPIC.name,
        structure,
        reading=_reading(found, fastest),
        trust=_trust(found),
        checks=_checks(found, fastest),
        facts=found.to_dict(),
        figures={"path_energies": _figure(found)},
        tables=(_table(found),),
        views=(_chart(found),),
    )


def convergence_panel(found: BeadConvergence, *, structure: int | None = None) -> Panel:
    """Energies against the number of beads."""
    return Panel(
        CONVERGENCE.name,
        structure,
        reading=_convergence_reading(found),
        trust=(
            f"Independent runs at {found.runs[0].config.temperature:g} K, one for each number of beads. Error bars are "
            "one standard error by block averaging; the limit is a weighted fit to the largest "
            f"{len(found.extrapolation.used)} numbers."
        ),
        checks=_convergence_checks(found),
        facts=found.to_dict(),
        figures={"bead_convergence": _convergence_figure(found)},
        tables=(_convergence_table(found),),
        views=(_convergence_chart(found),),
    )


def _shown(average: Average, unit: str, scale: float = 1.0) -> str:
    return with_error(float(average.mean) * scale, float(average.error) * scale, unit)


def _reading(found: PathEnergies, fastest: float | None) -> str:
    config = found.config
    kinetic = found.kinetic
    text = f"Nuclei at {config.temperature:g} K as rings of {config.beads} beads. "
    text += (
        f"Their kinetic energy is {_shown(kinetic, 'eV')}: as much as classical nuclei would have at "
        f"{found.effective_temperature:.0f} K, for quantum nuclei are never at rest. "
    )
    text += (
        f"Beads lie {_shown(found.gyration, 'Å')} from the middle of their ring, which is how far a nucleus is smeared "
        "out. "
    )
    if fastest is not None:
        with_noise = " and this thermostat" if found.matrices is not None else ""
        lacking = 100 * found.lacking(fastest)
        text += f"With {config.beads} beads{with_noise} the fastest vibration ({fastest:.0f} cm⁻¹) "
        text += f"lacks {lacking:.1f} % of its energy" if lacking > 0 else f"has {-lacking:.1f} % too much energy"
        if found.matrices is None and lacking > 100 * LACKING:
            enough = beads_needed(fastest, config.temperature, LACKING)
            text += f"; {enough} beads would bring that below {100 * LACKING:.0f} %"
        text += "."
    return text.strip()


def _trust(found: PathEnergies) -> str:
    rows, replicas = found.observables.potential.shape
    length = found.observables.interval * rows / 1000.0
    text = f"{length:.4g} ps"
    text += f" of each of {replicas} independent paths" if replicas > 1 else " of one path"
    text += f", {rows:,} rows after {found.config.equilibration:g} ps of equilibration, steps of "
    text += f"{found.config.timestep:g} fs, moved by i-PI. Error bars are one standard error by block averaging."
    cautions = dict.fromkeys(each.caution for each in (found.energy, found.gyration) if each.caution)
    return text + "".join(f" Beware: {caution}." for caution in cautions)


def _checks(found: PathEnergies, fastest: float | None) -> tuple[Check, ...]:
    config, checks = found.config, []
    thermal = config.ensemble != "nve"
    if config.beads > 1 and thermal and config.gle is None and found.difference.error > 0:
        away = abs(float(found.difference.mean) / float(found.difference.error))
        what = "Mean kinetic energies by forces (centroid virial) and by springs (primitive), apart in standard errors"
        checks.append(Check("two estimators agree", what, away, f"below {APART:g}", "", away < APART))
    if thermal and config.gle is None and found.temperature.error > 0:
        away = abs(float(found.temperature.mean) - config.temperature) / float(found.temperature.error)
        what = f"Temperature of the beads' momenta against the {config.temperature:g} K asked for, in standard errors"
        checks.append(Check("temperature", what, away, f"below {APART:g}", "", away < APART))
    if np.isfinite(found.drift_error):
        what = "Drift of what exact dynamics would conserve, the thermostat's work accounted for, beyond two errors"
        limit, size = f"below {DRIFT:g} eV/atom/ps", max(0.0, abs(found.drift) - 2.0 * found.drift_error)
        checks.append(Check("time step small enough", what, size, limit, "eV/atom/ps", size < DRIFT))
    checks += halves_check(found.observables.energy, "energy", "the run")
    if fastest is not None:
        lacking = abs(found.lacking(fastest))
        what = (
            f"Share by which the energy of a harmonic vibration of {fastest:.0f} cm⁻¹ is off with {config.beads} beads"
        )
        limit = f"below {LACKING:g}"
        checks.append(Check("enough beads", what, lacking, limit, "", lacking < LACKING, claim=True))
    return tuple(checks)


def _table(found: PathEnergies) -> Table:
    rows = [
        ("potential energy (eV)", _shown(found.potential, "")),
        ("kinetic energy, centroid virial (eV)", _shown(found.kinetic, "")),
        ("kinetic energy, primitive (eV)", _shown(found.kinetic_primitive, "")),
        ("total energy (eV)", _shown(found.energy, "")),
        ("temperature of the beads' momenta (K)", _shown(found.temperature, "")),
        ("radius of gyration (Å)", _shown(found.gyration, "")),
        ("drift of the conserved quantity (meV/atom/ps)", with_error(1000 * found.drift, 1000 * found.drift_error)),
    ]
    if found.volume is not None and found.pressure is not None:
        rows += [("volume (Å³)", _shown(found.volume, "")), ("pressure (GPa)", _shown(found.pressure, ""))]
    return Table("Means with one standard error", ("quantity", "value"), tuple(rows))


def _figure(found: PathEnergies) -> Any:
    seen = found.observables
    return drawing.path_energies(
        seen.times * 1e-3,
        {
            "potential": seen.potential.mean(axis=1) - float(found.potential.mean),
            "kinetic, primitive": seen.kinetic_primitive.mean(axis=1),
            "kinetic, centroid virial": seen.kinetic_virial.mean(axis=1),
        },
        seen.temperature.mean(axis=1),
        found.config.temperature,
    )


def _chart(found: PathEnergies) -> Chart:
    seen = found.observables
    times = seen.times * 1e-3
    kinetic = {"centroid virial": seen.kinetic_virial, "primitive": seen.kinetic_primitive}
    series = tuple(Series(name, times, _running(values.mean(axis=1))) for name, values in kinetic.items())
    return Chart("Kinetic energy, mean up to each time", "time (ps)", "kinetic energy (eV)", series)


def _running(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.cumsum(values) / np.arange(1, len(values) + 1))


def _relative(found: BeadConvergence) -> tuple[np.ndarray, np.ndarray, float]:
    """Energies less the limit, their errors, and the limit's, in kcal/mol per atom."""
    scale = 1.0 / (KCAL_PER_MOL * found.runs[0].atoms)
    limit = found.extrapolation
    return (found.energies - limit.energy) * scale, found.errors * scale, limit.error * scale


def _convergence_reading(found: BeadConvergence) -> str:
    limit, atoms = found.extrapolation, found.runs[0].atoms
    best = found.runs[-1]
    short = (limit.energy - float(best.energy.mean)) / atoms / KCAL_PER_MOL
    spread = float(np.hypot(limit.error, float(best.energy.error))) / atoms / KCAL_PER_MOL
    quantum = (limit.energy - found.energies[0]) / atoms / KCAL_PER_MOL
    text = f"With more beads the energy rises to {with_error(limit.energy, limit.error, 'eV')}. "
    first = "classical nuclei (one bead)" if found.beads[0] == 1 else f"{found.beads[0]} beads"
    text += f"That is {quantum:.3g} kcal/mol per atom above {first}. "
    return text + f"At {best.config.beads} beads {with_error(short, spread, 'kcal/mol')} per atom are still lacking."


def _convergence_checks(found: BeadConvergence) -> tuple[Check, ...]:
    limit, checks = found.extrapolation, []
    if np.isfinite(limit.p_value):
        what = "Chance that noise alone puts energies as far from a curve in powers of 1/P² as they are"
        checks.append(Check("falls as 1/P²", what, limit.p_value, "above 0.001", "", limit.p_value > 1e-3, claim=True))
    gap, rise = (abs(limit.energy - float(found.energies[place])) for place in (-1, 0))
    share = gap / rise if rise else 0.0
    what = f"Share of the whole rise of the energy that {found.beads[-1]} beads lack"
    checks.append(Check("converged", what, share, f"below {LACKING:g}", "", share < LACKING, claim=True))
    return tuple(checks)


def _convergence_table(found: BeadConvergence) -> Table:
    rows = [
        (
            int(beads),
            _shown(run.potential, ""),
            _shown(run.kinetic, ""),
            _shown(run.energy, ""),
            _shown(run.gyration, ""),
        )
        for beads, run in zip(found.beads, found.runs, strict=True)
    ]
    limit = with_error(found.extrapolation.energy, found.extrapolation.error)
    columns = ("beads", "potential (eV)", "kinetic (eV)", "energy (eV)", "radius of gyration (Å)")
    return Table("Energies by number of beads", columns, (*rows, ("limit", "–", "–", limit, "–")))


def _convergence_figure(found: BeadConvergence) -> Any:
    energies, errors, limit_error = _relative(found)
    grid, curve = _fitted(found)
    return drawing.bead_convergence(found.beads, energies, errors, grid, curve, limit_error)


def _fitted(found: BeadConvergence) -> tuple[np.ndarray, np.ndarray]:
    """The fit over the range that it was made for, from its limit in kcal/mol per atom."""
    limit = found.extrapolation
    grid = 1.0 / np.sqrt(np.linspace(1e-9, 1.0 / float(limit.used.min()) ** 2, 100))
    return grid, (limit.at(grid) - limit.energy) / (KCAL_PER_MOL * found.runs[0].atoms)


def _convergence_chart(found: BeadConvergence) -> Chart:
    energies, errors, _ = _relative(found)
    grid, curve = _fitted(found)
    labels = tuple(f"{beads} beads, ± {error:.2g}" for beads, error in zip(found.beads, errors, strict=True))
    runs = Series("runs", 1.0 / np.square(found.beads.astype(float)), energies, "markers", labels=labels)
    fit = Series("fit", 1.0 / np.square(grid), curve)
    return Chart(
        "Energy against the number of beads", "1/P²", "energy, less its limit (kcal/mol per atom)", (fit, runs)
    )
