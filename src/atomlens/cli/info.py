"""``atomlens info``."""

from __future__ import annotations

import typer

from atomlens.cli.options import Json, ModelPath, model_file, print_json


def info(model: ModelPath, as_json: Json = False) -> None:
    """Tell what a model file holds: configuration, elements, units, how it was trained; and check its fingerprint."""
    from atomlens.data.system import symbol
    from atomlens.model_file import load_model, read_header

    model = model_file(model)
    header = read_header(model)
    loaded = load_model(model)
    facts = {
        "file": str(model),
        "parameters": sum(parameter.numel() for parameter in loaded.parameters()),
        "elements": [symbol(number) for number in loaded.elements],
        "fingerprint": "energies and forces are those of the time of saving",
        **{
            key: header[key]
            for key in ("charges", "format_version", "precision", "units", "config", "provenance", "digest")
        },
    }
    if as_json:
        print_json(facts)
        return
    import yaml

    typer.echo(yaml.safe_dump(facts, sort_keys=False, allow_unicode=True).rstrip())
