"""Labels that are known for some structures, weighed or not, or impossible: what is drawn, learned and refused."""

import numpy as np
import pytest
from toy import toy_data

from atomlens.data.dataset import Dataset
from atomlens.data.splits import random_split
from atomlens.data.writers import write_dataset
from atomlens.errors import InputError
from atomlens.model_file import load_model
from atomlens.study.run import run_training
from atomlens.training import RunConfig, train

SMALL = {"name": "schnet", "features": 8, "interactions": 1, "cutoff": 4.0}


def with_labels(**labels):
    data = toy_data(40)
    return Dataset.from_arrays(data.numbers, data.positions, np.full(40, 3), {**data.labels, **labels})


def settings(path, **training):
    return RunConfig.parse(
        {
            "data": {"path": str(path)},
            "split": {"train": 12, "validation": 4},
            "model": {"representation": SMALL},
            "training": {"epochs": 2, "batch_size": 4, "tensorboard": False, **training},
        }
    )


def half_known(seed=1):
    values = np.random.default_rng(seed).normal(size=40)
    values[::2] = np.nan
    return values


def test_a_quantity_that_no_training_structure_has_is_refused_at_once(tmp_path):
    data = with_labels(forces=np.full((120, 3), np.nan))
    with pytest.raises(InputError, match="no forces is known in the structures for train; give it no weight"):
        train(settings("toy"), data, random_split(data, 12, 4, None, 0), tmp_path / "out")
    assert not (tmp_path / "out" / "run.yaml").exists()


@pytest.mark.parametrize("loss", [None, {"homo": 1.0}, {"energy": 0.0, "homo": 1.0}])
def test_structures_are_drawn_by_what_is_learned(tmp_path, loss):
    data = with_labels(homo=half_known())
    write_dataset(data, tmp_path / "data.npz")
    report = run_training(settings(tmp_path / "data.npz", loss=loss), tmp_path / "out")
    model = load_model(tmp_path / "out" / "model.safetensors")
    assert list(model.readouts) == (["energy"] if loss is None else ["homo"])
    learned = {"energy", "forces"} if loss is None else {"homo"}
    assert set(report["test"]) == learned


def test_the_constant_of_forces_alone_is_no_reference(tmp_path):
    """What counting atoms gives does not depend on what the network learned."""
    data = with_labels()
    write_dataset(data, tmp_path / "data.npz")
    counts = [
        run_training(settings(tmp_path / "data.npz", loss=loss), tmp_path / name)["test"]["energy"]["atom_count_mae"]
        for name, loss in (("both", None), ("forces", {"forces": 1.0}))
    ]
    assert counts[0] == pytest.approx(counts[1], rel=1e-12)


def test_a_trace_alone_does_not_train_a_tensor(tmp_path):
    data = with_labels(isotropic_polarizability=np.linspace(1.0, 2.0, 40))
    config = RunConfig.parse(
        {
            "data": {"path": "toy"},
            "model": {"representation": SMALL, "readouts": [{"name": "polarizability", "range": 3.0}]},
            "training": {"loss": {"isotropic_polarizability": 1.0}},
        }
    )
    with pytest.raises(InputError, match="a trace alone does not train"):
        train(config, data, random_split(data, 12, 4, None, 0), tmp_path / "out")


def test_labels_that_cannot_be_are_refused():
    with pytest.raises(InputError, match="structure 7: the dipole magnitude is negative"):
        with_labels(dipole_magnitude=np.where(np.arange(40) == 7, -1.0, 1.0))
    tensors = np.tile(np.eye(3), (40, 1, 1))
    tensors[5, 0, 1] = 0.5
    with pytest.raises(InputError, match="structure 5: the polarizability is not symmetric"):
        with_labels(polarizability=tensors)


def test_a_tensor_of_each_atom_fits_an_xyz_file(tmp_path):
    data = with_labels(atom_polarizabilities=np.tile(np.eye(3), (120, 1, 1)))
    write_dataset(data, tmp_path / "tensors.xyz")
    assert "atom_polarizabilities:R:9" in (tmp_path / "tensors.xyz").read_text().splitlines()[1]
