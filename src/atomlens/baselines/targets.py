"""What is learned in place of a label: what is left when the part that composition explains is taken away."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from atomlens.baselines.descriptor import optional
from atomlens.data.dataset import Dataset
from atomlens.data.quantities import quantity

_RIDGES = (1e-8, 1e-6, 1e-4, 1e-2, 1.0)


@dataclass(frozen=True)
class Target:
    """label = offset + weight · value, row by row; only ``value`` is learned."""

    values: np.ndarray  # (structures,) NaN where the label is not known
    offset: np.ndarray  # (structures,)
    weight: np.ndarray  # (structures,)
    removed: str  # what the offset is: mean or elements

    def label(self, values: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Labels of the structures at ``rows`` from learned values."""
        return self.offset[rows] + self.weight[rows] * values

    def off(self, values: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Absolute errors of labels."""
        return np.asarray(np.abs(self.weight[rows] * (values - self.values[rows])))


@dataclass(frozen=True)
class Composition:
    """The label as a linear function of composition."""

    predicted: np.ndarray  # (structures,)
    ridge: float


def composition(data: Dataset, label: str, train: np.ndarray, validation: np.ndarray) -> Composition:
    """Ridge regression of a label on counts of atoms (extensive), or on shares of the elements (others).

    The regularisation is chosen on the validation set. An element that no training structure has counts for nothing.
    """
    with optional("scikit-learn"):
        from sklearn.linear_model import Ridge
    counts, _ = data.counts()
    if not quantity(label).extensive:
        counts = counts / counts.sum(axis=1, keepdims=True)
    values = data.labels[label]
    best: tuple[float, Composition] | None = None
    for ridge in _RIDGES:
        made = Ridge(alpha=ridge, fit_intercept=False, solver="svd").fit(counts[train], values[train])
        predicted = np.asarray(made.predict(counts))
        error = float(np.abs(predicted[validation] - values[validation]).mean())
        if best is None or error < best[0]:
            best = error, Composition(predicted, ridge)
    assert best is not None
    return best[1]


def targets(data: Dataset, label: str, found: Composition, *, per_atom: bool) -> list[Target]:
    """What kernel ridge regression may learn.

    An extensive label is learned beyond its composition. Of others the validation set chooses whether the part of the
    composition is taken away first.

    Args:
        data: the structures.
        label: a quantity with one number per structure.
        found: see `composition`.
        per_atom: learn an extensive label per atom, with descriptors that do not grow with the structure.
    """
    values = data.labels[label]
    extensive = quantity(label).extensive
    weight = data.n_atoms.astype(np.float64) if extensive and per_atom else np.ones(len(data))
    made = [Target((values - found.predicted) / weight, found.predicted, weight, "elements")]
    if not extensive:
        made.append(Target(values, np.zeros(len(data)), weight, "mean"))
    return made
