"""Training by budgets of atoms or pairs, with batches made ahead, and from a store."""

import os
import signal
import threading
import time
from hashlib import sha256

import numpy as np
import pytest
import torch
from toy import morse, toy_data, toy_run, toy_split

from atomlens.data import neighbour_cache, pair_lists
from atomlens.data.batching import BatchSource
from atomlens.data.dataset import Dataset
from atomlens.data.splits import random_split
from atomlens.data.store import read_store, write_store
from atomlens.errors import InputError, Interrupted
from atomlens.training import RunConfig, train
from atomlens.training.work import Shares, batch_order, batches_ahead, run_identity


def uneven_data(count=60, seed=0):
    """Chains of 2 to 7 atoms."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(2, 8, count)
    chains = [1.1 * np.arange(n)[:, None] * [1.0, 0.3, 0.0] + 0.1 * rng.normal(size=(n, 3)) for n in sizes]
    labels = [morse(chain) for chain in chains]
    return Dataset.from_arrays(
        np.full(sizes.sum(), 6),
        np.concatenate(chains),
        sizes,
        {
            "energy": np.array([energy for energy, _ in labels]),
            "forces": np.concatenate([forces for _, forces in labels]),
        },
    )


def uneven_split(data):
    return random_split(data, 40, 10, 10, seed=0)


def assert_same(first, second):
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=0, atol=0, equal_nan=True)


def expected_steps(config, data, split):
    source = BatchSource(data.subset(split.train), 4.0, [])
    order = batch_order(config.training, source, 1)
    return sum(len(order.epoch(number)) for number in range(config.training.epochs))


@pytest.mark.parametrize("budget", [{"batch_atoms": 20}, {"batch_pairs": 60}])
def test_an_interrupted_run_by_budget_ends_at_the_same_weights(tmp_path, budget):
    data = uneven_data()
    folder, config = tmp_path / "run", toy_run(epochs=15, **budget)

    def interrupt():
        while not (folder / "log.csv").is_file() or len((folder / "log.csv").read_text().splitlines()) < 2:
            time.sleep(0.003)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(Interrupted, match="resume with --resume"):
        train(config, data, uneven_split(data), folder)
    resumed = train(config, data, uneven_split(data), folder, resume=True)
    whole = train(config, data, uneven_split(data), tmp_path / "whole")
    assert_same(resumed.model.state_dict(), whole.model.state_dict())
    assert resumed.steps == whole.steps == expected_steps(config, data, uneven_split(data))
    assert whole.history[-1]["learning_rate"] == pytest.approx(1e-5, rel=1e-6)  # a hundredth: annealed to the end


@pytest.mark.parametrize("budget", [{"batch_atoms": 20}, {"batch_pairs": 60}])
def test_batches_stay_within_the_budget(budget):
    data = uneven_data()
    source = BatchSource(data, 4.0, ["energy"])
    order = batch_order(toy_run(**budget).training, source, 1)
    shares = Shares(source, order, 0, torch.device("cpu"))
    sizes = []
    for work, factor in shares.works(order.epoch(0)):
        counted = work.batch.numbers if "batch_atoms" in budget else work.batch.pairs.centre
        sizes.append(len(counted))
        assert factor == 1.0
        assert len(work.targets["energy"]) == len(work.batch.cell)
    assert max(sizes) <= next(iter(budget.values())) < sum(sizes[:2])


def test_the_factors_of_two_processes_make_the_mean_over_structures():
    data = uneven_data()
    source = BatchSource(data, 4.0, ["energy"])
    order = batch_order(toy_run(batch_atoms=20).training, source, 2)
    batches = order.epoch(0)
    both = [list(Shares(source, order, process, torch.device("cpu")).works(batches)) for process in range(2)]
    for rows, (first, second) in zip(batches, zip(*both, strict=True), strict=True):
        means = [factor * float(work.targets["energy"].mean()) for work, factor in (first, second)]
        assert np.mean(means) == pytest.approx(data.labels["energy"][rows].mean(), rel=1e-12)


def test_batches_made_ahead_change_nothing(tmp_path):
    data = toy_data()
    runs = [
        train(toy_run(prefetch=ahead), data, toy_split(data), tmp_path / str(ahead)).model.state_dict()
        for ahead in (0, 1, 3)
    ]
    assert_same(runs[0], runs[1])
    assert_same(runs[0], runs[2])
    assert not [thread for thread in threading.enumerate() if thread.name == "prefetch"]


def test_a_run_can_be_resumed_with_another_number_of_batches_ahead():
    data = toy_data()
    split = toy_split(data)
    assert run_identity(toy_run(prefetch=2), data, split) == run_identity(toy_run(), data, split)
    assert run_identity(toy_run(batch_atoms=9), data, split) != run_identity(toy_run(), data, split)


def test_runs_from_before_budgets_can_be_resumed():
    """Their checkpoints carry a hash of the settings that there were."""
    data = toy_data()
    split, config = toy_split(data), toy_run()
    training = config.training
    known = (
        "loss", "epochs", "batch_size", "optimizer", "momentum", "weight_decay", "learning_rate", "schedule", "warmup",
        "averaging", "gradient_clip", "patience", "precision", "seed", "accelerator", "devices",
    )  # fmt: skip
    older = {
        "model": config.model.model_dump(mode="json"),
        "atom_networks": config.atom_networks.model_dump(mode="json"),
        "references": None,
        "training": {name: getattr(training, name) for name in known},
    }
    expected = sha256(f"{older} {split.hash} {data.hash}".encode()).hexdigest()
    assert run_identity(config, data, split) == expected
    values = {"unit": "Ha", "values": {"H": -0.5}}
    older["references"] = values
    with_references = RunConfig.parse({**config.model_dump(exclude={"references"}), "references": values})
    expected = sha256(f"{older} {split.hash} {data.hash}".encode()).hexdigest()
    assert run_identity(with_references, data, split) == expected


def test_only_one_budget():
    with pytest.raises(InputError, match=r"batch_atoms and training\.batch_pairs exclude each other"):
        toy_run(batch_atoms=10, batch_pairs=10)


def test_batches_ahead_are_for_gpus_unless_asked_for():
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert [batches_ahead(toy_run().training, device) for device in (cpu, gpu)] == [0, 2]
    assert [batches_ahead(toy_run(prefetch=3).training, device) for device in (cpu, gpu)] == [3, 3]


def test_training_from_a_store_searches_neighbours_once_ever(tmp_path, monkeypatch):
    searched = []

    def counting(data, *arguments):
        searched.append(len(data))
        return original(data, *arguments)

    original = pair_lists.pieces_of
    monkeypatch.setattr(neighbour_cache, "pieces_of", counting)
    monkeypatch.setattr(pair_lists, "pieces_of", counting)
    data = toy_data()
    write_store(data, tmp_path / "store")
    results = [
        train(toy_run(), read_store(tmp_path / "store"), toy_split(data), tmp_path / name) for name in ("a", "b")
    ]
    assert searched == [len(data)]
    in_memory = train(toy_run(), data, toy_split(data), tmp_path / "c")
    assert len(searched) > 1
    for result in results:
        assert_same(result.model.state_dict(), in_memory.model.state_dict())
