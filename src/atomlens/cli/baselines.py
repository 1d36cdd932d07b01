"""``atomlens baselines``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from atomlens.cli.options import Json, Labels, PositionUnit, Settings, apply_settings, print_json, split_labels

if TYPE_CHECKING:
    from atomlens.study.baselines import Comparison

_WIDTH = 150  # characters


def baselines(
    run: Annotated[Path, typer.Argument(metavar="RUN.yaml", help="The run file that a network is trained by.")],
    out: Annotated[Path, typer.Option(help="Folder for the table and the figures; new or empty.")],
    data: Annotated[str | None, typer.Option(help="Extended XYZ, ASE database, numpy archive or store.")] = None,
    label: Labels = None,
    position_unit: PositionUnit = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only this baseline, such as bag_of_bonds. May be repeated."),
    ] = None,
    model: Annotated[
        list[Path] | None,
        typer.Option(
            help="A trained model of the same split, or the folder of its run, to judge beside them. May be repeated."
        ),
    ] = None,
    split: Annotated[Path | None, typer.Option(help="A split.json to use instead.")] = None,
    settings: Settings = None,
    resume: Annotated[bool, typer.Option("--resume", help="Keep the baselines that are finished in --out.")] = False,
    as_json: Json = False,
) -> None:
    """Judge simple methods on the test structures of a run file, so that a network's number does not stand alone.

    The training mean, a linear function of composition, kernel ridge regression on descriptors, and gradient-domain
    kernels for frames of one molecule. Widths and regularisation are chosen on the validation structures.

    `atomlens baselines run.yaml --model runs/schnet --out baselines`
    """  # fmt: skip
    from atomlens.study.baselines import compare_baselines
    from atomlens.training.config import RunConfig, read_yaml

    values: dict[str, Any] = read_yaml(run)
    flags = {
        "data.path": None if data is None else str(Path(data).expanduser()),
        "data.labels": split_labels(label),
        "data.position_unit": position_unit,
    }
    apply_settings(values, flags, settings)
    values.setdefault("data", {})
    found = compare_baselines(
        RunConfig.parse(values, file=str(run)),
        out.expanduser(),
        only=only,
        models=[path.expanduser() for path in model or []],
        split=None if split is None else split.expanduser(),
        resume=resume,
    )
    if as_json:
        print_json(found.to_dict())
    else:
        _print(found)
        print(f"table: {out / 'baselines.csv'}")


def _print(found: Comparison) -> None:
    """One table per quantity, best first, and what could not be done."""
    from rich.console import Console
    from rich.table import Table

    from atomlens.data.quantities import quantity
    from atomlens.data.units import from_internal
    from atomlens.study.baselines import summary

    console = Console(highlight=False, soft_wrap=True)
    console.width = max(console.width, _WIDTH)  # rows are read across; a narrow terminal wraps them
    for name, rows in found.by_quantity().items():
        unit = quantity(name).shown or quantity(name).unit
        columns = ("MAE", "RMSE", "× better", "descriptor, s", "fit, s", "test, s")
        shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        shown.add_column("", no_wrap=True)
        for column in columns:
            shown.add_column(column, justify="right")
        shown.add_column("chosen on validation", no_wrap=True)
        for row, errors in rows:
            numbers = [f"{from_internal(value, unit):.4g}" for value in (errors.mae, errors.rmse)]
            seconds = [row.seconds.get(step) for step in ("descriptor", "fit", "predict")]
            times = ["" if value is None else f"{value:.1f}" for value in seconds]
            shown.add_row(row.name, *numbers, f"{errors.gain:.3g}", *times, summary(row))
        sizes = found.split
        console.print(
            f"{name.replace('_', ' ')}, {unit.replace('Ang', 'Å')}: {rows[0][1].count} structures never seen, "
            f"{sizes['train']} learned from, {sizes['validation']} to choose by"
        )
        console.print(shown)
    for row in found.rows:
        if row.failure is not None:
            console.print(f"{row.name}: {row.failure}")
