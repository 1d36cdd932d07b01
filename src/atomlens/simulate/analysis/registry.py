"""The registry of the analyses of runs: one row each, in the order of the page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from atomlens.errors import InputError
from atomlens.panel import Panel, Topic
from atomlens.progress import track
from atomlens.simulate.analysis import sizes_panel, spectra_panel, structure_panel, thermodynamics_panel
from atomlens.simulate.analysis.settings import RunSettings
from atomlens.simulate.frames import Frames


@dataclass(frozen=True)
class RunAnalysis:
    """A subject, and what makes its panel of a run, with a second run beside it or without.

    It raises `InputError` with one sentence where the run does not hold what the analysis needs.
    """

    topic: Topic
    panel: Callable[[Frames, RunSettings, Frames | None], Panel]


RUN_ANALYSES: tuple[RunAnalysis, ...] = (
    RunAnalysis(structure_panel.TOPIC, structure_panel.structure_panel),
    RunAnalysis(sizes_panel.TOPIC, sizes_panel.sizes_panel),
    RunAnalysis(spectra_panel.TOPIC, spectra_panel.spectra_panel),
    RunAnalysis(thermodynamics_panel.TOPIC, thermodynamics_panel.thermodynamics_panel),
)


def run_panels(
    frames: Frames, settings: RunSettings | None = None, beside: Frames | None = None, *, title: str = ""
) -> tuple[Panel, ...]:
    """Every panel of a run; where one cannot be made it says why.

    Args:
        frames: the run, equilibration included.
        settings: names, temperature, how much to leave out.
        beside: a second run of the same structure to compare with, such as one with quantum nuclei.
        title: of the progress bar; nothing is shown without one.
    """
    settings = settings or RunSettings()
    panels = []
    with track(title, len(RUN_ANALYSES), "analyses") as bar:
        for row in RUN_ANALYSES:
            try:
                panels.append(row.panel(frames, settings, beside))
            except InputError as error:
                panels.append(Panel(row.topic.name, unavailable=str(error)))
            bar.advance()
    return tuple(panels)
