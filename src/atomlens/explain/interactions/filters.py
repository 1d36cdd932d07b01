"""The panel of filters: what a network hears at which distance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from atomlens.data.system import symbol
from atomlens.explain.analysis import Analysis
from atomlens.explain.interactions.crystal_filters import of_structure
from atomlens.explain.interactions.filter_cuts import filter_cut
from atomlens.explain.interactions.radial_filters import features_of_pair, filtering, pair_features, radial_filters
from atomlens.explain.interactions.shown_filters import RARE, ShownFilters, serving, shown_filters
from atomlens.explain.subject import Subject
from atomlens.figures import filters as drawing
from atomlens.panel import Chart, Check, Panel, Series, Table
from atomlens.wording import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PARTS = 1e-4  # of the change of features, by which the model may differ from its filters: single precision and tables


def _of_models(subject: Subject) -> Panel:
    """The filters of the first model that has some."""
    entries = serving(subject, filtering)
    shown = shown_filters(subject, entries[0])
    filters, density = shown.filters, shown.density
    others = [replace(shown, entry=each, filters=radial_filters(each.model, filters.distances)) for each in entries[1:]]
    order = np.argsort(filters.centres(density), axis=1, kind="stable")
    figures = {
        "filters": drawing.radial_curves(
            filters.distances, [filters.values[block][:, rows].T for block, rows in enumerate(shown.chosen)],
            filters.names, shown.foot, shown.shortest),
        "all_filters": drawing.all_filters(
            filters.distances, [filters.values[block][:, rows].T for block, rows in enumerate(order)], filters.names,
            shown.shortest),
        "filter_loudness": drawing.loudness(
            filters.distances, list(filters.loudness), filters.names, shown.foot, shown.shortest),
        "filter_cuts": _bare(shown),
    }  # fmt: skip
    return Panel(
        ANALYSIS.name,
        reading=_reading(shown),
        trust=_trust(shown, others),
        checks=tuple(_checks(shown)),
        facts=_facts(shown, others),
        figures=figures,
        tables=(_table(shown),),
        views=tuple(_charts(shown, others)),
    )


def _bare(shown: ShownFilters) -> Figure:
    """The strongest filters over a plane, without what is closer than any pair."""
    half = min(5.0, float(shown.filters.distances[-1]))
    return filter_cut(shown.entry.model, half).plot(shown.chosen, shown.shortest)


def _reading(shown: ShownFilters) -> str:
    filters = shown.filters
    count, blocks = filters.values.shape[2], len(filters.names)
    kind = f"{counted(count, 'filter')} W(d)"
    kind += ", the factors of the tensor layer" if filters.names == ("every pass",) else ""
    peaks = ", ".join(
        f"{peak:.2f} Å ({name}; {_faded(end, float(filters.distances[-1]))})"
        for name, peak, end in zip(filters.names, shown.loudest, shown.reach, strict=True)
    )
    shapes = filters.shapes(shown.density)
    made = "" if min(shapes) == max(shapes) else f"{min(shapes)} to "
    made += counted(max(shapes), "shape")
    words = [
        f"What an atom hears of a neighbour is multiplied by {kind}"
        + (f" in each of {blocks} interactions." if blocks > 1 else ", the same in every pass."),
        f"By the size of filters and of the weights around them, neighbours are heard loudest at {peaks}.",
    ]
    if count > 1:
        words.append(f"The {count} curves are combinations of only {made} (99% of their squares).")
    if shown.pairs is not None:
        words.append(
            f"No two atoms of {counted(shown.pairs.structures, 'structure')} are closer than {shown.shortest:.2f} Å: "
            "what filters say below, and wherever the grey distribution of distances is empty, was never asked for."
        )
    return " ".join(words)


def _faded(end: float, last: float) -> str:
    return f"less than a tenth of it beyond {end:.1f} Å" if end < last - 0.1 else "more than a tenth of it throughout"


def _trust(shown: ShownFilters, others: list[ShownFilters]) -> str:
    words = [
        f"Shown is model {shown.entry.name}, with its exact filters. Size and sign of one filter are arbitrary, since "
        "the layers around it can undo them, and so is the numbering: compare models by loudness."
    ]
    if shown.filters.names == ("every pass",):
        words.append("In DTNN a tanh follows the factors before neighbours are summed, and the cutoff comes after it.")
    words += [
        f"Loudness of model {other.entry.name} correlates with it by {_alike(shown, other):.2f}." for other in others
    ]
    if not others:
        words.append("One model alone does not show how far filters depend on the random start; add another.")
    return " ".join(words)


def _profile(shown: ShownFilters) -> np.ndarray:
    """The loudness of all interactions, each relative to its value at `loudest`, averaged: (distances,)."""
    filters = shown.filters
    peaks = [
        np.interp(peak, filters.distances, line) for peak, line in zip(shown.loudest, filters.loudness, strict=True)
    ]
    return np.asarray((filters.loudness / np.array(peaks)[:, None]).mean(axis=0))


def _alike(first: ShownFilters, second: ShownFilters) -> float:
    """Correlation of two models' profiles over the distances that both hear and at which there are pairs."""
    used = first.filters.distances > 0 if first.density is None else first.density > RARE
    ends = [each.entry.model.cutoff or np.inf for each in (first, second)]
    used &= first.filters.distances < min(ends)
    return float(np.corrcoef(_profile(first)[used], _profile(second)[used])[0, 1])


def _checks(shown: ShownFilters) -> Iterator[Check]:
    model, filters = shown.entry.model, shown.filters
    certificate = filtering(model).filters.certify()
    if certificate is not None:
        yield Check(
            "tabulated filters", "The table that predictions go through against the exact filters shown here, of their "
            "range", certificate.error, f"below {certificate.bound:g}", "", certificate.error < certificate.bound,
        )  # fmt: skip
    numbers = model.elements[0], model.elements[-1]
    distance = shown.loudest[0]
    heard = features_of_pair(model, numbers, distance)
    alone = features_of_pair(model, numbers, 1e3)
    off = float(np.abs(pair_features(model, numbers, distance) - heard).max() / np.abs(heard - alone).max())
    yield Check(
        "filters are the model's", f"Features of {symbol(numbers[0])} and {symbol(numbers[1])} {distance:.2f} Å apart, "
        "computed by hand from the filters shown, against the model's, of what hearing each other changes", off,
        f"below {_PARTS:g}", "", off < _PARTS,
    )  # fmt: skip
    if model.cutoff is not None and len(filters.names) > 0 and filters.names != ("every pass",):
        beyond = radial_filters(model, np.linspace(model.cutoff, model.cutoff + 2.0, 21)).values
        value = float(np.abs(beyond).max() / np.abs(filters.values).max())
        yield Check(
            "filters end", f"Largest filter beyond the cutoff of {model.cutoff:g} Å, of the largest below",
            value, "below 1e-12", "", value < 1e-12,
        )  # fmt: skip


def _facts(shown: ShownFilters, others: list[ShownFilters]) -> dict[str, Any]:
    filters = shown.filters
    curves = [filters.values[block][:, rows].T for block, rows in enumerate(shown.chosen)]
    return {
        "model": shown.entry.name,
        "units": {"distances": "Å", "loudest": "Å", "reach": "Å", "shortest_pair": "Å"},
        "interactions": list(filters.names),
        "filters": filters.values.shape[2],
        "distances": np.round(filters.distances, 6).tolist(),
        "loudness": np.round(filters.loudness, 6).tolist(),
        "loudest": shown.loudest,
        "reach": shown.reach,
        "shapes": filters.shapes(shown.density),
        "strongest": shown.chosen,
        "curves": [np.round(block, 6).tolist() for block in curves],
        "shortest_pair": None if shown.pairs is None else shown.shortest,
        "structures": 0 if shown.pairs is None else shown.pairs.structures,
        "agreement": {other.entry.name: _alike(shown, other) for other in others},
    }


def _table(shown: ShownFilters) -> Table:
    filters = shown.filters
    rows = zip(filters.names, shown.loudest, shown.reach, filters.shapes(shown.density), shown.chosen, strict=True)
    return Table(
        "What is heard at which distance",
        (
            "interaction",
            "loudest at (Å)",
            "a tenth of it at (Å)",
            "independent shapes",
            "strongest filters",
        ),
        tuple(
            (name, round(peak, 2), round(end, 2), shapes, ", ".join(map(str, chosen)))
            for name, peak, end, shapes, chosen in rows
        ),
    )


def _charts(shown: ShownFilters, others: list[ShownFilters]) -> Iterator[Chart]:
    filters, apart = shown.filters, shown.filters.distances
    seen = apart >= shown.shortest
    pairs: tuple[Series, ...] = ()
    if shown.foot is not None:
        name = "distances in the data" + (", per volume" if shown.crystals else "")
        pairs = (Series(name, apart[seen], shown.foot[seen], "dashed", colour="#9aa5b0"),)
    lines = [Series(each.entry.name, apart[seen], _profile(each)[seen]) for each in (shown, *others)]
    yield Chart("How loudly a neighbour is heard", "distance (Å)", "loudness, of its peak", (*lines, *pairs))
    for block, name in enumerate(filters.names):
        colours = drawing.curve_colours(len(shown.chosen[block]))
        size = float(np.abs(filters.values[block][seen][:, shown.chosen[block]]).max())
        scaled = tuple(Series(each.name, each.x, 0.5 * size * each.y, each.mode, colour=each.colour) for each in pairs)
        curves = tuple(
            Series(f"filter {place}", apart[seen], filters.values[block][seen, place], colour=colour)
            for place, colour in zip(shown.chosen[block], colours, strict=True)
        )
        yield Chart(f"Strongest filters, {name}", "distance (Å)", "W(d)", (*curves, *scaled))


def _of_structure(subject: Subject, place: int) -> Panel:
    return of_structure(subject, place, ANALYSIS.name)


ANALYSIS = Analysis(
    "filters",
    "What is heard at which distance",
    "SchNet multiplies what an atom hears of a neighbour by filters W(d) of their distance; in a crystal an atom and "
    "its images share the filter Σ_R W(|r + R|). DTNN has the factors of its tensor layer in their place.",
    "Thesis eq. 4.9-4.14, fig. 4.4 and 4.5",
    of_structure=_of_structure,
    of_models=_of_models,
)
