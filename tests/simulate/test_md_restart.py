"""Runs that were killed, stopped or met a full disk, and went on: the same files, byte for byte."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule
from pair_model import pair_model

from atomlens.errors import InputError, Interrupted
from atomlens.simulate.frames_file import read_frames
from atomlens.simulate.molecular_dynamics import MolecularDynamicsConfig, run, run_molecular_dynamics
from atomlens.simulate.molecular_dynamics.ensembles import ENSEMBLES

CASES = {
    **{name: {"ensemble": name} for name in ENSEMBLES},
    "traj": {"ensemble": "langevin", "format": "traj", "replicas": 2},
    "replicas": {"ensemble": "nose-hoover", "replicas": 3},
    "npt replicas": {"ensemble": "npt", "replicas": 2},
}


@pytest.fixture(autouse=True)
def short_blocks(monkeypatch):
    monkeypatch.setattr(run, "BLOCK", 20)


def model(cutoff=4.0):
    torch.manual_seed(0)  # its weights do nothing, but are weights
    return pair_model(cutoff)


def config(case, **settings):
    common = {"duration": 0.06, "record_interval": 1.5, "temperature": 200.0}
    return MolecularDynamicsConfig.parse({**common, **CASES[case], **settings})


def structure(case):
    if "npt" not in case:
        return molecule("CH4")
    silicon = bulk("Si", a=5.2)
    silicon.rattle(0.05, seed=0)
    return silicon


def go(case, folder, **options):
    """A run, with a short skin, so that neighbours are searched at times of their own."""
    settings = options.pop("settings", {})
    return run_molecular_dynamics(model(), structure(case), folder, config(case, **settings), skin=0.1, **options)


def files(folder):
    return {
        path.name: path.read_bytes() for path in Path(folder).iterdir() if path.suffix in (".csv", ".extxyz", ".traj")
    }


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """Folders of runs that were killed at step 90, with frames written beyond their last checkpoint."""
    parent = tmp_path_factory.mktemp("killed")
    subprocess.run([sys.executable, __file__, str(parent)], check=True, timeout=120)
    return parent


def kill_all(parent):
    """Start every case in a process that kills itself."""
    torch.set_num_threads(1)
    run.BLOCK = 20

    def watch(structures, results, step):
        del structures, results
        if step == 90:
            os.kill(os.getpid(), signal.SIGKILL)

    for case in CASES:
        child = os.fork()
        if not child:
            go(case, parent / case, watch=watch, settings={"checkpoint_seconds": 0.0})
            os._exit(1)
        _, status = os.waitpid(child, 0)
        assert os.WTERMSIG(status) == signal.SIGKILL


@pytest.mark.parametrize("case", CASES)
def test_a_killed_run_goes_on(case, killed, tmp_path):
    state, _ = run.load_checkpoint(killed / case)
    assert state["step"] == 80
    go(case, killed / case, resume=True)
    go(case, tmp_path)  # makes no checkpoint between its first step and its last
    assert files(killed / case) == files(tmp_path)
    assert len(read_frames(tmp_path).times) == 41


@pytest.mark.parametrize("name", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_goes_on(name, tmp_path):
    def watch(structures, results, step):
        del structures, results
        if step == 51:
            os.kill(os.getpid(), name)

    with pytest.raises(Interrupted, match=r"stopped after 30 fs; go on with --resume"):
        go("bussi", tmp_path / "stopped", watch=watch)
    # What was written is whole, and can be looked at.
    assert read_frames(tmp_path / "stopped").times[-1] == 30.0
    result = go("bussi", tmp_path / "stopped", resume=True)
    expected = go("bussi", tmp_path / "whole")
    assert files(tmp_path / "stopped") == files(tmp_path / "whole")
    same = ("steps", "temperature", "drift", "degrees_of_freedom")
    assert [getattr(result, name) for name in same] == [getattr(expected, name) for name in same]


@pytest.mark.parametrize("format", ["extxyz", "traj"])
@pytest.mark.parametrize("room", [9_000, 16_000])
def test_a_full_disk_costs_nothing_that_was_vouched_for(format, room, tmp_path):
    """The limit of the size of files stands for the disk's: writing fails in the middle of a frame."""
    settings = {"format": format, "checkpoint_seconds": 0.0}
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
        with pytest.raises(InputError, match=r"the disk is full; all up to [\d.]+ fs is kept; free space, and go on"):
            go("langevin", tmp_path / "full", settings=settings)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    state, _ = run.load_checkpoint(tmp_path / "full")
    assert 0 < state["step"] < 120
    go("langevin", tmp_path / "full", resume=True, settings=settings)
    go("langevin", tmp_path / "whole", settings=settings)
    assert files(tmp_path / "full") == files(tmp_path / "whole")


def test_a_full_disk_at_the_start(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
        with pytest.raises(InputError, match="the disk is full; nothing was written yet"):
            go("langevin", tmp_path / "full")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    go("langevin", tmp_path / "full")


def test_a_run_killed_before_its_first_checkpoint(tmp_path):
    go("langevin", tmp_path / "whole")
    go("langevin", tmp_path / "early")
    (tmp_path / "early" / "checkpoint.npz").unlink()
    go("langevin", tmp_path / "early", resume=True)
    assert files(tmp_path / "early") == files(tmp_path / "whole")


def test_a_run_that_is_over_goes_on_for_longer(tmp_path):
    go("nose-hoover", tmp_path / "first")
    assert go("nose-hoover", tmp_path / "first", resume=True).steps == 120
    assert go("nose-hoover", tmp_path / "first", resume=True, settings={"duration": 0.1}).steps == 200
    go("nose-hoover", tmp_path / "whole", settings={"duration": 0.1})
    assert files(tmp_path / "first") == files(tmp_path / "whole")
    with pytest.raises(InputError, match=r"the run has gone 0.1 ps already; raise the duration"):
        go("nose-hoover", tmp_path / "first", resume=True)


def test_marks_since_the_last_frame_are_kept(tmp_path):
    """A look at step 79 warns, the checkpoint is at 80, and the frame that is marked at 81."""

    def watch(structures, results, step):
        del structures, results
        if step == 79 and "stop" in folder.name:
            os.kill(os.getpid(), signal.SIGINT)
        return [step == 79]

    settings = {"watch_interval": 0.5}
    for folder in (tmp_path / "stopped", tmp_path / "whole"):
        try:
            go("langevin", folder, watch=watch, settings=settings)
        except Interrupted:
            go("langevin", folder, watch=watch, settings=settings, resume=True)
    assert files(tmp_path / "stopped") == files(tmp_path / "whole")
    np.testing.assert_array_equal(np.flatnonzero(read_frames(tmp_path / "whole").marked), [27])


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"settings": {"timestep": 0.25}}, "'timestep' is 0.25, but the run was started with 0.5"),
        ({"settings": {"format": "traj"}}, "'format' is 'traj', but the run was started with 'extxyz'"),
        ({"skin": 0.2}, "'skin' is 0.2, but the run was started with 0.1"),
        ({"model": model(cutoff=3.5)}, "the model is another one than the run was started with"),
        ({"atoms": molecule("H2O")}, "started with"),
        ({"moved": 0.01}, "the structure or its velocities are others than the run was started with"),
    ],
)
def test_nothing_else_goes_on_in_a_folder(change, problem, tmp_path):
    go("langevin", tmp_path)
    kept = files(tmp_path)
    atoms = change.get("atoms", structure("langevin"))
    atoms.positions[0, 0] += change.get("moved", 0.0)
    settings = config("langevin", **change.get("settings", {}))
    with pytest.raises(InputError, match=problem):
        run_molecular_dynamics(
            change.get("model", model()), atoms, tmp_path, settings, resume=True, skin=change.get("skin", 0.1)
        )
    assert files(tmp_path) == kept


def test_there_must_be_a_run_to_go_on_with(tmp_path):
    with pytest.raises(InputError, match="holds no run to go on with"):
        go("langevin", tmp_path, resume=True)


def test_a_checkpoint_of_something_else_is_refused(tmp_path):
    go("langevin", tmp_path)
    state, arrays = run.load_checkpoint(tmp_path)
    run.save_checkpoint(tmp_path, {"step": 3}, arrays)
    with pytest.raises(InputError, match=r"checkpoint.npz: is no checkpoint of molecular dynamics"):
        go("langevin", tmp_path, resume=True)
    del arrays["engine accel"]
    run.save_checkpoint(tmp_path, state, arrays)
    with pytest.raises(InputError, match=r"checkpoint.npz: is no checkpoint of molecular dynamics"):
        go("langevin", tmp_path, resume=True)


if __name__ == "__main__":
    kill_all(Path(sys.argv[1]))
