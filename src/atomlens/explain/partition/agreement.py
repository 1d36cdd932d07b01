"""How far a partition over atoms is a fact about the data, and how far about the run (thesis 3.6.1, 4.5.1, B.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from atomlens.data.system import symbol
from atomlens.errors import InputError
from atomlens.explain.partition.partitioned import Difference, Partitioned, shared_variance

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Networks compute in single precision: spread below this share of the values is rounding, of which no variance can be
# shared.
ROUNDING = 1e-6


@dataclass(frozen=True)
class ElementAgreement:
    """How models agree on the atoms of one element, each less its own mean over them."""

    count: int  # atoms
    score: float  # see `PartitionStability`; NaN where the models give all atoms one value
    spreads: tuple[float, ...]  # standard deviation of each model's terms
    difference: float  # standard deviation of the difference of two models, root mean square over pairs


@dataclass(frozen=True)
class ElementPair:
    """Two models on the atoms of one element."""

    correlation: float  # NaN where one of them gives all atoms one value
    slope: float  # of the second's terms on the first's, by least squares
    shift: float  # the second's mean less the first's
    difference: float  # standard deviation of the second's terms less the first's


@dataclass(frozen=True)
class PairAgreement:
    """Two models on all atoms."""

    models: tuple[int, int]  # places among the models
    correlation: float  # of the terms as they are, elements and all
    score: float  # see `PartitionStability`
    per_element: Mapping[str, ElementPair]
    difference: Difference


@dataclass(frozen=True)
class PartitionStability:
    """What several models say of the same atoms.

    ``score`` is the share of the variance within elements that models have in common: mean covariance of two models
    over mean variance of one, after every model's mean per element is taken off (an intraclass correlation, ICC(3,1));
    0 where it is negative. One: the same partition, up to a constant per element and model. Zero: unrelated beyond the
    mean of each element.

    Its limits. It does not see shifts between elements, which `PairAgreement.difference` states. Elements that vary
    much and atoms that are many count most; ``per_element`` has it for each. Models of one architecture may agree by
    habit where another would not, so a high score among them does not make a partition unique. And some of it is owed
    to totals, which all models learn: ``score_beyond_totals`` is the same share for what totals and constants per
    element leave open, the part that no label fixes.
    """

    score: float
    score_beyond_totals: float  # NaN where totals and constants per element leave nothing open
    per_element: Mapping[str, ElementAgreement]
    pairs: tuple[PairAgreement, ...]
    free_constants: int  # independent constants per element that change no total of these structures
    values: np.ndarray  # (models, atoms)
    atoms: Partitioned

    def to_dict(self) -> dict[str, Any]:
        """All numbers, for JSON; what is not defined is None."""
        return {
            "score": _number(self.score),
            "score_beyond_totals": _number(self.score_beyond_totals),
            "models": len(self.values),
            "atoms": self.values.shape[1],
            "free_constants": self.free_constants,
            "per_element": {
                name: {
                    "count": row.count,
                    "score": _number(row.score),
                    "spreads": list(row.spreads),
                    "difference": row.difference,
                }
                for name, row in self.per_element.items()
            },
            "pairs": [
                {
                    "models": list(pair.models),
                    "correlation": _number(pair.correlation),
                    "score": _number(pair.score),
                    "difference": pair.difference.to_dict(),
                    "per_element": {
                        name: {key: _number(value) for key, value in vars(row).items()}
                        for name, row in pair.per_element.items()
                    },
                }
                for pair in self.pairs
            ],
        }

    def plot(
        self, names: Sequence[str] = (), pair: int = 0, words: str = "energy contribution", unit: str = "eV"
    ) -> Figure:
        """Scatter plots of one pair of models, an element each.

        Args:
            names: of the models; by default they are numbered.
            pair: place among `pairs`.
            words: what the terms are.
            unit: of the terms; energies are shown in kcal/mol.
        """
        from atomlens.figures.stability import partition_scatter

        chosen = self.pairs[pair]
        labels = list(names) or [f"model {place}" for place in range(len(self.values))]
        points = {
            name: self.values[list(chosen.models)][:, self.atoms.numbers == number]
            for name, number in zip(self.per_element, self.atoms.elements, strict=True)
        }
        correlations = {name: row.correlation for name, row in chosen.per_element.items()}
        first, second = (labels[place] for place in chosen.models)
        return partition_scatter(points, correlations, (first, second), chosen.score, words, unit)


def partition_stability(
    values_by_model: np.ndarray,
    numbers: np.ndarray,
    offsets: np.ndarray,
    arms: np.ndarray | None = None,
    *,
    sizes: np.ndarray | None = None,
) -> PartitionStability:
    """Compare the atom terms of several models (thesis 3.6.1, 4.5.1 and B.1; insights paper 3.1).

    Args:
        values_by_model: (models, atoms) terms of the same atoms; signs of latent charges already alike.
        numbers: (atoms,) atomic numbers.
        offsets: (structures + 1,) where each structure starts.
        arms: (atoms, k), what labels know of the terms: Σ_i arms_ik t_i of each structure. None: ones, for properties
            that are the sum or the mean over atoms; see `AtomTerm.arms` for dipole moments.
        sizes: (models,) of what each network adds to a term, where values may be small differences of it; spread below
            `ROUNDING` times this, or times the largest value, counts as none. None: the values alone say it.

    Raises:
        InputError: there are fewer than two models, or shapes do not fit.
    """
    values = np.asarray(values_by_model, dtype=float)
    if values.ndim != 2 or len(values) < 2:
        raise InputError("stability is a comparison; give the atom terms of at least two models")
    if values.shape[1] != len(numbers) or offsets[-1] != len(numbers):
        raise InputError(f"{values.shape[1]} terms do not fit {len(numbers)} atoms; give one for every atom")
    atoms = Partitioned(np.asarray(numbers), np.asarray(offsets), np.ones((len(numbers), 1)) if arms is None else arms)
    least = ROUNDING * np.maximum(np.abs(values).max(axis=1), 0.0 if sizes is None else sizes)
    inner, left_open = (
        _above_rounding(part, atoms, least) for part in (atoms.within_elements(values), atoms.shares(values.T).T)
    )
    return PartitionStability(
        score=_score(inner),
        score_beyond_totals=_score(left_open),
        per_element={symbol(int(number)): _element(inner[:, atoms.numbers == number]) for number in atoms.elements},
        pairs=tuple(_pair(values, inner, atoms, pair) for pair in combinations(range(len(values)), 2)),
        free_constants=atoms.free_constants(),
        values=values,
        atoms=atoms,
    )


def _above_rounding(part: np.ndarray, atoms: Partitioned, least: np.ndarray) -> np.ndarray:
    """Values (models, atoms), zero where a model's spread over an element is no larger than ``least`` (models,)."""
    kept = np.zeros_like(part)
    for number in atoms.elements:
        own = atoms.numbers == number
        spread = np.sqrt(np.square(part[:, own]).mean(axis=1))
        kept[:, own] = np.where((spread > least)[:, None], part[:, own], 0.0)
    return kept


def _score(inner: np.ndarray) -> float:
    return float(np.maximum(shared_variance(inner), 0.0))  # NaN stays


def _element(inner: np.ndarray) -> ElementAgreement:
    differences = [np.square(inner[b] - inner[a]).mean() for a, b in combinations(range(len(inner)), 2)]
    spreads = tuple(float(spread) for spread in inner.std(axis=1))
    return ElementAgreement(inner.shape[1], _score(inner), spreads, float(np.sqrt(np.mean(differences))))


def _pair(values: np.ndarray, inner: np.ndarray, atoms: Partitioned, models: tuple[int, int]) -> PairAgreement:
    both = list(models)
    of_elements = {}
    for number in atoms.elements:
        chosen = atoms.numbers == number
        (x, y), shift = inner[both][:, chosen], float(np.diff(values[both][:, chosen].mean(axis=1))[0])
        slope = float(x @ y / (x @ x)) if x.any() else float("nan")
        of_elements[symbol(int(number))] = ElementPair(_correlation(x, y), slope, shift, float((y - x).std()))
    first, second = values[both]
    return PairAgreement(
        models=models,
        correlation=_correlation(first - first.mean(), second - second.mean()),
        score=_score(inner[both]),
        per_element=of_elements,
        difference=atoms.difference(first, second),
    )


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson's coefficient of values of mean zero; NaN where one of them is zero throughout."""
    size = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / size if size > 0.0 else float("nan")


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
