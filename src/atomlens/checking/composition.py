"""What the elements alone explain of a label: a robust fit per element, and groups of equal composition."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from atomlens.data.dataset import Dataset

_ROUNDS = 12
_FLOOR = 1e-3  # of the median residual, where the weights of the smallest residuals end
_ROWS_PER_ELEMENT = 3
_DETERMINED = 0.05  # of an element's own share that the others must leave unexplained


@dataclass(frozen=True)
class CompositionFit:
    """Least absolute deviations of a label from a sum over atoms (or, where it is intensive, a mean over them)."""

    elements: tuple[int, ...]
    terms: np.ndarray  # (elements,) of the label's unit
    resolved: np.ndarray  # (elements,) bool: whether the compositions tell this element's term from the others'
    rows: np.ndarray  # (known,) structures whose label is known
    residuals: np.ndarray  # (known,) label minus fit
    scale: float  # 1.4826 times the median magnitude of the residuals: the standard deviation of a normal distribution


def fit_composition(data: Dataset, values: np.ndarray, *, extensive: bool) -> CompositionFit | None:
    """Fit one scalar label of structures by elements; None where none is known.

    The fit minimises the sum of magnitudes (by iteratively reweighted least squares), so that outliers do not pull it.

    Args:
        data: the structures.
        values: (structures,) the label, NaN where it is not known.
        extensive: whether it is a sum over atoms.
    """
    rows = np.flatnonzero(np.isfinite(values))
    if not len(rows):
        return None
    counts, elements = data.counts()
    design = counts[rows] if extensive else counts[rows] / counts[rows].sum(axis=1, keepdims=True)
    target = values[rows].astype(np.float64)
    terms = _least_deviations(design, target)
    residuals = target - design @ terms
    # What a fit of least deviations leaves in the middle is taken away per composition only where there is one.
    scale = 1.4826 * float(np.median(np.abs(residuals)))
    return CompositionFit(tuple(elements), terms, _resolved(design), rows, residuals, scale)


def _least_deviations(design: np.ndarray, target: np.ndarray) -> np.ndarray:
    weights = np.ones(len(target))
    terms = np.zeros(design.shape[1])
    for _ in range(_ROUNDS):
        weighted = design * weights[:, None]
        # Normal equations: 33,000 structures of 87 elements stay cheap; what is undetermined is given the least norm.
        terms = np.linalg.pinv(weighted.T @ design, rcond=1e-11, hermitian=True) @ (weighted.T @ target)
        off = np.abs(target - design @ terms)
        weights = 1.0 / np.maximum(off, max(_FLOOR * float(np.median(off)), 1e-12))
        weights /= weights.max()
    return np.asarray(terms)


def _resolved(design: np.ndarray) -> np.ndarray:
    """Elements whose counts are no combination of the other elements' counts, in enough structures."""
    gram = design.T @ design
    size = np.sqrt(np.diag(gram))
    normalised = gram / np.outer(size, size)
    values, vectors = np.linalg.eigh(normalised)
    # 1 / diagonal of the inverse: the share of a column that the others leave unexplained.
    inverse = (vectors**2) @ (1.0 / np.maximum(values, 1e-12))
    often = (design > 0).sum(axis=0) >= _ROWS_PER_ELEMENT
    return np.asarray((1.0 / inverse > _DETERMINED**2) & often)


def composition_groups(data: Dataset, *, periodicity: bool = True) -> np.ndarray:
    """(structures,) a number for each composition and charge, from 0, in the order in which they first occur.

    Args:
        data: the structures.
        periodicity: whether open and periodic structures are kept apart, too.
    """
    counts, _ = data.counts()
    table = np.column_stack([counts, data.charge, data.pbc.any(axis=1) & periodicity])
    # One number per row by a random projection in which no two of different whole numbers meet but by accident.
    weights = np.random.default_rng(0).integers(1, 1 << 40, table.shape[1])
    keys = np.round(table * 1024).astype(np.int64) @ weights
    _, first, group = np.unique(keys, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first, kind="stable")] = np.arange(len(first))
    return np.asarray(rank[group])
