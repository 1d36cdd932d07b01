"""From panels to what the templates show: words, tables, checks, figures and files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from atomlens.data.system import AtomicSystem
from atomlens.panel import Chart, Distribution, Panel, Table, Topic
from atomlens.report.formatting import count, formula, is_number, measured, significant
from atomlens.report.pictures import Picture
from atomlens.report.views import histogram_chart
from atomlens.wording import counted

FigureName = tuple[str, int | None, str]  # analysis, place of the structure, figure
Labelled = tuple[Topic, Panel]


@dataclass(frozen=True)
class Words:
    """What a page of panels calls things by."""

    whole: str = "models and data"  # what panels of no structure are about
    atoms: str = "One atom among its kind"  # above the list of atoms
    remark: str = "All of it follows the network as it is; nothing was fitted for the picture."  # on the molecule
    unfolded: bool = False  # figures are not folded and tables not cut: they are all that the page draws


EXPLAINED = Words()  # of pages that explain models

# One letter with a short index: E_i, Ω_A, E_ring; but no names of files and settings.
_INDEX = re.compile(r"(?<![\w-])([A-Za-zΑ-Ωα-ωÊ])_([a-z]{1,4}|[A-Z]|\d{1,2})(?![A-Za-z0-9_])")


def summary(panels: Sequence[Labelled], names: Sequence[str], models: int) -> dict[str, Any]:
    """Numbers at the head of the page, the checks that failed, and the claims that were not borne out."""
    found = outcomes(panels, names)
    served = {row.name for row, panel in panels if not panel.unavailable}
    missing = {row.name for row, _ in panels} - served
    seen = f"{counted(models, 'model')} seen through {counted(len(served), 'analysis', 'analyses')}"
    return {
        "headline": f"{seen} on {counted(len(names), 'structure')}; {found.verdict}.",
        "tiles": [
            {"label": "Models", "value": count(models), "note": "whose answers are compared where several can serve"},
            {"label": "Structures", "value": count(len(names)), "note": "with panels of their own"},
            found.checks_tile,
            {"label": "Claims borne out", "value": _share(found.claims, len(found.findings)),
             "note": "what one may hope that networks learn"},
            {"label": "Analyses", "value": count(len(served)),
             "note": f"{len(missing)} more could not be made and say why" if missing else "all that were asked for"},
        ],
        "failed": found.failed,
        "findings": found.findings,
    }  # fmt: skip


@dataclass(frozen=True)
class Outcomes:
    """How the checks of all panels ended."""

    checks: int  # of computations
    claims: int
    failed: list[dict[str, str]]  # checks: name, where, and the id of the section
    findings: list[dict[str, str]]  # claims not borne out

    @property
    def verdict(self) -> str:
        """The end of a sentence."""
        return f"{_share(self.checks, len(self.failed))} checks passed" if self.checks else "no check was made"

    @property
    def checks_tile(self) -> dict[str, str]:
        """The number at the head of the page."""
        share = _share(self.checks, len(self.failed))
        return {"label": "Checks passed", "value": share, "note": "computations against something independent"}


def outcomes(panels: Sequence[Labelled], names: Sequence[str], wording: Words = EXPLAINED) -> Outcomes:
    """Count checks and claims, and list those that failed."""
    checks = [(row, panel, check) for row, panel in panels for check in panel.checks]
    failed, findings = (
        [
            {"id": _id(row), "name": check.name, "where": f"{row.title}, {_where(panel, names, wording)}"}
            for row, panel, check in checks
            if check.claim is claim and not check.passed
        ]
        for claim in (False, True)
    )
    claims = sum(check.claim for *_, check in checks)
    return Outcomes(len(checks) - claims, claims, failed, findings)


def _share(checks: int, failed: int) -> str:
    return f"{count(checks - failed)} of {count(checks)}"


def formulae(text: str) -> Markup:
    """A sentence with ``E_i`` and ``x_i^T`` as letters with indices and powers; everything else is escaped."""
    raised = re.sub(r"(?<=\w)\^(-?\w+)", r"<sup>\1</sup>", str(escape(text)))
    return Markup(_INDEX.sub(r"\1<sub>\2</sub>", raised))


@dataclass(frozen=True)
class Links:
    """Where the figures and files of panels are."""

    folder: Path
    figures: Mapping[FigureName, Path]
    inlined: Mapping[Path, Picture]
    folders: Mapping[tuple[str, int | None], Path]

    def pictures(self, row: Topic, panel: Panel) -> list[dict[str, Any]]:
        """The figures of a panel with links to their files."""
        return [
            {
                **vars(self.inlined[path]),
                "title": in_words(name),
                "alt": f"{row.title}: {in_words(name)}",
                "links": [self._link(path.with_suffix(suffix)) for suffix in (".svg", ".png")],
            }
            for (analysis, place, name), path in self.figures.items()
            if (analysis, place) == (row.name, panel.structure)
        ]

    def files(self, row: Topic, panel: Panel) -> list[dict[str, str]]:
        """The numbers of a panel, and what it has for other programs."""
        drawn = (path.parent for key, path in self.figures.items() if key[:2] == (row.name, panel.structure))
        where = self.folders.get((row.name, panel.structure)) or next(drawn, None)
        if where is None:
            return []
        return [self._link(where / name) for name in ("panel.json", *panel.files) if (where / name).is_file()]

    def _link(self, path: Path) -> dict[str, str]:
        return {"name": path.name, "address": Path(os.path.relpath(path, self.folder)).as_posix()}


def keyed_charts(row: Topic, panel: Panel) -> Iterator[tuple[str, Chart]]:
    """Charts with the name by which the page's script finds them; distributions of a panel about data are charts."""
    place = "data" if panel.structure is None else str(panel.structure)
    for number, view in enumerate(panel.views):
        if isinstance(view, Chart):
            yield f"{row.name}-{place}-{number}", view
        elif isinstance(view, Distribution) and panel.structure is None:
            yield f"{row.name}-{place}-{number}", histogram_chart(view)


def by_analysis(panels: Sequence[Labelled]) -> list[tuple[Topic, list[Panel]]]:
    """Panels of one analysis together: those about models or data first, then by structure."""
    rows = {row.name: row for row, _ in panels}
    grouped = {name: [panel for other, panel in panels if other.name == name] for name in rows}
    return [
        (rows[name], sorted(own, key=lambda panel: -1 if panel.structure is None else panel.structure))
        for name, own in grouped.items()
    ]


def analysis_content(
    row: Topic, panels: Sequence[Panel], names: Sequence[str], links: Links, wording: Words = EXPLAINED
) -> dict[str, Any]:
    """An analysis with its panels as the template wants them."""
    return {
        "id": _id(row),
        "title": row.title,
        "definition": row.definition,
        "source": row.source.rstrip("."),
        "panels": [_panel(row, panel, _where(panel, names, wording), links) for panel in panels],
    }


def _panel(row: Topic, panel: Panel, where: str, links: Links) -> dict[str, Any]:
    """A panel as the template wants it."""
    return {
        "structure": panel.structure,
        "heading": where[:1].upper() + where[1:],
        "label": f"{row.title}: {where}",
        "unavailable": panel.unavailable,
        "reading": panel.reading,
        "trust": panel.trust,
        "charts": [{"key": key, "title": chart.title} for key, chart in keyed_charts(row, panel)],
        "tables": [table_content(table) for table in panel.tables],
        "checks": [
            vars(check) | {"value": measured(float(check.value), check.unit.removeprefix("1"))}
            for check in panel.checks
        ],
        "pictures": links.pictures(row, panel),
        "files": links.files(row, panel),
    }


def table_content(table: Table) -> dict[str, Any]:
    """A table as the template wants it."""
    rows = [[_cell(value) for value in row] for row in table.rows]
    columns = [
        {"name": name, "numbers": bool(rows) and all(row[place]["number"] for row in rows)}
        for place, name in enumerate(table.columns)
    ]
    return {"title": table.title, "columns": columns, "rows": rows}


def _cell(value: str | int | float) -> dict[str, Any]:
    if isinstance(value, str):
        return {"text": value, "number": False}
    return {"text": significant(value.item() if hasattr(value, "item") else value), "number": True}


def model_facts(model: Mapping[str, Any]) -> dict[str, Any]:
    """Name and settings of a model in words."""
    facts = [(in_words(key), said(value)) for key, value in model.items() if key != "name"]
    return {"name": str(model.get("name", "Model")), "facts": [fact for fact in facts if fact[1]]}


def data_facts(data: Any) -> list[dict[str, Any]]:
    """The same of the data set, where something is known of it."""
    return [model_facts({"name": "Data behind distributions and errors", **data})] if data else []


def said(value: Any) -> str:
    """A setting of a model as a reader wants to see it."""
    if isinstance(value, Mapping):
        named = [f"{in_words(key).lower()} {said(each)}" for key, each in value.items() if key != "name" and said(each)]
        return ", ".join([*([str(value["name"])] if "name" in value else []), *named])
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(said(each).replace("_", " ") for each in value)
    if is_number(value):
        return significant(value)
    return "" if value is None else str(value)


def in_words(name: str) -> str:
    """A name out of a program as words."""
    plain = name.replace("_", " ")
    return plain[:1].upper() + plain[1:]


def _where(panel: Panel, names: Sequence[str], wording: Words) -> str:
    return wording.whole if panel.structure is None else names[panel.structure]


def named(name: str, system: AtomicSystem) -> str:
    """The structure's name; its formula, where that is part of it, with indices."""
    return name.replace(system.formula, formula(system.formula))


def _id(row: Topic) -> str:
    return f"analysis-{row.name}"
