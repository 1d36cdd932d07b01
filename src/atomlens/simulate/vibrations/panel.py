"""The panel of a structure's harmonic vibrations: spectrum, table and motions to look at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from atomlens.data.units import from_internal
from atomlens.errors import InputError
from atomlens.panel import Chart, Check, Motion, Panel, Series, Table, Topic
from atomlens.simulate.vibrations.harmonic import Vibrations
from atomlens.simulate.vibrations.normal_modes import ROUNDING, thermochemistry
from atomlens.simulate.vibrations.spectrum import WIDTH, Comparison, broadened, compared

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TOPIC = Topic(
    "vibrations",
    "Harmonic vibrations",
    "Normal modes: eigenvectors of the mass-weighted second derivatives of the energy, "
    "μ_ij = (m_i m_j)^-1/2 ∂²E/∂r_i ∂r_j, without translations and rotations of the whole; ω² are the eigenvalues.",
    "SchNet thesis, section 5.3 and figure 5.5",
)

MOST = 200  # modes that the page plays and lists
RELAXED = 1e-3  # eV/Å
_ROOM = 298.15  # K


def vibrations_panel(
    found: Vibrations,
    *,
    structure: int | None = None,
    width: float = WIDTH,
    reference: tuple[str, np.ndarray] | None = None,
) -> Panel:
    """Show the vibrations of one structure.

    Args:
        found: from `vibrations`.
        structure: its place among the structures of the report.
        width: of the lines of the spectrum, full width at half maximum in cm⁻¹.
        reference: the name of another model or method, and its frequencies (modes,) in cm⁻¹ to compare with.

    Raises:
        InputError: a single atom, which has no vibrations; or a reference of another number of modes.
    """
    if not len(found.modes.frequencies):
        raise InputError("a single atom has no vibrations; give a structure of two atoms or more")
    beside = None if reference is None else compared(reference[1], found.modes.frequencies)
    name = "" if reference is None else reference[0]
    return Panel(
        TOPIC.name,
        structure,
        reading=_reading(found, beside, name),
        trust=_trust(found),
        checks=_checks(found),
        facts=_facts(found, beside, name),
        figures=_figures(found, width, beside, name),
        tables=(_table(found),),
        views=(_chart(found, width), _motion(found)),
        files={"vibrations.npz": found.write},
    )


def _reading(found: Vibrations, beside: Comparison | None, name: str) -> str:
    modes = found.modes
    count = len(modes.frequencies)
    real = modes.frequencies[modes.frequencies > ROUNDING]
    text = f"{found.system.formula} has {count} vibration{'s' * (count > 1)}"
    if len(real):
        text += f", from {real.min():.1f} to {real.max():.1f} cm⁻¹ (at 1000 cm⁻¹ one oscillation takes 33 fs)"
    text += f". {_stability(modes.imaginary)} "
    text += (
        f"Zero-point energy, which nuclei keep at absolute zero: {modes.zero_point_energy:.4f} eV "
        f"({from_internal(modes.zero_point_energy, 'kcal/mol'):.2f} kcal/mol). "
    )
    if found.infrared is None:
        text += "No infrared intensities: that takes a model with a dipole readout."
    else:
        strongest = int(found.infrared.intensities.argmax())
        text += (
            f"The strongest infrared absorption is at {modes.frequencies[strongest]:.0f} cm⁻¹ "
            f"({found.infrared.intensities[strongest]:.0f} km/mol)."
        )
    if beside is not None:
        text += (
            f" Beside {name}, mode by mode in order of frequency, the largest difference is "
            f"{100 * beside.largest:.2g} % (at {beside.reference[beside.worst]:.0f} cm⁻¹), the mean one "
            f"{beside.mean:.1f} cm⁻¹."
        )
    return text


def _stability(imaginary: int) -> str:
    if not imaginary:
        return "None is imaginary: every small distortion costs energy, so the structure is stable."
    which = "1 is imaginary (written as a negative number): along it"
    if imaginary > 1:
        which = f"{imaginary} are imaginary (written as negative numbers): along them"
    return f"{which} the energy falls, so the structure is no minimum."


def _trust(found: Vibrations) -> str:
    way = found.way_to_minimum
    return (
        f"The largest force left is {found.max_force:.1e} eV/Å; by these curvatures the minimum is {way:.1e} Å away. "
        "Second derivatives are exact derivatives of the model, in double precision; that vibrations are harmonic is "
        f"an assumption, which is off by some per cent where hydrogen moves. {_freed(found)} "
        + ("Infrared intensities are from the dipoles of a second model. " if found.other_dipoles else "")
        + "One model: whether another training has the same frequencies is not known."
    )


def _freed(found: Vibrations) -> str:
    left = f"up to {np.abs(found.modes.free).max():.2g} cm⁻¹"
    if found.system.pbc.sum() < 2:
        return f"Before they were taken out, translations and rotations of the whole had {left}."
    return (
        f"Before they were taken out, translations of the whole had {left}. All cells move alike (the Γ point); other "
        "phonons need a larger cell."
    )


def _checks(found: Vibrations) -> tuple[Check, ...]:
    curved, modes = found.curvature, found.modes
    imaginary = float(modes.frequencies.min())
    checks = [
        Check(
            "at rest",
            "The largest force on an atom: away from a minimum frequencies are those of no equilibrium",
            found.max_force,
            f"below {RELAXED:g} eV/Å",
            "eV/Å",
            found.max_force < RELAXED,
        ),
        Check(
            "finite differences",
            "The Hessian times random directions against central differences of the forces, relative, worst of three",
            found.difference,
            "below 1e-4",
            "",
            found.difference < 1e-4,
        ),
        _rounding("symmetry", "The largest difference of the Hessian from its transpose", curved.asymmetry),
        _rounding("sum rule", "The largest force that moving all atoms alike calls up, per Å", curved.sum_rule),
        Check(
            "free motions",
            "What the mass-weighted Hessian does to translations and rotations of the whole, as a frequency",
            modes.leak,
            "below 20 cm⁻¹",
            "cm⁻¹",
            modes.leak < 20.0,
        ),
        Check(
            "a minimum",
            "The lowest frequency, negative where it is imaginary",
            imaginary,
            f"above −{ROUNDING:g} cm⁻¹",
            "cm⁻¹",
            modes.imaginary == 0,
            claim=True,
        ),
    ]
    if found.infrared is not None:
        moved, what = found.infrared.sum_rule, "The derivatives of the dipole, summed over atoms, against the charge"
        checks.append(Check("charge moves along", what, moved, "below 1e-6 e", "e", moved < 1e-6))
    return tuple(checks)


def _rounding(name: str, what: str, value: float) -> Check:
    return Check(name, what, value, "below 1e-8 eV/Å²", "eV/Å²", value < 1e-8)


def _facts(found: Vibrations, beside: Comparison | None, name: str) -> dict[str, Any]:
    facts: Mapping[str, Any] = found.to_dict()
    if (found.modes.frequencies > ROUNDING).all():
        facts = {**facts, "thermochemistry": thermochemistry(found.modes, _ROOM)}
    if beside is not None:
        facts = {
            **facts,
            "reference": {
                "name": name,
                "frequencies": beside.reference.tolist(),
                "largest_relative_difference": beside.largest,
                "mean_difference": beside.mean,
            },
        }
    return dict(facts)


def _areas(found: Vibrations) -> tuple[np.ndarray, str]:
    """Areas of the lines, and what their heights are called."""
    if found.infrared is None:
        return np.ones_like(found.modes.frequencies), "density of vibrations (per cm⁻¹)"
    return found.infrared.intensities, "infrared absorption (km/mol per cm⁻¹)"


def _figures(found: Vibrations, width: float, beside: Comparison | None, name: str) -> dict[str, Figure]:
    from atomlens.figures import vibrations as drawing

    areas, label = _areas(found)
    grid, curve = broadened(found.modes.frequencies, areas, width=width)
    heights = areas / (0.5 * np.pi * width)
    note = f"Lorentzian lines, {width:g} cm⁻¹ wide"
    figures = {"spectrum": drawing.vibrational_spectrum(found.modes.frequencies, heights, grid, curve, label, note)}
    if beside is not None:
        figures["frequencies"] = drawing.frequencies_compared(beside.reference, beside.own, (name, "this model"))
    return figures


def _labels(found: Vibrations) -> tuple[str, ...]:
    """Number from 1, wavenumber and intensity of each mode."""
    labels = [f"{place + 1}: {_written(value)} cm⁻¹" for place, value in enumerate(found.modes.frequencies)]
    if found.infrared is None:
        return tuple(labels)
    return tuple(f"{label}, {area:.3g} km/mol" for label, area in zip(labels, found.infrared.intensities, strict=True))


def _written(frequency: float) -> str:
    return f"{-frequency:.1f}i" if frequency < -ROUNDING else f"{frequency:.1f}"


def _chart(found: Vibrations, width: float) -> Chart:
    """The broadened spectrum, and each line at the height of its own broadened peak."""
    areas, label = _areas(found)
    grid, curve = broadened(found.modes.frequencies, areas, width=width)
    heights = areas / (0.5 * np.pi * width)
    lines = Series("modes", found.modes.frequencies, heights, "markers", labels=_labels(found))
    return Chart(
        f"Spectrum, lines {width:g} cm⁻¹ wide", "wavenumber (cm⁻¹)", label, (Series("broadened", grid, curve), lines)
    )


def _motion(found: Vibrations) -> Motion:
    steps = found.modes.displacements[:MOST]
    largest = np.linalg.norm(steps, axis=2).max(axis=1)
    return Motion("normal modes", _labels(found)[:MOST], steps / largest[:, None, None])


def _table(found: Vibrations) -> Table:
    modes, title = found.modes, "Normal modes"
    columns = ["mode", "wavenumber (cm⁻¹)", "reduced mass (u)", "force constant (eV/Å²)"]
    values = [np.round(modes.frequencies, 1), np.round(modes.reduced_masses, 3), np.round(modes.force_constants, 3)]
    if found.infrared is not None:
        columns.append("infrared (km/mol)")
        values.append(np.round(found.infrared.intensities, 2))
    if len(modes.frequencies) > MOST:
        title += f", the lowest {MOST} of {len(modes.frequencies)}"
    rows = [(place + 1, *map(float, row)) for place, row in enumerate(zip(*values, strict=True))]
    return Table(title, tuple(columns), tuple(rows[:MOST]))
