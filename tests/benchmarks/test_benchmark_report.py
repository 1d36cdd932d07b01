"""From results to verdicts, table and figure."""

import io

import pytest
from rich.console import Console

from benchmarks import figure, report
from benchmarks.__main__ import arguments, case_numbers
from benchmarks.machine import processor
from benchmarks.rounds import verdict


def spread(value):
    return {"median": value, "lower": 0.9 * value, "upper": 1.1 * value}


def entry(seconds, speed=None, mebibytes=None):
    found = {"differences": {"energy": 1e-7, "forces": 2e-6}, "seconds": spread(seconds)}
    found |= {"speed": spread(speed)} if speed else {}
    return found | ({"memory": {"mebibytes": mebibytes}} if mebibytes else {})


@pytest.fixture
def results():
    case = {
        "number": 6,
        "title": "energy + forces, silicon crystal",
        "about": {"atoms": 10080, "pairs": 282240, "structures_from": "made", "weights_from": "random"},
        "load": [0.1, 1.2],
        "targets": {"speed": 10.0, "milliseconds": None, "memory": 0.1},
        "contestants": {
            "schnetpack": entry(3.0, mebibytes=2000.0),
            "pyg": {"refused": "it has no such thing"},
            "exact": entry(3.5, speed=0.9, mebibytes=1400.0),
            "fast": entry(0.15, speed=20.0, mebibytes=400.0),
        },
    }
    size = {"pairs": 1, "calls": [], "mebibytes": 9.0, "neighbour_list_seconds": 1e-3}
    rows = [size | {"atoms": 1000, "seconds": 0.01}, size | {"atoms": 10000, "seconds": 0.1}]
    return {
        "machine": {"processor": "P", "cores": 2, "memory_gibibytes": 8.0},
        "settings": {"rounds": 3, "threads": 2},
        "contestants": {"fast": {"atomlens": "1"}},
        "cases": [case],
        "scaling": {"sizes": rows, "slope": 1.0, "target": 1.1, "met": True},
    }


def test_requirements(results):
    speed, memory = report.requirements(results["cases"][0])
    assert speed == ("10×", "20.0", True)
    assert memory == ("0.1 of the memory", "0.200", False)


def test_table_says_everything(results):
    console = Console(file=io.StringIO(), width=150)
    console.print(report.table(results))
    for line in report.notes(results):
        console.print(line)
    text = console.file.getvalue()
    for expected in (
        "10,080 atoms",
        "150 (135–165) ms",
        "20.0 (18.0–22.0)",
        "not run: it has no such thing",
        "slope ≤ 1.1",
    ):
        assert expected in text


def test_figure_is_drawn(results, tmp_path):
    assert figure.save(results, tmp_path / "some.json") == tmp_path / "some.svg"
    assert (tmp_path / "some.png").is_file()


@pytest.mark.parametrize(("seconds", "shown"), [(2.5, "2.50 s"), (0.0123, "12.3 ms"), (4.5e-5, "45.0 µs")])
def test_duration(seconds, shown):
    assert report.duration(seconds) == shown


def test_gate():
    assert verdict({"energy": 1e-6, "forces": 1e-5}) is None
    assert "energy off by 2.0e-05 eV" in verdict({"energy": 2e-5})
    assert "not timed" in verdict({"energy": 1e-6, "forces": float("nan")})


def test_cases_from_the_command_line(capsys):
    assert case_numbers("4,1") == [1, 4]
    with pytest.raises(SystemExit):
        arguments(["--cases", "9"])
    assert "give numbers from 1 to 7" in capsys.readouterr().err


def test_processor_name():
    assert processor("processor: 0\nmodel name\t: Fast One\n") == "Fast One"
