from dataclasses import replace

import numpy as np
import pytest

from atomlens.data.dataset import Dataset
from atomlens.data.splits import random_split
from atomlens.explain.errors.training_overlap import training_overlap, training_size
from atomlens.training.config import RunConfig
from atomlens.training.prepare import prepare

TRAIN, VALIDATION = 20, 5


def molecules(count, seed=0, elements=(1, 6)):
    """Random trimers of a few compositions, with energies."""
    rng = np.random.default_rng(seed)
    numbers = rng.choice(elements, (count, 3))
    positions = np.array([[0, 0, 0], [1.2, 0, 0], [0, 1.3, 0]]) + rng.uniform(-0.1, 0.1, (count, 3, 3))
    energies = rng.normal(size=count)
    return Dataset.from_arrays(numbers.ravel(), positions.reshape(-1, 3), [3] * count, {"energy": energies})


def trained(data, *, seed=4, among=None):
    """A model as training leaves it before its first step, with all that its file will remember."""
    split = random_split(data, TRAIN, VALIDATION, 10, seed, among)
    config = RunConfig.parse({"data": {"path": "some.npz"}, "model": {"representation": {"features": 4}}})
    return prepare(config, data, split).model, split


def test_a_recorded_split_is_drawn_again():
    data = molecules(60)
    model, split = trained(data)
    found = training_overlap(model, data)
    assert found.known
    assert np.flatnonzero(found.used).tolist() == sorted([*split.train, *split.validation])
    assert found.trained == TRAIN == training_size(model)
    assert "20 were trained on and 5 chose" in found.why


def test_so_is_one_among_structures_with_a_known_label():
    data = molecules(60)
    known = np.random.default_rng(0).random(60) < 0.7
    data = replace(data, labels={"energy": np.where(known, data.labels["energy"], np.nan)})
    model, split = trained(data, among=known)
    found = training_overlap(model, data)
    assert np.flatnonzero(found.used).tolist() == sorted([*split.train, *split.validation])
    # With other labels it is not known which structures could be drawn.
    other = replace(data, labels={"energy": np.zeros(60)})
    assert not training_overlap(model, other).known


def test_other_structures_in_their_places_are_noticed():
    data = molecules(60)
    model, split = trained(data)
    shuffled = data.subset(np.random.default_rng(1).permutation(60))
    found = training_overlap(model, shuffled)
    assert not found.known
    assert "At least 3 of these structures were trained on" in found.why
    fewer = training_overlap(model, data.subset(np.append(split.train[:1], split.test)))
    assert "At least 1 of these structures was trained on" in fewer.why
    for others in (data.subset(split.test), molecules(60, seed=1)):
        found = training_overlap(model, others)
        assert not found.known
        assert "cannot be told" in found.why


def test_formulas_that_were_never_trained_on_are_recognised():
    model, _ = trained(molecules(60))
    assert len(model.provenance["compositions"]) == 4
    found = training_overlap(model, molecules(10, elements=(8,)))
    assert found.known
    assert not found.used.any()
    assert "None of these structures was trained on" in found.why


@pytest.mark.parametrize("provenance", [{}, {"split": None}, {"split": {"method": "random, seed 4"}}, {"data": "x"}])
def test_a_model_without_records_says_nothing(provenance):
    data = molecules(60)
    model, _ = trained(data)
    model.provenance = provenance
    if "split" in provenance:
        model.provenance["data"] = {"structures": 60}
    model.examples = ()
    found = training_overlap(model, data)
    assert not found.known
    assert "cannot be told" in found.why
    assert training_size(model) is None
