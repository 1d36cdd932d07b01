"""Figures of rings: molecules as skeletons with their rings filled by colour, and the energies of kinds of rings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Colormap, Normalize, to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Polygon

from atomlens.figures import style

COLUMNS = 4
_LARGEST = 20.0  # points per Å, so that small molecules are not blown up
_EM = 0.85  # Å, the size of letters; RDKit draws bonds 1.5 Å long
_GAP = 0.19  # Å, between the lines of a double bond
_APART = 0.6  # Å, the least distance of two letters
_PALE = 1.35  # colours end so far beyond the values, so that lines stay visible on them


@dataclass(frozen=True)
class Sketch:
    """A molecule on paper, without hydrogens on carbon."""

    points: np.ndarray  # (heavy atoms, 2) Å
    labels: Sequence[tuple[str, str, str]]  # symbol, what follows it (hydrogens), charge; all empty for a plain corner
    bonds: Sequence[tuple[int, int, int]]  # two places in `points`, and the order
    rings: Sequence[tuple[int, ...]]  # places in `points`, in order round each ring


@dataclass(frozen=True)
class Entry:
    """A molecule of a gallery."""

    sketch: Sketch
    ring: tuple[int, ...]  # places in the sketch
    value: float  # eV, the energy of the ring
    deviation: float  # eV, from the mean of the rings that it is ranked among


@style.styled
def gallery(blocks: Mapping[str, Sequence[Entry]], label: str) -> Figure:
    """Molecules in rows, each with one ring filled by its deviation and its energy below (thesis fig. 4.14).

    Args:
        blocks: title to molecules, in the order of ranking.
        label: what the colour means; its unit is added.
    """
    factor, shown = style.shown_unit("eV")
    entries = [entry for block in blocks.values() for entry in block]
    colours = _colours(max(factor * abs(entry.deviation) for entry in entries))
    wide, high = _half_sizes([entry.sketch for entry in entries])
    scale = 72.0 * (style.WIDTH - 0.2) / (COLUMNS * 2 * wide)  # points per Å
    title, words = 22.0 / scale, 16.0 / scale  # Å, the heights of a line above and below molecules
    rows = sum(-(-len(block) // COLUMNS) for block in blocks.values())
    tall = rows * (2 * high + words) + len(blocks) * title
    figure = style.new_figure(tall * scale / 72.0 + 0.75)
    axes = _sheet(figure, (0.0, COLUMNS * 2 * wide), (-tall, 0.0))
    top = 0.0
    for name, block in blocks.items():
        axes.text(0.0, top - 0.6 * title, name, fontsize=9.0, fontweight="bold", va="center")
        top -= title
        for place, entry in enumerate(block):
            x, y = (2 * (place % COLUMNS) + 1) * wide, top - (place // COLUMNS) * (2 * high + words) - high
            fill = _colour(colours, factor * entry.deviation)
            draw_sketch(axes, entry.sketch, [(entry.ring, fill)], (x, y), scale)
            number = f"{factor * entry.value:.1f}".replace("-", "−")
            axes.text(x, y - high, number, ha="center", va="top", fontsize=7.5)
        top -= -(-len(block) // COLUMNS) * (2 * high + words)
    _bar(figure, axes, colours, f"{label} ({shown})")
    return figure


@style.styled
def molecule_rings(
    sketch: Sketch,
    rings: Sequence[tuple[int, ...]],
    deviations: Sequence[float | None],
    words: Sequence[str],
    label: str,
    usual: float = 0.0,
) -> Figure:
    """One molecule with its rings lettered and filled, and what there is to say of each above.

    Args:
        sketch: of the molecule.
        rings: places in the sketch, in order round each ring.
        deviations: eV, from the mean of rings of the kind; None leaves a ring grey.
        words: a line for every ring.
        label: what the colour means; its unit is added.
        usual: eV, a deviation that is nothing special; colours reach at least so far.
    """
    factor, shown = style.shown_unit("eV")
    known = [factor * abs(each) for each in deviations if each is not None]
    colours = _colours(max([factor * usual, *known], default=1.0))
    wide, high = _half_sizes([sketch])
    scale = min(72.0 * (style.WIDTH - 0.2) / (2 * wide), _LARGEST)
    figure = style.new_figure(2 * high * scale / 72.0 + 0.17 * len(words) + (0.8 if known else 0.3))
    half = 36.0 * (style.WIDTH - 0.2) / scale
    axes = _sheet(figure, (-half, half), (-high, high))
    fills = ["#dfe4e8" if each is None else _colour(colours, factor * each) for each in deviations]
    draw_sketch(axes, sketch, list(zip(rings, fills, strict=True)), (0.0, 0.0), scale, letters=len(rings) > 1)
    lines = [f"{chr(65 + place)}  {text}" if len(rings) > 1 else text for place, text in enumerate(words)]
    axes.set_title("\n".join(lines).replace("-", "−"), fontsize=8.0, linespacing=1.35)
    if known:
        _bar(figure, axes, colours, f"{label} ({shown})")
    return figure


def _sheet(figure: Figure, x: tuple[float, float], y: tuple[float, float]) -> Axes:
    """One frame in Å for everything: dozens of frames would take seconds to arrange."""
    axes = figure.add_subplot()
    axes.set(xlim=x, ylim=y, aspect="equal")
    axes.set_axis_off()
    return axes


def _colours(largest: float) -> tuple[Normalize, Colormap]:
    """Centred at zero, ending beyond the largest value."""
    limit = _PALE * max(largest, 1e-9)
    return Normalize(-limit, limit), matplotlib.colormaps[style.DIVERGING]


def _colour(colours: tuple[Normalize, Colormap], value: float) -> str:
    norm, colour_map = colours
    return to_hex(colour_map(float(norm(value))))


def _bar(figure: Figure, axes: Axes, colours: tuple[Normalize, Colormap], label: str) -> None:
    bar = figure.colorbar(ScalarMappable(*colours), ax=axes, location="bottom", aspect=34, shrink=0.72, pad=0.02)
    bar.set_label(label)
    bar.outline.set_visible(False)


@style.styled
def ring_kinds(kinds: Mapping[str, np.ndarray], seed: int = 0) -> Figure:
    """Energies of rings by kind: every ring a point, the mean a line.

    Args:
        kinds: name to energies (rings,) in eV; shown in kcal/mol.
        seed: of the points' heights, which mean nothing.
    """
    factor, shown = style.shown_unit("eV")
    figure = style.new_figure(0.7 + 0.27 * len(kinds))
    axes = figure.add_subplot()
    rng = np.random.default_rng(seed)
    for row, values in enumerate(kinds.values()):
        energies = factor * np.asarray(values, dtype=float)
        heights = row + rng.uniform(-0.28, 0.28, len(energies))
        axes.plot(energies, heights, ls="", marker="o", ms=2.0, color=style.BLUE, alpha=0.35, mew=0, rasterized=True)
        axes.plot([energies.mean()] * 2, [row - 0.36, row + 0.36], color=style.ORANGE, lw=1.8)
    names = [f"{name} ({len(values):,})" for name, values in kinds.items()]
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel(f"energy of the ring's atoms ({shown})")
    style.light_grid(axes)
    return figure


def draw_sketch(
    axes: Axes, sketch: Sketch, fills: Sequence[tuple[tuple[int, ...], str]], at: tuple[float, float], scale: float,
    *, letters: bool = False,
) -> None:  # fmt: skip
    """A skeleton with its middle at ``at`` (Å), ``scale`` points per Å, with rings filled and, if wanted, lettered."""
    middle = (sketch.points.max(axis=0) + sketch.points.min(axis=0)) / 2
    placed = replace(sketch, points=sketch.points - middle + np.asarray(at))
    for ring, colour in fills:
        height = 1.0 - 0.01 * len(ring)  # in cages small rings lie on large ones
        axes.add_patch(Polygon(placed.points[list(ring)], facecolor=colour, edgecolor="none", zorder=height))
    if letters:
        for (x, y), text in _lettered([placed.points[list(ring)].mean(axis=0) for ring, _ in fills]):
            ink = style.text_on(fills[ord(text[-1]) - 65][1])
            axes.text(x, y, text, ha="center", va="center", fontsize=8.5, color=ink, zorder=4)
    lines = [line for bond in placed.bonds for line in _lines(placed, *bond)]
    axes.add_collection(LineCollection(lines, colors=style.INK, linewidths=max(0.07 * scale, 0.7), zorder=2))
    for place, label in enumerate(placed.labels):
        if label[0]:
            _write(axes, placed, place, label, min(_EM * scale, 12.0), scale)


def _lettered(middles: Sequence[np.ndarray]) -> list[tuple[np.ndarray, str]]:
    """Where letters stand: in the rings' middles, and together where rings of a cage lie on each other."""
    found: list[tuple[np.ndarray, str]] = []
    for place, middle in enumerate(middles):
        near = [row for row, (spot, _) in enumerate(found) if np.linalg.norm(middle - spot) < _APART]
        if near:
            spot, text = found[near[0]]
            found[near[0]] = spot, f"{text},{chr(65 + place)}"
        else:
            found.append((middle, chr(65 + place)))
    return found


def _half_sizes(sketches: Sequence[Sketch]) -> tuple[float, float]:
    """Half the width and height, in Å, that take every sketch with its letters."""
    extents = np.array([np.ptp(sketch.points, axis=0) for sketch in sketches])
    wide, high = extents.max(axis=0) / 2 + np.array([1.3, 0.7])
    return float(wide), float(high)


def _lines(sketch: Sketch, first: int, second: int, order: int) -> list[np.ndarray]:
    """The lines of a bond, each (2, 2), short of written labels."""
    ends = sketch.points[[first, second]].astype(float)
    along = (ends[1] - ends[0]) / max(float(np.linalg.norm(ends[1] - ends[0])), 1e-9)
    for place, atom in enumerate((first, second)):
        if sketch.labels[atom][0]:
            ends[place] += (1 - 2 * place) * 0.5 * _EM * along
    across = np.array([-along[1], along[0]])
    if order == 1:
        return [ends]
    if order == 3:
        return [ends, ends + _GAP * across, ends - _GAP * across]
    ring = min((ring for ring in sketch.rings if _has_bond(ring, first, second)), key=len, default=None)
    if ring is None:
        return [ends + 0.5 * _GAP * across, ends - 0.5 * _GAP * across]
    inward = sketch.points[list(ring)].mean(axis=0) - ends.mean(axis=0)
    side = across if inward @ across > 0 else -across
    return [ends, ends + 1.2 * _GAP * side + 0.2 * np.array([along, -along])]


def _has_bond(ring: Sequence[int], first: int, second: int) -> bool:
    if first not in ring or second not in ring:
        return False
    return abs(ring.index(first) - ring.index(second)) in (1, len(ring) - 1)


def _write(
    axes: Axes, sketch: Sketch, place: int, label: tuple[str, str, str], size: float, scale: float
) -> None:  # fmt: skip
    """An atom's symbol on its corner, with its hydrogens on the side where no bond is."""
    x, y = sketch.points[place]
    symbol, hydrogens, charge = label
    colour = style.element_colour(symbol)
    look: dict[str, Any] = {"va": "center_baseline", "fontsize": size, "color": colour, "zorder": 4}
    axes.text(x, y, symbol, ha="center", **look)
    around = [a + b - place for a, b, _ in sketch.bonds if place in (a, b)]
    lean = sum(float(sketch.points[other][0]) - x for other in around)
    side = -1 if lean > 0.1 else 1
    edge = 0.36 * size / scale * (1.15 if symbol in ("O", "N") else 1.0)
    if hydrogens or charge:
        text = charge + hydrogens if side > 0 else hydrogens
        axes.text(x + side * edge, y, text, ha="left" if side > 0 else "right", **look)
    if charge and side < 0:
        axes.text(x + edge, y, charge, ha="left", **look)
