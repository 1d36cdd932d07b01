import numpy as np
import pytest

from atomlens.figures import error_analysis as drawing


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_the_distribution_counts_larger_errors():
    values = np.array([4.0, 1.0, 2.0, 3.0])
    (axes,) = drawing.error_distribution({"a": values, "b": 2.0 * values}, "energy", "kcal/mol").axes
    curve = axes.get_lines()[0]
    assert curve.get_xdata().tolist() == [4.0, 3.0, 2.0, 1.0]
    assert curve.get_ydata().tolist() == [0.25, 0.5, 0.75, 1.0]
    assert {"a", "b", "normal distribution\nof the same RMSE"} == {
        text.get_text() for text in axes.get_legend().get_texts()
    }
    assert "half of all: below 2.5" in texts(axes)
    (normal,) = [line for line in axes.get_lines() if line.get_label().startswith("normal")]
    bounds, share = normal.get_xdata(), normal.get_ydata()
    # A third of normal errors is beyond their deviation, here √7.5.
    assert np.interp(np.sqrt(7.5), bounds, share) == pytest.approx(0.3173, abs=1e-3)


def test_errors_that_are_all_zero_are_drawn_as_well():
    (axes,) = drawing.error_distribution({"a": np.zeros(3)}, "energy", "eV").axes
    assert axes.get_xscale() == "linear"


def test_single_structures_are_hollow():
    upper, lower = drawing.error_by_size(
        ["3", "4", "5"], [2, 1, 4], [1.0, 5.0, 2.0], [0.1, np.nan, 0.2], "energy", "kcal/mol"
    ).axes
    (alone,) = [line for line in upper.get_lines() if line.get_markerfacecolor() == "white"]
    assert alone.get_xdata().tolist() == [1]
    assert alone.get_ydata().tolist() == [5.0]
    (mean,) = [line for line in upper.get_lines() if len(set(line.get_ydata())) == 1 and len(line.get_ydata()) == 2]
    assert mean.get_ydata()[0] == pytest.approx((2 * 1.0 + 5.0 + 4 * 2.0) / 7)
    assert [bar.get_height() for bar in lower.patches] == [2, 1, 4]


def test_of_many_elements_those_with_large_errors_are_drawn():
    symbols = ["H", "C", "N", "O", "F", "S", "P", "Cl", "Si", "Na", "K", "Mg", "Ca", "Fe"]
    mean = np.arange(14.0)
    rows = np.ones(14)
    left, right = drawing.element_errors(symbols, mean, rows, -mean, rows, 5.0, "energy", "eV").axes
    assert [label.get_text() for label in left.get_yticklabels()] == symbols[2:]
    assert "12 of 14 elements" in right.get_title(loc="right")
    unknown = np.full(2, np.nan)
    assert len(drawing.element_errors(["H", "C"], [1, 2], [0, 0], unknown, unknown, 1.0, "energy", "eV").axes) == 1


def test_a_far_isomer_does_not_squeeze_the_others():
    labels = np.append(np.linspace(-1.0, 1.0, 200), 50.0)
    gaps = drawing.Gaps([0.0, 1.0, 2.0], [1.0, 2.0, np.inf], [10, 2000, 50], [4, 1, 0])
    upper, lower = drawing.isomer_ranking(labels, labels + 0.1, "formula", gaps, "energy", "kcal/mol").axes
    assert upper.get_xlim()[1] < 3.0
    assert upper.get_xlim() == upper.get_ylim()
    assert texts(upper) == ["1 lie outside"]
    assert [bar.get_height() for bar in lower.patches] == pytest.approx([40.0, 0.05, 0.0])
    assert texts(lower) == ["40", "0.1", "0"]
    assert [label.get_text() for label in lower.get_xticklabels()] == ["1", "2"]


def test_force_errors_stand_beside_the_size_of_the_forces():
    (axes,) = drawing.force_errors(["H", "O"], [0.1, 0.4], [2.0, 5.0], "kcal/mol/Å").axes
    assert texts(axes) == ["5.0 %", "8.0 %"]
    assert [bar.get_width() for bar in axes.patches] == [2.0, 5.0, 0.1, 0.4]


def test_outliers_fill_rows_of_three():
    entry = drawing.Drawn(["O", "H"], [[0, 0, 0], [0, 0, 1.0]], "0 HO\n+1 eV")
    figure = drawing.outliers([entry] * 4)
    assert len(figure.axes) == 6
    assert [axes.get_title() for axes in figure.axes[3:]] == ["0 HO\n+1 eV", "", ""]
    assert not figure.axes[5].axison


def test_learning_curves_are_on_logarithmic_axes():
    curve = drawing.LearningCurve("schnet", [100, 1000], [2.0, 0.5], [1.8, 0.4], [2.2, 0.6])
    (axes,) = drawing.learning_curves([curve], "energy", "kcal/mol").axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert axes.get_lines()[0].get_ydata().tolist() == [2.0, 0.5]
