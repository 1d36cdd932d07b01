"""``atomlens simulate`` as a user runs it."""

import json

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import read, write

from atomlens.model import Model, ModelConfig
from atomlens.model_file import load_model, save_model
from atomlens.simulate import RelaxationConfig, relax


@pytest.fixture(scope="module")
def waters(tmp_path_factory):
    path = tmp_path_factory.mktemp("waters") / "waters.xyz"
    frames = [molecule("H2O") for _ in range(2)]
    frames[1].rattle(0.05, seed=1)
    write(path, frames)
    return path


@pytest.fixture(scope="module")
def dipole_model(tmp_path_factory):
    torch.manual_seed(1)
    config = {"representation": {"name": "schnet", "features": 8}, "readouts": [{"name": "dipole"}]}
    path = tmp_path_factory.mktemp("dipoles") / "dipoles.safetensors"
    save_model(Model(ModelConfig.parse(config), [1, 8]), path)
    return path


def test_relax_writes_structures_at_rest(run, model_path, waters, tmp_path):
    out = tmp_path / "relaxed"
    found = run("simulate", "relax", model_path, waters, "--out", out, "--force", 1e-3, "--precision", "float64")
    assert found.code == 0
    assert "2 of 2 structures came to rest" in found.out
    assert str(out / "report.html") in found.out
    relaxed, start = read(out / "relaxed.extxyz", ":"), read(waters, ":")
    model = load_model(model_path).set_precision(torch.float64)
    for atoms, before in zip(relaxed, start, strict=True):
        predicted = model.predict(atoms)
        assert np.linalg.norm(predicted["forces"], axis=1).max() < 1.1e-3
        assert atoms.get_potential_energy() == pytest.approx(float(predicted["energy"]), abs=1e-5)
        assert atoms.get_potential_energy() < float(model.predict(before)["energy"])
        assert atoms.info["converged"]
    summary = json.loads((out / "summary.json").read_text())
    assert summary["converged"] == 2
    assert summary["settings"]["force"] == 1e-3
    assert (out / "report.html").read_text().count("Relaxation") > 1


def test_relax_as_json_says_who_is_not_at_rest(run, model_path, waters, tmp_path):
    found = run(
        "simulate", "relax", model_path, waters, "--out", tmp_path / "o", "--steps", 1, "--force", 1e-6, "--json"
    )
    assert found.code == 0
    summary = json.loads(found.out)
    assert summary["converged"] == 0
    assert [entry["converged"] for entry in summary["relaxed"]] == [False, False]
    assert "all converged" in [entry["name"] for entry in summary["checks"]["failed"]]


def test_vibrations_are_those_of_the_library(run, model_path, waters, tmp_path):
    out = tmp_path / "vibrations"
    found = run("simulate", "vibrations", model_path, waters, "--out", out, "--structure", "1", "--json")
    assert found.code == 0
    summary = json.loads(found.out)
    (panel,) = summary["panels"]
    assert panel["structure"] == "1 H2O"
    shown = summary["vibrations"][0]
    assert len(shown["frequencies"]) + len(shown["free_motions"]) == 9
    archive = np.load(out / panel["folder"] / "vibrations.npz")
    np.testing.assert_allclose(archive["frequencies"], shown["frequencies"])
    assert archive["hessian"].shape == (9, 9)


def test_vibrations_with_dipoles_of_another_model(run, model_path, dipole_model, waters, tmp_path):
    found = run(
        "simulate", "vibrations", model_path, waters, "--out", tmp_path / "o", "--structure", 0,
        "--dipole-model", dipole_model, "--json",
    )  # fmt: skip
    assert found.code == 0
    assert json.loads(found.out)["vibrations"][0]["infrared"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("relax", "--force", -1.0), "--force: input"),
        (("relax", "--cell", "full"), "no cell to relax"),
        (("relax", "--cell", "wide"), "--cell: input"),
        (("relax", "--precision", "half"), "float32 or float64"),
        (("vibrations", "--structure", "7"), "there is no structure 7"),
        (("vibrations", "--structure", "one"), "takes numbers"),
        (("vibrations", "--no-relax", "--force-limit", 1e-9), "relax it"),
        (("md", "--structure", 0, "--time", 0), "--time: input"),
        (("md", "--structure", 0, "--record", 0.7), "--record must be"),
        (("md", "--structure", 0, "--guard", "maybe"), "--guard is warn, stop or off"),
        (("md", "--structure", 0, "--guard-set", "interval"), "--guard-set takes KEY=VALUE"),
        (("md", "--structure", 0, "--guard-set", "interval=0"), "--guard-set: "),
    ],
)
def test_bad_input_is_told_in_a_sentence_and_writes_nothing(run, model_path, waters, tmp_path, words, message):
    command, *options = words
    found = run("simulate", command, model_path, waters, "--out", tmp_path / "o", *options)
    assert found.code == 2
    assert message in found.error
    assert not (tmp_path / "o").exists()


def test_a_single_atom_has_no_vibrations(run, model_path, tmp_path):
    write(tmp_path / "atom.xyz", Atoms("O"))
    found = run("simulate", "vibrations", model_path, tmp_path / "atom.xyz", "--out", tmp_path / "o")
    assert found.code == 2
    assert "a single atom has no vibrations" in found.error


def test_frames_are_whole_steps_apart_unless_asked_for(run, model_path, at_rest, tmp_path):
    out = tmp_path / "run"
    assert run("simulate", "md", model_path, at_rest, "--out", out, "--time", 0.009, "--timestep", 0.3).code == 0
    assert read(out / "trajectory.extxyz", 1).info["time_fs"] == pytest.approx(3.9)  # 13 steps are nearest to 4 fs


def test_models_without_energies_move_nothing(run, dipole_model, waters, tmp_path):
    found = run("simulate", "relax", dipole_model, waters, "--out", tmp_path / "o")
    assert found.code == 2
    assert "does not predict energies" in found.error


def test_elements_that_the_model_never_saw(run, model_path, tmp_path):
    write(tmp_path / "gold.xyz", [molecule("H2O"), bulk("Au")])
    found = run("simulate", "relax", model_path, tmp_path / "gold.xyz", "--out", tmp_path / "o")
    assert found.code == 2
    assert "structure 1" in found.error
    assert "gold.xyz" in found.error


SHORT = ("--time", 0.02, "--timestep", 0.5, "--record", 1.0)


@pytest.fixture(scope="module")
def at_rest(tmp_path_factory, model_path):
    """Water in the model's own minimum, from which it does not fall apart."""
    path = tmp_path_factory.mktemp("rest") / "water.xyz"
    model = load_model(model_path).set_precision(torch.float64)
    write(path, relax(model, [molecule("H2O")], RelaxationConfig(force=1e-3))[0].atoms)
    return path


def test_dynamics_write_a_run_and_its_page(run, model_path, at_rest, tmp_path):
    out = tmp_path / "run"
    found = run("simulate", "md", model_path, at_rest, "--out", out, *SHORT, "--replicas", 2, "--ensemble", "bussi")
    assert found.code == 0
    assert "0.02 ps of H2O" in found.out
    assert "alarms of the guard" in found.out
    frames = read(out / "trajectory_1.extxyz", ":")
    assert [atoms.info["time_fs"] for atoms in frames] == [float(step) for step in range(21)]
    assert {"momenta", "forces"} <= {*frames[0].arrays, *frames[0].calc.results}
    assert (out / "report.html").is_file()
    assert json.loads((out / "summary.json").read_text())["steps"] == 40


def test_a_run_goes_on_with_the_same_options_only(run, model_path, at_rest, tmp_path):
    words = ("simulate", "md", model_path, at_rest, "--record", 1.0)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert run(*words, "--out", whole, "--time", 0.1).code == 0
    assert run(*words, "--out", parts, "--time", 0.05).code == 0
    refused = run(*words, "--out", parts, "--time", 0.1)
    assert "not empty" in refused.error
    other = run(*words, "--out", parts, "--time", 0.1, "--resume", "--temperature", 400)
    assert "temperature" in other.error
    assert run(*words, "--out", parts, "--time", 0.1, "--resume").code == 0
    assert (parts / "trajectory.extxyz").read_bytes() == (whole / "trajectory.extxyz").read_bytes()
    assert (parts / "observables.csv").read_bytes() == (whole / "observables.csv").read_bytes()


def test_a_guard_looks_however_seldom_frames_are_recorded(run, model_path, at_rest, tmp_path):
    out = tmp_path / "run"
    strict = ("interval=7", "save_interval=1", "covalent_fraction=1.0", "temperature_rise=0", "temperature_chance=0.99")
    words = [word for limit in strict for word in ("--guard-set", limit)]
    assert run("simulate", "md", model_path, at_rest, "--out", out, "--time", 0.05, "--record", 25.0, *words).code == 0
    steps = {atoms.info["step"] for atoms in read(out / "suspicious.extxyz", ":")}
    assert len(steps) > 1
    assert all(step % 7 == 0 for step in steps)  # where frames are at 0, 50 and 100


def test_a_run_that_was_killed_at_once_begins_anew(run, model_path, at_rest, tmp_path):
    out, words = tmp_path / "run", ("simulate", "md", model_path, at_rest, *SHORT)
    assert run(*words, "--out", out).code == 0
    whole = (out / "trajectory.extxyz").read_bytes()
    (out / "checkpoint.npz").unlink()
    (out / "trajectory.extxyz").write_bytes(whole[:100])
    (out / "suspicious.extxyz").write_text("of its first step")  # of which the guard knows nothing any more
    assert run(*words, "--out", out, "--resume").code == 0
    assert (out / "trajectory.extxyz").read_bytes() == whole


def test_paths_and_runs_over_each_other(run, model_path, at_rest, tmp_path):
    pytest.importorskip("ipi", reason="path integrals are moved by i-PI")
    paths = tmp_path / "paths"
    found = run("simulate", "pimd", model_path, at_rest, "--out", paths, *SHORT, "--beads", 3, "--json")
    assert found.code == 0
    summary = json.loads(found.out)
    assert summary["steps"] == 40
    assert summary["timings_s"]["i-pi"] > 0
    assert sorted(path.name for path in paths.glob("*.extxyz")) == [f"trajectory_{bead}.extxyz" for bead in range(3)]
    classical = tmp_path / "classical"
    assert run("simulate", "md", model_path, at_rest, "--out", classical, *SHORT, "--guard", "off").code == 0
    both = run("simulate", "compare", classical, paths, "--out", tmp_path / "both", "--name", "classical", "--json")
    assert both.code == 0
    assert json.loads(both.out)["settings"]["name"] == "classical"


def test_numbers_of_beads_converge(run, model_path, at_rest, tmp_path):
    pytest.importorskip("ipi", reason="path integrals are moved by i-PI")
    out = tmp_path / "beads"
    found = run("simulate", "pimd", model_path, at_rest, "--out", out, *SHORT, "--converge", "1,2,4", "--json")
    assert found.code == 0
    assert [row["beads"] for row in json.loads(found.out)["convergence"]["runs"]] == [1, 2, 4]
    assert (out / "beads_004" / "observables.csv").is_file()


def test_a_guard_that_stops_keeps_the_frames(run, model_path, at_rest, tmp_path):
    out = tmp_path / "run"
    hot = ("--temperature", 30000, "--time", 1.0, "--guard", "stop", "--guard-set", "interval=1")
    found = run("simulate", "md", model_path, at_rest, "--out", out, *hot)
    assert found.code == 2
    assert "guard stopped the run" in found.error or "apart" in found.error
    assert read(out / "trajectory.extxyz", ":")


@pytest.mark.parametrize(
    ("command", "words", "message"),
    [
        ("md", ("--ensemble", "nvt"), "--ensemble: input"),
        ("md", ("--ensemble", "npt"), "periodic"),
        ("md", ("--timestep", 0.3, "--record", 1.0), "whole number of time steps"),
        ("md", ("--guard", "off", "--guard-set", "interval=3"), "--guard off"),
        ("md", ("--guard", "bark"), "--guard is"),
        ("md", ("--pressure", 2.0), "--pressure does nothing"),
        ("md", ("--ensemble", "nve", "--thermostat-time", 50), "--thermostat-time does nothing"),
        ("md", ("--guard-set", "intervall=3"), "did you mean 'interval'"),
        ("pimd", ("--thermostat", "gle"), "gle4md.org"),
        ("pimd", ("--beads", 0), "--beads: input"),
        ("pimd", ("--converge", "2,4"), "three numbers"),
        ("pimd", ("--converge", "1,2,4", "--guard", "stop"), "without a guard"),
        ("pimd", ("--converge", "1,2,4", "--guard-set", "interval=3"), "without a guard"),
    ],
)
def test_runs_refuse_what_cannot_be(run, model_path, at_rest, tmp_path, command, words, message):
    if command == "pimd":
        pytest.importorskip("ipi", reason="path integrals are moved by i-PI")
    found = run("simulate", command, model_path, at_rest, "--out", tmp_path / "o", "--time", 0.01, *words)
    assert found.code == 2
    assert message in found.error


def test_one_of_several_structures_has_to_be_chosen(run, model_path, waters, tmp_path):
    assert "choose it" in run("simulate", "md", model_path, waters, "--out", tmp_path / "o").error
    assert (
        "no structure 5" in run("simulate", "md", model_path, waters, "--out", tmp_path / "o", "--structure", 5).error
    )


def test_compare_needs_runs(run, tmp_path):
    found = run("simulate", "compare", tmp_path, tmp_path, "--out", tmp_path / "o")
    assert found.code == 2
    assert "settings.json" in found.error


def test_help_names_the_commands(run):
    found = run("simulate", "--help")
    assert found.code == 0
    for command in ("relax", "vibrations", "md", "pimd", "compare"):
        assert command in found.out
