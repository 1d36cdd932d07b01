"""The panel of filters in a crystal: alone, and summed over its images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from atomlens.data.system import AtomicSystem
from atomlens.errors import InputError
from atomlens.explain.interactions.filter_cuts import (
    FilterCut,
    displacements,
    filter_cut,
    image_sum,
    periodic_filters,
    translations,
)
from atomlens.explain.interactions.radial_filters import convolving, radial_filters
from atomlens.explain.interactions.shown_filters import CURVES, ShownFilters, serving, shown_filters
from atomlens.explain.subject import Subject
from atomlens.figures import filters as drawing
from atomlens.model import Model
from atomlens.panel import Check, Panel, Table
from atomlens.wording import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FEW = 200  # structures suffice to see how close atoms come
_MAPS = 4  # filters of the first interaction
_SAMPLES = 12  # points at which sums over images are checked


def of_structure(subject: Subject, place: int, analysis: str) -> Panel:
    """Filters of the first interaction in a plane of a crystal, bare and summed over its images."""
    entry, system = serving(subject, convolving)[0], subject.systems[place]
    if not system.pbc.any():
        raise InputError("a molecule has no periodic images, so its filters are the bare ones; choose a crystal")
    shown = shown_filters(subject, entry, _FEW)
    cutoff = float(entry.model.cutoff or 0.0)
    summed = periodic_filters(entry.model, system)
    chosen = shown.chosen[0][:: CURVES // _MAPS]
    heard = displacements(system, cutoff)
    return Panel(
        analysis,
        place,
        reading=_of_crystal(shown, summed, heard, chosen),
        trust=f"Model {entry.name}; filters belong to it and not to this structure, whose lattice alone enters here.",
        checks=tuple(_periodic_checks(entry.model, system, summed)),
        facts={
            "model": entry.name,
            "plane": summed.plane.description,
            "filters": chosen,
            "neighbours": len(heard),
            "translations": len(translations(system)),
        },
        figures={"periodic_filters": _maps(shown, summed, heard, chosen)},
        tables=(_nearest_table(entry.model, system, chosen, heard),),
    )


def _of_crystal(shown: ShownFilters, summed: FilterCut, heard: np.ndarray, chosen: list[int]) -> str:
    drawn = f"are {len(chosen)} of the strongest filters" if len(chosen) > 1 else "is the strongest filter"
    where = f"Drawn {drawn} of the first interaction in {summed.plane.description}"
    if not len(heard):
        return f"{where}; no atom lies within the cutoff, so nothing is heard."
    near = float(np.linalg.norm(heard[0]))
    text = (
        f"{where}, alone and summed over the lattice. All images of an atom are alike, so what is heard of all "
        f"is one filter, which repeats with the crystal. An atom hears {counted(len(heard), 'neighbour')} here, "
        f"the nearest at {near:.2f} Å; rings mark those in the plane, and only there is the map used."
    )
    if shown.pairs is None:
        return text
    return (
        f"{text} Grey is closer than {shown.shortest:.2f} Å to an image, which no two atoms are in "
        f"{counted(shown.pairs.structures, 'structure')} of the data."
    )


def _maps(shown: ShownFilters, summed: FilterCut, heard: np.ndarray, chosen: list[int]) -> Figure:
    half = summed.plane.half_widths[0]
    bare = filter_cut(shown.entry.model, half, float(summed.x[1] - summed.x[0]))
    rows = [cut.values[0][chosen] for cut in (bare, summed)]
    local = summed.plane.coordinates(heard)
    rings = local[(np.abs(local[:, 2]) < 0.3) & (np.abs(local[:, :2]) < half).all(axis=1), :2]
    return drawing.cuts(
        summed.x, summed.y, np.stack(rows), ("alone", "in this crystal"), [chosen, chosen], [rings, rings],
        [bare.nearest, summed.nearest], shown.shortest,
    )  # fmt: skip


def _periodic_checks(model: Model, system: AtomicSystem, summed: FilterCut) -> Iterator[Check]:
    """Sums over images against another way to find the images, and against themselves a lattice vector away."""
    size, plane = float(np.abs(summed.values).max()), summed.plane
    generator = np.random.default_rng(0)
    rows, columns = (generator.integers(0, count, _SAMPLES) for count in summed.values.shape[2:])
    rows, columns = (part[summed.nearest[rows, columns] > 0.5] for part in (rows, columns))
    points = plane.origin + summed.x[columns, None] * plane.u + summed.y[rows, None] * plane.v
    exact = np.array([image_sum(model, system, point) for point in points]).reshape(
        len(points), *summed.values.shape[:2]
    )
    off = float(np.abs(exact - summed.values[:, :, rows, columns].transpose(2, 0, 1)).max(initial=0.0) / size)
    yield Check(
        "sum over images", f"Filters at {counted(len(points), 'point')} against exact filters at the distances that a "
        "neighbour list finds, of the largest", off, "below 1e-6", "", off < 1e-6,
    )  # fmt: skip
    lattice = system.cell[system.pbc].sum(axis=0)
    coarse = plane.half_widths[0] / 3.0
    here, there = (
        periodic_filters(model, system, replace(plane, origin=origin), spacing=coarse).values
        for origin in (plane.origin, plane.origin + lattice)
    )
    off = float(np.abs(here - there).max() / size)
    yield Check(
        "lattice", "Filters against those one lattice vector in each direction away, of the largest", off,
        "below 1e-9", "", off < 1e-9,
    )  # fmt: skip


def _nearest_table(model: Model, system: AtomicSystem, chosen: list[int], heard: np.ndarray) -> Table:
    columns = ("filter", "W at the nearest neighbour", "summed over images")
    title = "Filters of the first interaction"
    if not len(heard):
        return Table(title, columns, ())
    bare = radial_filters(model, [float(np.linalg.norm(heard[0]))]).values[0, 0]
    summed = image_sum(model, system, heard[0])[0]
    rows = tuple((f"{place}", round(float(bare[place]), 4), round(float(summed[place]), 4)) for place in chosen)
    return Table(title, columns, rows)
