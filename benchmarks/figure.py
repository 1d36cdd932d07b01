"""The figure beside the results: how much faster, and how time grows with size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from atomlens.figures.style import (
    BLUE,
    GREEN,
    INK,
    MUTED,
    ORANGE,
    light_grid,
    log_axis,
    new_figure,
    save_figure,
    styled,
)
from benchmarks.cases import SCALING
from benchmarks.process import BASELINE, EXACT, FAST
from benchmarks.report import TITLES

# Blue and orange are told apart by every kind of colour vision; grey differs from both in brightness, markers in shape.
STYLES = {"pyg": (MUTED, "s"), EXACT: (ORANGE, "D"), FAST: (BLUE, "o")}
HEIGHT = 0.26  # of a bar, where cases are 1 apart


def save(results: Mapping[str, Any], path: Path) -> Path:
    """Draw the results and write an SVG and a PNG beside ``path``."""
    return save_figure(draw(results), path.parent, path.stem)


@styled
def draw(results: Mapping[str, Any]) -> Figure:
    """Bars of speed against schnetpack with quartiles; time against atoms where it was measured."""
    cases, scaling = results["cases"], results.get("scaling")
    panels = bool(cases) + bool(scaling)
    rows = _rows(cases)
    figure = new_figure(height=max(3.4, 1.1 + 0.6 * len(rows)), width=5.0 + 3.6 * (panels > 1))
    widths = [5.0, 3.6][:panels]
    axes = figure.subplots(1, max(panels, 1), squeeze=False, width_ratios=widths or None)[0]
    if cases:
        _advantages(axes[0], rows)
    if scaling:
        _growth(axes[-1], scaling, cases)
    return figure


@dataclass(frozen=True)
class _Row:
    title: str
    spreads: Mapping[str, Mapping[str, float]]  # by contestant: median, lower, upper
    target: float | None


def _rows(cases: Sequence[Mapping[str, Any]]) -> list[_Row]:
    """One row of bars per case, and one for memory where it was measured."""
    rows = []
    for case in cases:
        entries = case["contestants"]
        speeds = {key: entry["speed"] for key, entry in entries.items() if "speed" in entry}
        rows.append(_Row(f"{case['number']} {case['title']}", speeds, case["targets"]["speed"]))
        memory = {key: entry["memory"]["mebibytes"] for key, entry in entries.items() if entry.get("memory")}
        if BASELINE in memory and case["targets"]["memory"]:
            less = {key: memory[BASELINE] / max(value, 1.0) for key, value in memory.items() if key != BASELINE}
            spreads = {key: dict.fromkeys(("median", "lower", "upper"), value) for key, value in less.items()}
            rows.append(_Row(f"{case['number']} the same, peak memory", spreads, 1.0 / case["targets"]["memory"]))
    return rows


def _advantages(axes: Axes, rows: Sequence[_Row]) -> None:
    drawn: list[float] = [1.0]
    for place, row in enumerate(rows):
        for number, (key, (colour, _)) in enumerate(STYLES.items()):
            if key in row.spreads:
                _bar(axes, place + (number - 1) * HEIGHT, row.spreads[key], colour, TITLES[key])
                drawn += [0.9 * row.spreads[key]["lower"], 1.6 * row.spreads[key]["upper"]]
        if row.target:
            axes.plot(
                [row.target] * 2, [place - 0.42, place + 0.42], color=INK, ls=(0, (2, 1.5)), lw=1.2, label="asked for"
            )
            drawn.append(1.3 * row.target)
    axes.axvline(1.0, color=MUTED, linewidth=0.8)
    log_axis(axes, "x", min(drawn), max(drawn))
    axes.set_xlim(min(drawn), max(drawn))
    axes.set_yticks(range(len(rows)), [_wrapped(row.title) for row in rows])
    axes.set_ylim(len(rows) - 0.45, -0.55)
    axes.set_xlabel(f"times better than {BASELINE}\n(median and quartiles of rounds, log scale)")
    axes.grid(visible=True, axis="x")
    axes.tick_params(length=0)
    named = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))  # each label once
    axes.figure.legend(named.values(), named.keys(), loc="outside upper left", ncols=4)


def _bar(axes: Axes, y: float, spread: Mapping[str, float], colour: str, label: str) -> None:
    middle, lower, upper = spread["median"], spread["lower"], spread["upper"]
    whiskers = {"ecolor": INK, "elinewidth": 0.9, "capsize": 1.5}
    errors = [[middle - lower], [upper - middle]]
    axes.barh(y, middle - 1.0, 0.92 * HEIGHT, left=1.0, color=colour, xerr=errors, error_kw=whiskers, label=label)
    text = f"{middle:.2g}" if middle < 10 else f"{middle:.0f}"
    axes.annotate(text, (max(upper, 1.0), y), xytext=(4, 0), textcoords="offset points", va="center", fontsize=7)


def _growth(axes: Axes, scaling: Mapping[str, Any], cases: Sequence[Mapping[str, Any]]) -> None:
    sizes = [row["atoms"] for row in scaling["sizes"]]
    times = [row["seconds"] for row in scaling["sizes"]]
    lists = [row["neighbour_list_seconds"] for row in scaling["sizes"]]
    colour, marker = STYLES[FAST]
    axes.plot(
        sizes, times, color=colour, marker=marker, ms=4, label=f"{TITLES[FAST]}: time ∝ atoms^{scaling['slope']:.2f}"
    )
    axes.plot(sizes, lists, color=GREEN, ls=":", marker=".", label="neighbour list (not included)")
    values = [*lists, *times]
    for key, entry in (item for case in cases if case["number"] == SCALING for item in case["contestants"].items()):
        if "seconds" in entry and key != FAST:
            shade, shape = STYLES.get(key, (INK, "^"))
            atoms = next(case["about"]["atoms"] for case in cases if case["number"] == SCALING)
            values.append(entry["seconds"]["median"])
            axes.plot(atoms, values[-1], shape, color=shade, ms=5, label=TITLES[key])
    log_axis(axes, "x", min(sizes), max(sizes))
    log_axis(axes, "y", min(values), max(values))
    axes.set(xlabel="silicon atoms", ylabel="energy + forces / s")
    light_grid(axes)
    axes.set_ylim(top=15 * max(values))  # room for the legend
    axes.legend(loc="upper left", fontsize=7)


def _wrapped(title: str, width: int = 30) -> str:
    lines = [""]
    for word in title.split():
        if len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)
