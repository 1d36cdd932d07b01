"""One label, the structures of a split, and their places."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from atomlens.baselines.targets import Composition, composition
from atomlens.data.dataset import Dataset
from atomlens.data.quantities import quantity
from atomlens.data.splits import Split
from atomlens.errors import InputError
from atomlens.evaluation import Errors, errors_of, training_means


@dataclass(frozen=True)
class Problem:
    """The structures of a split end to end, those to learn from without unknown labels."""

    data: Dataset
    label: str
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    @classmethod
    def of(cls, data: Dataset, split: Split, label: str) -> Problem:
        """Take the structures of a split.

        Raises:
            InputError: the split is not of these data, the label is absent, or too few structures have it.
        """
        split.check(data)
        data.label(label)
        parts = (split.train, split.validation, split.test)
        some = data.subset(np.concatenate(parts))
        ends = np.cumsum([len(part) for part in parts])
        rows = np.split(np.arange(len(some)), ends[:-1])
        known = some.known([label])
        train, validation, test = (part[known[part]] for part in rows)
        for name, part in (("training", train), ("validation", validation), ("test", test)):
            if len(part) < (1 if name == "test" else 2):
                raise InputError(
                    f"{len(part)} {name} structures have a known {label.replace('_', ' ')}; use another split",
                    file=data.origin.file,
                )
        return cls(some, label, train, validation, test)

    @property
    def scalar(self) -> bool:
        """Whether the label is one number per structure."""
        kind = quantity(self.label)
        return kind.per == "system" and kind.shape == ()

    @cached_property
    def composition(self) -> Composition:
        """The label as a linear function of composition."""
        return composition(self.data, self.label, self.train, self.validation)

    def errors(self, predicted: np.ndarray, label: str | None = None) -> Errors:
        """Errors of predictions for the test structures, with the mean predictor's of the training set beside them.

        Args:
            predicted: (test, ...) or, of a quantity of atoms, (atoms of the test, ...).
            label: another quantity than the problem's.
        """
        label = label or self.label
        mean = training_means(self.data.subset(self.train), [label])[label]
        return errors_of(label, predicted, self.data.subset(self.test).labels[label], mean, len(self.test))
