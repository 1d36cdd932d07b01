"""``atomlens simulate``: relax, vibrations, md, pimd."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from atomlens.cli.explain import indices, load_named
from atomlens.cli.options import Device, ExactFilters, Json, ModelPath, PositionUnit, load, model_file, print_json
from atomlens.errors import InputError

if TYPE_CHECKING:
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

    config = RelaxationConfig.parse(
        {
            "force": force,
            "cell": cell,
            "stress": stress,
            "pressure": pressure,
            "steps": steps,
            "optimiser": optimiser,
        }
    )
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
