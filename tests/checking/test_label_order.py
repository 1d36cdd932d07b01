"""Labels of other structures, labels that do not follow from each other, atoms that changed places."""

from dataclasses import replace

import numpy as np
import pytest
from emt_frames import dataset, ethanols

from atomlens.checking.label_order import LABEL_ORDER, check_label_order, explained
from atomlens.checking.swapped_atoms import swaps_in
from atomlens.data.dataset import Dataset

COUNT = 400


@pytest.fixture(scope="module")
def mixed():
    """Random molecules of H, C and O; labels follow the composition but for a part that is their own."""
    random = np.random.default_rng(0)
    counts = random.integers(1, 8, size=(COUNT, 3))
    numbers = np.concatenate([np.repeat([1, 6, 8], row) for row in counts])
    n_atoms = counts.sum(axis=1)
    per_atom = {
        "energy": ([-13.6, -1030.0, -2040.0], 1.0),
        "zero_point_energy": ([0.25, 0.15, 0.1], 0.1),
        "heat_capacity": ([1e-5, 8e-5, 8e-5], 5e-5),
    }
    labels = {
        name: counts @ np.array(terms) + random.normal(scale=noise, size=COUNT)
        for name, (terms, noise) in per_atom.items()
    }
    share = counts[:, 2] / n_atoms
    labels["homo"] = -6.0 - 2.0 * share + random.normal(scale=0.2, size=COUNT)
    labels["lumo"] = 1.0 - share + random.normal(scale=0.2, size=COUNT)
    labels["gap"] = labels["lumo"] - labels["homo"]
    return Dataset.from_arrays(numbers, random.normal(scale=50.0, size=(len(numbers), 3)), n_atoms, labels)


def with_labels(data, **labels):
    return replace(data, labels={**data.labels, **labels})


def of_status(data, *statuses):
    return [outcome for outcome in check_label_order(data) if outcome.status in statuses]


def test_right_labels_pass(mixed):
    found = check_label_order(mixed)
    assert [outcome.status for outcome in found] == ["ok"]
    assert found[0].facts["explained"]["energy"] > 0.999


def test_share_explained_by_hand():
    """Labels of 1, 2 and 3 atoms, each twice, off by ±1: 4 of the sum of squares is explained, 6 is not."""
    counts = np.tile(np.repeat([1, 2, 3], 2), 10)
    values = np.tile([0.0, 2.0, 1.0, 3.0, 2.0, 4.0], 10)
    made = Dataset.from_arrays(
        np.ones(counts.sum()), np.arange(3.0 * counts.sum()).reshape(-1, 3), counts, {"energy": values}
    )
    # Within: 60 · 1; total: 60 · (1 + 2/3).
    raw = 1.0 - 1.0 / (1.0 + 2.0 / 3.0)
    assert explained(made, "energy").share == pytest.approx(1.0 - (1.0 - raw) * 59 / 58)


@pytest.mark.parametrize("name", ["energy", "zero_point_energy", "heat_capacity"])
def test_one_shuffled_column(mixed, name):
    shuffled = np.random.default_rng(1).permutation(mixed.labels[name])
    found = of_status(with_labels(mixed, **{name: shuffled}), "fault")
    assert len(found) == 1
    assert f"'{name}'" in found[0].sentence.lower()
    assert "shuffled" in found[0].sentence
    figure = found[0].figures[f"composition_{name}"]()
    assert "by the composition" in figure.axes[0].get_xlabel()


def test_half_a_shuffled_column(mixed):
    values = mixed.labels["zero_point_energy"].copy()
    values[: COUNT // 2] = np.random.default_rng(1).permutation(values[: COUNT // 2])
    found = of_status(with_labels(mixed, zero_point_energy=values), "warning")
    assert len(found) == 1
    assert "part of it may be shuffled" in found[0].sentence
    assert "'energy'" in found[0].sentence


def test_shuffled_labels_of_many_reach_chance_only(mixed):
    random = np.random.default_rng(2)
    found = [
        explained(with_labels(mixed, energy=random.permutation(mixed.labels["energy"])), "energy").deviations
        for _ in range(200)
    ]
    assert np.mean(found) == pytest.approx(0.0, abs=0.3)
    assert np.std(found) == pytest.approx(1.0, abs=0.3)


def test_one_composition_is_skipped():
    made = dataset(ethanols(5), ("energy",))
    assert [outcome.status for outcome in check_label_order(made)] == ["skipped"]


def test_gap_that_is_not_the_gap(mixed):
    shuffled = with_labels(mixed, gap=np.random.default_rng(3).permutation(mixed.labels["gap"]))
    found = [outcome for outcome in of_status(shuffled, "fault") if "lumo - homo" in outcome.sentence]
    assert len(found) == 1
    one = mixed.labels["gap"].copy()
    one[123] += 1.0
    found = of_status(with_labels(mixed, gap=one), "warning")
    assert found[0].structures.tolist() == [123]


def test_dipole_and_its_length():
    made = dataset(ethanols(40), ("energy",))
    dipole = np.random.default_rng(0).normal(size=(40, 3))
    length = np.linalg.norm(dipole, axis=1)
    right = replace(made, labels={"dipole": dipole, "dipole_magnitude": length})
    assert not of_status(right, "fault", "warning")
    wrong = replace(made, labels={"dipole": dipole, "dipole_magnitude": 4.8 * length})
    assert "length of the dipole" in of_status(wrong, "fault")[0].sentence


@pytest.fixture(scope="module")
def frames():
    return dataset(ethanols(60), ("energy",))


def exchanged(data, frame, one, other):
    positions = data.positions.reshape(60, 9, 3).copy()
    positions[frame, [one, other]] = positions[frame, [other, one]]
    return replace(data, positions=positions.reshape(-1, 3))


def test_no_atoms_changed_places(frames):
    found = check_label_order(frames)
    assert [outcome.status for outcome in found] == ["ok"]
    assert "60 frames" in found[0].sentence


@pytest.mark.parametrize("atoms", [(0, 1), (0, 2), (1, 4), (2, 8), (3, 5)])
def test_two_atoms_changed_places(frames, atoms):
    found = of_status(exchanged(frames, 41, *atoms), "fault")
    assert len(found) == 1
    assert found[0].structures.tolist() == [41]
    assert found[0].facts["swaps"] == [{"structure": 41, "atoms": sorted(atoms)}]


def test_another_conformation_is_no_exchange(frames):
    """The hydroxyl hydrogen turned to the other side stays bonded to its oxygen."""
    positions = frames.positions.reshape(60, 9, 3).copy()
    carbon, oxygen, hydrogen = positions[7, 1], positions[7, 2], positions[7, 3]
    axis = (oxygen - carbon) / np.linalg.norm(oxygen - carbon)
    along = np.dot(hydrogen - oxygen, axis) * axis
    positions[7, 3] = oxygen + 2.0 * along - (hydrogen - oxygen)
    assert swaps_in(replace(frames, positions=positions.reshape(-1, 3)), np.arange(60)) == []


def test_isomers_are_not_frames():
    random = np.random.default_rng(0)
    made = Dataset.from_arrays(np.tile([6, 1, 8, 1], 30), random.normal(scale=3.0, size=(120, 3)), np.full(30, 4), {})
    assert swaps_in(made, np.arange(30)) is None


def test_elements_in_another_order(frames):
    numbers = frames.numbers.reshape(60, 9).copy()
    numbers[5] = numbers[5, ::-1]
    positions = frames.positions.reshape(60, 9, 3).copy()
    positions[5] = positions[5, ::-1]
    made = replace(frames, numbers=numbers.ravel(), positions=positions.reshape(-1, 3))
    found = LABEL_ORDER.run(made)
    assert [outcome.status for outcome in found] == ["note"]
    assert found[0].structures.tolist() == [5]
