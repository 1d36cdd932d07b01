"""Which structures come together: every one once, within the budget, the same for everybody."""

from itertools import pairwise

import numpy as np
import pytest

from atomlens.data.batching import BatchOrder
from atomlens.data.runs import runs_within
from atomlens.errors import InputError


def costs(count, seed=0):
    return np.random.default_rng(seed).integers(1, 30, count)


def by_hand(costs, budget, least):
    """One item after the other into the present run, as long as it fits."""
    runs, run, spent = [], [], 0
    for item, cost in enumerate(costs):
        if len(run) >= least and spent + cost > budget:
            runs.append(run)
            run, spent = [], 0
        run.append(item)
        spent += cost
    return [*runs, run] if run else runs


@pytest.mark.parametrize("least", [1, 3])
@pytest.mark.parametrize("budget", [1, 29, 100, 10_000])
def test_runs_are_those_of_filling_one_after_the_other(budget, least):
    sizes = costs(300)
    found = [list(range(start, stop)) for start, stop in runs_within(sizes, budget, least)]
    assert found == by_hand(sizes, budget, least)


def test_items_that_cost_nothing():
    assert list(runs_within(np.zeros(4), 1)) == [(0, 4)]
    assert list(runs_within(np.zeros(0), 1)) == []


def test_batches_of_a_number_are_cuts_of_the_seeded_permutation():
    order = BatchOrder(103, seed=5, size=10)
    permutation = np.random.default_rng([5, 7]).permutation(103)
    batches = order.epoch(7)
    assert [len(batch) for batch in batches] == [10] * 10 + [3]
    np.testing.assert_array_equal(np.concatenate(batches), permutation)


@pytest.mark.parametrize("processes", [1, 2, 5])
@pytest.mark.parametrize("budget", [None, 40, 200])
def test_every_structure_comes_once_in_every_epoch(budget, processes):
    sizes = costs(203)
    limits = {"size": 17} if budget is None else {"costs": sizes, "budget": budget}
    order = BatchOrder(203, seed=1, processes=processes, **limits)
    for epoch in range(4):
        batches = order.epoch(epoch)
        seen = np.concatenate(batches)
        assert len(np.unique(seen)) == len(seen)
        assert 203 - len(seen) < processes  # those of a last batch that cannot be shared out
        assert min(len(batch) for batch in batches) >= processes
        if budget is not None:
            assert all(sizes[batch].sum() <= budget or len(batch) == processes for batch in batches)
            full = [sizes[batch].sum() + sizes[after[0]] for batch, after in pairwise(batches)]
            assert all(spent > budget for spent in full)  # none could have taken one more


def test_processes_share_every_batch_without_overlap():
    order = BatchOrder(101, seed=0, costs=costs(101), budget=60, processes=3)
    for batch in order.epoch(2):
        shares = [order.share(batch, process) for process in range(3)]
        assert sorted(np.concatenate(shares)) == sorted(batch)
        assert min(len(share) for share in shares) >= 1
        assert max(len(share) for share in shares) - min(len(share) for share in shares) <= 1


def test_epochs_and_seeds_differ_and_are_repeatable():
    first = BatchOrder(50, seed=0, costs=costs(50), budget=50)
    again = BatchOrder(50, seed=0, costs=costs(50), budget=50)
    other = BatchOrder(50, seed=1, costs=costs(50), budget=50)
    np.testing.assert_array_equal(np.concatenate(first.epoch(3)), np.concatenate(again.epoch(3)))
    assert [len(batch) for batch in first.epoch(3)] == [len(batch) for batch in again.epoch(3)]
    assert not np.array_equal(np.concatenate(first.epoch(3)), np.concatenate(first.epoch(4)))
    assert not np.array_equal(np.concatenate(first.epoch(3)), np.concatenate(other.epoch(3)))


def test_a_structure_larger_than_the_budget_is_alone():
    batches = BatchOrder(4, seed=0, costs=np.array([5, 500, 5, 5]), budget=15).epoch(0)
    assert [1] in [batch.tolist() for batch in batches]
    assert sum(len(batch) for batch in batches) == 4


def test_what_cannot_be_shared_out_is_refused():
    with pytest.raises(InputError, match=r"training\.batch_size is smaller than the number of devices"):
        BatchOrder(10, 0, size=1, processes=2)
    with pytest.raises(InputError, match="1 structures cannot occupy 2 devices"):
        BatchOrder(1, 0, size=4, processes=2)
    with pytest.raises(ValueError, match="limited by"):
        BatchOrder(10, 0)
    with pytest.raises(ValueError, match="limited by"):
        BatchOrder(10, 0, size=2, costs=np.ones(10), budget=3)
