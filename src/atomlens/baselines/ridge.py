"""Kernel ridge regression whose width and regularisation are chosen on the validation set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from atomlens.baselines.kernels import Kernel, KernelAt
from atomlens.baselines.memory import check_memory
from atomlens.baselines.targets import Target
from atomlens.errors import InputError
from atomlens.progress import Reporter, track

_FEW, _FEW_COSTLY = 1000, 500  # structures that the first, wide search is made with
_PIECE = 500  # structures predicted at a time
_WIDTHS = range(-4, 7, 2)  # widths of the first search: the typical distance times 2 to these powers
_RIDGES = range(1, 12, 2)  # and shares of the kernel's mean diagonal: 10 to minus these powers
_WIDEST, _LEAST_RIDGE = 6, 12  # how far a search may walk
_STEPS = ((1, 0), (-1, 0), (0, 1), (0, -1))
Point = tuple[int, int]


@dataclass(frozen=True)
class Chosen:
    """What the validation set preferred."""

    kernel: str
    point: Point  # powers of the width and of the regularisation
    scale: float  # the typical distance that widths are counted in
    ridge: float  # share of the kernel's mean diagonal that is added to it
    target: Target
    validation_mae: float  # in the label's unit
    others: Mapping[str, float]  # validation errors in the first search, by kernel and target

    @property
    def width(self) -> float:
        """σ of the kernel."""
        return self.scale * 2.0 ** self.point[0]

    def to_dict(self) -> dict[str, Any]:
        """What was chosen, for JSON."""
        return {
            "kernel": self.kernel,
            "width": self.width,
            "ridge": self.ridge,
            "removed": self.target.removed,
            "validation_mae": self.validation_mae,
            "first_search": {key: error for key, error in self.others.items() if np.isfinite(error)},
        }


def choose(
    kernel: Kernel, targets: list[Target], train: np.ndarray, validation: np.ndarray, title: str = ""
) -> tuple[Chosen, np.ndarray]:
    """Choose kernel function, target, width and regularisation by the mean absolute error of the validation set.

    A wide search with some of the training structures comes first, then a narrow one with all of them:
    the width only where the kernel's widths are cheap.

    Args:
        kernel: of the descriptor.
        targets: ways to make the label easy, of which the best is taken.
        train: structures to learn from.
        validation: structures to choose by.
        title: of a progress bar.

    Returns:
        The choice, and the weights of the training structures, (train,); see `predict`.
    """
    count = _FEW if kernel.cheap else _FEW_COSTLY
    few = train if len(train) <= count else np.sort(np.random.default_rng(0).permutation(train)[:count])
    check_memory(8.0 * len(train) * (4 * len(train) + 3 * len(validation)), f"kernels of {len(train):,} structures")
    tried: dict[str, Chosen] = {}
    with track(f"{title}: first search" if title else "", len(kernel.names) * len(_WIDTHS), "widths") as bar:
        for name in kernel.names:
            problem = _Problem(kernel, name, few, validation)
            first = {target.removed: problem.score(target) for target in targets}
            for width in _WIDTHS:
                for score in first.values():
                    for ridge in _RIDGES:
                        score((width, ridge))
                bar.advance()
            for target in targets:
                score = first[target.removed]
                point = _descend(score, min(score.known, key=score.known.__getitem__), _STEPS)
                tried[f"{name}, {target.removed} removed"] = problem.chosen(target, point, score.known[point])
    best = min(tried.values(), key=lambda found: found.validation_mae)
    others = {key: found.validation_mae for key, found in tried.items()}
    with track(f"{title}: search with all" if title else "", len(train) + len(validation), "structures") as bar:
        problem = _Problem(kernel, best.kernel, train, validation, bar, best.scale)
        score = problem.score(best.target)
        point = _descend(score, best.point, _STEPS if kernel.cheap else _STEPS[2:])
        chosen = problem.chosen(best.target, point, score.known[point], others)
        weights = _solve(problem.own(chosen.width), _centred(best.target, train), chosen.ridge)
    if weights is None:
        raise InputError("has no kernel that is positive definite for these structures; look for duplicates")
    return chosen, weights


def predict(
    kernel: Kernel, chosen: Chosen, weights: np.ndarray, train: np.ndarray, rows: np.ndarray, title: str = ""
) -> np.ndarray:
    """Labels of the structures at ``rows``, a few hundred at a time."""
    found = np.empty(len(rows))
    mean = chosen.target.values[train].mean()
    with track(title, len(rows), "structures") as bar:
        for start in range(0, len(rows), _PIECE):
            part = slice(start, start + _PIECE)
            matrix = kernel.between(chosen.kernel, rows[part], train)(chosen.width)
            found[part] = chosen.target.label(mean + matrix @ weights, rows[part])
            bar.advance(len(matrix))
    return found


class _Problem:
    """The two kernel matrices that a search needs."""

    def __init__(
        self,
        kernel: Kernel,
        name: str,
        train: np.ndarray,
        validation: np.ndarray,
        bar: Reporter | None = None,
        scale: float | None = None,
    ) -> None:
        self.name, self.train, self.validation = name, train, validation
        self.scale = kernel.scale(name, train) if scale is None else scale
        self.own: KernelAt = kernel.between(name, train, train, bar)
        self.cross: KernelAt = kernel.between(name, validation, train, bar)

    def chosen(self, target: Target, point: Point, error: float, others: Mapping[str, float] | None = None) -> Chosen:
        return Chosen(self.name, point, self.scale, 10.0 ** -point[1], target, error, dict(others or {}))

    def score(self, target: Target) -> _Score:
        return _Score(self, target)


class _Score:
    """Validation error at a point of the grid, remembered."""

    def __init__(self, problem: _Problem, target: Target) -> None:
        self._problem, self._target = problem, target
        self.known: dict[Point, float] = {}

    def __call__(self, point: Point) -> float:
        if point not in self.known:
            self.known[point] = self._error(point)
        return self.known[point]

    def _error(self, point: Point) -> float:
        problem, target = self._problem, self._target
        width = problem.scale * 2.0 ** point[0]
        weights = _solve(problem.own(width), _centred(target, problem.train), 10.0 ** -point[1])
        if weights is None:
            return float("inf")
        guess = target.values[problem.train].mean() + problem.cross(width) @ weights
        return float(target.off(guess, problem.validation).mean())


def _descend(score: Callable[[Point], float], point: Point, steps: tuple[Point, ...]) -> Point:
    """Walk to neighbours on the grid for as long as one is better."""
    while True:
        near = [(point[0] + step[0], point[1] + step[1]) for step in steps]
        near = [(width, ridge) for width, ridge in near if abs(width) <= _WIDEST and 0 <= ridge <= _LEAST_RIDGE]
        best = min(near, key=score)
        if not score(best) < score(point):
            return point
        point = best


def _centred(target: Target, rows: np.ndarray) -> np.ndarray:
    values = target.values[rows]
    return values - values.mean()


def _solve(matrix: np.ndarray, values: np.ndarray, ridge: float) -> np.ndarray | None:
    """(K + λ I)⁻¹ y with λ a share of K's mean diagonal, K overwritten; None where that is not positive definite."""
    matrix[np.diag_indices_from(matrix)] += ridge * np.trace(matrix) / len(matrix)
    try:
        # In LAPACK's order of rows and columns, and so without a copy; the matrix is symmetric.
        factor = cho_factor(matrix.T, lower=True, overwrite_a=True, check_finite=False)
    except LinAlgError:
        return None
    return np.asarray(cho_solve(factor, values, check_finite=False))
