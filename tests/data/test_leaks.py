"""Planted leaks are found, and none where there are none."""

import json
from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk, make_supercell

from atomlens.data.dataset import Column, Dataset, Origin
from atomlens.data.leaks import find_leaks
from atomlens.data.leaks.fingerprints import MOST_COLUMNS, fingerprints, open_fingerprints
from atomlens.data.leaks.nearest import nearest
from atomlens.data.splits import Split, make_split, random_split
from atomlens.errors import InputError
from tests.data.made_up_sets import joined, molecules, moved, remembering


def cluster(rng, size=7):
    """Atoms in a box, none too close to another."""
    while True:
        positions = rng.uniform(0, 5, size=(size, 3))
        apart = np.linalg.norm(positions[:, None] - positions, axis=-1) + 9.0 * np.eye(size)
        if apart.min() > 0.8:
            return np.array([1, 1, 6, 6, 6, 8, 8][:size]), positions


def clusters(count, seed=0):
    rng = np.random.default_rng(seed)
    return [cluster(rng) for _ in range(count)]


def halves(data, train):
    """The first structures train, the last one validates, those between test."""
    rows = np.arange(len(data))
    return Split(rows[:train], rows[-1:], rows[train:-1], data.structure_hash, "by hand")


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_turned_shifted_and_reordered_copy_is_found(seed, mirrored):
    rng = np.random.default_rng(seed)
    structures = clusters(60, seed)
    numbers, positions = structures[7]
    structures[45] = moved(numbers, positions * [1, 1, -1 if mirrored else 1], rng)
    structures[50] = (structures[11][0], structures[11][1] + 0.01 * rng.normal(size=(7, 3)))
    data = joined(structures)
    found = find_leaks(data, halves(data, 30)).subsets["test"]
    assert found.copies.tolist() == [[45, 7]]
    assert found.close.tolist() == [[50, 11]]
    assert found.copies_complete
    assert found.distances[0] == pytest.approx(_sorted_difference(structures[50], structures[11]), rel=1e-3)
    assert found.distances[0] < 0.05
    sentences = find_leaks(data, halves(data, 30)).sentences
    assert len(sentences) == 2
    assert sentences[0].startswith("1 test structure is a copy of training structures")
    assert "such as 45 of 7" in sentences[0]
    assert "1 of 29 test structures is close to a training structure (such as 50, " in sentences[1]


def _sorted_difference(one, other):
    """Root mean square difference of the distances, sorted for each pair of elements, written out."""
    squares = []
    for first in (1, 6, 8):
        for second in (1, 6, 8):
            pairs = [
                sorted(
                    np.linalg.norm(xyz[i] - xyz[j])
                    for i in range(len(z))
                    for j in range(i)
                    if (z[i], z[j]) in ((first, second), (second, first))
                )
                for z, xyz in (one, other)
            ]
            if first <= second:
                squares += [(a - b) ** 2 for a, b in zip(*pairs, strict=True)]
    return np.sqrt(np.mean(squares))


@pytest.mark.parametrize("seed", range(5))
def test_nothing_is_reported_where_nothing_leaks(seed):
    data = joined(clusters(200, seed))
    report = find_leaks(data, random_split(data, 100, 20, None, seed))
    assert not report.leaking
    assert report.sentences == []
    found = report.to_dict()["test"]
    assert (found["copies"], found["close"], found["in_time"]) == (0, 0, None)
    assert found["examined"] == found["comparable"] == found["structures"] == 80
    assert 0.05 < found["median_nearest_angstrom"] < found["median_typical_angstrom"]
    json.dumps(report.to_dict(), allow_nan=False)


def test_other_compositions_are_not_compared():
    structures = clusters(20)
    structures[15] = (np.array([1, 1, 6, 6, 6, 8, 7]), structures[3][1])  # one atom is another
    data = joined(structures)
    found = find_leaks(data, halves(data, 10)).subsets["test"]
    assert len(found.copies) == len(found.close) == 0
    assert (found.comparable, found.structures) == (8, 9)


def test_places_are_those_in_the_users_file():
    structures = clusters(12)
    structures[9] = structures[2]
    data = joined(structures)
    data = replace(data, origin=Origin("set.xyz", places=100 + np.arange(12)))
    assert find_leaks(data, halves(data, 6)).subsets["test"].copies.tolist() == [[109, 102]]


def test_stiff_molecules_are_not_all_close():
    """All frames are within 0.05 Å of each other; only those far below the usual distance count."""
    data, _ = molecules(frames=80, names=("CH3CHO",), noise=0.003)
    data = Dataset.from_arrays(data.numbers, data.positions, data.n_atoms, {})
    found = find_leaks(data, random_split(data, 50, 5, None, 0)).subsets["test"]
    assert found.typical < 0.02
    assert len(found.close) == 0


def supercell(atoms, matrix, rng):
    """The same crystal with another cell, turned and shifted."""
    large = make_supercell(atoms, matrix)
    large.rotate(rng.uniform(0, 360), rng.normal(size=3), rotate_cell=True)
    large.positions += rng.normal(size=3)
    return large


@pytest.mark.parametrize("seed", range(3))
def test_a_crystal_in_another_cell_is_a_copy(seed):
    rng = np.random.default_rng(seed)
    crystals = [bulk("NaCl", "rocksalt", a=a) for a in (5.0, 5.3, 5.64)] + [bulk("NaCl", "cesiumchloride", a=3.5)]
    other = bulk("NaCl", "zincblende", a=6.0)
    copy = supercell(crystals[2], [[2, 0, 0], [1, 1, 0], [0, 0, 1]], rng)
    strained = crystals[1].copy()
    strained.set_cell(strained.cell.array * 1.002, scale_atoms=True)
    systems = [*crystals, other, copy, strained, other]
    data = joined(
        [(atoms.numbers, atoms.positions) for atoms in systems], cell=np.stack([atoms.cell.array for atoms in systems])
    )
    found = find_leaks(data, halves(data, 4)).subsets["test"]
    assert found.copies.tolist() == [[5, 2]]
    assert found.close.tolist() == [[6, 1]]
    # A strain of 0.2 % moves the 16 nearest neighbours by that: 6 at a/2, 10 of the 12 at a/√2.
    moved_by = 0.002 * 5.3 * np.sqrt((6 * 0.25 + 10 * 0.5) / 16)
    assert found.distances[0] == pytest.approx(moved_by, rel=1e-3)


def test_frames_next_to_training_frames_are_found_in_random_splits_and_not_in_blocks():
    data = many_dimensional(6000, 20.0)
    for method, leaking in (("random", True), ("blocks", False)):
        found = find_leaks(data, make_split(data, method, 600, 100)).subsets["test"]
        assert found.in_time.leaking is leaking
        assert found.in_time.window == pytest.approx(5 * 20.0, rel=0.4)
        if not leaking:
            assert found.in_time.observed == found.in_time.by_chance == 0
    text = " ".join(find_leaks(data, make_split(data, "random", 600, 100)).sentences)
    assert "interpolation between frames of one trajectory; split.method blocks tests on frames without" in text


def many_dimensional(frames, time, seed=0, columns=None):
    """Six atoms that each remember on their own: frames of different times are never close by accident."""
    rest = cluster(np.random.default_rng(seed), 6)
    moves = np.stack([remembering(frames, time, seed * 100 + k) for k in range(18)], axis=1).reshape(frames, 6, 3)
    energy = remembering(frames, time, seed * 100 + 50)
    return joined([(rest[0], rest[1] + 0.1 * move) for move in moves], columns, {"energy": energy})


def test_share_of_leaking_frames_is_that_of_frames_with_a_neighbour():
    """Frames two steps apart in memories of twenty are the nearest there are; shuffled files say so by the column."""
    order = np.random.default_rng(0).permutation(3000)
    data = many_dimensional(3000, 20.0).subset(order)
    split = random_split(data, 1000, 100, None, 0)
    lost = find_leaks(data, split).subsets["test"]
    assert lost.in_time is None  # the order of the file says nothing
    assert len(lost.close) > 100  # closeness itself is told
    assert "between structures that are nearly the same" in lost.sentences[0]
    told = Dataset(
        **{
            **{name: getattr(data, name) for name in Dataset.__dataclass_fields__},
            "columns": {"frame": Column(order, "system")},
        }
    )
    found = find_leaks(told, split).subsets["test"]
    assert found.in_time.leaking
    assert found.in_time.observed > 0.9 * found.in_time.frames
    assert 0.8 * len(lost.close) < len(found.close) <= len(lost.close)
    assert found.nearest < 0.7 * found.in_time.apart < found.typical
    assert found.in_time.unit == "steps of the column 'frame'"


def test_a_shape_that_comes_back_by_itself_is_no_leak():
    """Of two frames that are nearly equal to training frames only the one of nearly the same time counts."""
    data = many_dimensional(1500, 20.0, columns={"frame": np.arange(1500)})
    positions = data.positions.reshape(1500, -1, 3).copy()
    split = Split(np.arange(0, 700), np.arange(700, 720), np.arange(900, 1500), data.structure_hash, "by hand")
    positions[1400] = positions[100] + 0.004 * np.random.default_rng(0).normal(size=positions[0].shape)
    again = Dataset(
        **{
            **{name: getattr(data, name) for name in Dataset.__dataclass_fields__},
            "positions": positions.reshape(-1, 3),
        }
    )
    split = replace(split, data_hash=again.structure_hash)
    found = find_leaks(again, split).subsets["test"]
    assert len(found.close) == len(found.copies) == 0
    near = Dataset(
        **{
            **{name: getattr(again, name) for name in Dataset.__dataclass_fields__},
            "columns": {"frame": Column(np.r_[np.arange(1400), 101, np.arange(1401, 1500)], "system")},
        }
    )
    assert find_leaks(near, split).subsets["test"].close.tolist() == [[1400, 100]]


@pytest.mark.parametrize("seed", range(4))
def test_independent_frames_are_no_leak(seed):
    """Of decorrelated frames the nearest is near in time as often as chance has it: within four deviations."""
    data = many_dimensional(2000, 0.05, seed, {"frame": 7 * np.arange(2000)})
    found = find_leaks(data, random_split(data, 700, 100, None, seed)).subsets["test"]
    time = found.in_time
    assert not time.leaking
    assert time.by_chance > 0
    assert abs(time.observed - time.by_chance) < 4 * np.sqrt(time.by_chance) + 1


def test_large_sets_are_sampled_and_say_so():
    data = many_dimensional(9000, 20.0)
    found = find_leaks(data, random_split(data, 3000, 1000, None, 0))
    assert found.subsets["test"].examined == 2000
    assert found.subsets["test"].comparable == found.subsets["test"].structures == 5000
    assert found.subsets["validation"].examined == 500
    assert any("2,000 that were looked at" in text for text in found.sentences)


def test_copies_are_found_in_what_is_not_sampled():
    rng = np.random.default_rng(0)
    structures = clusters(2600)
    for k in range(40):
        structures[2500 + k] = moved(*structures[k], rng)
    data = joined(structures)
    found = find_leaks(data, halves(data, 100)).subsets["test"]
    assert found.examined == 2000
    assert sorted(found.copies.tolist()) == [[2500 + k, k] for k in range(40)]


def test_nearest_by_blocks_is_the_nearest():
    rng = np.random.default_rng(0)
    queries, known = rng.normal(size=(200, 12)).astype(np.float32), rng.normal(size=(90, 12)).astype(np.float32)
    table = np.linalg.norm(queries[:, None].astype(float) - known, axis=2)
    rows, distances = nearest(queries, known)
    np.testing.assert_array_equal(rows, table.argmin(axis=1))
    np.testing.assert_allclose(distances, table.min(axis=1), rtol=1e-5)
    mask = rng.random(table.shape) < 0.5
    mask[3] = True
    rows, distances = nearest(queries, known, lambda part: mask[part])
    table[mask] = np.inf
    assert rows[3] == -1
    np.testing.assert_array_equal(np.delete(rows, 3), np.delete(table, 3, axis=0).argmin(axis=1))
    np.testing.assert_allclose(distances, table.min(axis=1), rtol=1e-5)


def test_fingerprints_of_large_structures():
    """Thinned lists keep the distance of two structures, and those beyond a thousand atoms are told by neighbours."""
    rng = np.random.default_rng(0)
    lattice = 2.0 * np.stack(np.meshgrid(*[np.arange(11)] * 3), axis=-1).reshape(-1, 3)
    middle = [(np.full(60, 6), lattice[:60] + 0.1 * rng.normal(size=(60, 3))) for _ in range(2)]
    found = open_fingerprints(joined(middle), np.arange(2))
    whole = [np.sort(np.linalg.norm(xyz[:, None] - xyz, axis=-1)[np.triu_indices(60, 1)]) for _, xyz in middle]
    exact = np.sqrt(np.square(whole[0] - whole[1]).mean())
    assert found.shape[1] == MOST_COLUMNS
    assert np.linalg.norm(found[0] - found[1]) == pytest.approx(exact, rel=0.1)
    large = (np.full(len(lattice), 6), lattice + 0.1 * rng.normal(size=lattice.shape))
    data = joined([large, moved(*large, rng), (large[0], lattice + 0.1 * rng.normal(size=lattice.shape))])
    prints = fingerprints(data, np.arange(3))
    assert np.linalg.norm(prints[0] - prints[1]) < 1e-3
    assert np.linalg.norm(prints[0] - prints[2]) > 0.005


def test_a_split_of_other_data_is_refused():
    data, other = joined(clusters(10)), joined(clusters(10, seed=1))
    with pytest.raises(InputError, match="belongs to other structures"):
        find_leaks(other, halves(data, 5))
