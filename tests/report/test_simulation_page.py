"""The page of a simulation as text: what it says, what it carries for its script, and what it asks of no one."""

import html
import re
import sys
from dataclasses import replace
from types import SimpleNamespace

import made_up_simulations as made_up
import numpy as np
import pytest
from page_tools import Page, sha256
from pydantic import BaseModel, Field

from atomlens.panel import Motion, Panel, Trajectory
from atomlens.report import packing, policy, views
from atomlens.report.formatting import uncertain
from atomlens.report.motions import MOST_BEADS, MOST_FRAMES
from atomlens.report.simulation import Tile, write_simulation
from atomlens.report.stills import stills

MOLECULES = ["CH3CH2OH", "CH4"]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The folder of a page of two molecules, and what it was made of."""
    pytest.importorskip("plotly", reason="plotly is not installed: pip install 'atomlens[explain]'")
    folder = tmp_path_factory.mktemp("simulated")
    given = made_up.written(folder, MOLECULES)
    return SimpleNamespace(folder=folder, given=given, path=write_simulation(folder, **given))


@pytest.fixture(scope="module")
def text(study):
    return study.path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


@pytest.fixture
def changed(study, tmp_path):
    """The page with other arguments."""

    def make(**arguments):
        panels = study.given["panels"][:1]
        few = {"panels": panels, "pictures": {}, "folders": {}}
        return Page(write_simulation(tmp_path, **study.given | few | arguments).read_text(encoding="utf-8"))

    return make


# --- what it says


def test_the_head_says_what_came_out(page):
    assert "C₂H₆O at 300 K" in page.text
    assert "Path-integral molecular dynamics under a neural network" in page.text
    assert "no bond broke; 4 of 6 checks passed, and the guard raised 2 alarms." in page.text
    for words in ("300.1 ± 1.2 K", "3.20 × 10⁻⁶ eV/atom/ps", "812 steps/s", "35.1 ns/day", "1 min 12 s", "4 of 6"):
        assert words in page.text
    assert re.search(r"Alarms\s*2", page.text)
    assert "Failed checks: drift (The run, 0 C₂H₆O); drift (The run, 1 CH₄)." in page.text


def test_every_warning_settings_and_panel_is_there(page, study):
    for words in (*made_up.WARNINGS, "Time step", "0.5 fs", "20,000", "0.00125", "Training data", "energy, forces"):
        assert words in page.text
    assert "Save every" not in page.text  # was left out
    assert "The simulation as a whole" in page.text
    for row, panel in study.given["panels"]:
        for words in (row.title, panel.reading, panel.trust, *(check.name for check in panel.checks)):
            assert words in page.text
    assert "i-PI 3.0" in page.text


def test_without_a_guard_nothing_is_said_of_alarms(changed):
    page = changed(warnings=None, settings=None)
    assert "alarm" not in page.text.lower()
    assert "guard" not in page.ids


def test_a_guard_that_was_silent_is_said_to_have_been_there(changed):
    page = changed(warnings=(), kind="md")
    assert "and the guard raised no alarm." in page.text
    assert "A guard watched the run and raised no alarm." in page.text
    assert "i-PI" not in page.text


def test_many_warnings_are_folded_and_counted_as_told(changed):
    page = changed(warnings=[f"warning {number}." for number in range(40)], alarms=1300)
    assert "the guard raised 1,300 alarms." in page.text
    assert "28 more" in page.text
    assert "warning 39." in page.text
    assert "details" in page.tags


class Thermostat(BaseModel):
    friction: float = Field(0.01, description="coupling to the bath, 1/fs")


class Settings(BaseModel):
    temperature: float = Field(298.15, description="of the bath, K")
    thermostat: Thermostat = Thermostat()
    seed: int | None = Field(None, description="of random numbers")


def test_a_configuration_is_shown_with_its_meanings(changed):
    page = changed(settings=Settings())
    for words in ("298.15", "of the bath, K", "Thermostat.friction", "0.01", "coupling to the bath, 1/fs"):
        assert words in page.text
    assert "of random numbers" not in page.text


@pytest.mark.parametrize(
    ("value", "error", "said"),
    [
        (300.123, 1.24, "300.1 ± 1.2"),
        (1583.2, 124.0, "1,580 ± 120"),
        (-0.01236, 0.00067, "−0.01236 ± 0.00067"),
        (3e-7, 2e-6, "(0.3 ± 2.0) × 10⁻⁶"),
        (2.34e-9, 4.1e-10, "(2.34 ± 0.41) × 10⁻⁹"),
        (9.99, 0.0996, "9.99 ± 0.10"),
        (2.0, 0.0, "2.00"),
        (2.0, float("nan"), "2.00"),
    ],
)
def test_a_number_is_given_to_its_errors_second_digit(value, error, said):
    assert uncertain(value, error) == said


def test_tiles_take_words_and_numbers():
    assert [Tile("a", "9 of 10").shown, Tile("a", 1234).shown, Tile("a", 0.1234, error=0.01).shown] == [
        "9 of 10", "1,234", "0.123 ± 0.010",
    ]  # fmt: skip


# --- what it may do


def test_nothing_is_loaded_from_outside_and_files_lie_beside(page, text, study):
    links = [address for address in page.addresses if not address.startswith(("data:", "#"))]
    assert links
    assert all((study.folder / link).is_file() for link in links)
    assert "modes/structure_0_C2H6O/panel.json" in links
    assert not re.findall(r"https?://", text)
    rules = html.unescape(re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1])
    scripts = [body for kind, body in re.findall(r"<script([^>]*)>(.*?)</script>", text, re.S) if not kind]
    assert "default-src 'none'" in rules
    assert all(sha256(each) in rules for each in (*scripts, policy.charts_library()))


def test_ids_are_unique_and_links_lead_to_places(page):
    assert len(page.ids) == len(set(page.ids))
    targets = {address[1:] for address in page.addresses if address.startswith("#")}
    assert targets <= set(page.ids)
    assert {"guard", "explorer", "analysis-modes", "models"} <= targets


def test_names_from_files_cannot_become_markup(changed, tmp_path):
    hostile = "</script><script>alert(1)</script>"
    motion = Motion(hostile, (hostile,), np.ones((1, 9, 3)))
    panel = Panel("modes", 0, reading=hostile, views=(motion,))
    changed(
        title=hostile, headline=hostile, names=[hostile] * 2, warnings=[hostile], settings={hostile: hostile},
        tiles=(Tile(hostile, hostile, hostile, note=hostile),), panels=[(made_up.MODES, panel)],
    )  # fmt: skip
    text = (tmp_path / "report.html").read_text()
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text


def test_without_plotly_the_structures_are_there_at_rest(changed, study, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "plotly"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "plotly", None)
    page = changed(panels=study.given["panels"], pictures=study.given["pictures"])
    assert [image["alt"] for image in page.images if "at rest" in image["alt"]] == ["0 C₂H₆O at rest", "1 CH₄ at rest"]
    assert not page.blocks


# --- what moves


def stored(page, place, kind):
    return page.blocks[f"explained-structure-{place}"][kind]


def view(study, place, kind):
    return next(
        view for _, panel in study.given["panels"] if panel.structure == place for view in panel.views
        if isinstance(view, kind)
    )  # fmt: skip


@pytest.mark.parametrize("place", [0, 1])
def test_displacements_come_back(page, study, place):
    given = view(study, place, Motion)
    [motion] = stored(page, place, "motions")
    back = packing.restored(motion["displacements"]).reshape(given.displacements.shape)
    np.testing.assert_allclose(back, given.displacements, atol=2.51e-3)
    assert motion["labels"] == list(given.labels)
    assert motion["amplitude"] == 0.4


def test_of_a_long_run_evenly_spaced_frames_are_taken(page, study):
    given = view(study, 0, Trajectory)
    [run] = stored(page, 0, "trajectories")
    atoms = given.positions.shape[1]
    back = packing.restored(run["positions"]).reshape(1 + run["beads"], atoms, 3, -1).transpose(3, 0, 1, 2)
    kept = np.searchsorted(given.times, run["times"])
    assert (len(back), run["recorded"], run["beads"]) == (MOST_FRAMES, 450, 8)
    assert (kept[0], kept[-1]) == (0, 449)
    assert set(np.diff(kept)) == {2, 3}
    # Distances between atoms, and from atoms to beads, are those of the run.
    copies = np.concatenate([given.positions[:, None], given.beads], axis=1)[kept]
    from_first = [each - each[:, :1, :1] for each in (back, copies)]
    np.testing.assert_allclose(*from_first, atol=5.1e-3)


def test_a_structure_that_drifts_is_held_in_place():
    for name in ("CH4", "Si"):
        [system] = made_up.systems([name])
        times = np.arange(4.0)
        positions = system.positions + times[:, None, None]
        panel = Panel("run", 0, views=(Trajectory("run", "fs", times, positions),))
        [run] = views.structure_view(name, system, [panel])["trajectories"]
        back = packing.restored(run["positions"]).reshape(len(system.numbers), 3, 4).transpose(2, 0, 1)
        np.testing.assert_allclose(back, np.stack(4 * [system.positions]), atol=2.6e-3)


def test_a_large_run_is_thinned_and_of_many_beads_some_are_taken():
    system = made_up.systems(["Si"])[0]
    large = replace(system, numbers=np.tile(system.numbers, 60), positions=np.tile(system.positions, (60, 1)))
    rng = np.random.default_rng(0)
    positions = large.positions + 0.1 * rng.normal(size=(100, 480, 3))
    beads = positions[:, None] + 0.1 * rng.normal(size=(100, 32, 480, 3))
    panel = Panel("run", 0, views=(Trajectory("run", "ps", np.arange(100.0), positions, beads),))
    [run] = views.structure_view("x", large, [panel])["trajectories"]
    assert run["beads"] == MOST_BEADS
    assert 2 <= len(run["times"]) < 100
    assert (run["times"][0], run["times"][-1]) == (0.0, 99.0)
    assert len(run["positions"]["deltas"]) == len(run["times"]) * (1 + MOST_BEADS) * 480 * 3 <= 300_000


def test_motions_of_another_structure_are_refused():
    system = made_up.systems(["CH4"])[0]
    panel = Panel("modes", 0, views=(Motion("modes", ("1",), np.ones((1, 9, 3))),))
    with pytest.raises(ValueError, match="reshape"):
        views.structure_view("x", system, [panel])


def test_pictures_at_rest_are_drawn_of_what_moves_and_not_of_thousands(page):
    assert [image["alt"] for image in page.images if "at rest" in image["alt"]] == ["0 C₂H₆O at rest", "1 CH₄ at rest"]
    methane, crystal = made_up.systems(["CH4", "Si"])
    huge = replace(crystal, numbers=np.tile(crystal.numbers, 50), positions=np.tile(crystal.positions, (50, 1)))
    drawn = stills([methane, huge], 10**6)
    assert drawn[0].address.startswith("data:image/svg+xml")
    assert drawn[1] is None
