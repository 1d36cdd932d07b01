"""Figures of errors: by size and element, their distribution, isomers, learning curves (thesis fig. 3.4 to 3.7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter
from numpy.typing import ArrayLike, NDArray
from scipy.special import erfc

from atomlens.figures import molecule, style

COLOURS = (style.BLUE, style.ORANGE, style.GREEN, style.MUTED, style.INK)
_DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1.2)))
_MOST_ELEMENTS = 12
_COLUMNS = 3
Floats = NDArray[np.float64]


@style.styled
def error_by_size(
    names: Sequence[str], count: ArrayLike, mean: ArrayLike, standard_error: ArrayLike, quantity: str, unit: str
) -> Figure:
    """Mean absolute errors of structures of each size, above how many there are (thesis fig. 3.6).

    Args:
        names: of the sizes, (bins,).
        count: structures, (bins,).
        mean: mean magnitudes of errors, (bins,) in ``unit``.
        standard_error: of the means, (bins,); NaN where there is one structure.
        quantity: what is predicted, for the axis.
        unit: of the errors.
    """
    times, averages = np.asarray(count, dtype=float), np.asarray(mean, dtype=float)
    deviations = np.nan_to_num(np.asarray(standard_error, dtype=float))
    figure = style.new_figure(3.8)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2.6, 1.0))
    places = np.arange(len(names))
    several = times > 1
    points: dict[str, Any] = {"color": style.BLUE, "marker": "o", "ms": 4, "lw": 0.0}
    upper.errorbar(
        places[several], averages[several], deviations[several], elinewidth=1.1, capsize=2, zorder=3, **points
    )
    upper.plot(places[~several], averages[~several], mfc="white", **points)
    upper.axhline(float(np.average(averages, weights=times)), color=style.MUTED, lw=0.9, ls=(0, (4, 2)))
    upper.set_ylim(bottom=0.0)
    upper.set_ylabel(f"error of the {quantity}\n(mean absolute, {unit})")
    upper.set_title(
        "dashed: all; bars: standard errors; hollow: one structure", fontsize=8.0, loc="right", color=style.MUTED
    )
    lower.bar(places, times, color=style.MUTED, width=0.8)
    style.log_axis(lower, "y", 0.7 * float(times.min()), 1.5 * float(times.max()))
    lower.set_ylim(0.7 * float(times.min()), 1.5 * float(times.max()))
    lower.set_ylabel("structures")
    step = max(1, int(np.ceil(len(names) * max(len(name) for name in names) / 42)))
    lower.set_xticks(places[::step], list(names)[::step])
    lower.set_xlabel("atoms in the structure")
    for axes in (upper, lower):
        style.light_grid(axes)
        axes.grid(visible=False, axis="x")
    return figure


@style.styled
def error_distribution(magnitudes: Mapping[str, ArrayLike], quantity: str, unit: str) -> Figure:
    """The share of structures whose error exceeds a bound, beside a normal distribution of the first one's RMSE.

    Args:
        magnitudes: name of a model to magnitudes of its errors, (structures,) in ``unit``.
        quantity: what is predicted, for the axis.
        unit: of the errors.
    """
    figure = style.new_figure(3.6)
    axes = figure.add_subplot()
    largest, least, count = 0.0, np.inf, 1
    for place, (name, values) in enumerate(magnitudes.items()):
        ordered = np.sort(np.asarray(values, dtype=float))[::-1]
        share = np.arange(1, len(ordered) + 1) / len(ordered)
        dashes = _DASHES[place // len(COLOURS) % len(_DASHES)]
        axes.plot(ordered, share, color=COLOURS[place % len(COLOURS)], ls=dashes, label=name)
        if not place:
            _normal(axes, ordered, share)
        largest, count = max(largest, float(ordered[0])), max(count, len(ordered))
        least = min(least, float(np.quantile(ordered, 0.05)))
    if largest > 0.0:
        style.log_axis(axes, "x", max(least, 1e-6 * largest), largest)
        axes.set_xlim(max(least, 1e-6 * largest), 1.3 * largest)
    axes.set_yscale("log")
    axes.set_ylim(0.5 / count, 1.3)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100.0 * value:g} %"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(f"error of the {quantity} ({unit})")
    axes.set_ylabel("share of structures with a larger error")
    axes.legend(loc="lower left")
    style.light_grid(axes)
    return figure


def _normal(axes: Axes, ordered: Floats, share: Floats) -> None:
    """What normally distributed errors of the same RMSE would give, and where 50 % and 95 % of the structures lie."""
    deviation = float(np.sqrt(np.square(ordered).mean())) or 1.0
    bounds = np.linspace(0.0, 6.0 * deviation, 300)
    normal = erfc(bounds / deviation / np.sqrt(2.0))
    kept = normal > 0.3 * share[0]
    label = "normal distribution\nof the same RMSE"
    axes.plot(bounds[kept], normal[kept], color=style.MUTED, lw=1.0, ls=(0, (4, 2)), label=label)
    for level, words in ((0.5, "half of all"), (0.05, "all but 5 %")):
        bound = float(np.quantile(ordered, 1.0 - level))
        axes.plot(bound, level, color=style.INK, marker="o", ms=4, zorder=5)
        axes.annotate(f"{words}: below {bound:.3g}", (bound, level), (-6, -1), textcoords="offset points", fontsize=7.5,
                      ha="right", va="top")  # fmt: skip


@style.styled
def element_errors(
    symbols: Sequence[str],
    mean: ArrayLike,
    standard_error: ArrayLike,
    per_atom: ArrayLike,
    per_atom_error: ArrayLike,
    overall: float,
    quantity: str,
    unit: str,
) -> Figure:
    """Errors of structures with each element, and what one more atom of it adds at otherwise equal composition.

    Args:
        symbols: element symbols, (elements,); of many, those with the largest errors are drawn.
        mean: mean magnitudes, (elements,) in ``unit``.
        standard_error: of these, (elements,).
        per_atom: slopes of the fit to compositions, (elements,); NaN where it says nothing.
        per_atom_error: standard errors of these, (elements,).
        overall: mean magnitude over all structures.
        quantity: what is predicted.
        unit: of the errors.
    """
    columns = [np.asarray(each, dtype=float) for each in (mean, standard_error, per_atom, per_atom_error)]
    chosen = np.sort(np.argsort(-columns[0], kind="stable")[:_MOST_ELEMENTS])
    averages, deviations, slopes, slope_errors = (np.nan_to_num(each[chosen]) for each in columns)
    known = bool(np.isfinite(columns[2]).all())
    names = [symbols[place] for place in chosen]
    omitted = (
        f"the {len(names)} of {len(symbols)} elements with the largest errors" if len(names) < len(symbols) else ""
    )
    figure = style.new_figure(1.3 + 0.24 * len(names))
    panels = figure.subplots(1, 2 if known else 1, sharey=True, squeeze=False)[0]
    places = np.arange(len(names))
    rows = [(panels[0], averages, deviations, overall, f"error of the {quantity} with it\n({unit})")]
    if known:
        rows.append((panels[1], slopes, slope_errors, 0.0, f"added by one atom more\n({unit})"))
    for axes, values, spread, line, label in rows:
        for place, name in enumerate(names):
            axes.errorbar(values[place], place, xerr=spread[place], color=style.element_colour(name), marker="o", ms=6,
                          elinewidth=1.3, capsize=2)  # fmt: skip
        axes.axvline(line, color=style.MUTED, lw=0.9, ls=(0, (4, 2)))
        axes.set_xlabel(label)
        style.light_grid(axes)
        axes.grid(visible=False, axis="y")
    panels[-1].set_title(omitted, fontsize=8.0, loc="right", color=style.MUTED)
    panels[0].set_yticks(places, names)
    panels[0].set_ylim(len(names) - 0.4, -0.6)
    return figure


@style.styled
def force_errors(symbols: Sequence[str], mae: ArrayLike, magnitude: ArrayLike, unit: str) -> Figure:
    """Mean absolute errors of force components on atoms of each element, beside how large the components are.

    Args:
        symbols: element symbols, (elements,).
        mae: (elements,) in ``unit``.
        magnitude: mean magnitudes of labelled components, (elements,) in ``unit``.
        unit: of both.
    """
    errors, sizes = np.asarray(mae, dtype=float), np.asarray(magnitude, dtype=float)
    figure = style.new_figure(1.3 + 0.34 * len(symbols))
    axes = figure.add_subplot()
    places = np.arange(len(symbols))
    axes.barh(places, sizes, color=style.HAIRLINE, height=0.7)
    axes.barh(places, errors, color=[style.element_colour(each) for each in symbols], height=0.4)
    for place in places:
        share = f"{100.0 * errors[place] / sizes[place]:.1f} %" if sizes[place] else ""
        axes.annotate(share, (sizes[place], place), (-4, 0), textcoords="offset points", ha="right", va="center",
                      fontsize=7.5)  # fmt: skip
    axes.set_yticks(places, list(symbols))
    axes.set_ylim(len(symbols) - 0.4, -0.6)
    axes.set_xlabel(f"mean absolute error of force components ({unit})")
    axes.set_title("grey: mean magnitude of the labels", fontsize=8.0, loc="right", color=style.MUTED)
    style.light_grid(axes)
    axes.grid(visible=False, axis="y")
    return figure


@dataclass(frozen=True)
class Gaps:
    """Pairs of isomers by the difference of their labels, in the unit shown."""

    low: ArrayLike  # (bins,)
    high: ArrayLike  # (bins,) the last one is infinite
    pairs: ArrayLike  # (bins,)
    swapped: ArrayLike  # (bins,)


@style.styled
def isomer_ranking(
    labelled: ArrayLike, predicted: ArrayLike, title: str, gaps: Gaps, quantity: str, unit: str
) -> Figure:
    """Predicted against labelled values of one formula's isomers (thesis fig. 3.7), and how often pairs are swapped.

    Args:
        labelled: (isomers,) in ``unit``; both are drawn relative to the median label.
        predicted: (isomers,)
        title: such as the formula with its τ.
        gaps: of all formulas.
        quantity: what is predicted.
        unit: of the values.
    """
    expected, found = np.asarray(labelled, dtype=float), np.asarray(predicted, dtype=float)
    centre = np.median(expected)
    figure = style.new_figure(6.4)
    upper, lower = figure.subplots(2, 1, height_ratios=(1.5, 1.0))
    _isomers(upper, expected - centre, found - centre)
    upper.set(xlabel=f"label, relative to the median ({unit})", ylabel=f"predicted {quantity}\n({unit})")
    upper.set_title(title)
    _swapped(lower, gaps, unit)
    for axes in (upper, lower):
        style.light_grid(axes)
    lower.grid(visible=False, axis="x")
    return figure


def _isomers(axes: Axes, expected: Floats, found: Floats) -> None:
    """Points around the diagonal; a few far ones are left outside, and counted, where they would squeeze the others."""
    both = np.concatenate([expected, found])
    low, high = np.quantile(both, [0.01, 0.99])
    pad = 0.4 * (high - low) or 1.0
    ends = (max(low - pad, both.min() - 0.1 * pad), min(high + pad, both.max() + 0.1 * pad))
    outside = int(((np.stack([expected, found]) < ends[0]) | (np.stack([expected, found]) > ends[1])).any(axis=0).sum())
    axes.plot(ends, ends, color=style.INK, lw=0.8, alpha=0.7, zorder=1)
    size = 14.0 if expected.size < 200 else 7.0
    axes.scatter(expected, found, s=size, color=style.BLUE, alpha=0.55, linewidths=0, zorder=3)
    axes.set(xlim=ends, ylim=ends)
    if outside:
        axes.text(0.97, 0.04, f"{outside} lie outside", transform=axes.transAxes, ha="right", fontsize=8.0,
                  color=style.MUTED)  # fmt: skip


def _swapped(axes: Axes, gaps: Gaps, unit: str) -> None:
    low, pairs, swapped = (np.asarray(each, dtype=float) for each in (gaps.low, gaps.pairs, gaps.swapped))
    share = 100.0 * swapped / np.maximum(pairs, 1.0)
    places = np.arange(len(low))
    axes.bar(places, share, color=style.BLUE, width=0.8)
    for place, value in zip(places, share, strict=True):
        words = f"{value:.0f}" if value >= 9.95 or value == 0.0 else f"{value:.1f}" if value >= 0.05 else "<0.1"
        axes.annotate(words, (place, value), (0, 2), textcoords="offset points", ha="center", fontsize=7.0)
    axes.set_ylim(0.0, 1.15 * max(float(share.max(initial=0.0)), 1.0))
    edges = [f"{edge:g}" for edge in low[1:]]
    axes.set_xticks(places[1:] - 0.5, edges)
    axes.set_xlabel(f"difference of the two labels ({unit})")
    axes.set_ylabel("pairs of isomers in\nthe wrong order (%)")


@dataclass(frozen=True)
class Drawn:
    """A structure for the sheet of outliers."""

    symbols: Sequence[str]
    positions: ArrayLike  # (atoms, 3) Å
    title: str


@style.styled
def outliers(structures: Sequence[Drawn]) -> Figure:
    """The structures with the largest errors, three in a row (thesis fig. 3.5)."""
    rows = -(-len(structures) // _COLUMNS)
    figure = style.new_figure(1.75 * rows + 0.1, 6.4)
    sheet = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for axes, entry in zip(sheet, structures, strict=False):
        colours = [style.element_colour(symbol) for symbol in entry.symbols]
        molecule.draw_atoms(axes, entry.symbols, entry.positions, colours, list(entry.symbols))
        for text in axes.texts:  # sized for a figure of one structure
            text.set_fontsize(min(text.get_fontsize(), 6.0 if len(entry.symbols) < 16 else 5.0))
        axes.set_title(entry.title, fontsize=8.0, loc="center")
    for axes in sheet[len(structures) :]:
        axes.set_axis_off()
    return figure


@dataclass(frozen=True)
class LearningCurve:
    """Errors of models that differ in their training set alone."""

    name: str
    sizes: ArrayLike  # (models,) structures trained on
    mae: ArrayLike  # (models,)
    low: ArrayLike  # (models,) ends of the interval
    high: ArrayLike


@style.styled
def learning_curves(curves: Sequence[LearningCurve], quantity: str, unit: str) -> Figure:
    """Errors against the number of training structures, on logarithmic axes (thesis fig. 3.4, left)."""
    figure = style.new_figure(3.4)
    axes = figure.add_subplot()
    everything: list[Floats] = []
    sizes: list[Floats] = []
    for place, curve in enumerate(curves):
        x, y, low, high = (np.asarray(each, dtype=float) for each in (curve.sizes, curve.mae, curve.low, curve.high))
        axes.errorbar(x, y, [y - low, high - y], color=COLOURS[place % len(COLOURS)], marker="o", ms=4, lw=1.2,
                      elinewidth=1.1, capsize=2, label=curve.name)  # fmt: skip
        everything += [low, high]
        sizes.append(x)
    values, counts = np.concatenate(everything), np.concatenate(sizes)
    style.log_axis(axes, "x", float(counts.min()), float(counts.max()))
    style.log_axis(axes, "y", float(values.min()), float(values.max()))
    axes.set(xlabel="structures trained on", ylabel=f"error of the {quantity}\n(mean absolute, {unit})")
    axes.legend(loc="best")
    style.light_grid(axes)
    return figure
