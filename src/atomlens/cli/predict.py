"""``atomlens predict``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from atomlens.cli.options import Device, ExactFilters, Json, ModelPath, PositionUnit, load, print_json
from atomlens.errors import InputError

if TYPE_CHECKING:
    from atomlens.model import Arrays


def predict(
    model: ModelPath,
    structures: Annotated[
        Path, typer.Argument(metavar="STRUCTURES", help="Structures in any format that ASE reads, or a numpy archive.")
    ],
    out: Annotated[Path, typer.Option(help="File for the predictions: .xyz, .extxyz, .npz or .json.")],
    forces: Annotated[
        bool, typer.Option(help="Predict forces (and stress of crystals) as well, where the model has energies.")
    ] = True,
    position_unit: PositionUnit = None,
    device: Device = "cpu",
    exact_filters: ExactFilters = False,
    as_json: Json = False,
) -> None:
    """Predict every property that a model has, with the terms of the atoms.

    With an energy come forces and, for crystals, stress. Units are eV, Å and e, and stated in the file.
    """
    from atomlens.data.writers import check_suffix
    from atomlens.study.run import predict_file

    structures, out = structures.expanduser(), out.expanduser()
    check_suffix(out)  # before the model is loaded
    if out.resolve() == structures.resolve():
        raise InputError("is the input as well; choose another file for the predictions", file=str(out))
    loaded = load(model, device, exact_filters=exact_filters)
    found = predict_file(loaded, structures, out, forces=forces, position_unit=position_unit)
    if as_json:
        print_json({"structures": len(found), "out": str(out), **_of_systems(loaded.predicted, found)})
    else:
        names = [name for name in loaded.predicted if any(name in entry for entry in found)]
        print(f"{len(found)} structures predicted: {out} ({', '.join(names)})")


def _of_systems(names: Sequence[str], found: Sequence[Arrays]) -> dict[str, Any]:
    """Properties of structures, in their order, for JSON; null where one has none, as open structures no stress."""
    from atomlens.data.quantities import quantity

    properties: dict[str, Any] = {}
    for name in names:
        if quantity(name).per == "system" and any(name in entry for entry in found):
            values = [entry[name].tolist() if name in entry else None for entry in found]
            properties[name] = {"unit": quantity(name).unit, "values": values}
    energy = properties.get("energy")
    return ({"unit": energy["unit"], "energy": energy["values"]} if energy else {}) | {"properties": properties}
