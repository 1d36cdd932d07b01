"""``atomlens predict``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from atomlens.cli.options import Device, Json, ModelPath, PositionUnit, print_json
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
    as_json: Json = False,
) -> None:
    """Predict energies, atom contributions, forces and (for crystals) stress; in eV, eV/Å and eV/Å³."""
    from atomlens.data.readers import read_structures
    from atomlens.data.writers import check_suffix, write_predictions
    from atomlens.model_file import load_model
    from atomlens.progress import track

    check_suffix(out)
    loaded = load_model(model, device)
    systems = read_structures(structures, position_unit)
    found = []
    step = 1000
    try:
        with track("predict", len(systems), "structures") as bar:
            for start in range(0, len(systems), step):
                found += loaded.predict(systems[start : start + step], forces=forces, stress=None if forces else False)
                bar.advance(len(systems[start : start + step]))
    except InputError as error:
        place = None if error.structure is None else error.structure + start
        raise InputError(error.problem, file=str(structures), structure=place, atom=error.atom) from None
    write_predictions(out, systems, found)
    energies = [float(entry["energy"]) for entry in found if "energy" in entry]
    if as_json:
        print_json({"structures": len(systems), "out": str(out), "unit": "eV", "energy": energies})
    else:
        print(f"{len(systems)} structures predicted: {out}")
