import json

import numpy as np
import pytest

from atomlens.data.dataset import Dataset
from atomlens.data.splits import SUBSETS, Split, random_split
from atomlens.errors import InputError


def make(count=50, seed=0):
    positions = np.random.default_rng(seed).normal(size=(count, 3))
    return Dataset.from_arrays(np.ones(count, int), positions, np.ones(count, int), {})


def test_subsets_are_disjoint_and_of_the_wanted_sizes():
    split = random_split(make(), 20, 10, 15, seed=1)
    assert [len(getattr(split, name)) for name in SUBSETS] == [20, 10, 15]
    together = np.concatenate([getattr(split, name) for name in SUBSETS])
    assert len(np.unique(together)) == 45
    assert 0 <= together.min() <= together.max() < 50


def test_the_test_set_takes_what_is_left():
    split = random_split(make(), 20, 10, None, seed=1)
    np.testing.assert_array_equal(np.sort(np.concatenate([getattr(split, name) for name in SUBSETS])), np.arange(50))


def test_larger_training_sets_contain_smaller_ones_and_are_judged_alike():
    small, large = (random_split(make(), train, 10, 15, seed=3) for train in (5, 25))
    assert set(small.train) < set(large.train)
    np.testing.assert_array_equal(small.validation, large.validation)
    np.testing.assert_array_equal(small.test, large.test)
    all_left = random_split(make(), 25, 10, None, seed=3)
    np.testing.assert_array_equal(all_left.train, large.train)
    np.testing.assert_array_equal(all_left.validation, large.validation)


def test_the_seed_decides():
    first, again, other = (random_split(make(), 20, 10, None, seed=seed) for seed in (1, 1, 2))
    assert first.hash == again.hash != other.hash
    assert not np.array_equal(first.train, other.train)


@pytest.mark.parametrize("sizes", [(40, 11, None), (30, 10, 11), (0, 5, 5), (5, 0, 5), (5, 5, -1)])
def test_impossible_sizes(sizes):
    with pytest.raises(InputError, match=r"^cannot split 50 structures into"):
        random_split(make(), *sizes, seed=0)


def test_saved_and_loaded(tmp_path):
    data = make()
    split = random_split(data, 20, 10, None, seed=1)
    split.save(tmp_path / "split.json")
    loaded = Split.load(tmp_path / "split.json", data)
    for name in SUBSETS:
        np.testing.assert_array_equal(getattr(loaded, name), getattr(split, name))
    assert (loaded.hash, loaded.method) == (split.hash, "random, seed 1")


def test_overlap_is_refused():
    with pytest.raises(InputError, match=r"^structure 3: is in the split more than once"):
        Split(np.array([1, 3]), np.array([3]), np.array([5]), data_hash="x", method="by hand")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda values: values["train"].append(values["test"].pop()), "was altered"),
        (lambda values: values["train"].append(values["test"][0]), "more than once"),
        (lambda values: values.update(data_hash="0"), "was altered"),
        (lambda values: values.update(data_hash=0), "is not a split file"),
        (lambda values: values.pop("test"), "is not a split file"),
    ],
)
def test_altered_file_is_refused(tmp_path, change, problem):
    data, path = make(), tmp_path / "split.json"
    random_split(data, 20, 10, None, seed=1).save(path)
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))
    with pytest.raises(InputError) as caught:
        Split.load(path, data)
    assert str(caught.value).startswith(str(path))
    assert problem in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{", '"train"', "3"])
def test_other_files_are_refused(tmp_path, text):
    (tmp_path / "split.json").write_text(text)
    with pytest.raises(InputError, match=r"split\.json: is not"):
        Split.load(tmp_path / "split.json", make())


def test_split_of_other_data_is_refused(tmp_path):
    random_split(make(), 20, 10, None, seed=1).save(tmp_path / "split.json")
    with pytest.raises(InputError, match="belongs to other structures"):
        Split.load(tmp_path / "split.json", make(seed=1))


def test_splits_are_the_same_on_every_machine():
    """Written down once: another order by another numpy would compare models by other structures."""
    numbers, positions = np.repeat([1, 6], 40), 0.5 * np.arange(240.0).reshape(80, 3)
    data = Dataset.from_arrays(numbers, positions, np.full(40, 2), {})
    split = random_split(data, 12, 5, 8, seed=1)
    assert split.train.tolist() == [0, 3, 6, 7, 9, 15, 16, 17, 22, 23, 28, 29]
    assert split.validation.tolist() == [8, 13, 18, 32, 38]
    assert split.test.tolist() == [2, 5, 10, 12, 21, 30, 33, 37]
    assert data.structure_hash == "ef61b714a9c64116677cb1e837e9876c89b08ee969f58c1f97aaace7412c2931"
    assert split.hash == "59827ec5dd8da0f08a43b8fe302f18d3ce459b132b79955d4d25c14a7127e8a7"
