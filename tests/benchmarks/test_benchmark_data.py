"""The data's benchmark: everybody gives back what was written, and the numbers reach table, figure and file."""

import json
import sys

import numpy as np
import pytest
from rich.console import Console

from atomlens.data.neighbours import neighbour_list
from atomlens.data.readers import read_dataset
from benchmarks.data import __main__ as command
from benchmarks.data import figure, measure, report
from benchmarks.data.formats import CUTOFF, FORMATS, OURS, TITLES, same, size_on_disk
from benchmarks.data.molecules import chunks, molecules, write_archive
from benchmarks.data.worker import KINDS, DataWorker, _drawn
from benchmarks.process import BenchmarkError

pytest.importorskip("h5py")
linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")


class InProcess:
    """A worker without a process of its own, which takes seconds to start."""

    def __init__(self, title, words, threads):
        self.title, self.worker = title, DataWorker(words[-1])
        assert threads == 1

    def ask(self, what, **details):
        return self.worker.answer({"do": what, **details})

    def stop(self):
        self.worker = None


def silent(_):
    """Nobody watches."""


@pytest.fixture
def in_process(monkeypatch):
    monkeypatch.setattr(measure, "Child", InProcess)
    monkeypatch.setattr(measure, "_SETTLE_SECONDS", 0.0)


def test_molecules_are_of_qm9_sizes_and_the_same_every_time():
    data = molecules(500, seed=3)
    assert 9 <= data.n_atoms.min() < 13
    assert 25 < data.n_atoms.max() <= 29
    assert data.hash == molecules(500, seed=3).hash != molecules(500, seed=4).hash
    closest = [
        np.linalg.norm(s.positions[a] - s.positions[b], axis=1).min()
        for s in data
        for a, b, _ in [neighbour_list(s, 5.0)]
    ]
    assert min(closest) > 0.5


def test_archive_written_in_pieces_reads_as_the_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.data.molecules._CHUNK", 7)
    write_archive(tmp_path / "some.npz", 20, seed=5)
    data = read_dataset(tmp_path / "some.npz")
    pieces = list(chunks(20, seed=5))
    assert [len(piece) for piece in pieces] == [7, 7, 6]
    np.testing.assert_array_equal(data.positions, np.concatenate([piece.positions for piece in pieces]))
    np.testing.assert_array_equal(data.labels["forces"], np.concatenate([piece.labels["forces"] for piece in pieces]))
    np.testing.assert_array_equal(data.labels["energy"], np.concatenate([piece.labels["energy"] for piece in pieces]))
    assert [entry.name for entry in tmp_path.iterdir()] == ["some.npz"]


@pytest.mark.parametrize("entry", FORMATS, ids=[entry.key for entry in FORMATS])
def test_every_format_gives_back_what_was_written(entry, tmp_path):
    data, path = molecules(30, seed=0), tmp_path / "some.db"
    entry.write(data, path)
    assert size_on_disk(path) > 30 * 18 * 7 * 8 * 0.9
    reader, rows = entry.read(path), np.array([4, 29, 0])
    system = data[4]
    atoms = slice(data.offsets[4], data.offsets[5])
    expected = (system.numbers, system.positions, data.labels["energy"][4], data.labels["forces"][atoms])
    assert same(reader.one(4), expected)
    some = data.subset(rows)
    assert same(reader.gather(rows), (some.n_atoms, some.numbers, some.positions, *some.labels.values()))
    batch, targets = reader.batch(rows)
    lists = [neighbour_list(data[int(row)], CUTOFF) for row in rows]
    starts = some.offsets[:-1]
    np.testing.assert_array_equal(
        batch.pairs.centre, np.concatenate([c + s for (c, _, _), s in zip(lists, starts, strict=True)])
    )
    np.testing.assert_array_equal(
        batch.pairs.neighbour, np.concatenate([n + s for (_, n, _), s in zip(lists, starts, strict=True)])
    )
    assert same((batch.positions, targets["energy"], targets["forces"]), (some.positions, *some.labels.values()))


def test_rows_are_drawn_without_repetition():
    draws = _drawn(10, 4, seed=0)
    first = [next(draws) for _ in range(2)]
    assert len(np.unique(np.concatenate(first))) == 8
    assert len(next(_drawn(3, 32, seed=0))) == 3


@linux_only
@pytest.mark.usefixtures("in_process")
def test_a_whole_run(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command, "QUICK_TURN_SECONDS", 0.005)
    words = ["--structures", "40", "--rounds", "2", "--quick", "--many", "60", "--out", str(tmp_path / "found.json")]
    assert command.main(words) == 0
    results = json.loads((tmp_path / "found.json").read_text())
    assert set(results["formats"]) == set(TITLES)
    for entry in results["formats"].values():
        assert entry["bytes"] > 40 * 9 * 7 * 8
        assert entry["written_per_second"] > 0
        for kind in KINDS:
            rate = entry["reads"][kind]["rate"]
            assert len(entry["reads"][kind]["rounds"]) == 2
            assert 0 < rate["lower"] <= rate["median"] <= rate["upper"]
    assert results["met"].keys() == KINDS.keys()
    assert results["million"]["structures"] == 60
    assert results["million"]["search"]["pairs"] > 60 * 9 * 8 / 2
    assert (tmp_path / "found.png").is_file()
    text = capsys.readouterr().out
    for expected in (*TITLES.values(), "thousand written / s", "256, with pairs", "60 molecules: imported from .npz"):
        assert expected in text


@linux_only
@pytest.mark.usefixtures("in_process")
def test_a_format_that_gives_something_else_back_is_not_timed(tmp_path, monkeypatch):
    original = DataWorker.do_show

    def altered(self, rows, results):
        original(self, [rows[0], *rows[:-1]] if self.format.key == "flat" else rows, results)
        return {}

    monkeypatch.setattr(DataWorker, "do_show", altered)
    settings = measure.Settings(40, 1, 0.01)
    with pytest.raises(BenchmarkError, match=r"HDF5, flat arrays gives other .* back than atomlens store"):
        measure.measure(settings, tmp_path, silent)


@linux_only
@pytest.mark.usefixtures("in_process")
def test_without_h5py_the_others_are_compared(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    results = measure.measure(measure.Settings(40, 1, 0.01), tmp_path, silent)
    results |= measure.describe(measure.Settings(40, 1, 0.01), "now")
    assert "h5py" in results["formats"]["flat"]["refused"]
    assert any("HDF5, flat arrays not run" in line for line in report.notes(results))
    console = Console(width=150, record=True)
    console.print(report.table(results))
    assert "not run" in console.export_text()
    assert len(figure.draw(results).axes[0].containers) == 2


def test_failures_are_told():
    class Broken:
        title = TITLES[OURS]

        def ask(self, *_, **__):
            return {"error": "OSError: no room"}

    with pytest.raises(BenchmarkError, match="atomlens store failed to open: OSError: no room"):
        measure._asked(Broken(), "open", path="x")
    assert (
        "asked to read before anything was opened"
        in DataWorker(OURS).answer({"do": "show", "rows": [], "results": ""})["error"]
    )


@pytest.mark.parametrize(("rate", "shown"), [(1_325_400.0, "1,325"), (43_210.0, "43.2"), (2_063.0, "2.06")])
def test_thousands(rate, shown):
    assert report.thousands(rate) == shown
