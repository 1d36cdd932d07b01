"""Figures, charts and tables of the panel of errors."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from atomlens.data.dataset import Dataset
from atomlens.data.system import AtomicSystem, symbol
from atomlens.explain.errors.isomer_ranking import IsomerRanking
from atomlens.explain.errors.learning_curve import LearningCurve
from atomlens.explain.errors.structure_errors import ErrorAnalysis, ForceErrors
from atomlens.figures import error_analysis as drawing
from atomlens.panel import Chart, Series, Table

_DRAWN_ATOMS = 60  # of structures that are drawn; more is a cloud
_POINTS = 400  # of a curve on the page
_FORMULAS = 12  # in the table of isomers


@dataclass(frozen=True)
class Shown:
    """Errors of one quantity by all models that predict it, in the unit in which it is shown."""

    name: str
    unit: str
    labelled: np.ndarray  # (structures, ...)
    values: Mapping[str, np.ndarray]  # model to (structures, ...)
    analyses: Mapping[str, ErrorAnalysis]  # model to its errors; the first one is shown
    curves: tuple[LearningCurve, ...]
    trained: Mapping[str, float | None]  # model to its MAE on structures that it learned from
    of_one_formula: str  # what structures of one formula are: isomers, or just structures

    @property
    def words(self) -> str:
        """The quantity's name, to be read."""
        return self.name.replace("_", " ")

    @property
    def first(self) -> ErrorAnalysis:
        """Errors of the model that is shown."""
        return next(iter(self.analyses.values()))

    @property
    def predicted(self) -> np.ndarray:
        """By the model that is shown, (structures, ...)."""
        return next(iter(self.values.values()))

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "unit": self.unit,
            "models": {name: found.to_dict() for name, found in self.analyses.items()},
            "learning_curves": [curve.to_dict() for curve in self.curves],
            "mae_of_trained_structures": dict(self.trained),
        }


def number(value: float, digits: int = 3) -> str:
    """To so many digits, without powers of ten."""
    return f"{float(f'{value:.{digits}g}'):,g}".replace("-", "−") if abs(value) < 1e6 else f"{value:.{digits}g}"


def drawings(data: Dataset, shown: Shown) -> dict[str, Figure]:
    """Figures by name."""
    analysis, unit, words = shown.first, shown.unit, shown.words
    size, element = analysis.by_size, analysis.by_element
    magnitudes = {name: found.magnitudes for name, found in shown.analyses.items()}
    found = {"distribution": drawing.error_distribution(magnitudes, words, unit)}
    if len(size.count) > 1:
        found["size"] = drawing.error_by_size(size.names, size.count, size.mean, size.standard_error, words, unit)
    if len(element.numbers) > 1:
        found["elements"] = drawing.element_errors(
            element.symbols,
            element.mean,
            element.standard_error,
            element.per_atom,
            element.per_atom_error,
            analysis.summary.mae,
            words,
            unit,
        )
    drawn = [_drawn(data, row, shown) for row in analysis.outliers if data.n_atoms[row] <= _DRAWN_ATOMS]
    if drawn:
        found["outliers"] = drawing.outliers(drawn)
    if analysis.isomers is not None:
        found["isomers"] = _isomers(shown, analysis.isomers)
    if shown.curves:
        curves = [drawing.LearningCurve(each.name, each.sizes, each.mae, each.low, each.high) for each in shown.curves]
        found["learning_curves"] = drawing.learning_curves(curves, words, unit)
    return {f"errors_{shown.name}_{name}": figure for name, figure in found.items()}


def _drawn(data: Dataset, row: int, shown: Shown) -> drawing.Drawn:
    system = data[int(row)]
    symbols = [symbol(int(number)) for number in system.numbers]
    cell = " (a cell)" if system.pbc.any() else ""
    title = f"{row} {system.formula}{cell}\n{_error(shown, row)} {shown.unit}"
    return drawing.Drawn(symbols, system.positions, title)


def _error(shown: Shown, row: int) -> str:
    analysis = shown.first
    value = float(analysis.at(np.array([row]))[0])
    return ("+" if value > 0.0 and analysis.summary.mean is not None else "") + number(value)


def _isomers(shown: Shown, ranking: IsomerRanking) -> Figure:
    rows = ranking.members[0]
    return drawing.isomer_ranking(
        shown.labelled[rows],
        shown.predicted[rows],
        _isomer_title(shown, ranking),
        drawing.Gaps(ranking.gap_low, ranking.gap_high, ranking.pairs, ranking.swapped),
        shown.words,
        shown.unit,
    )


def _isomer_title(shown: Shown, ranking: IsomerRanking) -> str:
    return f"{ranking.formulas[0]}: {ranking.count[0]:,} {shown.of_one_formula}, Kendall's τ = {number(ranking.tau[0])}"


def charts(data: Dataset, shown: Shown) -> list[Chart]:
    """Charts for the page."""
    analysis, unit, words = shown.first, shown.unit, shown.words
    error = f"error of the {words} ({unit})"
    found = [Chart(f"How large errors of the {words} are", error, "structures with a larger error (%)",
                   tuple(_tail(name, each.magnitudes) for name, each in shown.analyses.items()))]  # fmt: skip
    if len(analysis.by_size.count) > 1:
        sizes = [_sizes(name, each) for name, each in shown.analyses.items()]
        found.append(Chart(f"Errors of the {words} by size", "atoms in the structure", f"mean {error}", tuple(sizes)))
    outliers = analysis.outliers
    labels = tuple(f"{row} {data[int(row)].formula}" for row in outliers)
    if analysis.summary.mean is not None:
        centre = float(shown.labelled[analysis.rows].mean())
        worst = Series("largest errors", shown.labelled[outliers] - centre, analysis.at(outliers), "text", labels)
        found.append(Chart(f"Largest errors of the {words}", f"label, relative to the mean ({unit})",
                           f"predicted less labelled ({unit})", (worst,)))  # fmt: skip
    if analysis.isomers is not None:
        found += _isomer_charts(shown, analysis.isomers)
    for curve in shown.curves:
        series = Series(curve.name, curve.sizes.astype(float), curve.mae, "markers", curve.models)
        found.append(Chart(f"Learning curve of {curve.name}", "structures trained on", f"mean {error}", (series,)))
    return found


def _tail(name: str, magnitudes: np.ndarray) -> Series:
    ordered = np.sort(magnitudes)[::-1]
    places = np.unique(np.geomspace(1, len(ordered), _POINTS).astype(int)) - 1
    return Series(name, ordered[places], 100.0 * (places + 1) / len(ordered))


def _sizes(name: str, analysis: ErrorAnalysis) -> Series:
    found = analysis.by_size
    rows = zip(found.names, found.count, found.standard_error, strict=True)
    labels = tuple(f"{size} atoms, {count:,} structures, ± {spread:.2g}" for size, count, spread in rows)
    return Series(name, 0.5 * (found.low + found.high), found.mean, "markers", labels)


def _isomer_charts(shown: Shown, ranking: IsomerRanking) -> list[Chart]:
    rows, unit, kind = ranking.members[0], shown.unit, shown.of_one_formula
    expected, told = shown.labelled[rows], shown.predicted[rows]
    centre = float(np.median(expected))
    ends = np.array([expected.min(), expected.max()]) - centre
    points = Series(ranking.formulas[0], expected - centre, told - centre, "markers",
                    tuple(f"structure {row}" for row in rows))  # fmt: skip
    known = np.isfinite(ranking.tau)
    names = tuple(np.array(ranking.formulas)[known].tolist())
    taus = Series("formulas", ranking.count[known].astype(float), ranking.tau[known], "markers", names)
    return [
        Chart(_isomer_title(shown, ranking), f"label, relative to the median ({unit})", f"predicted ({unit})",
              (points, Series("equal", ends, ends, "dashed"))),
        Chart(f"Order of {kind} of one formula", f"{kind} of the formula", "Kendall's τ", (taus,)),
    ]  # fmt: skip


def tables(data: Dataset, shown: Shown) -> list[Table]:
    """Averages of all models, the largest errors, and the order of isomers."""
    unit = shown.unit
    rows = []
    for name, analysis in shown.analyses.items():
        each = analysis.summary
        low, high = each.intervals["mae"]
        tau = "–" if analysis.isomers is None else round(analysis.isomers.mean_tau, 4)
        rows.append((name, each.count, each.mae, f"{low:.3g}-{high:.3g}", each.rmse, each.median, each.p95,
                     each.largest, tau))  # fmt: skip
    columns = ("model", "structures", "mean absolute error", "95 % interval", "root mean square", "median",
               "95 % below", "largest", "Kendall's τ")  # fmt: skip
    found = [Table(f"Errors of the {shown.words} ({unit})", columns, tuple(rows))]
    found.append(_outlier_table(data, shown))
    ranking = shown.first.isomers
    if ranking is not None:
        lines = zip(ranking.formulas, ranking.count.tolist(), ranking.tau.tolist(), strict=True)
        listed = tuple((name, count, tau if np.isfinite(tau) else "–") for name, count, tau in lines)
        title = f"Order of {shown.of_one_formula} by {shown.words}, formulas with the most of them"
        found.append(Table(title, ("formula", shown.of_one_formula, "Kendall's τ"), listed[:_FORMULAS]))
    return found


def _outlier_table(data: Dataset, shown: Shown) -> Table:
    """The largest errors of the model shown, beside those of the others."""
    columns = ("structure", "formula", *shown.analyses)
    rows: list[tuple[str | int | float, ...]] = []
    for row in shown.first.outliers:
        system: AtomicSystem = data[int(row)]
        errors = [float(found.at(np.array([row]))[0]) for found in shown.analyses.values()]
        rows.append((int(row), system.formula, *errors))
    return Table(f"Largest errors of the {shown.words} ({shown.unit})", columns, tuple(rows))


def force_drawings(forces: ForceErrors, unit: str) -> dict[str, Figure]:
    """Figures of the errors of force components."""
    size, found = forces.by_size, {}
    if len(size.count) > 1:
        found["errors_forces_size"] = drawing.error_by_size(
            size.names, size.count, size.mean, size.standard_error, "force components", unit
        )
    if len(forces.numbers) > 1:
        symbols = [symbol(int(each)) for each in forces.numbers]
        found["errors_forces_elements"] = drawing.force_errors(symbols, forces.element_mae, forces.element_size, unit)
    return found


def table_of(forces: ForceErrors, unit: str) -> Table:
    """Errors of force components by element."""
    rows = zip(forces.numbers, forces.count, forces.element_mae, forces.element_size, strict=True)
    listed = tuple((symbol(int(number)), int(count), float(mae), float(size)) for number, count, mae, size in rows)
    columns = ("element", "atoms", "mean absolute error", "mean magnitude of the labels")
    return Table(f"Errors of force components ({unit})", columns, listed)


def write_errors(path: Path, data: Dataset, shown: Shown) -> None:
    """Every judged structure with its label, prediction and error by the model shown, as CSV."""
    analysis = shown.first
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        signed = analysis.summary.mean is not None
        names = ["label", "predicted", "error"] if signed else ["error"]
        writer.writerow(["structure", "formula", *(f"{name} ({shown.unit})" for name in names)])
        for row, error in zip(analysis.rows.tolist(), analysis.errors.tolist(), strict=True):
            values = [float(shown.labelled[row]), float(shown.predicted[row])] if signed else []
            writer.writerow([row, data[row].formula, *values, error])
