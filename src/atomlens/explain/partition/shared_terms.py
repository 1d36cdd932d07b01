"""Properties that models share out over atoms, and their terms over a data set and in the structures shown."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from atomlens.errors import InputError
from atomlens.explain.baseline import Baseline
from atomlens.explain.subject import NamedModel, Subject
from atomlens.explain.terms import AtomTerm, atom_terms, common_baseline, term_baseline

# How values are named whose element's mean over the data set is taken off: what no constant per element can change.
LESS_MEAN = "less the element's mean"
FEWEST_ATOMS = 20  # of an element that is singled out in words


@dataclass(frozen=True)
class Shared:
    """One property with the models that share it out over atoms; the first of them is shown."""

    subject: Subject
    term: AtomTerm
    entries: tuple[NamedModel, ...]

    @property
    def label(self) -> str:
        """What values are and what they are measured from."""
        return f"{self.term.words}, relative to {self.measured_from}"

    @property
    def measured_from(self) -> str:
        """What values are measured from, in words."""
        return {"free atoms": "free atoms", "references": "offsets per element", "nothing": "zero"}[self.relative_to]

    @cached_property
    def relative_to(self) -> Baseline:
        """What all models are measured from: their own default, or where these differ the references."""
        return common_baseline((entry.model for entry in self.entries), self.term)

    def baseline(self, entry: NamedModel) -> np.ndarray:
        """By atomic number, (119,)."""
        return term_baseline(entry.model, self.term, self.relative_to)[0]

    def of_data(self, entry: NamedModel) -> np.ndarray:
        """Values of all atoms of the data set, (atoms,), relative to the baseline."""
        return self.term.of(self.subject.predicted(entry)) - self.baseline(entry)[self.subject.data.numbers]

    def of_structure(self, entry: NamedModel, place: int) -> np.ndarray:
        """Values of one structure shown, (atoms,), relative to the baseline."""
        numbers = self.subject.systems[place].numbers
        return self.term.of(self.subject.of_structure(entry, place)) - self.baseline(entry)[numbers]

    def element_means(self, entry: NamedModel) -> np.ndarray | None:
        """Mean value over the data set by atomic number (119,), NaN where an element is absent.

        None where the model cannot serve the data set.
        """
        try:
            values = self.of_data(entry)
        except InputError:
            return None
        counts = np.bincount(self.subject.data.numbers, minlength=119)
        sums = np.bincount(self.subject.data.numbers, values, minlength=119)
        return np.asarray(np.where(counts > 0, sums / np.maximum(counts, 1), np.nan))

    def less_mean(self, entry: NamedModel, place: int) -> np.ndarray | None:
        """Values of one structure less the mean of their element over the data set; None where that is not known."""
        means = self.element_means(entry)
        if means is None:
            return None
        found = self.of_structure(entry, place) - means[self.subject.systems[place].numbers]
        return found if np.isfinite(found).all() else None

    def pooled_spread(self, entry: NamedModel) -> float:
        """Standard deviation over the data set of values less the mean of their element."""
        means = self.element_means(entry)
        found = 0.0 if means is None else (self.of_data(entry) - means[self.subject.data.numbers]).std()
        return float(found)


def shared_terms(subject: Subject) -> list[Shared]:
    """The scalar properties that models here share out over atoms, energies first.

    Raises:
        InputError: there is none.
    """
    rows: dict[AtomTerm, list[NamedModel]] = {}
    for entry in subject.models:
        for term in atom_terms(entry.model):
            if term.shares_out:
                rows.setdefault(term, []).append(entry)
    if not rows:
        raise InputError(
            "no model here shares a property out over atoms as a sum or a mean; give one that predicts energies, "
            "orbital energies or the like (latent charges have panels of their own)"
        )
    ordered = sorted(rows, key=lambda term: term.quantity != "energy")
    return [Shared(subject, term, tuple(rows[term])) for term in ordered]
