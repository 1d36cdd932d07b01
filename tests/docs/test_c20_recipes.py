"""The frames that the C20 study learns from, how they are shared out, and the table of what was learned."""

import importlib
import json
from pathlib import Path

import ase
import numpy as np
import pytest
from ase.build import molecule

from atomlens.data.dataset import Dataset
from atomlens.data.units import KCAL_PER_MOL
from atomlens.evaluation import evaluate
from atomlens.model_file import load_model
from atomlens.study.data import read_labelled
from atomlens.training import RunConfig
from atomlens.training.config import read_yaml
from tests.simulate.pair_model import pair_model

FOLDER = Path(__file__).parents[2] / "experiments" / "c20"


@pytest.fixture
def study(monkeypatch):
    """The two scripts as modules; they import each other by their plain names."""
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("frames"), importlib.import_module("model_selection")


@pytest.fixture(scope="module")
def tetrahedron():
    return ase.Atoms("C4", 0.53 * np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]))


def trajectory(frames, atoms=2):
    rng = np.random.default_rng(0)
    positions = np.arange(atoms)[:, None] * np.array([1.4, 0, 0]) + 0.05 * rng.normal(size=(frames, atoms, 3))
    return Dataset.from_arrays(np.full(frames * atoms, 6), positions.reshape(-1, 3), np.full(frames, atoms), {})


@pytest.fixture
def steps(study):
    """The script of the whole study."""
    del study  # its path
    return importlib.import_module("study")


def test_a_step_is_repeated_for_other_settings_only(steps, tmp_path):
    made = []

    def make():
        made.append(1)
        (tmp_path / "summary.json").write_text(json.dumps({"settings": {"duration": 5.0 * len(made)}}))

    assert steps.once(tmp_path, make, duration=5.0)["settings"]["duration"] == 5.0
    steps.once(tmp_path, make, duration=5.0)
    assert len(made) == 1
    assert steps.once(tmp_path, make, duration=10.0)["settings"]["duration"] == 10.0  # not the shorter run once more
    assert len(made) == 2


def test_results_of_another_model_are_not_taken_for_those_of_this_one(steps, tmp_path):
    first, second = tmp_path / "first.npz", tmp_path / "second.npz"
    first.write_bytes(b"weights")
    second.write_bytes(b"others")
    steps.same_model(first, tmp_path)
    steps.same_model(first, tmp_path)
    with pytest.raises(SystemExit, match="another model"):
        steps.same_model(second, tmp_path)


def test_settings_are_the_rows_of_the_documents_table(study):
    _, selection = study
    rows = {(item.interactions, item.features, item.rho): (item.energy, item.forces) for item in selection.SETTINGS}
    assert rows == {
        (3, 64, 0.01): (0.228, 0.401),
        (6, 64, 0.01): (0.202, 0.217),
        (3, 128, 0.01): (0.188, 0.197),
        (6, 128, 0.01): (0.1002, 0.120),
        (6, 128, 0.1): (0.027, 0.171),
        (6, 128, 0.001): (0.238, 0.061),
        (6, 128, 0.0): (0.260, 0.058),
    }
    assert {*selection.FIRST_HALF, *selection.SECOND_HALF} == {item.name for item in selection.SETTINGS}
    best = min(selection.SETTINGS, key=lambda item: item.forces)
    assert selection.model_file(Path("out")) == Path("out") / best.name / "model.safetensors"


def test_labels_belong_to_their_positions(study, tetrahedron):
    frames, _ = study
    model = pair_model()
    found = frames.sample(model, tetrahedron, 5, equilibration=3)
    again = frames.sample(model, tetrahedron, 8, equilibration=0)
    np.testing.assert_array_equal(found["positions"], again["positions"][3:])
    assert np.ptp(found["positions"], axis=0).max() > 1e-4  # the atoms move
    for positions, energy, forces in zip(found["positions"], found["energy"], found["forces"], strict=True):
        predicted = model.predict(ase.Atoms(found["numbers"], positions))
        assert energy == pytest.approx(float(predicted["energy"]), abs=1e-12)
        np.testing.assert_allclose(forces, predicted["forces"], atol=1e-12)


def test_frames_are_sampled_at_the_documents_temperature(study, tetrahedron):
    frames, _ = study
    found = frames.sample(pair_model(), tetrahedron, 2400, equilibration=400)["temperature"]
    blocks = found.reshape(12, -1).mean(axis=1)  # of 200 fs; the thermostat forgets in 1 / (2 friction) = 50 fs
    assert found.mean() == pytest.approx(500.0, abs=3 * blocks.std(ddof=1) / np.sqrt(len(blocks)))
    assert found.std() == pytest.approx(500.0 * np.sqrt(2 / 12), rel=0.15)  # 12 quadratic degrees of freedom


def test_test_frames_are_later_than_all_others(study):
    frames, _ = study
    data = trajectory(1000)
    split = frames.blocks(data, train=600, validation=50, gap=40)
    learned = np.concatenate([split.train, split.validation])
    assert (len(split.train), len(split.validation)) == (600, 50)
    np.testing.assert_array_equal(split.test, np.arange(840, 1000))
    assert learned.max() < 800
    near = frames.between(split, gap=40)
    np.testing.assert_array_equal(np.sort(np.concatenate([learned, near])), np.arange(800))


def test_bonds_are_told_apart_by_length(study):
    _, selection = study
    lengths = selection.bonds(molecule("C6H6")[:6])
    assert lengths == pytest.approx([1.395] * 6, abs=2e-3)  # each bond of benzene's ring once
    kinds = selection.kinds_of_bonds(np.array([1.40, 1.42, 1.45, 1.52]))
    assert [kind["count"] for kind in kinds] == [2, 1, 1]
    assert kinds[0]["mean"] == pytest.approx(1.41)
    assert selection.kinds_of_bonds(np.array([1.41]))[2] == {"mean": None, "count": 0}


def test_recipe_has_no_cutoff_as_in_the_document():
    values = read_yaml(FOLDER / "c20.yaml")
    values["data"]["path"] = "given on the command line"
    found = RunConfig.parse(values).model.representation
    assert (found.cutoff, found.gaussian_spacing, found.gaussian_gamma) == (None, 0.1, 10.0)


@pytest.fixture
def small(study, tetrahedron, monkeypatch):
    """The whole selection at a size of seconds: one model of one block, on a few frames of four atoms."""
    frames, selection = study
    for module in study:
        monkeypatch.setattr(module, "cage", lambda _: tetrahedron)
        monkeypatch.setattr(module, "teacher", lambda _: pair_model())
    sizes = {"steps": 200, "train": 100, "validation": 20, "gap": 10}
    monkeypatch.setattr(selection, "frames", lambda data, out: frames.frames(data, out, **sizes))
    monkeypatch.setattr(selection, "GAP", sizes["gap"])
    monkeypatch.setattr(selection, "RELAXED", 0.5)
    monkeypatch.setattr(selection, "SETTINGS", (selection.Setting(1, 8, 0.0, 0.260, 0.058),))
    return selection


def test_selection_runs_once_and_judges_on_both_kinds_of_frames(small, tmp_path):
    results = small.selection(tmp_path, tmp_path, extra=("--epochs", "2"))
    name = small.SETTINGS[0].name
    found = results[name]
    counts = {part: {kind["count"] for kind in found[part].values()} for part in ("later", "between")}
    assert counts == {"later": {30}, "between": {40}}
    # Energies have no weight in the loss; their constant is fitted to the training frames, on which nothing is left.
    data = read_labelled(tmp_path / "frames.npz", {"energy": "energy:eV"})
    train = data.subset(np.array(json.loads((tmp_path / name / "split.json").read_text())["train"]))
    evaluation = evaluate(load_model(small.model_file(tmp_path, name)), train, title="")
    left = evaluation.predicted["energy"] - evaluation.labelled["energy"]
    assert left.mean() == pytest.approx(0.0, abs=1e-6)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("test.json")}
    assert small.selection(tmp_path, tmp_path) == results
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("test.json")} == times
    assert list(json.loads((tmp_path / "model_selection.json").read_text())["models"]) == [name]


def test_table_puts_ours_beside_the_documents(study):
    _, selection = study
    judged = {"energy": {"mae": 0.5 * KCAL_PER_MOL}, "forces": {"mae": 0.25 * KCAL_PER_MOL}}
    results = {
        item.name: {"later": judged, "between": judged, "seconds": 600.0, "bonds": [], "largest_bond_error": None}
        for item in selection.SETTINGS
    }
    lines = list(selection.table(results))
    assert len({line.count("|") for line in lines}) == 1
    assert lines[2] == "| 3 | 64 | 0.01 | 0.228 | 0.500 | 0.500 | 0.401 | 0.250 | 0.250 | 10 min |"
    assert len(lines) == 2 + 8
    kinds = [{"mean": 1.41, "count": 6}, {"mean": None, "count": 0}, {"mean": 1.52, "count": 6}]
    shown = list(selection.table_of_bonds(results, kinds))
    assert shown[2] == "| published | 1.410 (6), 1.520 (6) | 0.0000 |"
    assert shown[3].endswith("| other bonds |")
