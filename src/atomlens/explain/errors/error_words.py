"""What the panel of errors says in words."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from atomlens.data.system import symbol
from atomlens.explain.errors.error_charts import Shown, number
from atomlens.explain.errors.error_statistics import ErrorSummary
from atomlens.explain.errors.learning_curve import LearningCurve
from atomlens.explain.errors.structure_errors import ErrorAnalysis, ForceErrors, rank_correlation
from atomlens.explain.errors.training_overlap import TrainingOverlap

_FEW = 5  # structures, whose average says nothing
_HUNDREDTHS = 100  # structures, of which one is a hundredth
_LARGE = 0.95  # of the errors are smaller than those that are called large


def reading(shown: Shown) -> str:
    """What is seen in the errors of one quantity."""
    analysis, unit = shown.first, shown.unit
    summary = analysis.summary
    low, high = summary.intervals["mae"]
    parts = [
        f"The {shown.words} of {summary.count:,} structures is off by {number(summary.mae)} {unit} on average (95 % "
        f"interval {number(low)} to {number(high)}); half of the errors are below {number(summary.median)}, 95 % below "
        f"{number(summary.p95)}{_worst_words(summary)}.",
        _size_sentence(analysis, unit),
        _element_sentence(analysis, unit),
        _isomer_sentence(shown),
        f"The largest error, {number(analysis.summary.largest)} {unit}, is that of structure {analysis.outliers[0]}.",
        *(_curve_sentence(curve, unit) for curve in shown.curves),
    ]
    return " ".join(part for part in parts if part)


def _worst_words(summary: ErrorSummary) -> str:
    if summary.count < _HUNDREDTHS:
        return ""
    return f", and the worst hundredth of the structures makes {100 * summary.worst_share:.0f} % of the squared error"


def _size_sentence(analysis: ErrorAnalysis, unit: str) -> str:
    """The smallest quarter against the largest."""
    sizes, magnitudes = analysis.sizes, analysis.magnitudes
    few, many = np.quantile(sizes, [0.25, 0.75])
    small, large = magnitudes[sizes <= few], magnitudes[sizes >= many]
    if few == many or min(len(small), len(large)) < _FEW:
        return ""
    means = [float(part.mean()) for part in (small, large)]
    spread = float(np.hypot(*(part.std(ddof=1) / np.sqrt(len(part)) for part in (small, large))))
    told = f"({number(means[1])} against {number(means[0])} {unit})"
    if abs(means[1] - means[0]) < 2.0 * spread:
        return (
            f"Errors of structures with {many:.0f} atoms or more and with {few:.0f} or fewer cannot be told apart "
            f"{told}."
        )
    word = "larger" if means[1] > means[0] else "smaller"
    return f"Structures with {many:.0f} atoms or more have {word} errors than those with {few:.0f} or fewer {told}."


def _element_sentence(analysis: ErrorAnalysis, unit: str) -> str:
    """The element of which an atom adds most to the error, beyond doubt."""
    found = analysis.by_element
    sure = np.nan_to_num(found.per_atom - 2.0 * found.per_atom_error, nan=-1.0) > 0.0
    if not sure.any() or len(found.numbers) < 2:
        return ""
    place = int(np.flatnonzero(sure)[found.per_atom[sure].argmax()])
    return (
        f"With the other elements' numbers as they are, one {found.symbols[place]} atom more adds most to the error: "
        f"{number(found.per_atom[place], 2)} ± {number(found.per_atom_error[place], 1)} {unit}."
    )


def _isomer_sentence(shown: Shown) -> str:
    ranking, kind = shown.first.isomers, shown.of_one_formula
    if ranking is None or not np.isfinite(ranking.mean_tau):
        return ""
    largest = f"{ranking.formulas[0]}, {ranking.count[0]:,} {kind}: {number(ranking.tau[0])}"
    meaning = "Kendall's τ, which is 1 where all are in the right order and 0 by chance,"
    if len(ranking.formulas) == 1:
        start = f"Among structures of one formula {meaning} is ({largest})"
    else:
        start = (
            f"Within {len(ranking.formulas):,} formulas of three {kind} or more {meaning} is "
            f"{number(ranking.mean_tau)} on average ({largest})"
        )
    gap = ranking.safe_gap
    farther = f", but at most 5 % of those that differ by {gap:g} {shown.unit} or more" if gap else ""
    farther = farther or (", and even of those that differ most more than 5 %" if gap is None else "")
    return f"{start}; {100 * ranking.swapped_share:.1f} % of the pairs are in the wrong order{farther}."


def _curve_sentence(curve: LearningCurve, unit: str) -> str:
    return (
        f"From {curve.sizes[0]:,} to {curve.sizes[-1]:,} training structures the error of {curve.name} goes from "
        f"{number(curve.mae[0])} to {number(curve.mae[-1])} {unit}, as the number to the power {-curve.exponent:.2f}."
    )


def force_reading(errors: ForceErrors, unit: str) -> str:
    """What is seen in the errors of forces."""
    low, high = errors.interval
    interval = f"(95 % interval {number(low)} to {number(high)})"
    start = f"Force components are off by {number(errors.mae)} {unit} on average {interval}"
    if len(errors.numbers) == 1:
        return f"{start}."
    share = errors.element_mae / np.maximum(errors.element_size, 1e-12)
    worst = int(share.argmax())
    name = symbol(int(errors.numbers[worst]))
    return f"{start}, measured by the size of its forces most on {name} ({100 * share[worst]:.1f} %)."


def judged_by(overlaps: Mapping[str, TrainingOverlap], judged: np.ndarray, *, untouched: bool) -> str:
    """What is known of training structures among those that models are judged by."""
    if not untouched:
        return (
            "All but a few of these structures were trained on, as the model files show: what is seen here are errors "
            "of training, and those on new structures are larger."
        )
    reasons: dict[str, list[str]] = {}
    for name, overlap in overlaps.items():
        reasons.setdefault(overlap.why, []).append(name)
    parts = list(reasons) if len(reasons) == 1 else [f"{', '.join(names)}: {why}" for why, names in reasons.items()]
    if not judged.all():
        parts.append(f"Judged are the {int(judged.sum()):,} structures that no model is known to have used.")
    return " ".join(parts)


def agreement(shown: Shown) -> str:
    """How the other models' errors compare, structure by structure."""
    names = list(shown.analyses)
    parts = []
    trained = shown.trained.get(names[0])
    if trained is not None:
        parts.append(f"On the structures used in training {names[0]} is off by {number(trained)} {shown.unit}.")
    if len(names) == 1:
        return " ".join([*parts, "One model; which errors are its own and which are the data's cannot be told."])
    first, others = shown.first, [shown.analyses[name] for name in names[1:]]
    maes = ", ".join(f"{name} {number(shown.analyses[name].summary.mae)}" for name in names)
    parts.append(f"{len(names)} models (mean absolute errors of the {shown.words} in {shown.unit}: {maes}).")
    alike = [rank_correlation(first.magnitudes, other.magnitudes) for other in others]
    if np.isfinite(alike).all():
        ends = sorted({f"{value:.2f}" for value in (min(alike), max(alike))}, key=float)
        parts.append(
            "From structure to structure the sizes of the others' errors go with those shown by a rank correlation of "
            f"{' to '.join(ends)}."
        )
    large = [set(other.rows[other.magnitudes >= np.quantile(other.magnitudes, _LARGE)].tolist()) for other in others]
    shared = len(set(first.outliers.tolist()).intersection(*large))
    parts.append(
        f"Of the {len(first.outliers)} largest errors {shared} {'is' if shared == 1 else 'are'} among the largest "
        "twentieth of every other model: hard structures, or doubtful labels, whatever the network."
    )
    return " ".join(parts)
