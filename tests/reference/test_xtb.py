"""GFN-xTB labels against physics and another program, and trajectories that resume and repeat bit for bit."""

import hashlib
import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from atomlens.data.dataset import Dataset
from atomlens.errors import InputError
from atomlens.reference import child, xtb
from atomlens.reference.correlation import integrated_autocorrelation, judge_interval
from atomlens.reference.molecule import describe
from atomlens.reference.xtb import SamplingConfig, estimate_seconds, label, sample_trajectories

needs_tblite = pytest.mark.skipif(importlib.util.find_spec("tblite") is None, reason="needs the extra atomlens[xtb]")
HARTREE, DEBYE = 27.211386245988, 0.2081943  # eV (CODATA 2018), e·Å
SHORT = SamplingConfig(walkers=2, frames_per_walker=4, interval=10, equilibration=20, workers=2)


def _distorted():
    atoms = molecule("CH3OH")
    atoms.positions += np.random.default_rng(0).normal(scale=0.05, size=(6, 3))
    return atoms


@needs_tblite
def test_forces_are_the_negative_gradient_to_second_order_and_charges_add_up():
    steps, atoms = (0.04, 0.02, 0.01), _distorted()
    direction = np.random.default_rng(1).normal(size=(6, 3))
    moved = []
    for step in steps:
        for sign in (1, -1):
            moved.append(atoms.copy())
            moved[-1].positions += sign * step * direction / np.linalg.norm(direction)
    data = label([atoms, *moved])
    exact = -(data.labels["forces"][:6] * direction).sum() / np.linalg.norm(direction)
    energy = data.labels["energy"][1:].reshape(3, 2)
    errors = np.abs((energy[:, 0] - energy[:, 1]) / (2 * np.array(steps)) - exact)
    order = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert order == pytest.approx(2, abs=0.1)  # central differences
    assert errors[-1] < 0.02
    np.testing.assert_allclose(data.labels["charges"].reshape(7, 6).sum(axis=1), 0, atol=1e-8)  # SCF convergence


@needs_tblite
def test_moving_an_ion_moves_its_dipole_by_its_charge():
    ammonium = molecule("NH3") + Atoms("H", [[0, 0, 1.1]])
    ammonium.info["charge"] = 1
    shift = np.array([1.0, -2.0, 3.0])
    moved = ammonium.copy()
    moved.positions += shift
    data = label([ammonium, moved])
    # q d in e·Å, whatever the electronic structure: no other unit passes.
    np.testing.assert_allclose(data.labels["dipole"][1] - data.labels["dipole"][0], shift, atol=1e-4)  # SCF convergence
    np.testing.assert_allclose(data.labels["energy"][1], data.labels["energy"][0], atol=1e-6)
    assert data.labels["charges"][:5].sum() == pytest.approx(1, abs=1e-8)


@needs_tblite
def test_the_dipole_of_water_is_near_experiment_and_points_to_the_hydrogens():
    atoms = molecule("H2O")
    dipole = label([atoms]).labels["dipole"][0]
    axis = atoms.positions[1:].mean(axis=0) - atoms.positions[0]
    # Experiment: 1.85 D. GFN2-xTB exaggerates by a fifth.
    assert 1.85 * DEBYE < dipole @ axis / np.linalg.norm(axis) < 1.3 * 1.85 * DEBYE


# Free atoms in their ground states by the xtb program, in Hartree:
# delfta/utils.py of github.com/josejimenezluna/delfta at commit f33dbe4.
XTB_ATOMS = {
    "H": -0.393482763936, "C": -1.793296371365, "N": -2.605824161279, "O": -3.767606950376, "F": -4.619339964238,
    "S": -3.146456870402, "Cl": -4.482525134961,
}  # fmt: skip


@needs_tblite
def test_free_atoms_have_the_energies_of_the_xtb_program():
    data = label([molecule(name) for name in ("CH3NO2", "CH3SH", "CH3Cl", "CH3COF")])
    found = data.metadata["free_atom_energies"]
    assert found.keys() == XTB_ATOMS.keys()
    for symbol, energy in XTB_ATOMS.items():
        # The smearing temperatures of the programs, 300 K, differ in the fifth digit, and so does -T S of 50 meV.
        assert found[symbol] == pytest.approx(energy * HARTREE, abs=1e-5)


@needs_tblite
@pytest.mark.parametrize(("method", "level"), [("GFN2-xTB", -10.707211), ("GFN1-xTB", -10.923452)])
def test_the_hydrogen_atom_has_the_energy_of_its_one_level(method, level):
    # One electron in one shell without charge fluctuation: the 1s level of param_gfn[12]-xtb.txt, in eV.
    found = label([molecule("H2")], method).metadata["free_atom_energies"]["H"]
    assert found == pytest.approx(level, abs=1e-5)  # the programs' eV differ in the seventh digit


@needs_tblite
def test_labels_agree_with_tblites_own_calculator():
    from tblite.ase import TBLite

    atoms = _distorted()
    data = label([atoms])
    atoms.calc = TBLite(method="GFN2-xTB", accuracy=0.01, verbosity=0)
    assert data.labels["energy"][0] == pytest.approx(atoms.get_potential_energy(), abs=1e-6)
    np.testing.assert_allclose(data.labels["forces"], atoms.get_forces(), atol=1e-4)
    np.testing.assert_allclose(data.labels["charges"], atoms.get_charges(), atol=1e-5)


@needs_tblite
def test_charge_and_spin_reach_the_calculation():
    cation = molecule("H2O")
    cation.info["charge"] = 1
    data = label([molecule("H2O"), cation])
    ionisation = data.labels["energy"][1] - data.labels["energy"][0]
    assert 12.0 < ionisation < 20.0  # eV; experiment 12.6, and GFN-xTB is known to overestimate by some eV
    assert data.charge.tolist() == [0, 1]
    assert data.metadata["multiplicity"] == [1, 2]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda a: a.info.update(charge=0.5), "no whole number"),
        (lambda a: a.info.update(multiplicity=2), "even number of electrons"),
        (lambda a: a.set_pbc(True), "periodic"),
        (lambda a: a.set_atomic_numbers([8, 1, 92]), "no U"),
        (lambda a: a.set_positions(a.positions * 0.1), "closer than"),
    ],
)
def test_an_impossible_molecule_is_refused_by_place(change, problem, monkeypatch):
    monkeypatch.setattr(xtb, "require_tblite", lambda: None)
    wrong = molecule("H2O")
    wrong.cell = [10, 10, 10]
    change(wrong)
    with pytest.raises(InputError, match=problem) as error:
        label([molecule("H2O"), wrong])
    assert error.value.structure == 1


def test_lanthanides_count_as_three_valence_electrons():
    assert [describe(Atoms(name))["multiplicity"] for name in ("La", "Ce", "Gd", "Lu")] == [2, 2, 2, 2]


def test_nothing_cannot_be_labelled(monkeypatch):
    monkeypatch.setattr(xtb, "require_tblite", lambda: None)
    with pytest.raises(InputError, match="holds no structures"):
        label([])


def test_without_tblite_one_sentence_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(child.importlib.util, "find_spec", lambda _: None)
    for call in (
        lambda: label([molecule("H2O")]),
        lambda: sample_trajectories(molecule("H2O"), SHORT, tmp_path),
        lambda: estimate_seconds(molecule("H2O"), SHORT),
    ):
        with pytest.raises(InputError, match=r"pip install 'atomlens\[xtb\]'"):
            call()


@pytest.fixture(scope="module")
def sampled(tmp_path_factory):
    """Water sampled once, and where."""
    if importlib.util.find_spec("tblite") is None:
        pytest.skip("needs the extra atomlens[xtb]")
    folder = tmp_path_factory.mktemp("water")
    return sample_trajectories(molecule("H2O"), SHORT, folder), folder


def test_the_data_say_how_they_were_made(sampled):
    data, folder = sampled
    about = data.metadata
    assert len(data) == 8
    assert sorted(data.labels) == ["charges", "dipole", "energy", "forces"]
    assert about["walker"] == [0] * 4 + [1] * 4
    assert (about["formula"], about["charge"], about["temperature_K"], about["interval_fs"]) == ("H2O", 0, 500, 10)
    assert about["program"].startswith("tblite ")
    assert set(about["free_atom_energies"]) == {"H", "O"}
    assert about["relaxed"]["max_force"] < 0.01
    assert about["relaxed"]["energy"] < data.labels["energy"].min()
    json.dumps(about, allow_nan=False)
    assert [entry.name for entry in folder.iterdir()] == ["data"]  # nothing unfinished is left


def test_kept_frames_carry_the_labels_of_their_own_positions(sampled):
    data, _ = sampled
    fresh = label([system.to_ase() for system in data])
    # Frames were calculated elsewhere in space, from the density of the step before: equal to the SCF's convergence.
    np.testing.assert_allclose(data.labels["energy"], fresh.labels["energy"], atol=1e-6)
    np.testing.assert_allclose(data.labels["forces"], fresh.labels["forces"], atol=1e-4)
    np.testing.assert_allclose(data.labels["dipole"], fresh.labels["dipole"], atol=1e-4)
    centres = [system.to_ase().get_center_of_mass() for system in data]
    np.testing.assert_allclose(centres, 0, atol=1e-12)


def test_an_interrupted_call_ends_with_the_same_bits(sampled, tmp_path, monkeypatch):
    class InterruptionError(Exception):
        pass

    def interrupt(*_):
        raise InterruptionError

    with monkeypatch.context() as patch:
        patch.setattr(xtb, "write_store", interrupt)
        with pytest.raises(InterruptionError):
            sample_trajectories(molecule("H2O"), SHORT.model_copy(update={"workers": 1}), tmp_path)
    unfinished = tmp_path / "walkers"
    assert sorted(entry.name for entry in unfinished.iterdir()) == ["00.npz", "01.npz", "start.json"]
    kept = hashlib.sha256((unfinished / "01.npz").read_bytes()).hexdigest()
    (unfinished / "00.npz").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(xtb, "write_store", interrupt)
        with pytest.raises(InterruptionError):
            sample_trajectories(molecule("H2O"), SHORT, tmp_path)
    assert hashlib.sha256((unfinished / "01.npz").read_bytes()).hexdigest() == kept  # not calculated again
    resumed = sample_trajectories(molecule("H2O"), SHORT, tmp_path)
    assert resumed.hash == sampled[0].hash  # one worker, two workers, three calls: the same


def test_a_second_call_only_opens_the_data(sampled, monkeypatch):
    data, folder = sampled
    monkeypatch.setattr(xtb, "run_task", None)  # calling it would fail
    monkeypatch.setattr(xtb, "run_tasks", None)
    again = sample_trajectories(molecule("H2O"), SHORT.model_copy(update={"workers": 7}), folder)
    assert again.hash == data.hash


@pytest.mark.parametrize("other", [{"seed": 1}, {"temperature": 300.0}])
def test_data_of_another_configuration_are_refused(sampled, other):
    with pytest.raises(InputError, match="another structure or sampling configuration") as error:
        sample_trajectories(molecule("H2O"), SHORT.model_copy(update=other), sampled[1])
    assert error.value.file == str(sampled[1] / "data")


def test_data_of_another_structure_are_refused(sampled):
    with pytest.raises(InputError, match="another structure"):
        sample_trajectories(molecule("NH3"), SHORT, sampled[1])


def test_unfinished_walkers_of_another_configuration_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(xtb, "require_tblite", lambda: None)
    (tmp_path / "walkers").mkdir()
    (tmp_path / "walkers" / "start.json").write_text(json.dumps({"identity": "another", "program": "tblite 0"}))
    with pytest.raises(InputError, match="another structure or sampling configuration"):
        sample_trajectories(molecule("H2O"), SHORT, tmp_path)


def test_something_else_called_data_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(xtb, "require_tblite", lambda: None)
    (tmp_path / "data").mkdir()
    with pytest.raises(InputError, match="no data set of atomlens"):
        sample_trajectories(molecule("H2O"), SHORT, tmp_path)


def test_walkers_and_seeds_give_different_structures(sampled, tmp_path):
    data, _ = sampled
    other = sample_trajectories(molecule("H2O"), SHORT.model_copy(update={"seed": 1, "walkers": 1}), tmp_path)
    energies = np.concatenate([data.labels["energy"], other.labels["energy"]])
    assert len(np.unique(energies)) == len(energies)


@needs_tblite
def test_an_exploding_trajectory_names_its_walker_and_leaves_no_data(tmp_path):
    wild = SamplingConfig(walkers=1, frames_per_walker=50, timestep=20, interval=20, equilibration=0, temperature=3000)
    with pytest.raises(InputError, match="walker 0 failed after"):
        sample_trajectories(molecule("H2O"), wild, tmp_path)
    assert [entry.name for entry in (tmp_path / "walkers").iterdir()] == ["start.json"]


def test_one_atom_has_nothing_to_sample(tmp_path, monkeypatch):
    monkeypatch.setattr(xtb, "require_tblite", lambda: None)
    with pytest.raises(InputError, match="single atom"):
        sample_trajectories(Atoms("H"), SHORT, tmp_path)


@needs_tblite
def test_an_ions_dipole_is_about_its_centre_of_mass(tmp_path):
    hydroxide = molecule("OH")
    hydroxide.info["charge"] = -1
    hydroxide.positions += [5.0, 0.0, 0.0]
    config = SamplingConfig(walkers=1, frames_per_walker=3, interval=10, equilibration=10)
    data = sample_trajectories(hydroxide, config, tmp_path)
    fresh = label([system.to_ase() for system in data])
    np.testing.assert_allclose(data.labels["dipole"], fresh.labels["dipole"], atol=1e-4)
    assert (np.linalg.norm(data.labels["dipole"], axis=1) < 1.0).all()  # the origin would add 5 e·Å


@needs_tblite
def test_the_estimate_is_a_plausible_time():
    steps = SHORT.walkers * SHORT.steps_per_walker
    assert steps == 120
    assert 0.2 < estimate_seconds(molecule("H2O"), SHORT) < 30  # a few starts of a process and little else


def test_the_estimate_counts_rounds_of_workers_and_steps(monkeypatch):
    monkeypatch.setattr(xtb, "require_tblite", lambda: None)
    monkeypatch.setattr(xtb, "run_task", lambda _: {"seconds": 0.0, "seconds_per_step": 0.001})
    config = SamplingConfig(walkers=5, workers=2, frames_per_walker=100, interval=20, equilibration=500, timestep=0.5)
    # 100 steps of relaxation and 3 rounds of 5000 steps, at 1 ms.
    assert estimate_seconds(molecule("H2O"), config) == pytest.approx(15.1, abs=0.05)


@needs_tblite
def test_a_script_without_a_main_guard_can_sample(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from ase.build import molecule\n"
        "from atomlens.reference.xtb import SamplingConfig, sample_trajectories\n"
        "config = SamplingConfig(walkers=1, frames_per_walker=4, interval=2, equilibration=0)\n"
        "print(len(sample_trajectories(molecule('H2'), config, 'out')))\n"
    )
    done = subprocess.run([sys.executable, script.name], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "4\n"), done.stderr


def test_a_child_that_breaks_down_is_reported_with_its_last_words():
    with pytest.raises(RuntimeError, match="KeyError: 'no such task'"):
        child.run_task({"task": "no such task"})


@needs_tblite
def test_when_one_task_fails_the_others_are_ended(tmp_path):
    endless = {
        "task": "walk", "structure": describe(molecule("H2O")), "method": "GFN2-xTB", "temperature": 300.0,
        "timestep": 1.0, "friction": 0.01, "seed": 0, "walker": 0, "frames": 10**7, "interval_steps": 10,
        "equilibration_steps": 0, "output": str(tmp_path / "endless.npz"),
    }  # fmt: skip
    with pytest.raises(RuntimeError, match="no such task"):
        child.run_tasks([endless, {"task": "no such task"}, endless], workers=2)
    assert not list(tmp_path.iterdir())


def test_times_must_be_whole_steps():
    with pytest.raises(InputError, match="interval is 10 fs, no multiple"):
        SamplingConfig.parse({"interval": 10, "timestep": 0.3, "equilibration": 3})


def test_the_autocorrelation_time_of_an_autoregressive_series_is_known():
    # x' = φ x + noise has ρ(t) = φ^t, hence τ = 1/2 + φ / (1 - φ) = (1 + φ) / (2 (1 - φ)).
    rng, memory = np.random.default_rng(0), 0.9
    noise = rng.normal(size=(8, 20000))
    series = np.zeros_like(noise)
    for step in range(1, series.shape[1]):
        series[:, step] = memory * series[:, step - 1] + noise[:, step]
    # Sokal: relative error sqrt(2 (2 M + 1) / N) with window M = 5 τ, here 3 %.
    assert integrated_autocorrelation(series) == pytest.approx(9.5, rel=0.09)
    assert integrated_autocorrelation(noise) == pytest.approx(0.5, abs=0.05)
    assert integrated_autocorrelation(np.ones((2, 5))) == 0.5


def test_the_verdict_on_the_interval_follows_the_autocorrelation_time():
    assert judge_interval(10.0, 20.0)["decorrelated"] is True
    assert "50%" in judge_interval(20.0, 20.0)["decorrelation"]


def test_the_data_are_a_dataset(sampled):
    assert isinstance(sampled[0], Dataset)
    sampled[0].check()
