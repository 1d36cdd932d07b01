"""``atomlens convert`` as a user runs it."""

import inspect
import json

import numpy as np
import pytest
from ase import Atoms

import atomlens
from atomlens.cli.convert import convert
from atomlens.convert import convert_published
from atomlens.data.units import KCAL_PER_MOL
from published import energy, random_arrays


@pytest.fixture
def weights(tmp_path):
    np.savez(tmp_path / "weights.npz", **random_arrays())
    return tmp_path / "weights.npz"


def test_writes_a_model(run, weights, tmp_path):
    out = tmp_path / "new" / "model.safetensors"
    result = run("convert", weights, "--out", out, "--elements", "C, O", "--licence", "MIT")
    assert result.code == 0, result.err
    assert result.out.strip() == f"SchNet of 3 blocks and 5 features: {out}"
    assert [entry.name for entry in out.parent.iterdir()] == ["model.safetensors"]
    carbon_monoxide = Atoms("CO", [[0, 0, 0], [0, 0, 1.13]])
    expected = energy(random_arrays(), carbon_monoxide.numbers, carbon_monoxide.positions) * KCAL_PER_MOL
    found = atomlens.load(out, exact_filters=True).predict(carbon_monoxide)["energy"]
    assert found == pytest.approx(expected, rel=1e-13)


def test_json(run, weights, tmp_path):
    out = tmp_path / "model.safetensors"
    words = ("--gaussian-range", 8, "--gaussian-gamma", 4, "--filter-activations", 1, "--precision", "float32")
    facts = json.loads(run("convert", weights, "--out", out, *words, "--json").out)
    assert facts["out"] == str(out)
    assert facts["elements"] == [6]
    assert facts["precision"] == "float32"
    schnet = facts["config"]["representation"]
    assert (schnet["interactions"], schnet["features"], schnet["filter_activations"]) == (3, 5, 1)
    assert (schnet["gaussian_range"], schnet["gaussian_spacing"], schnet["gaussian_gamma"]) == (8.0, 1.0, 4.0)
    assert schnet["cutoff"] is None
    assert facts["provenance"]["converted_from"]["file"] == "weights.npz"


def test_defaults_are_those_of_the_function():
    ours, theirs = inspect.signature(convert).parameters, inspect.signature(convert_published).parameters
    assert ours["elements"].default.split(",") == list(theirs["elements"].default)
    for name in ("gaussian_range", "gaussian_gamma", "precision", "licence"):
        assert ours[name].default == theirs[name].default
    assert int(ours["filter_activations"].default) == theirs["filter_activations"].default


def test_other_commands_take_the_model(run, weights, tmp_path):
    out = tmp_path / "model.safetensors"
    assert run("convert", weights, "--out", out).code == 0
    told = json.loads(run("info", out, "--json").out)
    assert told["elements"] == ["C"]
    assert told["provenance"]["converted_from"]["energy_unit"] == "kcal/mol"
    assert "converted_from" in run("info", out).out
    (tmp_path / "c3.xyz").write_text("3\n\nC 0 0 0\nC 0 0 1.3\nC 0 0 2.6\n")
    assert run("predict", out, tmp_path / "c3.xyz", "--out", tmp_path / "p.json").code == 0
    explained = run("explain", out, tmp_path / "c3.xyz", "--out", tmp_path / "explained")
    assert explained.code == 0, explained.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("none.npz", "--out", "m.safetensors"), "none.npz: no such file"),
        (("weights.npz", "--out", "m.pt"), "m.pt: does not end in .safetensors"),
        (("weights.npz", "--out", "folder.safetensors"), "folder.safetensors: is a folder"),
        (("weights.npz", "--out", "weights.npz/m.safetensors"), "weights.npz"),
        (("weights.safetensors", "--out", "weights.safetensors"), "is the input as well"),
        (("weights.npz", "--out", "m.safetensors", "--elements", "C,Cc"), "'Cc' is no chemical symbol"),
        (("weights.npz", "--out", "m.safetensors", "--elements", "Zn"), "embeddings up to element 9 only"),
        (("weights.npz", "--out", "m.safetensors", "--gaussian-range", "0"), "must be a length above 0 Å"),
        (("broken.npz", "--out", "m.safetensors"), "broken.npz: is not a whole numpy archive"),
        (("structures.npz", "--out", "m.safetensors"), "structures.npz: has no array 'atom_embedding.embeddings.W'"),
        (("pickled.npz", "--out", "m.safetensors"), "pickled.npz: holds pickled objects, which are never read"),
    ],
)
def test_bad_input(run, weights, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.safetensors").mkdir()
    (tmp_path / "weights.safetensors").write_bytes(weights.read_bytes())
    (tmp_path / "broken.npz").write_bytes(weights.read_bytes()[:5000])
    np.savez(tmp_path / "structures.npz", numbers=[6], positions=np.zeros((1, 3)))
    np.savez(tmp_path / "pickled.npz", **random_arrays() | {"Dense.b": np.array([{}], dtype=object)})
    before = {entry.name: entry.read_bytes() for entry in tmp_path.iterdir() if entry.is_file()}
    result = run("convert", *words)
    assert result.code == 2
    assert said in result.error
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir() if entry.is_file()} == before
