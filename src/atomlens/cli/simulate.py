"""``atomlens simulate``: relax, vibrations, md, pimd, compare."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from atomlens.cli.explain import indices, load_named
from atomlens.cli.options import (
    Device,
    ExactFilters,
    Json,
    ModelPath,
    PositionUnit,
    apply_settings,
    load,
    model_file,
    print_json,
)
from atomlens.errors import InputError
from atomlens.wording import speed

if TYPE_CHECKING:
    from atomlens.model import Model
    from atomlens.simulate.guard import GuardConfig
    from atomlens.simulate.molecular_dynamics import MolecularDynamicsConfig
    from atomlens.simulate.path_integrals import PathIntegralConfig
    from atomlens.study.simulation.subject import Simulated

app = typer.Typer(
    no_args_is_help=True,
    help="Move atoms by a model: relax them, let them vibrate, run classical or path-integral dynamics. Every command "
    "writes numbers, trajectories and an interactive page that works offline into a folder.",
)

Structures = Annotated[
    Path, typer.Argument(metavar="STRUCTURES", help="Structures in any format that train reads; positions in Å.")
]
Out = Annotated[Path, typer.Option(help="Folder for results and page; new or empty.")]
Precision = Annotated[
    str | None,
    typer.Option(help="float64 or float32; float64 where forces must get very small (as the model was saved)."),
]
Chosen = Annotated[
    int | None, typer.Option("--structure", metavar="I", help="Which structure of the file, counted from 0.")
]


def _read(
    model: Path, structures: Path, device: str, exact_filters: bool, position_unit: str | None, precision: str | None
) -> Simulated:
    from atomlens.study.simulation.subject import read_simulated

    loaded = load_named([model], device, exact_filters=exact_filters)
    ((name, found),) = loaded.items()
    return read_simulated(found, name, structures.expanduser(), position_unit=position_unit, precision=precision)


def _command() -> str:
    return " ".join(["atomlens", *sys.argv[1:]])


_OPTIONS = {  # of settings whose options have other names
    "beside": "other-name", "duration": "time", "record_interval": "record", "copies": "replicas",
}  # fmt: skip


@contextmanager
def _by_option() -> Iterator[None]:
    """Errors about settings name the options that were typed."""
    try:
        yield
    except InputError as error:

        def option(found: re.Match[str]) -> str:
            return "--" + _OPTIONS.get(found[1], found[1]).replace("_", "-")

        problem = re.sub(r"configuration key '(\w+)'", option, error.problem)
        problem = re.sub(r"\b(record_interval)\b", option, problem)
        raise InputError(problem, file=error.file) from None


def _record(interval: float, timestep: float) -> float:
    """The time between frames nearest to the usual one that is a whole number of steps."""
    return max(1, round(interval / timestep)) * timestep if timestep > 0 else interval


def _print(summary: dict[str, Any], out: Path, *, as_json: bool, lines: list[str] | None = None) -> None:
    if as_json:
        print_json(summary)
        return
    failed = summary["checks"]["failed"]
    count = summary["checks"]["count"]
    names = ", ".join(sorted({f"{entry['analysis']}: {entry['name']}" for entry in failed}))
    print(summary["headline"])
    for line in lines or []:
        print(line)
    print(f"{count - len(failed)} of {count} checks passed{f'; FAILED: {names}' if failed else ''}")
    doubtful = sorted({f"{entry['analysis']}: {entry['name']}" for entry in summary["claims"]["failed"]})
    if doubtful:
        print(f"claims not borne out: {', '.join(doubtful)}")
    for panel in summary["panels"]:
        if "unavailable" in panel:
            where = "" if panel["structure"] is None else f" of {panel['structure']}"
            print(f"not made ({panel['analysis']}{where}): {panel['unavailable']}")
    print(f"page: {out / 'report.html'}")


@app.command()
def relax(
    model: ModelPath,
    structures: Structures,
    out: Out,
    force: Annotated[float, typer.Option(help="The largest force left on an atom, in eV/Å.")] = 0.01,
    cell: Annotated[
        str, typer.Option(help="Whether the cell relaxes: fixed, full, or isotropic (in its volume only).")
    ] = "fixed",
    stress: Annotated[float, typer.Option(help="The largest deviation of the stress from -pressure, in GPa.")] = 0.05,
    pressure: Annotated[float, typer.Option(help="External pressure on a cell that relaxes, in GPa.")] = 0.0,
    steps: Annotated[int, typer.Option(help="Most steps per structure.")] = 1000,
    optimiser: Annotated[
        str, typer.Option(help="bfgs, lbfgs or fire; auto takes bfgs up to 60 atoms and lbfgs beyond.")
    ] = "auto",
    precision: Precision = None,
    position_unit: PositionUnit = None,
    device: Device = "cpu",
    exact_filters: ExactFilters = False,
    as_json: Json = False,
) -> None:
    """Relax molecules and crystals to a stated force, all structures of the file side by side.

    Writes relaxed.extxyz, summary.json and report.html. Structures that did not come to rest are there as well, and
    say so.
    """
    from atomlens.simulate.relaxation import RelaxationConfig
    from atomlens.study.simulation import relax_file

    given: dict[str, Any] = {
        "force": force,
        "cell": cell,
        "stress": stress,
        "pressure": pressure,
        "steps": steps,
        "optimiser": optimiser,
    }
    with _by_option():
        config = RelaxationConfig.parse(given)
    simulated = _read(model, structures, device, exact_filters, position_unit, precision)
    summary = relax_file(simulated, out.expanduser().resolve(), config, command=_command())
    _print(summary, out, as_json=as_json, lines=[f"structures: {out / summary['out']}"])


@app.command()
def vibrations(
    model: ModelPath,
    structures: Structures,
    out: Out,
    structure: Annotated[
        str | None, typer.Option(metavar="I,J,...", help="Only these structures of the file, counted from 0 (ten).")
    ] = None,
    relax: Annotated[bool, typer.Option(help="Relax first, with this model.")] = True,
    force: Annotated[float, typer.Option(help="The largest force left by that relaxation, in eV/Å.")] = 1e-4,
    force_limit: Annotated[
        float, typer.Option(help="Refuse structures with a larger force, in eV/Å: they are no minima.")
    ] = 1e-2,
    width: Annotated[float, typer.Option(help="Of the lines of the spectrum, in cm⁻¹.")] = 10.0,
    dipole_model: Annotated[
        Path | None, typer.Option(help="A model with a dipole readout, for infrared intensities.")
    ] = None,
    precision: Precision = None,
    position_unit: PositionUnit = None,
    device: Device = "cpu",
    exact_filters: ExactFilters = False,
    as_json: Json = False,
) -> None:
    """Harmonic frequencies, normal modes, zero-point energy and infrared intensities, by exact second derivatives.

    Writes frequencies, modes and the Hessian per structure, summary.json, and report.html, which plays the modes.
    """
    from atomlens.study.simulation import vibrations_file
    from atomlens.study.simulation.vibrating import VibrationsConfig

    with _by_option():
        config = VibrationsConfig.parse({"relax": relax, "force": force, "force_limit": force_limit, "width": width})
    places = None if structure is None else indices(structure, "--structure")
    dipoles = None if dipole_model is None else load(model_file(dipole_model), device, exact_filters=exact_filters)
    if dipoles is not None and "dipole" not in dipoles.predicted:
        raise InputError("predicts no dipoles; give a model with a dipole readout", file=str(dipole_model))
    simulated = _read(model, structures, device, exact_filters, position_unit, precision)
    summary = vibrations_file(
        simulated, out.expanduser().resolve(), config, places=places, dipole_model=dipoles, command=_command()
    )
    _print(summary, out, as_json=as_json)


RunOut = Annotated[Path, typer.Option(help="Folder for the run; new or empty, or with --resume that of the run.")]
Temperature = Annotated[float, typer.Option(help="In K.")]
Time = Annotated[float, typer.Option(help="Length of the run after equilibration, in ps.")]
Equilibration = Annotated[float, typer.Option(help="Before that, left out of all averages, in ps.")]
Timestep = Annotated[float, typer.Option(help="In fs.")]
Record = Annotated[float | None, typer.Option(help="Time between frames, in fs (4; pimd 10).")]
ThermostatTime = Annotated[float | None, typer.Option(help="Time in which the thermostat acts, in fs (100).")]
Pressure = Annotated[float | None, typer.Option(help="Of npt, in GPa (1e-4, one bar).")]
Seed = Annotated[int, typer.Option(help="Of velocities and thermostat.")]
TrajectoryFormat = Annotated[str, typer.Option("--format", help="Of trajectories: extxyz, or traj (ASE's own).")]
GuardAction = Annotated[
    str,
    typer.Option(
        "--guard",
        help="What watches for structures unlike those in training, disagreement of --committee, and temperatures that "
        "jump: warn marks frames and saves structures for labelling, stop ends the run as well, off leaves it alone.",
    ),
]
GuardSettings = Annotated[
    list[str] | None,
    typer.Option("--guard-set", metavar="KEY=VALUE", help="A limit of the guard, such as `committee_limit=0.2`."),
]
Committee = Annotated[
    list[Path] | None, typer.Option(help="Another model of the same forces. May be repeated.", metavar="MODEL")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run in --out; repeat its other options.")]


@app.command()
def md(
    model: ModelPath,
    structures: Structures,
    out: RunOut,
    structure: Chosen = None,
    ensemble: Annotated[
        str,
        typer.Option(help="nve, langevin, bussi, nose-hoover; of crystals npt (volume) and npt-cell (the whole cell)."),
    ] = "langevin",
    temperature: Temperature = 300.0,
    time: Time = 10.0,
    equilibration: Equilibration = 0.0,
    timestep: Timestep = 0.5,
    replicas: Annotated[int, typer.Option(help="Copies with random numbers of their own, in one batch.")] = 1,
    record: Record = None,
    thermostat_time: ThermostatTime = None,
    pressure: Pressure = None,
    barostat_time: Annotated[
        float | None,
        typer.Option(
            help="Inertia of the cell of npt, as a time in fs (1000); stiff crystals swing several times as fast."
        ),
    ] = None,
    seed: Seed = 0,
    format: TrajectoryFormat = "extxyz",
    guard: GuardAction = "warn",
    guard_set: GuardSettings = None,
    committee: Committee = None,
    resume: Resume = False,
    precision: Precision = None,
    position_unit: PositionUnit = None,
    device: Device = "cpu",
    exact_filters: ExactFilters = False,
    as_json: Json = False,
) -> None:
    """Classical molecular dynamics, with a guard that knows what the model saw in training.

    Writes trajectories with velocities, energies and forces, observables.csv, summary.json and report.html with
    distributions, spectra and averages, each with error bars. A run that was interrupted goes on with --resume to the
    same trajectory.
    """
    from atomlens.simulate.molecular_dynamics import MolecularDynamicsConfig

    given: dict[str, Any] = {
        "ensemble": ensemble,
        "temperature": temperature,
        "duration": time,
        "equilibration": equilibration,
        "timestep": timestep,
        "replicas": replicas,
        "seed": seed,
        "format": format,
        **_counting(ensemble, thermostat_time=thermostat_time, pressure=pressure, barostat_time=barostat_time),
    }
    given["record_interval"] = _record(4.0, timestep) if record is None else record
    with _by_option():
        config = MolecularDynamicsConfig.parse(given)
    simulated = _read(model, structures, device, exact_filters, position_unit, precision)
    watch = _guard(guard, guard_set, committee, device, exact_filters)
    _run(simulated, out, config, structure, watch, resume=resume, as_json=as_json)


@app.command()
def pimd(
    model: ModelPath,
    structures: Structures,
    out: RunOut,
    structure: Chosen = None,
    beads: Annotated[int, typer.Option(help="Of each path; 1 is classical.")] = 8,
    converge: Annotated[
        str | None,
        typer.Option(
            metavar="P,P,P,...", help="Run with each of these numbers of beads, and extrapolate to quantum nuclei."
        ),
    ] = None,
    thermostat: Annotated[
        str,
        typer.Option(
            help="pile-l (white noise on the path's normal modes), pile-g, langevin (on all beads alike), or gle: "
            "coloured noise such as PIGLET, by matrices from --gle."
        ),
    ] = "pile-l",
    gle: Annotated[
        Path | None, typer.Option(help="File with the matrices A and C in i-PI's format, as from gle4md.org.")
    ] = None,
    ensemble: Annotated[str, typer.Option(help="nvt, nve (ring-polymer dynamics), or npt of crystals.")] = "nvt",
    temperature: Temperature = 300.0,
    time: Time = 10.0,
    equilibration: Equilibration = 0.0,
    timestep: Timestep = 0.5,
    replicas: Annotated[int, typer.Option(help="Independent paths, in one batch.")] = 1,
    record: Record = None,
    thermostat_time: ThermostatTime = None,
    pressure: Pressure = None,
    seed: Seed = 0,
    format: TrajectoryFormat = "extxyz",
    guard: GuardAction = "warn",
    guard_set: GuardSettings = None,
    committee: Committee = None,
    resume: Resume = False,
    precision: Precision = None,
    position_unit: PositionUnit = None,
    device: Device = "cpu",
    exact_filters: ExactFilters = False,
    as_json: Json = False,
) -> None:
    """Path-integral molecular dynamics: nuclei as quantum particles, all beads in one batch (needs i-PI).

    Writes a trajectory for each bead, observables.csv with energy estimators, summary.json and report.html. A run that
    was interrupted goes on with --resume to the same trajectory.
    """
    from atomlens.simulate.path_integrals import PathIntegralConfig

    given: dict[str, Any] = {
        "beads": beads,
        "thermostat": thermostat,
        "gle": None if gle is None else str(gle.expanduser()),
        "ensemble": ensemble,
        "temperature": temperature,
        "duration": time,
        "equilibration": equilibration,
        "timestep": timestep,
        "replicas": replicas,
        "seed": seed,
        "format": format,
        **_counting(ensemble, thermostat_time=thermostat_time, pressure=pressure),
    }
    given["record_interval"] = _record(10.0, timestep) if record is None else record
    with _by_option():
        config = PathIntegralConfig.parse(given)
    numbers = None if converge is None else indices(converge, "--converge")
    if numbers is not None and (guard == "stop" or guard_set or committee):
        raise InputError("--converge runs without a guard; leave --guard, --guard-set and --committee out")
    simulated = _read(model, structures, device, exact_filters, position_unit, precision)
    if numbers is not None:
        from atomlens.study.simulation import converge_file

        folder = out.expanduser().resolve()
        summary = converge_file(simulated, folder, config, numbers, place=structure, resume=resume, command=_command())
        _print(summary, out, as_json=as_json)
        return
    watch = _guard(guard, guard_set, committee, device, exact_filters)
    _run(simulated, out, config, structure, watch, resume=resume, as_json=as_json)


@app.command()
def compare(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run of md or pimd.")],
    beside: Annotated[Path, typer.Argument(metavar="OTHER", help="Folder of another run of the same atoms.")],
    out: Out,
    name: Annotated[str, typer.Option(help="Of the first run in figures (that of its folder).")] = "",
    other_name: Annotated[str, typer.Option(help="Of the second run in figures (that of its folder).")] = "",
    as_json: Json = False,
) -> None:
    """Lay two runs over each other, such as classical and quantum nuclei: distributions, spectra, averages.

    Writes figures, numbers with error bars, summary.json and report.html.
    """
    from atomlens.study.simulation import compare_runs
    from atomlens.study.simulation.comparing import ComparisonConfig

    config = ComparisonConfig(name=name, beside=other_name)
    folder = out.expanduser().resolve()
    summary = compare_runs(run.expanduser(), beside.expanduser(), folder, config, command=_command())
    _print(summary, out, as_json=as_json)


def _run(
    simulated: Simulated,
    out: Path,
    config: MolecularDynamicsConfig | PathIntegralConfig,
    structure: int | None,
    watch: tuple[GuardConfig | None, list[Model]],
    *,
    resume: bool,
    as_json: bool,
) -> None:
    from atomlens.study.simulation import run_file

    guard, committee = watch
    folder = out.expanduser().resolve()
    summary = run_file(
        simulated,
        folder,
        config,
        place=structure,
        guard=guard,
        committee=committee,
        resume=resume,
        command=_command(),
    )
    lines = [f"{speed(summary['steps_per_second'])} steps/s, {speed(summary['ns_per_day'])} ns/day"]
    if "alarms" in summary:
        kinds = ", ".join(f"{count} {kind}" for kind, count in summary["alarms"]["by_kind"].items())
        suspects = folder / "suspicious.extxyz"
        where = f" (structures: {out / suspects.name})" if kinds and suspects.is_file() else ""
        lines.append(f"alarms of the guard: {kinds or 'none'}{where}")
    _print(summary, out, as_json=as_json, lines=lines)


def _counting(ensemble: str, **options: float | None) -> dict[str, float]:
    """Options that were given.

    Raises:
        InputError: one of them would do nothing in this ensemble.
    """
    given = {name: value for name, value in options.items() if value is not None}
    for name in given:
        idle = ensemble == "nve" if name == "thermostat_time" else not ensemble.startswith("npt")
        if idle:
            flag = f"--{name.replace('_', '-')}"
            raise InputError(
                f"{flag} does nothing in the ensemble {ensemble}; leave it out, or choose another ensemble"
            )
    return given


def _guard(
    action: str, settings: list[str] | None, committee: list[Path] | None, device: str, exact_filters: bool
) -> tuple[GuardConfig | None, list[Model]]:
    """What watches, and the models that it asks."""
    from atomlens.simulate.guard import GuardConfig

    members = [load(model_file(path), device, exact_filters=exact_filters) for path in committee or []]
    if action == "off":
        if settings or members:
            raise InputError("--guard off takes no limits and no committee; leave them out, or the guard on")
        return None, []
    if action not in ("warn", "stop"):
        raise InputError(f"--guard is warn, stop or off, not '{action}'")
    for text in settings or []:
        if not text.partition("=")[2]:
            raise InputError(f"--guard-set takes KEY=VALUE, not '{text}'; for example committee_limit=0.2")
    values: dict[str, Any] = {"action": action}
    apply_settings(values, {}, settings)
    try:
        return GuardConfig.parse(values), members
    except InputError as error:
        raise InputError(f"--guard-set: {error.problem}") from None
