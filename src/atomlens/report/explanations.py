"""The page of explanations: all panels of all structures in one interactive file that asks the network for nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from atomlens.data.system import AtomicSystem
from atomlens.files import write_text
from atomlens.panel import Motion, Trajectory
from atomlens.report import pictures as inlined
from atomlens.report.captions import PAPER, THESIS
from atomlens.report.packing import packed
from atomlens.report.panel_content import (
    EXPLAINED,
    FigureName,
    Labelled,
    Links,
    Words,
    analysis_content,
    by_analysis,
    data_facts,
    keyed_charts,
    model_facts,
    named,
    summary,
)
from atomlens.report.policy import charts_library, content_policy, library_block
from atomlens.report.stills import stills
from atomlens.report.templates import page_environment, source
from atomlens.report.views import chart_view, distributions, palette, structure_view

# Bytes of a page, of which neither a mail nor a browser takes notice: 10 MB with ten structures. The library (2 MB) and
# fields (about 0.3 MB per structure) come first, figures share what is left.
_PAGE_BYTES, _STRUCTURE_BYTES = 4_000_000, 600_000
_TEXT = 500_000  # bytes kept free for words, tables and style
_SCRIPTS = ("unpack.js", "viewer.js", "motion.js", "cut.js", "charts.js", "controls.js", "explanations.js")


@dataclass(frozen=True)
class Section:
    """Panels as part of a page, with what that page has to bring along.

    The page's policy is ``content_policy([its style + style], [its scripts, script], library)``.
    """

    markup: Markup
    contents: tuple[Mapping[str, str], ...]  # id and title of each analysis
    style: str  # beyond report.css
    script: str  # runs at the end of the body; without the library it only switches between structures
    library: str  # the source of the charts library, empty where plotly is not installed


def write_explanations(
    folder: str | Path,
    *,
    title: str,
    systems: Sequence[AtomicSystem],
    names: Sequence[str],
    models: Sequence[Mapping[str, Any]],
    panels: Sequence[Labelled],
    pictures: Mapping[FigureName, Path],
    about: Mapping[str, Any],
    folders: Mapping[tuple[str, int | None], Path] | None = None,
) -> Path:
    """Write ``report.html`` into a folder, in one step.

    Args:
        folder: where; links lead from there to the figures' files.
        title: of the page.
        systems: the structures shown.
        names: of the structures.
        models: of each model its name and whatever else is to be said about it (representation, elements, ...).
        panels: every panel with its analysis, in the order of the page.
        pictures: analysis, place of the structure (None: about models or data) and figure, to its SVG, with a PNG
            beside it.
        about: ``atomlens_version``, ``created``, ``command`` and ``data`` (facts on the data set), where known.
        folders: where a panel's other files are; by default the folder of its figures.

    Raises:
        InputError: a figure cannot be read.
    """
    target = Path(folder) / "report.html"
    section = explained_section(target.parent, systems, names, panels, pictures, folders)
    return write_page(
        target,
        "explanations.html",
        section,
        title=reduce(named, sorted(systems, key=lambda system: -len(system.formula)), title),
        summary=summary(panels, list(map(named, names, systems)), len(models)),
        several_models=len(models) > 1,
        facts=[*map(model_facts, models), *data_facts(about.get("data"))],
        about=about,
        sources={"thesis": THESIS, "insights paper": PAPER},
    )


def write_page(target: Path, template: str, section: Section, **content: Any) -> Path:
    """Write a page that extends ``shell.html`` in one step, with the section's style, script and policy."""
    environment = page_environment()
    style = source(environment, "report.css") + section.style
    text = environment.get_template(template).render(
        explained=section.markup,
        contents=section.contents,
        interactive=bool(section.library),
        style=Markup(style),
        script=Markup(section.script),
        policy=content_policy([style], [section.script], section.library),
        **content,
    )
    write_text(target, text)
    return target


def explained_section(
    folder: Path,
    systems: Sequence[AtomicSystem],
    names: Sequence[str],
    panels: Sequence[Labelled],
    pictures: Mapping[FigureName, Path],
    folders: Mapping[tuple[str, int | None], Path] | None = None,
    wording: Words = EXPLAINED,
) -> Section:
    """The panels, the molecules in three dimensions and their data, for a page that lies in ``folder``.

    Args:
        folder: see `write_explanations`, also for the arguments that follow.
        systems: structures.
        names: of the structures.
        panels: with their analyses.
        pictures: figures.
        folders: of other files.
        wording: what the page calls things by.

    Raises:
        InputError: a figure cannot be read.
    """
    environment, library = page_environment(), charts_library()
    shown = [named(name, system) for name, system in zip(names, systems, strict=True)]
    blocks = _blocks(systems, shown, panels, library)
    left = largest_page(len(systems)) - sum(len(block["packed"]) for block in blocks) - _TEXT
    still = _stills(systems, shown, panels, left // 4)
    left -= sum(len(each["address"]) for each in still)
    links = Links(folder, pictures, inlined.pictures(pictures.values(), left), folders or {})
    analyses = [analysis_content(row, own, shown, links, wording) for row, own in by_analysis(panels)]
    view = {"structures": shown, "analyses": analyses, "blocks": blocks, "interactive": bool(library)}
    view |= {"words": wording, "stills": still}
    template: Any = environment.get_template("panels.html").module
    return Section(
        Markup(template.explained(view)),
        tuple({"id": analysis["id"], "title": analysis["title"]} for analysis in analyses),
        source(environment, "explanations.css"),
        _joined(environment),
        library,
    )


def largest_page(structures: int) -> int:
    """The bytes that a page of so many structures may take; figures are made smaller until it holds."""
    return _PAGE_BYTES + _STRUCTURE_BYTES * structures


def _blocks(
    systems: Sequence[AtomicSystem], names: Sequence[str], panels: Sequence[Labelled], library: str
) -> list[dict[str, str]]:
    """What the script unpacks: one block about the page, one per structure when it is chosen, and the library."""
    if not library:
        return []
    source = library_block(library)
    general = [(row, panel) for row, panel in panels if panel.structure is None]
    views = [view for _, panel in [*general, *panels] for view in panel.views]
    page = {
        **palette(systems),
        "distributions": distributions(views),
        "charts": _charts(general),
        "sheets": source["sheets"],
    }
    blocks = [{"id": "explained-page", "packed": packed(page)}]
    for place, (name, system) in enumerate(zip(names, systems, strict=True)):
        own = [(row, panel) for row, panel in panels if panel.structure == place]
        view = structure_view(name, system, [panel for _, panel in own]) | {"charts": _charts(own)}
        blocks.append({"id": f"explained-structure-{place}", "packed": packed(view)})
    return [*blocks, {"id": "explained-library", "packed": str(source["packed"])}]


def _stills(
    systems: Sequence[AtomicSystem], names: Sequence[str], panels: Sequence[Labelled], budget: int
) -> list[dict[str, Any]]:
    """Pictures at rest of the structures that move."""
    moving = [
        panel.structure for _, panel in panels if any(isinstance(view, Motion | Trajectory) for view in panel.views)
    ]
    places = sorted({place for place in moving if place is not None})
    drawn = stills([systems[place] for place in places], budget)
    return [
        {"structure": place, "name": names[place], **vars(picture)}
        for place, picture in zip(places, drawn, strict=True)
        if picture is not None
    ]


def _charts(panels: Sequence[Labelled]) -> dict[str, Any]:
    return {key: chart_view(chart) for row, panel in panels for key, chart in keyed_charts(row, panel)}


def _joined(environment: Environment) -> str:
    """The scripts as one, in a scope of its own."""
    return '"use strict";\n(() => {\n' + "\n".join(source(environment, name) for name in _SCRIPTS) + "})();\n"
