"""The models among those given that predict the same atom terms, and how they agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from atomlens.errors import InputError
from atomlens.explain.baseline import Baseline
from atomlens.explain.electrostatics.charge_sign import sign_in
from atomlens.explain.partition.agreement import PairAgreement, PartitionStability, partition_stability
from atomlens.explain.subject import NamedModel, Subject
from atomlens.explain.terms import AtomTerm, atom_terms, common_baseline, term_baseline

_MOST_PAIRS = 3  # drawn of one quantity
_KINDS = {"schnet": "SchNet", "dtnn": "DTNN", "behler_parrinello": "Behler-Parrinello"}


@dataclass(frozen=True)
class Compared:
    """Models that predict one quantity, their terms of the same atoms, and how these agree."""

    term: AtomTerm
    entries: tuple[NamedModel, ...]
    relative_to: Baseline
    stability: PartitionStability  # of terms less the baseline, the signs of charges alike
    mismatch: float  # largest deviation of what the totals' part of a difference adds up to from predicted totals

    @property
    def names(self) -> list[str]:
        """Of the models."""
        return [entry.name for entry in self.entries]

    def kinds(self, pair: PairAgreement) -> tuple[str, str]:
        """What the representations of a pair are called, in alphabetical order."""
        first, second = sorted(kind(self.entries[place]) for place in pair.models)
        return first, second

    @property
    def by_kinds(self) -> dict[tuple[str, str], list[float]]:
        """Scores of pairs that have one, by the kinds of the two models."""
        found: dict[tuple[str, str], list[float]] = {}
        for pair in self.stability.pairs:
            if np.isfinite(pair.score):
                found.setdefault(self.kinds(pair), []).append(pair.score)
        return found

    @property
    def shown(self) -> list[int]:
        """Places of up to three pairs to draw: two of one kind each where there are any, then others."""
        places = range(len(self.stability.pairs))
        alike = [place for place in places if len(set(self.kinds(self.stability.pairs[place]))) == 1]
        others = [place for place in places if place not in alike]
        first = alike[: _MOST_PAIRS - bool(others)]
        return [*first, *others[: _MOST_PAIRS - len(first)]]


def kind(entry: NamedModel) -> str:
    """What a model's representation is called."""
    name = str(getattr(entry.model.config.representation, "name", "?"))
    return _KINDS.get(name, name)


def compared(subject: Subject) -> list[Compared]:
    """Every quantity that two models or more predict, energies first.

    Raises:
        InputError: there is none, or a model cannot serve the data set.
    """
    rows: dict[AtomTerm, list[NamedModel]] = {}
    for entry in subject.models:
        for term in atom_terms(entry.model):
            rows.setdefault(term, []).append(entry)
    several = sorted((term for term in rows if len(rows[term]) > 1), key=lambda term: term.quantity != "energy")
    if not several:
        raise InputError(
            "stability is a comparison of models that predict the same quantity; train one more on another split "
            "(--set split.seed=1 --set training.seed=1) and give both"
        )
    return [compare(subject, term, rows[term]) for term in several]


def compare(subject: Subject, term: AtomTerm, entries: Sequence[NamedModel]) -> Compared:
    """Compare the atom terms of models over the subject's data set.

    Each is measured from what models of its kind are measured from by default, or from its references where these
    differ. The sign of charges is that of `charge_sign`.

    Raises:
        InputError: a model cannot serve the data set.
    """
    data, arms = subject.data, term.arms(subject.data)
    relative_to = common_baseline((entry.model for entry in entries), term)
    found = [subject.predicted(entry) for entry in entries]
    signs = np.array([sign_in(subject, entry).factor if term.kind == "dipole" else 1.0 for entry in entries])
    terms = signs[:, None] * np.array([term.of(each) for each in found])
    baselines = np.array([term_baseline(entry.model, term, relative_to)[0][data.numbers] for entry in entries])
    sizes = np.array([entry.model.scales[term.name] for entry in entries])
    stability = partition_stability(terms - baselines, data.numbers, data.offsets, arms, sizes=sizes)
    mismatch = 0.0
    for place in range(1, len(entries)):
        part = stability.atoms.in_totals((terms[place] - terms[0])[:, None])[:, 0]
        totals = signs[place] * found[place][term.quantity] - signs[0] * found[0][term.quantity]
        mismatch = max(mismatch, float(np.abs(term.summed(part, data) - totals).max()))
    return Compared(term, tuple(entries), relative_to, stability, mismatch)
