"""Stores written piece by piece: what comes out, and what is left when it goes wrong."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from everything import assert_same, full_dataset
from reading import labels, refusal

from atomlens.data.dataset import Column, Dataset
from atomlens.data.growing import GrowingArray
from atomlens.data.pieces import concatenate, cuts, in_pieces
from atomlens.data.readers import read_dataset
from atomlens.data.store import HEADER, StoreWriter, read_header, read_store, write_store
from atomlens.errors import InputError


def hydrogen(count, labels=None, columns=None, **metadata):
    return Dataset.from_arrays(
        np.ones(count, int),
        np.zeros((count, 3)),
        np.ones(count, int),
        labels or {},
        columns=columns or {},
        metadata=metadata,
    )


def written(path, *pieces, **options):
    with StoreWriter(path, **options) as writer:
        for piece in pieces:
            writer.append(piece)
    return read_store(path, verify=True)


@pytest.mark.parametrize("size", [1, 3, 7])
def test_pieces_are_the_whole(tmp_path, size):
    data = full_dataset()
    found = written(tmp_path / "a", *in_pieces(data, size))
    assert found.hash == data.hash
    assert_same(found, data)
    assert found.metadata == {"level": "PBE", "seed": 0}
    assert_same(concatenate(in_pieces(data, size)), data)


def test_the_files_are_those_of_numpy(tmp_path):
    data = full_dataset()
    written(tmp_path / "a", *in_pieces(data, 2))
    for name, values in {"positions": data.positions, "labels.forces": data.labels["forces"]}.items():
        np.save(tmp_path / "b.npy", values)
        assert (tmp_path / "a" / f"{name}.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()


def test_what_only_some_pieces_have_is_unknown_in_the_others(tmp_path):
    pieces = [
        hydrogen(2, columns={"early": Column(np.array([1, 2]), "system")}),
        hydrogen(1, {"energy": np.array([5.0])}, {"late": Column(np.array([[7, 8]]), "atom", "D")}),
        hydrogen(1, {"forces": np.ones((1, 3))}, {"early": Column(np.array([3]), "system")}),
    ]
    found = written(tmp_path / "a", *pieces)
    nan = np.nan
    np.testing.assert_array_equal(found.labels["energy"], [nan, nan, 5.0, nan])
    np.testing.assert_array_equal(found.labels["forces"][:, 0], [nan, nan, nan, 1.0])
    np.testing.assert_array_equal(found.columns["early"].values, [1.0, 2.0, nan, 3.0])
    np.testing.assert_array_equal(found.columns["late"].values, [[nan, nan], [nan, nan], [7, 8], [nan, nan]])
    assert_same(concatenate(pieces), found)


def test_whole_numbers_stay_whole_until_one_is_not(tmp_path):
    first = hydrogen(1, columns={"n": Column(np.array([2**53 + 1]), "system"), "x": Column(np.array([1]), "system")})
    second = hydrogen(1, columns={"n": Column(np.array([3]), "system"), "x": Column(np.array([0.5]), "system")})
    found = written(tmp_path / "a", first, second, first)
    assert found.columns["n"].values.dtype == np.int64
    assert found.columns["n"].values.tolist() == [2**53 + 1, 3, 2**53 + 1]
    assert found.columns["x"].values.tolist() == [1.0, 0.5, 1.0]
    assert_same(concatenate([first, second, first]), found)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (Column(np.zeros(1), "system", "eV"), "'E' is one value per structure in eV here and one value per structure"),
        (Column(np.zeros(1), "atom", "Ha"), "'E' is one value per atom in Ha here"),
        (Column(np.zeros((1, 2)), "system", "Ha"), r"'E' is one value of shape \(2,\) per structure in Ha here"),
        (Column(np.zeros(1), "system"), "'E' is one value per structure in no unit here"),
    ],
)
def test_pieces_that_contradict_each_other(tmp_path, other, said):
    pieces = [hydrogen(1, columns={"E": Column(np.zeros(1), "system", "Ha")}), hydrogen(1, columns={"E": other})]
    with pytest.raises(InputError, match=said):
        written(tmp_path / "a", *pieces)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match=said):
        concatenate(pieces)


def test_identifiers_that_no_float_holds_are_refused_where_some_are_missing(tmp_path):
    large = {"id": Column(np.array([2**53 + 1, 7]), "system")}
    assert written(tmp_path / "whole", hydrogen(2, columns=large)).columns["id"].values.tolist() == [2**53 + 1, 7]
    for name, pieces in {
        "after": [hydrogen(2, columns=large), hydrogen(1)],
        "before": [hydrogen(1), hydrogen(2, columns=large)],
    }.items():
        with pytest.raises(InputError, match=r"beyond 2\^53"):
            written(tmp_path / name, *pieces)
        assert not (tmp_path / name).exists()


def test_one_unit_in_two_spellings_is_one(tmp_path):
    pieces = [hydrogen(1, columns={"E": Column(np.zeros(1), "system", unit)}) for unit in ("Ha", "hartree")]
    assert written(tmp_path / "a", *pieces).columns["E"].unit == "Ha"


def test_the_header_says_where_data_come_from(tmp_path):
    data = hydrogen(2, level="PBE0", licence="CC0", labels={"energy": np.zeros(2)}, source="/somewhere/qm.npz")
    written(tmp_path / "a", data, metadata={"citation": "Rupp 2012"}, provenance={"reader": "archive"})
    header = read_header(tmp_path / "a")
    assert (header["level"], header["licence"], header["citation"]) == ("PBE0", "CC0", "Rupp 2012")
    assert header["provenance"].keys() == {"source", "reader", "atomlens", "created"}
    assert header["provenance"]["source"] == "qm.npz"
    assert header["units"] == {"positions": "Ang", "cell": "Ang", "charge": "e"}
    assert header["hash"] == data.hash
    assert "licence" not in header["metadata"]
    assert read_store(tmp_path / "a").metadata["licence"] == "CC0"


def test_metadata_of_the_writer_go_first_and_labels_add_up(tmp_path):
    pieces = [
        Dataset.from_arrays(np.ones(1, int), np.zeros((1, 3)), np.ones(1, int), {}, metadata=entry)
        for entry in ({"a": 1, "b": 1, "labels": {"energy": "U0"}}, {"b": 2, "c": 2, "labels": {"gap": "g"}})
    ]
    found = written(tmp_path / "a", *pieces, metadata={"a": 0})
    assert found.metadata == {"a": 0, "b": 1, "c": 2, "labels": {"energy": "U0", "gap": "g"}}


def test_stores_from_before_there_were_columns(tmp_path):
    data = full_dataset(columns={})
    write_store(data, tmp_path / "a")
    header = json.loads((tmp_path / "a" / HEADER).read_text())
    old = {key: header[key] for key in ("format", "format_version", "structures", "atoms", "hash", "units", "labels")}
    (tmp_path / "a" / HEADER).write_text(json.dumps({**old, "metadata": {"level": "PBE"}}))
    found = read_store(tmp_path / "a", verify=True)
    assert found.metadata == {"level": "PBE"}
    assert_same(found, data)


def test_columns_with_any_name_get_files_of_their_own(tmp_path):
    names = ["U", "u", "../../U", "a/b", "x" * 300, "..", "Ä ö", "U%2F"]
    columns = {name: Column(np.array([place]), "system") for place, name in enumerate(names)}
    found = written(tmp_path / "a", hydrogen(1, columns=columns))
    assert {name: int(column.values[0]) for name, column in found.columns.items()} == {
        name: place for place, name in enumerate(names)
    }
    files = [path.name.lower() for path in (tmp_path / "a").iterdir()]
    assert len(files) == len(set(files)) == 15
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("entry", [{"file": "../b"}, {"file": "positions"}, {"per": "bond"}])
def test_a_header_that_points_elsewhere(tmp_path, entry):
    written(tmp_path / "a", hydrogen(1, columns={"E": Column(np.zeros(1), "system")}))
    header = json.loads((tmp_path / "a" / HEADER).read_text())
    header["columns"]["E"].update(entry)
    (tmp_path / "a" / HEADER).write_text(json.dumps(header))
    with pytest.raises(InputError, match="is a damaged store"):
        read_store(tmp_path / "a")


def test_a_column_that_is_too_short(tmp_path):
    written(tmp_path / "a", hydrogen(3, columns={"E": Column(np.zeros(3), "system")}))
    np.save(tmp_path / "a" / "columns.E.npy", np.zeros(2))
    with pytest.raises(InputError, match=r"columns\.E\.npy holds float64 \(2,\) where float64 \(3,\) is needed"):
        read_store(tmp_path / "a")


def test_no_structures(tmp_path):
    with pytest.raises(InputError, match=r"a: holds no structures"), StoreWriter(tmp_path / "a"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_taken_name_is_refused_before_any_work(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(InputError, match="exists already"), StoreWriter(tmp_path / "a"):
        pytest.fail("work was begun")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_quicker_writer_wins(tmp_path):
    def late():
        with StoreWriter(tmp_path / "a") as writer:
            writer.append(hydrogen(2))
            write_store(hydrogen(3), tmp_path / "a")

    with pytest.raises(InputError, match="exists already"):
        late()
    assert len(read_store(tmp_path / "a", verify=True)) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("stop", [OSError("gone"), KeyboardInterrupt(), InputError("bad")])
def test_a_failure_leaves_nothing(tmp_path, stop):
    def begun():
        with StoreWriter(tmp_path / "a") as writer:
            writer.append(hydrogen(2))
            assert [path.name[:3] for path in tmp_path.iterdir()] == [".a-"]
            raise stop

    with pytest.raises(type(stop)):
        begun()
    assert list(tmp_path.iterdir()) == []


def test_a_failure_at_the_end_leaves_nothing(tmp_path, monkeypatch):
    def fail(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(GrowingArray, "finish", fail)
    with pytest.raises(KeyboardInterrupt), StoreWriter(tmp_path / "a") as writer:
        writer.append(hydrogen(2))
    assert list(tmp_path.iterdir()) == []


SLOW = """
import sys, time
import numpy as np
from atomlens.data.dataset import Dataset
from atomlens.data.store import StoreWriter
piece = Dataset.from_arrays(np.ones(9, int), np.zeros((9, 3)), np.ones(9, int), {})
with StoreWriter(sys.argv[1]) as writer:
    writer.append(piece)
    print("half", flush=True)
    time.sleep(60)
"""


def test_a_killed_process_leaves_nothing_that_is_in_the_way(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", SLOW, str(tmp_path / "a")], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"half\n"
    process.kill()
    process.communicate()
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".a-")
    write_store(hydrogen(3), tmp_path / "a")
    assert len(read_store(tmp_path / "a", verify=True)) == 3


READ = """
import sys
import numpy as np
from atomlens.data.store import read_store
data = read_store(sys.argv[1], verify=True)
print(data.hash, data.subset(np.arange(5)).labels["energy"].tolist())
"""


def test_several_processes_read_at_once(tmp_path):
    data = full_dataset()
    write_store(data, tmp_path / "a")
    command = [sys.executable, "-c", READ, str(tmp_path / "a")]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = {process.communicate()[0] for process in running}
    assert said == {f"{data.hash} {data.labels['energy'][:5].tolist()}\n"}


def test_cuts_hold_so_many_structures_and_atoms(monkeypatch):
    monkeypatch.setattr("atomlens.data.pieces.ATOMS", 10)
    offsets = np.cumsum([0, 4, 4, 4, 30, 1, 1, 1, 1])
    assert list(cuts(offsets, 3)) == [(0, 2), (2, 3), (3, 4), (4, 7), (7, 8)]


@pytest.fixture
def store(tmp_path):
    write_store(full_dataset(), tmp_path / "a")
    return tmp_path / "a"


def test_a_column_becomes_a_label_in_its_own_unit(store):
    data = full_dataset()
    found = read_dataset(store, labels("energy=U", "gap"))
    np.testing.assert_allclose(found.labels["energy"], data.columns["U"].values * 0.0433641, rtol=1e-5)
    np.testing.assert_array_equal(found.labels["gap"], data.labels["gap"])
    assert "U" not in found.columns
    # What was a label is not lost, nor is its unit.
    assert found.columns["energy"].unit == "eV"
    np.testing.assert_array_equal(found.columns["forces"].values, data.labels["forces"])
    assert found.columns["site"].values.tolist() == data.columns["site"].values.tolist()
    assert isinstance(found.labels["gap"], np.memmap)


def test_a_column_without_a_unit_gets_one_from_the_user(store):
    found = read_dataset(store, labels("energy=gdb_index:meV"))
    expected = full_dataset().columns["gdb_index"].values * 1e-3
    np.testing.assert_allclose(found.labels["energy"], expected, rtol=1e-15)


@pytest.mark.parametrize(
    ("label", "said"),
    [
        (
            "energy=gdb_index",
            "does not state the unit of the label 'energy'; name it, as in --label energy=gdb_index:eV",
        ),
        ("energy=U:eV", "states 'U' in kcal/mol, not in eV; leave the unit to the store"),
        ("charges=U", "'kcal/mol' is not a unit of charges; give one like e"),
        ("energy=V", "has no label or column 'V' (it has: energy, forces, stress, dipole, polarizability, gap, "),
        ("energy=matrix:eV", "the label 'energy' (key 'matrix') has shape (7, 2, 3), one row per structure, where ()"),
        (
            "charges=gdb_index:e",
            "the label 'charges' (key 'gdb_index') has shape (7,), one row per structure, where ()",
        ),
    ],
)
def test_columns_that_are_no_such_label(store, label, said):
    assert refusal(store, label).startswith(said)


def test_labels_left_to_the_store_leave_everything_as_it_is(store):
    assert_same(read_dataset(store), full_dataset())
    with pytest.raises(InputError, match=r"has no label 'homo' .* not taken over: gdb_index, U, vector"):
        read_dataset(store).require("homo")


IMPORT = """
import sys
from atomlens.data import readers
original = readers.StoreWriter.append
def append(self, piece):
    original(self, piece)
    print("piece", flush=True)
    sys.stdin.readline()
readers.StoreWriter.append = append
readers.import_dataset(sys.argv[1], sys.argv[2])
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_import_that_is_asked_to_stop_leaves_nothing(tmp_path, number):
    np.savez(tmp_path / "a.npz", numbers=np.ones(1, int), positions=np.zeros((30_000, 1, 3)))
    process = subprocess.Popen(
        [sys.executable, "-c", IMPORT, str(tmp_path / "a.npz"), str(tmp_path / "a")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout.readline() == "piece\n"
    os.kill(process.pid, number)
    time.sleep(0.2)
    _, errors = process.communicate("\n" * 5)
    assert "Interrupted: stopped after 10000 structures; nothing was written" in errors
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]
