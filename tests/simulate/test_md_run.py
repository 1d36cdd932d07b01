"""Runs of molecular dynamics as users start them, on small models with random weights."""

import csv
import json

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.constraints import FixAtoms
from ase.io import read
from ase.optimize import BFGS
from pair_model import pair_model

from atomlens.convert import convert_published
from atomlens.errors import InputError
from atomlens.model import Model, ModelConfig
from atomlens.simulate import Calculator
from atomlens.simulate.frames_file import read_frames
from atomlens.simulate.molecular_dynamics import MolecularDynamicsConfig, run_molecular_dynamics
from atomlens.simulate.molecular_dynamics.observables import Trends


@pytest.fixture(scope="module")
def model():
    return pair_model()


def config(**settings):
    return MolecularDynamicsConfig.parse({"duration": 0.02, "record_interval": 1.0, **settings})


def table(folder):
    with (folder / "observables.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}


def test_energy_error_falls_with_the_square_of_the_time_step(model, tmp_path):
    steps, errors = np.array([0.5, 0.25, 0.125]), []
    for step in steps:
        run_molecular_dynamics(model, molecule("H2O"), tmp_path / str(step), config(ensemble="nve", timestep=step))
        errors.append(table(tmp_path / str(step))["conserved_eV"].std())
    assert np.polyfit(np.log(steps), np.log(errors), 1)[0] == pytest.approx(2.0, abs=0.15)


def test_energy_does_not_drift(model, tmp_path):
    settings = config(ensemble="nve", duration=0.3, replicas=2)
    run = run_molecular_dynamics(model, bulk("Si", a=5.3), tmp_path, settings)
    found = table(tmp_path)
    assert run.temperature == pytest.approx(found["temperature_K"].mean())
    assert run.temperature > 100
    assert run.degrees_of_freedom == 3
    assert abs(run.drift) < 1e-5
    slopes = [
        np.polyfit(1e-3 * found["time_fs"][copy::2], found["conserved_eV"][copy::2], 1)[0] / 2 for copy in range(2)
    ]
    assert run.drift == pytest.approx(np.mean(slopes), abs=1e-8)  # of ten digits in the table


@pytest.mark.slow
def test_the_published_model_of_a_cage_keeps_its_energy(shared_data, tmp_path):
    published = convert_published(shared_data / "c20" / "schnet_force_model.npz", precision="float64")
    arrays = np.load(shared_data / "c20" / "c20_geometry.npz")
    cage = Atoms(arrays["numbers"], arrays["positions"])
    cage.calc = Calculator(published)
    BFGS(cage, logfile=None).run(fmax=0.01, steps=100)
    run = run_molecular_dynamics(published, cage, tmp_path, config(ensemble="nve", duration=0.5))
    assert 100 < run.temperature < 200  # half of what the velocities had goes into the springs
    assert abs(run.drift) < 1e-5


def test_what_is_written(model, tmp_path):
    run = run_molecular_dynamics(model, molecule("H2O"), tmp_path, config(ensemble="langevin"))
    assert run.steps == 40
    assert run.drift is None
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "checkpoint.npz",
        "observables.csv",
        "settings.json",
        "trajectory.extxyz",
    ]
    found, frames = table(tmp_path), read(tmp_path / "trajectory.extxyz", ":")
    np.testing.assert_array_equal(found["step"], np.arange(0, 41, 2))
    np.testing.assert_array_equal(found["time_fs"], np.arange(21))
    assert list(found) == ["step", "time_fs", "replica", "potential_eV", "kinetic_eV", "temperature_K"]
    for place, atoms in enumerate(frames):
        assert atoms.info["time_fs"] == place
        assert atoms.info["step"] == 2 * place
        expected = model.predict(atoms)
        assert atoms.get_potential_energy() == pytest.approx(float(expected["energy"]), abs=1e-6)
        np.testing.assert_allclose(atoms.get_forces(), expected["forces"], atol=1e-6)
        assert found["potential_eV"][place] == pytest.approx(atoms.get_potential_energy(), rel=1e-8)
        assert found["kinetic_eV"][place] == pytest.approx(atoms.get_kinetic_energy(), abs=1e-7)
        assert found["temperature_K"][place] == pytest.approx(atoms.get_temperature(), abs=1e-3)  # of nine degrees
    settings = json.loads((tmp_path / "settings.json").read_text())
    assert settings["formula"] == "H2O"
    assert settings["config"]["temperature"] == 300.0
    assert set(settings["versions"]) >= {"ase", "numpy", "torch"}


def test_crystals_have_volume_and_pressure(model, tmp_path):
    silicon = bulk("Si", cubic=True)
    run_molecular_dynamics(model, silicon, tmp_path, config(ensemble="npt", duration=0.005, format="traj"))
    found, frames = table(tmp_path), read(tmp_path / "trajectory.traj", ":")
    assert list(found)[-3:] == ["conserved_eV", "volume_A3", "pressure_GPa"]
    assert np.ptp(found["volume_A3"]) > 0
    for place, atoms in enumerate(frames):
        pressure = -atoms.get_stress(include_ideal_gas=True)[:3].mean() / units.GPa
        assert found["volume_A3"][place] == pytest.approx(atoms.get_volume(), rel=1e-9)
        assert found["pressure_GPa"][place] == pytest.approx(pressure, rel=1e-8)


@pytest.mark.parametrize("ensemble", ["nve", "langevin", "bussi", "nose-hoover"])
def test_replicas_move_as_they_would_alone(model, tmp_path, ensemble):
    """Each in a batch with others as on its own from the same velocities; and no two alike."""
    water = molecule("H2O")
    run_molecular_dynamics(model, water, tmp_path / "all", config(ensemble=ensemble, replicas=3, format="traj"))
    run_molecular_dynamics(model, water, tmp_path / "one", config(ensemble=ensemble, replicas=1, format="traj"))
    together, alone = read_frames(tmp_path / "all"), read_frames(tmp_path / "one")
    np.testing.assert_allclose(together.positions[:, 0], alone.positions[:, 0], atol=1e-9)
    np.testing.assert_allclose(together.velocities[:, 0], alone.velocities[:, 0], atol=1e-10)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(together.velocities[0, first] - together.velocities[0, second]).max() > 1e-4


def test_structures_of_their_own(model, tmp_path):
    near, far = molecule("H2O"), molecule("H2O")
    far.positions *= 1.05
    run_molecular_dynamics(model, [near, far], tmp_path, config())
    frames = read_frames(tmp_path)
    np.testing.assert_allclose(frames.positions[0], [near.positions, far.positions], atol=1e-8)


def test_velocities_of_the_structure(model, tmp_path):
    water = molecule("H2O")
    with pytest.raises(InputError, match="has no velocities to start with"):
        run_molecular_dynamics(model, water, tmp_path, config(velocities="structure"))
    assert not list(tmp_path.iterdir())
    water.set_momenta(np.random.default_rng(0).normal(size=(3, 3)))
    run_molecular_dynamics(model, water, tmp_path, config(velocities="structure", format="traj"))
    frames = read_frames(tmp_path)
    np.testing.assert_allclose(frames.velocities[0, 0], water.get_velocities() * units.fs, rtol=1e-14)


def test_the_whole_does_not_take_off(model, tmp_path, monkeypatch):
    """Random scaling keeps a momentum of zero, but one that rounding left takes a random walk in its logarithm."""
    monkeypatch.setattr("atomlens.simulate.molecular_dynamics.run.BLOCK", 20)

    def nudge(structures, results, step):
        del results
        if step == 6:
            structures[0].set_momenta(structures[0].get_momenta() + 1e-6)

    settings = config(ensemble="bussi", format="traj")
    run_molecular_dynamics(model, molecule("H2O"), tmp_path, settings, watch=nudge)
    momenta = [np.abs(atoms.get_momenta().sum(axis=0)).max() for atoms in read(tmp_path / "trajectory.traj", ":")]
    assert min(momenta[4:11]) > 1e-7  # a frame at every second step
    assert max(momenta[11:]) < 1e-14


def test_nothing_is_computed_twice(model, tmp_path, monkeypatch):
    calls = []
    plain = Calculator.calculate

    def counted(self, *arguments):
        calls.append(arguments)
        plain(self, *arguments)

    monkeypatch.setattr(Calculator, "calculate", counted)
    run_molecular_dynamics(model, molecule("H2O"), tmp_path, config(ensemble="nve"))
    assert len(calls) == 1 + 1 + 40  # once more after the first checkpoint, from which all goes on as if it were new


def test_the_structure_given_is_left_alone(model, tmp_path):
    water = molecule("H2O")
    before = water.positions.copy()
    run_molecular_dynamics(model, water, tmp_path, config(replicas=2))
    np.testing.assert_array_equal(water.positions, before)
    assert water.calc is None
    assert not water.has("momenta")


def test_equilibration_is_recorded_and_left_out(model, tmp_path):
    run = run_molecular_dynamics(model, molecule("H2O"), tmp_path, config(equilibration=0.01, ensemble="nve"))
    assert run.steps == 60
    np.testing.assert_array_equal(read_frames(tmp_path).times, np.arange(10, 31))
    np.testing.assert_array_equal(read_frames(tmp_path, start=0.0).times, np.arange(31))
    found = table(tmp_path)
    assert run.temperature == pytest.approx(found["temperature_K"][10:].mean())


def test_a_watch_marks_frames(model, tmp_path):
    seen = []

    class Watch:
        alarms = ("too hot",)

        def __call__(self, structures, results, step):
            seen.append(step)
            for atoms, found in zip(structures, results, strict=True):
                np.testing.assert_allclose(found["forces"], model.predict(atoms)["forces"], atol=1e-9)
            return [False, step == 15] if step > 10 else None

    settings = config(replicas=2, watch_interval=1.5, record_interval=2.0)
    run = run_molecular_dynamics(model, molecule("H2O"), tmp_path, settings, watch=Watch())
    assert seen == list(range(0, 41, 3))
    marked = read_frames(tmp_path).marked
    assert marked.sum() == 1
    assert marked[4, 1]  # at step 16, the first frame after the look at 15
    assert run.alarms == ["too hot"]


def test_a_watch_ends_the_run(model, tmp_path):
    def watch(structures, results, step):
        del structures, results
        if step == 20:
            raise InputError("two atoms are closer than any in training; label such frames")

    with pytest.raises(InputError, match=r"closer than any in training; label such frames; frames until then are kept"):
        run_molecular_dynamics(model, molecule("H2O"), tmp_path, config(), watch=watch)
    frames = read(tmp_path / "trajectory.extxyz", ":")
    assert [frame.info["step"] for frame in frames] == list(range(0, 21, 2))
    assert [frame.info.get("marked", False) for frame in frames] == [False] * 10 + [True]  # that at which it ended


@pytest.mark.parametrize("replicas", [1, 2])
def test_atoms_that_fall_into_each_other_end_the_run(model, tmp_path, monkeypatch, replicas):
    # A limit just below water's bond of 0.969 Å, so that its vibration runs into it.
    monkeypatch.setattr("atomlens.data.neighbours.MIN_DISTANCE", 0.94)
    which = "replica [01]" if replicas > 1 else "the run"
    with pytest.raises(InputError, match=rf"{which} broke after [\d.]+ fs \(.*closer than 0.94 Å.*frames until then"):
        run_molecular_dynamics(model, molecule("H2O"), tmp_path, config(duration=0.5, replicas=replicas))
    assert len(read_frames(tmp_path).times) > 1


def test_what_cannot_be_run_is_refused(model, tmp_path):
    water = molecule("H2O")
    dipoles = Model(ModelConfig.parse({"readouts": [{"name": "dipole"}]}), [1, 8])
    fixed = water.copy()
    fixed.set_constraint(FixAtoms([0]))
    for structures, settings, problem in (
        (fixed, config(), "has constraints"),
        (water, config(ensemble="npt"), "is not periodic in three directions"),
        ([water, water], config(replicas=3), "2 structures for 3 replicas"),
        ([water, molecule("OH")], config(), "has other atoms or boundaries than the first"),
        (Atoms("O"), config(ensemble="bussi"), "does not move; choose the ensemble 'langevin'"),
        (molecule("NH3"), config(), "N"),
    ):
        with pytest.raises(InputError, match=problem):
            run_molecular_dynamics(model, structures, tmp_path / "new", settings)
        assert not (tmp_path / "new").exists() or not list((tmp_path / "new").iterdir())
    with pytest.raises(InputError, match="predicts no energies"):
        run_molecular_dynamics(dipoles, water, tmp_path / "new")
    (tmp_path / "something").touch()
    with pytest.raises(InputError, match="is not empty"):
        run_molecular_dynamics(model, water, tmp_path)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"timestep": 0.3}, "record_interval must be a whole number of time steps of 0.3 fs, .*; choose 3.9"),
        ({"watch_interval": 0.1}, "watch_interval must be a whole number of time steps of 0.5 fs, .*; choose 0.5"),
        ({"ensemble": "nvt"}, "ensemble"),
        ({"temperature": 0}, "temperature"),
    ],
)
def test_bad_settings(settings, problem):
    with pytest.raises(InputError, match=problem):
        MolecularDynamicsConfig.parse(settings)


def test_trends_are_those_of_least_squares():
    rng = np.random.default_rng(0)
    times, energies = np.linspace(3, 9, 40), -477075.0 + rng.normal(size=(40, 2))
    trends = Trends.empty(2)
    assert trends.drift is None
    for time, pair in zip(times, energies, strict=True):
        trends.add(time, pair, [100.0, 300.0])
    assert trends.temperature == pytest.approx(200.0)
    assert trends.drift == pytest.approx(np.polyfit(times, energies + 477075.0, 1)[0].mean(), rel=1e-6)
