"""The protocol between benchmark and worker, with atomlens itself as the only contestant."""

import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import inputs
from benchmarks.cases import CASES, Case, schnet
from benchmarks.contestants.job import FORCE_TRAINING
from benchmarks.extras import relative_differences
from benchmarks.process import CONTESTANTS, BenchmarkError, process
from benchmarks.rounds import predictions
from benchmarks.structures import ethanol_frames

EXACT = next(entry for entry in CONTESTANTS if entry.key == "exact")
PYTHONS = {False: Path(sys.executable), True: Path(sys.executable)}


@pytest.fixture
def files(tmp_path):
    network = schnet(features=8, interactions=2, cutoff=5.0, gaussians=11)
    case = Case(4, "small", FORCE_TRAINING, network, lambda: ethanol_frames(2))
    return inputs.write(case, tmp_path)


@pytest.mark.slow
def test_worker_prepares_runs_and_stops(files, tmp_path):
    with process(EXACT, PYTHONS, threads=1) as worker:
        assert "torch" in worker.ask("hello")["versions"]
        assert "before anything was prepared" in worker.ask("run", steps=1, warm_up=0)["error"]
        found = predictions(worker, files, tmp_path)
        assert found["energy"].shape == (2,)
        assert found["forces"].shape == (18, 3)
        reply = worker.ask("run", steps=3, warm_up=1)
        assert len(reply["seconds"]) == 3
        assert min(reply["seconds"]) > 0
        assert worker.ask("memory")["mebibytes"] >= 0


def test_a_process_that_ends_is_an_error_with_its_reason():
    nobody = type(EXACT)("nobody", "Nobody", "nobody")
    with (
        process(nobody, PYTHONS, threads=1) as worker,
        pytest.raises(BenchmarkError, match="Nobody ended: ModuleNotFound"),
    ):
        worker.ask("hello")


def test_published_weights_fill_every_array(shared_data):
    case = next(case for case in CASES if case.published_weights)
    before = inputs.initial_state(case.network)
    after = inputs.published_state(before, shared_data / "c20" / "schnet_force_model.npz")
    assert {name: array.shape for name, array in after.items()} == {name: array.shape for name, array in before.items()}
    kept = {"references", "free_atoms", "scale"}
    learned = [name for name in before if name.split(".")[-1] not in kept]
    assert not any(np.array_equal(before[name], after[name]) for name in learned if "weight" in name)


def test_relative_differences_of_doubled_values():
    values = {name: np.array([1.0, -2.0]) for name in ("energy", "forces", "gradient")}
    doubled = {name: 2 * array for name, array in values.items()}
    found = relative_differences(doubled, values)
    assert found["gradient"] == pytest.approx(1.0)
    assert found["largest_forces"] == pytest.approx(2.0 / np.sqrt(2.5))
