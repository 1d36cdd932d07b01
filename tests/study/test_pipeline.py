"""A small study from end to end: what it leaves behind, and how it goes on."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import atomlens
from atomlens.errors import InputError
from atomlens.study.config import StudyConfig
from atomlens.study.pipeline import run_study

pytest.importorskip("tblite", reason="a study makes its reference data with tblite")

SMALL = {
    "sampling": {"walkers": 4, "frames_per_walker": 20, "equilibration": 50.0},
    "test_walkers": 1,
    "validation": 10,
    "model": {"representation": {"name": "schnet", "features": 16, "interactions": 2}},
    "training": {"epochs": 40, "batch_size": 10, "checkpoint_seconds": 0.05},
    "drift_duration": 50.0,
}


def small(**changes):
    return StudyConfig.with_defaults({**SMALL, **changes})


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study") / "water"
    return folder, run_study("water", folder, small())


def numbers(value):
    if isinstance(value, dict):
        return [n for entry in value.values() for n in numbers(entry)]
    if isinstance(value, list):
        return [n for entry in value for n in numbers(entry)]
    return [value] if isinstance(value, float) else []


def test_leaves_report_summary_model_and_figures(study):
    folder, summary = study
    assert {"report.html", "summary.json", "model.safetensors", "figures", "explanations", "reference", "training"} <= {
        entry.name for entry in folder.iterdir()
    }
    assert json.loads((folder / "summary.json").read_text()) == summary
    assert all(math.isfinite(number) for number in numbers(summary))
    names = {entry.stem for entry in (folder / "figures").iterdir()}
    assert names == {"energy_drift", "force_order", "learning_curve", "parity_energy", "parity_forces"}
    analyses = {panel["analysis"] for panel in summary["explanations"]["panels"]}
    assert analyses == {"contributions", "chemical-potential", "bond-breaking", "filters", "errors"}  # no ring
    assert all((folder / "explanations" / name).is_dir() for name in analyses)


def test_learned_something_and_kept_physics(study):
    _, summary = study
    assert summary["test"]["forces"]["mae"] < 0.3 * summary["test"]["forces"]["mean_predictor_mae"]
    checks = {check["name"]: check for check in summary["checks"]}
    assert {"translation", "rotation", "permutation", "forces", "force order", "energy drift"} <= set(checks)
    # A small model after a second of training is no good force field, but its symmetries and forces are exact.
    assert all(check["passed"] for name, check in checks.items() if name != "energy drift")


def test_contributions_of_free_atoms_sum_to_the_atomisation_energy(study):
    folder, summary = study
    values = json.loads((folder / "explanations" / "contributions" / "structure_water" / "panel.json").read_text())[
        "values"
    ]
    free = summary["reference"]["free_atom_energies"]
    model = atomlens.load(folder / "model.safetensors")
    from ase import Atoms

    data = atomlens.read_dataset(folder / "reference" / "data")
    relaxed = Atoms(data[0].numbers, data.metadata["relaxed"]["positions"])
    expected = float(model.predict(relaxed)["energy"]) - (2 * free["H"] + free["O"])
    assert sum(values) == pytest.approx(expected, abs=1e-4)


def test_tested_on_trajectories_never_trained_on(study):
    folder, _ = study
    split = json.loads((folder / "training" / "split.json").read_text())
    walker = atomlens.read_dataset(folder / "reference" / "data").metadata["walker"]
    assert {walker[k] for k in split["test"]} == {3}
    assert {walker[k] for k in split["train"] + split["validation"]} == {0, 1, 2}


def test_a_second_call_reuses_everything(study):
    folder, summary = study
    before = (folder / "model.safetensors").read_bytes()
    again = run_study("water", folder, small())
    assert (folder / "model.safetensors").read_bytes() == before
    assert again["reference"]["reused"]
    assert again["test"] == summary["test"]
    assert again["timings"]["training"] >= summary["timings"]["training"]


def test_other_settings_need_another_folder_or_retraining(study):
    folder, summary = study
    other = small(training={**SMALL["training"], "epochs": 3})
    with pytest.raises(InputError, match=r"another training\.epochs \(40 there, 3 now\)"):
        run_study("water", folder, other)
    retrained = run_study("water", folder, other, retrain=True)
    assert retrained["reference"]["data_hash"] == summary["reference"]["data_hash"]
    assert retrained["training"]["epochs"] == 3


def test_retraining_never_touches_the_study_of_another_molecule(study):
    folder, _ = study
    before = (folder / "training" / "model.safetensors").read_bytes()
    with pytest.raises(InputError, match="reference data of another structure"):
        run_study("H2", folder, small(), retrain=True)
    assert (folder / "training" / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("molecule", "changes", "words"),
    [
        ("H", {}, "single atom"),
        ("water", {"probe": "C"}, "--probe C is not in the molecule; choose one of H, O"),
        ("water", {"validation": 60}, "raise --frames"),
        ("water", {"test_walkers": 4}, "raise --frames"),
    ],
)
def test_what_cannot_succeed_is_refused_at_once(molecule, changes, words, tmp_path):
    with pytest.raises(InputError, match=words):
        run_study(molecule, tmp_path / "out", small(**changes))
    assert not (tmp_path / "out").exists()


def test_another_probe_needs_no_new_training(study):
    folder, _ = study
    config = StudyConfig.with_defaults(json.loads((folder / "study.json").read_text())["settings"])
    before = (folder / "training" / "log.csv").read_bytes()
    run_study("water", folder, config.model_copy(update={"probe": "O", "drift_duration": 20.0}))
    assert (folder / "explanations" / "chemical-potential" / "structure_water" / "potential_O.cube").is_file()
    assert not (folder / "explanations" / "chemical-potential" / "structure_water" / "potential_H.cube").exists()
    assert (folder / "training" / "log.csv").read_bytes() == before


@pytest.mark.parametrize("molecule", ["H2", "smiles:[OH-]", "CO2"])
def test_linear_and_charged_molecules(molecule, tmp_path):
    if molecule.startswith("smiles"):
        pytest.importorskip("rdkit", reason="SMILES need rdkit")
    config = small(
        sampling={"walkers": 2, "frames_per_walker": 10, "equilibration": 10.0},
        validation=2,
        training={"epochs": 2, "batch_size": 4},
    )
    summary = run_study(molecule, tmp_path / "out", config)
    assert (tmp_path / "out" / "report.html").is_file()
    assert "chemical-potential" in {panel["analysis"] for panel in summary["explanations"]["panels"]}


def test_interrupted_and_called_again_ends_at_the_same_model(tmp_path):
    folder = tmp_path / "water"
    command = [
        sys.executable, "-c",
        "import sys; from atomlens.study.pipeline import run_study; from atomlens.study.config import StudyConfig;"
        f"run_study('water', sys.argv[1], StudyConfig.with_defaults({SMALL!r}))",
        str(folder),
    ]  # fmt: skip
    log = folder / "training" / "log.csv"
    process = subprocess.Popen(command, stderr=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"})
    while process.poll() is None and not (log.is_file() and len(log.read_text().splitlines()) > 5):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (folder / "report.html").exists()
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    from safetensors.numpy import load_file

    whole = tmp_path / "whole"
    run_study("water", whole, small())
    expected, found = (load_file(Path(place) / "model.safetensors") for place in (whole, folder))
    assert all((expected[name] == found[name]).all() for name in expected if "free_atoms" not in name)
