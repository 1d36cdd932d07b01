import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from atomlens.data.dataset import Dataset
from atomlens.data.splits import random_split
from atomlens.data.units import KCAL_PER_MOL
from atomlens.errors import InputError
from atomlens.evaluation import evaluate
from atomlens.explain.errors.error_analysis import ANALYSIS
from atomlens.explain.errors.error_charts import number
from atomlens.explain.errors.error_statistics import summarise
from atomlens.explain.errors.learning_curve import learning_curves
from atomlens.explain.errors.structure_errors import error_analysis, force_errors
from atomlens.explain.subject import ExplainConfig, NamedModel, Subject
from atomlens.model import Model, ModelConfig

COUNT = 80


def molecules(seed=0):
    """Bent chains of two to six atoms of H, C and O, without labels."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(2, 7, COUNT)
    numbers = rng.choice([1, 6, 8], sizes.sum())
    along = 1.2 * np.concatenate([np.arange(size) for size in sizes])
    positions = np.stack([along, 0 * along, 0 * along], axis=1) + rng.uniform(-0.2, 0.2, (len(along), 3))
    return Dataset.from_arrays(numbers, positions, sizes, {})


@pytest.fixture(scope="module")
def data():
    return molecules()


def analysed(predicted, labelled, data, **settings):
    return error_analysis(np.asarray(predicted), np.asarray(labelled), data.numbers, data.offsets, **settings)


def test_planted_outliers_sizes_and_elements_are_found(data):
    rng = np.random.default_rng(0)
    labels = rng.normal(size=COUNT)
    oxygens = np.add.reduceat((data.numbers == 8).astype(float), data.offsets[:-1])
    errors = 0.1 * (1.0 + oxygens) * rng.choice([-1.0, 1.0], COUNT)
    errors[[7, 50]] = -9.0, 6.0
    found = analysed(labels + errors, labels, data)
    assert found.outliers[:2].tolist() == [7, 50]
    assert found.at(found.outliers[:2]) == pytest.approx([-9.0, 6.0])
    assert found.errors == pytest.approx(errors)
    assert found.summary.largest == pytest.approx(9.0)
    kept = np.delete(np.arange(COUNT), [7, 50])
    clean = analysed(labels + errors, labels, data, judged=np.isin(np.arange(COUNT), kept))
    assert clean.rows.tolist() == kept.tolist()
    assert clean.by_element.per_atom == pytest.approx([0.0, 0.0, 0.1], abs=1e-10)
    assert clean.by_size.count.sum() == COUNT - 2
    rising = analysed(0.1 * data.n_atoms, np.zeros(COUNT), data)
    assert rising.size_correlation == pytest.approx(1.0)
    assert rising.by_size.mean == pytest.approx(0.1 * rising.by_size.low)
    json.dumps(rising.to_dict(), allow_nan=False)


def test_structures_without_a_label_do_not_count(data):
    labels = np.full(COUNT, np.nan)
    labels[10:70] = 1.0
    found = analysed(np.full(COUNT, 1.5), labels, data)
    assert found.rows.tolist() == list(range(10, 70))
    assert found.summary.mae == pytest.approx(0.5)
    assert np.isnan(found.size_correlation)  # all errors are alike
    assert found.to_dict()["size_correlation"] is None
    # Isomers are named by their places in the data set.
    assert {int(row) for rows in found.isomers.members for row in rows} <= set(range(10, 70))
    formulas = [data[int(row)].formula for row in found.isomers.members[0]]
    assert set(formulas) == {found.isomers.formulas[0]}


def test_errors_of_vectors_are_lengths(data):
    labels = np.random.default_rng(0).normal(size=(COUNT, 3))
    found = analysed(labels + np.array([0.3, 0.0, -0.4]), labels, data)
    assert found.errors == pytest.approx(np.full(COUNT, 0.5))
    assert found.summary.mean is None
    assert found.isomers is None
    matrices = labels[:, :, None] * np.ones(3)
    assert analysed(matrices + 1.0, matrices, data).errors == pytest.approx(np.full(COUNT, 3.0))


def test_labels_that_do_not_fit_are_refused(data):
    with pytest.raises(InputError, match=r"shape \(80,\) and labels \(79,\)"):
        analysed(np.zeros(80), np.zeros(79), data)
    with pytest.raises(InputError, match=r"too few labels to judge by \(1\)"):
        analysed(np.zeros(80), np.append(np.full(79, np.nan), 1.0), data)
    with pytest.raises(InputError, match="give equal ones"):
        force_errors(np.zeros((3, 3)), np.zeros((2, 3)), data.numbers, data.offsets)


def test_force_errors_by_hand():
    numbers, offsets = np.array([1, 8, 1, 1, 8]), np.array([0, 3, 5])
    labels = np.array([[1.0, 0, 0], [2, 2, 2], [0, 0, 0], [0, 3, 0], [3, 3, 3]])
    off = np.array([[0.3, 0, 0], [0, 0, 0.6], [0.3, 0.3, -0.3], [0.9, 0, 0], [0.6, 0.6, 0.6]])
    found = force_errors(labels + off, labels, numbers, offsets)
    assert found.mae == pytest.approx((0.1 + 0.2 + 0.3 + 0.3 + 0.6) / 5)
    assert found.rmse == pytest.approx(np.sqrt(np.square(off).mean()))
    assert found.numbers.tolist() == [1, 8]
    assert found.count.tolist() == [3, 2]
    assert found.element_mae == pytest.approx([0.7 / 3, 0.4])
    assert found.element_size == pytest.approx([4 / 9, 2.5])
    assert found.by_size.mean == pytest.approx([0.45, 0.2])
    assert found.outliers.tolist() == [1, 0]
    assert found.outlier_mae == pytest.approx([0.45, 0.2])
    assert found.interval == pytest.approx((0.2, 0.45))  # a quarter of the samples has one structure twice
    unknown = labels.copy()
    unknown[1, 0] = np.nan
    with pytest.raises(InputError, match="too few"):
        force_errors(labels, unknown, numbers, offsets)


def build(seed, *, readouts=({"name": "energy"},), elements=(1, 6, 8), trained=None, features=4):
    torch.manual_seed(seed)
    config = ModelConfig(representation={"name": "schnet", "features": features}, readouts=list(readouts))
    model = Model(config, list(elements)).set_precision(torch.float64)
    if trained is not None:
        model.provenance = {"split": {"train": trained}, "data": {"hash": "one"}}
    return model


def subject(models, data):
    named = tuple(NamedModel(name, model) for name, model in models.items())
    return Subject(named, (data[0],), ("first",), data, ExplainConfig())


def labelled(data, model, noise=0.0, **more):
    """The model's own predictions as labels, with noise and one structure far off."""
    found = model.predict(list(data), forces="forces" in more)
    energies = np.array([float(each["energy"]) for each in found])
    off = noise * np.random.default_rng(3).normal(size=len(data))
    off[11] = 40.0 * noise
    labels = {"energy": energies + off}
    if "forces" in more:
        labels["forces"] = np.concatenate([each["forces"] for each in found]) + more["forces"]
    return replace(data, labels=labels)


@pytest.fixture(scope="module")
def panel(data):
    models = {"small": build(1, trained=100), "large": build(2, trained=400)}
    models["dipoles"] = build(0, readouts=[{"name": "dipole"}])
    models["stranger"] = build(0, elements=(1, 6))
    return ANALYSIS.of_models(subject(models, labelled(data, models["small"], 0.1, forces=0.2)))


def test_the_panel_says_what_it_found(panel, data):
    facts = panel.facts["quantities"]["energy"]
    assert set(facts["models"]) == {"small", "large"}
    assert facts["models"]["small"]["outliers"][0]["structure"] == 11
    assert facts["models"]["small"]["outliers"][0]["error"] == pytest.approx(-4.0 / KCAL_PER_MOL)
    assert "that of structure 11." in panel.reading
    assert "2 models" in panel.trust
    assert "largest errors" in panel.trust
    assert "cannot be told" in panel.trust
    json.dumps(panel.to_dict(), allow_nan=False)
    expected = [f"errors_energy_{name}" for name in ("distribution", "size", "elements", "outliers", "isomers")]
    assert set(expected) <= set(panel.figures)
    assert panel.tables[1].rows[0][:2] == (11, data[11].formula)
    assert {check.name: check.passed for check in panel.checks} == {
        "energy: more than composition": True,
        "energy: mean absolute error": True,
        "energy: order within formulas": True,
    }


def test_of_the_worst_hundredth_it_speaks_from_a_hundred_structures_on(panel, data):
    assert "hundredth" not in panel.reading  # 80 structures
    model, twice = build(1), np.concatenate([np.arange(COUNT), np.arange(20)])
    more = ANALYSIS.of_models(subject({"only": model}, labelled(data, model, 0.1).subset(twice)))
    assert "and the worst hundredth of the structures makes" in more.reading


def test_the_panel_agrees_with_evaluate(panel, data):
    model = build(1)
    errors = evaluate(model, labelled(data, model, 0.1, forces=0.2), title="").errors
    facts = panel.facts["quantities"]["energy"]["models"]["small"]["summary"]
    assert facts["mae"] * KCAL_PER_MOL == pytest.approx(errors["energy"].mae)
    assert facts["rmse"] * KCAL_PER_MOL == pytest.approx(errors["energy"].rmse)
    assert panel.facts["forces"]["mae"] * KCAL_PER_MOL == pytest.approx(0.2)
    assert errors["forces"].mae == pytest.approx(0.2)
    assert "Force components are off by" in panel.reading
    assert {"errors_forces_size", "errors_forces_elements"} <= set(panel.figures)


def test_models_of_two_training_sizes_give_a_learning_curve(panel):
    (curve,) = panel.facts["quantities"]["energy"]["learning_curves"]
    assert curve["sizes"] == [100, 400]
    assert curve["models"] == ["small", "large"]
    assert curve["mae"][0] < curve["mae"][1]  # the labels are those of the model called small
    assert curve["exponent"] == pytest.approx(np.log(curve["mae"][0] / curve["mae"][1]) / np.log(4.0))
    assert "errors_energy_learning_curves" in panel.figures
    assert "From 100 to 400 training structures" in panel.reading


def test_only_models_of_one_kind_and_one_data_set_are_joined():
    errors = {mae: summarise(np.array([mae, mae]), signed=False) for mae in (1.0, 2.0, 4.0)}
    one = {
        "a": (NamedModel("a", build(0, trained=400)), errors[1.0]),
        "b": (NamedModel("b", build(0, trained=100)), errors[2.0]),
        "c": (NamedModel("c", build(0, trained=100, features=5)), errors[4.0]),
        "d": (NamedModel("d", build(0)), errors[4.0]),
    }
    (curve,) = learning_curves(one)
    assert curve.models == ("b", "a")
    assert curve.exponent == pytest.approx(0.5)  # half the error from four times as many
    one["a"][0].model.provenance["data"]["hash"] = "another"
    assert learning_curves(one) == []


def test_a_table_of_all_errors_is_written(panel, data, tmp_path):
    panel.files["errors_energy.csv"](tmp_path / "errors.csv")
    with (tmp_path / "errors.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == COUNT
    row = rows[11]
    assert (row["structure"], row["formula"]) == ("11", data[11].formula)
    assert float(row["error (kcal/mol)"]) == pytest.approx(-4.0 / KCAL_PER_MOL)
    difference = float(row["predicted (kcal/mol)"]) - float(row["label (kcal/mol)"])
    assert difference == pytest.approx(float(row["error (kcal/mol)"]))


def test_every_labelled_property_has_its_own_unit(data):
    model = build(5, readouts=[{"name": "dipole"}, {"name": "intensive", "property": "homo"}])
    found = model.predict(list(data))
    labels = {
        "homo": np.array([float(each["homo"]) for each in found]) + 0.05,
        "dipole": np.array([each["dipole"] for each in found]) + 0.1 * np.array([0, 0, 1]),
    }
    panel = ANALYSIS.of_models(subject({"only": model}, replace(data, labels=labels)))
    assert "off by 50 meV" in panel.reading
    assert panel.facts["quantities"]["dipole"]["unit"] == "D"
    assert panel.facts["quantities"]["dipole"]["models"]["only"]["summary"]["mae"] == pytest.approx(0.48032, abs=1e-4)
    assert "One model" in panel.trust
    assert [check.name.partition(":")[0] for check in panel.checks] == ["homo"] * len(panel.checks)


def remembers(model, data, train, validation):
    """Give a model the records that training leaves in it."""
    split = random_split(data, train, validation, None, 0)
    facts = {"method": split.method, "train": train, "validation": validation}
    model.provenance = {"split": facts, "data": {"structures": len(data)}}
    model.examples = tuple(data[int(row)] for row in split.train[:3])
    return split


def test_training_structures_are_left_out_where_they_are_known(data):
    model = build(1)
    data = labelled(data, model, 0.1)
    split = remembers(model, data, 30, 6)
    panel = ANALYSIS.of_models(subject({"only": model}, data))
    assert "30 were trained on and 6 chose the best epoch. Judged are the 44 structures" in panel.trust
    facts = panel.facts["quantities"]["energy"]
    off = np.abs(model_energies(model, data) - data.labels["energy"]) / KCAL_PER_MOL
    assert facts["models"]["only"]["summary"]["count"] == 44
    assert facts["models"]["only"]["summary"]["mae"] == pytest.approx(off[split.test].mean())
    used = np.concatenate([split.train, split.validation])
    assert facts["mae_of_trained_structures"]["only"] == pytest.approx(off[used].mean())
    # A second model of another split: judged is what neither used.
    other = build(2)
    second = remembers(other, data, 20, 6)
    other.provenance["split"]["method"] = "random, seed 0"
    panel = ANALYSIS.of_models(subject({"first": model, "second": other}, data))
    free = np.setdiff1d(split.test, np.concatenate([second.train, second.validation]))
    assert f"Judged are the {len(free)} structures" in panel.trust
    assert "first: The split" in panel.trust


def test_where_all_were_trained_on_it_says_so(data):
    model = build(1)
    data = labelled(data, model, 0.1)
    remembers(model, data, COUNT - 6, 5)
    panel = ANALYSIS.of_models(subject({"only": model}, data))
    assert panel.trust.startswith("All but a few of these structures were trained on")
    assert panel.facts["quantities"]["energy"]["models"]["only"]["summary"]["count"] == COUNT


def model_energies(model, data):
    return np.array([float(each["energy"]) for each in model.predict(list(data), forces=False)])


def test_labels_that_nobody_predicts_are_refused(data):
    models = {"only": build(1)}
    with pytest.raises(InputError, match=r"the structures carry no labels .* with --label"):
        ANALYSIS.of_models(subject(models, data))
    other = replace(data, labels={"homo": np.zeros(COUNT), "energy": np.full(COUNT, np.nan)})
    with pytest.raises(InputError, match="labels of homo and the models predict energy"):
        ANALYSIS.of_models(subject(models, other))
    few = replace(data, labels={"energy": np.append(np.zeros(1), np.full(COUNT - 1, np.nan))})
    with pytest.raises(InputError, match=r"energy: too few labels to judge by \(1\)"):
        ANALYSIS.of_models(subject(models, few))
    strange = {"only": build(1, elements=(1, 6))}
    with pytest.raises(InputError, match="O is an element that the model never saw"):
        ANALYSIS.of_models(subject(strange, replace(data, labels={"energy": np.zeros(COUNT)})))


def test_numbers_are_printed_without_powers_of_ten():
    assert [number(4826.9), number(-0.01234), number(24.6, 1), number(0.0)] == ["4,830", "−0.0123", "20", "0"]
