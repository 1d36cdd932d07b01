"""From the interactive views of panels to what the page's script draws: converted, rounded and binned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from ase.data import atomic_names, atomic_numbers, covalent_radii
from matplotlib.colors import to_hex

from atomlens.data.system import AtomicSystem, symbol
from atomlens.explain.probes.field import Plane
from atomlens.figures import molecule, style
from atomlens.panel import AtomValues, Chart, Distribution, Motion, Panel, Series, Surface, Trajectory, View, Volume
from atomlens.report.motions import motion_view, trajectory_view
from atomlens.report.packing import quantised, rounded

LARGEST_VOLUME = 60_000  # grid points of one field on the page; of larger ones every second, third ... is taken
MOST_POINTS = 5_000  # of a series; more make a browser slow
_BINS = 60
_POSITION_STEP = 1e-3  # Å, of vertices
_FIELD_STEPS = 1000  # of a field, from zero to the end of its colour scale
_TAIL = 0.001  # of a distribution, at either end, that histograms leave out


def structure_view(name: str, system: AtomicSystem, panels: Iterable[Panel]) -> dict[str, Any]:
    """One structure with every view of its own panels."""
    symbols = [symbol(int(number)) for number in system.numbers]
    views = [view for panel in panels for view in panel.views]
    geometries: list[tuple[np.ndarray, np.ndarray]] = []
    surfaces = [_surface(view, geometries) for view in views if isinstance(view, Surface)]
    plane = Plane.through(system)
    return {
        "name": name,
        "symbols": symbols,
        "positions": np.round(system.positions, 4).tolist(),
        "bonds": molecule.bonds(symbols, system.positions),
        "cell": np.round(system.cell, 4).tolist() if system.pbc.all() else None,
        "axes": np.round([plane.u, plane.v], 6).tolist(),
        "atoms": list({view.name: _atom_values(view) for view in views if isinstance(view, AtomValues)}.values()),
        "geometries": [_geometry(*each) for each in geometries],
        "surfaces": surfaces,
        "volumes": [_volume(view) for view in views if isinstance(view, Volume)],
        "motions": [motion_view(view, system) for view in views if isinstance(view, Motion)],
        "trajectories": [trajectory_view(view, system) for view in views if isinstance(view, Trajectory)],
    }


def palette(systems: Sequence[AtomicSystem]) -> dict[str, Any]:
    """Colours: of the elements at hand (with name and radius), and of values."""
    numbers = sorted({int(number) for system in systems for number in system.numbers})
    return {
        "elements": {symbol(number): _element(number) for number in numbers},
        "diverging": _scale(style.DIVERGING, 21),
        "sequential": _scale(style.SEQUENTIAL, 21),
    }


def distributions(views: Iterable[View]) -> list[dict[str, Any]]:
    """Every distribution once: structures that show the same one name it alike."""
    by_name: dict[str, Distribution] = {}
    for view in views:
        if isinstance(view, Distribution):
            by_name.setdefault(view.name, view)
    return [distribution_view(view) for view in by_name.values()]


def distribution_view(view: Distribution) -> dict[str, Any]:
    """Histogram and quantiles of each element; the values themselves stay behind."""
    factor, unit = style.shown_unit(view.unit)
    elements = {
        name: _binned(factor * np.asarray(values, dtype=np.float64)) for name, values in view.per_element.items()
    }
    return {"name": view.name, "unit": unit, "elements": {name: bins for name, bins in elements.items() if bins}}


def chart_view(chart: Chart) -> dict[str, Any]:
    """A chart; of very long series evenly spaced points are kept."""
    return {
        "x": chart.x_label,
        "y": chart.y_label,
        "equal": chart.equal,
        "series": [_series(series) for series in chart.series],
    }


def histogram_chart(view: Distribution) -> Chart:
    """The distribution as a chart: one outline per element, each scaled to the same height."""
    lines = []
    for name, bins in distribution_view(view)["elements"].items():
        edges = np.linspace(bins["low"], bins["high"], len(bins["counts"]) + 1)
        heights = np.array(bins["counts"]) / max(bins["counts"])
        outline = np.concatenate([[0.0], np.repeat(heights, 2), [0.0]])
        lines.append(Series(f"{name} ({bins['count']:,} atoms)", np.repeat(edges, 2), outline,
                            colour=style.element_colour(name)))  # fmt: skip
    unit = style.shown_unit(view.unit)[1]
    return Chart(f"Distribution of the {view.name} by element", _labelled(view.name, unit),
                 "atoms (highest bin = 1)", tuple(lines))  # fmt: skip


def _labelled(name: str, unit: str) -> str:
    return f"{name} ({unit})" if unit and unit != "1" else name


def _element(number: int) -> dict[str, Any]:
    name = symbol(number)
    return {
        "name": atomic_names[number].lower(),
        "colour": style.element_colour(name),
        "radius": round(float(covalent_radii[atomic_numbers[name]]), 3),
    }


def _scale(name: str, count: int) -> list[str]:
    return [to_hex(colour) for colour in matplotlib.colormaps[name](np.linspace(0.0, 1.0, count))]


def _atom_values(view: AtomValues) -> dict[str, Any]:
    factor, unit = style.shown_unit(view.unit)
    return {"name": view.name, "unit": unit, "values": rounded(factor * np.asarray(view.values), 6)}


def _surface(view: Surface, geometries: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, Any]:
    """Fields on one surface share its triangles, which are added to ``geometries`` when they are new."""
    shape = np.asarray(view.vertices), np.asarray(view.triangles)
    place = next((index for index, known in enumerate(geometries) if all(map(np.array_equal, known, shape))), None)
    if place is None:
        place = len(geometries)
        geometries.append(shape)
    factor, unit = style.shown_unit(view.unit)
    values = factor * np.asarray(view.values, dtype=np.float64)
    limit = _limit(values)
    return {"name": view.name, "unit": unit, "geometry": place, "limit": limit,
            "values": quantised(values, limit / _FIELD_STEPS)}  # fmt: skip


def _geometry(vertices: np.ndarray, triangles: np.ndarray) -> dict[str, Any]:
    """Coordinate by coordinate, for neighbours in the list are neighbours in space."""
    return {"vertices": [quantised(column, _POSITION_STEP) for column in vertices.T],
            "triangles": [quantised(column, 1) for column in triangles.T]}  # fmt: skip


def _volume(view: Volume) -> dict[str, Any]:
    factor, unit = style.shown_unit(view.unit)
    stride = 1
    while np.prod(np.ceil(np.array(view.values.shape) / stride)) > LARGEST_VOLUME:
        stride += 1
    values = factor * np.asarray(view.values, dtype=np.float64)[::stride, ::stride, ::stride]
    limit = float(f"{factor * view.limit:.4g}") or 1.0
    return {
        "name": view.name,
        "unit": unit,
        "limit": limit,
        "origin": np.round(view.origin, 5).tolist(),
        "steps": np.round(stride * np.asarray(view.steps), 6).tolist(),
        "shape": list(values.shape),
        "values": quantised(values, limit / _FIELD_STEPS),
    }


def _limit(values: np.ndarray) -> float:
    """Where a colour scale ends: the strongest two per cent share its end, as in the figures."""
    known = np.abs(values[np.isfinite(values)])
    return float(f"{np.percentile(known, 98.0):.4g}") if known.any() else 1.0


def _binned(values: np.ndarray) -> dict[str, Any]:
    """Counts, and the values that so many per cent lie below; nothing where there are no values."""
    known = values[np.isfinite(values)]
    if not known.size:
        return {}
    low, high = np.quantile(known, [_TAIL, 1.0 - _TAIL]).tolist()
    pad = 0.02 * (high - low) or max(1e-6, 1e-3 * abs(low))
    low, high = low - pad, high + pad
    counts = np.histogram(known, _BINS, (low, high))[0]
    return {
        "count": int(known.size),
        "outside": int(known.size - counts.sum()),
        "low": low,
        "high": high,
        "counts": counts.tolist(),
        "quantiles": rounded(np.quantile(known, np.linspace(0.0, 1.0, 201)), 7),
    }


def _series(series: Series) -> dict[str, Any]:
    count = len(series.x)
    kept = slice(None) if count <= MOST_POINTS else np.linspace(0, count - 1, MOST_POINTS).round().astype(int)
    facts: Mapping[str, Any] = {
        "name": series.name if count <= MOST_POINTS else f"{series.name} ({MOST_POINTS:,} of {count:,} points)",
        "x": rounded(np.asarray(series.x)[kept]),
        "y": rounded(np.asarray(series.y)[kept]),
        "mode": series.mode,
        "colour": series.colour,
    }
    return {**facts, "labels": np.asarray(series.labels)[kept].tolist() if series.labels else []}
