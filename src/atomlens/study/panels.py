"""Panels on disk: of each its numbers, its figures, and its files for other programs, in a folder of its own."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from atomlens.figures import save_figure
from atomlens.files import replacing, write_json
from atomlens.panel import Panel, Topic

_WORDS = ("unavailable", "reading", "trust", "checks")  # of a panel; its numbers lie in panel.json
Pictures = dict[tuple[str, int | None, str], Path]


@dataclass(frozen=True)
class WrittenPanels:
    """Panels that are written: their figures are on disk, what the page needs is kept."""

    panels: tuple[tuple[Topic, Panel], ...]
    pictures: Pictures  # (analysis, place of the structure, figure) to the SVG, with a PNG beside it
    folders: dict[tuple[str, int | None], Path]  # (analysis, place of the structure) to where its files are

    def checked(self, *, claims: bool) -> dict[str, Any]:
        """How many checks of computations (or claims) there were, and where which failed."""
        checks = [(row, panel, check) for row, panel in self.panels for check in panel.checks if check.claim is claims]
        failed = [
            {"analysis": row.name, "structure": panel.structure, "name": check.name}
            for row, panel, check in checks
            if not check.passed
        ]
        return {"count": len(checks), "failed": failed}

    def listed(self, names: Sequence[str], folder: Path) -> list[dict[str, Any]]:
        """Of each panel its words, and where its figures and files lie below ``folder``, for ``summary.json``."""
        return [self._listed(row, panel, names, folder) for row, panel in self.panels]

    def _listed(self, row: Topic, panel: Panel, names: Sequence[str], folder: Path) -> dict[str, Any]:
        drawn = [path for (*key, _), path in self.pictures.items() if key == [row.name, panel.structure]]
        where = self.folders[row.name, panel.structure].relative_to(folder).as_posix()
        return {
            "analysis": row.name,
            "title": row.title,
            "structure": None if panel.structure is None else names[panel.structure],
            "folder": where,
            "figures": [path.relative_to(folder).as_posix() for path in drawn],
            "files": [f"{where}/{name}" for name in panel.files],
            **{name: value for name, value in panel.to_dict().items() if name in _WORDS},
        }


def write_panel(folder: str | Path, topic: Topic, panel: Panel, name: str | None = None) -> Pictures:
    """Write ``panel.json``, the figures and the files of one panel into `panel_folder`, each in one step.

    Args:
        folder: of all panels.
        topic: what the panel is about.
        panel: what to write.
        name: of the structure that it is about; None: it is about models or data.

    Returns:
        (analysis, place of the structure, figure) to the SVG, with a PNG beside it.
    """
    where = panel_folder(folder, topic, name)
    pictures = {
        (topic.name, panel.structure, title): save_figure(figure, where, title)
        for title, figure in panel.figures.items()
    }
    for file, write in panel.files.items():
        with replacing(where / file) as temporary:
            write(temporary)
    write_json(where / "panel.json", finite(panel.to_dict()))
    return pictures


def panel_folder(folder: str | Path, topic: Topic, name: str | None = None) -> Path:
    """Where `write_panel` puts the panel of a structure of this name (None: of models or data)."""
    return Path(folder) / topic.name / ("models" if name is None else _file_name(name))


def write_panels(folder: str | Path, panels: Iterable[tuple[Topic, Panel]], names: Sequence[str]) -> WrittenPanels:
    """Write every panel as soon as it is there, see `write_panel`; its figures are not kept in memory.

    Args:
        folder: of all panels.
        panels: with what they are about.
        names: of the structures, by their places.
    """
    kept: list[tuple[Topic, Panel]] = []
    pictures: Pictures = {}
    folders: dict[tuple[str, int | None], Path] = {}
    for topic, panel in panels:
        name = None if panel.structure is None else names[panel.structure]
        pictures |= write_panel(folder, topic, panel, name)
        folders[topic.name, panel.structure] = panel_folder(folder, topic, name)
        kept.append((topic, replace(panel, figures={})))
    return WrittenPanels(tuple(kept), pictures, folders)


def _file_name(name: str) -> str:
    """The name of a structure as the name of a folder."""
    plain = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in name)
    return f"structure_{plain[:80]}"


def finite(value: Any) -> Any:
    """The same with None for numbers that JSON has no word for: what is not defined costs no other panel."""
    if isinstance(value, Mapping):
        return {name: finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
