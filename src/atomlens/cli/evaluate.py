"""``atomlens evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from atomlens.cli.options import (
    Device,
    ExactFilters,
    Json,
    Labels,
    ModelPath,
    PositionUnit,
    load,
    print_errors,
    print_json,
    split_labels,
)
from atomlens.errors import InputError


def evaluate(
    model: ModelPath,
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Labelled structures in any format that train reads.")],
    label: Labels = None,
    position_unit: PositionUnit = None,
    split: Annotated[Path | None, typer.Option(help="A split.json; only its --subset is tested.")] = None,
    subset: Annotated[str | None, typer.Option(help="Of the split: train, validation or test (test).")] = None,
    device: Device = "cpu",
    exact_filters: ExactFilters = False,
    as_json: Json = False,
) -> None:
    """Test a model on labelled structures: MAE and RMSE, beside those of the mean predictor."""
    from atomlens.data.splits import SUBSETS, Split
    from atomlens.evaluation import evaluate as run
    from atomlens.study.data import read_labelled

    if subset is not None and split is None:
        raise InputError("--subset needs --split, the split.json that says what belongs to it")
    subset = subset or "test"
    if subset not in SUBSETS:
        raise InputError(f"there is no subset '{subset}'; choose one of {', '.join(SUBSETS)}")
    loaded = load(model, device, exact_filters=exact_filters)
    data = data.expanduser()
    structures = read_labelled(data, split_labels(label), position_unit)
    if split is not None:
        structures = structures.subset(getattr(Split.load(split.expanduser(), structures), subset))
    try:
        found = run(loaded, structures)
    except InputError as error:
        raise error.at(file=str(data)) from None
    if as_json:
        print_json({"structures": len(structures), "errors": {name: e.to_dict() for name, e in found.errors.items()}})
    else:
        print_errors(found.errors, f"{model} on {len(structures)} structures of {data}")
