"""Drawings of path integrals."""

import numpy as np
import pytest

from atomlens.figures import path_integrals as drawing


def test_the_thick_line_is_the_mean_up_to_each_time():
    values = np.random.default_rng(0).normal(size=200)
    energies = {"potential": values, "kinetic, primitive": values + 2, "kinetic, centroid virial": values / 9 + 2}
    figure = drawing.path_energies(np.arange(200.0), energies, values + 300, 300.0)
    top, middle, bottom = figure.axes
    assert [line.get_label() for line in middle.get_lines()][1::2] == ["kinetic, primitive", "kinetic, centroid virial"]
    mean = top.get_lines()[1].get_ydata()
    assert mean[0] == pytest.approx(values[0])
    assert mean[-1] == pytest.approx(values.mean())
    assert bottom.get_lines()[-1].get_ydata()[0] == 300.0


def test_long_runs_are_thinned():
    values = np.zeros(50_000)
    figure = drawing.path_energies(values, {"potential": values, "kinetic": values}, values, 300.0)
    assert len(figure.axes[0].get_lines()[0].get_xdata()) <= 4000


def test_only_what_was_fitted_is_in_the_enlarged_part():
    beads = np.array([1, 2, 4, 8, 16])
    energies = -1.0 / beads**2
    grid = np.array([2.0, 4.0, 100.0])
    figure = drawing.bead_convergence(beads, energies, np.full(5, 0.01), grid, -1 / grid**2, 0.02)
    whole, enlarged = figure.axes
    assert [label.get_text() for label in whole.get_xticklabels()] == ["1", "2", "4", "8", "16"]
    np.testing.assert_allclose(whole.containers[0].lines[0].get_xydata(), np.stack([beads, energies], axis=1))
    wanted = np.stack([1 / beads[1:] ** 2, energies[1:]], axis=1)
    np.testing.assert_allclose(enlarged.containers[0].lines[0].get_xydata(), wanted)
