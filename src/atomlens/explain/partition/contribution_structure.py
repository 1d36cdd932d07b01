"""The panel of one structure's atom contributions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.transform import Rotation

from atomlens.data.system import AtomicSystem, symbol
from atomlens.errors import InputError
from atomlens.explain.partition.agreement import ROUNDING
from atomlens.explain.partition.compared import kind
from atomlens.explain.partition.shared_terms import LESS_MEAN, Shared, shared_terms
from atomlens.explain.subject import Subject
from atomlens.figures import contributions as drawing
from atomlens.figures import style
from atomlens.panel import AtomValues, Check, Panel, View

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NAME = "contributions"
# Terms of one atom in two frames, over the size of what the network adds: single precision, and filters tabulated to
# 1e-6 of their range.
_TURN_LIMIT = 1e-4

_OTHERS = 20  # atoms of an element in the data, from which on one can be said to stand out


def of_structure(subject: Subject, place: int) -> Panel:
    """The terms of one structure's atoms, and how far they depend on the model."""
    panels = [_structure_part(shared, place) for shared in shared_terms(subject)]
    first, *others = panels
    return replace(
        first,
        reading=" ".join(panel.reading for panel in panels),
        trust=" ".join(panel.trust for panel in panels),
        checks=tuple(check for panel in panels for check in panel.checks),
        facts={**first.facts, "also": [dict(panel.facts) for panel in others]} if others else first.facts,
        figures={name: figure for panel in panels for name, figure in panel.figures.items()},
        views=tuple(view for panel in panels for view in panel.views),
    )


def _structure_part(shared: Shared, place: int) -> Panel:
    subject, term, entry = shared.subject, shared.term, shared.entries[0]
    system = subject.systems[place]
    symbols = [symbol(int(number)) for number in system.numbers]
    values, inner = shared.of_structure(entry, place), shared.less_mean(entry, place)
    spread = _spread_over_models(shared, place)
    suffix = "" if term.quantity == "energy" else f"_{term.quantity}"
    figures = {f"atom_contributions{suffix}": _drawn(shared, system, values, shared.label)}
    views: list[View] = [AtomValues(term.words, term.unit, values)]
    if inner is not None:
        label = f"{term.words} {LESS_MEAN}"
        figures[f"atom_contributions{suffix}_within_elements"] = _drawn(shared, system, inner, label)
        views.append(AtomValues(label, term.unit, inner))
    return Panel(
        _NAME,
        place,
        reading=_structure_reading(shared, place, values, inner),
        trust=_structure_trust(shared, symbols, spread),
        checks=(_sum_check(shared, place, values), _turned_check(shared, place)),
        facts={
            "quantity": term.quantity,
            "unit": term.unit,
            "relative_to": shared.relative_to,
            "model": entry.name,
            "symbols": symbols,
            "values": values.tolist(),
            "less_element_mean": None if inner is None else inner.tolist(),
            "spread_over_models": None if spread is None else spread.tolist(),
        },
        figures=figures,
        views=tuple(views),
    )


def _drawn(shared: Shared, system: AtomicSystem, values: np.ndarray, label: str) -> Figure:
    symbols = [symbol(int(number)) for number in system.numbers]
    return drawing.atom_contributions(symbols, system.positions, values, label, shared.term.unit)


def _spread_over_models(shared: Shared, place: int) -> np.ndarray | None:
    """Standard deviation (atoms,) over models of values less the element's mean; None with fewer than two models."""
    found = []
    for entry in shared.entries:
        try:
            inner = shared.less_mean(entry, place)
        except InputError:
            continue
        if inner is not None:
            found.append(inner)
    return np.std(found, axis=0, ddof=1) if len(found) > 1 else None


def _structure_reading(shared: Shared, place: int, values: np.ndarray, inner: np.ndarray | None) -> str:
    term, system = shared.term, shared.subject.systems[place]
    factor, unit = style.shown_unit(term.unit)
    shown, names = factor * values, [symbol(int(number)) for number in system.numbers]
    whole = shown.mean() if term.kind == "mean" else shown.sum()
    how = "the mean" if term.kind == "mean" else "the sum"
    property_ = term.words.removesuffix(" contribution")
    ranges = ", ".join(
        f"{name} {_range(shown[system.numbers == number])}"
        for name, number in dict(zip(names, system.numbers.tolist(), strict=True)).items()
    )
    start = f"The {property_} of {system.formula}, {_signed(whole)} {unit} relative to {shared.measured_from}, is"
    if len(values) == 1:
        free = " A free atom's is zero by definition; the rest is the model's error, for no free atom was trained on."
        return f"{start} what its one atom adds.{free if shared.measured_from == 'free atoms' else ''}"
    words = f"{start} {how} of what its {len(values)} atoms add: {ranges} {unit}."
    least = ROUNDING * max(float(np.abs(values).max()), shared.entries[0].model.scales[term.name])
    if inner is not None and np.abs(inner).max() > least and _among_others(shared, system, inner):
        atom = int(np.abs(inner).argmax())
        words += (
            f" {names[atom]}{atom} stands out most from other atoms of its element in the data set: "
            f"{abs(factor * inner[atom]):.3g} {unit} {'above' if inner[atom] > 0 else 'below'} their mean."
        )
    return words


def _among_others(shared: Shared, system: AtomicSystem, inner: np.ndarray) -> bool:
    """Whether the data have enough atoms of the element that stands out for their mean to say something."""
    number = system.numbers[np.abs(inner).argmax()]
    return int((shared.subject.data.numbers == number).sum()) >= _OTHERS


def _structure_trust(shared: Shared, symbols: Sequence[str], spread: np.ndarray | None) -> str:
    factor, unit = style.shown_unit(shared.term.unit)
    what = f"{shared.term.heading}s by {shared.entries[0].name}"
    if spread is None:
        return (
            f"{what}, one model alone. A partition is not unique, and how far this one is that model's own cannot be "
            "said; give one trained on another split as well."
        )
    atom, kinds = int(spread.argmax()), ", ".join(sorted({kind(entry) for entry in shared.entries}))
    return (
        f"{what}. Less the mean of each element, atoms' values differ between {len(shared.entries)} models ({kinds}) "
        f"by {factor * np.sqrt(np.square(spread).mean()):.2g} {unit} (standard deviation over models, root mean square "
        f"over atoms), most for {symbols[atom]}{atom} ({factor * spread[atom]:.2g}); between atoms of one element they "
        f"differ by {factor * shared.pooled_spread(shared.entries[0]):.2g} {unit} in the data set."
    )


def _range(values: np.ndarray) -> str:
    low, high = _signed(float(values.min())), _signed(float(values.max()))
    return low if low == high else f"{low} to {high}"


def _signed(value: float) -> str:
    """A number with a true minus, to a tenth or three digits."""
    text = f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"
    return text.replace("-", "−")


def _sum_check(shared: Shared, place: int, values: np.ndarray) -> Check:
    term, entry, system = shared.term, shared.entries[0], shared.subject.systems[place]
    terms = values + shared.baseline(entry)[system.numbers]
    total = float(shared.subject.of_structure(entry, place)[term.quantity])
    off = abs(float(terms.mean() if term.kind == "mean" else terms.sum()) - total)
    what = "values and baseline against the predicted property"
    return Check(f"{term.words}: sum", what, off, f"below 1e-6 {term.unit}", term.unit, off < 1e-6)


def _turned_check(shared: Shared, place: int) -> Check:
    """The structure turned and its atoms renumbered: every atom must keep its term."""
    term, entry, system = shared.term, shared.entries[0], shared.subject.systems[place]
    generator = np.random.default_rng(shared.subject.config.seed)
    turn = Rotation.random(random_state=generator).as_matrix()
    order = generator.permutation(len(system.numbers))
    turned = replace(
        system, numbers=system.numbers[order], positions=(system.positions @ turn.T)[order], cell=system.cell @ turn.T
    )
    after = term.of(entry.model.predict([turned], forces=False, stress=False)[0])
    off = float(np.abs(after - term.of(shared.subject.of_structure(entry, place))[order]).max())
    limit = _TURN_LIMIT * entry.model.scales[term.name]
    what = "values of the atoms after the structure is turned and its atoms are renumbered"
    return Check(f"{term.words}: turned", what, off, f"below {limit:.2g} {term.unit}", term.unit, off < limit)
