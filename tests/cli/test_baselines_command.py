"""``atomlens baselines`` as a user runs it."""

import csv
import json

import pytest
from words import KCAL, LABELS

pytest.importorskip("sklearn")
RUN = """
data: {path: PATH, labels: {energy: "E:kcal/mol", forces: "F:kcal/mol/Ang"}, check: "off"}
split: {train: 30, validation: 10, test: 15}
model: {representation: {name: schnet, features: 8, interactions: 1, cutoff: 3.0}}
training: {epochs: 2}
"""


@pytest.fixture
def run_file(tmp_path, archive):
    path = tmp_path / "run.yaml"
    path.write_text(RUN.replace("PATH", str(archive)))
    return path


@pytest.fixture
def trained(run, run_file, tmp_path):
    folder = tmp_path / "net"
    assert run("train", run_file, "--out", folder).code == 0
    return folder


def test_table_beside_a_trained_model(run, run_file, trained, tmp_path):
    out = tmp_path / "out"
    found = run("baselines", run_file, "--only", "mean", "--only", "bag_of_bonds", "--model", trained, "--out", out)
    assert found.code == 0, found.err
    assert "energy, kcal/mol: 15 structures never seen, 30 learned from, 10 to choose by" in found.out
    for name in ("mean", "bag_of_bonds", "net"):
        assert name in found.out
    saved = json.loads((out / "baselines.json").read_text())
    rows = {row["name"]: row for row in saved["rows"]}
    test = json.loads((trained / "test.json").read_text())
    assert rows["net"]["errors"]["energy"]["mae"] == pytest.approx(test["test"]["energy"]["mae"])
    assert rows["net"]["seconds"]["fit"] == test["seconds"]
    assert saved["split"]["hash"] == json.loads((trained / "split.json").read_text())["hash"]
    assert set(rows["mean"]["errors"]) == {"energy", "forces"}
    assert set(rows["bag_of_bonds"]["errors"]) == {"energy"}
    assert rows["bag_of_bonds"]["errors"]["energy"]["mae"] < rows["mean"]["errors"]["energy"]["mae"]
    with (out / "baselines.csv").open() as file:
        table = {(row["quantity"], row["name"]): row for row in csv.DictReader(file)}
    expected = rows["mean"]["errors"]["energy"]["mae"] / KCAL
    assert table["energy", "mean"]["unit"] == "kcal/mol"
    assert float(table["energy", "mean"]["mae"]) == pytest.approx(expected)
    assert {path.name for path in out.glob("*.png")} == {"baselines_energy.png", "baselines_forces.png"}


def test_finished_baselines_are_kept(run, run_file, tmp_path):
    out = tmp_path / "out"
    assert run("baselines", run_file, "--only", "mean", "--out", out).code == 0
    saved = json.loads((out / "baselines.json").read_text())
    saved["rows"][0]["what"] = "kept from before"
    (out / "baselines.json").write_text(json.dumps(saved))
    assert "not empty" in run("baselines", run_file, "--only", "mean", "--out", out).error
    again = run("baselines", run_file, "--only", "mean", "--only", "composition", "--resume", "--out", out, "--json")
    assert [row["name"] for row in json.loads(again.out)["rows"]] == ["mean", "composition"]
    assert json.loads(again.out)["rows"][0]["what"] == "kept from before"


def test_baselines_of_another_split_are_not_taken_up(run, run_file, tmp_path):
    out = tmp_path / "out"
    assert run("baselines", run_file, "--only", "mean", "--out", out).code == 0
    found = run("baselines", run_file, "--only", "mean", "--set", "split.seed=1", "--resume", "--out", out)
    assert found.code == 2
    assert "holds baselines of another split" in found.error


def test_a_model_of_another_split_is_refused(run, run_file, trained, tmp_path):
    out = tmp_path / "out"
    other = tmp_path / "net2"
    assert run("train", run_file, "--set", "split.seed=1", "--out", other).code == 0
    found = run("baselines", run_file, "--only", "mean", "--model", trained, "--model", other, "--out", out)
    assert found.code == 2
    assert "was trained on the split" in found.error
    assert not out.exists()
    found = run(
        "baselines", run_file, "--only", "mean", "--split", other / "split.json", "--model", other, "--out", out
    )
    assert found.code == 0


def test_an_unknown_baseline_is_refused(run, run_file, tmp_path):
    found = run("baselines", run_file, "--only", "bag_of_bond", "--out", tmp_path / "out")
    assert found.code == 2
    assert "did you mean 'bag_of_bonds'" in found.error


def test_data_and_labels_by_flags(run, run_file, archive, tmp_path):
    run_file.write_text("split: {train: 30, validation: 10, test: 15}\n")
    words = ("--data", archive, *LABELS, "--only", "mean", "--out", tmp_path / "out", "--json")
    found = run("baselines", run_file, "--set", 'data.check="off"', *words)
    assert found.code == 0, found.err
    assert json.loads(found.out)["labels"] == ["energy", "forces"]


def test_what_cannot_be_done_is_told(run, run_file, tmp_path):
    found = run("baselines", run_file, "--only", "mean", "--only", "sine_matrix", "--out", tmp_path / "out")
    assert found.code == 0
    assert "sine_matrix: serves structures that are periodic in three directions; these are others" in found.out
