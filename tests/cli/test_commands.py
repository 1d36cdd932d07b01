import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule
from ase.io import read, write
from words import KCAL, LABELS

import atomlens
from atomlens.training.log import read_log

SMALL = ("--train", 40, "--validation", 10, "--features", 16, "--interactions", 1)


@pytest.fixture(scope="module")
def trained(archive, tmp_path_factory):
    """A short run, made by the installed command itself."""
    out = tmp_path_factory.mktemp("train") / "run"
    command = [Path(sys.executable).with_name("atomlens"), "train", "--data", archive, *LABELS, *SMALL, "--epochs", 30]
    finished = subprocess.run(
        [*map(str, command), "--out", str(out), "--json"], capture_output=True, text=True, check=True
    )
    return out, json.loads(finished.stdout)


class TestTrain:
    def test_leaves_model_log_split_and_test(self, trained):
        out, report = trained
        names = {entry.name for entry in out.iterdir()}
        assert {
            "run.yaml",
            "split.json",
            "log.csv",
            "model.safetensors",
            "checkpoint.safetensors",
            "test.json",
        } <= names
        assert report == json.loads((out / "test.json").read_text())
        assert report["test"]["energy"]["count"] == 10
        assert report["test"]["forces"]["mae"] < report["test"]["forces"]["mean_predictor_mae"]

    def test_units_were_converted(self, trained, archive):
        out, report = trained
        energies = np.load(archive)["E"] * KCAL
        split = json.loads((out / "split.json").read_text())
        mean = energies[split["train"]].mean()
        expected = np.abs(energies[split["test"]] - mean).mean()
        assert report["test"]["energy"]["mean_predictor_mae"] == pytest.approx(expected, rel=1e-6)

    def test_resumes_from_its_own_folder(self, run, trained):
        out, report = trained
        before = (out / "model.safetensors").read_bytes()
        result = run("train", "--resume", "--out", out, "--json")
        assert result.code == 0, result.err
        assert json.loads(result.out)["steps"] == report["steps"]
        assert (out / "model.safetensors").read_bytes() == before

    def test_run_file_with_flags_and_settings_on_top(self, run, archive, tmp_path):
        (tmp_path / "run.yaml").write_text(
            f"data:\n  path: {archive}\n  labels: {{energy: 'E:kcal/mol', forces: 'F:kcal/mol/Ang'}}\n"
            "split: {train: 30, validation: 5, test: 5}\n"
            "training: {epochs: 50, batch_size: 10}\n"
        )
        words = (tmp_path / "run.yaml", "--out", tmp_path / "out", "--epochs", 2, "--set", "training.batch_size=15")
        result = run("train", *words, "--set", "model.representation={name: schnet, features: 8}")
        assert result.code == 0, result.err
        rows = read_log(tmp_path / "out" / "log.csv")
        assert [row["step"] for row in rows] == [2, 4]
        assert "5 structures never seen" in result.out

    def test_template_is_a_run_file(self, run, archive, tmp_path):
        template = run("train", "--template").out.replace("path: null", f"path: {archive}", 1)
        template = template.replace("labels: null", "labels: {energy: 'E:kcal/mol'}").replace(
            "epochs: 300", "epochs: 1"
        )
        template = template.replace("train: 1000", "train: 40").replace("validation: 200", "validation: 10")
        (tmp_path / "run.yaml").write_text(template)
        assert run("train", tmp_path / "run.yaml", "--out", tmp_path / "out").code == 0

    def test_a_setting_by_its_path_needs_no_name(self, run, archive, tmp_path):
        words = (
            "--data",
            archive,
            *LABELS,
            "--train",
            40,
            "--validation",
            10,
            "--epochs",
            1,
            "--out",
            tmp_path / "out",
        )
        result = run("train", *words, "--set", "model.representation.features=8")
        assert result.code == 0, result.err
        shape = atomlens.load(tmp_path / "out" / "model.safetensors").representation.embedding.weight.shape
        assert shape[1] == 8

    def test_interrupted_it_says_how_to_go_on(self, archive, tmp_path):
        out = tmp_path / "run"
        command = [Path(sys.executable).with_name("atomlens"), "train", "--data", archive, *LABELS, *SMALL]
        process = subprocess.Popen(
            [*map(str, command), "--epochs", "100000", "--out", str(out)], stderr=subprocess.PIPE, text=True
        )
        while not (out / "log.csv").is_file() or len((out / "log.csv").read_text().splitlines()) < 3:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=60)
        assert process.returncode == 130
        assert f"--resume --out {out}" in complaints
        assert (out / "checkpoint.safetensors").is_file()


class TestEvaluate:
    def test_of_the_split_gives_the_numbers_of_training(self, run, trained, archive):
        out, report = trained
        words = ("--split", out / "split.json", "--subset", "test", "--json")
        result = run("evaluate", out / "model.safetensors", archive, *LABELS, *words)
        assert result.code == 0, result.err
        found = json.loads(result.out)["errors"]
        for name, errors in report["test"].items():
            assert found[name]["mae"] == pytest.approx(errors["mae"], rel=1e-9)

    def test_prints_a_table_in_both_units(self, run, trained, archive):
        out, _ = trained
        result = run("evaluate", out / "model.safetensors", archive, *LABELS)
        assert result.code == 0, result.err
        assert "on 60 structures of" in result.out
        assert "forces, kcal/mol/Å" in result.out
        assert "forces, eV/Å" in result.out
        assert "atom counts" in result.out


class TestPredict:
    @pytest.mark.parametrize("suffix", [".xyz", ".npz", ".json"])
    def test_writes_what_the_model_says(self, run, model_path, structures, tmp_path, suffix):
        out = tmp_path / f"out{suffix}"
        result = run("predict", model_path, structures, "--out", out, "--json")
        assert result.code == 0, result.err
        expected = [float(atomlens.load(model_path).predict(atoms)["energy"]) for atoms in read(structures, ":")]
        np.testing.assert_allclose(json.loads(result.out)["energy"], expected, rtol=1e-6)
        back = atomlens.read_dataset(out)
        np.testing.assert_allclose(back.labels["energy"], expected, rtol=1e-6)

    def test_what_it_writes_can_be_evaluated_and_is_exact(self, run, model_path, structures, tmp_path):
        run("predict", model_path, structures, "--out", tmp_path / "out.xyz")
        result = run("evaluate", model_path, tmp_path / "out.xyz", "--json")
        assert result.code == 0, result.err
        assert json.loads(result.out)["errors"]["forces"]["mae"] < 1e-5

    def test_compositions_that_training_never_had_are_noted(self, run, trained, tmp_path):
        write(tmp_path / "peroxide.xyz", [molecule("H2O2"), molecule("H2O")])
        result = run("predict", trained[0], tmp_path / "peroxide.xyz", "--out", tmp_path / "o.xyz")
        assert result.code == 0, result.err
        assert "note: H2O2 did not occur in training, which knew H2O" in result.err

    def test_energies_alone(self, run, model_path, structures, tmp_path):
        assert run("predict", model_path, structures, "--out", tmp_path / "o.npz", "--no-forces").code == 0
        assert "forces" not in np.load(tmp_path / "o.npz").files


class TestExplain:
    def test_numbers_figures_and_the_page(self, run, model_path, structures, tmp_path):
        out = tmp_path / "out"
        chosen = ("--analysis", "contributions", "--analysis", "chemical-potential", "--analysis", "electrostatics")
        words = (*chosen, "--probe", "o", "--plane", "0,1,2", "--show", 1, "--json", "--out", out)
        result = run("explain", model_path, structures, *words)
        assert result.code == 0, result.err
        summary = json.loads(result.out)
        assert summary == json.loads((out / "summary.json").read_text())
        panels = {(panel["analysis"], panel["structure"]): panel for panel in summary["panels"]}
        name = "1 C2H6O"
        terms = atomlens.load(model_path).predict(molecule("CH3CH2OH"))["atom_energies"]
        references = {"H": -13.6, "C": -1030.0, "O": -2040.0}
        found = json.loads((out / panels["contributions", name]["folder"] / "panel.json").read_text())
        expected = terms - [references[symbol] for symbol in found["symbols"]]
        np.testing.assert_allclose(found["values"], expected, atol=1e-5)
        probed = (out / panels["chemical-potential", name]["folder"] / "panel.json").read_text()
        assert "the plane through C0, C1 and O2" in probed
        assert "no model here predicts charges" in panels["electrostatics", name]["unavailable"]
        for panel in summary["panels"]:
            stored = json.loads((out / panel["folder"] / "panel.json").read_text())
            words = ("unavailable", "reading", "trust", "checks")
            assert {key: panel[key] for key in words if key in panel} == {
                key: stored[key] for key in words if key in stored
            }
            for file in (*panel["figures"], *panel["files"]):
                assert (out / file).stat().st_size > 0
                assert not file.endswith(".svg") or (out / file).with_suffix(".png").is_file()
        assert (out / "report.html").stat().st_size > 10_000

    def test_several_models_have_names_of_their_own(self, run, model_path, structures, tmp_path):
        words = ("--analysis", "stability", "--json", "--out", tmp_path / "out")
        result = run("explain", model_path, model_path, structures, *words)
        assert result.code == 0, result.err
        names = [model["name"] for model in json.loads(result.out)["models"]]
        assert len(set(names)) == 2

    def test_the_help_names_every_analysis(self, run):
        from atomlens.explain.analyses import ANALYSES

        text = " ".join(run("explain", "--help").out.split())
        assert all(name in text for name in ANALYSES)


class TestInfo:
    def test_tells_what_the_model_is(self, run, trained):
        out, report = trained
        facts = json.loads(run("info", out / "model.safetensors", "--json").out)
        assert facts["elements"] == ["H", "O"]
        assert facts["units"]["forces"] == "eV/Ang"
        assert facts["provenance"]["best_epoch"] == report["best_epoch"]
        assert facts["provenance"]["split"]["hash"] == json.loads((out / "split.json").read_text())["hash"]

    def test_as_text(self, run, model_path):
        assert "elements:" in run("info", model_path).out

    def test_certificate_of_the_table(self, run, model_path):
        facts = json.loads(run("info", model_path, "--json").out)
        (certificate,) = facts["tables"]
        assert set(certificate) == {"intervals", "end", "error", "bound"}
        assert certificate["error"] <= certificate["bound"] == 1e-6
        assert certificate["end"] == 5.0
        words = (
            f"table of {certificate['intervals']} intervals over 5 Å, interpolation error {certificate['error']:.1e} "
        )
        assert facts["filters"].startswith(f"{words}of their range (bound 1e-06); changes energy by ")
        assert words.strip() in " ".join(run("info", model_path).out.split())


class TestExactFilters:
    """``--exact-filters``: without the table, and so a little different."""

    def test_predict(self, run, model_path, structures, tmp_path):
        words = ("predict", model_path, structures, "--json", "--out")
        exact = json.loads(run(*words, tmp_path / "exact.xyz", "--exact-filters").out)["energy"]
        tabulated = json.loads(run(*words, tmp_path / "tabulated.xyz").out)["energy"]
        model = atomlens.load(model_path, exact_filters=True)
        expected = [float(found["energy"]) for found in model.predict(read(structures, ":"))]
        assert exact == expected
        assert exact != tabulated
        assert exact == pytest.approx(tabulated, abs=1e-4)

    def test_evaluate(self, run, model_path, structures, tmp_path):
        run("predict", model_path, structures, "--out", tmp_path / "out.xyz", "--exact-filters")
        words = ("evaluate", model_path, tmp_path / "out.xyz", "--json")
        exact, tabulated = (
            json.loads(run(*words, *flag).out)["errors"]["forces"]["mae"] for flag in (("--exact-filters",), ())
        )
        assert exact < tabulated

    def test_explain(self, run, model_path, structures, tmp_path):
        words = ("explain", model_path, structures, "--analysis", "contributions", "--json", "--out")
        assert run(*words, tmp_path / "exact", "--exact-filters").code == 0
        assert run(*words, tmp_path / "tabulated").code == 0
        one, other = (
            json.loads((tmp_path / name / "contributions" / "structure_1_C2H6O" / "panel.json").read_text())["values"]
            for name in ("exact", "tabulated")
        )
        assert one != other
        np.testing.assert_allclose(one, other, atol=1e-4)

    def test_train(self, run, archive, tmp_path):
        words = ("--data", archive, *LABELS, *SMALL, "--epochs", 1, "--exact-filters", "--out", tmp_path / "out")
        result = run("train", *words)
        assert result.code == 0, result.err
        facts = json.loads(run("info", tmp_path / "out", "--json").out)
        assert facts["config"]["representation"]["filter_accuracy"] is None
        assert facts["tables"] == []
        assert facts["filters"] == "evaluated for every pair, without a table"

    def test_study(self, run, monkeypatch, tmp_path):
        configs = []
        monkeypatch.setattr(
            "atomlens.study.pipeline.run_study", lambda *words, **_: configs.append(words[2].model.representation)
        )
        for flags in ((), ("--exact-filters",), ("--exact-filters", "--set", "model.representation.features=8")):
            assert run("study", "water", "--out", tmp_path / "out", *flags).code == 0
        assert [(config.filter_accuracy, config.features) for config in configs] == [(1e-6, 64), (None, 64), (None, 8)]


class TestHelp:
    @pytest.mark.parametrize("command", ["", "study", "train", "evaluate", "predict", "explain", "info"])
    def test_is_there(self, run, command):
        result = run(*([command] if command else []), "--help")
        assert result.code == 0
        assert "Usage" in result.out

    def test_needs_no_torch(self):
        code = "import sys; import atomlens.cli.app; sys.exit('torch' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

    def test_version(self, run):
        assert run("--version").out.startswith("atomlens ")

    def test_unknown_option_is_a_usage_error(self, run):
        assert run("info", "--nonsense").code == 2


def test_a_split_file_can_be_used_again(run, trained, archive, tmp_path):
    out, _ = trained
    words = ("--data", archive, *LABELS, "--features", 8, "--epochs", 1, "--split", out / "split.json")
    result = run("train", *words, "--out", tmp_path / "other")
    assert result.code == 0, result.err
    hashes = [json.loads((folder / "split.json").read_text())["hash"] for folder in (out, tmp_path / "other")]
    assert hashes[0] == hashes[1]


def test_what_atomlens_wrote_can_be_trained_on_without_naming_units(run, model_path, tmp_path):
    rng = np.random.default_rng(0)
    frames = []
    for _ in range(12):
        frame = molecule("H2O")
        frame.positions += 0.05 * rng.normal(size=(3, 3))
        frames.append(frame)
    write(tmp_path / "frames.xyz", frames)
    run("predict", model_path, tmp_path / "frames.xyz", "--out", tmp_path / "labelled.xyz")
    words = ("--train", 8, "--validation", 2, "--epochs", 1, "--features", 8)
    result = run("train", "--data", tmp_path / "labelled.xyz", *words, "--out", tmp_path / "out")
    assert result.code == 0, result.err
