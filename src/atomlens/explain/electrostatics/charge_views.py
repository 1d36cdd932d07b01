"""Figures, tables, charts and words that panels about charges are made of."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from atomlens.data.system import symbol
from atomlens.data.units import parse_unit
from atomlens.explain.electrostatics.charge_comparison import ChargeAgreement, DipoleAgreement, ModelPair
from atomlens.figures import charges as drawing
from atomlens.figures import style
from atomlens.panel import Chart, Check, Series, Table

_CHART_POINTS = 400  # per element
_CONSERVED, _LEARNED = 1e-6, 0.1  # e, by which charges may miss the total: by rounding, or by what was learned
_DEBYE = parse_unit("D")[0]

ByElement = Mapping[str, np.ndarray]  # symbol to which atoms of the data set are of it, (atoms,)


def figures(
    models: Mapping[str, np.ndarray],
    elements: ByElement,
    charges: Mapping[str, ChargeAgreement],
    dipoles: Mapping[str, DipoleAgreement],
) -> dict[str, Figure]:
    """Distributions of every model's charges (atoms,), and the comparisons."""
    spread = {name: {model: q[chosen] for model, q in models.items()} for name, chosen in elements.items()}
    return {
        "latent_charges": drawing.charge_distributions(spread),
        **{f"charges_beside_{_file_name(name)}": agreement.plot() for name, agreement in charges.items()},
        **{f"dipole_vectors_beside_{_file_name(name)}": agreement.plot() for name, agreement in dipoles.items()},
    }


def tables(
    charges: Mapping[str, ChargeAgreement], dipoles: Mapping[str, DipoleAgreement], pairs: Sequence[ModelPair]
) -> tuple[Table, ...]:
    """All comparisons as rows."""
    found = [_charge_table(agreement) for agreement in charges.values()]
    if dipoles:
        columns = ("reference", "molecules", "error of a component (D)", "its mean size (D)", "median angle (°)",
                   "same side (%)")  # fmt: skip
        rows = [
            (name, len(each.reference), _cell(each.component_mae / _DEBYE), _cell(each.component_size / _DEBYE),
             _cell(float(np.median(each.angles)) if len(each.angles) else np.nan), _cell(100.0 * each.same_side))
            for name, each in dipoles.items()
        ]  # fmt: skip
        found.append(Table("Dipole vectors", columns, tuple(rows)))
    if pairs:
        found.append(_pair_table(pairs))
    return tuple(found)


def _charge_table(agreement: ChargeAgreement) -> Table:
    columns = (
        "element",
        "atoms",
        "correlation",
        "slope",
        "same sign (%)",
        "mean (e)",
        f"mean, {agreement.reference} (e)",
    )
    rows = [
        (row.element, row.count, *map(_cell, (row.correlation, row.slope, 100.0 * row.same_sign)), _cell(row.mean),
         _cell(row.reference_mean))
        for row in (*agreement.per_element, agreement.overall)
    ]  # fmt: skip
    return Table(f"Latent charges beside {agreement.reference} charges", columns, tuple(rows))


def _pair_table(pairs: Sequence[ModelPair]) -> Table:
    columns = ("models", "correlation", "within elements", "rms difference (e)", "relative to the spread")
    rows = [
        (f"{pair.first} and {pair.second}",
         *map(_cell, (pair.correlation, pair.within_elements, pair.rms_difference, pair.relative)))
        for pair in pairs
    ]  # fmt: skip
    return Table("Charges of two models", columns, tuple(rows))


def charge_chart(agreement: ChargeAgreement) -> Chart:
    """Latent over reference charges."""
    series = []
    for row in agreement.per_element:
        places = np.flatnonzero([symbol(int(number)) == row.element for number in agreement.numbers])
        some = places[drawing.evenly(len(places), _CHART_POINTS)]
        colour = style.element_colour(row.element)
        series.append(Series(row.element, agreement.values[some], agreement.latent[some], "markers", colour=colour))
    return Chart(
        f"Latent charges beside {agreement.reference} charges",
        f"{agreement.reference} charge (e)",
        "latent charge (e)",
        tuple(series),
        equal=True,
    )


def dipole_chart(name: str, agreement: DipoleAgreement) -> Chart:
    """Predicted over reference components."""
    some = drawing.evenly(len(agreement.reference), 2 * _CHART_POINTS)
    axes = tuple(
        Series(axis, agreement.reference[some, k] / _DEBYE, agreement.predicted[some, k] / _DEBYE, "markers")
        for k, axis in enumerate("xyz")
    )
    title = f"Components of dipole vectors beside {name} ones"
    return Chart(title, "reference component (D)", "predicted component (D)", axes, equal=True)


def model_chart(first: tuple[str, np.ndarray], second: tuple[str, np.ndarray], elements: ByElement) -> Chart:
    """Charges of two models, each a name and (atoms,) in e."""
    series = []
    for name, chosen in elements.items():
        places = np.flatnonzero(chosen)
        some = places[drawing.evenly(len(places), _CHART_POINTS)]
        colour = style.element_colour(name)
        series.append(Series(name, first[1][some], second[1][some], "markers", colour=colour))
    title = f"Latent charges of {first[0]} and {second[0]}"
    return Chart(title, f"{first[0]} (e)", f"{second[0]} (e)", tuple(series), equal=True)


def sum_check(what: str, missing: float, conserved: bool) -> Check:
    """That charges add up: a computation where the model conserves charge, else a claim about what it learned.

    Args:
        what: is compared with what.
        missing: by which charges miss the total charge, in e.
        conserved: whether the readout shifts charges so that they add up.
    """
    if conserved:
        return Check("charges add up", what, missing, "below 1e-6 e", "e", missing < _CONSERVED)
    what = f"{what} (the model was free to learn any sum)"
    return Check("charges add up", what, missing, f"below {_LEARNED:g} e", "e", missing < _LEARNED, claim=True)


def signed(value: float) -> str:
    """A number with its sign and two digits, as it is printed."""
    return f"{value:+.2f}".replace("-", "−") if np.isfinite(value) else "not defined"


def listed(words: list[str]) -> str:
    """Words with commas and an "and"."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _cell(value: float) -> str | float:
    return round(float(value), 3) + 0.0 if np.isfinite(value) else "–"  # + 0.0 takes the sign off a zero


def _file_name(name: str) -> str:
    return re.sub(r"\W+", "_", name.lower().replace("ö", "oe"))
