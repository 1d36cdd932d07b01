"""What a model saw: independent recounts, planted strangers, and a false-alarm rate that is what it is said to be."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.spatial.transform import Rotation

from atomlens.cli.info import info
from atomlens.coverage import KEY, Coverage
from atomlens.data.batching import BatchSource
from atomlens.data.dataset import Dataset
from atomlens.data.splits import random_split
from atomlens.errors import InputError
from atomlens.model import Model, ModelConfig
from atomlens.model_file import load_model, save_model
from atomlens.training import RunConfig, train
from atomlens.training.loop import MODEL

REST = np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0], [0.5, 0.5, 2.6]])
NUMBERS = np.array([8, 1, 1, 6])


def made_model(elements=(1, 6, 8), **settings):
    torch.manual_seed(0)
    config = {"representation": {"name": "schnet", "features": 24, "interactions": 2, "cutoff": 4.0, **settings}}
    return Model(ModelConfig.parse(config), elements).set_precision(torch.float64)


def molecules(count, seed, spread=0.05, numbers=NUMBERS, rest=REST):
    positions = rest + spread * np.random.default_rng(seed).normal(size=(count, *rest.shape))
    return Dataset.from_arrays(np.tile(numbers, count), positions.reshape(-1, 3), np.full(count, len(numbers)), {})


def crystals(count, seed):
    rng = np.random.default_rng(seed)
    positions = np.array([[0.0, 0.0, 0.0], [1.3, 1.3, 1.3]]) + 0.05 * rng.normal(size=(count, 2, 3))
    return Dataset.from_arrays(
        np.tile([6, 8], count),
        positions.reshape(-1, 3),
        np.full(count, 2),
        {},
        cell=np.tile(2.6 * np.eye(3), (count, 1, 1)),
        pbc=np.ones((count, 3), dtype=bool),
    )


@pytest.fixture(scope="module")
def model():
    return made_model()


@pytest.fixture(scope="module")
def coverage(model):
    return Coverage.of(model, molecules(400, 0), molecules(300, 1))


def checked(coverage, model, data):
    batch, _ = BatchSource(data, model.cutoff, []).batch(np.arange(len(data)))
    with torch.no_grad():
        return coverage.check(batch, model.representation(batch)), batch


def moved(data, atom, to):
    positions = data.positions.copy()
    positions[atom] = to
    return Dataset.from_arrays(data.numbers, positions, data.n_atoms, {})


def test_distances_are_those_of_a_plain_count(model):
    data = molecules(50, 3)
    found = Coverage.of(model, data)
    for first in (1, 6, 8):
        for second in (1, 6, 8):
            lengths = [
                np.linalg.norm(system.positions[i] - system.positions[j])
                for system in data
                for i in np.flatnonzero(system.numbers == first)
                for j in np.flatnonzero(system.numbers == second)
                if i != j
            ]
            within = [length for length in lengths if length < model.cutoff]
            assert found.pair(first, second) == pytest.approx(min(within, default=np.inf), abs=1.1e-3)
    assert found.pair(6, 6) == np.inf
    alone = [cdist(s.positions[3:], s.positions[:3]).min() for s in data]
    assert found.nearest_of(6) == pytest.approx(max(alone), abs=1.1e-3)


def test_images_in_cells_count(model):
    found = Coverage.of(model, crystals(40, 0))
    assert found.pair(6, 6) == pytest.approx(2.6, abs=1e-3)  # an atom and its own image
    assert found.pair(6, 8) < 2.25 < found.pair(6, 6)
    excess, _ = checked(found, model, crystals(40, 0))
    assert excess.closer.max() <= 0
    assert excess.farther.max() <= 0


def test_training_itself_is_not_strange(model, coverage):
    excess, _ = checked(coverage, model, molecules(400, 0))
    assert excess.closer.max() <= 0
    assert excess.farther.max() <= 0
    strange = np.maximum.reduceat(excess.surroundings, np.arange(0, 1600, 4)) > 1
    assert strange.mean() <= 0.02


@pytest.mark.parametrize("seed", range(3))
def test_the_share_of_false_alarms_is_what_is_said(model, seed):
    """Over many draws it is at most 1/(n + 1); a share of 3000 has a deviation of 0.2 %, the limit one of its own."""
    shares = []
    for draw in range(4):
        found = Coverage.of(model, molecules(100, [seed, draw, 0]), molecules(99, [seed, draw, 1]))
        assert found.false_alarms == pytest.approx(0.01)
        excess, _ = checked(found, model, molecules(750, [seed, draw, 2]))
        shares.append(np.mean(np.maximum.reduceat(excess.surroundings, np.arange(0, 3000, 4)) > 1))
    assert np.mean(shares) < 0.03
    assert np.mean(shares) > 0  # not a limit that nothing reaches


def test_where_many_are_held_out_the_stated_share_of_them_is_beyond_the_limit(model, monkeypatch):
    monkeypatch.setattr("atomlens.coverage.FALSE_ALARMS", 0.1)
    held_out = molecules(99, 1)
    found = Coverage.of(model, molecules(100, 0), held_out)
    assert found.false_alarms == pytest.approx(0.1)
    excess, _ = checked(found, model, held_out)
    assert np.sum(np.maximum.reduceat(excess.surroundings, np.arange(0, 396, 4)) > 1 + 1e-9) == 9


def test_squeezed_atoms_are_closer_by_as_much(model, coverage):
    data = moved(molecules(1, 5, spread=0.0), 1, [0.6, 0.0, 0.0])
    excess, batch = checked(coverage, model, data)
    worst = int(excess.closer.argmax())
    assert {int(batch.pairs.centre[worst]), int(batch.pairs.neighbour[worst])} == {0, 1}
    assert excess.closer[worst] == pytest.approx(coverage.pair(1, 8) - 0.6)


def test_an_atom_that_flies_off_is_farther_by_as_much(model, coverage):
    data = moved(molecules(1, 5, spread=0.0), 1, [2.5, 0.0, 0.0])
    excess, _ = checked(coverage, model, data)
    nearest = np.linalg.norm(REST[[0, 2, 3]] - [2.5, 0.0, 0.0], axis=1).min()
    assert excess.farther[1] == pytest.approx(nearest - coverage.nearest_of(1))
    assert excess.surroundings[1] > 2
    gone, _ = checked(coverage, model, moved(data, 1, [50.0, 0.0, 0.0]))
    assert gone.farther[1] == np.inf


def test_elements_never_met_are_told_apart_from_those_far_away(model, coverage):
    data = Dataset.from_arrays([6, 6, 8], [[0, 0, 0], [1.4, 0, 0], [0, 0, 3.0]], [3], {})
    excess, batch = checked(coverage, model, data)
    both_carbon = (batch.numbers[batch.pairs.centre] == 6) & (batch.numbers[batch.pairs.neighbour] == 6)
    assert np.isposinf(excess.closer).tolist() == both_carbon.tolist()


def test_pairs_beyond_the_cutoff_count_for_nothing(model, coverage):
    data = Dataset.from_arrays([6, 6], [[0, 0, 0], [4.2, 0, 0]], [2], {})
    batch, _ = BatchSource(data, 5.0, []).batch(np.arange(1))
    with torch.no_grad():
        excess = coverage.check(batch, model.representation(batch))
    assert len(excess.closer) == 2
    assert np.isneginf(excess.closer).all()
    assert np.isposinf(excess.farther).all()


def test_unknown_elements_and_numbers_that_are_none_are_endlessly_strange(coverage):
    features = torch.zeros(2, 24, dtype=torch.float64)
    assert np.isposinf(coverage.strangeness(np.array([7, 92]), features)).all()
    features[1, 3] = torch.nan
    found = coverage.strangeness(np.array([1, 1]), features)
    assert np.isfinite(found[0])
    assert np.isposinf(found[1])


def test_strangeness_is_the_distance_to_the_nearest_kept_atom(model, coverage):
    batch, _ = BatchSource(molecules(5, 8), model.cutoff, []).batch(np.arange(5))
    with torch.no_grad():
        features = model.representation(batch)
    numbers = batch.numbers.numpy()
    for place, element in enumerate(coverage.elements):
        at = features.numpy()[numbers == element] @ coverage.directions - coverage.centres[place]
        by_hand = cdist(at, coverage.kept[place].astype(float)).min(axis=1) / coverage.limit
        found = coverage.strangeness(numbers, features)[numbers == element]
        np.testing.assert_allclose(found, by_hand, rtol=1e-8)


def test_directions_are_white(model, coverage):
    batch, _ = BatchSource(molecules(400, 0), model.cutoff, []).batch(np.arange(400))
    with torch.no_grad():
        values = model.representation(batch).numpy() @ coverage.directions
    numbers = batch.numbers.numpy()
    within = np.concatenate([values[numbers == z] - values[numbers == z].mean(axis=0) for z in coverage.elements])
    np.testing.assert_allclose(within.T @ within / len(within), np.eye(within.shape[1]), atol=1e-3)


def test_motions_order_and_company_change_nothing(model, coverage):
    data = molecules(3, 11, spread=0.3)
    excess, _ = checked(coverage, model, data)
    rotation = Rotation.from_rotvec([0.3, -1.1, 0.7]).as_matrix()
    order = np.concatenate([np.array([3, 1, 0, 2]) + 4 * place for place in (2, 0, 1)])
    turned = Dataset.from_arrays(
        data.numbers[order], (data.positions @ rotation.T + [1.0, -2.0, 3.0])[order], data.n_atoms, {}
    )
    again, _ = checked(coverage, model, turned)
    np.testing.assert_allclose(again.surroundings, excess.surroundings[order], rtol=1e-6)
    np.testing.assert_allclose(again.farther, excess.farther[order], atol=1e-9)
    np.testing.assert_allclose(np.sort(again.closer), np.sort(excess.closer), atol=1e-9)


def test_it_is_stored_in_the_model_file_and_says_the_same(model, coverage, tmp_path):
    model = made_model()
    assert Coverage.stored(model) is None
    model.provenance = {KEY: coverage.to_dict()}
    save_model(model, tmp_path / "model.safetensors")
    again = Coverage.stored(load_model(tmp_path / "model.safetensors"))
    assert again.to_dict() == coverage.to_dict()
    first, _ = checked(coverage, model, molecules(20, 9, spread=0.2))
    second, _ = checked(again, model, molecules(20, 9, spread=0.2))
    np.testing.assert_array_equal(first.surroundings, second.surroundings)
    np.testing.assert_array_equal(first.closer, second.closer)
    np.testing.assert_array_equal(first.farther, second.farther)
    assert str(again) == str(coverage)
    assert "O–H" not in str(again)
    assert f"H–O {coverage.pair(1, 8):.2f} Å" in str(again)


def test_it_stays_small_for_all_elements_and_many_features():
    elements = list(range(1, 88))
    model = made_model(elements=elements, features=128)
    rng = np.random.default_rng(0)
    grid = 1.8 * np.stack(np.meshgrid(*3 * [range(2)]), axis=-1).reshape(-1, 3)
    positions = grid + rng.uniform(-0.3, 0.3, (400, 8, 3))
    data = Dataset.from_arrays(rng.choice(elements, 3200), positions.reshape(-1, 3), np.full(400, 8), {})
    found = Coverage.of(model, data)
    assert found.elements == tuple(elements)
    assert len(json.dumps(found.to_dict(), allow_nan=False)) < 100_000


def test_rare_elements_are_looked_at(model, monkeypatch):
    monkeypatch.setattr("atomlens.coverage.MOST_STRUCTURES", 10)
    common, rare = molecules(200, 0), molecules(1, 1, numbers=np.array([7, 1, 1, 1]))
    data = Dataset.from_arrays(
        np.concatenate([common.numbers[:404], rare.numbers, common.numbers[404:]]),
        np.concatenate([common.positions[:404], rare.positions, common.positions[404:]]),
        np.full(201, 4),
        {},
    )
    model = made_model(elements=(1, 6, 7, 8))
    found = Coverage.of(model, data, molecules(50, 2))
    assert found.sampled == 11
    assert found.structures == 201
    excess, _ = checked(found, model, rare)
    assert excess.surroundings[0] < 0.1


def test_nothing_that_varies_is_no_reason_for_alarm(model):
    """Lone atoms have one environment; that their features are equal must not turn rounding into alarms."""
    atoms = Dataset.from_arrays(np.full(20, 8), np.zeros((20, 3)), np.ones(20, dtype=int), {})
    found = Coverage.of(model, atoms)
    excess, _ = checked(found, model, atoms)
    assert excess.surroundings.max() <= 1
    assert np.isneginf(excess.farther).all()  # they never had neighbours
    assert Coverage.from_dict(json.loads(json.dumps(found.to_dict(), allow_nan=False))).nearest[0] == np.inf


def test_one_structure_is_too_few(model):
    with pytest.raises(InputError, match="two at least"):
        Coverage.of(model, molecules(1, 0))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda values: values.pop("kept"), "'kept' is missing"),
        (lambda values: values.update(elements=[8, 1, 6]), "rising"),
        (lambda values: values.update(elements=[1, 6]), "fit"),
        (lambda values: values.update(elements=[1, 6, 130]), "atomic numbers"),
        (lambda values: values.update(limit=0.0), "'limit'"),
        (lambda values: values.update(limit=None), "float"),
        (lambda values: values.update(centres="not base64!"), "base64"),
        (lambda values: values.update(directions=values["directions"][:40]), "direction|buffer|reshape|base64"),
        (lambda values: values.update(kept_atoms=[1, 1, 1]), "kept_atoms"),
        (lambda values: values["smallest_distances"][2].pop(), "fit the elements"),
        (lambda values: values["smallest_distances"][1].__setitem__(0, -1.0), "positive"),
        (lambda values: values.update(largest_nearest_distances="soon"), "could not convert|distances"),
        (lambda values: values.update(smallest_distances=7), "subscriptable"),
    ],
)
def test_damage_is_refused(coverage, change, said):
    values = json.loads(json.dumps(coverage.to_dict()))
    change(values)
    with pytest.raises(InputError, match="damaged") as caught:
        Coverage.from_dict(values)
    assert re.search(said, caught.value.problem), caught.value.problem


def test_the_coverage_of_another_model_is_refused(coverage):
    other = made_model(features=16)
    other.provenance = {KEY: coverage.to_dict()}
    with pytest.raises(InputError, match="24 features, where the model has 16"):
        Coverage.stored(other)


@pytest.mark.parametrize(
    "representation",
    [{"name": "dtnn"}, {"name": "behler_parrinello", "cutoff": 4.0}, {"name": "schnet", "cutoff": 4.0}],
    ids=lambda entry: entry["name"],
)
def test_every_representation_has_one(representation):
    torch.manual_seed(0)
    model = Model(ModelConfig.parse({"representation": representation}), (1, 6, 8))
    training = BatchSource(molecules(200, 0), model.cutoff, [])
    model.representation.standardise([training.batch(np.arange(200))[0]])
    found = Coverage.of(model, training, molecules(200, 1))
    assert found.cutoff == model.cutoff
    usual, _ = checked(found, model, molecules(200, 2))
    strange, _ = checked(found, model, molecules(200, 2, spread=0.5))
    share = [np.mean(np.maximum.reduceat(e.surroundings, np.arange(0, 800, 4)) > 1) for e in (usual, strange)]
    assert share[0] <= 0.03
    assert share[1] > 0.95


@pytest.mark.parametrize("values", [None, [], "coverage", {}])
def test_what_is_no_coverage_is_refused(values):
    with pytest.raises(InputError, match="damaged"):
        Coverage.from_dict(values)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The model file of a short training, and the data and split behind it."""
    folder = tmp_path_factory.mktemp("training") / "run"
    data = molecules(60, 0)
    labelled = replace(data, labels={"energy": np.random.default_rng(0).normal(size=60)})
    split = random_split(labelled, 40, 15, 5, seed=0)
    config = RunConfig.parse(
        {
            "data": {"path": "toy"},
            "model": {"representation": {"name": "schnet", "features": 16, "interactions": 1, "cutoff": 4.0}},
            "training": {"epochs": 2, "batch_size": 20, "tensorboard": False, "checkpoint_seconds": 0},
        }
    )
    train(config, labelled, split, folder)
    return folder / MODEL, labelled, split


def test_training_stores_what_it_saw(trained):
    path, data, split = trained
    model = load_model(path)
    found = Coverage.stored(model)
    assert (found.structures, found.sampled, found.held_out) == (40, 40, 15)
    expected = Coverage.of(model, data.subset(split.train), data.subset(split.validation))
    assert found.to_dict() == expected.to_dict()


def test_info_tells_it_in_a_line(trained, capsys):
    info(trained[0])
    said = capsys.readouterr().out
    line = next(entry for entry in said.splitlines() if entry.startswith("coverage:"))
    assert "smallest distances H–O" in line
    assert "kept:" not in said  # arrays are for programs
    info(trained[0], as_json=True)
    facts = json.loads(capsys.readouterr().out)
    assert facts["provenance"][KEY]["structures"] == 40


def test_info_of_a_model_without_one(tmp_path, capsys):
    save_model(made_model(), tmp_path / "old.safetensors")
    info(tmp_path / "old.safetensors")
    assert "coverage: not known; the training was not finished" in capsys.readouterr().out
