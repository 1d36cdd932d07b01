"""Every kind of split keeps what it promises, whatever the seed."""

import numpy as np
import pytest

from atomlens.data.bond_graphs import bond_graphs
from atomlens.data.compositions import compositions
from atomlens.data.dataset import Column, Dataset
from atomlens.data.splits import (
    SPLITS,
    SUBSETS,
    Split,
    block_split,
    formula_split,
    isomer_split,
    learning_curve,
    make_split,
    size_split,
)
from atomlens.data.splits.isomers import isomers
from atomlens.data.timeline import memory, root_mean_square_distance, timeline
from atomlens.errors import InputError
from tests.data.made_up_sets import ISOMERS, diatomic_trajectory, joined, molecules

# What each needs beside its name for the made-up molecules, whose labels remember nothing.
OPTIONS = {"column": {"column": "split_01"}, "blocks": {"block_length": 10.0, "gap": 2.0}}
SEEDS = range(8)


@pytest.fixture(scope="module")
def mixture():
    return molecules()


def draw(data, method, train=40, validation=12, test=None, seed=0, among=None, **options):
    return make_split(data, method, train, validation, test, seed, among, **{**OPTIONS.get(method, {}), **options})


def without(data, *columns):
    kept = {key: column for key, column in data.columns.items() if key not in columns}
    return Dataset(**{**vars_of(data), "columns": kept})


def vars_of(data):
    return {name: getattr(data, name) for name in Dataset.__dataclass_fields__}


@pytest.mark.parametrize("method", SPLITS)
def test_sizes_nestedness_hash_and_file(method, mixture, tmp_path):
    data, _ = mixture
    for seed in SEEDS:
        small, large, again = (draw(data, method, train, seed=seed) for train in (15, 40, 40))
        assert set(small.train) < set(large.train)
        np.testing.assert_array_equal(small.validation, large.validation)
        if method != "random":  # there the test takes what is left
            np.testing.assert_array_equal(small.test, large.test)
        assert (len(small.train), len(large.train), len(large.validation)) == (15, 40, 12)
        assert large.hash == again.hash
        fewer = draw(data, method, test=9, seed=seed)
        assert len(fewer.test) == 9
        assert method == "random" or set(fewer.test) <= set(large.test)
        assert all((np.diff(getattr(large, name)) > 0).all() for name in SUBSETS)
    assert len({draw(data, method, seed=seed).hash for seed in SEEDS}) == len(SEEDS)
    large.save(tmp_path / "split.json")
    loaded = Split.load(tmp_path / "split.json", data)
    assert (loaded.hash, loaded.method) == (large.hash, large.method)
    assert f"seed {seed}" in large.method


@pytest.mark.parametrize("method", SPLITS)
def test_only_what_may_be_drawn_is_drawn(method, mixture):
    data, _ = mixture
    among = np.random.default_rng(0).random(len(data)) < 0.7
    for seed in SEEDS:
        split = draw(data, method, 30, 10, seed=seed, among=among)
        assert all(among[getattr(split, name)].all() for name in SUBSETS)
        assert split.method.endswith(f", among {among.sum()} of {len(data)} structures")


@pytest.mark.parametrize("method", SPLITS)
def test_what_cannot_be_had_is_said_in_one_sentence(method, mixture):
    data, _ = mixture
    for sizes in ((1000, 12, None), (40, 1000, None), (40, 12, 1000), (0, 12, None), (40, 0, None)):
        with pytest.raises(InputError) as caught:
            draw(data, method, *sizes)
        assert "\n" not in str(caught.value)
        assert any(word in str(caught.value) for word in ("ask for", "at least one"))


def test_no_formula_of_the_test_is_learned(mixture):
    data, _ = mixture
    group = compositions(data)
    for seed in SEEDS:
        split = draw(data, "formula", seed=seed)
        learned = group[np.concatenate([split.train, split.validation])]
        assert not set(learned) & set(group[split.test])
        assert set(np.flatnonzero(np.isin(group, group[split.test]))) == set(split.test)  # whole ones


def test_no_bonds_of_the_test_are_learned_but_their_formulas_are(mixture):
    data, names = mixture
    formulas_shared = 0
    for bare in (data, without(data, "trajectory")):  # by frames of trajectories, and frame by frame
        for seed in SEEDS:
            split = draw(bare, "isomers", seed=seed)
            learned = np.concatenate([split.train, split.validation])
            assert not set(names[learned]) & set(names[split.test])
            formulas_shared += bool(set(compositions(data)[learned]) & set(compositions(data)[split.test]))
    assert formulas_shared > len(SEEDS)


def test_a_trajectory_with_a_broken_bond_is_not_torn_apart():
    data, names = molecules(frames=12, names=("CH2OCH2", "CH3CHO"))
    first = np.flatnonzero(names == "CH2OCH2")[0]
    positions = data.positions.copy()
    positions[data.offsets[first]] += 8.0  # one atom far from the others
    broken = Dataset(**{**vars_of(data), "positions": positions})
    assert len(np.unique(bond_graphs(broken))) == 3
    np.testing.assert_array_equal(isomers(broken)[:, None] == isomers(broken), names[:, None] == names)
    split = draw(broken, "isomers", 8, 2, held_out=0.4)
    assert len(set(names[split.test])) == 1
    assert len(split.test) == 12


def test_share_that_is_held_out(mixture):
    data, _ = mixture
    for method in ("formula", "isomers", "trajectories", "blocks"):
        largest = 60 if method == "formula" else 20
        for share in (0.1, 0.3, 0.5):
            for seed in SEEDS:
                held = len(draw(data, method, 10, 5, seed=seed, held_out=share).test)
                assert abs(held - share * len(data)) <= largest, (method, share, seed)


def test_whole_trajectories(mixture):
    data, _ = mixture
    run = data.columns["trajectory"].values
    for seed in SEEDS:
        split = draw(data, "trajectories", seed=seed)
        assert not set(run[np.concatenate([split.train, split.validation])]) & set(run[split.test])
    with pytest.raises(InputError, match="no column 'trajectory'"):
        draw(without(data, "trajectory"), "trajectories")


def test_test_structures_are_larger_than_all_others(mixture):
    data, _ = mixture
    size = data.n_atoms
    for seed in SEEDS:
        split = draw(data, "size", seed=seed)
        assert size[np.concatenate([split.train, split.validation])].max() < size[split.test].min()
    chosen = draw(data, "size", max_atoms=7)
    assert size[np.concatenate([chosen.train, chosen.validation])].max() == 7
    assert "up to 7 atoms to learn from, up to 14 to test" in chosen.method
    assert len(chosen.test) == (size > 7).sum()
    # 20 of butane and 20 of isobutane have 14 atoms, the 120 of C2H6O and C3H6 9 each.
    assert len(size_split(data, 20, 5, None, 0, held_out=0.15).test) == 40
    assert len(size_split(data, 20, 5, 50, 0, held_out=0.15).test) == 50
    with pytest.raises(InputError, match="sizes go from 7 to 14"):
        draw(data, "size", max_atoms=14)
    with pytest.raises(InputError, match="same number of atoms"):
        draw(molecules(names=("CH2OCH2", "CH3CHO"))[0], "size", 10, 5)


def test_a_published_split_is_kept(mixture):
    data, _ = mixture
    code = data.columns["split_01"].values
    for seed in SEEDS:
        split = draw(data, "column", seed=seed)
        assert (code[np.concatenate([split.train, split.validation])] == 1).all()
        np.testing.assert_array_equal(split.test, np.flatnonzero(code == 2))
    with pytest.raises(InputError, match=r"no column 'split_02' .*there are: frame, trajectory, split_01"):
        draw(data, "column", column="split_02")
    with pytest.raises(InputError, match="column 'frame' holds 3 where 1"):
        draw(data, "column", column="frame")


@pytest.mark.parametrize("stated", [False, True])
def test_blocks_are_apart_in_time(stated, mixture):
    data, _ = mixture
    data = data if stated else without(data, "frame")
    when = timeline(data)
    for seed in SEEDS:
        split = draw(data, "blocks", seed=seed, block_length=12.0, gap=4.0)
        use = np.full(len(data), -1)
        for k, name in enumerate(SUBSETS):
            use[getattr(split, name)] = k
        for run in range(when.runs):
            mine = np.flatnonzero((when.run == run) & (use >= 0))
            apart = np.abs(when.time[mine][:, None] - when.time[mine])
            assert apart[use[mine][:, None] != use[mine]].min(initial=np.inf) >= 4.0
    assert ("steps of the column 'frame'" if stated else "frames of the file") in split.method


def test_blocks_forget_each_other():
    """Between a test frame and the nearest training frame at most e^-5 of the correlation is left.

    100 test blocks with two ends each show it to 1 / sqrt(200) = 0.07; three of these are allowed. Frames drawn at
    random are next to training frames, and correlate.
    """
    data, series = diatomic_trajectory(200_000, time=20.0)
    length, what = memory(data, timeline(data))
    assert length == pytest.approx(20.0, rel=0.14)  # see test_correlation
    assert what in ("energy", "size of the structure")
    correlations = {}
    for method in ("blocks", "random"):
        split = make_split(data, method, 20_000, 2_000, 20_000)
        after = np.minimum(np.searchsorted(split.train, split.test), len(split.train) - 1)
        around = split.train[np.stack([np.maximum(after - 1, 0), after])]
        nearest = around[np.abs(around - split.test).argmin(axis=0), np.arange(len(split.test))]
        correlations[method] = np.corrcoef(series[split.test], series[nearest])[0, 1]
        if method == "blocks":
            assert np.abs(nearest - split.test).min() >= 4.5 * 20.0
    assert abs(correlations["blocks"]) < 0.21
    assert correlations["random"] > 0.75


def test_lengths_of_blocks_follow_from_the_memory():
    data, _ = diatomic_trajectory(40_000, time=20.0, columns={"frame": 10 * np.arange(40_000)})
    length, _ = memory(data, timeline(data))
    split = block_split(data, 1000, 100, None, 0)
    assert f"blocks of {20 * length:.4g} steps of the column 'frame', gaps of {5 * length:.4g}" in split.method
    assert f"autocorrelation time of {length:.3g}" in split.method
    set_by_hand = block_split(data, 1000, 100, None, 0, block_length=5000.0, gap=100.0)
    assert "80 trajectory blocks of 5000 steps of the column 'frame', gaps of 100 (as set)" in set_by_hand.method
    short, _ = diatomic_trajectory(400, time=20.0)
    with pytest.raises(InputError, match=r"too short for decorrelated blocks: the .* has an autocorrelation time of"):
        block_split(short, 50, 10, None, 0)
    with pytest.raises(InputError, match="makes 2 blocks"):
        block_split(short, 50, 10, None, 0, block_length=200.0, gap=1.0)


def test_what_has_no_time_has_no_blocks(mixture):
    data, _ = mixture
    with pytest.raises(InputError, match=r"several compositions and no column 'trajectory'"):
        draw(without(data, "trajectory"), "blocks")
    cells = np.stack([4.0 * np.eye(3)] * 30)
    crystal = joined([(np.array([3]), np.zeros((1, 3)))] * 30, cell=cells)
    with pytest.raises(InputError, match=r"without energies; set split\.block_length and split\.gap"):
        draw(crystal, "blocks", 5, 2, block_length=None)
    assert len(draw(crystal, "blocks", 5, 2, block_length=3.0).train) == 5


def test_groups_that_are_too_few():
    data, _ = molecules(names=("CH2OCH2",))
    for method, draw_it in (("formulas", formula_split), ("isomers", isomer_split)):
        with pytest.raises(InputError, match=f"cannot hold whole {method} out: the 20 structures make up 1"):
            draw_it(data, 5, 2, None, 0)
    crystal = joined([(np.array([3]), np.zeros((1, 3)))] * 3, cell=np.stack([4.0 * np.eye(3)] * 3))
    with pytest.raises(InputError, match=r"use split\.method formula"):
        isomer_split(crystal, 1, 1, None, 0)


def test_every_element_of_the_test_is_learned():
    """Sixteen elements in a ring, a formula of each with the next: of two with an element one is learned at least."""
    pairs = [(3 + k, 3 + (k + 1) % 16) for k in range(16)]
    data = joined([(np.array(pair), np.array([[0.0, 0, 0], [0, 0, 2.0]])) for pair in pairs for _ in range(3)])
    for seed in SEEDS:
        split = formula_split(data, 20, 4, None, seed, held_out=0.6)
        learned = np.setdiff1d(np.arange(len(data)), split.test)
        assert set(data.subset(learned).elements) == set(range(3, 19))
        assert len(split.test) >= 3 * 5
    pure = joined([(np.array([number]), np.zeros((1, 3))) for number in (3, 11, 19) for _ in range(10)])
    with pytest.raises(InputError, match="none of the 3 formulas can be held out"):
        formula_split(pure, 10, 4, None, 0)


def test_a_crystal_and_its_supercell_are_not_torn_apart():
    cell = 3.0 * np.eye(3)
    structures, cells = [], []
    for first in range(3, 9):
        for second in range(first + 1, 10):
            one = np.array([first, second]), np.array([[0.0] * 3, [1.5] * 3])
            structures += [one, (np.tile(one[0], 2), np.concatenate([one[1], one[1] + [3.0, 0, 0]]))]
            cells += [cell, cell * [[2], [1], [1]]]
    data = joined(structures, cell=np.stack(cells))
    compound = np.arange(len(data)) // 2
    for seed in SEEDS:
        split = formula_split(data, 15, 5, None, seed)
        assert not set(compound[split.test]) & set(compound[np.concatenate([split.train, split.validation])])
        assert len(split.test) % 2 == 0


@pytest.mark.parametrize("method", SPLITS)
def test_learning_curves_are_nested(method, mixture):
    data, _ = mixture
    whole = draw(data, method)
    for seed in SEEDS:
        steps = learning_curve(whole, [5, 40, 10, 20], seed)
        assert [len(step.train) for step in steps] == [5, 40, 10, 20]
        five, all_of_them, ten, twenty = (set(step.train) for step in steps)
        assert five < ten < twenty < all_of_them == set(whole.train)
        for step in steps:
            np.testing.assert_array_equal(step.test, whole.test)
            np.testing.assert_array_equal(step.validation, whole.validation)
        assert steps[1].hash == whole.hash
        assert steps[2].method == f"{whole.method}; 10 of 40 training structures, seed {seed}"
    assert len({learning_curve(whole, [10], seed)[0].hash for seed in SEEDS}) == len(SEEDS)
    for size in (0, 41):
        with pytest.raises(InputError, match=f"cannot have {size} training structures"):
            learning_curve(whole, [10, size])


def test_options_that_do_not_belong_are_refused(mixture):
    data, _ = mixture
    with pytest.raises(InputError, match=r"split\.gap means nothing to split\.method formula, only to blocks"):
        make_split(data, "formula", 5, 5, gap=3.0)
    with pytest.raises(InputError, match=r"split\.method column needs split\.column"):
        make_split(data, "column", 5, 5)
    with pytest.raises(InputError, match="no split method 'formulas'; did you mean 'formula'"):
        make_split(data, "formulas", 5, 5)
    plain = make_split(data, "random", 5, 5, None, 1, held_out=None, gap=None)
    assert plain.method == "random, seed 1"


def test_size_of_a_structure_by_its_pairs():
    rng = np.random.default_rng(0)
    structures = [(rng.integers(1, 9, size), 50.0 + rng.normal(size=(size, 3))) for size in (1, 2, 5, 9)]
    data = joined(structures)
    weights = rng.random(len(data.numbers))
    for row, (numbers, positions) in enumerate(structures):
        mine = weights[data.offsets[row] : data.offsets[row + 1]]
        first, second = np.triu_indices(len(numbers), k=1)
        squared = np.square(positions[first] - positions[second]).sum(axis=1)
        expected = np.sqrt((mine[first] * mine[second] * squared).sum() / max(len(first), 1))
        assert root_mean_square_distance(data, weights)[row] == pytest.approx(expected, rel=1e-9)


def test_a_column_in_time_that_is_not_whole_is_not_taken(mixture):
    data, _ = mixture
    gappy = np.arange(len(data), dtype=float)
    gappy[3] = np.nan
    columns = {"frame": Column(gappy, "system"), "trajectory": data.columns["trajectory"]}
    when = timeline(Dataset(**{**vars_of(data), "columns": columns}))
    assert not when.stated
    assert when.runs == 2 * len(ISOMERS)
