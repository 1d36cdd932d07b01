"""``atomlens simulate compare``: two runs of the same atoms over each other, such as classical and quantum nuclei."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ase.formula import Formula
from pydantic import Field

from atomlens.config import Config
from atomlens.data.system import AtomicSystem
from atomlens.data.system import formula as formula_of
from atomlens.errors import InputError
from atomlens.files import check_folder, made_at_once, read_json
from atomlens.panel import Panel, Topic
from atomlens.progress import say, track
from atomlens.simulate.analysis.registry import RUN_ANALYSES
from atomlens.simulate.analysis.settings import RunSettings
from atomlens.simulate.frames import Frames
from atomlens.simulate.frames_file import read_frames
from atomlens.simulate.settings import SETTINGS
from atomlens.study.simulation.moving import made, resolution_of, thinned
from atomlens.study.simulation.page import Told, write_page


class ComparisonConfig(Config):
    """Which runs are laid over each other."""

    name: str = Field("", description="of the first run in legends; by default that of its folder")
    beside: str = Field("", description="of the second run; by default that of its folder")


def compare_runs(
    run: str | Path, beside: str | Path, out: str | Path, config: ComparisonConfig | None = None, *, command: str = ""
) -> dict[str, Any]:
    """Distributions, spectra and averages of two runs in the same figures, with the differences and their errors.

    Args:
        run: folder of a run of molecular dynamics or of paths, also of one that has not ended.
        beside: folder of another one of the same atoms.
        out: a new or empty folder.
        config: names.
        command: by which this was asked for, for the page.

    Returns:
        What is in ``summary.json``.

    Raises:
        InputError: a folder holds no run, or the runs are of different structures.
    """
    config, folder = config or ComparisonConfig(), check_folder(out, resumable=False)
    first, second = _read(Path(run)), _read(Path(beside))
    if not np.array_equal(first.numbers, second.numbers):
        kinds = " and ".join(formula_of(each.numbers) for each in (first, second))
        raise InputError(f"the runs are of different structures ({kinds}); compare runs of one")
    shorter = min((first, second), key=lambda frames: frames.times[-1] - frames.times[0])
    settings = RunSettings(
        resolution=resolution_of(float(shorter.times[-1] - shorter.times[0]), min(first.replicas, second.replicas)),
        name=config.name or Path(run).name,
        beside=config.beside or Path(beside).name,
        temperature=_temperature(Path(run), Path(beside)),
    )
    system = AtomicSystem(first.numbers, first.centroids().positions[0, 0], first.cells[0, 0], first.pbc)
    with made_at_once(folder) as temporary:
        return write_page(
            temporary,
            Told(
                kind="pimd" if max(first.beads, second.beads) > 1 else "md",
                title="Two runs",
                headline=f"{system.formula}: {settings.name} beside {settings.beside}",
                settings=settings,
                facts={"runs": [str(run), str(beside)]},
            ),
            None,
            [(system.formula, system)],
            _panels(first, second, settings),
            command,
        )


def _read(folder: Path) -> Frames:
    settings = read_json(folder / SETTINGS)
    try:
        every = thinned(settings["config"], int(settings["copies"]), len(Formula(settings["formula"])))
    except (KeyError, TypeError, ValueError):
        raise InputError("does not hold the settings of a run; give its folder", file=str(folder / SETTINGS)) from None
    if every > 1:
        say(f"{folder.name} is long: one frame in {every} is analysed")
    return read_frames(folder, every=every)


def _temperature(*folders: Path) -> float | None:
    """What the thermostats of all runs were set to; None where that is not one temperature: each has its own then."""
    configs = [read_json(folder / SETTINGS)["config"] for folder in folders]
    found = {None if config.get("ensemble") == "nve" else float(config["temperature"]) for config in configs}
    return found.pop() if len(found) == 1 else None


def _panels(first: Frames, second: Frames, settings: RunSettings) -> Iterator[tuple[Topic, Panel]]:
    with track("compare", len(RUN_ANALYSES), "analyses") as bar:
        for row in RUN_ANALYSES:
            yield row.topic, made(partial(row.panel, first, settings, second), row.topic)
            bar.advance()
