"""What is read of two runs that are laid over each other."""

import json

import numpy as np
import pytest
from ase.build import molecule

from atomlens.errors import InputError
from atomlens.simulate.analysis.spectra import vibrational_density
from atomlens.simulate.frames import Frames
from atomlens.simulate.frames_file import read_frames
from atomlens.simulate.recording import Recorder, snapshot
from atomlens.study.simulation import comparing, moving


def written(folder, *, frames=40, temperature=300.0, ensemble="langevin", atoms=None):
    """A run of classical nuclei, as far as its files go."""
    atoms = molecule("CH4") if atoms is None else atoms
    recorder = Recorder(folder, 1, ["step"])
    for step in range(frames):
        atoms.positions += 0.01 * np.random.default_rng(step).standard_normal(atoms.positions.shape)
        recorder.frames([snapshot(atoms, {"energy": float(step)}, {"step": step, "time_fs": float(step)})])
    recorder.commit()
    recorder.close()
    config = {"ensemble": ensemble, "temperature": temperature, "format": "extxyz"}
    config |= {"duration": 1e-3 * (frames - 1), "record_interval": 1.0}
    settings = {"formula": str(atoms.symbols), "copies": 1, "beads": 1, "equilibration_fs": 0.0, "config": config}
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
    assert "one frame in 3" in capsys.readouterr().err


def test_runs_of_different_structures_are_refused(tmp_path):
    folders = written(tmp_path / "one", frames=2), written(tmp_path / "two", frames=2, atoms=molecule("H2O"))
    with pytest.raises(InputError, match=r"different structures \(CH4 and H2O\)"):
        comparing.compare_runs(*folders, tmp_path / "compared")
    assert not (tmp_path / "compared").exists()


@pytest.mark.parametrize(("duration", "replicas"), [(1e5, 1), (3e3, 1), (3e3, 2), (6e3, 3), (5e3, 4), (2.5e3, 7)])
def test_spectra_of_short_runs_are_coarser_rather_than_missing(duration, replicas):
    times = np.arange(0.0, duration, 4.0)
    moving_ = np.random.default_rng(0).standard_normal((len(times), replicas, 1, 3))
    run = Frames(
        np.array([18]), np.array([40.0]), np.zeros(3, dtype=bool), times, moving_,
        np.zeros((len(times), replicas, 3, 3)), velocities=moving_,
    )  # fmt: skip
    resolution = moving.resolution_of(duration, replicas)
    assert 10.0 <= resolution <= 50.0
    assert vibrational_density(run, temperature=300.0, resolution=resolution).segments >= 4
    if resolution > 10.0:
        with pytest.raises(InputError, match="too short"):
            vibrational_density(run, temperature=300.0, resolution=0.85 * resolution)
