"""What the picture of a cut leaves to its data: lines, limits and labels."""

import numpy as np
import pytest

from atomlens.figures import potential
from atomlens.figures.potential import contour_levels, contour_lines


def test_lines_are_the_levels_that_values_reach():
    levels = contour_levels(10.0)
    values = np.linspace(-7.0, 9.0, 500)
    assert contour_lines(levels, values) == [level for level in levels if -7.0 < level < 9.0]


def test_lines_are_finer_where_values_lie_close_together_far_from_zero():
    values = np.linspace(-10.0, -9.0, 500)
    lines = contour_lines(contour_levels(10.0), values)
    assert 4 <= len(lines) <= 12
    assert all(-10.0 < line < -9.0 for line in lines)
    steps = np.diff(lines)
    np.testing.assert_allclose(steps, steps[0], rtol=1e-9)


def test_constant_values_have_no_lines():
    assert contour_lines(contour_levels(1.0), np.full(10, 0.3)) == []


def test_atoms_beyond_the_edge_do_not_widen_the_picture():
    x, y = np.linspace(-2.0, 2.0, 21), np.linspace(-1.0, 1.0, 11)
    beyond = [
        {"index": 0, "symbol": "C", "x": 2.4, "y": 0.0, "height": 0.0},
        {"index": 1, "symbol": "O", "x": 0.0, "y": -1.5, "height": 0.8},
    ]
    figure = potential.potential_cut(x, y, np.add.outer(y, x), beyond, "H")
    figure.canvas.draw()
    assert figure.axes[0].get_xlim() == pytest.approx((-2.0, 2.0))
    assert figure.axes[0].get_ylim() == pytest.approx((-1.0, 1.0))
