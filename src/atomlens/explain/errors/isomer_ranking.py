"""Whether isomers are put in the right order: Kendall's rank correlation by formula (thesis 3.5.1, fig. 3.7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import kendalltau

from atomlens.data.system import formula
from atomlens.explain.errors.error_statistics import plain

_MEMBERS = 400  # of a formula whose pairs are looked at; more are sampled
_STEPS = (1.0, 2.0, 5.0)
SAFE = 0.05  # share of swapped pairs below which an order is called safe


@dataclass(frozen=True)
class IsomerRanking:
    """τ of every formula with three isomers or more, and the pairs of isomers that are predicted in the wrong order."""

    formulas: tuple[str, ...]  # those with the most isomers first
    count: np.ndarray  # (formulas,) isomers
    tau: np.ndarray  # (formulas,) Kendall's τ-b; NaN where all labels or all predictions are the same
    members: tuple[np.ndarray, ...]  # by formula, (isomers,) rows of the data set
    gap_low: np.ndarray  # (bins,) difference of two labels, from here
    gap_high: np.ndarray  # (bins,) to here; the last one is infinite
    pairs: np.ndarray  # (bins,) pairs with such a difference
    swapped: np.ndarray  # (bins,) those of them that are predicted the other way round

    @property
    def mean_tau(self) -> float:
        """Mean τ, weighted by the number of isomers."""
        known = np.isfinite(self.tau)
        return float(np.average(self.tau[known], weights=self.count[known])) if known.any() else float("nan")

    @property
    def swapped_share(self) -> float:
        """Share of all pairs that are predicted the other way round."""
        return float(self.swapped.sum() / max(int(self.pairs.sum()), 1))

    @property
    def safe_gap(self) -> float | None:
        """From which difference on no more than 5 % of the pairs of any bin are swapped; None: from none."""
        unsafe = np.flatnonzero(self.swapped > SAFE * self.pairs)
        if not len(unsafe):
            return 0.0
        return None if unsafe[-1] == len(self.pairs) - 1 else float(self.gap_high[unsafe[-1]])

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "formulas": list(self.formulas),
            "count": self.count.tolist(),
            "tau": plain(self.tau),
            "mean_tau": self.mean_tau if np.isfinite(self.mean_tau) else None,
            "swapped_share": self.swapped_share,
            "safe_gap": self.safe_gap,
            "gap_low": self.gap_low.tolist(),
            "gap_high": plain(self.gap_high),
            "pairs": self.pairs.tolist(),
            "swapped": self.swapped.tolist(),
        }


def rank_isomers(
    predicted: np.ndarray,
    labelled: np.ndarray,
    counts: np.ndarray,
    elements: np.ndarray,
    *,
    per_atom: bool = False,
    seed: int = 0,
) -> IsomerRanking | None:
    """Compare orders within formulas.

    Args:
        predicted: (structures,)
        labelled: (structures,)
        counts: (structures, elements) atoms of each element.
        elements: (elements,) atomic numbers.
        per_atom: values are per atom, so that cells of one material may hold different numbers of atoms: formulas are
            divided by their greatest common divisor.
        seed: of the sample of pairs, where a formula has more than 400 isomers.

    Returns:
        None where no formula has three isomers.
    """
    counts = counts.astype(np.int64)
    if per_atom:
        counts = counts // np.gcd.reduce(counts, axis=1)[:, None]
    different, place, times = np.unique(counts, axis=0, return_inverse=True, return_counts=True)
    chosen = np.flatnonzero(times >= 3)
    if not len(chosen):
        return None
    chosen = chosen[np.argsort(-times[chosen], kind="stable")]
    in_order = np.argsort(place, kind="stable")
    ends = np.cumsum(times)
    members = tuple(in_order[ends[each] - times[each] : ends[each]] for each in chosen)
    taus = [float(kendalltau(predicted[rows], labelled[rows]).statistic) for rows in members]
    gaps, wrong = _pairs(predicted, labelled, members, np.random.default_rng(seed))
    low, high, pairs, swapped = _binned(gaps, wrong)
    return IsomerRanking(
        formulas=tuple(formula(np.repeat(elements, different[each])) for each in chosen),
        count=times[chosen],
        tau=np.array(taus),
        members=members,
        gap_low=low,
        gap_high=high,
        pairs=pairs,
        swapped=swapped,
    )


def _pairs(
    predicted: np.ndarray, labelled: np.ndarray, members: tuple[np.ndarray, ...], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Differences of labels of pairs of isomers (pairs,), none of them zero, and whether predictions swap them."""
    gaps, wrong = [], []
    for rows in members:
        some = rng.permutation(rows)[:_MEMBERS] if len(rows) > _MEMBERS else rows
        first, second = np.triu_indices(len(some), k=1)
        apart = labelled[some[first]] - labelled[some[second]]
        told = predicted[some[first]] - predicted[some[second]]
        gaps.append(np.abs(apart[apart != 0.0]))
        wrong.append((apart * told < 0.0)[apart != 0.0])
    return np.concatenate(gaps), np.concatenate(wrong)


def _binned(gaps: np.ndarray, wrong: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Bins at 1, 2, 5, 10, ... in the unit of the gaps, with their pairs and swapped pairs."""
    if not len(gaps):
        empty = np.zeros(0)
        return empty, empty, empty.astype(np.int64), empty.astype(np.int64)
    least, most = np.quantile(gaps, [0.01, 0.99])
    decades = range(int(np.floor(np.log10(least))), int(np.ceil(np.log10(most))) + 1)
    ladder = np.array([step * 10.0**decade for decade in decades for step in _STEPS])
    inner = ladder[(ladder > least) & (ladder < most)]
    bin_of = np.searchsorted(inner, gaps, side="right")
    pairs = np.bincount(bin_of, minlength=len(inner) + 1)
    swapped = np.bincount(bin_of[wrong], minlength=len(inner) + 1)
    return np.append(0.0, inner), np.append(inner, np.inf), pairs, swapped
