"""``atomlens simulate`` as a user runs it."""

import json

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule
from ase.io import read, write

from atomlens.model import Model, ModelConfig
from atomlens.model_file import load_model, save_model


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
    assert (
        len(shown["frequencies"]) + len(shown["free_motions"]) == 9
    )
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
        (("relax", "--force", -1.0), "'force'"),
        (("relax", "--cell", "full"), "no cell to relax"),
        (("relax", "--cell", "wide"), "'cell'"),
        (("relax", "--precision", "half"), "float32 or float64"),
        (("vibrations", "--structure", "7"), "there is no structure 7"),
        (("vibrations", "--structure", "one"), "takes numbers"),
        (("vibrations", "--no-relax", "--force-limit", 1e-9), "relax it"),
    ],
)
def test_bad_input_is_told_in_a_sentence_and_writes_nothing(run, model_path, waters, tmp_path, words, message):
    command, *options = words
    found = run("simulate", command, model_path, waters, "--out", tmp_path / "o", *options)
    assert found.code == 2
    assert message in found.error
    assert not (tmp_path / "o").exists()


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


def test_help_names_the_commands(run):
    found = run("simulate", "--help")
    assert found.code == 0
    for command in ("relax", "vibrations"):
        assert command in found.out
