"""The panel of atom contributions over a data set: by element, and by model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from atomlens.data.system import symbol
from atomlens.explain.partition.compared import kind
from atomlens.explain.partition.shared_terms import FEWEST_ATOMS, LESS_MEAN, Shared, shared_terms
from atomlens.explain.subject import NamedModel, Subject
from atomlens.figures import contributions as drawing
from atomlens.figures import style
from atomlens.panel import Check, Distribution, Panel, Table, View
from atomlens.wording import counted

_NAME = "contributions"


def of_models(subject: Subject) -> Panel:
    """Distributions by element, of every model, over the data set."""
    parts = [_models_part(shared) for shared in shared_terms(subject)]
    return replace(
        parts[0],
        reading=" ".join(part.reading for part in parts),
        trust=" ".join(part.trust for part in parts),
        checks=tuple(check for part in parts for check in part.checks),
        facts={name: fact for part in parts for name, fact in part.facts.items()},
        figures={name: figure for part in parts for name, figure in part.figures.items()},
        tables=tuple(table for part in parts for table in part.tables),
        views=tuple(view for part in parts for view in part.views),
    )


def _models_part(shared: Shared) -> Panel:
    term = shared.term
    per_element = {entry.name: _by_element(shared, shared.of_data(entry)) for entry in shared.entries}
    totals = {entry.name: _totals(shared, entry) for entry in shared.entries}
    suffix = "" if term.quantity == "energy" else f"_{term.quantity}"
    return Panel(
        _NAME,
        reading=_reading(shared, per_element),
        trust=_trust(shared),
        checks=(*_sum_checks(shared), *_label_checks(shared)),
        facts={term.quantity: _facts(shared, per_element)},
        figures={
            f"contribution_distributions{suffix}": drawing.contribution_grid(
                per_element, totals, shared.label, term.unit, _total_words(shared)
            )
        },
        tables=(_table(shared, per_element, "spread"), _table(shared, per_element, "mean")),
        views=tuple(_views(shared, per_element)),
    )


def _by_element(shared: Shared, values: np.ndarray) -> dict[str, np.ndarray]:
    numbers = shared.subject.data.numbers
    return {symbol(int(number)): values[numbers == number] for number in np.unique(numbers)}


def _totals(shared: Shared, entry: NamedModel) -> np.ndarray:
    """The property over the data set relative to the baseline, (structures,)."""
    return shared.term.summed(shared.of_data(entry), shared.subject.data)


def _total_words(shared: Shared) -> str:
    return "mean" if shared.term.kind == "mean" else "sum"


def _pooled(per_element: dict[str, np.ndarray]) -> float:
    """Standard deviation within elements, over all atoms."""
    squares = sum(len(values) * float(values.var()) for values in per_element.values())
    return float(np.sqrt(squares / sum(map(len, per_element.values()))))


def _views(shared: Shared, per_element: dict[str, dict[str, np.ndarray]]) -> Iterator[View]:
    """Distributions; those of the model shown have the names by which the page finds a structure's atoms in them."""
    term = shared.term
    for place, (name, values) in enumerate(per_element.items()):
        yield Distribution(term.words if place == 0 else f"{term.words}, {name}", term.unit, values)
    first = per_element[shared.entries[0].name]
    inner = {name: values - values.mean() for name, values in first.items()}
    yield Distribution(f"{term.words} {LESS_MEAN}", term.unit, inner)


def _reading(shared: Shared, per_element: dict[str, dict[str, np.ndarray]]) -> str:
    factor, unit = style.shown_unit(shared.term.unit)
    data, first = shared.subject.data, per_element[shared.entries[0].name]
    spreads = {name: factor * float(values.std()) for name, values in first.items() if len(values) >= FEWEST_ATOMS}
    words = f"{shared.term.heading}s of {counted(len(data.numbers), 'atom')} in {counted(len(data), 'structure')}."
    if spreads:
        low, high = min(spreads, key=spreads.__getitem__), max(spreads, key=spreads.__getitem__)
        words += (
            f" By {shared.entries[0].name} they vary least for {low} (standard deviation {spreads[low]:.3g} {unit})"
        )
        words += f" and most for {high} ({spreads[high]:.3g})." if high != low else "."
    if len(per_element) > 1:
        each = ", ".join(f"{name} {factor * _pooled(values):.3g}" for name, values in per_element.items())
        words += f" Within elements, all taken together, they vary by: {each} {unit}."
    return words + _narrowness(shared, per_element)


def _narrowness(shared: Shared, per_element: dict[str, dict[str, np.ndarray]]) -> str:
    """What the documents say of SchNet's energies beside the two others', and what is seen here."""
    if shared.term.quantity != "energy":
        return ""
    kinds: dict[str, list[dict[str, np.ndarray]]] = {kind(entry): [] for entry in shared.entries}
    for entry in shared.entries:
        kinds[kind(entry)].append(per_element[entry.name])
    words = ""
    for other, source in (("Behler-Parrinello", "insights paper, fig. 2"), ("DTNN", "thesis, fig. 4.8")):
        if {"SchNet", other} <= set(kinds):
            narrower = [
                name
                for name in kinds["SchNet"][0]
                if _mean_spread(kinds, "SchNet", name) < _mean_spread(kinds, other, name)
            ]
            wider = [name for name in kinds["SchNet"][0] if name not in narrower]
            found = (
                "for every element"
                if not wider
                else f"for {', '.join(narrower) or 'none'} and not for {', '.join(wider)}"
            )
            words += f" SchNet's distributions are narrower than those of {other} ({source}): here {found}."
    return words


def _mean_spread(kinds: dict[str, list[dict[str, np.ndarray]]], name: str, element: str) -> float:
    """Standard deviation of an element's values, mean over the models of a kind."""
    return float(np.mean([values[element].std() for values in kinds[name]]))


def _trust(shared: Shared) -> str:
    count, words = len(shared.entries), shared.term.words
    if count == 1:
        return f"One model of {words}s: another run may share out the same totals in another way."
    return f"{count} models of {words}s over the same structures; their stability says how far they agree."


def _sum_checks(shared: Shared) -> Iterator[Check]:
    term, data = shared.term, shared.subject.data
    for entry in shared.entries:
        terms = shared.of_data(entry) + shared.baseline(entry)[data.numbers]
        off = float(np.abs(term.summed(terms, data) - shared.subject.predicted(entry)[term.quantity]).max())
        what = "contributions and baselines against the predicted property, the structure with the largest deviation"
        yield Check(f"{entry.name}: sum", what, off, f"below 1e-6 {term.unit}", term.unit, off < 1e-6)


def _label_checks(shared: Shared) -> Iterator[Check]:
    """Sums beside labels, where these are known: a partition of wrong totals explains nothing."""
    term, data = shared.term, shared.subject.data
    if term.quantity not in data.labels:
        return
    known = np.isfinite(data.labels[term.quantity])
    counts = data.counts()[0] / (data.n_atoms[:, None] if term.kind == "mean" else 1.0)
    if known.sum() <= counts.shape[1]:
        return
    labels = data.labels[term.quantity][known]
    constants = np.linalg.lstsq(counts[known], labels, rcond=None)[0]
    counting = float(np.abs(counts[known] @ constants - labels).mean())
    for entry in shared.entries:
        off = float(np.abs(shared.subject.predicted(entry)[term.quantity][known] - labels).mean())
        what = "mean absolute error against labels, beside that of the best constants per element"
        yield Check(
            f"{entry.name}: labels", what, off, f"below {counting:.3g} {term.unit}", term.unit, off < counting, True
        )


def _facts(shared: Shared, per_element: dict[str, dict[str, np.ndarray]]) -> dict[str, object]:
    return {
        "unit": shared.term.unit,
        "relative_to": shared.relative_to,
        "models": {
            name: {
                "spread_within_elements": _pooled(values),
                "per_element": {
                    element: {"mean": float(own.mean()), "std": float(own.std()), "count": len(own)}
                    for element, own in values.items()
                },
            }
            for name, values in per_element.items()
        },
    }


def _table(shared: Shared, per_element: dict[str, dict[str, np.ndarray]], what: str) -> Table:
    """Means or spreads, a row for each element and a column for each model."""
    factor, unit = style.shown_unit(shared.term.unit)
    rows: list[tuple[str | int | float, ...]] = []
    for element, first in per_element[shared.entries[0].name].items():
        own = [values[element] for values in per_element.values()]
        cells = [factor * float(each.std() if what == "spread" else each.mean()) for each in own]
        rows.append((element, len(first), *(float(f"{cell:.4g}") for cell in cells)))
    title = {"spread": "Spread (standard deviation)", "mean": "Mean"}[what]
    columns = ("element", "atoms", *(f"{name} ({unit})" for name in per_element))
    return Table(f"{title} of {shared.term.words}s by element", columns, tuple(rows))
