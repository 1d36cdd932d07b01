"""Figure of bond-breaking sensitivity: how features answer to a distance, above the data's pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from atomlens.figures import style

COLOURS = (style.BLUE, style.ORANGE, style.GREEN, "#7a43a3", "#96492f", "#3d8f99")
_DATA = "#cfd6dc"
_TOP = 1.15  # of curves scaled to one; what is steeper, at distances that no data have, leaves the frame
_SHARE = 0.62  # of the frame's height, for the data's highest bar
_BIN = 0.05  # Å


@dataclass(frozen=True)
class Line:
    """One curve."""

    name: str  # for the legend; curves of one name share a colour
    x: np.ndarray  # (points,) Å
    y: np.ndarray  # (points,)
    dashed: bool = False


@dataclass(frozen=True)
class PairPanel:
    """What is drawn of one pair of elements."""

    title: str
    lines: Sequence[Line]
    seen: np.ndarray  # (pairs,) Å, of the data; none where there are no data


@style.styled
def sensitivities(
    panels: Sequence[PairPanel], label: str, *, end: float | None = None, scaled: bool = False, note: str = ""
) -> Figure:
    """Sensitivity against distance, one frame per pair of elements (thesis fig. 4.11-4.13).

    Args:
        panels: one or more pairs.
        label: of the vertical axis, with its unit.
        end: of the distances shown, in Å; by default all.
        scaled: the curves' largest value is one wherever data are.
        note: what dashed curves are.
    """
    names = list(dict.fromkeys(line.name for panel in panels for line in panel.lines))
    colours = {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(names)}
    figure = style.new_figure(0.75 + 1.35 * len(panels) + 0.16 * ((len(names) + 2) // 3))
    frames = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, panel in zip(frames, panels, strict=True):
        _draw(axes, panel, colours, scaled)
        axes.set_title(panel.title, fontsize=9.5, fontweight="bold", loc="left", pad=3)
    frames[0].set_title(note, fontsize=7.5, color=style.MUTED, loc="right", pad=3)
    start = min(float(line.x.min()) for panel in panels for line in panel.lines)
    last = max(float(line.x.max()) for panel in panels for line in panel.lines)
    frames[-1].set_xlim(start, end or last)
    frames[-1].set_xlabel("distance of the two atoms (Å)")
    figure.supylabel(label, fontsize=9.0, color=style.INK)
    handles = _legend(frames.tolist())
    figure.legend(
        list(handles.values()), list(handles), loc="outside upper center", ncols=3, handlelength=1.4, columnspacing=1.2
    )
    return figure


def _draw(axes: Axes, panel: PairPanel, colours: dict[str, str], scaled: bool) -> None:
    top = _TOP if scaled else 1.08 * max(float(line.y.max()) for line in panel.lines) or 1.0
    if panel.seen.size:
        bins = np.arange(0.0, panel.seen.max() + 2 * _BIN, _BIN)
        counts, edges = np.histogram(panel.seen, bins)
        heights = _SHARE * top * counts / counts.max()
        axes.stairs(heights, edges, fill=True, color=_DATA, label="pairs in the data", zorder=1)
    for line in panel.lines:
        pattern = (0, (3, 1.6)) if line.dashed else "-"
        axes.plot(line.x, line.y, color=colours[line.name], ls=pattern, lw=1.3, label=line.name, zorder=3)
    axes.set_ylim(0.0, top)
    style.light_grid(axes)


def _legend(frames: Sequence[Axes]) -> dict[str, Artist]:
    """Every name once, with its first line, which is not dashed."""
    found: dict[str, Artist] = {}
    for axes in frames:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    return {name: found[name] for name in sorted(found, key=lambda name: name == "pairs in the data")}
