"""``atomlens train``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from atomlens.cli.options import (
    Json,
    Labels,
    PositionUnit,
    Settings,
    TrainExactFilters,
    apply_settings,
    print_errors,
    print_json,
    split_labels,
)
from atomlens.config import merged, template
from atomlens.errors import InputError

if TYPE_CHECKING:
    from atomlens.training.config import RunConfig


def train(
    run: Annotated[Path | None, typer.Argument(metavar="[RUN.yaml]", help="A run file; flags override it.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the model, its log and its checkpoint; new or empty.")
    ] = None,
    data: Annotated[str | None, typer.Option(help="Extended XYZ, ASE database, numpy archive or store.")] = None,
    label: Labels = None,
    position_unit: PositionUnit = None,
    train_size: Annotated[int | None, typer.Option("--train", help="Structures to learn from (1000).")] = None,
    validation: Annotated[int | None, typer.Option(help="Structures that choose the best model (200).")] = None,
    test: Annotated[int | None, typer.Option(help="Structures to test on (all that are left).")] = None,
    split: Annotated[Path | None, typer.Option(help="A split.json to use instead.")] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of the split, the initial weights and the order of examples (0).")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training set (300).")] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Stop after this time, with the learning rate annealed.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Structures per step (32).")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Highest learning rate (0.001).")] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Settings of the documents to start from, which a run file and flags override: dtnn, schnet, "
            "schnet-forces, schnet-crystals or behler-parrinello.",
        ),
    ] = None,
    representation: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What describes an atom: schnet, dtnn or behler_parrinello (schnet)."),
    ] = None,
    features: Annotated[
        int | None, typer.Option(help="Length of an atom's feature vector: of schnet (64) and dtnn (30).")
    ] = None,
    interactions: Annotated[
        int | None, typer.Option(help="Interaction blocks of schnet (3), or passes of dtnn (3).")
    ] = None,
    cutoff: Annotated[
        float | None,
        typer.Option(
            help="Neighbours within this distance in Å (5.0; dtnn has none, and needs its cutoff_function to be set to "
            "smooth as well)."
        ),
    ] = None,
    exact_filters: TrainExactFilters = False,
    accelerator: Annotated[str | None, typer.Option(help="cpu, gpu or auto.")] = None,
    devices: Annotated[int | None, typer.Option(help="How many devices, in one process each.")] = None,
    settings: Settings = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    show_template: Annotated[
        bool,
        typer.Option(
            "--template",
            help="Print a run file with every setting explained; other flags are put into it, and train nothing.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Train a model on labelled structures and test it on structures that it never saw.

    For example

    `atomlens train --data ethanol.npz --label energy=E:kcal/mol --label forces=F:kcal/mol/Ang --out run`

    or `atomlens train --template > run.yaml` and `atomlens train run.yaml --out run`; after an interruption
    `atomlens train --resume --out run`.
    """
    from atomlens.training.config import RunConfig, read_yaml
    from atomlens.training.recipes import recipe as settings_of

    if out is not None:
        out = out.expanduser()
    elif not show_template:
        raise InputError("--out is missing; name a folder for the model")
    if resume and run is None and out is not None:
        run = out / "run.yaml"
        if not run.is_file():
            raise InputError("holds no run to resume; leave --resume out", file=str(out))
    values: dict[str, Any] = merged(settings_of(recipe) if recipe else {}, read_yaml(run) if run else {})
    flags = {
        "data.path": None if data is None else str(Path(data).expanduser()),
        "data.labels": split_labels(label),
        "data.position_unit": position_unit,
        "split.train": train_size,
        "split.validation": validation,
        "split.test": test,
        "split.file": None if split is None else str(split.expanduser()),
        "split.seed": seed,
        "training.seed": seed,
        "training.epochs": epochs,
        "training.max_minutes": minutes,
        "training.batch_size": batch_size,
        "training.learning_rate": learning_rate,
        "training.accelerator": accelerator,
        "training.devices": devices,
        "model.representation.name": representation,
        "model.representation.features": features,
        "model.representation.interactions": interactions,
        "model.representation.cutoff": cutoff,
    }
    apply_settings(values, flags, settings, exact_filters=exact_filters)
    file = str(run) if run else None
    if show_template or out is None:
        print(_template(values, file))
        return
    if "data" not in values:
        raise InputError("no data given; name a run file or use --data (atomlens train --help has examples)")
    _train(RunConfig.parse(values, file=file), out, resume=resume, as_json=as_json)


def _template(values: dict[str, Any], file: str | None) -> str:
    """A run file with the settings that were given, the readouts that their labels ask for, and all defaults."""
    from atomlens.training.config import RunConfig

    if not values:
        return template(RunConfig)
    data = values.get("data", {})
    values["data"] = {"path": "..."} | data if isinstance(data, dict) else data
    config = RunConfig.parse(values, file=file)
    return template(RunConfig, config.for_labels(config.data.labels or ["energy"]))


def _train(config: RunConfig, out: Path, *, resume: bool, as_json: bool) -> None:
    from atomlens.evaluation import Errors
    from atomlens.study.run import run_training

    report = run_training(config, out, resume=resume)
    if as_json:
        print_json(report)
        return
    if "test" in report:
        errors = {name: Errors(**values) for name, values in report["test"].items()}
        count = max(found.count for found in errors.values())
        print_errors(errors, f"{count} structures never seen")
    print(f"best model (epoch {report['best_epoch']}): {report['model']}")
