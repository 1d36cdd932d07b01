"""The page of a study: one HTML file that holds its figures, style and script, and asks the network for nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from atomlens.files import write_text
from atomlens.report import content
from atomlens.report.captions import PAPER, THESIS, caption
from atomlens.report.explanations import Section
from atomlens.report.facts import fact_groups
from atomlens.report.pictures import pictures
from atomlens.report.policy import content_policy
from atomlens.report.templates import page_environment, source

_LARGEST = 2_000_000  # bytes that figures may take before they are made smaller
_KEY_PICTURES = ("atom_contributions", "parity_forces", "parity_energy")
_SECTIONS = (
    ("errors", ("parity_energy", "parity_forces")),
    ("checks", ("energy_drift", "force_order")),
    ("explanations", ("atom_contributions",)),
    ("making", ("learning_curve",)),
)


def write_report(
    folder: str | Path,
    summary: Mapping[str, Any],
    figures: Mapping[str, str | Path],
    explained: Section | None = None,
) -> Path:
    """Write ``report.html`` into a folder, in one step.

    Args:
        folder: the study's folder.
        summary: every number of the study (``summary.json``); sections that are missing are said to be.
        figures: name to file (SVG or PNG; the other format is looked for beside it). Known names are ``parity_energy``,
            ``parity_forces``, ``learning_curve``, ``atom_contributions``, ``energy_drift`` and ``force_order``;
            variants such as ``parity_energy_2`` stand with them, other names at the end.
        explained: the panels of explanations, see `atomlens.report.explanations.explained_section`.

    Raises:
        InputError: a figure cannot be read.
    """
    target = Path(folder) / "report.html"
    write_text(target, render(summary, figures, explained))
    return target


def render(summary: Mapping[str, Any], figures: Mapping[str, str | Path], explained: Section | None = None) -> str:
    """The page as text; see `write_report`."""
    environment = page_environment()
    style, script = (source(environment, name) for name in ("report.css", "report.js"))
    scripts, library = [script], ""
    if explained is not None:
        style, library = style + explained.style, explained.library
        scripts.append(explained.script)
    drawn = pictures((Path(path) for path in figures.values()), _LARGEST)
    panels = {
        name: vars(drawn[Path(path)]) | {"name": name, "caption": caption(name)} for name, path in figures.items()
    }
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
        explained=explained,
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
        scripts=[Markup(each) for each in scripts],
        policy=content_policy([style], scripts, library),
    )


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


def _arranged(panels: Mapping[str, Any], key: str | None) -> dict[str, list[Any]]:
    """Panels by the section they stand in, without the key picture; unknown names under ``further``."""
    left = {name: each for name, each in panels.items() if name != key}
    arranged: dict[str, list[Any]] = {}
    for title, known in _SECTIONS:
        names = [name for stem in known for name in left if name == stem or name.startswith(f"{stem}_")]
        arranged[title] = [left.pop(name) for name in names]
    return arranged | {"further": list(left.values())}


def _shell_word(text: str) -> str:
    """A file name as one word of a shell command."""
    return text if re.fullmatch(r"[\w./+-]+", text) else "'" + text.replace("'", "'\\''") + "'"
