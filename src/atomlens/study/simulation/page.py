"""The page and the summary of a simulation, from its panels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from atomlens.data.system import AtomicSystem
from atomlens.files import write_json
from atomlens.panel import Panel, Topic
from atomlens.report.simulation import Kind, Tile, write_simulation
from atomlens.study.explanation import described
from atomlens.study.panels import finite, write_panels
from atomlens.study.simulation.subject import Simulated


@dataclass(frozen=True)
class Told:
    """What a simulation has to say beside its panels."""

    kind: Kind
    title: str
    headline: str  # one sentence
    settings: BaseModel | None = None
    tiles: Sequence[Tile] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)  # for summary.json
    warnings: Sequence[str] | None = None  # of the guard; None: there was none
    alarms: int | None = None
    data: Mapping[str, Any] | None = None  # facts of the data set, for the foot of the page


def write_page(
    folder: Path,
    told: Told,
    simulated: Simulated | None,
    shown: Sequence[tuple[str, AtomicSystem]],
    panels: Iterable[tuple[Topic, Panel]],
    command: str,
) -> dict[str, Any]:
    """Write every panel, ``summary.json`` and ``report.html``.

    Args:
        folder: where.
        told: what to say beside the panels.
        simulated: the model and its structures; None where runs are looked at that are over.
        shown: name and structure of those with panels of their own.
        panels: made one by one, so that their figures need not be kept.
        command: by which this was asked for.

    Returns:
        What is in ``summary.json``.
    """
    names, systems = [name for name, _ in shown], [system for _, system in shown]
    written = write_panels(folder / "panels", panels, names)
    models = [] if simulated is None else [described(simulated.model_name, simulated.model)]
    about: dict[str, Any] = {
        "atomlens_version": version("atomlens"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
    }
    if told.data is not None:
        about["data"] = told.data
    summary: dict[str, Any] = {
        **about,
        "kind": told.kind,
        "headline": told.headline,
        **({} if simulated is None else {"model": models[0], "structures": simulated.file}),
        **({} if told.settings is None else {"settings": told.settings.model_dump(mode="json")}),
        **told.facts,
        "checks": written.checked(claims=False),
        "claims": written.checked(claims=True),
        "panels": written.listed(names, folder),
    }
    if told.warnings is not None:
        summary["warnings"] = list(told.warnings)
    write_simulation(
        folder,
        title=told.title,
        kind=told.kind,
        headline=told.headline,
        systems=systems,
        names=names,
        models=models,
        panels=written.panels,
        pictures=written.pictures,
        folders=written.folders,
        about=about,
        tiles=told.tiles,
        settings=told.settings,
        warnings=told.warnings,
        alarms=told.alarms,
    )
    write_json(folder / "summary.json", finite(summary))
    return summary
