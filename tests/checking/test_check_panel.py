"""The panel of the checks and its figures."""

import clean_sets
import numpy as np
import pytest
from ase import units

from atomlens.checking.checking import check_data
from atomlens.checking.panel import TOPIC, check_panel
from atomlens.figures import checking as figures
from atomlens.figures.style import save_figure


@pytest.fixture(scope="module")
def planted():
    return check_data(clean_sets.scaled(clean_sets.hot_ethanol(), 1 / units.Bohr, [37]))


def test_panel_says_what_was_found(planted):
    panel = check_panel(planted)
    assert panel.analysis == TOPIC.name
    assert planted.summary in panel.reading
    (table,) = panel.tables
    assert table.columns == ("status", "check", "found")
    assert len(table.rows) == len(planted.outcomes)
    assert table.rows[0][0] == "fault"
    assert {row[2] for row in table.rows} == {outcome.sentence for outcome in planted.outcomes}
    assert panel.to_dict()["hash"] == planted.data_hash
    assert {"length_ratios", "energy_residuals", "elements", "sizes", "outliers_energy"} <= set(panel.figures)


def test_panel_of_a_clean_set_promises_nothing():
    panel = check_panel(check_data(clean_sets.hot_ethanol(), only=["lengths"]))
    assert "nothing to remark" in panel.reading
    assert "does not prove labels right" in panel.trust


def test_histogram_of_ratios_counts_every_structure():
    values = np.concatenate([np.linspace(0.9, 1.1, 90), [1.89] * 10])
    axes = figures.length_ratios(values).axes[0]
    assert sum(patch.get_height() for patch in axes.patches) == 100
    marked = [line.get_xdata()[0] for line in axes.lines]
    assert marked == pytest.approx([1.0, 1 / units.Bohr, units.Bohr])


def test_outliers_are_marked():
    values = np.random.default_rng(0).normal(size=1000)
    values[3] = 80.0
    inside, outside, limit = figures.outliers(values, 12.0, "energy").axes[0].lines
    assert len(inside.get_xdata()) == 999
    assert outside.get_xdata() == pytest.approx([80.0 / 1.0], rel=0.05)
    assert limit.get_xdata()[0] == 12.0


def test_of_many_elements_the_rarest_are_drawn():
    axes = figures.element_counts([f"E{place}" for place in range(50)], np.arange(1, 51)).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == [f"E{place}" for place in range(20)]


@pytest.mark.parametrize("sizes", [[9] * 5, [1, 2, 3, 200]])
def test_sizes_are_counted(sizes, tmp_path):
    figure = figures.sizes(np.array(sizes))
    assert sum(patch.get_height() for patch in figure.axes[0].patches) == len(sizes)
    assert save_figure(figure, tmp_path, "sizes").stat().st_size > 1000


def test_energies_are_drawn(tmp_path):
    figure = figures.energy_residuals(np.array([1.0, 2.0, -3.0]))
    assert sum(patch.get_height() for patch in figure.axes[0].patches) == 3
    assert "meV/atom" in figure.axes[0].get_xlabel()
    assert save_figure(figure, tmp_path, "energies").stat().st_size > 1000
