"""Bad input gets one sentence that names file, structure and atom, exit code 2, and leaves nothing behind."""

import json

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.io import write
from words import LABELS


@pytest.fixture
def predict(run, model_path, tmp_path):
    """Predict a file and return the message; nothing may be written."""

    def predict_file(path):
        out = tmp_path / "predicted.xyz"
        result = run("predict", model_path, path, "--out", out)
        assert result.code == 2, result.err
        assert not out.exists()
        return result.error

    return predict_file


def xyz(path, *frames):
    write(path, list(frames))
    return path


class TestStructures:
    def test_missing_file(self, predict, tmp_path):
        assert "none.xyz" in predict(tmp_path / "none.xyz")

    @pytest.mark.parametrize("name", ["empty.xyz", "empty.npz", "empty.cif", "empty.db"])
    def test_empty_file(self, predict, tmp_path, name):
        (tmp_path / name).write_bytes(b"")
        assert name in predict(tmp_path / name)

    @pytest.mark.parametrize("name", ["noise.xyz", "noise.npz", "noise.cif", "noise.db", "noise.unknown"])
    def test_unreadable_file(self, predict, tmp_path, name):
        (tmp_path / name).write_bytes(bytes(range(256)))
        assert name in predict(tmp_path / name)

    @pytest.mark.parametrize("value", ["nan", "inf"])
    def test_position_that_is_not_finite(self, predict, tmp_path, value):
        good = "3\n\nO 0 0 0\nH 0 0 1\nH 0 1 0\n"
        (tmp_path / "w.xyz").write_text(good + good.replace("H 0 1 0", f"H 0 {value} 0"))
        message = predict(tmp_path / "w.xyz")
        assert "w.xyz, structure 1, atom 2" in message
        assert "finite" in message

    def test_atoms_closer_than_a_fifth_of_an_angstrom(self, predict, tmp_path):
        clash = Atoms("OH", positions=[[0, 0, 0], [0, 0, 0.15]])
        message = predict(xyz(tmp_path / "c.xyz", molecule("H2O"), clash))
        assert "c.xyz, structure 1" in message
        assert "atom 0 (O) and atom 1 (H) are 0.150 Å apart" in message

    def test_element_never_seen_is_named(self, predict, tmp_path):
        message = predict(xyz(tmp_path / "n.xyz", molecule("H2O"), molecule("CH3CN")))
        assert "n.xyz, structure 1, atom 2: N is an element that the model never saw" in message

    def test_periodic_without_a_cell(self, predict, tmp_path):
        np.savez(tmp_path / "p.npz", numbers=[1, 8], positions=np.eye(3)[None, :2], pbc=[[True, True, True]])
        message = predict(tmp_path / "p.npz")
        assert "p.npz, structure 0" in message
        assert "no lattice vector" in message

    def test_singular_cell(self, predict, tmp_path):
        cell = np.array([[[3.0, 0, 0], [0, 3.0, 0], [3.0, 3.0, 0]]])
        np.savez(tmp_path / "s.npz", numbers=[1, 8], positions=np.eye(3)[None, :2], cell=cell)
        message = predict(tmp_path / "s.npz")
        assert "s.npz, structure 0" in message
        assert "singular" in message


class TestLabels:
    def refused(self, run, out, *words):
        result = run("train", *words, "--out", out)
        assert result.code == 2, result.err
        assert not out.exists()
        return result.error

    def test_unit_not_stated(self, run, archive, tmp_path):
        message = self.refused(run, tmp_path / "out", "--data", archive, "--label", "energy=E")
        assert "water.npz" in message
        assert "unit" in message

    def test_unknown_unit(self, run, archive, tmp_path):
        message = self.refused(run, tmp_path / "out", "--data", archive, "--label", "energy=E:kcal/mole")
        assert "unknown unit 'kcal/mole'" in message
        assert "did you mean 'mol'" in message

    def test_unit_of_another_dimension(self, run, archive, tmp_path):
        message = self.refused(run, tmp_path / "out", "--data", archive, "--label", "energy=E:bohr")
        assert "'bohr' is not a unit of energy" in message

    def test_missing_label(self, run, archive, tmp_path):
        message = self.refused(run, tmp_path / "out", "--data", archive, "--label", "energy=energies:eV")
        assert "water.npz" in message
        assert "'energies'" in message

    def test_wrong_shape(self, run, tmp_path):
        np.savez(tmp_path / "w.npz", numbers=[1, 1], positions=np.arange(30.0).reshape(5, 2, 3), E=np.zeros((5, 2)))
        message = self.refused(run, tmp_path / "out", "--data", tmp_path / "w.npz", "--label", "energy=E:eV")
        assert "w.npz" in message
        assert "shape" in message

    def test_label_that_is_not_known_for_one_structure(self, run, archive, tmp_path):
        arrays = dict(np.load(archive))
        arrays["E"][17] = np.nan
        np.savez(tmp_path / "gap.npz", **arrays)
        words = ("--data", tmp_path / "gap.npz", "--train", 40, "--validation", 10, "--epochs", 1)
        with_forces = run("train", *words, *LABELS, "--out", tmp_path / "forces")
        assert with_forces.code == 0, with_forces.err
        assert with_forces.err.count("structures for") <= 1  # it may be one of the test set
        energies = run("train", *words, *LABELS[:2], "--out", tmp_path / "energies")
        assert energies.code == 0, energies.err
        assert "1 structures have none of the labels and are left out" in energies.err

    def test_too_few_structures(self, run, archive, tmp_path):
        message = self.refused(run, tmp_path / "out", "--data", archive, *LABELS, "--train", 1000)
        assert "cannot split 60 structures" in message


class TestSettings:
    def test_misspelt_key_in_a_run_file(self, run, tmp_path):
        (tmp_path / "run.yaml").write_text("data: {path: x.npz}\ntraining: {epoch: 3}\n")
        result = run("train", tmp_path / "run.yaml", "--out", tmp_path / "out")
        assert result.code == 2
        assert "run.yaml: unknown configuration key 'training.epoch'; did you mean 'epochs'?" in result.error
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("train", "--data", "x.npz"), "--out is missing"),
            (("train", "--out", "{tmp}/o"), "no data given"),
            (("train", "--data", "x.npz", "--out", "{tmp}/o", "--set", "epochs"), "--set takes KEY=VALUE"),
            (("train", "--data", "x.npz", "--out", "{tmp}/o", "--set", "trainig.epochs=3"), "did you mean 'training'"),
            (("train", "--data", "x.npz", "--out", "{tmp}/o", "--label", "energy"), "--label takes NAME=KEY:UNIT"),
            (("train", "--resume", "--out", "{tmp}/o"), "holds no run to resume"),
            (("train", "--data", "x.npz", "--out", "{tmp}/o", "--set", "model.representation.featurs=3"), "'features'"),
            (("study",), "a structure and --out are needed"),
            (("study", "ethanoll", "--out", "{tmp}/o"), "did you mean 'ethanol'"),
            (("study", "ethanol", "--out", "{tmp}/o", "--set", "sampling.wlakers=3"), "did you mean 'walkers'"),
        ],
    )
    def test_flags(self, run, tmp_path, words, said):
        result = run(*(word.format(tmp=tmp_path) for word in words))
        assert result.code == 2
        assert said in result.error

    def test_unknown_suffix_of_predictions(self, run, model_path, structures, tmp_path):
        result = run("predict", model_path, structures, "--out", tmp_path / "o.csv")
        assert result.code == 2
        assert ".csv" in result.error


class TestModelFiles:
    @pytest.mark.parametrize("command", ["info", "evaluate", "predict", "explain"])
    def test_truncated(self, run, model_path, structures, tmp_path, command):
        broken = tmp_path / "broken.safetensors"
        broken.write_bytes(model_path.read_bytes()[:-20])
        words = {
            "info": [broken],
            "evaluate": [broken, structures],
            "predict": [broken, structures, "--out", tmp_path / "o.xyz"],
            "explain": [broken, structures, "--out", tmp_path / "o"],
        }[command]
        result = run(command, *words)
        assert result.code == 2
        assert "broken.safetensors: is truncated" in result.error
        assert not (tmp_path / "o").exists()

    def test_altered(self, run, model_path, tmp_path):
        content = bytearray(model_path.read_bytes())
        content[-9] ^= 4
        (tmp_path / "altered.safetensors").write_bytes(content)
        assert "altered.safetensors: was altered" in run("info", tmp_path / "altered.safetensors").error

    @pytest.mark.parametrize("device", ["cuda", "nonsense"])
    def test_device_that_is_not_there(self, run, model_path, structures, tmp_path, device):
        if torch.cuda.is_available():
            pytest.skip("there is a GPU")
        result = run("predict", model_path, structures, "--out", tmp_path / "o.xyz", "--device", device)
        assert result.code == 2
        assert f"--device {device} cannot be used here" in result.error


class TestFiles:
    def test_predictions_never_overwrite_their_input(self, run, model_path, tmp_path):
        path = xyz(tmp_path / "mine.xyz", molecule("H2O"))
        before = path.read_bytes()
        result = run("predict", model_path, path, "--out", path)
        assert result.code == 2
        assert "is the input as well" in result.error
        assert path.read_bytes() == before

    def test_subset_without_a_split(self, run, model_path, structures):
        result = run("evaluate", model_path, structures, "--subset", "train")
        assert result.code == 2
        assert "--subset needs --split" in result.error

    @pytest.mark.parametrize("command", ["predict", "explain", "train"])
    def test_outputs_that_cannot_be_made(self, run, model_path, archive, structures, tmp_path, command):
        (tmp_path / "file").write_text("in the way")
        out = tmp_path / "file" / "out.xyz"
        words = {
            "predict": [model_path, structures],
            "explain": [model_path, structures],
            "train": ["--data", archive, *LABELS, "--train", 40, "--validation", 10, "--epochs", 1],
        }[command]
        result = run(command, *words, "--out", out)
        assert result.code == 2
        assert "file" in result.error

    def test_an_atom_far_away_makes_no_endless_grid(self, run, model_path, tmp_path):
        far = molecule("H2O")
        far.positions[2] += [1e6, 0, 0]
        words = ("--analysis", "chemical-potential", "--json", "--out", tmp_path / "out")
        result = run("explain", model_path, xyz(tmp_path / "far.xyz", far), *words)
        assert result.code == 0, result.err
        (panel,) = json.loads(result.out)["panels"]
        assert "over a million points" in panel["unavailable"]


class TestFolders:
    @pytest.mark.parametrize("command", ["train", "explain", "study"])
    def test_output_folder_that_is_not_empty(self, run, archive, model_path, structures, tmp_path, command):
        (tmp_path / "precious.txt").write_text("mine")
        words = {
            "train": ["--data", archive, *LABELS],
            "explain": [model_path, structures],
            "study": ["water"],
        }[command]
        result = run(command, *words, "--out", tmp_path)
        assert result.code == 2
        assert "is not empty" in result.error
        assert [entry.name for entry in tmp_path.iterdir()] == ["precious.txt"]


class TestExplain:
    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("--probe", "N"), "N is an element that the model never saw"),
            (("--plane", "0,1"), "--plane takes three atoms"),
            (("--plane", "0,1,9"), "there is no atom 9"),
            (("--show", "5"), "there is no structure 5"),
            (("--show", "a"), "--show takes numbers such as 0,1,2, not 'a'"),
            (("--analysis", "contribution"), "unknown analysis 'contribution'; did you mean 'contributions'?"),
            (("--isovalue", "-1"), "--isovalue must be above 0"),
            (("--show", "²"), "--show takes numbers"),
            (("--plane", "0,0,1"), "three different atoms"),
        ],
    )
    def test_impossible_wishes(self, run, model_path, structures, tmp_path, words, said):
        result = run("explain", model_path, structures, "--out", tmp_path / "out", *words)
        assert result.code == 2
        assert said in result.error
        assert not (tmp_path / "out").exists()

    def test_a_model_without_structures(self, run, model_path, tmp_path):
        result = run("explain", model_path, "--out", tmp_path / "out")
        assert result.code == 2
        assert "a model and structures, in this order" in result.error

    def test_structures_that_no_model_serves(self, run, model_path, tmp_path):
        path = xyz(tmp_path / "n.xyz", molecule("H2O"), molecule("NH3"))
        result = run("explain", model_path, model_path, path, "--out", tmp_path / "out")
        assert result.code == 2
        assert "n.xyz, structure 1, atom 0: N is an element that the model never saw" in result.error
        assert not (tmp_path / "out").exists()
