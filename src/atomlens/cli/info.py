"""``atomlens info``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from atomlens.cli.options import Json, ModelPath, model_file, print_json


def info(model: ModelPath, as_json: Json = False) -> None:
    """Tell what a model file holds, and check its fingerprint.

    Configuration, elements, units, where it comes from, what it saw, and how exact the table of its filters is.
    """
    from atomlens.coverage import KEY, Coverage
    from atomlens.data.system import symbol
    from atomlens.model_file import load_model, read_header

    model = model_file(model)
    header = read_header(model)
    loaded = load_model(model)
    coverage = Coverage.stored(loaded)
    facts = {
        "file": str(model),
        "parameters": sum(parameter.numel() for parameter in loaded.parameters()),
        "elements": [symbol(number) for number in loaded.elements],
        "fingerprint": "predictions are those of the time of saving",
        "filters": _filters(header),
        "coverage": str(coverage or "not known; the training was not finished, or the model was made without"),
        **{
            key: header[key]
            for key in (
                "tables",
                "table_effect",
                "charges",
                "format_version",
                "precision",
                "units",
                "config",
                "provenance",
                "digest",
            )
        },
    }
    if as_json:
        print_json(facts)
        return
    import yaml

    # Arrays in base64 say nothing to readers.
    facts["provenance"] = {name: value for name, value in header["provenance"].items() if name != KEY}
    typer.echo(yaml.safe_dump(facts, sort_keys=False, allow_unicode=True, width=120).rstrip())


def _filters(header: Mapping[str, Any]) -> str:
    """The certificates of a model file in words."""
    if not header["tables"]:
        tabulated = "filter_accuracy" in header["config"]["representation"]
        return "evaluated for every pair, without a table" if tabulated else "none; nothing is looked up in a table"
    tables = [
        f"table of {found['intervals']} intervals over {found['end']:g} Å, interpolation error {found['error']:.1e} of "
        f"their range (bound {found['bound']:g})"
        for found in header["tables"]
    ]
    effect = [
        f"{name.replace('_', ' ')} by {off:.1e} {header['units'][name]}" for name, off in header["table_effect"].items()
    ]
    return f"{'; '.join(tables)}; changes {', '.join(effect)} at most in the fingerprint's structures"
