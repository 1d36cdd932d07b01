"""Options that several commands share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from atomlens.config import set_by_path
from atomlens.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atomlens.evaluation import Errors
    from atomlens.model import Model

ModelPath = Annotated[Path, typer.Argument(metavar="MODEL", help="A model.safetensors, or the folder of a run.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, for programs.")]
Device = Annotated[str, typer.Option(help="Where to compute: cpu, cuda, cuda:1, ...")]
Labels = Annotated[
    list[str] | None,
    typer.Option(
        "--label",
        metavar="NAME=KEY:UNIT",
        help="A label: quantity, key in the file and unit, such as `energy=md17_energies:kcal/mol`. May be repeated. "
        "Not needed where the file states its units.",
    ),
]
ExactFilters = Annotated[
    bool,
    typer.Option(
        "--exact-filters",
        help="Evaluate the filters of schnet and dtnn for every pair of atoms instead of looking them up in their "
        "table: slower; tells how much the table matters.",
    ),
]
TrainExactFilters = Annotated[
    bool,
    typer.Option(
        "--exact-filters",
        help="Train a model that evaluates its filters for every pair of atoms instead of looking them up in a table: "
        "slower (sets filter_accuracy of schnet and dtnn to null).",
    ),
]
PositionUnit = Annotated[str | None, typer.Option(help="Unit of positions, where it is not Å: bohr, nm.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Any setting by its path, such as `training.batch_size=64`. May be repeated."
    ),
]


def apply_settings(
    values: dict[str, Any], flags: Mapping[str, Any], settings: list[str] | None, *, exact_filters: bool = False
) -> None:
    """Put flags that were given, by path, and then ``KEY=VALUE`` texts into nested mappings; texts are read as YAML.

    Raises:
        InputError: a text has no ``=``, or its value is no YAML; or there are no filters to be exact.
    """
    for path, value in flags.items():
        if value is not None:
            set_by_path(values, path, value)
    if exact_filters:
        set_by_path(values, "model.representation.filter_accuracy", None)
    for text in settings or []:
        path, equals, value = text.partition("=")
        if not equals or not path:
            raise InputError(f"--set takes KEY=VALUE, not '{text}'; for example --set training.epochs=100")
        try:
            set_by_path(values, path.strip(), yaml.safe_load(value))
        except yaml.YAMLError:
            raise InputError(f"--set {path}: '{value}' is no YAML value; quote it") from None
    if exact_filters:
        _refuse_without_tables(values)


def _refuse_without_tables(values: dict[str, Any]) -> None:
    from atomlens.representations import REPRESENTATIONS  # needs torch

    chosen = values["model"]["representation"]
    name = chosen.get("name") if isinstance(chosen, dict) else chosen
    if name in REPRESENTATIONS and "filter_accuracy" not in REPRESENTATIONS[name][0].model_fields:
        raise InputError(f"--exact-filters: {name} looks nothing up in tables; leave the flag out")


def split_labels(labels: list[str] | None) -> dict[str, str] | None:
    """``NAME=KEY:UNIT`` texts (or ``NAME:UNIT`` where the key is the name) as the mapping of a run file.

    Raises:
        InputError: a text says neither key nor unit.
    """
    if not labels:
        return None
    named = {}
    for text in labels:
        name, separator, source = text.partition("=") if "=" in text else text.partition(":")
        if not separator:
            raise InputError(f"--label takes NAME=KEY:UNIT, not '{text}'; for example --label energy=energies:kcal/mol")
        named[name.strip()] = source.strip() if "=" in text else f":{source.strip()}"
    return named


def load(path: Path, device: str, *, exact_filters: bool = False) -> Model:
    """Load a model onto a device, with the filters' table or with exact filters.

    Raises:
        InputError: the file is no sound model, or the device does not exist here.
    """
    import torch

    from atomlens.model_file import load_model

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].split(", ")[0][:120]
        raise InputError(f"--device {device} cannot be used here ({reason}); try --device cpu") from None
    return load_model(model_file(path), device, exact_filters=exact_filters)


def model_file(path: Path) -> Path:
    """The model file itself, also where its folder was given."""
    return path.expanduser() / "model.safetensors" if path.expanduser().is_dir() else path.expanduser()


def print_json(values: Any) -> None:
    """Print JSON on standard output."""
    print(json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False))


def print_errors(errors: Mapping[str, Errors], title: str) -> None:
    """Print a table of errors in the field's units and internal ones, beside the MAE of those that learned nothing."""
    from rich.console import Console
    from rich.table import Table

    from atomlens.data.quantities import quantity
    from atomlens.data.units import from_internal

    counts = any(found.atom_count_mae is not None for found in errors.values())
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("")
    for name in ("MAE", "RMSE", "mean predictor", *(["atom counts"] if counts else []), "× better"):
        table.add_column(name, justify="right")
    for name, found in errors.items():
        units = list(dict.fromkeys([quantity(name).shown or found.unit, found.unit]))
        for unit in units:
            baselines = [found.mean_predictor_mae, found.atom_count_mae] if counts else [found.mean_predictor_mae]
            numbers = (found.mae, found.rmse, *baselines)
            shown = ["" if value is None else f"{from_internal(value, unit):.4g}" for value in numbers]
            gain = (f"{found.gain:.1f}" if found.gain < 1e5 else f"{found.gain:.0e}") if unit == units[0] else ""
            table.add_row(f"{name.replace('_', ' ')}, {unit.replace('Ang', 'Å')}", *shown, gain)
    console = Console(highlight=False, soft_wrap=True)
    console.print(title)
    console.print(table)
