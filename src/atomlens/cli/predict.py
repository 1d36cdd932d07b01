"""``atomlens predict``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from atomlens.cli.options import Device, ExactFilters, Json, ModelPath, PositionUnit, load, print_json
from atomlens.errors import InputError


def predict(
    model: ModelPath,
    structures: Annotated[
        Path, typer.Argument(metavar="STRUCTURES", help="Structures in any format that ASE reads, or a numpy archive.")
    ],
    out: Annotated[Path, typer.Option(help="File for the predictions: .xyz, .extxyz, .npz or .json.")],
    forces: Annotated[bool, typer.Option(help="Predict forces (and stress of crystals) as well.")] = True,
    position_unit: PositionUnit = None,
    device: Device = "cpu",
    exact_filters: ExactFilters = False,
    as_json: Json = False,
) -> None:
    """Predict energies, atom contributions, forces and (for crystals) stress; in eV, eV/Å and eV/Å³."""
    from atomlens.data.writers import check_suffix
    from atomlens.study.run import predict_file

    structures, out = structures.expanduser(), out.expanduser()
    check_suffix(out)  # before the model is loaded
    if out.resolve() == structures.resolve():
        raise InputError("is the input as well; choose another file for the predictions", file=str(out))
    found = predict_file(
        load(model, device, exact_filters=exact_filters), structures, out, forces=forces, position_unit=position_unit
    )
    if as_json:
        energies = [float(entry["energy"]) for entry in found if "energy" in entry]
        print_json({"structures": len(found), "out": str(out), "unit": "eV", "energy": energies})
    else:
        print(f"{len(found)} structures predicted: {out}")
