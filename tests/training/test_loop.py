import json
import os
import signal
import threading
import time
import warnings

import numpy as np
import pytest
import torch
from toy import toy_data, toy_run, toy_split

from atomlens.data.dataset import Dataset
from atomlens.data.splits import random_split
from atomlens.errors import InputError, Interrupted
from atomlens.evaluation import evaluate
from atomlens.model import Model
from atomlens.model_file import read_header
from atomlens.training import train
from atomlens.training.log import COLUMNS, read_log


@pytest.fixture(scope="module")
def data():
    return toy_data(count=240)


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "morse"
    split = random_split(data, 180, 20, 40, seed=1)
    return train(toy_run(epochs=60), data, split, folder), split, folder


def assert_same(first, second):
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=0, atol=0, equal_nan=True)


def test_learns_a_morse_potential(trained, data):
    result, split, _ = trained
    errors = evaluate(result.model, data.subset(split.test), title="").errors
    assert errors["forces"].gain > 10
    assert errors["energy"].gain > 10


def test_mean_predictor_is_that_of_the_training_set(trained, data):
    result, split, _ = trained
    errors = evaluate(result.model, data.subset(split.test), title="").errors
    mean = data.labels["energy"][split.train].mean()
    assert errors["energy"].mean_predictor_mae == pytest.approx(np.abs(data.labels["energy"][split.test] - mean).mean())
    assert errors["energy"].count == 40


def test_best_model_is_the_one_kept(trained):
    result, _, folder = trained
    rows = read_log(folder / "log.csv")
    losses = [row["validation_loss"] for row in rows]
    assert result.best_epoch == int(np.argmin(losses)) + 1
    assert read_header(folder / "model.safetensors")["provenance"]["best_epoch"] == result.best_epoch
    assert tuple(rows[0]) == (*COLUMNS, "validation_energy_mae", "validation_forces_mae")


def test_provenance_names_data_and_split(trained, data):
    _, split, folder = trained
    provenance = read_header(folder / "model.safetensors")["provenance"]
    assert provenance["data"]["hash"] == data.hash
    assert provenance["split"]["hash"] == split.hash == json.loads((folder / "split.json").read_text())["hash"]


def test_same_seed_same_weights_other_seed_others(data, tmp_path):
    small = data.subset(np.arange(48))
    runs = [train(toy_run(seed=seed), small, toy_split(small), tmp_path / str(k)) for k, seed in enumerate((0, 0, 1))]
    states = [run.model.state_dict() for run in runs]
    assert_same(states[0], states[1])
    assert not torch.equal(states[0]["representation.embedding.weight"], states[2]["representation.embedding.weight"])


def test_energies_alone(tmp_path):
    data = toy_data()
    energies = Dataset(**{**vars(data), "labels": {"energy": data.labels["energy"]}})
    result = train(toy_run(epochs=2), energies, toy_split(energies), tmp_path / "run")
    assert "validation_forces_mae" not in result.history[0]


def test_two_processes_give_the_weights_of_one(tmp_path):
    data = toy_data()
    results = [
        train(toy_run(epochs=2, devices=devices, precision="float64"), data, toy_split(data), tmp_path / str(devices))
        for devices in (1, 2)
    ]
    one, two = (result.model.state_dict() for result in results)
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-9, atol=1e-11, equal_nan=True)
    assert results[1].history[-1]["validation_loss"] == pytest.approx(
        results[0].history[-1]["validation_loss"], rel=1e-8
    )


def test_sigint_leaves_a_checkpoint_to_go_on_from(tmp_path):
    data = toy_data()
    folder = tmp_path / "run"

    def interrupt():
        while not (folder / "log.csv").is_file() or len((folder / "log.csv").read_text().splitlines()) < 3:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(Interrupted, match="resume with --resume"):
        train(toy_run(epochs=40), data, toy_split(data), folder)
    resumed = train(toy_run(epochs=40), data, toy_split(data), folder, resume=True)
    whole = train(toy_run(epochs=40), data, toy_split(data), tmp_path / "whole")
    assert_same(resumed.model.state_dict(), whole.model.state_dict())


def test_resuming_a_finished_run_changes_nothing(tmp_path):
    data = toy_data()
    first = train(toy_run(), data, toy_split(data), tmp_path / "run")
    before = (tmp_path / "run" / "model.safetensors").read_bytes()
    again = train(toy_run(), data, toy_split(data), tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == before
    assert again.steps == first.steps


def test_a_run_killed_before_its_split_was_written_can_be_resumed(tmp_path):
    data = toy_data()
    whole = train(toy_run(), data, toy_split(data), tmp_path / "whole")
    (tmp_path / "killed").mkdir()
    toy_run().write(tmp_path / "killed" / "run.yaml")
    resumed = train(toy_run(), data, toy_split(data), tmp_path / "killed", resume=True)
    assert (tmp_path / "killed" / "split.json").is_file()
    assert_same(resumed.model.state_dict(), whole.model.state_dict())


def test_tensorboard_gets_every_epoch_once_also_after_a_resumption(tmp_path):
    pytest.importorskip("tensorboard", reason="logging for TensorBoard needs it installed")
    data = toy_data()
    train(toy_run(epochs=10**6, max_minutes=0.01, tensorboard=True), data, toy_split(data), tmp_path / "run")
    more = train(
        toy_run(epochs=10**6, max_minutes=0.02, tensorboard=True), data, toy_split(data), tmp_path / "run", resume=True
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        board = EventAccumulator(str(tmp_path / "run" / "tensorboard"), size_guidance={"scalars": 0}).Reload()
    steps = [event.step for event in board.Scalars("validation_loss")]
    assert steps == list(range(1, len(more.history) + 1))


def test_patience_stops_early(tmp_path):
    data = toy_data()
    # A learning rate of next to nothing: nothing gets better by more than rounding for long.
    result = train(
        toy_run(epochs=200, patience=2, learning_rate=1e-12, averaging=0.0), data, toy_split(data), tmp_path / "run"
    )
    assert len(result.history) < 200
    assert len(result.history) >= result.best_epoch + 2


def test_time_limit_ends_the_run_with_a_low_learning_rate(tmp_path):
    data = toy_data()
    result = train(toy_run(epochs=100_000, max_minutes=0.02), data, toy_split(data), tmp_path / "run")
    assert 1.0 < result.seconds < 5.0
    assert result.history[-1]["learning_rate"] < 0.1 * 1e-3


@pytest.mark.parametrize("schedule", ["exponential", "constant"])
def test_other_schedules_train(schedule, tmp_path):
    data = toy_data()
    result = train(toy_run(schedule=schedule), data, toy_split(data), tmp_path / "run")
    assert result.history[-1]["validation_loss"] < result.history[0]["validation_loss"]


def test_forces_alone_get_the_constant_of_the_energies_afterwards(tmp_path):
    data = toy_data(count=120)
    shifted = Dataset(**{**vars(data), "labels": {**data.labels, "energy": data.labels["energy"] - 500.0}})
    split = random_split(shifted, 80, 20, 20, seed=0)
    result = train(toy_run(epochs=40, loss={"forces": 1.0}), shifted, split, tmp_path / "run")
    errors = evaluate(result.model, shifted.subset(split.test), title="").errors
    assert errors["forces"].gain > 5
    assert errors["energy"].gain > 5


def test_a_larger_time_limit_goes_on_where_a_smaller_one_ended(tmp_path):
    data = toy_data()
    first = train(toy_run(epochs=10**6, max_minutes=0.01), data, toy_split(data), tmp_path / "run")
    more = train(toy_run(epochs=10**6, max_minutes=0.03), data, toy_split(data), tmp_path / "run", resume=True)
    assert more.steps > first.steps


def test_file_metadata_cannot_stand_in_for_provenance(tmp_path):
    data = toy_data()
    odd = Dataset(
        **{**vars(data), "metadata": {"hash": "mine", "structures": 3, "seed": float("nan"), "source": "toy"}}
    )
    train(toy_run(epochs=1), odd, toy_split(odd), tmp_path / "run")
    found = read_header(tmp_path / "run" / "model.safetensors")["provenance"]["data"]
    assert (found["hash"], found["structures"], found["source"]) == (data.hash, 48, "toy")
    assert "seed" not in found


def test_structures_of_the_test_are_looked_at_before_the_training(tmp_path):
    data = toy_data()
    split = toy_split(data)
    victim = int(split.test[3])
    data.positions[3 * victim + 1] = data.positions[3 * victim] + 0.01
    with pytest.raises(InputError, match=f"structure {victim}: .*closer than 0.2"):
        train(toy_run(), data, split, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_element_that_only_validation_has_is_found_before_the_training(tmp_path):
    data = toy_data()
    split = toy_split(data)
    data.numbers[3 * int(split.validation[1]) + 2] = 9
    with pytest.raises(InputError, match=f"structure {split.validation[1]}, atom 2: F is an element"):
        train(toy_run(), data, split, tmp_path / "run")
    assert not (tmp_path / "run").exists()


class TestRefusals:
    def test_split_of_other_data(self, tmp_path):
        with pytest.raises(InputError, match="belongs to other structures"):
            train(toy_run(), toy_data(), toy_split(toy_data(seed=1)), tmp_path / "run")

    def test_accelerator_that_is_not_there(self, tmp_path):
        if torch.cuda.is_available():
            pytest.skip("there is a GPU")
        data = toy_data()
        with pytest.raises(InputError, match="accelerator 'gpu' cannot be used here"):
            train(toy_run(accelerator="gpu"), data, toy_split(data), tmp_path / "run")
        assert not (tmp_path / "run").exists()

    def test_folder_with_something_in_it(self, tmp_path):
        (tmp_path / "mine.txt").write_text("keep me")
        data = toy_data()
        with pytest.raises(InputError, match="is not empty"):
            train(toy_run(), data, toy_split(data), tmp_path)
        assert [entry.name for entry in tmp_path.iterdir()] == ["mine.txt"]

    def test_resume_without_a_run(self, tmp_path):
        data = toy_data()
        with pytest.raises(InputError, match="no run to resume"):
            train(toy_run(), data, toy_split(data), tmp_path / "none", resume=True)

    def test_resume_with_other_settings(self, tmp_path):
        data = toy_data()
        train(toy_run(), data, toy_split(data), tmp_path / "run")
        with pytest.raises(InputError, match="other settings or data"):
            train(toy_run(batch_size=16), data, toy_split(data), tmp_path / "run", resume=True)

    def test_damaged_checkpoint(self, tmp_path):
        data = toy_data()
        train(toy_run(), data, toy_split(data), tmp_path / "run")
        checkpoint = tmp_path / "run" / "checkpoint.safetensors"
        checkpoint.write_bytes(checkpoint.read_bytes()[:-10])
        with pytest.raises(InputError, match="damaged checkpoint"):
            train(toy_run(), data, toy_split(data), tmp_path / "run", resume=True)

    def test_missing_forces(self, tmp_path):
        data = toy_data()
        energies = Dataset(**{**vars(data), "labels": {"energy": data.labels["energy"]}})
        with pytest.raises(InputError, match="no label 'forces'"):
            train(toy_run(loss={"energy": 1.0, "forces": 1.0}), energies, toy_split(energies), tmp_path / "run")

    def test_forces_with_a_mean_over_neighbours(self, tmp_path):
        data = toy_data()
        run = toy_run()
        representation = run.model.representation.model_copy(update={"aggregation": "mean"})
        run = run.model_copy(update={"model": run.model.model_copy(update={"representation": representation})})
        with pytest.raises(InputError, match="jump"):
            train(run, data, toy_split(data), tmp_path / "run")

    def test_divergence_is_said(self, tmp_path):
        data = toy_data()
        run = toy_run(learning_rate=1e30, schedule="constant", gradient_clip=None, averaging=0.0)
        with pytest.raises(InputError, match="diverged"):
            train(run, data, toy_split(data), tmp_path / "run")


@pytest.mark.parametrize(("threads", "seen"), [(None, 1), (2, 2)])
def test_small_steps_use_one_thread_unless_told_how_many(data, tmp_path, monkeypatch, threads, seen):
    found, forward = set(), Model.forward

    def counted(self, *words, differentiable=False, **settings):
        found.update({torch.get_num_threads()} if differentiable else ())
        return forward(self, *words, differentiable=differentiable, **settings)

    monkeypatch.setattr(Model, "forward", counted)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        train(toy_run(epochs=1, threads=threads), data, random_split(data, 20, 10, 8, seed=0), tmp_path / "run")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert found == {seen}
