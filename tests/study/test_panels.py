"""Panels on disk: numbers, figures and files, each in one step."""

import json

import numpy as np
import pytest

from atomlens.figures import style
from atomlens.panel import Check, Panel, Topic
from atomlens.study.panels import panel_folder, write_panel, write_panels

TOPIC = Topic("modes", "Normal modes", "A definition.", "A source.")


def figure():
    drawn = style.new_figure(2.0)
    drawn.add_subplot().plot([0, 1])
    return drawn


def panel(**changed):
    check = Check("sum", "of all", float("nan"), "below 1", "eV", False)
    given = {"reading": "Read.", "trust": "Trust.", "checks": (check,), "facts": {"values": [1.0, float("inf")]}}
    return Panel("modes", **given | changed)


def test_a_panel_has_numbers_figures_and_files(tmp_path):
    made = panel(structure=3, figures={"spectrum": figure()}, files={"modes.txt": lambda path: path.write_text("ω")})
    pictures = write_panel(tmp_path, TOPIC, made, "3 C₂₀/cage")
    where = panel_folder(tmp_path, TOPIC, "3 C₂₀/cage")
    assert where.parent == tmp_path / "modes"
    assert pictures == {("modes", 3, "spectrum"): where / "spectrum.svg"}
    assert sorted(file.name for file in where.iterdir()) == ["modes.txt", "panel.json", "spectrum.png", "spectrum.svg"]
    stored = json.loads((where / "panel.json").read_text())
    assert stored["reading"] == "Read."
    assert stored["values"] == [1.0, None]
    assert stored["checks"][0]["value"] is None


def test_a_file_that_cannot_be_written_leaves_no_half(tmp_path):
    def fails(path):
        path.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_panel(tmp_path, TOPIC, panel(files={"modes.txt": fails}))
    assert list(panel_folder(tmp_path, TOPIC).iterdir()) == []


def test_panels_are_written_one_by_one_and_listed_with_their_places(tmp_path):
    seen = []

    def made():
        for structure in (None, 0):
            seen.append((tmp_path / "modes" / "models" / "panel.json").is_file())
            yield TOPIC, panel(structure=structure, figures={"spectrum": figure()} if structure == 0 else {})
        yield Topic("ir", "Infrared", "A definition.", "A source."), Panel("ir", 1, unavailable="no dipole moments")

    written = write_panels(tmp_path, made(), ["a", "b"])
    assert seen == [False, True]
    assert all(not each.figures for _, each in written.panels)
    assert set(written.folders) == {("modes", None), ("modes", 0), ("ir", 1)}
    assert written.checked(claims=False) == {
        "count": 2,
        "failed": [{"analysis": "modes", "structure": place, "name": "sum"} for place in (None, 0)],
    }
    listed = written.listed(["a", "b"], tmp_path)
    assert [entry["structure"] for entry in listed] == [None, "a", "b"]
    assert listed[1]["figures"] == ["modes/structure_a/spectrum.svg"]
    assert listed[2]["unavailable"] == "no dipole moments"
    assert "values" not in listed[0]
    assert np.all([(tmp_path / entry["folder"] / "panel.json").is_file() for entry in listed])
