"""The page of a study: one HTML file that holds its figures, style and script, and asks the network for nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from atomlens.errors import InputError
from atomlens.files import write_text
from atomlens.report import content
from atomlens.report.captions import PAPER, THESIS, caption
from atomlens.report.facts import fact_groups

_LARGEST_SVG = 200_000  # bytes; above it the PNG is inlined, if there is one
_KEY_PICTURES = ("atom_contributions", "potential_cut", "parity_forces", "parity_energy")
_SECTIONS = (
    ("errors", ("parity_energy", "parity_forces")),
    ("checks", ("energy_drift", "force_order")),
    ("explanations", ("atom_contributions", "contribution_distributions", "potential_cut")),
    ("making", ("learning_curve",)),
)


def write_report(folder: str | Path, summary: Mapping[str, Any], figures: Mapping[str, str | Path]) -> Path:
    """Write ``report.html`` into a folder, in one step.

    Args:
        folder: the study's folder.
        summary: every number of the study (``summary.json``); sections that are missing are said to be.
        figures: name to file (SVG or PNG; the other format is looked for beside it). Known names are ``parity_energy``,
            ``parity_forces``, ``learning_curve``, ``atom_contributions``, ``contribution_distributions``,
            ``potential_cut``, ``energy_drift`` and ``force_order``; variants such as ``potential_cut_C`` stand with
            them, other names at the end.

    Raises:
        InputError: a figure cannot be read.
    """
    target = Path(folder) / "report.html"
    write_text(target, render(summary, figures))
    return target


def render(summary: Mapping[str, Any], figures: Mapping[str, str | Path]) -> str:
    """The page as text; see `write_report`."""
    environment = Environment(
        loader=PackageLoader("atomlens", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["indices"] = indices
    style, script = (_source(environment, name) for name in ("report.css", "report.js"))
    panels = {name: panel(name, path) for name, path in figures.items()}
    key = next((name for name in _KEY_PICTURES if name in panels), None)
    name, chemical_formula = content.title(summary)
    return environment.get_template("report.html").render(
        summary=summary,
        name=name,
        chemical_formula=chemical_formula,
        headline=content.headline(summary),
        tiles=content.key_figures(summary),
        key_panel=panels.get(key) if key else None,
        panels=_arranged(panels, key),
        errors=content.error_rows(summary),
        checks=content.check_rows(summary),
        checks_sentence=content.checks_sentence(summary),
        atoms=content.atom_rows(summary),
        elements=content.element_rows(summary),
        atom_energies=content.section(summary, "explanations", "atom_energies"),
        potential_sentence=content.potential_sentence(summary),
        facts=fact_groups(summary),
        snippets=snippets(summary),
        missing={
            "errors": content.absence(summary, "test", "test errors"),
            "checks": content.absence(summary, "checks", "physics checks"),
            "explanations": content.absence(summary, "explanations", "explanations"),
        },
        limits=content.section(summary, "reference"),
        sources={"thesis": THESIS, "insights paper": PAPER},
        style=Markup(style),
        script=Markup(script),
        policy=_policy(style, script),
    )


def panel(name: str, path: str | Path) -> dict[str, Any]:
    """A figure as the template wants it: its name, caption, data address, width and height in CSS pixels.

    Raises:
        InputError: the file cannot be read.
    """
    chosen = _smaller_format(Path(path))
    try:
        data = chosen.read_bytes()
    except OSError as error:
        reason = f"the figure cannot be read ({error.strerror}); draw it again"
        raise InputError(reason, file=str(chosen)) from None
    kind = "svg+xml" if chosen.suffix == ".svg" else "png"
    address = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    width, height = _dimensions(data, kind)
    return {"name": name, "caption": caption(name), "address": address, "width": width, "height": height}


def snippets(summary: Mapping[str, Any]) -> list[dict[str, str]]:
    """Code that uses the model, ready to copy."""
    file = str(content.section(summary, "model").get("file") or "model.safetensors")
    load = (
        f"import atomlens\nfrom ase.io import read\n\nmodel = atomlens.load({json.dumps(file, ensure_ascii=False)})\n"
    )
    predict = f'{load}atoms = read("structure.xyz")\nprediction = model.predict(atoms)\n'
    calculator = (
        f'{load}atoms = read("structure.xyz")\natoms.calc = atomlens.Calculator(model)\n'
        "energy, forces = atoms.get_potential_energy(), atoms.get_forces()  # eV, eV/Å\n"
    )
    shell = f"atomlens predict {_shell_word(file)} structures.xyz --out predictions.xyz\n"
    return [
        {"title": "Python", "code": predict},
        {"title": "Any ASE script", "code": calculator},
        {"title": "Command line", "code": shell},
    ]


def indices(text: str) -> Markup:
    """A caption with ``E_i`` as E with a subscript i; everything else is escaped."""
    return Markup(re.sub(r"_([a-z])\b", r"<sub>\1</sub>", str(escape(text))))


def _arranged(panels: Mapping[str, Any], key: str | None) -> dict[str, list[Any]]:
    """Panels by the section they stand in, without the key picture; unknown names under ``further``."""
    left = {name: each for name, each in panels.items() if name != key}
    arranged: dict[str, list[Any]] = {}
    for title, known in _SECTIONS:
        names = [name for stem in known for name in left if name == stem or name.startswith(f"{stem}_")]
        arranged[title] = [left.pop(name) for name in names]
    return arranged | {"further": list(left.values())}


def _smaller_format(path: Path) -> Path:
    """The SVG where it is there and small, else the PNG, else what was given."""
    vector, raster = path.with_suffix(".svg"), path.with_suffix(".png")
    if vector.is_file() and (vector.stat().st_size <= _LARGEST_SVG or not raster.is_file()):
        return vector
    return raster if raster.is_file() else path


def _dimensions(data: bytes, kind: str) -> tuple[int, int]:
    """Width and height in CSS pixels, so that the page does not move while images are decoded."""
    if kind == "png":
        if not data.startswith(b"\x89PNG\r\n\x1a\n") or len(data) < 24:
            return 440, 400
        across, down = struct.unpack(">II", data[16:24])
        return round(across * 96 / 200), round(down * 96 / 200)
    width, height = (re.search(rb'<svg[^>]*?\s%b="([\d.]+)pt"' % side, data) for side in (b"width", b"height"))
    if width is None or height is None:
        return 440, 400
    return round(float(width[1]) * 4 / 3), round(float(height[1]) * 4 / 3)


def _source(environment: Environment, name: str) -> str:
    """A file of the package as text; it is inlined unchanged, for its hash stands in the page's policy."""
    loader = environment.loader
    assert loader is not None
    return loader.get_source(environment, name)[0]


def _policy(style: str, script: str) -> str:
    """A content security policy: browsers themselves refuse every request and every script but ours."""
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)]
    return (
        "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'"
    )


def _shell_word(text: str) -> str:
    """A file name as one word of a shell command."""
    return text if re.fullmatch(r"[\w./+-]+", text) else "'" + text.replace("'", "'\\''") + "'"
