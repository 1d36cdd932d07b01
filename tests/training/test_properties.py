"""Training on properties other than energy and forces, on several at once, and on stress."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from toy import toy_data, toy_run
from toy_properties import crystals, molecules, run_of

from atomlens.data.splits import random_split
from atomlens.errors import InputError, Interrupted
from atomlens.evaluation import evaluate
from atomlens.model_file import load_model
from atomlens.training import RunConfig, train
from atomlens.training.log import COLUMNS, TrainingLog, read_log
from atomlens.training.loop import _optimizer, _Trainer

TENSOR = {"name": "polarizability", "range": 3.0, "channels": 4}


def thirds(data):
    return random_split(data, len(data) * 2 // 3, len(data) // 6, len(data) // 6, seed=0)


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    data = molecules(240)
    readouts = [{"name": "energy"}, {"name": "dipole"}, TENSOR, {"name": "intensive", "property": "homo"}]
    weights = {"energy": 0.01, "forces": 1.0, "dipole": 1.0, "polarizability": 1.0, "homo": 0.5}
    folder = tmp_path_factory.mktemp("several") / "run"
    return train(run_of(readouts, epochs=25, loss=weights), data, thirds(data), folder), data, folder


class TestSeveralReadouts:
    def test_all_are_learned(self, several):
        result, data, _ = several
        errors = evaluate(result.model, data.subset(thirds(data).test), title="").errors
        assert set(errors) == {"energy", "forces", "dipole", "polarizability", "homo"}
        for name, found in errors.items():  # energies, with a weight of 0.01, are learned after forces
            assert found.gain > (1.0 if name == "energy" else 3.0), name

    def test_log_has_a_column_for_each(self, several):
        _, _, folder = several
        names = ["energy", "forces", "dipole", "polarizability", "homo"]
        with (folder / "log.csv").open() as file:
            header = next(csv.reader(file))
        assert header == [*COLUMNS, *(f"validation_{name}_mae" for name in names)]
        assert all(len(row) == len(header) for row in read_log(folder / "log.csv"))

    def test_validation_errors_are_those_of_the_model_kept(self, several):
        """The logged errors are means over components, in internal units."""
        result, data, _ = several
        found = evaluate(result.model, data.subset(thirds(data).validation), title="").errors
        row = result.history[result.best_epoch - 1]
        for name, errors in found.items():
            assert row[f"validation_{name}_mae"] == pytest.approx(errors.mae, rel=1e-4)

    def test_a_saved_model_predicts_all(self, several):
        _, data, folder = several
        loaded = load_model(folder / "model.safetensors")
        assert set(loaded.readouts) == {"energy", "dipole", "polarizability", "homo"}
        assert loaded.predict(data[0])["polarizability"].shape == (3, 3)


@pytest.mark.parametrize(("light", "heavy"), [("dipole", "homo"), ("homo", "dipole")])
def test_the_heavier_property_is_learned_better(light, heavy, tmp_path):
    data = molecules(96)
    readouts = [{"name": "dipole"}, {"name": "intensive", "property": "homo"}]
    gains = []
    for weight in (1e-4, 1.0):
        run = run_of(readouts, epochs=15, loss={light: weight, heavy: 1.0}, averaging=0.0)
        result = train(run, data, thirds(data), tmp_path / str(weight))
        gains.append(evaluate(result.model, data.subset(thirds(data).test), title="").errors[light].gain)
    assert gains[1] > 1.2 * gains[0]


def test_structures_without_some_labels_train_with_those_they_have(tmp_path, capsys):
    data = molecules(96)
    unknown = np.arange(0, 96, 3)
    data.labels["dipole"][unknown] = np.nan
    data.labels["homo"][unknown + 1] = np.nan
    readouts = [{"name": "dipole"}, {"name": "intensive", "property": "homo"}]
    result = train(run_of(readouts, epochs=40), data, thirds(data), tmp_path / "run")
    errors = evaluate(result.model, molecules(32, seed=9), title="").errors
    assert errors["dipole"].gain > 1.5
    assert errors["homo"].gain > 1.5
    assert all(np.isfinite(list(row.values())).all() for row in result.history)
    assert "structures for train have no dipole" in capsys.readouterr().err


def test_a_magnitude_teaches_charges_up_to_their_sign(tmp_path):
    data = molecules(120)
    lengths = np.linalg.norm(data.labels["dipole"], axis=1)
    magnitudes = replace(data, labels={"dipole_magnitude": lengths})
    result = train(run_of([{"name": "dipole"}], epochs=40), magnitudes, thirds(data), tmp_path / "run")
    test = data.subset(thirds(data).test)
    found = np.stack([entry["dipole"] for entry in result.model.predict(list(test))])
    off = min(np.abs(sign * found - test.labels["dipole"]).mean() for sign in (1.0, -1.0))
    assert off < 0.3 * np.abs(test.labels["dipole"]).mean()


WITH_STRESS = {"energy": 0.01, "forces": 1.0, "stress": 1.0}


@pytest.fixture(scope="module")
def stressed(tmp_path_factory):
    data = crystals(48)
    folder = tmp_path_factory.mktemp("stress") / "run"
    return train(run_of(epochs=20, loss=WITH_STRESS), data, thirds(data), folder), data


class TestStress:
    def test_loss_falls_and_stays_finite(self, stressed):
        result, _ = stressed
        losses = [row["train_loss"] for row in result.history]
        assert np.isfinite(losses).all()
        assert losses[-1] < 0.3 * losses[0]

    def test_stress_is_learned(self, stressed):
        result, data = stressed
        errors = evaluate(result.model, data.subset(thirds(data).test), title="").errors
        assert errors["stress"].gain > 3.0
        assert result.history[-1]["validation_stress_mae"] < 0.5 * result.history[0]["validation_stress_mae"]

    def test_stress_is_left_out_by_default(self, tmp_path):
        data = crystals(12)
        result = train(run_of(epochs=1), data, thirds(data), tmp_path / "run")
        assert "validation_stress_mae" not in result.history[0]

    def test_of_molecules_it_cannot_be(self, tmp_path):
        data = toy_data(24)
        data.labels["stress"] = np.zeros((24, 3, 3))
        with pytest.raises(InputError, match=r"structure \d+: is not periodic in three directions and has no stress"):
            train(toy_run(epochs=1, loss=WITH_STRESS), data, thirds(data), tmp_path / "run")
        assert not (tmp_path / "run").exists()


class TestWithoutEnergies:
    """ρ = 0: forces and stress leave the energy's constant open, and it is fitted afterwards (thesis 5.2.3)."""

    @pytest.mark.parametrize("weights", [{"forces": 1.0}, {"forces": 1.0, "stress": 1.0}, {"stress": 1.0}], ids=str)
    def test_the_constant_is_fitted(self, weights, tmp_path):
        """Of all shifts s n it is the best where Σ n (E - Ê) vanishes over the training structures."""
        data = crystals(18)
        data.labels["energy"] += 500.0 * data.n_atoms
        result = train(run_of(epochs=2, loss=weights), data, thirds(data), tmp_path / "run")
        chosen = data.subset(thirds(data).train)
        predicted = np.array([float(found["energy"]) for found in result.model.predict(list(chosen))])
        left = chosen.labels["energy"] - predicted
        sizes = chosen.n_atoms.astype(float)
        assert abs(sizes @ left) / (sizes @ sizes) < 1e-6 * np.abs(left).max() + 1e-9

    def test_energies_are_needed_all_the_same(self, tmp_path):
        data = crystals(12)
        del data.labels["energy"]
        with pytest.raises(InputError, match="no label of energy is known"):
            train(run_of([{"name": "energy"}], loss={"forces": 1.0}), data, thirds(data), tmp_path / "run")


class TestOptimizers:
    @pytest.mark.parametrize("settings", [{"optimizer": "sgd", "learning_rate": 1e-2}, {"optimizer": "adamw"}], ids=str)
    def test_they_train(self, settings, tmp_path):
        data = molecules(96)
        run = run_of([{"name": "energy"}], epochs=6, weight_decay=1e-4, **settings)
        result = train(run, data, thirds(data), tmp_path / "run")
        assert result.history[-1]["validation_loss"] < result.history[0]["validation_loss"]

    def test_their_settings_arrive(self):
        model = torch.nn.Linear(2, 2)
        sgd = _optimizer(run_of(optimizer="sgd", momentum=0.8, weight_decay=0.1, learning_rate=0.3).training, model)
        assert isinstance(sgd, torch.optim.SGD)
        group = sgd.param_groups[0]
        assert (group["momentum"], group["weight_decay"], group["lr"], group["nesterov"]) == (0.8, 0.1, 0.3, False)
        adamw = _optimizer(run_of(optimizer="adamw", weight_decay=0.2).training, model)
        assert isinstance(adamw, torch.optim.AdamW)
        assert adamw.param_groups[0]["weight_decay"] == 0.2
        adam = _optimizer(run_of().training, model)
        assert type(adam) is torch.optim.Adam
        assert adam.param_groups[0]["weight_decay"] == 0.0

    def test_momentum_survives_an_interruption(self, tmp_path, monkeypatch):
        data = molecules(48)
        words = run_of([{"name": "energy"}], optimizer="sgd", learning_rate=1e-2), data, thirds(data)
        train(*words, tmp_path / "whole")
        with monkeypatch.context() as patch:
            patch.setattr(_Trainer, "_agreed", lambda self, _: self.progress.step == 7)
            with pytest.raises(Interrupted):
                train(*words, tmp_path / "run")
        train(*words, tmp_path / "run", resume=True)
        expected, found = (load_file(tmp_path / name / "checkpoint.safetensors") for name in ("whole", "run"))
        assert any("momentum_buffer" in name for name in expected)
        assert {name: value.tobytes() for name, value in expected.items()} == {
            name: value.tobytes() for name, value in found.items()
        }


class TestReadoutsByLabels:
    def test_labels_named_by_the_run_are_all_learned(self):
        run = RunConfig.parse({"data": {"path": "x", "labels": {"homo": "h:eV", "energy": "e:eV", "dipole": "d:D"}}})
        found = [entry.name for entry in run.for_labels(["homo", "energy", "dipole"]).model.readouts]
        assert found == ["intensive", "energy", "dipole"]

    def test_of_labels_that_a_file_brings_the_energy_is_learned(self):
        found = run_of().for_labels(["dipole", "energy", "homo"]).model.readouts
        assert [entry.name for entry in found] == ["energy"]

    def test_without_an_energy_all_are(self):
        found = run_of().for_labels(["dipole", "homo"]).model.readouts
        assert [entry.name for entry in found] == ["dipole", "intensive"]

    def test_readouts_that_the_run_names_stay(self):
        run = run_of([{"name": "dipole", "hidden": 3}])
        assert run.for_labels(["energy"]) == run

    def test_the_representation_stays(self):
        assert run_of().for_labels(["dipole"]).model.representation == run_of().model.representation

    @pytest.mark.parametrize("labels", [[], ["charges"]])
    def test_labels_that_no_readout_predicts(self, labels):
        with pytest.raises(InputError, match="toy: no readout predicts a label of the data"):
            run_of().for_labels(labels)

    def test_what_was_chosen_is_written_down(self, tmp_path):
        data = molecules(24)
        only = replace(data, labels={"zero_point_energy": data.labels["zero_point_energy"]})
        train(run_of(epochs=1), only, thirds(data), tmp_path / "run")
        (entry,) = RunConfig.read(tmp_path / "run" / "run.yaml").model.readouts
        assert (entry.name, entry.property) == ("extensive", "zero_point_energy")
        resumed = RunConfig.read(tmp_path / "run" / "run.yaml")
        assert train(resumed, only, thirds(data), tmp_path / "run", resume=True).history


class TestRefusals:
    @pytest.mark.parametrize("weights", [{"energy": 1.0}, {"energy": 1.0, "homo": 1.0, "dipole": 0.0}])
    def test_a_readout_that_nothing_trains(self, weights, tmp_path):
        data = molecules(24)
        readouts = [{"name": "energy"}, {"name": "dipole"}, {"name": "intensive", "property": "homo"}]
        with pytest.raises(InputError, match="nothing trains the readout of dipole"):
            train(run_of(readouts, loss=weights), data, thirds(data), tmp_path / "run")
        assert not (tmp_path / "run").exists()

    def test_a_label_that_is_absent_altogether(self, tmp_path):
        data = molecules(24)
        run = run_of([{"name": "intensive", "property": "lumo"}], loss={"lumo": 1.0})
        with pytest.raises(InputError, match="no label of lumo is known in the training structures"):
            train(run, data, thirds(data), tmp_path / "run")

    def test_a_structure_with_no_label_at_all(self, tmp_path):
        data = molecules(24)
        victim = int(thirds(data).train[2])
        for name in ("dipole", "homo"):
            data.labels[name][victim] = np.nan
        readouts = [{"name": "dipole"}, {"name": "intensive", "property": "homo"}]
        with pytest.raises(InputError, match=f"structure {victim}: has none of the labels dipole, homo"):
            train(run_of(readouts), data, thirds(data), tmp_path / "run")

    def test_crystals_with_a_dipole(self, tmp_path):
        data = crystals(12)
        data.labels["dipole"] = np.zeros((12, 3))
        with pytest.raises(InputError, match="is periodic, where the dipole of this model has no meaning"):
            train(run_of([{"name": "dipole"}]), data, thirds(data), tmp_path / "run")


class TestLog:
    ROW = {**dict.fromkeys(COLUMNS, 1.0), "validation_dipole_mae": 0.25}  # noqa: RUF012  a constant

    def log(self, folder, rows=0):
        return TrainingLog(folder, ["dipole", "polarizability"], rows, tensorboard=False)

    def test_a_quantity_without_known_labels_leaves_its_column_empty(self, tmp_path):
        log = self.log(tmp_path)
        log.append(self.ROW)
        log.close()
        lines = (tmp_path / "log.csv").read_text().splitlines()
        assert lines[0].split(",") == [*COLUMNS, "validation_dipole_mae", "validation_polarizability_mae"]
        assert lines[1].endswith(",0.25,")
        assert read_log(tmp_path / "log.csv") == [self.ROW]

    def test_rows_after_the_checkpoint_are_dropped_on_resuming(self, tmp_path):
        log = self.log(tmp_path)
        for epoch in (1.0, 2.0, 3.0):
            log.append({**self.ROW, "epoch": epoch})
        again = self.log(tmp_path, rows=2)
        again.append({**self.ROW, "epoch": 30.0})
        assert [row["epoch"] for row in read_log(tmp_path / "log.csv")] == [1.0, 2.0, 30.0]

    def test_half_a_line_of_a_killed_process_is_not_read(self, tmp_path):
        self.log(tmp_path).append(self.ROW)
        with (tmp_path / "log.csv").open("a") as file:
            file.write("2.0,5")
        assert read_log(tmp_path / "log.csv", 1) == [self.ROW]
