"""Trajectories read back: by ASE's own reader frame by frame, and what is broken refused."""

import json

import ase
import numpy as np
import pytest
from ase import units
from ase.io import read

from atomlens.errors import InputError
from atomlens.files import write_json
from atomlens.simulate.frames_file import read_frames
from atomlens.simulate.recording import Recorder, snapshot, trajectory_names


def structure(step, copy, *, cell=None, masses=None, momenta=True):
    rng = np.random.default_rng([step, copy])
    atoms = ase.Atoms("OHCl", 5.0 * rng.normal(size=(3, 3)), masses=masses)
    if cell is not None:
        atoms.set_cell(cell + 0.1 * rng.normal(size=(3, 3)))
        atoms.pbc = True
    if momenta:
        atoms.set_momenta(rng.normal(size=(3, 3)))
    return atoms


def write(folder, format="extxyz", *, copies=2, beads=1, frames=6, equilibration=0.0, dipole=True, marks=(), **options):
    settings = {"copies": copies, "beads": beads, "equilibration_fs": equilibration, "config": {"format": format}}
    write_json(folder / "settings.json", settings)
    recorder = Recorder(folder, copies, ["step"], format)
    for step in range(frames):
        written = []
        for copy in range(copies):
            atoms = structure(step, copy, **options)
            results = {"energy": -400.0 - step / 7.0, "forces": np.ones((3, 3))}
            results |= {"dipole": np.arange(3) / 7.0 + step} if dipole else {}
            info = {"step": 2 * step, "time_fs": 1.5 * step, "replica": copy // beads, "name": 'has "quotes"'}
            written.append(snapshot(atoms, results, info | ({"marked": True} if (step, copy) in marks else {})))
        recorder.frames(written)
    recorder.commit()
    recorder.close()
    return [read(folder / name, ":") for name in trajectory_names(copies, format)]


@pytest.mark.parametrize("format", ["extxyz", "traj"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"cell": np.diag([9.0, 8.0, 7.0])},
        {"masses": [18.0, 2.014, 35.0]},
        {"momenta": False, "dipole": False},
        {"copies": 1},
        {"copies": 12, "beads": 4, "frames": 3},
    ],
)
def test_reads_what_ase_reads(tmp_path, format, options):
    expected = write(tmp_path, format, marks={(2, 0), (1, 1)} if options.get("copies", 2) > 1 else {}, **options)
    frames = read_frames(tmp_path)
    assert frames.beads == options.get("beads", 1)
    np.testing.assert_array_equal(frames.numbers, [8, 1, 17])
    np.testing.assert_array_equal(frames.pbc, ["cell" in options] * 3)
    np.testing.assert_allclose(frames.masses, expected[0][0].get_masses(), rtol=1e-12)
    np.testing.assert_allclose(frames.times, 1.5 * np.arange(len(frames.times)))
    for copy, images in enumerate(expected):
        assert len(images) == len(frames.times)
        for place, atoms in enumerate(images):
            np.testing.assert_array_equal(frames.positions[place, copy], atoms.positions)
            np.testing.assert_allclose(frames.cells[place, copy], atoms.cell.array, rtol=1e-14)
            assert frames.potential[place, copy] == atoms.get_potential_energy()
            assert frames.marked[place, copy] == atoms.info.get("marked", False)
            if frames.velocities is not None:
                velocities = atoms.get_momenta() / frames.masses[:, None] * units.fs
                np.testing.assert_allclose(frames.velocities[place, copy], velocities, rtol=1e-13)
            if frames.dipoles is not None:
                np.testing.assert_array_equal(frames.dipoles[place, copy], atoms.get_dipole_moment())
    assert (frames.velocities is None) == (options.get("momenta") is False)
    assert (frames.dipoles is None) == (options.get("dipole") is False)
    assert frames.marked.any() == (options.get("copies", 2) > 1)


@pytest.mark.parametrize("format", ["extxyz", "traj"])
def test_numbers_too_long_for_their_columns(tmp_path, format):
    """Atoms that flew far away; a line is then longer than the others."""
    write(tmp_path, format, copies=1, frames=1)
    path = tmp_path / f"trajectory.{format}"
    path.unlink()
    recorder = Recorder(tmp_path / "far", 1, ["step"], format)
    atoms = structure(0, 0)
    atoms.positions[1, 0] = -123456789.125
    recorder.frames([snapshot(atoms, {"energy": 0.0}, {"time_fs": 0.0})])
    recorder.commit()
    recorder.close()
    (tmp_path / "far" / path.name).rename(path)
    np.testing.assert_allclose(read_frames(tmp_path).positions[0, 0], atoms.positions, atol=6e-9)


@pytest.mark.parametrize("format", ["extxyz", "traj"])
def test_some_of_the_frames(tmp_path, format, monkeypatch):
    monkeypatch.setattr("atomlens.simulate.frames_file._AT_ONCE", 4)
    write(tmp_path, format, frames=15, equilibration=4.0)
    np.testing.assert_allclose(read_frames(tmp_path).times, 1.5 * np.arange(3, 15))
    np.testing.assert_allclose(read_frames(tmp_path, start=0.0).times, 1.5 * np.arange(15))
    some = read_frames(tmp_path, start=1.5, every=3)
    np.testing.assert_allclose(some.times, 1.5 * np.arange(1, 15, 3))
    np.testing.assert_array_equal(some.positions, read_frames(tmp_path, start=0.0).positions[1::3])
    with pytest.raises(InputError, match="has no frames at 100 fs or later"):
        read_frames(tmp_path, start=100.0)
    with pytest.raises(InputError, match="every must be 1 or more"):
        read_frames(tmp_path, every=0)


@pytest.mark.parametrize("cut", [1, 40, 200])
def test_a_run_that_is_still_being_written(tmp_path, cut):
    write(tmp_path)
    path = tmp_path / "trajectory_1.extxyz"
    path.write_bytes(path.read_bytes()[:-cut])
    frames = read_frames(tmp_path)
    assert frames.positions.shape == (5, 2, 3, 3)


@pytest.mark.parametrize("format", ["extxyz", "traj"])
def test_broken_files_are_named(tmp_path, format):
    write(tmp_path, format)
    path = tmp_path / f"trajectory_1.{format}"
    whole = path.read_bytes()
    if format == "extxyz":
        broken = [b"", b"nonsense\n", whole.replace(b"3\n", b"4\n", 1), whole.replace(b"Cl ", b"Xx "), whole[60:]]
        broken += [whole.replace(b"Cl  ", b"Cl x", 1), whole.replace(b"time_fs", b"time")]
    else:
        broken = [b"", b"nonsense", whole[:60], whole[:-400]]
    for content in broken:
        path.write_bytes(content)
        with pytest.raises(InputError, match=rf"trajectory_1.{format}: is no trajectory of a run"):
            read_frames(tmp_path)
    path.unlink()
    with pytest.raises(InputError, match=rf"trajectory_1.{format}: is missing"):
        read_frames(tmp_path)


def test_trajectories_that_do_not_fit(tmp_path):
    write(tmp_path)
    path = tmp_path / "trajectory_1.extxyz"
    path.write_bytes(path.read_bytes().replace(b"time_fs=3.0", b"time_fs=3.5"))
    with pytest.raises(InputError, match="has trajectories of different frames"):
        read_frames(tmp_path)


def test_folders_without_a_run(tmp_path):
    with pytest.raises(InputError, match=r"settings.json: cannot be read"):
        read_frames(tmp_path)
    (tmp_path / "settings.json").write_text(json.dumps({"copies": 2}))
    with pytest.raises(InputError, match=r"settings.json: does not hold the settings of a run"):
        read_frames(tmp_path)
