"""``atomlens explain``."""

from __future__ import annotations

import sys
from collections import Counter
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from atomlens.cli.options import Device, ExactFilters, Json, Labels, PositionUnit, load, print_json, split_labels
from atomlens.errors import InputError

if TYPE_CHECKING:
    from atomlens.explain import ExplainConfig
    from atomlens.model import Model


def explain(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="MODEL... STRUCTURES",
            help="One model or several (files or folders of runs), then structures in any format that train reads. "
            "Of several models the first that serves an analysis is shown, the others tell how stable it is.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the page, numbers and figures; new or empty.")],
    analysis: Annotated[
        list[str] | None,
        typer.Option(
            help="Only this analysis: contributions, stability, groups, chemical-potential, electrostatics, charges, "
            "embeddings, bond-breaking, filters, rings, alchemy, errors. May be repeated."
        ),
    ] = None,
    show: Annotated[
        str | None,
        typer.Option(metavar="I,J,...", help="Structures with panels of their own, counted from 0 (the first ten)."),
    ] = None,
    dataset: Annotated[
        Path | None,
        typer.Option(help="Structures behind distributions, errors and rankings, where not STRUCTURES themselves."),
    ] = None,
    label: Labels = None,
    probe: Annotated[
        list[str] | None,
        typer.Option(help="Element of a probe atom (H, C and O as far as the model knows them). May be repeated."),
    ] = None,
    plane: Annotated[
        str | None, typer.Option(metavar="I,J,K", help="Three atoms that span the cuts, counted from 0.")
    ] = None,
    isovalue: Annotated[float, typer.Option(help="c of the surface Σ|r - r_i|⁻² = c, in Å⁻².")] = 3.8,
    position_unit: PositionUnit = None,
    device: Device = "cpu",
    exact_filters: ExactFilters = False,
    as_json: Json = False,
) -> None:
    """Show what models have learned, in a chemist's terms, on one interactive page that works offline.

    Atom contributions and how stable they are, the local chemical potential, electrostatics from latent charges,
    element embeddings, filters, bonds drawn apart, rings, alchemical paths, errors, and physics beside it. An analysis
    that models or structures cannot serve says why; the rest goes on.

    Writes report.html, summary.json, and per panel numbers as JSON, figures as PNG and SVG, and files for other
    programs (Gaussian cube, VTK).
    """
    from atomlens.study.data import read_labelled
    from atomlens.study.explanation import explain_models

    if len(paths) < 2:
        raise InputError("explain takes a model and structures, in this order: atomlens explain MODEL STRUCTURES")
    *files, structures = [path.expanduser() for path in paths]
    config = _config(probe, plane, isovalue)
    models = load_named(files, device, exact_filters=exact_filters)
    data = read_labelled(structures, split_labels(label) if dataset is None else None, position_unit)
    beside = None if dataset is None else read_labelled(dataset.expanduser(), split_labels(label), position_unit)
    try:
        summary = explain_models(
            models,
            data,
            out.expanduser().resolve(),
            shown=None if show is None else indices(show, "--show"),
            dataset=beside,
            analyses=analysis,
            config=config,
            command=" ".join(["atomlens", *sys.argv[1:]]),
        )
    except InputError as error:
        raise (error if error.structure is None else error.at(file=str(structures))) from None
    if as_json:
        print_json(summary)
    else:
        print(_told(summary, out / "report.html"))


def _told(summary: dict[str, Any], page: Path) -> str:
    """What was made, what failed, and what could not be made."""
    checks, claims = summary["checks"], summary["claims"]
    failed = f"; FAILED: {_places(checks['failed'])}" if checks["failed"] else ""
    refuted = f"; not: {_places(claims['failed'])}" if claims["failed"] else ""
    structures, models = len(summary["structures"]), len(summary["models"])
    lines = [
        f"{structures} structure{'s' * (structures > 1)} and {models} model{'s' * (models > 1)} explained: {page}",
        f"{checks['count'] - len(checks['failed'])} of {checks['count']} checks passed{failed}",
        f"{claims['count'] - len(claims['failed'])} of {claims['count']} claims borne out{refuted}",
    ]
    missing = _reasons(summary["panels"])
    return "\n".join([*lines, *(f"not made ({', '.join(names)}): {reason}" for reason, names in missing.items())])


def _places(failed: list[dict[str, Any]]) -> str:
    """Failed checks by analysis, each once with how often."""
    times = Counter(f"{entry['analysis']}: {entry['name']}" for entry in failed)
    return ", ".join(f"{name} (in {number} panels)" if number > 1 else name for name, number in times.items())


def _reasons(panels: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Why panels are missing, and the analyses that say so; those that have other panels are left to the page."""
    served = {panel["analysis"] for panel in panels if "unavailable" not in panel}
    reasons: dict[str, dict[str, None]] = {}
    for panel in panels:
        if panel["analysis"] not in served:
            reasons.setdefault(panel["unavailable"], {})[panel["analysis"]] = None
    return {reason: list(names) for reason, names in reasons.items()}


def load_named(files: list[Path], device: str, *, exact_filters: bool) -> dict[str, Model]:
    """Models by the name of their file or run, made unique.

    Raises:
        InputError: see `load`.
    """
    models: dict[str, Model] = {}
    for path in files:
        file = path.resolve()
        name = file.parent.name if file.name == "model.safetensors" else file.stem
        others = (f"{name}#{number}" for number in count(2))
        free = name if name not in models else next(other for other in others if other not in models)
        models[free] = load(path, device, exact_filters=exact_filters)
    return models


def _config(probe: list[str] | None, plane: str | None, isovalue: float) -> ExplainConfig:
    from atomlens.explain import ExplainConfig

    if not isovalue > 0.0:
        raise InputError(f"--isovalue must be above 0, not {isovalue:g}; the documents take 3.8")
    settings: dict[str, object] = {"isovalue": isovalue}
    if probe:
        settings["probes"] = tuple(dict.fromkeys(entry.capitalize() for entry in probe))
    if plane is not None:
        atoms = indices(plane, "--plane")
        if len(atoms) != 3:
            raise InputError(f"--plane takes three atoms such as 0,1,2, not '{plane}'")
        settings["plane_atoms"] = tuple(atoms)
    return ExplainConfig.parse(settings)


def indices(text: str, option: str) -> list[int]:
    """Numbers such as ``0,1,2``.

    Raises:
        InputError: it is no such text.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and part.isascii() for part in parts):
        raise InputError(f"{option} takes numbers such as 0,1,2, not '{text}'")
    return [int(part) for part in parts]
