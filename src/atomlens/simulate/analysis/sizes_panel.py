"""The panel of how large a molecule is along a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from atomlens.errors import InputError
from atomlens.figures import dynamics as drawing
from atomlens.panel import Check, Panel, Topic
from atomlens.simulate.analysis.distributions import Density, common_limits, fitting_bins
from atomlens.simulate.analysis.pairs import pair_distances
from atomlens.simulate.analysis.settings import RunSettings
from atomlens.simulate.analysis.sizes import (
    check_open,
    diameter_density,
    gyration,
    gyration_density,
    largest_distance,
    opposite_density,
    opposite_pairs,
)
from atomlens.simulate.analysis.wording import (
    BY_BLOCKS,
    comparison,
    density_chart,
    density_line,
    density_table,
    halves_check,
    length_check,
    matching,
    told,
    trust,
)
from atomlens.simulate.frames import Frames

TOPIC = Topic(
    "sizes",
    "Size of the molecule",
    "Diameter: the largest distance between two atoms. Cage width: the mean distance of opposite atoms, where every "
    "atom has one. Radius of gyration: sqrt(Σ m |r - R|² / Σ m) about the centre of mass R.",
    "thesis 5.3, figure 5.6",
)
_HOW = (
    BY_BLOCKS + " The diameter follows whichever two atoms are farthest apart, so that it grows with every vibration; "
    "the cage width averages these out."
)


def sizes_panel(frames: Frames, settings: RunSettings, beside: Frames | None = None) -> Panel:
    """Sizes along a run and, if there is one, along a run beside it.

    Raises:
        InputError: the structure is periodic or a single atom, or the runs are of different structures.
    """
    check_open(frames)
    frames, beside = matching(frames, beside, settings)
    runs = [frames] if beside is None else [frames, beside]
    names = [settings.name, settings.beside][: len(runs)]
    sizes = _sizes(runs, settings)
    rows = list(sizes.values())
    checks = [_by_pairs(frames)]
    for name, density in zip(names, sizes["radius of gyration"], strict=True):
        checks += [*halves_check(density.series, density.name, name), length_check(density, name)]
    facts: dict[str, Any] = {"unit": "Å", "runs": names}
    for kind, densities in sizes.items():
        key = kind.replace(" ", "_")
        facts[key] = dict(zip(names, (each.to_dict() for each in densities), strict=True))
        between = comparison(densities)
        if between is not None:
            facts[f"{key}_comparison"] = between.to_dict()
    return Panel(
        TOPIC.name,
        reading=" ".join(told(densities, names).strip() for densities in rows),
        trust=trust(frames, beside, settings, [each.caution for densities in rows for each in densities], _HOW),
        checks=tuple(checks),
        facts=facts,
        figures={"sizes": _figure(sizes, names), "size_traces": _traces(sizes, runs, names)},
        tables=(density_table("Sizes by run, with one standard error", names, rows),),
        views=tuple(
            density_chart(kind.capitalize(), list(zip(names, densities, strict=True)))
            for kind, densities in sizes.items()
        ),
    )


def _sizes(runs: Sequence[Frames], settings: RunSettings) -> dict[str, list[Density]]:
    """Every size, of all runs, on common bins."""
    found: dict[str, list[Density]] = {}
    bins = fitting_bins(runs, settings.bins)
    limits = common_limits(runs, largest_distance)
    found["diameter"] = [diameter_density(each, bins=bins, limits=limits) for each in runs]
    try:
        pairs = opposite_pairs(runs[0])
    except InputError:  # no cage
        pairs = np.empty((0, 2), dtype=np.int64)
    if len(pairs) > 1:
        distances = pair_distances(pairs[:, 0], pairs[:, 1])
        limits = common_limits(runs, lambda *both: distances(*both).mean(axis=0, keepdims=True))
        found["cage width"] = [opposite_density(each, pairs, bins=bins, limits=limits) for each in runs]
    limits = common_limits(runs, gyration(runs[0].masses))
    found["radius of gyration"] = [gyration_density(each, bins=bins, limits=limits) for each in runs]
    return found


def _by_pairs(frames: Frames) -> Check:
    """The radius of gyration by its other formula, Σ_i<j m_i m_j r_ij² / M², in the last frame."""
    points = np.asarray(frames.positions[-1:, -1], dtype=float)
    first, second = np.triu_indices(len(frames.numbers), 1)
    apart = pair_distances(first, second)(points, frames.cells[-1:, -1])[:, 0]
    products = frames.masses[first] * frames.masses[second]
    other = float(np.sqrt((products * np.square(apart)).sum()) / frames.masses.sum())
    worst = abs(other - float(gyration(frames.masses)(points, frames.cells[-1:, -1])[0, 0]))
    what = "Radius of gyration of the last frame, from the centre of mass and from distances between atoms"
    return Check("two formulas", what, worst, "below 1e-9 Å", "Å", worst < 1e-9)


def _figure(sizes: dict[str, list[Density]], names: Sequence[str]) -> Any:
    plots = []
    for kind, densities in sizes.items():
        lines = [density_line(name, each) for name, each in zip(names, densities, strict=True)]
        plots.append(drawing.Plot(f"{kind} (Å)", "density (1/Å)", lines))
    return drawing.curves(plots)


def _traces(sizes: dict[str, list[Density]], runs: Sequence[Frames], names: Sequence[str]) -> Any:
    """Sizes along time, mean of all copies."""
    plots = []
    for kind, densities in sizes.items():
        lines = []
        for name, density, frames in zip(names, densities, runs, strict=True):
            block = max(1, len(frames.times) // len(density.series))
            times = frames.times[len(frames.times) - block * len(density.series) :: block] * 1e-3
            lines.append(drawing.Line(name, times, density.series.mean(axis=1)))
        plots.append(drawing.Plot("time (ps)", f"{kind} (Å)", lines))
    return drawing.traces(plots)
