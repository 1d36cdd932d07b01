"""Files of a run: what a checkpoint vouches for is there, and going on from it leaves no trace of what came after."""

import csv

import ase
import numpy as np
import pytest
from ase.io import read

from atomlens.errors import InputError
from atomlens.simulate.recording import (
    Recorder,
    load_checkpoint,
    read_table,
    save_checkpoint,
    snapshot,
    trajectory_names,
)

FORMATS = ["extxyz", "traj"]


def frame(step):
    rng = np.random.default_rng(step)
    atoms = ase.Atoms("OHH", rng.normal(size=(3, 3)), cell=[5.0, 6.0, 7.0], pbc=True)
    atoms.set_momenta(rng.normal(size=(3, 3)))
    results = {"energy": -10.0 - step, "forces": rng.normal(size=(3, 3)), "stress": rng.normal(size=6)}
    return snapshot(atoms, results, {"step": step})


def record(folder, steps, format, marks=None, copies=1):
    recorder = Recorder(folder, copies, ["step", "energy"], format, marks)
    for step in steps:
        recorder.frames([frame(step + 1000 * copy) for copy in range(copies)])
        recorder.row(step, 0.1 * step)
    marks = recorder.commit()
    recorder.close()
    return marks


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_names_sort_as_the_copies():
    assert trajectory_names(1, "traj") == ["trajectory.traj"]
    names = trajectory_names(11, "extxyz")
    assert names[3] == "trajectory_03.extxyz"
    assert names == sorted(names)


@pytest.mark.parametrize("format", FORMATS)
def test_frames_are_read_by_ase(tmp_path, format):
    record(tmp_path, range(3), format, copies=2)
    for copy, name in enumerate(trajectory_names(2, format)):
        found = read(tmp_path / name, ":")
        assert [atoms.info["step"] for atoms in found] == [1000 * copy + step for step in range(3)]
        for atoms, expected in zip(found, (frame(1000 * copy + step) for step in range(3)), strict=True):
            # Extended XYZ has eight decimals.
            np.testing.assert_allclose(atoms.positions, expected.positions, atol=6e-9)
            np.testing.assert_allclose(atoms.get_momenta(), expected.get_momenta(), atol=6e-9)
            np.testing.assert_allclose(atoms.get_forces(), expected.get_forces(), atol=6e-9)
            np.testing.assert_allclose(atoms.get_stress(), expected.get_stress(), rtol=1e-12)
            assert atoms.get_potential_energy() == expected.get_potential_energy()


def test_the_table_keeps_ten_digits(tmp_path):
    recorder = Recorder(tmp_path, 1, ["step", "energy", "what"])
    recorder.row(3, -1234.56789012345, "a")
    recorder.commit()
    recorder.close()
    assert (tmp_path / "observables.csv").read_text() == "step,energy,what\n3,-1234.56789,a\n"


@pytest.mark.parametrize("format", FORMATS)
# ASE's index of frames has room for 1, for 42, and for more; each time it fills up it moves.
@pytest.mark.parametrize(("kept", "lost"), [(0, 3), (1, 1), (1, 60), (30, 40), (42, 43), (43, 44), (50, 50)])
def test_what_came_after_the_checkpoint_leaves_no_trace(tmp_path, format, kept, lost):
    marks = record(tmp_path / "cut", range(kept), format)
    record(tmp_path / "cut", range(kept, lost), format, marks)  # and then the machine went down
    record(tmp_path / "cut", range(kept, 64), format, marks)
    record(tmp_path / "whole", range(64), format)
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")
    assert len(read(tmp_path / "cut" / f"trajectory.{format}", ":")) == 64


@pytest.mark.parametrize("format", FORMATS)
def test_half_a_frame_leaves_no_trace(tmp_path, format):
    marks = record(tmp_path / "cut", range(5), format)
    with (tmp_path / "cut" / f"trajectory.{format}").open("ab") as file:
        file.write(b"half a fra")
    record(tmp_path / "cut", range(5, 8), format, marks)
    record(tmp_path / "whole", range(8), format)
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_the_table_of_a_run_that_was_killed_is_read(tmp_path):
    record(tmp_path, range(3), "extxyz")
    path = tmp_path / "observables.csv"
    whole = path.read_bytes()
    assert read_table(tmp_path)[0] == ["step", "energy"]
    for kept in range(whole.index(b"\n"), len(whole)):
        path.write_bytes(whole[:kept])
        rows = whole[:kept].count(b"\n") - 1
        if rows > 0:
            np.testing.assert_array_equal(read_table(tmp_path)[1], [[step, 0.1 * step] for step in range(rows)])
        else:
            with pytest.raises(ValueError, match="no rows"):
                read_table(tmp_path)


@pytest.mark.parametrize("format", FORMATS)
def test_lost_frames_are_missed(tmp_path, format):
    marks = record(tmp_path, range(5), format)
    path = tmp_path / f"trajectory.{format}"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="lacks frames that its checkpoint vouches for"):
        record(tmp_path, [], format, marks)
    path.unlink()
    with pytest.raises(InputError, match=f"{path.name}: lacks frames"):
        record(tmp_path, [], format, marks)


def test_another_format_is_no_continuation(tmp_path):
    marks = record(tmp_path, range(5), "extxyz")
    with pytest.raises(InputError, match=r"trajectory.traj: is not in the run's checkpoint"):
        record(tmp_path, [], "traj", marks)


def test_nothing_is_overwritten(tmp_path):
    record(tmp_path, range(2), "extxyz")
    with pytest.raises(FileExistsError):
        record(tmp_path, range(2), "extxyz")


def test_a_full_disk_is_reported_once(tmp_path):
    """Closing tries to write what is left; the error was raised when it was committed."""
    recorder = Recorder(tmp_path, 1, ["step"])
    recorder._table.file.close()
    recorder._table.file = open("/dev/full", "w")  # noqa: SIM115  closed by the recorder
    recorder._rows = csv.writer(recorder._table.file)
    recorder.row(1)
    with pytest.raises(OSError, match="No space left"):
        recorder.commit()
    recorder.close()


def test_checkpoints_hold_every_digit(tmp_path):
    state = {"random": np.random.default_rng(5).bit_generator.state, "time": 0.1 + 0.2}
    arrays = {"engine _p": np.random.default_rng(0).normal(size=(2, 3, 3))}
    save_checkpoint(tmp_path, state, arrays)
    found, found_arrays = load_checkpoint(tmp_path)
    assert found == state
    np.testing.assert_array_equal(found_arrays["engine _p"], arrays["engine _p"])


def test_bad_checkpoints_are_refused(tmp_path):
    with pytest.raises(InputError, match="holds no checkpoint to go on from"):
        load_checkpoint(tmp_path)
    for content in (b"", b"something else", b"PK\x03\x04 half an archive"):
        (tmp_path / "checkpoint.npz").write_bytes(content)
        with pytest.raises(InputError, match=r"checkpoint.npz: cannot be read"):
            load_checkpoint(tmp_path)
