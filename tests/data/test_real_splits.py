"""Splits and leaks of published sets."""

import numpy as np
import pytest

from atomlens.data.dataset import Column, Dataset
from atomlens.data.leaks import find_leaks
from atomlens.data.splits import make_split, random_split
from atomlens.data.timeline import timeline


@pytest.fixture(scope="module")
def aspirin(shared_data):
    entries = np.load(shared_data / "rmd17" / "aspirin.npz")
    frames, atoms = entries["positions"].shape[:2]
    return Dataset.from_arrays(
        np.tile(entries["numbers"], frames),
        entries["positions"].reshape(-1, 3),
        np.full(frames, atoms),
        {"energy": entries["energies"]},  # the unit does not matter here
        columns={"frame": Column(entries["md17_index"].astype(np.int64), "system")},
    )


def test_frames_of_aspirin_drawn_at_random_are_next_to_training_frames(aspirin):
    found = find_leaks(aspirin, random_split(aspirin, 7000, 200, None, 0)).subsets["test"]
    assert found.in_time.leaking
    assert found.in_time.observed > 0.6 * found.in_time.frames > 100 * found.in_time.by_chance
    assert found.nearest < 0.8 * found.in_time.apart


def test_blocks_of_aspirin_are_no_leak(aspirin):
    split = make_split(aspirin, "blocks", 1000, 200)
    found = find_leaks(aspirin, split)
    assert not found.leaking
    assert found.subsets["test"].in_time.observed == 0
    when = timeline(aspirin)
    apart = np.abs(when.time[split.test][:, None] - when.time[split.train]).min()
    assert apart >= 0.999 * found.subsets["test"].in_time.window


def test_qm7_has_copies_that_nobody_left_out(shared_data):
    """Their energies agree to the last digit, by another column of the file."""
    entries = np.load(shared_data / "qm7.npz")
    data = Dataset.from_arrays(entries["numbers"], entries["positions"], entries["n_atoms"], {})
    pairs = find_leaks(data, random_split(data, 3200, 200, None, 0)).subsets["test"].copies
    assert len(pairs) >= 1
    energies = entries["atomization_energy"]
    np.testing.assert_allclose(energies[pairs[:, 0]], energies[pairs[:, 1]], atol=0.01)
