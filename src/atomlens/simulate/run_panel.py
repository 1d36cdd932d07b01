"""The course of a run: energies and temperature against time, and its frames to be played."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from atomlens.errors import InputError
from atomlens.figures import dynamics as drawing
from atomlens.panel import Chart, Check, Panel, Series, Topic, Trajectory
from atomlens.simulate.analysis.blocks import slope
from atomlens.simulate.frames import Frames
from atomlens.simulate.recording import TABLE, read_table
from atomlens.wording import counted

TOPIC = Topic(
    "course",
    "The course of the run",
    "Temperature T = 2K/(f k_B) and energies as they were written down. What the equations of motion conserve stays "
    "where it is, up to what the time step costs.",
    "molecular dynamics, by ASE or i-PI",
)
_POINTS = 1000  # of a line on the page
_FRAMES = 200  # that the page plays
_BEADS = 8  # that it shows as translucent copies
_DRIFT = 1e-3  # eV/atom/ps; a hundredth of a kT per atom in ten picoseconds at room temperature
_SHOWN = {
    "temperature_K": ("Temperature", "temperature (K)"),
    "potential_eV": ("Potential energy, from its first value", "potential energy (eV)"),
    "conserved_eV": ("Conserved energy, from its first value", "conserved energy (meV/atom)"),
    "pressure_GPa": ("Pressure", "pressure (GPa)"),
    "volume_A3": ("Volume", "volume (Å³)"),
}


@dataclass(frozen=True)
class Course:
    """The table of a run."""

    times: np.ndarray  # (rows,) ps
    values: dict[str, np.ndarray]  # by column of the table, (rows, replicas)

    @property
    def replicas(self) -> int:
        """Independent copies."""
        return next(iter(self.values.values())).shape[1]


def read_course(folder: str | Path) -> Course:
    """The table ``observables.csv`` of a run of molecular dynamics or of paths, also of one that has not ended.

    Raises:
        InputError: there is none, or it is broken.
    """
    path = Path(folder) / TABLE
    try:
        names, table = read_table(folder)
        replicas = 1 + int(table[:, names.index("replica")].max())
        whole = len(table) // replicas * replicas
        columns = {name: table[:whole, place].reshape(-1, replicas) for place, name in enumerate(names)}
        return Course(1e-3 * columns["time_fs"][:, 0], {name: columns[name] for name in names[3:]})
    except FileNotFoundError:
        raise InputError("holds no run; give the folder of one", file=str(folder)) from None
    except (ValueError, IndexError, KeyError) as error:
        raise InputError(f"is not the table of a run ({error}); restore it", file=str(path)) from None


def run_panel(course: Course, frames: Frames, *, equilibration: float = 0.0, place: int = 0) -> Panel:
    """Energies and temperature against time.

    Args:
        course: from `read_course`.
        frames: those to be played.
        equilibration: in ps, marked in the figure and left out of the drift.
        place: of the structure among those shown.
    """
    atoms = len(frames.numbers)
    shown = {name: _scaled(name, course.values[name], atoms) for name in _SHOWN if name in course.values}
    drift, error = _drift(course, equilibration, atoms)
    return Panel(
        TOPIC.name,
        place,
        reading=_reading(course, frames, drift),
        trust=f"{counted(len(course.times), 'row')} of {TABLE}, in which every number stands with its time.",
        # Of paths the panel of their energies says it; a run of few rows has no error to judge by.
        checks=() if drift is None or frames.beads > 1 or not np.isfinite(error) else (_drift_check(drift, error),),
        facts={
            "length_ps": float(course.times[-1]),
            "replicas": course.replicas,
            "beads": frames.beads,
            "drift_eV_per_atom_ps": drift,
        },
        figures={"course": _figure(course, shown)},
        views=(*(_chart(course, name, values) for name, values in shown.items()), _trajectory(frames)),
    )


def _scaled(name: str, values: np.ndarray, atoms: int) -> np.ndarray:
    # Total energies of molecules are so large that a drawing would lose what changes.
    if name == "potential_eV":
        return np.asarray(values - values[0])
    return np.asarray(1e3 * (values - values[0]) / atoms) if name == "conserved_eV" else values


def _drift(course: Course, equilibration: float, atoms: int) -> tuple[float | None, float]:
    """Slope of the conserved energy in eV/atom/ps with its error, the worst of the replicas."""
    kept = course.times >= equilibration
    if "conserved_eV" not in course.values or kept.sum() < 3:
        return None, 0.0
    energies = course.values["conserved_eV"][kept].T / atoms
    return max((slope(course.times[kept], each) for each in energies), key=lambda found: abs(found[0]))


def _reading(course: Course, frames: Frames, drift: float | None) -> str:
    nuclei = f"paths of {frames.beads} beads" if frames.beads > 1 else "classical nuclei"
    copies = "" if course.replicas == 1 else f" in {counted(course.replicas, 'copy', 'copies')}"
    text = f"{course.times[-1]:.4g} ps of {nuclei}{copies}. "
    if drift is not None:
        text += f"What the equations of motion conserve drifts by {1e3 * drift:.2g} meV per atom and picosecond. "
    if frames.marked is not None and frames.marked.any():
        text += f"The guard marked {100.0 * frames.marked.mean():.2g} % of the frames. "
    return text.strip()


def _drift_check(drift: float, error: float) -> Check:
    size = max(0.0, abs(drift) - 2.0 * error)
    return Check(
        "energy is kept",
        "the drift of the conserved energy, by least squares over the run, beyond two standard errors",
        size,
        f"below {_DRIFT:g} eV/atom/ps",
        "eV/atom/ps",
        size < _DRIFT,
    )


def _names(values: np.ndarray) -> list[str]:
    return [f"replica {copy}" for copy in range(values.shape[1])] if values.shape[1] > 1 else ["run"]


def _chart(course: Course, name: str, values: np.ndarray) -> Chart:
    title, label = _SHOWN[name]
    every = slice(None, None, -(-len(course.times) // _POINTS))
    lines = [
        Series(copy, course.times[every], values[every, place])
        for place, copy in list(enumerate(_names(values)))[:_BEADS]
    ]
    return Chart(title, "time (ps)", label, tuple(lines))


def _figure(course: Course, shown: dict[str, np.ndarray]) -> Figure:
    plots = []
    for name, values in shown.items():
        lines = [
            drawing.Line(copy, course.times, values[:, place]) for place, copy in list(enumerate(_names(values)))[:4]
        ]
        plots.append(drawing.Plot("time (ps)", _SHOWN[name][1], lines))
    return drawing.traces(plots)


def _trajectory(frames: Frames) -> Trajectory:
    every = slice(None, None, -(-len(frames.times) // _FRAMES))
    middle = frames.centroids().positions[every, 0]
    beads = frames.positions[every, : frames.beads][:, :_BEADS] if frames.beads > 1 else None
    return Trajectory("run", "ps", 1e-3 * frames.times[every], middle, beads)
