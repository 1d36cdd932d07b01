"""Commands on other representations than SchNet and other properties than energies."""

import json

import numpy as np
import pytest
import torch
import yaml
from ase.build import bulk, molecule
from ase.io import read, write

import atomlens
from atomlens.data.units import from_internal
from atomlens.model import Model, ModelConfig
from atomlens.model_file import save_model
from atomlens.training import RunConfig

SMALL = {
    "schnet": ("--features", 8),
    "dtnn": ("--features", 8, "--interactions", 1),
    "behler_parrinello": ("--set", "model.representation.n_radial=6", "--set", "model.representation.n_angular=2"),
}
LABELS = ("--label", "energy=:eV", "--label", "dipole=:D", "--label", "homo=HOMO:Ha")


def saved(path, readouts, elements=(1, 6, 8), **representation):
    """A model with random weights."""
    torch.manual_seed(0)
    config = {"representation": representation or {"name": "schnet", "features": 8}, "readouts": readouts}
    save_model(Model(ModelConfig.parse(config), list(elements)), path)
    return path


@pytest.fixture(scope="session")
def molecules(tmp_path_factory):
    """Labelled water and methanol as another program would write them; a third of the orbital energies is missing."""
    rng = np.random.default_rng(0)
    frames = []
    for place in range(30):
        atoms = molecule(["H2O", "CH3OH"][place % 2])
        atoms.positions += 0.05 * rng.normal(size=atoms.positions.shape)
        arms = atoms.positions - atoms.get_center_of_mass()
        atoms.info = {"energy": -14.0 * len(atoms) + arms[0, 0], "dipole": -3.0 * arms[0]}
        if place % 3:
            atoms.info["HOMO"] = -0.3 + 0.01 * arms[0, 1]
        frames.append(atoms)
    path = tmp_path_factory.mktemp("molecules") / "molecules.xyz"
    write(path, frames, format="extxyz")
    return path


@pytest.fixture
def dipoles(tmp_path):
    return saved(tmp_path / "dipoles.safetensors", [{"name": "dipole"}, {"name": "intensive", "property": "homo"}])


@pytest.mark.parametrize("name", SMALL)
def test_every_command_on_every_representation(run, molecules, tmp_path, name):
    out = tmp_path / "run"
    words = ("--data", molecules, *LABELS, "--train", 20, "--validation", 4, "--epochs", 2, "--out", out)
    trained = run("train", *words, "--representation", name, *SMALL[name])
    assert trained.code == 0, trained.err
    assert "structures for train have no homo" in trained.err
    assert {"dipole, D", "homo, meV", "energy, eV"} <= {line.split("  ")[0] for line in trained.out.splitlines()}
    facts = json.loads(run("info", out, "--json").out)
    assert facts["config"]["representation"]["name"] == name
    assert facts["filters"].startswith("none" if name == "behler_parrinello" else "table of")
    evaluated = run("evaluate", out, molecules, *LABELS, "--json")
    counts = {quantity: errors["count"] for quantity, errors in json.loads(evaluated.out)["errors"].items()}
    assert counts == {"energy": 30, "dipole": 30, "homo": 20}
    explained = run("explain", out, molecules, *LABELS, "--show", "0", "--out", tmp_path / "explained", "--json")
    assert explained.code == 0, explained.err
    served = {panel["analysis"] for panel in json.loads(explained.out)["panels"] if "unavailable" not in panel}
    assert {"contributions", "chemical-potential", "electrostatics", "errors", "bond-breaking"} <= served
    assert ("embeddings" in served) == (name != "behler_parrinello")
    predicted = run("predict", out, molecules, "--out", tmp_path / "p.xyz")
    assert "(energy, atom_energies, dipole, dipole_magnitude, charges, homo, atom_homo, forces)" in predicted.out


class TestPredictJson:
    def test_every_property_with_its_unit(self, run, dipoles, structures, tmp_path):
        found = json.loads(run("predict", dipoles, structures, "--out", tmp_path / "p.npz", "--json").out)
        assert set(found) == {"structures", "out", "properties"}
        expected = atomlens.load(dipoles).predict(read(structures, ":"))
        units = {"dipole": "e*Ang", "dipole_magnitude": "e*Ang", "homo": "eV"}
        assert {name: entry["unit"] for name, entry in found["properties"].items()} == units
        for name, entry in found["properties"].items():
            np.testing.assert_allclose(entry["values"], [one[name] for one in expected], atol=1e-6)

    def test_null_where_a_structure_has_none(self, run, tmp_path):
        path = saved(tmp_path / "m.safetensors", [{"name": "energy"}], elements=(1, 8, 29))
        write(tmp_path / "both.xyz", [molecule("H2O"), bulk("Cu")], format="extxyz")
        found = json.loads(run("predict", path, tmp_path / "both.xyz", "--out", tmp_path / "p.npz", "--json").out)
        stress = found["properties"]["stress"]
        assert stress["unit"] == "eV/Ang^3"
        assert stress["values"][0] is None
        assert np.shape(stress["values"][1]) == (3, 3)
        assert found["energy"] == found["properties"]["energy"]["values"]
        assert found["unit"] == "eV"


def test_evaluate_in_units_of_the_field(run, dipoles, structures, tmp_path):
    run("predict", dipoles, structures, "--out", tmp_path / "p.npz")
    arrays = dict(np.load(tmp_path / "p.npz"))
    shift = from_internal(1.0, "D")
    np.savez(tmp_path / "off.npz", **{**arrays, "dipole": arrays["dipole"] + 1.0})
    shown = run("evaluate", dipoles, tmp_path / "off.npz").out.splitlines()
    (line,) = [line for line in shown if line.startswith("dipole, D")]
    assert float(line.split()[2]) == pytest.approx(shift, rel=1e-3)


def test_explaining_a_model_without_energies(run, dipoles, structures, tmp_path):
    result = run("explain", dipoles, structures, "--show", "0", "--out", tmp_path / "out", "--json")
    assert result.code == 0, result.err
    panels = {panel["analysis"]: panel for panel in json.loads(result.out)["panels"] if panel["structure"]}
    assert "no model here predicts energy" in panels["chemical-potential"]["unavailable"]
    assert "unavailable" not in panels["electrostatics"]


class TestTemplate:
    def test_takes_the_representation_and_labels_into_account(self, run):
        words = ("--representation", "dtnn", "--label", "dipole=mu:D", "--label", "gap=gap:eV", "--data", "x.npz")
        text = run("train", "--template", *words, "--epochs", 7).out
        assert "passes; all share one tensor layer" in text
        config = RunConfig.parse(yaml.safe_load(text))
        assert config.model.representation.name == "dtnn"
        assert [readout.name for readout in config.model.readouts] == ["dipole", "intensive"]
        assert config.model.readouts[1].property == "gap"
        assert config.data.labels == {"dipole": "mu:D", "gap": "gap:eV"}
        assert (config.data.path, config.training.epochs) == ("x.npz", 7)

    def test_of_a_recipe(self, run):
        config = RunConfig.parse(yaml.safe_load(run("train", "--template", "--recipe", "dtnn", "--epochs", 9).out))
        assert (config.training.optimizer, config.training.epochs) == ("sgd", 9)
        assert config.model.readouts[0].activation == "tanh"

    def test_completes_a_run_file(self, run, tmp_path):
        (tmp_path / "run.yaml").write_text("data: {path: y.npz}\nmodel: {representation: {features: 7}}\n")
        config = RunConfig.parse(yaml.safe_load(run("train", tmp_path / "run.yaml", "--template").out))
        assert config.model.representation.features == 7


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--representation", "bp"), "unknown representation 'bp'; known are behler_parrinello, dtnn, schnet"),
        (("--representation", "schnett"), "did you mean 'schnet'?"),
        (
            ("--representation", "behler_parrinello", "--features", 8),
            "representation 'behler_parrinello': unknown configuration key 'features'; known are angular",
        ),
        (("--representation", "dtnn", "--cutoff", 5), "with a cutoff set cutoff_function to 'smooth'"),
        (
            ("--representation", "behler_parrinello", "--exact-filters"),
            "looks nothing up in tables; leave the flag out",
        ),
        (("--recipe", "schnet-force"), "unknown recipe 'schnet-force'; did you mean 'schnet-forces'?"),
        (("--label", "mu=dipole:D"), "unknown quantity 'mu'; it is called dipole_magnitude here"),
        (("--label", "formation_energy=energy:eV"), "'eV' is not a unit of formation_energy; give one like eV/atom"),
        ((), "(labels: none; other keys of the file: HOMO, dipole, energy)"),
    ],
)
def test_bad_wishes(run, molecules, tmp_path, words, said):
    sizes = ("--train", 20, "--validation", 5, "--epochs", 1)
    result = run("train", "--data", molecules, *words, *sizes, "--out", tmp_path / "out")
    assert result.code == 2
    assert said in result.error
    assert not (tmp_path / "out").exists()


def test_open_structures_have_no_stress_to_learn(run, tmp_path):
    frames = [bulk("Cu", cubic=True) for _ in range(8)]
    rng = np.random.default_rng(0)
    for place, atoms in enumerate(frames):
        atoms.rattle(0.05, rng=rng)
        atoms.info = {"energy": 0.1 * place, "stress": 0.01 * np.eye(3)}
    frames[3].pbc = (True, True, False)
    write(tmp_path / "cu.xyz", frames, format="extxyz")
    labels = ("--label", "energy=:eV", "--label", "stress=:eV/Ang^3", "--set", "training.loss={energy: 1, stress: 1}")
    words = ("--train", 5, "--validation", 3, "--epochs", 1, "--out", tmp_path / "out")
    message = run("train", "--data", tmp_path / "cu.xyz", *labels, *words).error
    assert "cu.xyz, structure 3: is not periodic in three directions and has no stress" in message
