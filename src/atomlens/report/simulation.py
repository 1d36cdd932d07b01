"""The page of a simulation, or of checked data: what was done, how well, what to mind, and the panels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from atomlens.data.system import AtomicSystem
from atomlens.panel import Table
from atomlens.report.captions import THESIS
from atomlens.report.explanations import explained_section, write_page
from atomlens.report.formatting import count, is_number, plain, significant, uncertain
from atomlens.report.panel_content import (
    FigureName,
    Labelled,
    Words,
    data_facts,
    in_words,
    model_facts,
    named,
    outcomes,
    said,
    table_content,
)
from atomlens.wording import counted

Kind = Literal["relax", "vibrations", "md", "pimd", "data"]
_OVERLINES: dict[Kind, str] = {
    "relax": "Structures relaxed under a neural network",
    "vibrations": "Vibrations under a neural network",
    "md": "Molecular dynamics under a neural network",
    "pimd": "Path-integral molecular dynamics under a neural network",
    "data": "Structures and labels, checked",
}
_WORDS = Words("the simulation as a whole", "Atoms", "What moves can be paused and moved by hand.")
_OF_DATA = Words("the data set as a whole", "Atoms", "Shown are the structures that the checks name first.", True)
_ASE = "A. H. Larsen et al., The atomic simulation environment, J. Phys.: Condens. Matter 29, 273002 (2017)"
_IPI = "Y. Litman et al., i-PI 3.0: a flexible and efficient framework, J. Chem. Phys. 161, 062504 (2024)"
_SHOWN_WARNINGS = 12  # the others are folded


@dataclass(frozen=True)
class Tile:
    """A number at the head of the page, such as a temperature with its error or the time that a run took."""

    label: str
    value: str | float  # a text is shown as it is
    unit: str = ""
    error: float | None = None  # of the value, in its unit
    note: str = ""  # a few words

    @property
    def shown(self) -> str:
        """The value in words."""
        if isinstance(self.value, str):
            return self.value
        return significant(self.value) if self.error is None else uncertain(self.value, self.error)


def write_simulation(
    folder: str | Path,
    *,
    title: str,
    kind: Kind,
    headline: str,
    systems: Sequence[AtomicSystem],
    names: Sequence[str],
    models: Sequence[Mapping[str, Any]],
    panels: Sequence[Labelled],
    pictures: Mapping[FigureName, Path],
    about: Mapping[str, Any],
    tiles: Sequence[Tile] = (),
    settings: Mapping[str, Any] | BaseModel | None = None,
    warnings: Sequence[str] | None = None,
    alarms: int | None = None,
    folders: Mapping[tuple[str, int | None], Path] | None = None,
) -> Path:
    """Write ``report.html`` into a folder, in one step.

    Args:
        folder: where; links lead from there to the figures' files.
        title: of the page.
        kind: of the simulation.
        headline: one sentence: what was simulated, for how long, and what came out of it. The page adds how the checks
            ended and whether the guard raised alarms; not of checked data, where the headline says it.
        systems: the structures shown, at rest.
        names: of the structures.
        models: see `atomlens.report.explanations.write_explanations`.
        panels: every panel with its topic, in the order of the page.
        pictures: topic, place of the structure (None: about the run as a whole) and figure, to its SVG, with a PNG
            beside it.
        about: ``atomlens_version``, ``created``, ``command`` and ``data`` (facts on the training data), where
            known.
        tiles: numbers at the head of the page, before those of checks and alarms.
        settings: by name, or a configuration, whose meanings are then shown as well.
        warnings: sentences of the guard that watched the run; empty: it raised no alarm. None: there was no guard.
            Of checked data what is wrong or doubtful.
        alarms: how many alarms those sentences sum up; None: one each.
        folders: where a panel's other files are; by default the folder of its figures.

    Raises:
        InputError: a figure cannot be read.
    """
    target = Path(folder) / "report.html"
    shown = list(map(named, names, systems))
    words = _OF_DATA if kind == "data" else _WORDS
    found = outcomes(panels, shown, words)
    raised = None if warnings is None else len(warnings) if alarms is None else alarms
    guarded = "" if raised is None else f", and the guard raised {counted(raised, 'alarm') if raised else 'no alarm'}"
    ended = "" if kind == "data" else f"; {found.verdict}{guarded}"
    ending = [] if kind == "data" else [*_alarms(raised), found.checks_tile]
    return write_page(
        target,
        "simulation.html",
        explained_section(target.parent, systems, names, panels, pictures, folders, words),
        title=reduce(named, sorted(systems, key=lambda system: -len(system.formula)), title),
        overline=_OVERLINES[kind],
        subject="data" if kind == "data" else "simulation",
        summary={
            "headline": f"{headline.rstrip('.')}{ended}.",
            "tiles": [*map(_tile, tiles), *ending],
            "failed": found.failed,
            "findings": found.findings,
        },
        warnings=warnings,
        shown_warnings=_SHOWN_WARNINGS,
        settings=_settings(settings),
        facts=[*map(model_facts, models), *_data(about.get("data"))],
        about=about,
        sources={"thesis": THESIS, "ase": _ASE} | ({"ipi": _IPI} if kind == "pimd" else {}),
    )


def _data(facts: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    return data_facts({"name": "Training data", **facts}) if facts else []


def _tile(tile: Tile) -> dict[str, str]:
    return {"label": tile.label, "value": tile.shown, "unit": tile.unit, "note": tile.note}


def _alarms(raised: int | None) -> list[dict[str, str]]:
    note = "of the guard that watched the run"
    return [] if raised is None else [{"label": "Alarms", "value": count(raised), "note": note}]


def _settings(settings: Mapping[str, Any] | BaseModel | None) -> dict[str, Any]:
    """The table of settings; what was left out is not shown."""
    if isinstance(settings, BaseModel):
        rows = tuple(_declared(settings))
        return table_content(Table("Settings", ("setting", "value", "meaning"), rows))
    pairs = ((in_words(name), _chosen(value)) for name, value in (settings or {}).items())
    return table_content(Table("Settings", ("setting", "value"), tuple(pair for pair in pairs if pair[1])))


def _declared(config: BaseModel, above: str = "") -> list[tuple[str, str, str]]:
    """Name, value and meaning of every field, those of parts under the name of the part."""
    rows: list[tuple[str, str, str]] = []
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        if isinstance(value, BaseModel):
            rows += _declared(value, f"{above}{name}.")
        elif value is not None:
            rows.append((in_words(f"{above}{name}"), _chosen(value), field.description or ""))
    return rows


def _chosen(value: Any) -> str:
    """A value that someone chose: all digits that it has."""
    return plain(value) if is_number(value) else said(value)
