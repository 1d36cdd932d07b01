"""The panel of errors: where they are large, and what may be concluded from them (thesis 3.5.1, fig. 3.4 to 3.7)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from atomlens.data.batching import BatchSource
from atomlens.data.dataset import Dataset
from atomlens.data.quantities import quantity
from atomlens.data.units import ENERGY_PER_ATOM, from_internal
from atomlens.errors import InputError
from atomlens.evaluation import errors_of, predict_source
from atomlens.explain.analysis import Analysis
from atomlens.explain.errors.error_charts import Shown, charts, drawings, force_drawings, table_of, tables, write_errors
from atomlens.explain.errors.error_words import agreement, force_reading, judged_by, reading
from atomlens.explain.errors.learning_curve import learning_curves
from atomlens.explain.errors.structure_errors import FEWEST, ErrorAnalysis, ForceErrors, error_analysis, force_errors
from atomlens.explain.errors.training_overlap import TrainingOverlap, training_overlap
from atomlens.explain.subject import NamedModel, Subject
from atomlens.figures.style import plain_unit
from atomlens.panel import Check, Panel

FORCE_ATOMS = 20_000  # whose forces are predicted at most; of more a sample is taken
_ROWS_PER_ELEMENT = 3  # fewer structures are fitted by their composition, whatever it means
_BY_DEFINITION = 1500  # isomers whose τ is checked by looking at every pair


@dataclass(frozen=True)
class _Judgement:
    """Which structures count, and why."""

    rows: np.ndarray  # (structures,) bool
    overlaps: Mapping[str, TrainingOverlap]  # by model
    untouched: bool  # False: all structures were trained on, and are judged all the same


def _of_models(subject: Subject) -> Panel:
    names = _quantities(subject)
    judgement = _judgement(subject, names)
    found: list[Shown] = []
    problems: list[str] = []
    for name in names:
        try:
            found.append(_judged(subject, name, judgement))
        except InputError as error:
            problems.append(f"{name.replace('_', ' ')}: {error.problem}")
    forces = _forces(subject, judgement)
    if not found and forces is None:
        raise InputError("; ".join(problems))
    return Panel(
        ANALYSIS.name,
        reading=" ".join([*map(reading, found), *([force_reading(*forces)] if forces else [])]),
        trust=" ".join(_trust(judgement, found, problems)),
        checks=tuple(check for each in found for check in _checks(subject, each)),
        facts={
            "structures": len(subject.data),
            "trained_on": {name: each.why for name, each in judgement.overlaps.items()},
            "quantities": {each.name: each.to_dict() for each in found},
            "forces": None if forces is None else {"unit": forces[1], **forces[0].to_dict()},
        },
        figures={name: figure for each in found for name, figure in drawings(subject.data, each).items()}
        | (force_drawings(*forces) if forces else {}),
        tables=tuple(table for each in found for table in tables(subject.data, each))
        + ((table_of(*forces),) if forces else ()),
        views=tuple(chart for each in found for chart in charts(subject.data, each)),
        files={f"errors_{each.name}.csv": _writer(subject.data, each) for each in found},
    )


def _trust(judgement: _Judgement, found: Sequence[Shown], problems: Sequence[str]) -> list[str]:
    seen = judged_by(judgement.overlaps, judgement.rows, untouched=judgement.untouched)
    models = dict.fromkeys(agreement(each) for each in found)
    return [seen, *models, *(f"Left out: {problem}." for problem in problems)]


def _quantities(subject: Subject) -> list[str]:
    """Properties of structures that have labels and are predicted."""
    predicted = {name for entry in subject.models for name in entry.model.predicted}
    labels = [name for name, values in subject.data.labels.items() if np.isfinite(values).any()]
    found = [name for name in labels if name in predicted and quantity(name).per == "system" and name != "stress"]
    if not found and not ("forces" in labels and "forces" in predicted):
        have = f"labels of {', '.join(labels)}" if labels else "no labels"
        offered = ", ".join(sorted(name for name in predicted if quantity(name).per == "system" and name != "stress"))
        raise InputError(
            f"the structures carry {have} and the models predict {offered}; give labels of these with --label"
        )
    return found


def _judgement(subject: Subject, names: Sequence[str]) -> _Judgement:
    """Structures that no model was trained on, as far as it can be told."""
    entries = [entry for entry in subject.models if {*names, "forces"} & set(entry.model.predicted)]
    overlaps = {entry.name: training_overlap(entry.model, subject.data) for entry in entries}
    rows = np.ones(len(subject.data), dtype=bool)
    for overlap in overlaps.values():
        if overlap.used is not None:
            rows &= ~overlap.used
    untouched = int(rows.sum()) >= min(10 * FEWEST, len(subject.data))
    return _Judgement(rows if untouched else np.ones_like(rows), overlaps, untouched)


def _judged(subject: Subject, name: str, judgement: _Judgement) -> Shown:
    """Errors of one quantity by every model that serves the data, in the unit shown.

    Raises:
        InputError: none serves it, or too few labels are left.
    """
    data, kind = subject.data, quantity(name)
    unit = kind.shown or kind.unit
    factor = from_internal(1.0, unit)
    labelled = factor * np.asarray(data.labels[name])
    analyses: dict[str, ErrorAnalysis] = {}
    values: dict[str, np.ndarray] = {}
    entries: dict[str, NamedModel] = {}
    problem: InputError | None = None
    for entry in subject.serving(name):
        try:
            predicted = factor * subject.predicted(entry)[name]
        except InputError as error:  # an element that it never saw
            problem = error
            continue
        values[entry.name], entries[entry.name] = predicted, entry
        analyses[entry.name] = error_analysis(
            predicted,
            labelled,
            data.numbers,
            data.offsets,
            judged=judgement.rows,
            per_atom=kind.dimension == ENERGY_PER_ATOM,
            seed=subject.config.seed,
        )
    if problem is not None and not analyses:
        raise problem
    curves = learning_curves({key: (entries[key], found.summary) for key, found in analyses.items()})
    trained = {
        key: _trained_mae(values[key] - labelled, judgement.overlaps[key], judgement.untouched) for key in analyses
    }
    first = next(iter(analyses.values())).isomers
    isomers = first is not None and len(first.formulas) > 1 and not data.pbc.any()  # not frames of one molecule
    kind_of = "isomers" if isomers else "structures"
    return Shown(name, plain_unit(unit), labelled, values, analyses, tuple(curves), trained, kind_of)


def _trained_mae(off: np.ndarray, overlap: TrainingOverlap, untouched: bool) -> float | None:
    """MAE over the structures that were used in training, for comparison; None where they are not known."""
    if overlap.used is None or not overlap.used.any() or not untouched:
        return None
    sizes = np.linalg.norm(off[overlap.used].reshape(int(overlap.used.sum()), -1), axis=1)
    return float(np.nanmean(sizes)) if np.isfinite(sizes).any() else None


def _forces(subject: Subject, judgement: _Judgement) -> tuple[ForceErrors, str] | None:
    """Errors of forces on a sample of the structures, by the first model that predicts them; None without labels."""
    data = subject.data
    entries = [entry for entry in subject.models if "forces" in entry.model.predicted]
    if "forces" not in data.labels or not entries:
        return None
    known = np.flatnonzero(judgement.rows & data.known(["forces"]))
    if len(known) < FEWEST:
        return None
    rng = np.random.default_rng(subject.config.seed)
    order = rng.permutation(known)
    rows = np.sort(order[: max(int(np.searchsorted(np.cumsum(data.n_atoms[order]), FORCE_ATOMS)), FEWEST)])
    some, unit = data.subset(rows), quantity("forces").shown or "eV/Ang"
    model, factor = entries[0].model, from_internal(1.0, unit)
    source = BatchSource(some, model.cutoff, [], title=f"{entries[0].name}: neighbours")
    found = predict_source(model, source, np.arange(len(some)), forces=True, title=f"{entries[0].name}: forces")
    errors = force_errors(
        factor * found["forces"], factor * some.labels["forces"], some.numbers, some.offsets, seed=subject.config.seed
    )
    return replace(errors, outliers=rows[errors.outliers]), plain_unit(unit)


def _checks(subject: Subject, shown: Shown) -> list[Check]:
    analysis, words, checks = shown.first, shown.words, []
    if analysis.summary.mean is None:
        return []
    labels, predicted = shown.labelled[analysis.rows], shown.predicted[analysis.rows]
    if len(labels) >= _ROWS_PER_ELEMENT * (len(subject.data.elements) + 1):
        counted = float(np.abs(labels - _composition_only(subject, shown.name, analysis.rows, labels)).mean())
        ratio = analysis.summary.mae / counted if counted else float("inf")
        what = "The mean absolute error against that of the best linear fit of these very labels to the composition."
        checks.append(Check(f"{words}: more than composition", what, ratio, "below 1", "1", ratio < 1.0, claim=True))
    off = abs(errors_of(shown.name, predicted, labels, 0.0, len(labels)).mae - analysis.summary.mae)
    limit = 1e-9 * max(1.0, analysis.summary.mae)
    what = "The mean absolute error against what atomlens evaluate computes."
    checks.append(Check(f"{words}: mean absolute error", what, off, f"below {limit:.1g}", shown.unit, off < limit))
    ranking = analysis.isomers
    if ranking is not None and len(ranking.members[0]) <= _BY_DEFINITION and np.isfinite(ranking.tau[0]):
        rows = ranking.members[0]
        off = abs(float(ranking.tau[0]) - _tau_by_definition(shown.predicted[rows], shown.labelled[rows]))
        what = f"Kendall's τ of {ranking.formulas[0]} against the count over all of its pairs."
        checks.append(Check(f"{words}: order within formulas", what, off, "below 1e-9", "1", off < 1e-9))
    return checks


def _composition_only(subject: Subject, name: str, rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """What the composition alone says, fitted to the labels (structures,) themselves."""
    counts = subject.data.counts()[0][rows]
    shares = counts if quantity(name).extensive else counts / counts.sum(axis=1, keepdims=True)
    design = np.column_stack([np.ones(len(rows)), shares])
    centre = labels.mean()
    return np.asarray(centre + design @ np.linalg.lstsq(design, labels - centre, rcond=None)[0])


def _tau_by_definition(first: np.ndarray, second: np.ndarray) -> float:
    """Σ sign sign / √(pairs that differ in one, times pairs that differ in the other): τ-b."""
    a, b = (np.sign(values[:, None] - values[None]) for values in (first, second))
    return float((a * b).sum() / np.sqrt(np.abs(a).sum() * np.abs(b).sum()))


def _writer(data: Dataset, shown: Shown) -> Callable[[Path], None]:
    return lambda path: write_errors(path, data, shown)


ANALYSIS = Analysis(
    "errors",
    "Where the errors are",
    "Errors against size and element, their distribution, the structures with the largest ones, and Kendall's τ, the "
    "share of pairs of isomers in the right order less that in the wrong one.",
    "Thesis 3.5.1 and fig. 3.4-3.7",
    of_models=_of_models,
)
