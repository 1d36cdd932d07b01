"""Errors of predictions, structure by structure and atom by atom (thesis 3.5.1, fig. 3.4 to 3.7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from atomlens.data.system import symbol
from atomlens.errors import InputError
from atomlens.explain.errors.error_statistics import (
    ElementErrors,
    ErrorSummary,
    SizeBins,
    errors_by_element,
    errors_by_size,
    summarise,
)
from atomlens.explain.errors.isomer_ranking import IsomerRanking, rank_isomers

FEWEST = 2  # structures that have an average and a spread


@dataclass(frozen=True)
class ErrorAnalysis:
    """Errors of one quantity, in its unit, over the structures whose label is known and that are to be judged."""

    rows: np.ndarray  # (judged,) their places in the data set
    errors: np.ndarray  # (judged,) predicted - labelled; of vectors and tensors the length of the difference
    sizes: np.ndarray  # (judged,) atoms
    summary: ErrorSummary
    by_size: SizeBins
    size_correlation: float  # Spearman's rank correlation of magnitude and size; NaN where all have one size
    by_element: ElementErrors
    outliers: np.ndarray  # (outliers,) places in the data set, largest error first
    isomers: IsomerRanking | None  # rows of it are places in the data set; None for vectors, or without isomers

    @property
    def magnitudes(self) -> np.ndarray:
        """Sizes of the errors, (judged,)."""
        return np.abs(self.errors)

    def at(self, rows: np.ndarray) -> np.ndarray:
        """Errors of structures by their places in the data set."""
        return np.asarray(self.errors[np.searchsorted(self.rows, rows)])

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "summary": self.summary.to_dict(),
            "by_size": self.by_size.to_dict(),
            "size_correlation": self.size_correlation if np.isfinite(self.size_correlation) else None,
            "by_element": self.by_element.to_dict(),
            "outliers": [
                {"structure": int(row), "error": float(error)}
                for row, error in zip(self.outliers, self.at(self.outliers), strict=True)
            ],
            "isomers": None if self.isomers is None else self.isomers.to_dict(),
        }


def error_analysis(
    predicted: np.ndarray,
    labelled: np.ndarray,
    numbers: np.ndarray,
    offsets: np.ndarray,
    *,
    judged: np.ndarray | None = None,
    per_atom: bool = False,
    outliers: int = 9,
    seed: int = 0,
) -> ErrorAnalysis:
    """Where errors are large: by size, by element, in which structures, and whether isomers are in the right order.

    Args:
        predicted: (structures, ...) a property of structures, in any unit.
        labelled: the same shape and unit, NaN where it is not known.
        numbers: (atoms,) atomic numbers of all structures laid end to end.
        offsets: (structures + 1,) where each structure starts.
        judged: (structures,) bool, which of them count, such as those that were not trained on; None: all.
        per_atom: the property is one per atom, see `rank_isomers`.
        outliers: how many to name.
        seed: of bootstrap samples and sampled pairs.

    Raises:
        InputError: shapes differ, or fewer than two structures are left.
    """
    rows = _known_rows(predicted, labelled, len(offsets) - 1, judged)
    difference = (predicted - labelled)[rows]
    signed = difference.ndim == 1
    errors = difference if signed else np.linalg.norm(difference.reshape(len(rows), -1), axis=1)
    magnitudes, sizes = np.abs(errors), np.diff(offsets)[rows]
    counts, elements = _compositions(numbers, offsets)
    counts = counts[rows]
    present = counts.any(axis=0)
    counts, elements = counts[:, present], elements[present]
    ranking = None
    if signed:
        ranking = rank_isomers(predicted[rows], labelled[rows], counts, elements, per_atom=per_atom, seed=seed)
    return ErrorAnalysis(
        rows=rows,
        errors=errors,
        sizes=sizes,
        summary=summarise(errors, signed=signed, seed=seed),
        by_size=errors_by_size(magnitudes, sizes),
        size_correlation=rank_correlation(magnitudes, sizes),
        by_element=errors_by_element(magnitudes, counts, elements),
        outliers=rows[np.argsort(-magnitudes, kind="stable")[:outliers]],
        isomers=None if ranking is None else _in_data_set(ranking, rows),
    )


@dataclass(frozen=True)
class ForceErrors:
    """Errors of force components, in the unit of the forces."""

    mae: float
    rmse: float
    interval: tuple[float, float]  # of the MAE, from bootstrap samples of structures
    numbers: np.ndarray  # (elements,) atomic numbers
    count: np.ndarray  # (elements,) atoms
    element_mae: np.ndarray  # (elements,)
    element_size: np.ndarray  # (elements,) mean magnitude of labelled components, which errors are to be held against
    by_size: SizeBins  # of the structures' MAE
    outliers: np.ndarray  # (outliers,) structures with the largest MAE, largest first
    outlier_mae: np.ndarray  # (outliers,)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "mae": self.mae,
            "rmse": self.rmse,
            "interval": list(self.interval),
            "by_element": {
                symbol(int(number)): {"count": int(count), "mae": float(mae), "mean_magnitude": float(size)}
                for number, count, mae, size in zip(
                    self.numbers, self.count, self.element_mae, self.element_size, strict=True
                )
            },
            "by_size": self.by_size.to_dict(),
            "outliers": [
                {"structure": int(row), "mae": float(mae)}
                for row, mae in zip(self.outliers, self.outlier_mae, strict=True)
            ],
        }


def force_errors(
    predicted: np.ndarray,
    labelled: np.ndarray,
    numbers: np.ndarray,
    offsets: np.ndarray,
    *,
    judged: np.ndarray | None = None,
    outliers: int = 9,
    seed: int = 0,
) -> ForceErrors:
    """Errors of force components by element and by size.

    Args:
        predicted: (atoms, 3)
        labelled: (atoms, 3), NaN where they are not known; a structure counts if all of its forces are known.
        numbers: see `error_analysis`.
        offsets: see `error_analysis`.
        judged: see `error_analysis`.
        outliers: how many to name.
        seed: of bootstrap samples.

    Raises:
        InputError: shapes differ, or fewer than two structures are left.
    """
    if predicted.shape != labelled.shape:
        raise InputError(f"predictions have shape {predicted.shape} and labels {labelled.shape}; give equal ones")
    of_atom = np.abs(predicted - labelled).mean(axis=1)
    sizes = np.diff(offsets)
    per_structure = np.add.reduceat(of_atom, offsets[:-1]) / sizes
    rows = _known_rows(per_structure, per_structure, len(sizes), judged)
    chosen = np.isin(np.repeat(np.arange(len(sizes)), sizes), rows)
    elements, place, count = np.unique(numbers[chosen], return_inverse=True, return_counts=True)
    worst = np.argsort(-per_structure[rows], kind="stable")[:outliers]
    return ForceErrors(
        mae=float(of_atom[chosen].mean()),
        rmse=float(np.sqrt(np.square((predicted - labelled)[chosen]).mean())),
        interval=_weighted_interval(per_structure[rows], sizes[rows], seed),
        numbers=elements,
        count=count,
        element_mae=np.bincount(place, of_atom[chosen]) / count,
        element_size=np.bincount(place, np.abs(labelled[chosen]).mean(axis=1)) / count,
        by_size=errors_by_size(per_structure[rows], sizes[rows]),
        outliers=rows[worst],
        outlier_mae=per_structure[rows[worst]],
    )


def _known_rows(predicted: np.ndarray, labelled: np.ndarray, structures: int, judged: np.ndarray | None) -> np.ndarray:
    """Structures with a finite label that are to be judged."""
    if predicted.shape != labelled.shape or len(labelled) != structures:
        raise InputError(
            f"predictions have shape {predicted.shape} and labels {labelled.shape}, for {structures} structures; give "
            "one of each per structure"
        )
    known = np.isfinite(labelled.reshape(structures, -1)).all(axis=1)
    rows = np.flatnonzero(known if judged is None else known & judged)
    if len(rows) < FEWEST:
        raise InputError(f"too few labels to judge by ({len(rows)}); give structures with at least {FEWEST}")
    return rows


def _compositions(numbers: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Atoms of each element (structures, elements), and the elements."""
    elements, column = np.unique(numbers, return_inverse=True)
    structure = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    flat = np.bincount(structure * len(elements) + column, minlength=(len(offsets) - 1) * len(elements))
    return flat.reshape(-1, len(elements)), elements


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's ρ of two numbers per structure; NaN where one of them is the same everywhere."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(spearmanr(first, second).statistic)


def _in_data_set(ranking: IsomerRanking, rows: np.ndarray) -> IsomerRanking:
    """The same ranking with members by their places in the data set."""
    return IsomerRanking(**vars(ranking) | {"members": tuple(rows[each] for each in ranking.members)})


def _weighted_interval(values: np.ndarray, weights: np.ndarray, seed: int) -> tuple[float, float]:
    """Bootstrap interval of a mean over atoms, drawing whole structures, for atoms of one structure err alike."""
    rng, samples = np.random.default_rng(seed), []
    for _ in range(400):
        drawn = rng.integers(0, len(values), len(values))
        samples.append(float(np.average(values[drawn], weights=weights[drawn])))
    low, high = np.quantile(samples, [0.025, 0.975])
    return float(low), float(high)
