"""Kept neighbour lists: the same as those that are searched, shared by subsets, and never trusted blindly."""

import json
import multiprocessing
import pickle
import shutil
from dataclasses import replace

import ase
import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

from atomlens.data import batching, neighbour_cache, pair_lists
from atomlens.data.batch import collate
from atomlens.data.batching import BatchSource
from atomlens.data.dataset import Dataset
from atomlens.data.neighbour_cache import cache_folder, open_pairs, stored_neighbours
from atomlens.data.neighbours import neighbour_list
from atomlens.data.store import read_store, write_store
from atomlens.data.system import AtomicSystem
from atomlens.errors import InputError

CUTOFF = 4.5


def of_systems(systems):
    sizes = np.array([len(system.numbers) for system in systems])
    return Dataset.from_arrays(
        np.concatenate([system.numbers for system in systems]),
        np.concatenate([system.positions for system in systems]),
        sizes,
        {"energy": np.arange(float(len(systems)))},
        cell=np.stack([system.cell for system in systems]),
        pbc=np.stack([system.pbc for system in systems]),
    )


def rattled(atoms, seed):
    atoms.rattle(0.07, seed=seed)
    return AtomicSystem.from_ase(atoms)


def molecules(count=30, seed=0):
    names = ["CH3CH2OH", "H2O", "C6H6", "CH4", "isobutane"]
    return of_systems(
        [rattled(molecule(names[k % len(names)]), seed + k) for k in range(count)]
        + [AtomicSystem.from_ase(ase.Atoms("He"))]
    )


def mixture(count=24, seed=0):
    """Molecules, crystals in cells smaller and larger than the cutoff, and slabs."""
    systems = []
    for k in range(count):
        slab = bulk("NaCl", "rocksalt", a=5.6).repeat((1, 1, 2))
        slab.pbc = (True, True, False)
        far = bulk("Cu", cubic=True)
        far.positions += 40.0  # atoms outside their cell
        kinds = [molecule("CH3CH2OH"), bulk("C", "diamond", a=3.57), slab, far, ase.Atoms("He")]
        systems.append(rattled(kinds[k % len(kinds)], seed + k))
    return of_systems(systems)


MAKERS = {"molecules": molecules, "mixture": mixture}


@pytest.fixture(params=list(MAKERS))
def data(request):
    return MAKERS[request.param]()


@pytest.fixture
def folder(data, tmp_path):
    write_store(data, tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def searches(monkeypatch):
    """How many structures were searched, one number for each search."""
    counts = []

    def counting(data, *arguments, **options):
        counts.append(len(data))
        return original(data, *arguments, **options)

    original = pair_lists.pieces_of
    monkeypatch.setattr(pair_lists, "pieces_of", counting)
    monkeypatch.setattr(neighbour_cache, "pieces_of", counting)
    return counts


def pairs_of(source, rows):
    pairs = source.batch(np.asarray(rows))[0].pairs
    return pairs.centre, pairs.neighbour, pairs.shift


def assert_same_pairs(first, second):
    for a, b in zip(first, second, strict=True):
        if a is None or b is None:
            assert a is None
            assert b is None
        else:
            assert a.dtype == b.dtype
            assert torch.equal(a, b)


@pytest.mark.parametrize("cutoff", [2.0, CUTOFF, 7.5])
def test_kept_pairs_are_those_that_are_searched_and_those_of_single_structures(data, folder, cutoff):
    fresh, kept = BatchSource(data, cutoff, []), BatchSource(read_store(folder), cutoff, [])
    assert open_pairs(folder, cutoff) is not None
    for rows in ([0], [3, 1, 2, 2], np.arange(len(data))[::-1]):
        rows = np.asarray(rows)
        single = collate([data[int(row)] for row in rows], cutoff).pairs
        assert_same_pairs(pairs_of(kept, rows), pairs_of(fresh, rows))
        found = pairs_of(kept, rows)
        assert torch.equal(found[0], single.centre)
        assert torch.equal(found[1], single.neighbour)
        if single.shift is not None:
            assert torch.equal(found[2], single.shift)
        np.testing.assert_array_equal(
            kept.pair_count(rows), [len(neighbour_list(data[int(row)], cutoff)[0]) for row in rows]
        )


def test_pieces_do_not_show(data, folder, monkeypatch):
    whole = pair_lists.searched(data, CUTOFF)
    monkeypatch.setattr(pair_lists, "PIECE_PAIRS", 100)
    assert len(list(pair_lists.pieces_of(data, CUTOFF))) > 10
    stored_neighbours(read_store(folder), CUTOFF)
    for found in (pair_lists.searched(data, CUTOFF), open_pairs(folder, CUTOFF)):
        for name in ("offsets", "centre", "neighbour", "shift", "shortest"):
            np.testing.assert_array_equal(getattr(found, name), getattr(whole, name))
    assert whole.centre.dtype == np.uint8
    assert whole.shift is None or whole.shift.dtype == np.int8


def test_subsets_share_what_was_searched_once(data, folder, searches):
    store = read_store(folder)
    rows = np.random.default_rng(0).permutation(len(store))
    parts = [store.subset(rows[:8]), store.subset(rows[8:11]), store.subset(rows[11:])]
    sources = [BatchSource(part, CUTOFF, []) for part in [*parts, parts[2].subset(np.array([2, 0]))]]
    assert searches == [len(data)]
    fresh = BatchSource(data, CUTOFF, [])
    for source, places in zip(sources, (rows[:8], rows[8:11], rows[11:], rows[[13, 11]]), strict=True):
        found = pairs_of(source, np.arange(len(places)))
        expected = pairs_of(fresh, places)
        assert_same_pairs(found[:2], expected[:2])
        assert (found[2] is None) == (not source.data.pbc.any())
        if found[2] is not None:
            assert torch.equal(found[2], expected[2])


def test_other_cutoffs_are_kept_beside(folder, searches):
    for cutoff in (3.0, 4.0, 3.0, 4):
        BatchSource(read_store(folder), cutoff, [])
    assert len(searches) == 2
    assert cache_folder(folder, 4) == cache_folder(folder, 4.0)
    assert sorted(entry.name for entry in (folder / "neighbours").iterdir()) == ["cutoff-3.0", "cutoff-4.0"]


def test_atoms_that_were_moved_are_searched_anew(data, folder):
    store = read_store(folder)
    BatchSource(store, CUTOFF, [])
    moved = replace(store, positions=store.positions * 1.02)
    assert stored_neighbours(moved, CUTOFF) is None
    fresh = BatchSource(replace(data, positions=data.positions * 1.02), CUTOFF, [])
    assert_same_pairs(pairs_of(BatchSource(moved, CUTOFF, []), [0, 1]), pairs_of(fresh, [0, 1]))
    part = store.subset(np.array([1, 2]))
    assert stored_neighbours(replace(part, origin=replace(part.origin, places=np.array([1, 3]))), CUTOFF) is None
    assert stored_neighbours(replace(part, origin=replace(part.origin, places=np.array([1, 999]))), CUTOFF) is None
    assert stored_neighbours(replace(store, cell=store.cell + 0.1), CUTOFF) is None
    assert stored_neighbours(data, CUTOFF) is None


def _truncate(folder):
    path = folder / "neighbour.npy"
    path.write_bytes(path.read_bytes()[:-1])


def _foreign(folder):
    header = json.loads((folder / "header.json").read_text())
    (folder / "header.json").write_text(json.dumps(header | {"hash": "0" * 64}))


def _older(folder):
    header = json.loads((folder / "header.json").read_text())
    (folder / "header.json").write_text(json.dumps(header | {"format_version": 0}))


def _shuffled(folder):
    offsets = np.load(folder / "offsets.npy")
    np.save(folder / "offsets.npy", offsets[[0, 2, 1, *range(3, len(offsets))]])


DAMAGE = {
    "truncated": _truncate,
    "foreign": _foreign,
    "of another format": _older,
    "no header": lambda folder: (folder / "header.json").unlink(),
    "no JSON": lambda folder: (folder / "header.json").write_text("{"),
    "an array missing": lambda folder: (folder / "centre.npy").unlink(),
    "of another kind": lambda folder: np.save(folder / "centre.npy", np.load(folder / "centre.npy").astype(float)),
    "offsets out of order": _shuffled,
    "a file in its place": lambda folder: (shutil.rmtree(folder), folder.write_text("")),
}


@pytest.mark.parametrize("damage", list(DAMAGE))
def test_a_cache_that_cannot_be_trusted_is_made_again(folder, searches, damage):
    store = read_store(folder)
    before = pairs_of(BatchSource(store, CUTOFF, []), [1, 2])
    DAMAGE[damage](cache_folder(folder, CUTOFF))
    assert open_pairs(folder, CUTOFF) is None
    assert_same_pairs(pairs_of(BatchSource(store, CUTOFF, []), [1, 2]), before)
    assert open_pairs(folder, CUTOFF) is not None
    assert len(searches) == 2
    assert [entry.name for entry in (folder / "neighbours").iterdir()] == [f"cutoff-{CUTOFF}"]


def test_an_interrupted_search_leaves_nothing(folder, monkeypatch):
    def pieces(*arguments):
        yield from list(original(*arguments))[:1]
        raise KeyboardInterrupt

    original = pair_lists.pieces_of
    monkeypatch.setattr(neighbour_cache, "pieces_of", pieces)
    with pytest.raises(KeyboardInterrupt):
        BatchSource(read_store(folder), CUTOFF, [])
    assert list((folder / "neighbours").iterdir()) == []


def test_where_nothing_can_be_written_lists_are_searched_and_that_is_said_once(data, folder, capsys, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(neighbour_cache.GrowingArray, "append", full)
    monkeypatch.setattr(neighbour_cache, "_not_kept", set())
    sources = [BatchSource(read_store(folder), CUTOFF, []) for _ in range(2)]
    assert_same_pairs(pairs_of(sources[1], [0, 3]), pairs_of(BatchSource(data, CUTOFF, []), [0, 3]))
    said = capsys.readouterr().err
    assert said.count("No space left on device") == 1
    assert f"cannot be kept in {folder / 'neighbours'}" in said
    assert list((folder / "neighbours").iterdir()) == []


def test_a_file_where_the_folder_should_be_is_no_obstacle(folder, capsys, monkeypatch):
    monkeypatch.setattr(neighbour_cache, "_not_kept", set())
    (folder / "neighbours").write_text("")
    assert len(BatchSource(read_store(folder), CUTOFF, [])) > 0
    assert "cannot be kept" in capsys.readouterr().err


def test_a_small_part_of_a_store_is_not_worth_searching_all(tmp_path, searches):
    write_store(molecules(60), tmp_path / "data")
    store = read_store(tmp_path / "data")
    BatchSource(store.subset(np.array([1])), CUTOFF, [])
    assert searches == [1]
    assert not (tmp_path / "data" / "neighbours").exists()
    BatchSource(store.subset(np.arange(30)), CUTOFF, [])
    BatchSource(store.subset(np.array([1])), CUTOFF, [])
    assert searches == [1, 61]


def test_shifts_that_need_more_than_a_byte(tmp_path):
    """Atoms that have wandered 200 and 40,000 cells away, as in an unwrapped trajectory."""
    for away, kind in ((200, np.int16), (40_000, np.int32)):
        atoms = bulk("Cu", cubic=True)
        atoms.positions[0] += away * atoms.cell[0]
        data = of_systems([AtomicSystem.from_ase(bulk("Cu", cubic=True)), AtomicSystem.from_ase(atoms)])
        folder = tmp_path / str(away)
        write_store(data, folder)
        source = BatchSource(read_store(folder), 3.0, [])
        kept = open_pairs(folder, 3.0)
        assert kept.shift.dtype == kind
        assert_same_pairs(pairs_of(source, [0, 1]), pairs_of(BatchSource(data, 3.0, []), [0, 1]))
        np.testing.assert_array_equal(pairs_of(source, [1])[2], neighbour_list(data[1], 3.0)[2])


def test_structures_with_more_than_256_atoms(tmp_path):
    data = of_systems([AtomicSystem.from_ase(molecule("CH4")), AtomicSystem.from_ase(bulk("Si").repeat(6))])
    write_store(data, tmp_path / "data")
    source = BatchSource(read_store(tmp_path / "data"), 3.0, [])
    assert open_pairs(tmp_path / "data", 3.0).centre.dtype == np.uint16
    assert_same_pairs(pairs_of(source, [1, 0]), pairs_of(BatchSource(data, 3.0, []), [1, 0]))


def test_a_clash_is_only_told_to_those_who_want_that_structure(tmp_path):
    data = molecules(20)
    positions = data.positions.copy()
    positions[data.offsets[7]] = positions[data.offsets[7] + 1] + [0.05, 0, 0]
    write_store(replace(data, positions=positions), tmp_path / "data")
    store = read_store(tmp_path / "data")
    assert len(BatchSource(store.subset(np.arange(7)), CUTOFF, [])) == 7
    for part in (store, store.subset(np.array([9, 7]))):
        for cutoff in (CUTOFF, None):
            with pytest.raises(InputError, match=r"structure 7: .* are 0\.050 Å apart, closer than 0\.2 Å"):
                BatchSource(part, cutoff, [])


def test_a_structure_that_cannot_be_searched_is_only_told_to_those_who_want_it(tmp_path):
    wild = bulk("NaCl", "rocksalt", a=5.6)
    wild.pbc, wild.positions[0, 2] = (True, True, False), 1e9
    systems = [AtomicSystem.from_ase(bulk("Cu")), AtomicSystem.from_ase(wild), AtomicSystem.from_ase(bulk("Al"))]
    write_store(of_systems(systems), tmp_path / "data")
    store = read_store(tmp_path / "data")
    BatchSource(store.subset(np.array([0, 2])), CUTOFF, [])
    with pytest.raises(InputError, match=r"structure 1: atoms lie 1e\+09 Å apart"):
        BatchSource(store, CUTOFF, [])


def test_all_pairs_are_those_of_single_structures():
    data = molecules()
    source, rows = BatchSource(data, None, []), np.array([4, 30, 0, 4, 2])
    single = collate([data[int(row)] for row in rows], None).pairs
    assert_same_pairs(pairs_of(source, rows), (single.centre, single.neighbour, None))
    sizes = data.n_atoms[rows]
    np.testing.assert_array_equal(source.pair_count(rows), sizes * (sizes - 1))
    closest = [
        ase.Atoms(positions=system.positions, numbers=system.numbers).get_all_distances()
        + 99.0 * np.eye(len(system.numbers))
        for system in data
        if len(system.numbers) > 1
    ]
    np.testing.assert_allclose(
        pair_lists.AllPairs(data).shortest, [*(table.min() for table in closest), np.inf], rtol=1e-12
    )


def test_all_pairs_of_large_structures_are_checked_for_clashes_as_well():
    random = np.random.default_rng(0)
    positions = 30.0 * random.uniform(size=(80, 3))
    positions[17] = positions[60] + [0.0, 0.1, 0.0]
    with pytest.raises(InputError, match=r"atom 17 \(H\) and atom 60 \(H\) are 0.100 Å apart"):
        BatchSource(Dataset.from_arrays(np.ones(80), positions, np.array([80]), {}), None, [])


def test_all_pairs_of_crystals_are_refused():
    with pytest.raises(InputError, match=r"structure 1: is periodic, but the model has no cutoff"):
        BatchSource(mixture(5), None, [])


def test_what_goes_to_another_process_is_a_name(folder):
    source = BatchSource(read_store(folder), CUTOFF, [])
    pairs, _ = stored_neighbours(read_store(folder), CUTOFF)
    assert len(pickle.dumps(pairs)) < 1000
    again = pickle.loads(pickle.dumps(source))
    assert_same_pairs(pairs_of(again, [2, 5]), pairs_of(source, [2, 5]))


def _pairs_in_process(folder):
    source = batching.BatchSource(read_store(folder), CUTOFF, [])
    return [pairs.numpy() for pairs in pairs_of(source, [1, 3])[:2]]


def test_two_processes_at_once(tmp_path):
    write_store(molecules(400), tmp_path / "data")
    with multiprocessing.get_context("fork").Pool(2) as pool:
        found = pool.map(_pairs_in_process, [tmp_path / "data"] * 4, chunksize=1)
    expected = pairs_of(BatchSource(molecules(400), CUTOFF, []), [1, 3])
    for pairs in found:
        np.testing.assert_array_equal(pairs[0], expected[0])
        np.testing.assert_array_equal(pairs[1], expected[1])
    assert [entry.name for entry in (tmp_path / "data" / "neighbours").iterdir()] == [f"cutoff-{CUTOFF}"]
