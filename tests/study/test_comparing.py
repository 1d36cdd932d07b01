"""What is read of two runs that are laid over each other."""

import json

import numpy as np
import pytest
from ase.build import molecule

from atomlens.simulate.frames_file import read_frames
from atomlens.simulate.recording import Recorder, snapshot
from atomlens.study.simulation import comparing, moving


def written(folder, *, frames=40, temperature=300.0, ensemble="langevin"):
    """A run of classical nuclei, as far as its files go."""
    atoms = molecule("CH4")
    recorder = Recorder(folder, 1, ["step"])
    for step in range(frames):
        atoms.positions += 0.01 * np.random.default_rng(step).standard_normal(atoms.positions.shape)
        recorder.frames([snapshot(atoms, {"energy": float(step)}, {"step": step, "time_fs": float(step)})])
    recorder.commit()
    recorder.close()
    config = {"ensemble": ensemble, "temperature": temperature, "format": "extxyz"}
    config |= {"duration": 1e-3 * (frames - 1), "record_interval": 1.0}
    settings = {"formula": "CH4", "copies": 1, "beads": 1, "equilibration_fs": 0.0, "config": config}
    (folder / "settings.json").write_text(json.dumps(settings))
    return folder


@pytest.mark.parametrize(
    ("second", "expected"),
    [({}, 300.0), ({"temperature": 500.0}, None), ({"ensemble": "nve"}, None)],
)
def test_runs_at_two_temperatures_are_judged_by_their_own(tmp_path, second, expected):
    folders = written(tmp_path / "one", frames=2), written(tmp_path / "two", frames=2, **second)
    assert comparing._temperature(*folders) == expected


def test_long_runs_of_classical_nuclei_are_thinned_to_what_memory_holds(tmp_path, monkeypatch, capsys):
    folder = written(tmp_path / "long")
    assert len(comparing._read(folder).times) == 40
    monkeypatch.setattr(moving, "_BYTES", 39 * 5 * 48 // 3)
    found = comparing._read(folder)
    np.testing.assert_array_equal(found.times, read_frames(folder, every=3).times)
    assert "every 3th frame" in capsys.readouterr().err
