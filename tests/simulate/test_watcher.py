"""A guard beside a run: frames are marked, and a run that goes on is watched as if it had never stopped."""

import json

import numpy as np
import pytest
from ase.build import molecule
from ase.io import read
from pair_model import pair_model

from atomlens.errors import InputError
from atomlens.simulate import (
    Guard,
    GuardConfig,
    MolecularDynamicsConfig,
    RelaxationConfig,
    Watcher,
    read_frames,
    relax,
    run_molecular_dynamics,
)

SETTINGS = {"ensemble": "nve", "timestep": 1.0, "record_interval": 2.0, "duration": 0.4, "temperature": 300.0}


@pytest.fixture(scope="module")
def model():
    return pair_model()


@pytest.fixture(scope="module")
def water(model):
    return relax(model, [molecule("H2O")], RelaxationConfig(force=1e-4))[0].atoms


def watcher(model, folder, **limits):
    # Every distance counts as too close: each look raises an alarm.
    config = GuardConfig(interval=20, covalent_fraction=1.0, save_interval=40, **limits)
    guard = Guard(config, model, timestep=1.0, suspects=folder / "suspicious.extxyz")
    return Watcher(guard, temperature=None, degrees_of_freedom=3)


@pytest.mark.filterwarnings("ignore")
def test_frames_with_alarms_are_marked(model, water, tmp_path):
    watch = watcher(model, tmp_path / "run", distance_tolerance=0.0)
    run = run_molecular_dynamics(model, water, tmp_path / "run", MolecularDynamicsConfig(**SETTINGS), watch=watch)
    frames = read_frames(tmp_path / "run")
    looked = {alarm.step for alarm in watch.alarms}
    assert looked
    assert run.alarms == watch.alarms
    assert {float(time) for time in frames.times[frames.marked[:, 0]]} == {float(step) for step in looked}
    saved = read(tmp_path / "run" / "suspicious.extxyz", ":")
    assert 0 < len(saved) <= len(looked)


def test_a_run_that_goes_on_is_watched_as_one_that_never_stopped(model, water, tmp_path):
    def go(name, durations):
        for place, duration in enumerate(durations):
            watch = watcher(model, tmp_path / name, distance_tolerance=0.0)
            config = MolecularDynamicsConfig(**SETTINGS | {"duration": duration})
            run_molecular_dynamics(model, water, tmp_path / name, config, watch=watch, resume=place > 0)
        return watch

    whole, parts = go("whole", [0.4]), go("parts", [0.2, 0.4])
    assert whole.alarms == parts.alarms
    assert whole.raised == parts.raised > 0
    files = [(tmp_path / name / "suspicious.extxyz").read_bytes() for name in ("whole", "parts")]
    assert files[0] == files[1]


def test_a_guard_that_stops_says_why(model, water, tmp_path):
    watch = watcher(model, tmp_path / "run", distance_tolerance=0.0, action="stop")
    with pytest.raises(InputError, match="the guard stopped the run"):
        run_molecular_dynamics(model, water, tmp_path / "run", MolecularDynamicsConfig(**SETTINGS), watch=watch)


def test_memory_is_json_and_damage_is_refused(model, water, tmp_path):
    watch = watcher(model, tmp_path, distance_tolerance=0.0)
    watch([water], [{"forces": np.zeros((3, 3)), "energy": -1.0}], 0)
    memory = json.loads(json.dumps(watch.state()))
    other = watcher(model, tmp_path, distance_tolerance=0.0)
    other.restore(memory)
    assert other.alarms == watch.alarms
    with pytest.raises(InputError, match="damaged"):
        other.restore({"alarms": [{}], "raised": 1, "guard": {}})
