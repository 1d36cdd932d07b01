"""``atomlens study``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from atomlens.cli.options import Json, Settings, TrainExactFilters, apply_settings, print_json
from atomlens.config import template


def study(
    structure: Annotated[
        str | None,
        typer.Argument(
            metavar="STRUCTURE",
            help="A molecule: name (ethanol, C6H6), file (.xyz, ...) or SMILES (CCO; smiles:CO).",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the study; the same command again goes on where it stopped.")
    ] = None,
    frames: Annotated[int | None, typer.Option(help="Frames per trajectory (130), of which there are ten.")] = None,
    temperature: Annotated[float | None, typer.Option(help="Of the sampling, in K (500).")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training frames (200).")] = None,
    probe: Annotated[
        str | None, typer.Option(help="Element of the probe atom (H, or the lightest of the molecule).")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of sampling, split and training (0).")] = None,
    exact_filters: TrainExactFilters = False,
    settings: Settings = None,
    retrain: Annotated[bool, typer.Option("--retrain", help="Train anew on the reference data in --out.")] = False,
    show_template: Annotated[bool, typer.Option("--template", help="Print every setting with its meaning.")] = False,
    as_json: Json = False,
) -> None:
    """From a molecule to a trained, tested and explained model, on one page.

    Samples the molecule with GFN2-xTB, trains SchNet on energies and forces, tests it on trajectories that it never
    saw, checks its physics and shows what it has learned: `OUT/report.html`, every number in `OUT/summary.json`.
    """
    from atomlens.errors import InputError
    from atomlens.study.config import StudyConfig

    if show_template:
        print(template(StudyConfig))
        return
    if structure is None or out is None:
        raise InputError("a structure and --out are needed; for example atomlens study ethanol --out demo")
    values: dict[str, Any] = {}
    flags = {
        "sampling.frames_per_walker": frames,
        "sampling.temperature": temperature,
        "sampling.seed": seed,
        "training.seed": seed,
        "training.epochs": epochs,
        "probe": probe,
    }
    apply_settings(values, flags, settings, exact_filters=exact_filters)
    from atomlens.study.pipeline import run_study

    summary = run_study(structure, out.expanduser(), StudyConfig.with_defaults(values), retrain=retrain)
    if as_json:
        print_json(summary)
