"""The figure of baselines beside trained models."""

import numpy as np
import pytest

from atomlens.data.units import KCAL_PER_MOL
from atomlens.figures.baselines import baseline_errors


def test_methods_from_the_best_down_in_the_fields_unit():
    errors = {"mean": 3.0 * KCAL_PER_MOL, "bag_of_bonds": 0.5 * KCAL_PER_MOL, "net": 1.0 * KCAL_PER_MOL}
    figure = baseline_errors(errors, {"net"}, "energy", "eV")
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["bag of bonds", "net", "mean"]
    drawn = axes.collections[-1].get_offsets()
    assert np.asarray(drawn[:, 0]) == pytest.approx([0.5, 1.0, 3.0])
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the best on top
    assert "kcal/mol" in axes.get_xlabel()
    colours = axes.collections[-1].get_facecolor()
    assert (colours[0] == colours[2]).all()
    assert (colours[0] != colours[1]).any()


def test_errors_of_zero_have_no_place_on_a_logarithmic_axis():
    figure = baseline_errors({"exact": 0.0}, (), "gap", "eV")
    assert not figure.axes[0].get_yticklabels()
