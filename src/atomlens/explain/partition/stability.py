"""Are atom terms a fact about the data or about the run? Models compared, for energies and for charges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from atomlens.data.dataset import Dataset
from atomlens.data.system import symbol
from atomlens.explain.analysis import Analysis
from atomlens.explain.electrostatics.charge_views import listed
from atomlens.explain.partition.agreement import PairAgreement, PartitionStability, partition_stability
from atomlens.explain.partition.compared import Compared, compare, compared, kind
from atomlens.explain.partition.partitioned import shared_variance
from atomlens.explain.partition.shared_terms import FEWEST_ATOMS
from atomlens.explain.subject import Subject
from atomlens.figures import style
from atomlens.model import Model
from atomlens.panel import Chart, Check, Panel, Series, Table
from atomlens.wording import counted

_SAME_TOTALS = 0.2  # share of a difference up to which totals count as nearly the same
__all__ = ["ANALYSIS", "Compared", "PartitionStability", "compare", "compared", "partition_stability"]

_MOST_POINTS = 2000  # of one chart
_ALIKE, _PARTLY = 0.9, 0.5  # scores from which runs are called alike, and alike in part


def _of_models(subject: Subject) -> Panel:
    """Every quantity that two models or more predict."""
    rows = compared(subject)
    generator = np.random.default_rng(subject.config.seed)
    checks = {row.term.words: list(_checks(row, generator)) for row in rows}
    return Panel(
        ANALYSIS.name,
        reading=" ".join(_reading(row) for row in rows) + _energies_and_charges(rows),
        trust=_trust(rows, checks, subject.data),
        checks=tuple(check for each in checks.values() for check in each),
        facts={row.term.quantity: _facts(row) for row in rows},
        figures={
            f"stability_{row.term.quantity}_{'_'.join(map(str, row.stability.pairs[pair].models))}": row.stability.plot(
                row.names, pair, row.term.words, row.term.unit
            )
            for row in rows
            for pair in row.shown
        },
        tables=tuple(table for row in rows for table in (_elements_table(row), _pairs_table(row))),
        views=tuple(_chart(row, pair, subject.data, generator) for row in rows for pair in row.shown),
    )


def _reading(row: Compared) -> str:
    found, (factor, unit) = row.stability, style.shown_unit(row.term.unit)
    whole, totals, elements, shares = (factor * value for value in _typical(found.pairs))
    several = {name: each for name, each in found.per_element.items() if each.count >= FEWEST_ATOMS}
    scores = {name: each.score for name, each in several.items() if np.isfinite(each.score)}
    best, least = max(scores, key=scores.__getitem__, default=""), min(scores, key=scores.__getitem__, default="")
    known = {"dipole": "dipole moments", "spatial extent": "spatial extents"}.get(row.term.kind, "totals")
    alike = "nearly the same" if totals < _SAME_TOTALS * whole else "different"
    warning = "" if alike != "different" else f" Models that differ in {known} hold no one partition: mistrust it."
    words = (
        f"{len(row.entries)} models give {alike} {known} by {row.term.words}s; a partition is not unique, for "
        f"{known} alone are trained.{warning} {_score_sentence(row)} One atom's value differs between "
        f"two models by {whole:.3g} {unit} (root mean square; squares of parts add up): {totals:.2g} of it changes "
        f"{known}, {elements:.3g} is a constant per element that does not, and {shares:.3g} goes from atom to atom "
        f"within a structure, seen by no label."
    )
    if found.free_constants:
        ways = f"{found.free_constants} independent way{'s' if found.free_constants > 1 else ''}"
        words += f" Compositions here are so alike that no {known[:-1]} sees whole elements shifted in {ways}."
    if best != least:
        words += f" Models agree best on {best} ({scores[best]:.2f}) and least on {least} ({scores[least]:.2f})."
    if len(row.by_kinds) > 1:
        each = ", ".join(f"{_pair_words(*kinds)} {np.mean(pairs):.2f}" for kinds, pairs in row.by_kinds.items())
        words += f" Between pairs of models: {each}."
    return words


def _score_sentence(row: Compared) -> str:
    score = row.stability.score
    if not np.isfinite(score):
        return "There is no score, for no model's values vary within an element by more than rounding."
    return f"The score is {score:.2f}: {_verdict(row, score)}."


def _verdict(row: Compared, score: float) -> str:
    if score >= _ALIKE:
        return "within elements these models hold largely the same partition"
    share = f"{100 * score:.0f} % of how atoms of one element differ is common to the models"
    rest = "the run" if len(row.by_kinds) == 1 else "the run or the kind of model"
    return f"{share}, the rest belongs to {rest}" if score >= _PARTLY else f"only {share}; most belongs to {rest}"


def _energies_and_charges(rows: Sequence[Compared]) -> str:
    """The paper's comparison of the two, for models of one kind and of two."""
    energies, charges = (
        {
            kinds: float(np.mean(pairs))
            for row in rows
            if row.term.quantity == name
            for kinds, pairs in row.by_kinds.items()
        }
        for name in ("energy", "dipole")
    )
    both = [kinds for kinds in energies if kinds in charges]
    if not both:
        return ""
    each = "; ".join(f"{_pair_words(*kinds)} {energies[kinds]:.2f} and {charges[kinds]:.2f}" for kinds in both)
    more = [_pair_words(*kinds) for kinds in both if charges[kinds] > energies[kinds]]
    found = ("these" if len(both) == 1 else "all of them") if len(more) == len(both) else ", ".join(more)
    return (
        f" Energies beside charges: {each}. The insights paper found charges to agree better than energies; here that "
        f"{f'holds for {found}' if more else 'does not hold'}."
    )


def _trust(rows: Sequence[Compared], checks: Mapping[str, Sequence[Check]], data: Dataset) -> str:
    entries = list({id(entry): entry for row in rows for entry in row.entries}.values())
    kinds = sorted({kind(entry) for entry in entries})
    splits = {entry.model.provenance.get("split", {}).get("hash") for entry in entries}
    apart = "" if None in splits else f", trained on {len(splits)} different splits"
    apart = ", all trained on the same split" if len(splits) == 1 and apart else apart
    done = [words for words, each in checks.items() if any(check.name == f"{words}: chance" for check in each)]
    chance = ""
    if done:
        which = (
            "Every score is" if len(done) == len(rows) else f"Scores of {listed([f'{words}s' for words in done])} are"
        )
        chance = f" {which} checked against one with atoms shuffled within elements."
    alone = " All are of one kind: another kind may share out differently." if len(kinds) == 1 else ""
    return f"{len(entries)} models ({', '.join(kinds)}){apart}, over {counted(len(data), 'structure')}.{chance}{alone}"


def _checks(row: Compared, generator: np.random.Generator) -> Iterator[Check]:
    unit, words = row.term.unit, row.term.words
    limit = 1e-6 * max(entry.model.scales[row.term.readout] for entry in row.entries)
    what = "the part of a difference called totals adds up to the difference of the predicted totals"
    yield Check(f"{words}: totals", what, row.mismatch, f"below {limit:.2g} {unit}", unit, row.mismatch < limit)
    least = min(
        float(_differing(row.entries[first].model, row.entries[second].model, row.term.readout))
        for first, second in (pair.models for pair in row.stability.pairs)
    )
    what = "share of the parameters in which the two models most alike differ; the same model twice says nothing"
    yield Check(f"{words}: models", what, least, "above 0", "1", least > 0.0)
    inner = row.stability.atoms.within_elements(row.stability.values)
    if not np.isfinite(row.stability.score):
        return
    weight = np.square(inner).mean(axis=0)
    weight = (row.stability.atoms.indicators.T @ weight) / row.stability.atoms.indicators.sum(axis=0)
    counts = row.stability.atoms.indicators.sum(axis=0)
    effective = float((counts @ weight) ** 2 / max(counts @ weight**2, 1e-300))  # atoms that count alike
    if effective < 100:
        return
    shuffled = np.array([_shuffled(values, row.stability.atoms.numbers, generator) for values in inner])
    score, highest = shared_variance(shuffled), 5.0 / np.sqrt(effective)
    what = "the score of the same values with atoms shuffled within their element, model by model"
    yield Check(f"{words}: chance", what, score, f"within ±{highest:.2g}", "", bool(abs(score) < highest))


def _differing(first: Model, second: Model, readout: str) -> float:
    """Share of the parameters behind a readout's terms in which two models differ; 1 for networks of other shapes."""
    ours, theirs = _parameters(first, readout), _parameters(second, readout)
    if [(name, each.shape) for name, each in ours.items()] != [(name, each.shape) for name, each in theirs.items()]:
        return 1.0
    different = sum(int((each != theirs[name]).sum()) for name, each in ours.items())
    return different / max(sum(each.size for each in ours.values()), 1)


def _parameters(model: Model, readout: str) -> dict[str, np.ndarray]:
    """Those of the representation and of one readout, by name."""
    return {
        name: values.detach().cpu().numpy()
        for name, values in model.named_parameters()
        if not name.startswith("readouts.") or name.startswith(f"readouts.{readout}.")
    }


def _shuffled(values: np.ndarray, numbers: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """(atoms,) with the values of each element in random order."""
    mixed = values.copy()
    for number in np.unique(numbers):
        mixed[numbers == number] = generator.permutation(values[numbers == number])
    return mixed


def _facts(row: Compared) -> dict[str, object]:
    scores = [{"kinds": list(kinds), "score": float(np.mean(each))} for kinds, each in row.by_kinds.items()]
    return {
        "unit": row.term.unit,
        "relative_to": row.relative_to,
        "names": row.names,
        "score_by_kinds": scores,
        **row.stability.to_dict(),
    }


def _elements_table(row: Compared) -> Table:
    factor, unit = style.shown_unit(row.term.unit)
    spreads = tuple(f"spread, {name} ({unit})" for name in row.names)
    return Table(
        f"{row.term.heading}: agreement by element",
        ("element", "atoms", "score", f"spread of the difference of two models ({unit})", *spreads),
        tuple(
            (
                name,
                each.count,
                _cell(each.score),
                *(_cell(factor * value) for value in (each.difference, *each.spreads)),
            )
            for name, each in row.stability.per_element.items()
        ),
    )


def _pairs_table(row: Compared) -> Table:
    factor, unit = style.shown_unit(row.term.unit)
    parts = ("difference", "of it in totals", "in constants per element", "between atoms of a structure")
    rows = []
    for pair in row.stability.pairs:
        first, second = (row.names[place] for place in pair.models)
        sizes = pair.difference.whole, pair.difference.totals, pair.difference.elements, pair.difference.shares
        measures = pair.score, pair.correlation, *(factor * size for size in sizes)
        rows.append((first, second, _pair_words(*row.kinds(pair)), *map(_cell, measures)))
    columns = ("model", "other model", "kinds", "score", "correlation", *(f"{part} ({unit})" for part in parts))
    return Table(f"{row.term.heading}: pairs of models", columns, tuple(rows))


def _chart(row: Compared, place: int, data: Dataset, generator: np.random.Generator) -> Chart:
    """One pair's atoms, at most two thousand, chosen at random but with rare elements kept."""
    pair, (factor, unit) = row.stability.pairs[place], style.shown_unit(row.term.unit)
    x, y = factor * row.stability.values[list(pair.models)]
    elements = np.unique(data.numbers)
    owner = np.repeat(np.arange(len(data)), data.n_atoms)
    least = _MOST_POINTS // (10 * len(elements))
    series = []
    for number in elements:
        own = np.flatnonzero(data.numbers == number)
        share = least + int((_MOST_POINTS - least * len(elements)) * len(own) / len(data.numbers))
        rows = np.sort(generator.choice(own, min(share, len(own)), replace=False))
        name = symbol(int(number))
        labels = tuple(f"{name}{atom - data.offsets[owner[atom]]} of structure {owner[atom]}" for atom in rows)
        series.append(Series(name, x[rows], y[rows], "markers", labels, style.element_colour(name)))
    first, second = (row.names[model] for model in pair.models)
    score = f" (score {pair.score:.2f})" if np.isfinite(pair.score) else ""
    title = f"{row.term.heading} of the same atoms by two models{score}"
    of_axes = f"{row.term.words}, {first} ({unit})", f"{row.term.words}, {second} ({unit})"
    return Chart(title, of_axes[0], of_axes[1], tuple(series), equal=True)


def _typical(pairs: Sequence[PairAgreement]) -> tuple[float, ...]:
    """Differences of pairs and their parts, root mean square over the pairs."""
    sizes = [(p.difference.whole, p.difference.totals, p.difference.elements, p.difference.shares) for p in pairs]
    return tuple(np.sqrt(np.square(sizes).mean(axis=0)).tolist())


def _pair_words(first: str, second: str) -> str:
    return f"two {first}" if first == second else f"{first} and {second}"


def _cell(value: float) -> float | str:
    """A number as a table shows it."""
    return float(f"{value:.4g}") if np.isfinite(value) else "–"


ANALYSIS = Analysis(
    "stability",
    "Would another run say the same?",
    "Terms of the same atoms by models trained apart. Score: the share of the variance within elements that models "
    "have in common (1: the same up to a constant per element; 0: unrelated). A difference is split into what changes "
    "totals, constants per element that do not, and what goes from atom to atom.",
    "Thesis 3.6.1, 4.5.1, fig. 3.9-3.11, 4.8 and B.1-B.3; insights paper 3.1, fig. 2 and 4",
    of_models=_of_models,
)
