"""The panel of bond-breaking sensitivity: models side by side, above the data's pair distances."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from atomlens.data.dataset import Dataset
from atomlens.data.units import KCAL_PER_MOL
from atomlens.errors import InputError
from atomlens.explain.interactions.bond_breaking import (
    NEAREST,
    SMALL,
    STEP,
    BondSensitivity,
    Summary,
    bond_sensitivity,
    pair_features,
    summarise,
)
from atomlens.explain.interactions.pair_distances import PairDistances, names, pair_distances
from atomlens.explain.subject import NamedModel, Subject
from atomlens.figures import bond_breaking as drawing
from atomlens.model import Model
from atomlens.panel import Chart, Check, Panel, Series, Table
from atomlens.wording import counted

MOST_PAIRS = 3
MOST_LINES = len(drawing.COLOURS)  # models in one figure; the table has all
ORGANIC = ((6, 6), (1, 1), (1, 6))  # as in thesis fig. 4.11
WIDEST_LOOK = 6.0  # Å, into crystals for models without a cutoff
SCALED = "|∂x/∂d|, as a share of its largest where data are"
NEAR = 4.0  # Å, the end of the second figure, as in thesis fig. 4.13
BIN = 0.05  # Å, of the data's distances
CEILING = 1.5  # of scaled curves in charts: at distances that no data have they may be many times as steep
NARROW = 0.1  # Å; data within less have one distance in practice, and nothing to say about where features react
AGREEMENT = 1e-3  # of the largest sensitivity; float32 against float64 leaves some 1e-5


@dataclass(frozen=True)
class PairResult:
    """One pair of elements, by every model that knows both."""

    elements: tuple[int, int]
    symbols: tuple[str, str]
    seen: np.ndarray  # (pairs,) Å, sorted
    models: tuple[NamedModel, ...]
    curves: tuple[BondSensitivity, ...]
    summaries: tuple[Summary, ...]  # none where the data are narrow

    @property
    def narrow(self) -> bool:
        """Whether the data have such pairs at practically one distance."""
        return float(self.seen[-1] - self.seen[0]) < NARROW

    @property
    def inside(self) -> np.ndarray:
        """(distances,) bool: where data are; the distance nearest to them where they lie between two."""
        apart = self.curves[0].distances
        found = (apart >= self.seen[0]) & (apart <= self.seen[-1])
        if not found.any():
            found[np.abs(apart - self.seen.mean()).argmin()] = True
        return np.asarray(found)

    @property
    def title(self) -> str:
        """Such as C-H."""
        return f"{self.symbols[0]}-{self.symbols[1]}"


def of_models(subject: Subject) -> Panel:
    """Sensitivities of all models for the commonest kinds of pairs."""
    cutoffs = [entry.model.cutoff for entry in subject.models]
    bounded = [cutoff for cutoff in cutoffs if cutoff is not None]
    data = pair_distances(subject.data, max(bounded, default=WIDEST_LOOK), seed=subject.config.seed)
    chosen = _heard(subject.models[0], _pairs(subject.models[0].model, subject.data, data), data)
    end = max([data.between(*pair).max() + 2.0 for pair in chosen])
    if len(bounded) == len(cutoffs):
        end = min(end, max(bounded) + 0.5)
    distances = np.arange(NEAREST, end + STEP / 2, STEP)
    results = [_result(subject.models, pair, data, distances) for pair in chosen]
    return Panel(
        "bond-breaking",
        reading=_reading(results, data.reach),
        trust=_trust(results, data),
        checks=_checks(results, data.reach),
        facts=_facts(results, data),
        figures=_figures(results, end),
        tables=(_table(results),) if _wide(results) else (),
        views=(*(_chart(result) for result in results), *_energy_charts(results)),
    )


def _pairs(model: Model, data: Dataset, seen: PairDistances) -> list[tuple[int, int]]:
    """C-C, H-H and C-H where a fifth of the structures has both elements, else the commonest pairs of known ones."""
    counts, elements = data.counts()
    share = dict(zip(elements, (counts > 0).mean(axis=0), strict=True))
    if all(number in model.elements and share.get(number, 0.0) >= 0.2 for number in (1, 6)):
        found = [pair for pair in ORGANIC if len(seen.between(*pair))]
    else:
        found = seen.commonest(model.elements, MOST_PAIRS)
    if not found:
        raise InputError("the data have no two atoms of elements that the model knows; give data like its training set")
    return found


def _heard(shown: NamedModel, pairs: list[tuple[int, int]], data: PairDistances) -> list[tuple[int, int]]:
    """The pairs that the data have within the model's cutoff.

    Raises:
        InputError: there is none.
    """
    cutoff = shown.model.cutoff
    found = [pair for pair in pairs if cutoff is None or data.between(*pair)[0] < cutoff]
    if not found:
        nearest = min(data.between(*pair)[0] for pair in pairs)
        raise InputError(
            f"model {shown.name} hears no two atoms of these data, which are {nearest:.1f} Å apart or more, through "
            f"its cutoff of {cutoff:g} Å; use a model with a longer one"
        )
    return found


def _wide(results: Sequence[PairResult]) -> list[PairResult]:
    return [result for result in results if not result.narrow]


def _result(
    models: Sequence[NamedModel], pair: tuple[int, int], data: PairDistances, distances: np.ndarray
) -> PairResult:
    symbols, seen = names(pair), data.between(*pair)
    knowing = tuple(entry for entry in models if set(pair) <= set(entry.model.elements))
    curves = tuple(bond_sensitivity(entry.model, *symbols, distances) for entry in knowing)
    bare = PairResult(pair, symbols, seen, knowing, curves, ())
    return bare if bare.narrow else replace(bare, summaries=tuple(summarise(curve, seen) for curve in curves))


def _learned(model: Model) -> bool:
    """Symmetry functions are chosen, not learned: nothing in them is trained."""
    return any(part.numel() for part in model.representation.parameters())


def _reading(results: Sequence[PairResult], looked: float | None) -> str:
    """The model shown pair by pair, what it means, and what becomes of pairs where data are rare."""
    shown = results[0].models[0]
    rows = [(result, result.summaries[0]) for result in _wide(results)]
    text = "Two bare atoms are drawn apart, and the network's description of them is watched"
    if rows:
        peaks = ", ".join(f"{summary.peak:.1f} Å ({result.title})" for result, summary in rows)
        halves = ", ".join(f"{summary.half:.1f}" for _, summary in rows)
        text += (
            f": that of {shown.name} changes most at {peaks} among the distances of the data; half of all its change "
            f"happens below {halves} Å"
        )
    text += ". "
    if not _learned(shown.model):
        text += f"The features of {shown.name} are symmetry functions, which are fixed: the curve shows how they were "
        text += "laid out. "
    parts = [text.strip()]
    if rows:
        parts += [_locality(rows[0][0]).strip(), _far_away(shown, rows, looked)]
    return " ".join(part for part in (*parts, _at_one_distance(results)) if part)


def _at_one_distance(results: Sequence[PairResult]) -> str:
    """Of the pairs whose distance hardly varies in the data."""
    places = [f"{result.title} at {result.seen.mean():.2f} Å" for result in results if result.narrow]
    if not places:
        return ""
    return (
        f"The data have these pairs at practically one distance: {', '.join(places)}. What the curve shows at others "
        "was never asked for in training data like these, so it cannot be said where the network learned to react."
    )


def _locality(result: PairResult) -> str:
    """Which of several models looks nearest around an atom."""
    if len(result.models) < 2:
        return ""
    order = np.argsort([summary.half for summary in result.summaries])
    near, far = (f"{result.models[k].name} ({result.summaries[k].half:.1f} Å)" for k in (order[0], order[-1]))
    return f"By that measure for {result.title} the most local model is {near} and the least local {far}. "


def _far_away(shown: NamedModel, rows: Sequence[tuple[PairResult, Summary]], looked: float | None) -> str:
    """Where the network grows insensitive, compared with where the data end (unless looked for within ``looked``)."""
    result, worst = max(rows, key=lambda row: row[1].beyond)
    if looked is None and worst.beyond >= SMALL:
        return (
            f"Beyond {worst.rare:.1f} Å, where 1 in 1,000 of the data's {result.title} pairs lies, it reacts again "
            f"with up to {100 * worst.beyond:.0f} % of its largest: few data say what is right there."
        )
    reach = max(summary.reach for _, summary in rows)
    text = f"Beyond {reach:.1f} Å it changes by less than 5 % of its largest"
    end, cutoff = max(float(result.seen[-1]) for result, _ in rows), shown.model.cutoff
    if looked is not None:
        return f"{text}; crystals were searched for pairs up to {looked:g} Å."
    if cutoff is None or cutoff >= end:
        return f"{text}; the data have pairs up to {end:.1f} Å."
    return (
        f"{text}, and by nothing beyond its cutoff of {cutoff:g} Å, while the data have pairs up to {end:.1f} Å: "
        "farther atoms act only through atoms in between."
    )


def _trust(results: Sequence[PairResult], data: PairDistances) -> str:
    models = results[0].models
    text = f"Pair distances of {counted(data.structures, 'structure')} of the data. "
    text += (
        "Norms of different models are on different scales, so each is divided by its largest value where data are; "
        "two bare atoms are no molecule that the model was trained on. "
    )
    if len(models) == 1:
        return text + "One model: whether another training gives the same curve is not known."
    alike = [
        (_alike(result, place), result, place) for result in _wide(results) for place in range(1, len(result.curves))
    ]
    if not alike:
        return text + f"{len(models)} models; at one distance alone their curves cannot be compared."
    low = min(alike, key=lambda found: found[0])
    return text + (
        f"{len(models)} models; the least alike are the {low[1].title} curves of {models[0].name} and "
        f"{low[1].models[low[2]].name}, which correlate with {low[0]:.2f} where data are."
    )


def _alike(result: PairResult, place: int) -> float:
    """Correlation of a model's curve with the first one's, over the distances that the data have."""
    first = result.curves[0]
    pair = np.stack([first.both[result.inside], result.curves[place].both[result.inside]])
    return float(np.corrcoef(pair)[0, 1]) if (pair.std(axis=1) > 0).all() else 0.0


def _checks(results: Sequence[PairResult], looked: float | None) -> tuple[Check, ...]:
    off = max(_off(entry.model, curve) for r in results for entry, curve in zip(r.models, r.curves, strict=True))
    checks = [
        Check(
            "exact derivatives",
            "Automatic differentiation against central differences of the features in float64, of the largest "
            "sensitivity; all models and pairs",
            off,
            f"below {AGREEMENT:g}",
            "",
            off < AGREEMENT,
        )
    ]
    equal = [curve for r in results if r.symbols[0] == r.symbols[1] for curve in r.curves]
    if equal:
        apart = max(float(np.abs(c.first - c.second).max() / (c.both.max() or 1.0)) for c in equal)
        what = "Two atoms of one element answer alike; of the largest sensitivity"
        checks.append(Check("equal atoms", what, apart, "below 1e-5", "", apart < 1e-5))
    shown, own = results[0].models[0], [result.summaries[0] for result in _wide(results)]
    cutoff = shown.model.cutoff
    # A model that cannot hear so far is silent there, and the end of a search in crystals is not that of the data.
    if own and looked is None and (cutoff is None or cutoff > min(summary.rare for summary in own)):
        quiet = max(summary.beyond for summary in own)
        what = f"The largest sensitivity of {shown.name} farther apart than 999 of 1,000 pairs of the data"
        limit = f"below {SMALL:g} of its largest"
        checks.append(Check("quiet where data are rare", what, quiet, limit, "", quiet < SMALL, claim=True))
    return tuple(checks)


def _off(model: Model, curve: BondSensitivity, step: float = 3e-5, samples: int = 40) -> float:
    """Largest difference from five-point differences in float64 at some distances, as a share of the largest norm.

    Long training makes features so steep that a step of 1e-3 Å is off by per cents.
    """
    places = np.linspace(0, len(curve.distances) - 1, samples).astype(int)
    apart = curve.distances[places]
    # At the cutoff itself second derivatives may jump.
    kept = np.ones(samples, dtype=bool) if model.cutoff is None else np.abs(apart - model.cutoff) > 3 * step
    double = copy.deepcopy(model).set_precision(torch.float64)
    near, far = (
        pair_features(double, *curve.pair, apart + k * step) - pair_features(double, *curve.pair, apart - k * step)
        for k in (1, 2)
    )
    norms = np.linalg.norm((8 * near - far) / (12 * step), axis=2)
    found = np.stack([curve.first[places], curve.second[places]], axis=1)
    return float(np.abs(norms - found)[kept].max() / (curve.both.max() or 1.0))


def _facts(results: Sequence[PairResult], data: PairDistances) -> dict[str, Any]:
    """Summaries and curves, thinned to every second distance and four digits."""
    return {
        "definition": "Norm of the derivative of an atom's features by the distance of two bare atoms",
        "structures_for_distances": data.structures,
        "pairs": {
            result.title: {
                "seen": {
                    "pairs": len(result.seen),
                    "shortest": float(result.seen[0]),
                    "longest": float(result.seen[-1]),
                    "unit": "Å",
                },
                "distances": np.round(result.curves[0].distances[::2], 4).tolist(),
                "models": {
                    entry.name: {**summary, "first": _thin(curve.first), "second": _thin(curve.second)}
                    | ({} if curve.energies is None else {"energies_eV": _thin(curve.energies)})
                    for entry, curve, summary in zip(result.models, result.curves, _said(result), strict=True)
                },
            }
            for result in results
        },
    }


def _said(result: PairResult) -> list[dict[str, float]]:
    """The summary of every model; nothing where the data are narrow."""
    return [{} for _ in result.models] if result.narrow else [vars(summary) for summary in result.summaries]


def _thin(values: np.ndarray) -> list[float]:
    return [float(f"{value:.4g}") for value in values[::2]]


def _table(results: Sequence[PairResult]) -> Table:
    rows = [
        (
            result.title,
            entry.name,
            round(summary.peak, 2),
            round(summary.half, 2),
            round(summary.reach, 2),
            round(100 * summary.beyond, 1),
        )
        for result in _wide(results)
        for entry, summary in zip(result.models, result.summaries, strict=True)
    ]
    columns = (
        "pair",
        "model",
        "reacts most at (Å)",
        "half of all change below (Å)",
        "below 5 % beyond (Å)",
        "largest where data are rare (%)",
    )
    return Table("Where features react to a distance", columns, tuple(rows))


def _scaled(result: PairResult) -> list[tuple[NamedModel, np.ndarray, np.ndarray]]:
    """Both atoms' curves by model, divided by their largest value where data are."""
    inside = result.inside
    largest = [max(c.first[inside].max(), c.second[inside].max()) or 1.0 for c in result.curves]
    return [
        (entry, curve.first / top, curve.second / top)
        for entry, curve, top in zip(result.models, result.curves, largest, strict=True)
    ]


def _figures(results: Sequence[PairResult], end: float) -> dict[str, Any]:
    panels = []
    for result in results:
        x = result.curves[0].distances
        lines = []
        for entry, first, second in _scaled(result)[:MOST_LINES]:
            lines.append(drawing.Line(entry.name, x, first))
            if result.symbols[0] != result.symbols[1]:
                lines.append(drawing.Line(entry.name, x, second, dashed=True))
        panels.append(drawing.PairPanel(result.title, lines, result.seen))
    mixed = [result.symbols for result in results if result.symbols[0] != result.symbols[1]]
    note = "; ".join(f"{a}-{b}: {a} solid, {b} dashed" for a, b in mixed)
    figures = {"bond_sensitivity": drawing.sensitivities(panels, SCALED, end=end, scaled=True, note=note)}
    if end > NEAR + 2.0:
        near = drawing.sensitivities(panels, SCALED, end=NEAR, scaled=True, note=note)
        figures["bond_sensitivity_near"] = near
    return figures


def _chart(result: PairResult) -> Chart:
    """One pair's curves above the data's distances, which are scaled to the same height."""
    x = result.curves[0].distances
    counts, edges = np.histogram(result.seen, np.arange(0.0, x[-1] + BIN, BIN))
    share = 0.6 * counts / (counts.max() or 1)
    seen = Series("pairs in the data", np.repeat(edges, 2)[1:-1], np.repeat(share, 2), colour="#9aa5b0")
    lines = [seen]
    for place, (entry, first, second) in enumerate(_scaled(result)):
        colour = drawing.COLOURS[place % len(drawing.COLOURS)]
        a, b = result.symbols
        name = entry.name if a == b else f"{entry.name}: {a}"
        lines.append(Series(name, x, first.clip(max=CEILING), colour=colour))
        if a != b:
            lines.append(Series(f"{entry.name}: {b}", x, second.clip(max=CEILING), "dashed", colour=colour))
    return Chart(f"{result.title}: how features answer to the distance", "distance (Å)", SCALED, tuple(lines))


def _energy_charts(results: Sequence[PairResult]) -> list[Chart]:
    """Energies of the bare pairs, where a model predicts them."""
    charts = []
    for result in results:
        lines = [
            Series(entry.name, curve.distances, curve.energies / KCAL_PER_MOL)
            for entry, curve in zip(result.models, result.curves, strict=True)
            if curve.energies is not None
        ]
        if lines:
            title = f"{result.title}: energy of the two bare atoms, less that of each alone"
            charts.append(Chart(title, "distance (Å)", "energy (kcal/mol)", tuple(lines)))
    return charts
