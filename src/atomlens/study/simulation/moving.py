"""``atomlens simulate md`` and ``pimd``: a run, what it shows, and its page."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from atomlens.data.system import AtomicSystem
from atomlens.data.system import formula as formula_of
from atomlens.errors import InputError
from atomlens.model import Model
from atomlens.panel import Panel, Topic
from atomlens.progress import format_duration, say, track
from atomlens.report.simulation import Tile
from atomlens.simulate.analysis.registry import RUN_ANALYSES
from atomlens.simulate.analysis.settings import RunSettings
from atomlens.simulate.analysis.spectra import RESOLUTION, finest_resolution
from atomlens.simulate.frames import Frames
from atomlens.simulate.frames_file import read_frames
from atomlens.simulate.guard import Guard, GuardConfig
from atomlens.simulate.guard.watcher import Watcher
from atomlens.simulate.molecular_dynamics import MolecularDynamicsConfig, MolecularDynamicsRun, run_molecular_dynamics
from atomlens.simulate.molecular_dynamics.ensembles import ENSEMBLES
from atomlens.simulate.path_integrals import PathIntegralConfig, PathIntegralRun, path_energies, run_path_integrals
from atomlens.simulate.path_integrals.panel import TOPIC as PATHS
from atomlens.simulate.path_integrals.panel import path_integrals_panel
from atomlens.simulate.recording import CHECKPOINT
from atomlens.simulate.relaxation import RelaxationConfig, relax
from atomlens.simulate.run_panel import TOPIC as COURSE
from atomlens.simulate.run_panel import read_course, run_panel
from atomlens.simulate.settings import SETTINGS
from atomlens.simulate.vibrations import harmonic_vibrations
from atomlens.study.simulation.page import Told, write_page
from atomlens.study.simulation.subject import Simulated
from atomlens.wording import speed

Config = MolecularDynamicsConfig | PathIntegralConfig
Run = MolecularDynamicsRun | PathIntegralRun
SUSPECTS = "suspicious.extxyz"
_BYTES = 2**30  # of positions and velocities that are analysed; of longer runs every so-manieth frame
_SAID = 40  # alarms on the page
_COARSEST = 50.0  # cm⁻¹, beyond which a spectrum tells little
_SMALL = 60  # atoms, whose vibrations are found in a moment


def run_file(
    simulated: Simulated,
    out: str | Path,
    config: Config,
    *,
    place: int | None = None,
    guard: GuardConfig | None = None,
    committee: Sequence[Model] = (),
    resume: bool = False,
    command: str = "",
) -> dict[str, Any]:
    """Move a structure of a file by molecular dynamics or as paths of beads, and show what came of it.

    The folder gets what `run_molecular_dynamics` or `run_path_integrals` write, ``suspicious.extxyz`` with structures
    at which the guard raised alarms, and when the run is over ``panels``, ``summary.json`` and ``report.html``.

    Args:
        simulated: the structures, see `atomlens.study.simulation.subject.read_simulated`.
        out: a new or empty folder, or that of the run to go on with.
        config: of the run; its type says of which kind.
        place: of the structure; may be left out where there is only one.
        guard: limits of the guard that watches; None: nobody does.
        committee: more models of the same forces, whose disagreement the guard watches.
        resume: go on with the run in ``out``.
        command: by which this was asked for, for the page.

    Returns:
        What is in ``summary.json``.

    Raises:
        InputError: something cannot be used, the guard stopped the run, or the disk is full.
        Interrupted: stopped by the user; the run can go on.
    """
    chosen, system = simulated.one(place)
    folder = Path(out)
    if guard is not None and isinstance(config, MolecularDynamicsConfig):  # however seldom frames are recorded
        config = config.model_copy(update={"watch_interval": guard.interval * config.timestep})
    if resume and (folder / SETTINGS).is_file() and not (folder / CHECKPOINT).is_file():
        (folder / SUSPECTS).unlink(missing_ok=True)  # it was killed before its first checkpoint, and begins anew
    watcher = None if guard is None else _watcher(simulated, folder, system, config, guard, committee)
    try:
        run = _run(simulated.model, system, folder, config, watcher, resume=resume)
    except InputError as error:
        # An error of the folder is none of the structure.
        raise (error if error.file is not None else error.at(file=simulated.file, structure=chosen)) from None
    frames = _frames(folder, config, system)
    return write_page(
        folder,
        _told(run, config, watcher, frames),
        simulated,
        [(simulated.names[chosen], system)],
        _panels(folder, frames, config, system, simulated.model),
        command,
    )


def _watcher(
    simulated: Simulated,
    folder: Path,
    system: AtomicSystem,
    config: Config,
    guard: GuardConfig,
    committee: Sequence[Model],
) -> Watcher:
    # Beads of a path exchange energy with each other, and their momenta are not those of nuclei.
    alone = isinstance(config, MolecularDynamicsConfig) and config.ensemble == "nve"
    watching = Guard(
        guard, simulated.model, timestep=config.timestep, committee=committee, suspects=folder / SUSPECTS
    )  # fmt: skip
    return Watcher(
        watching,
        temperature=None if alone else config.temperature,
        degrees_of_freedom=_degrees(config, system),
    )


def _run(
    model: Model, system: AtomicSystem, folder: Path, config: Config, watcher: Watcher | None, *, resume: bool
) -> Run:
    if isinstance(config, MolecularDynamicsConfig):
        return run_molecular_dynamics(
            model, system.to_ase(), folder, config, resume=resume, watch=watcher, title="dynamics"
        )
    return run_path_integrals(model, system.to_ase(), folder, config, resume=resume, watch=watcher, title="paths")


def _frames(folder: Path, config: Config, system: AtomicSystem) -> Frames:
    """The frames after equilibration, thinned to what memory holds."""
    copies = config.replicas * (config.beads if isinstance(config, PathIntegralConfig) else 1)
    every = thinned(config.model_dump(), copies, len(system.numbers))
    if every > 1:
        say(f"the run is long: one frame in {every} is analysed")
    with track("read frames", 1, "runs"):
        return read_frames(folder, every=every)


def thinned(config: Mapping[str, Any], copies: int, atoms: int) -> int:
    """Every how many frames of a run are read, for positions and velocities to fit into memory."""
    frames = 1000.0 * float(config["duration"]) / float(config["record_interval"])
    return max(1, math.ceil(frames * copies * atoms * 48 / _BYTES))


def _panels(
    folder: Path, frames: Frames, config: Config, system: AtomicSystem, model: Model
) -> Iterator[tuple[Topic, Panel]]:
    yield COURSE, run_panel(read_course(folder), frames, equilibration=config.equilibration)
    if isinstance(config, PathIntegralConfig):
        frequencies = _frequencies(model, system)
        yield PATHS, made(lambda: path_integrals_panel(path_energies(folder), frequencies=frequencies), PATHS)
    settings = run_settings(config, system)
    with track("analyse", len(RUN_ANALYSES), "analyses") as bar:
        for row in RUN_ANALYSES:
            yield row.topic, made(partial(row.panel, frames, settings, None), row.topic)
            bar.advance()


def _frequencies(model: Model, system: AtomicSystem) -> list[float] | None:
    """Harmonic frequencies in cm⁻¹, that judge numbers of beads; None where they take long or cannot be had."""
    if len(system.numbers) > _SMALL:
        return None
    try:
        (rest,) = relax(model, [system.to_ase()], RelaxationConfig(force=1e-3, steps=300))
        return harmonic_vibrations(model, rest.atoms).modes.frequencies.tolist()
    except InputError:
        return None


def made(make: Callable[[], Panel], topic: Topic) -> Panel:
    """A panel, or why it cannot be made."""
    try:
        return make()
    except InputError as error:
        return Panel(topic.name, unavailable=error.problem)


def _degrees(config: Config, system: AtomicSystem) -> int | None:
    """Degrees of freedom of one copy; None for beads."""
    if isinstance(config, PathIntegralConfig):
        return None
    return ENSEMBLES[config.ensemble].degrees_of_freedom(system.to_ase())


def run_settings(config: Config, system: AtomicSystem, name: str = "this run") -> RunSettings:
    """How the frames of a run are analysed, equilibration being left out already."""
    alone = config.ensemble == "nve"
    return RunSettings(
        name=name,
        temperature=None if alone else config.temperature,
        degrees_of_freedom=_degrees(config, system),
        resolution=resolution_of(1e3 * config.duration, config.replicas),
    )


def resolution_of(duration: float, replicas: int) -> float:
    """Of spectra in cm⁻¹: the usual one, or what a shorter run of this duration in fs allows."""
    finest = 1.05 * finest_resolution(duration, replicas) if duration > 0 else math.inf  # segments are whole frames
    return math.ceil(finest) if RESOLUTION < finest <= _COARSEST else RESOLUTION


def _told(run: Run, config: Config, watcher: Watcher | None, frames: Frames) -> Told:
    paths = isinstance(config, PathIntegralConfig)
    formula = formula_of(frames.numbers)
    nuclei = f"as paths of {config.beads} beads" if isinstance(config, PathIntegralConfig) else "as classical particles"
    replicas = f", {config.replicas} times over" if config.replicas > 1 else ""
    at = f"from {config.temperature:g} K" if config.ensemble == "nve" else f"at {config.temperature:g} K"
    return Told(
        kind="pimd" if paths else "md",
        title="Path-integral dynamics" if paths else "Molecular dynamics",
        headline=f"{config.duration:g} ps of {formula} {nuclei} {at}{replicas}",
        settings=config,
        tiles=_tiles(run),
        facts=_facts(run, watcher),
        warnings=None if watcher is None else [alarm.sentence for alarm in watcher.alarms[:_SAID]],
        alarms=None if watcher is None else watcher.raised,
    )


def _tiles(run: Run) -> list[Tile]:
    tiles = []
    if isinstance(run, MolecularDynamicsRun):
        if run.temperature is not None:
            tiles.append(Tile("Temperature", run.temperature, "K", note="mean over the run"))
        if run.drift is not None:
            tiles.append(Tile("Drift", 1e3 * run.drift, "meV/atom/ps", note="of the conserved energy"))
    else:
        tiles.append(Tile("Beads", str(run.config.beads), note="of each path"))
        tiles.append(Tile("i-PI", 100.0 * run.timings.overhead, "%", note="of the time went beside the model"))
    return [
        *tiles,
        Tile("Speed", run.ns_per_day, "ns/day", note=f"{speed(run.steps_per_second)} steps/s, of each replica"),
        Tile("Time", format_duration(run.seconds), note=f"for {run.steps:,} steps"),
    ]


def _facts(run: Run, watcher: Watcher | None) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "steps": run.steps,
        "seconds": run.seconds,
        "steps_per_second": run.steps_per_second,
        "ns_per_day": run.ns_per_day,
    }
    if isinstance(run, MolecularDynamicsRun):
        facts |= {
            "temperature_K": run.temperature,
            "drift_eV_per_atom_ps": run.drift,
            "degrees_of_freedom": run.degrees_of_freedom,
        }
    else:
        timings = run.timings
        facts["timings_s"] = {"model": timings.model, "i-pi": timings.engine, "recording": timings.recording}
        facts["overhead"] = timings.overhead
    if watcher is not None:
        facts["alarms"] = {"count": watcher.raised, "by_kind": dict(watcher.guard.counts)}
        facts["alarms"] |= {"first": [alarm.to_dict() for alarm in watcher.alarms[:_SAID]]}
    return facts
