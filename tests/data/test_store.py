import json
import multiprocessing

import numpy as np
import pytest

from atomlens.data.batching import BatchSource
from atomlens.data.dataset import Dataset
from atomlens.data.store import HEADER, is_store, read_store, write_store
from atomlens.errors import InputError


def make(count=20):
    rng = np.random.default_rng(0)
    n_atoms = rng.integers(1, 5, count)
    atoms = n_atoms.sum()
    return Dataset.from_arrays(
        rng.integers(1, 9, atoms),
        rng.uniform(0, 9, size=(atoms, 3)),
        n_atoms,
        {"energy": rng.normal(size=count), "forces": rng.normal(size=(atoms, 3))},
        cell=np.broadcast_to(9.0 * np.eye(3), (count, 3, 3)),
        pbc=np.ones((count, 3), dtype=bool),
        charge=rng.integers(-1, 2, count),
        metadata={"level": "GFN2-xTB", "seed": 3},
    )


@pytest.fixture
def store(tmp_path):
    write_store(make(), tmp_path / "data")
    return tmp_path / "data"


def refusal(folder, **options):
    with pytest.raises(InputError) as caught:
        read_store(folder, **options)
    assert str(caught.value).startswith(f"{folder}: ")
    assert caught.value.__cause__ is None
    return str(caught.value)


def change_header(folder, change):
    header = json.loads((folder / HEADER).read_text())
    change(header)
    (folder / HEADER).write_text(json.dumps(header))


def test_round_trip_is_exact_and_mapped(store):
    data, read = make(), read_store(store, verify=True)
    assert is_store(store)
    assert read.hash == data.hash
    assert read.metadata == {"level": "GFN2-xTB", "seed": 3}
    for name in ("numbers", "positions", "cell", "pbc", "charge"):
        assert isinstance(getattr(read, name), np.memmap)
        assert not getattr(read, name).flags.writeable
    assert isinstance(read.labels["forces"], np.memmap)
    assert (store.stat().st_mode & 0o777) == 0o755


def test_batches_come_out_of_mapped_arrays(store):
    batch, targets = BatchSource(read_store(store), 4.0, ["energy", "forces"]).batch(np.array([3, 7]))
    data = make()
    np.testing.assert_array_equal(targets["energy"], data.labels["energy"][[3, 7]])
    np.testing.assert_array_equal(batch.positions, data.subset(np.array([3, 7])).positions)


def _hash_of(path):
    return read_store(path).hash


def test_many_processes_read_one_store(store):
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert set(pool.map(_hash_of, [store] * 4)) == {make().hash}


def test_nothing_is_replaced(store):
    before = sorted(store.iterdir())
    with pytest.raises(InputError, match="exists already; choose another name"):
        write_store(make(), store)
    assert sorted(store.iterdir()) == before
    assert [path.name for path in store.parent.iterdir()] == ["data"]


def test_metadata_that_json_has_not_leave_nothing(tmp_path):
    data = Dataset.from_arrays(np.ones(1, int), np.zeros((1, 3)), np.array([1]), {}, metadata={"x": object()})
    with pytest.raises(TypeError):
        write_store(data, tmp_path / "data")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["numbers", "positions", "offsets", "cell", "pbc", "charge", "labels.energy", "labels.forces"]
)
def test_truncated_array(store, name):
    path = store / f"{name}.npy"
    path.write_bytes(path.read_bytes()[:-1])
    assert f"{name}.npy is truncated or altered" in refusal(store)


@pytest.mark.parametrize("size", [0, 5, 60])
def test_array_cut_in_its_head(store, size):
    path = store / "positions.npy"
    path.write_bytes(path.read_bytes()[:size])
    assert "positions.npy" in refusal(store)


@pytest.mark.parametrize("name", ["offsets", "labels.energy"])
def test_missing_array(store, name):
    (store / f"{name}.npy").unlink()
    assert f"{name}.npy is missing" in refusal(store)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("labels.energy", np.zeros(19)),
        ("labels.energy", np.zeros(20, dtype=np.float32)),
        ("labels.forces", np.zeros((3, 3))),
        ("cell", np.zeros((19, 3, 3))),
        ("positions", np.zeros((4, 3))),
    ],
)
def test_array_that_does_not_fit(store, name, values):
    np.save(store / f"{name}.npy", values)
    assert f"{name}.npy holds" in refusal(store)


def test_offsets_that_do_not_fit(store):
    offsets = np.load(store / "offsets.npy")
    offsets[2:4] = offsets[3:1:-1]
    np.save(store / "offsets.npy", offsets)
    assert "offsets.npy does not fit the atoms" in refusal(store)


def test_pickled_array(store):
    np.save(store / "charge.npy", np.array([None] * 20), allow_pickle=True)
    assert "charge.npy" in refusal(store)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda header: header.update(format_version=2), "has format atomlens-store 2, this atomlens reads"),
        (lambda header: header.update(structures=19), "is a damaged store"),
        (lambda header: header.update(structures="many"), "is a damaged store"),
        (lambda header: header.pop("labels"), "lacks 'labels'"),
        (lambda header: header.pop("format"), "lacks 'format'"),
        (lambda header: header["labels"]["energy"].update(unit="Ha"), "states 'energy' in Ha, not in eV"),
        (lambda header: header["labels"].update(enrgy={"unit": "eV"}), "labels.enrgy.npy is missing"),
        (lambda header: header.update(metadata=3), "is a damaged store"),
    ],
)
def test_altered_header(store, change, problem):
    change_header(store, change)
    assert problem in refusal(store)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "\xff"])
def test_header_that_is_none(store, text):
    (store / HEADER).write_bytes(text.encode("latin-1"))
    assert "is a damaged store" in refusal(store)


def test_no_store_there(tmp_path):
    assert "is a damaged store" in refusal(tmp_path / "nothing")


def test_altered_content_shows_when_verified(store):
    energy = np.load(store / "labels.energy.npy")
    energy[0] += 1e-9
    np.save(store / "labels.energy.npy", energy)
    read_store(store)
    assert "was altered (its hash does not fit)" in refusal(store, verify=True)
