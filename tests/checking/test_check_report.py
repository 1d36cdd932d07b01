"""All checks together: clean sets pass, planted faults are found, a broken check takes no other along."""

import json
from dataclasses import replace

import clean_sets
import numpy as np
import pytest
from ase import units

from atomlens.checking import checking
from atomlens.checking.checking import check_data
from atomlens.checking.outcome import GRAVITY, DataCheck, Outcome
from atomlens.checking.registry import CHECKS
from atomlens.checking.table import report_lines, report_table
from atomlens.data.dataset import Dataset
from atomlens.errors import InputError

KCAL = units.kcal / units.mol


@pytest.fixture(scope="module")
def ethanol():
    return clean_sets.hot_ethanol()


@pytest.fixture(scope="module")
def molecules():
    return clean_sets.small_molecules()


def statuses(report):
    return {(outcome.check, outcome.status) for outcome in report.outcomes if outcome.status in ("fault", "warning")}


@pytest.mark.parametrize("make", [clean_sets.hot_ethanol, clean_sets.small_molecules, clean_sets.crystals])
def test_clean_sets_pass(make):
    report = check_data(make())
    assert not report.of("fault", "warning"), report_lines(report)
    assert report.worst in ("ok", "note")
    assert report.checks == tuple(CHECKS)


def test_atomisation_energies_pass():
    report = check_data(clean_sets.small_molecules(total=False))
    assert not report.of("fault", "warning"), report_lines(report)


def test_one_frame_in_bohr(ethanol):
    planted = clean_sets.in_file(clean_sets.scaled(ethanol, 1 / units.Bohr, [37]))
    report = check_data(planted)
    (found,) = [outcome for outcome in report.of("fault") if outcome.check == "lengths"]
    assert found.structures.tolist() == [37]
    assert "structure 1037 " in found.sentence
    assert "Bohr read as Å" in found.sentence
    assert report.to_dict()["outcomes"][[*report.outcomes].index(found)]["structures"] == [1037]


def test_whole_set_in_bohr(molecules):
    report = check_data(clean_sets.scaled(molecules, 1 / units.Bohr))
    (found,) = [outcome for outcome in report.of("fault") if outcome.check == "lengths"]
    assert "Bohr read as Å" in found.sentence
    assert found.facts["factor"] == pytest.approx(1.889726, rel=1e-6)


def test_energies_in_kilocalories_read_as_electronvolts(molecules):
    report = check_data(clean_sets.with_label(molecules, energy=molecules.labels["energy"] / KCAL))
    (found,) = report.of("fault")
    assert found.check == "energies"
    assert "kcal/mol read as eV" in found.sentence


def test_sign_of_forces(ethanol):
    report = check_data(clean_sets.with_label(ethanol, forces=-ethanol.labels["forces"]))
    assert ("forces", "fault") in statuses(report)
    assert ("force_energy", "fault") in statuses(report)


def test_lost_cell():
    data = clean_sets.crystals()
    cell, pbc = data.cell.copy(), data.pbc.copy()
    cell[5], pbc[5] = 0.0, False
    (found,) = [each for each in check_data(replace(data, cell=cell, pbc=pbc)).of("fault") if each.check == "cells"]
    assert found.structures.tolist() == [5]


def test_equal_structure_with_another_label(ethanol):
    both = np.concatenate([np.arange(len(ethanol)), [3]])
    planted = ethanol.subset(both)
    energy = planted.labels["energy"].copy()
    energy[-1] += 2.0
    report = check_data(clean_sets.with_label(planted, energy=energy), only=["duplicates"])
    assert [outcome.status for outcome in report.of("fault", "warning")] == ["fault", "warning"]
    assert set(report.of("fault")[0].structures.tolist()) == {3, len(ethanol)}
    assert report.of("fault")[0].facts["largest_difference"] == pytest.approx(2.0)


def test_one_wrong_energy(ethanol):
    energy = ethanol.labels["energy"].copy()
    energy[11] += 10.0
    report = check_data(clean_sets.with_label(ethanol, energy=energy))
    (found,) = [outcome for outcome in report.of("fault", "warning") if outcome.check == "outliers"]
    assert found.structures.tolist() == [11]


def test_unknown_forces_of_some_atoms(ethanol):
    forces = ethanol.labels["forces"].copy()
    forces[9 * 4 + 2] = np.nan
    report = check_data(clean_sets.with_label(ethanol, forces=forces))
    (found,) = report.of("fault", "warning")
    assert (found.check, found.structures.tolist()) == ("coverage", [4])


def test_not_finite_positions(ethanol):
    positions = ethanol.positions.copy()
    positions[20, 1] = np.nan
    report = check_data(replace(ethanol, positions=positions))
    (found,) = [each for each in report.of("fault") if each.check == "structures"]
    assert found.structures.tolist() == [2]
    assert not any(each.facts.get("check_failed") and each.check in OWN for each in report.outcomes)


OWN = ("statistics", "coverage", "structures", "cells", "charges", "lengths", "energies", "forces", "properties",
       "outliers", "duplicates")  # fmt: skip


@pytest.mark.parametrize("atoms", [1, 2])
def test_a_single_structure(atoms):
    """The least there is: no check breaks down."""
    data = Dataset.from_arrays(
        np.full(atoms, 6), np.eye(3)[:atoms], np.array([atoms]), {"energy": np.zeros(1), "forces": np.zeros((atoms, 3))}
    )
    report = check_data(data, only=OWN)
    assert not any(outcome.facts.get("check_failed") for outcome in report.outcomes), report_lines(report)


def test_a_set_without_known_labels():
    data = Dataset.from_arrays(
        np.array([1, 1, 1]),
        np.eye(3),
        np.array([2, 1]),
        {"energy": np.full(2, np.nan), "forces": np.full((3, 3), np.nan)},
    )
    report = check_data(data, only=OWN)
    assert not any(outcome.facts.get("check_failed") for outcome in report.outcomes), report_lines(report)
    assert ("coverage", "warning") in statuses(report)


def test_no_labels_is_said():
    data = Dataset.from_arrays(np.array([1, 1]), np.eye(3)[:2], np.array([2]), {})
    (found,) = check_data(data, only=["coverage"]).outcomes
    assert (found.status, "No labels" in found.sentence) == ("warning", True)


def test_a_check_that_breaks_down_is_a_fault_and_takes_no_other_along(monkeypatch, ethanol):
    def broken(data):
        raise ZeroDivisionError(f"of the check of {len(data)}")

    planted = {**CHECKS, "lengths": DataCheck("lengths", "Lengths", "", broken)}
    monkeypatch.setattr(checking, "CHECKS", planted)
    report = check_data(ethanol)
    (found,) = report.of("fault")
    assert found.facts["check_failed"] is True
    assert "The check itself failed (ZeroDivisionError: of the check of 400" in found.sentence
    assert "energies" in {outcome.check for outcome in report.outcomes}


def test_report_counts_and_order():
    outcomes = tuple(Outcome("lengths", status, status) for status in ("ok", "note", "fault", "ok", "warning"))
    report = checking.CheckReport(None, "0" * 64, 3, 9, ("lengths",), outcomes)
    assert report.worst == "fault"
    assert report.counts == {"skipped": 0, "ok": 2, "note": 1, "warning": 1, "fault": 1}
    assert [outcome.status for outcome in report.of(*GRAVITY)] == ["fault", "warning", "note", "ok", "ok"]
    assert report.summary == "1 check of 3 structures: 1 fault, 1 warning and 1 note."
    assert checking.CheckReport(None, "", 1, 1, (), ()).worst == "ok"


def test_every_outcome_bears_the_name_of_its_check_and_is_json(ethanol):
    for name in CHECKS:
        report = check_data(ethanol, only=[name])
        assert {outcome.check for outcome in report.outcomes} <= {name}
        text = json.dumps(report.to_dict(), allow_nan=False)
        assert json.loads(text)["hash"] == ethanol.hash


def test_unknown_check_is_refused(ethanol):
    with pytest.raises(InputError, match="did you mean 'lengths'"):
        check_data(ethanol, only=["lenghts"])


def test_lines_and_table(ethanol):
    from rich.console import Console

    report = check_data(clean_sets.scaled(ethanol, 1 / units.Bohr, [37]), only=["lengths", "statistics"])
    lines = report_lines(report)
    assert lines[0] == report.summary
    assert lines[1].startswith("fault   Unit of length: ")
    assert len(report_lines(report, quiet=True)) == 2
    console = Console(width=100, record=True, force_terminal=False)
    with console.capture() as capture:
        console.print(report_table(report))
    shown = capture.get()
    assert shown.index("fault") < shown.index("Elements and sizes")
    assert "structure 37" in " ".join(shown.split())
