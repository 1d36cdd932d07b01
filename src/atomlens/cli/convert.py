"""``atomlens convert``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from atomlens.cli.options import Json, print_json
from atomlens.errors import InputError


class Precision(StrEnum):
    """Precision of weights."""

    float32 = "float32"
    float64 = "float64"


class Activations(StrEnum):
    """Activations in a filter network."""

    one = "1"
    two = "2"


def convert(
    weights: Annotated[
        Path,
        typer.Argument(metavar="FILE.npz", help="A numpy archive of SchNet weights, as its first author published."),
    ],
    out: Annotated[
        Path, typer.Option(metavar="MODEL.safetensors", help="The model file; one that is there is replaced.")
    ],
    elements: Annotated[
        str, typer.Option(metavar="C,H,...", help="Elements that the weights were trained on; all others are refused.")
    ] = "C",
    gaussian_range: Annotated[float, typer.Option(help="Centre of the last Gaussian, in Å; the first is at 0.")] = 20.0,
    gaussian_gamma: Annotated[float, typer.Option(help="γ of the Gaussians exp(-γ (d - μ)²), in 1/Å².")] = 10.0,
    filter_activations: Annotated[
        Activations, typer.Option(help="2: an activation after the second filter layer as well.")
    ] = Activations.two,
    precision: Annotated[Precision, typer.Option(help="Precision of the model's weights.")] = Precision.float64,
    licence: Annotated[str | None, typer.Option(help="Licence of the weights, to be kept in the model file.")] = None,
    as_json: Json = False,
) -> None:
    """Turn published SchNet weights into a model file.

    For the two models of the fullerene C20, and archives laid out like theirs: energies in kcal/mol, every pair of
    atoms without a cutoff. Blocks, features and Gaussians are read from the arrays; the options say what the arrays do
    not, and default to what those two models have.
    """
    weights, out = weights.expanduser(), out.expanduser()
    if out.suffix != ".safetensors":  # before any work
        raise InputError("does not end in .safetensors; name the model file so", file=str(out))
    if out.is_dir():
        raise InputError("is a folder; name a file in it, such as model.safetensors", file=str(out))
    if out.resolve() == weights.resolve():
        raise InputError("is the input as well; choose another file for the model", file=str(out))

    from atomlens.convert import convert_published
    from atomlens.model_file import read_header, save_model

    model = convert_published(
        weights,
        elements=[name.strip() for name in elements.split(",")],
        gaussian_range=gaussian_range,
        gaussian_gamma=gaussian_gamma,
        filter_activations=2 if filter_activations is Activations.two else 1,
        precision="float32" if precision is Precision.float32 else "float64",
        licence=licence,
    )
    save_model(model, out)
    header = read_header(out)
    if as_json:
        kept = ("elements", "precision", "config", "units", "tables", "table_effect", "provenance", "digest")
        print_json({"out": str(out), **{name: header[name] for name in kept}})
    else:
        schnet = header["config"]["representation"]
        print(f"SchNet of {schnet['interactions']} blocks and {schnet['features']} features: {out}")
