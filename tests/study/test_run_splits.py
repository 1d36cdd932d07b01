"""A run file chooses the split, and says what of the test is close to what was learned."""

import json

import numpy as np
import pytest

from atomlens.data.splits import Split, make_split, random_split
from atomlens.data.writers import write_dataset
from atomlens.errors import InputError
from atomlens.study.data import read_labelled
from atomlens.study.run import run_training
from atomlens.training import RunConfig
from tests.data.made_up_sets import joined, molecules, remembering


def config(path, split, epochs=1):
    return RunConfig.parse(
        {
            "data": {"path": str(path), "labels": {"energy": "energy:eV"}, "check": "off"},
            "split": {"train": 12, "validation": 4, **split},
            "model": {"representation": {"name": "schnet", "features": 4, "interactions": 1, "cutoff": 3.0}},
            "training": {"epochs": epochs, "batch_size": 6, "tensorboard": False, "checkpoint_seconds": 0.0},
        }
    )


@pytest.fixture
def saved(tmp_path):
    """Frames of four molecules, one of them twice."""
    data, _ = molecules(frames=10, names=("C3H6_D3h", "C3H6_Cs", "CH3CHO", "CH2OCH2"))
    structures = [(system.numbers, system.positions) for system in data]
    structures[-1] = (structures[0][0], structures[0][1] + 1.0)
    data = joined(structures, labels={"energy": data.labels["energy"]})
    write_dataset(data, tmp_path / "data.npz")
    return tmp_path / "data.npz"


@pytest.mark.parametrize(
    ("split", "options"),
    [
        ({"method": "formula"}, {}),
        ({"method": "isomers", "held_out": 0.4, "test": 7}, {"held_out": 0.4}),
        ({"method": "size", "max_atoms": 7, "seed": 3}, {"max_atoms": 7}),
    ],
)
def test_the_split_of_a_run_file_is_the_one_that_is_trained(saved, tmp_path, split, options):
    run_training(config(saved, split), tmp_path / "run")
    data = read_labelled(saved, {"energy": "energy:eV"})
    found = Split.load(tmp_path / "run" / "split.json", data)
    expected = make_split(data, split["method"], 12, 4, split.get("test"), split.get("seed", 0), **options)
    assert (found.hash, found.method) == (expected.hash, expected.method)


def test_a_split_that_cannot_be_had_names_the_file(saved, tmp_path):
    with pytest.raises(InputError, match=r"data\.npz: cannot take 500 structures for training"):
        run_training(config(saved, {"method": "formula", "train": 500}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_leaks_are_said_and_written_down(saved, tmp_path, capsys):
    data = read_labelled(saved, {"energy": "energy:eV"})
    last = len(data) - 1
    split = Split(np.arange(20), np.arange(20, 24), np.arange(24, last + 1), data.structure_hash, "by hand")
    split.save(tmp_path / "split.json")
    report = run_training(config(saved, {"file": str(tmp_path / "split.json")}), tmp_path / "run")
    said = capsys.readouterr().err
    assert "note: 1 test structure is a copy of training structures" in said
    assert f"(such as {last} of 0, counted from 0 in the file)" in said
    stored = json.loads((tmp_path / "run" / "test.json").read_text())
    assert stored["leaks"] == report["leaks"]
    assert stored["leaks"]["test"]["copied"] == [[last, 0]]
    assert stored["leaks"]["validation"]["copies"] == 0
    assert stored["test"]["energy"]["count"] == len(split.test)


def test_a_random_split_of_a_trajectory_is_trained_on_with_a_note_and_blocks_without(tmp_path, capsys):
    rest = np.array([[1.25 * k, 0.35 * (-1) ** k, 0.0] for k in range(6)])  # a chain
    moves = np.stack([remembering(2000, 8.0, seed) for seed in range(18)], axis=1).reshape(-1, 6, 3)
    frames = [(np.full(6, 6), rest + 0.05 * move) for move in moves]
    write_dataset(joined(frames, labels={"energy": remembering(2000, 8.0, 20)}), tmp_path / "md.npz")
    for method in ("random", "blocks"):
        run_training(config(tmp_path / "md.npz", {"method": method, "train": 500, "test": 80}), tmp_path / method)
        said = capsys.readouterr().err
        assert ("interpolation between frames" in said) is (method == "random")
    assert "split.method blocks" not in said


def test_a_resumed_run_keeps_its_split(saved, tmp_path):
    first = config(saved, {"method": "formula"}, epochs=1)
    run_training(first, tmp_path / "run")
    before = (tmp_path / "run" / "split.json").read_bytes()
    run_training(first, tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "split.json").read_bytes() == before


def test_a_run_file_of_before_still_draws_at_random(saved, tmp_path):
    run_training(config(saved, {"seed": 4}), tmp_path / "run")
    data = read_labelled(saved, {"energy": "energy:eV"})
    assert Split.load(tmp_path / "run" / "split.json", data).hash == random_split(data, 12, 4, None, 4).hash
