"""Tables of filters in training: good enough for the weights at hand, and the same after an interruption."""

import pytest
import torch
from safetensors.numpy import load_file
from toy import toy_data, toy_run, toy_split

from atomlens.data.batch import Batch
from atomlens.errors import InputError, Interrupted
from atomlens.model import Model, ModelConfig
from atomlens.model_file import load_model, read_header
from atomlens.training import train
from atomlens.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from atomlens.training.loop import _Trainer
from atomlens.training.tables import MARGIN, STEPS_BETWEEN, refine

# So fast that filters outgrow their first table before step 100.
FAST = {"epochs": 26, "learning_rate": 0.2, "schedule": "constant"}
INTERVALS = "representation.filters._extra_state"


def model_of(accuracy=1e-6, seed=0):
    torch.manual_seed(seed)
    config = {"representation": {"name": "schnet", "features": 16, "interactions": 2, "filter_accuracy": accuracy}}
    return Model(ModelConfig.parse(config), [1, 8])


def steepened(model, factor=30.0):
    with torch.no_grad():
        model.representation.filters.first_weight.mul_(factor)
    return model


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    data = toy_data()
    folder = tmp_path_factory.mktemp("whole") / "run"
    return train(toy_run(**FAST), data, toy_split(data), folder), folder


def test_a_table_that_weights_have_outgrown_is_refined(whole):
    _, folder = whole
    found = load_file(folder / "checkpoint.safetensors")
    before = toy_run().model.representation
    torch.manual_seed(0)
    first = Model(ModelConfig(representation=before), [1, 8]).representation.filters.grid.intervals
    assert found[f"model/{INTERVALS}"] > first
    assert found[f"averaged/{INTERVALS}"] > first


def test_the_model_kept_meets_the_bound_with_its_own_weights(whole):
    result, folder = whole
    (header,) = read_header(folder / "model.safetensors")["tables"]
    measured = result.model.representation.filters.certify()
    assert measured.to_dict() == header
    assert measured.error <= measured.bound == 1e-6


@pytest.mark.parametrize("step", [STEPS_BETWEEN - 1, STEPS_BETWEEN, STEPS_BETWEEN + 1])
def test_stopped_around_a_refinement_and_resumed_is_the_same_bit_for_bit(whole, step, tmp_path, monkeypatch):
    data, (_, folder) = toy_data(), whole
    words = (toy_run(**FAST), data, toy_split(data), tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(_Trainer, "_agreed", lambda self, _: self.progress.step == step)
        with pytest.raises(Interrupted):
            train(*words)
    train(*words, resume=True)
    for file in ("model.safetensors", "checkpoint.safetensors"):
        expected, found = load_file(folder / file), load_file(tmp_path / "run" / file)
        assert {name: value.tobytes() for name, value in expected.items()} == {
            name: value.tobytes() for name, value in found.items()
        }


def test_a_checkpoint_restores_every_number_of_intervals(tmp_path):
    made = {name: steepened(model_of(), factor) for name, factor in (("model", 30.0), ("averaged", 8.0), ("best", 1.0))}
    intervals = [refine(model, 0) for model in made.values()]
    assert len({*map(tuple, intervals)}) == 3
    optimizer = torch.optim.Adam(made["model"].parameters())
    save_checkpoint(tmp_path / "c.safetensors", Progress(step=7), made, optimizer, "me")
    fresh = {name: model_of(seed=1) for name in made}
    others = torch.optim.Adam(fresh["model"].parameters())
    assert load_checkpoint(tmp_path / "c.safetensors", fresh, others, "me").step == 7
    assert [[model.representation.filters.grid.intervals] for model in fresh.values()] == intervals


def test_refined_tables_leave_room_to_grow():
    model = steepened(model_of())
    refine(model, 0)
    assert model.representation.filters.certify().error <= MARGIN * 1e-6


def test_weights_without_a_table_are_a_divergence():
    model = steepened(model_of(), float("nan"))
    with pytest.raises(InputError, match="diverged by step 300, or its filters became too steep: no table meets"):
        refine(model, 300)


@pytest.mark.parametrize(
    "changes", [{"filter_accuracy": None}, {"interactions": 0}, {"shared_filters": True}], ids=lambda c: next(iter(c))
)
def test_other_forms_train(changes, tmp_path):
    data = toy_data()
    run = toy_run(epochs=2)
    representation = run.model.representation.model_copy(update=changes)
    run = run.model_copy(update={"model": ModelConfig(representation=representation)})
    train(run, data, toy_split(data), tmp_path / "run")
    load_model(tmp_path / "run" / "model.safetensors", exact_filters=True)


def test_steps_compute_gradients_of_parameters_alone(tmp_path, monkeypatch):
    vectors = []
    plain = Batch.pair_vectors

    def noting(batch):
        vectors.append(plain(batch))
        return vectors[-1]

    monkeypatch.setattr(Batch, "pair_vectors", noting)
    data = toy_data()
    train(toy_run(epochs=1), data, toy_split(data), tmp_path / "run")
    differentiated = [vector for vector in vectors if vector.requires_grad]
    assert differentiated
    assert all(vector.grad is None for vector in differentiated)
