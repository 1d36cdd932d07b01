"""All baselines on small data: that they learn, and what they say where they cannot."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from small_sets import split_of

from atomlens.baselines import BASELINES, BaselineResult, run_baselines
from atomlens.baselines.suite import serving
from atomlens.errors import InputError

pytest.importorskip("sklearn")


def test_every_descriptor_learns_molecules(molecules):
    pytest.importorskip("dscribe")
    split = split_of(molecules, 120, 60)
    results = {row.name: row for row in run_baselines(molecules, split, "energy", title=False)}
    assert list(results) == serving(molecules, "energy")
    assert {row.failure for row in results.values()} == {None}
    mean = results["mean"].errors["energy"]
    assert mean.mae == pytest.approx(mean.mean_predictor_mae)
    assert mean.count == 60
    count = results["composition"].errors["energy"].mae
    assert count < 0.5 * mean.mae
    for name in set(results) - {"mean", "composition"}:
        row = results[name]
        # The energy depends on distances; what counts them in shells of a quarter of an Å, or sorts, learns less.
        assert row.errors["energy"].mae < (0.95 if name == "prdf" else 0.7) * count, name
        assert row.errors["energy"].mean_predictor_mae == pytest.approx(mean.mae)
        assert set(row.seconds) == {"descriptor", "fit", "predict"}
        assert row.size > 0
        assert row.chosen["removed"] == "elements"


def test_every_descriptor_learns_crystals(crystals):
    pytest.importorskip("dscribe")
    order = np.random.default_rng(0).permutation(len(crystals))
    data = crystals.subset(order)
    results = {row.name: row for row in run_baselines(data, split_of(data, 28, 10), "formation_energy", title=False)}
    assert set(results) == {
        "mean", "composition", "prdf", "symmetry_functions", "soap", "sine_matrix", "ewald_matrix",
    }  # fmt: skip
    mean = results["mean"].errors["formation_energy"].mae
    for row in results.values():
        assert row.failure is None
        if row.name not in ("mean", "composition"):
            assert row.errors["formation_energy"].mae < 0.6 * mean, row.name


def test_the_test_structures_are_those_of_the_split(molecules):
    split = split_of(molecules, 120, 60)
    row = run_baselines(molecules, split, "energy", ["mean"], title=False)[0]
    values = molecules.labels["energy"]
    expected = np.abs(values[split.test] - values[split.train].mean()).mean()
    assert row.errors["energy"].mae == pytest.approx(expected)


def test_unknown_labels_count_for_nothing(molecules):
    values = molecules.labels["energy"].copy()
    values[[3, 130, 200]] = np.nan
    data = replace(molecules, labels={"energy": values})
    for row in run_baselines(data, split_of(data, 120, 60), "energy", ["mean", "composition", "bag_of_bonds"],
                             title=False):  # fmt: skip
        assert row.errors["energy"].count == 59
        assert np.isfinite(row.errors["energy"].mae)


def test_too_few_labels_are_refused(molecules):
    values = np.full(len(molecules), np.nan)
    values[:60] = 1.0
    data = replace(molecules, labels={"energy": values})
    with pytest.raises(InputError, match="0 validation structures have a known energy"):
        run_baselines(data, split_of(data, 60, 60), "energy", ["mean"], title=False)


def test_an_unknown_name_is_refused_with_the_nearest(molecules):
    with pytest.raises(InputError, match="no baseline 'bag_of_bond'; did you mean 'bag_of_bonds'"):
        run_baselines(molecules, split_of(molecules, 120, 60), "energy", ["bag_of_bond"], title=False)


def test_what_does_not_serve_says_why(molecules, crystals, frames):
    def failure(data, label, name):
        (row,) = run_baselines(data, split_of(data, len(data) // 2, len(data) // 4), label, [name], title=False)
        assert row.errors == {}
        return row.failure

    assert "serves open structures; these are others" in failure(crystals, "formation_energy", "bag_of_bonds")
    assert "periodic in three directions" in failure(molecules, "energy", "sine_matrix")
    assert "frames of one molecule" in failure(molecules, "energy", "coulomb_matrix_unsorted")
    assert "one number per structure" in failure(frames, "forces", "bag_of_bonds")


def test_a_missing_package_is_named(molecules, monkeypatch):
    monkeypatch.setitem(sys.modules, "dscribe.descriptors", None)
    monkeypatch.setitem(sys.modules, "dscribe", None)
    (row,) = run_baselines(molecules, split_of(molecules, 120, 60), "energy", ["coulomb_matrix"], title=False)
    assert row.failure.endswith("which is not installed: pip install 'atomlens[baselines]'")
    assert "dscribe" in row.failure


def test_quantities_of_atoms_have_their_mean(frames):
    assert serving(frames, "forces") == ["mean"]
    (row,) = run_baselines(frames, split_of(frames, 30, 15), "forces", title=False)
    forces = frames.labels["forces"]
    expected = np.abs(forces[135:] - forces[:90].mean(axis=0)).mean()
    assert row.errors["forces"].mae == pytest.approx(expected)


def test_results_survive_json(molecules):
    import json

    (row,) = run_baselines(molecules, split_of(molecules, 120, 60), "energy", ["bag_of_bonds"], title=False)
    again = BaselineResult.from_dict(json.loads(json.dumps(row.to_dict(), allow_nan=False)))
    assert again == row


def test_a_split_of_other_data_is_refused(molecules, frames):
    with pytest.raises(InputError, match="belongs to other structures"):
        run_baselines(frames, split_of(molecules, 30, 15), "energy", ["mean"], title=False)


def test_the_same_data_give_the_same_numbers(molecules):
    split = split_of(molecules, 120, 60)
    first, second = (
        run_baselines(molecules, split, "energy", ["hdad", "symmetry_functions"], title=False) for _ in range(2)
    )
    assert [row.errors for row in first] == [row.errors for row in second]
    assert [row.chosen for row in first] == [row.chosen for row in second]


def test_names_are_unique_and_described():
    assert all(name == row.name and row.what for name, row in BASELINES.items())
