"""What runs of every kind have in common."""

import errno
import os
import signal

import numpy as np
import pytest
from ase.build import molecule
from ase.constraints import FixAtoms
from ase.io import read
from pair_model import pair_model

from atomlens.errors import InputError
from atomlens.files import of_disk
from atomlens.progress import stop_requests
from atomlens.simulate.frames_file import read_frames
from atomlens.simulate.molecular_dynamics import MolecularDynamicsConfig, run_molecular_dynamics
from atomlens.simulate.path_integrals import PathIntegralConfig, run_path_integrals
from atomlens.simulate.running import begin, moved_copy, ns_per_day


def laden():
    """A water that carries what is none of a run's business."""
    atoms = molecule("H2O")
    atoms.set_masses([16.0, 1.0, 2.0])
    atoms.set_tags([1, 2, 3])
    atoms.set_array("kind", np.array(["a", "b", "c"]))
    atoms.info |= {"charge": 0.0, "energy": 99.0, "dipole": [7.0, 7.0, 7.0], "time_fs": -5.0, "name": "of a file"}
    return atoms


def test_of_a_structure_only_what_moves_is_taken():
    atoms = laden()
    atoms.set_momenta(np.arange(9.0).reshape(3, 3))
    found = moved_copy(atoms)
    assert found.info == {"charge": 0.0}
    assert set(found.arrays) == {"numbers", "positions", "masses", "momenta"}
    for name in found.arrays:
        np.testing.assert_array_equal(found.arrays[name], atoms.arrays[name])
    found.positions += 1.0
    assert not np.array_equal(found.positions, atoms.positions)


def test_constraints_are_refused_not_passed_over():
    atoms = laden()
    atoms.set_constraint(FixAtoms([0]))
    with pytest.raises(InputError, match="has constraints") as caught:
        moved_copy(atoms, 3)
    assert caught.value.structure == 3


def dynamics(atoms, folder):
    config = MolecularDynamicsConfig(duration=0.005, record_interval=1.0)
    return run_molecular_dynamics(pair_model(), atoms, folder, config)


def paths(atoms, folder):
    pytest.importorskip("ipi", reason="path integrals are moved by i-PI")
    config = PathIntegralConfig(duration=0.005, record_interval=1.0, beads=2)
    return run_path_integrals(pair_model(), atoms, folder, config)


@pytest.mark.parametrize("run", [dynamics, paths])
def test_what_a_structure_carries_does_not_get_into_the_frames(run, tmp_path):
    run(laden(), tmp_path)
    frames = read_frames(tmp_path)
    np.testing.assert_allclose(frames.times, np.arange(6.0))
    np.testing.assert_array_equal(frames.masses, [16.0, 1.0, 2.0])
    assert frames.dipoles is None
    assert np.ptp(frames.potential) > 0
    (first, *_) = sorted(tmp_path.glob("trajectory*"))
    assert "name" not in read(first, 0).info


@pytest.mark.parametrize("run", [dynamics, paths])
def test_no_run_moves_atoms_that_are_held(run, tmp_path):
    atoms = molecule("H2O")
    atoms.set_constraint(FixAtoms([0]))
    with pytest.raises(InputError, match="has constraints"):
        run(atoms, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_without_a_checkpoint_a_run_begins_anew(tmp_path):
    settings = {"kind": "test", "copies": 2, "config": {"format": "extxyz", "seed": 0}}
    begin(tmp_path, settings, resume=False, free=())
    for name in ("observables.csv", "trajectory_0.extxyz", "trajectory_1.extxyz", "mine.txt"):
        (tmp_path / name).write_text("half")
    other = {**settings, "config": {"format": "extxyz", "seed": 1}}
    with pytest.raises(InputError, match="'seed'"):  # of another run nothing is cleared away
        begin(tmp_path, other, resume=True, free=())
    assert (tmp_path / "observables.csv").is_file()
    begin(tmp_path, settings, resume=True, free=())
    assert {path.name for path in tmp_path.iterdir()} == {"settings.json", "mine.txt"}
    (tmp_path / "observables.csv").write_text("whole")
    (tmp_path / "checkpoint.npz").write_text("there")
    begin(tmp_path, settings, resume=True, free=())
    assert (tmp_path / "observables.csv").is_file()


def test_a_day_of_steps():
    assert ns_per_day(1000.0, 0.5) == pytest.approx(43.2)  # 86.4 million steps of half a femtosecond


def test_only_a_full_disk_is_the_users_to_mend(tmp_path):
    found = of_disk(OSError(errno.ENOSPC, "No space left"), tmp_path, "all up to 5 fs is kept")
    assert isinstance(found, InputError)
    assert "all up to 5 fs is kept; free space, and go on with --resume" in str(found)
    other = OSError(errno.EACCES, "Permission denied")
    assert of_disk(other, tmp_path, "") is other


@pytest.fixture
def python_handler():
    """Python's own; a shell that starts jobs in the background leaves SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def test_the_first_request_is_noted_and_the_second_acts_as_usual(python_handler):
    before = python_handler
    with stop_requests() as asked:
        assert not asked()
        os.kill(os.getpid(), signal.SIGINT)
        assert asked()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
