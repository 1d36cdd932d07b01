import numpy as np
import pytest
import torch
from ase.build import molecule

from atomlens.data.dataset import Dataset
from atomlens.errors import InputError
from atomlens.evaluation import errors_of, evaluate, predict_structures
from atomlens.model import Model, ModelConfig

REFERENCES = {1: -13.6, 6: -1030.0, 8: -2040.0}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    made = Model(ModelConfig.parse({"representation": {"features": 16}}), [1, 6, 8])
    made.energy_readout.set_scale(1.0, REFERENCES)
    return made


@pytest.fixture(scope="module")
def data(model):
    molecules = [molecule(name) for name in ("H2O", "CH4", "CH3OH", "CO2")]
    energies = np.array([float(model.predict(atoms)["energy"]) for atoms in molecules])
    return Dataset.from_arrays(
        np.concatenate([atoms.numbers for atoms in molecules]),
        np.concatenate([atoms.positions for atoms in molecules]),
        np.array([len(atoms) for atoms in molecules]),
        {"energy": energies + np.array([0.1, -0.3, np.nan, 0.2])},
    )


def test_errors_over_known_labels(model, data):
    found = evaluate(model, data, title="").errors["energy"]
    assert found.count == 3
    assert found.mae == pytest.approx(0.2, rel=1e-5)
    assert found.rmse == pytest.approx(np.sqrt((0.01 + 0.09 + 0.04) / 3), rel=1e-5)


def test_atom_counts_are_the_references_alone(model, data):
    found = evaluate(model, data, title="").errors["energy"]
    sums = [sum(REFERENCES[int(n)] for n in system.numbers) for system in data]
    off = np.abs(np.array(sums) - data.labels["energy"])
    assert found.atom_count_mae == pytest.approx(np.nanmean(off), rel=1e-6)


def test_mean_predictor_by_hand():
    labelled = np.array([1.0, 2.0, 6.0])
    found = errors_of("energy", np.array([1.5, 2.0, 5.0]), labelled, 3.0, 3)
    assert found.mae == pytest.approx(0.5)
    assert found.mean_predictor_mae == pytest.approx(2.0)
    assert found.gain == pytest.approx(4.0)


def test_no_label_that_fits(model, data):
    charges = Dataset(**{**vars(data), "labels": {"charges": np.zeros(len(data.numbers))}})
    with pytest.raises(InputError, match="no label that the model predicts here"):
        evaluate(model, charges, title="")


def test_many_structures_keep_their_places_in_messages(model, monkeypatch):
    monkeypatch.setattr("atomlens.evaluation.STRUCTURES_PER_CALL", 2)
    structures = [molecule("H2O")] * 5
    assert len(predict_structures(model, structures)) == 5
    with pytest.raises(InputError, match="structure 3, atom 0: N is an element"):
        predict_structures(model, [*structures[:3], molecule("NH3")])
