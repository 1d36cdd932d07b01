"""What runs analyses: every panel on disk, sentences where there is none, and nothing half-written."""

import json

import numpy as np
import pytest
import torch
from ase.build import molecule

from atomlens.data.dataset import Dataset
from atomlens.errors import InputError
from atomlens.explain.analyses import ANALYSES
from atomlens.explain.analysis import Analysis
from atomlens.explain.subject import ExplainConfig, NamedModel, Subject
from atomlens.model import Model, ModelConfig
from atomlens.panel import Panel
from atomlens.study.explanation import chosen_analyses, explain_models, make_subject, run_analyses


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Model(ModelConfig.parse({"representation": {"name": "schnet", "features": 8}}), [1, 6, 8])


@pytest.fixture(scope="module")
def data():
    found = [molecule(name) for name in ("H2O", "CH4", "CH3OH")]
    return Dataset.from_arrays(
        np.concatenate([entry.numbers for entry in found]),
        np.concatenate([entry.positions for entry in found]),
        np.array([len(entry) for entry in found]),
        {},
    )


def analysis(**made):
    return Analysis("mine", "Mine", "A definition.", "A source.", **made)


@pytest.fixture
def registered(monkeypatch):
    """Put an analysis of one's own into the registry, alone."""

    def put(row):
        monkeypatch.setattr("atomlens.study.explanation.ANALYSES", {row.name: row})

    return put


def test_every_panel_is_written_and_a_sentence_where_there_is_none(model, data, registered, tmp_path):
    def of_structure(subject, place):
        if place == 1:
            raise InputError("methane has nothing to say")
        return Panel("mine", place, reading=subject.names[place], facts={"place": place})

    registered(
        analysis(of_structure=of_structure, of_models=lambda subject: Panel("mine", reading=str(len(subject.data))))
    )
    summary = explain_models({"m": model}, data, tmp_path / "out")
    assert [panel.get("reading", panel.get("unavailable")) for panel in summary["panels"]] == [
        "3", "0 H2O", "methane has nothing to say", "2 CH4O",
    ]  # fmt: skip
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == summary
    for panel in summary["panels"]:
        assert (tmp_path / "out" / panel["folder"] / "panel.json").is_file()
    assert "methane has nothing to say" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError])
def test_what_ends_badly_leaves_nothing(model, data, registered, tmp_path, stop):
    def of_models(_):
        raise stop

    registered(analysis(of_models=of_models))
    with pytest.raises(stop):
        explain_models({"m": model}, data, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_structures_are_chosen_and_named_by_their_place(model, data):
    subject = make_subject({"m": model}, data, shown=[2, 0])
    assert subject.names == ("2 CH4O", "0 H2O")
    assert len(subject.data) == 3


def test_a_data_set_of_its_own_stands_behind_the_statistics(model, data):
    subject = make_subject({"m": model}, data, dataset=data.subset([1]))
    assert len(subject.systems) == 3
    assert subject.predicted(subject.models[0])["atom_energies"].shape == (5,)


def test_predictions_are_made_once(model, data):
    subject = make_subject({"m": model}, data)
    first = subject.predicted(subject.models[0])
    assert subject.predicted(subject.models[0]) is first
    expected = np.concatenate([one["atom_energies"] for one in model.predict(list(data), forces=False)])
    np.testing.assert_allclose(first["atom_energies"], expected, atol=1e-6)


def test_analyses_by_name():
    assert [row.name for row in chosen_analyses(None)] == list(ANALYSES)
    assert [row.name for row in chosen_analyses(["contributions"])] == ["contributions"]
    with pytest.raises(InputError, match="unknown analysis 'rongs'"):
        chosen_analyses(["rongs"])


def test_a_registered_analysis_is_complete():
    for name, row in ANALYSES.items():
        assert row.name == name
        assert row.of_structure or row.of_models
        assert row.title
        assert row.definition.endswith(".")
        assert row.source


def test_models_of_one_name_are_refused(model):
    entry = NamedModel("m", model)
    with pytest.raises(InputError, match="names of their own"):
        Subject((entry, entry), (), (), None, ExplainConfig())


@pytest.mark.parametrize(("models", "shown"), [({}, None), (None, [])])
def test_nothing_to_explain_is_said(model, data, models, shown):
    with pytest.raises(InputError, match="nothing to explain without a model and a structure"):
        make_subject({"m": model} if models is None else models, data, shown=shown)


def test_a_structure_asked_for_twice_is_shown_once(model, data):
    assert make_subject({"m": model}, data, shown=[1, 1]).names == ("1 CH4",)


def test_numbers_that_json_has_no_word_for_cost_no_panel(model, data, registered, tmp_path):
    facts = {"tau": float("nan"), "more": [1.0, float("inf")]}
    registered(analysis(of_models=lambda _: Panel("mine", facts=facts)))
    explain_models({"m": model}, data, tmp_path / "out")
    stored = json.loads((tmp_path / "out" / "mine" / "models" / "panel.json").read_text())
    assert (stored["tau"], stored["more"]) == (None, [1.0, None])


def test_a_structure_called_models_has_a_folder_of_its_own(model, data, registered, tmp_path):
    registered(analysis(of_structure=lambda _, place: Panel("mine", place), of_models=lambda _: Panel("mine")))
    subject = Subject((NamedModel("m", model),), (data[0], data[1]), ("models", "a" * 300), data, ExplainConfig())
    explained = run_analyses(subject, chosen_analyses(None), tmp_path)
    assert len(set(explained.folders.values())) == 3
