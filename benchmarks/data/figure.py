"""The figure beside the results: molecules read a second, by format and way of reading."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from atomlens.figures.style import BLUE, GREEN, INK, MUTED, ORANGE, log_axis, new_figure, save_figure, styled
from benchmarks.data.formats import TITLES
from benchmarks.data.report import WORDS

# Told apart by every kind of colour vision, and by their markers.
STYLES = {"store": (BLUE, "o"), "ase": (ORANGE, "s"), "groups": (MUTED, "^"), "flat": (GREEN, "D")}
_APART = 0.17  # of formats, where ways of reading are 1 apart


def save(results: Mapping[str, Any], path: Path) -> Path:
    """Draw the results and write an SVG and a PNG beside ``path``."""
    return save_figure(draw(results), path.parent, path.stem)


@styled
def draw(results: Mapping[str, Any]) -> Figure:
    """Medians with quartiles on a logarithmic axis, and the rate that is asked for."""
    figure = new_figure(height=3.6, width=6.4)
    axes = figure.subplots()
    drawn = [float(results["target"])]
    present = [key for key, entry in results["formats"].items() if "reads" in entry]
    for number, key in enumerate(present):
        drawn += _points(axes, results["formats"][key]["reads"], key, (number - 0.5 * (len(present) - 1)) * _APART)
    axes.plot(
        [results["target"]] * 2,
        [0.6, len(WORDS) - 0.5],
        color=INK,
        ls=(0, (2, 1.5)),
        lw=1.2,
        label="asked for in batches",
    )
    low, high = 0.6 * min(drawn), 1.8 * max(drawn)
    log_axis(axes, "x", low, high)
    axes.set_xlim(low, high)
    axes.set_yticks(range(len(WORDS)), list(WORDS.values()))
    axes.set_ylim(len(WORDS) - 0.5, -0.5)
    for between in range(1, len(WORDS)):
        axes.axhline(between - 0.5, color=MUTED, lw=0.4, alpha=0.5)
    axes.set_xlabel("random molecules read per second (log scale)")
    axes.grid(visible=True, axis="x")
    axes.tick_params(length=0)
    axes.figure.legend(loc="outside upper left", ncols=3)
    return figure


def _points(axes: Axes, reads: Mapping[str, Any], key: str, shift: float) -> list[float]:
    colour, marker = STYLES[key]
    rates = [reads[kind]["rate"] for kind in WORDS]
    middle = [rate["median"] for rate in rates]
    errors = [
        [rate["median"] - rate["lower"] for rate in rates],
        [rate["upper"] - rate["median"] for rate in rates],
    ]
    places = [place + shift for place in range(len(WORDS))]
    axes.errorbar(
        middle, places, xerr=errors, fmt=marker, color=colour, ms=4.5, elinewidth=1.0, capsize=2, label=TITLES[key]
    )
    for value, rate, place in zip(middle, rates, places, strict=True):
        text = f"{value / 1000:.0f}k" if value >= 9_500 else f"{value / 1000:.1f}k"
        behind = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
        axes.annotate(
            text,
            (rate["upper"], place),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=6.5,
            bbox=behind,
        )
    return [value for rate in rates for value in (rate["lower"], rate["upper"])]
