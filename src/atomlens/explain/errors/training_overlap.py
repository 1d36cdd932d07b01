"""Whether a model was trained on structures that it is judged by; as far as its own records can tell."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from atomlens.data.dataset import Dataset
from atomlens.data.splits import Split, random_split
from atomlens.data.system import AtomicSystem, formula
from atomlens.errors import InputError
from atomlens.model import Model

_RANDOM = re.compile(r"random, seed (\d+)(?:, among (\d+) of \d+ structures)?")


@dataclass(frozen=True)
class TrainingOverlap:
    """What is known of structures that a model has learned from."""

    used: np.ndarray | None  # (structures,) bool, trained on or used to choose the best epoch; None: cannot be told
    trained: int | None  # how many of the structures were trained on
    why: str  # one sentence for the reader

    @property
    def known(self) -> bool:
        """Whether it can be told for every structure."""
        return self.used is not None


def training_overlap(model: Model, data: Dataset) -> TrainingOverlap:
    """Find the structures of a data set that a model was trained on.

    A model's file remembers how its data were split and the first three structures that it trained on. Where the split
    can be drawn again and these three lie where it puts them, everything is known. Otherwise the three are looked for,
    and formulas are compared with those trained on, where the file lists them.
    """
    split = _drawn_again(model, data)
    if split is not None:
        used = np.zeros(len(data), dtype=bool)
        used[split.train] = used[split.validation] = True
        why = (
            f"The split recorded in the model file was drawn again on these {len(data):,} structures, and the training "
            f"structures that the file remembers are where it puts them: {len(split.train):,} were trained on and "
            f"{len(split.validation):,} chose the best epoch."
        )
        return TrainingOverlap(used, len(split.train), why)
    found = sum(_contains(data, example) for example in model.examples) if model.provenance else 0
    if found:
        why = (
            f"At least {found} of these structures {'was' if found == 1 else 'were'} trained on, for the model file "
            "remembers them; which others cannot be told, so errors may be too small."
        )
        return TrainingOverlap(None, None, why)
    compositions = model.provenance.get("compositions")
    if compositions and not set(_formulas(data)) & set(compositions):
        why = "None of these structures was trained on: the model file lists all formulas that were, and none is here."
        return TrainingOverlap(np.zeros(len(data), dtype=bool), 0, why)
    why = (
        "Whether some of these structures were trained on cannot be told from the model file; if so, errors are too "
        "small."
    )
    return TrainingOverlap(None, None, why)


def training_size(model: Model) -> int | None:
    """How many structures it was trained on; None where its file does not say."""
    count = _facts(model, "split").get("train")
    return int(count) if count is not None else None


def _facts(model: Model, key: str) -> dict[str, Any]:
    found = model.provenance.get(key)
    return found if isinstance(found, dict) else {}


def _drawn_again(model: Model, data: Dataset) -> Split | None:
    """The recorded split on these data, if it puts the remembered structures where they are."""
    facts, drawn = _facts(model, "split"), _RANDOM.fullmatch(str(_facts(model, "split").get("method", "")))
    if drawn is None or not model.examples or _facts(model, "data").get("structures") != len(data):
        return None
    among = None
    if drawn[2] is not None:
        among = data.known(list(_facts(model, "training_means")))
        if int(among.sum()) != int(drawn[2]):
            return None
    try:
        split = random_split(data, int(facts["train"]), int(facts["validation"]), None, int(drawn[1]), among)
    except (InputError, KeyError):
        return None
    remembered = zip(split.train.tolist(), model.examples, strict=False)
    return split if all(_same(data[row], example) for row, example in remembered) else None


def _contains(data: Dataset, example: AtomicSystem) -> bool:
    atoms = len(example.numbers)
    rows = np.flatnonzero(data.n_atoms == atoms)
    starts = data.offsets[rows]
    near = np.abs(data.positions[starts] - example.positions[0]).max(axis=1) == 0.0
    return any(_same(data[int(row)], example) for row in rows[near])


def _same(first: AtomicSystem, second: AtomicSystem) -> bool:
    return np.array_equal(first.numbers, second.numbers) and np.array_equal(first.positions, second.positions)


def _formulas(data: Dataset) -> list[str]:
    counts, elements = data.counts()
    return [formula(np.repeat(elements, row.astype(int))) for row in np.unique(counts, axis=0)]
