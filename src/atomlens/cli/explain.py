"""``atomlens explain``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from atomlens.cli.options import Device, ExactFilters, Json, ModelPath, PositionUnit, load, model_file, print_json
from atomlens.errors import InputError


def explain(
    model: ModelPath,
    structures: Annotated[
        Path, typer.Argument(metavar="STRUCTURES", help="Structures in any format that ASE reads, or a numpy archive.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for numbers and figures; new or empty.")],
    probe: Annotated[
        str | None, typer.Option(help="Element of the probe atom; by default H if the model knows it.")
    ] = None,
    plane: Annotated[
        str | None, typer.Option(metavar="I,J,K", help="Three atoms that span the cut, counted from 0.")
    ] = None,
    structure: Annotated[int, typer.Option(help="Which structure to cut through, counted from 0.")] = 0,
    position_unit: PositionUnit = None,
    device: Device = "cpu",
    exact_filters: ExactFilters = False,
    as_json: Json = False,
) -> None:
    """Show what a model has learned: energy contributions of the atoms, and the potential that a probe atom feels.

    For models of any representation that predict energies.

    Writes explanation.json with every number, the cut as potential.npz, and figures as PNG and SVG.
    """
    from atomlens.data.readers import read_structures
    from atomlens.study.explanation import check_explainable, explain_structures

    atoms = None if plane is None else _three_atoms(plane)
    loaded = load(model, device, exact_filters=exact_filters)
    try:
        check_explainable(loaded)
    except InputError as error:
        raise error.at(file=str(model_file(model))) from None
    structures, out = structures.expanduser(), out.expanduser()
    systems = read_structures(structures, position_unit)
    try:
        facts = explain_structures(loaded, systems, out, probe=probe, plane_atoms=atoms, chosen=structure)
    except InputError as error:
        raise error.at(file=str(structures)) from None
    if as_json:
        print_json(facts)
    else:
        print(f"{len(systems)} structures explained: {out / 'explanation.json'} and figures beside it")


def _three_atoms(text: str) -> tuple[int, int, int]:
    parts = text.split(",")
    if len(parts) != 3 or not all(part.strip().isdigit() for part in parts):
        raise InputError(f"--plane takes three atoms such as 0,1,2, not '{text}'")
    first, second, third = (int(part) for part in parts)
    return first, second, third
