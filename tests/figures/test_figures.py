import re

import matplotlib
import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.contour import QuadContourSet
from matplotlib.patches import Circle

from atomlens import figures
from atomlens.data.units import KCAL_PER_MOL
from atomlens.figures import contributions, potential, style


def texts(figure):
    """All text drawn in a figure."""
    return "\n".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))


def contour_lines(figure):
    (lines,) = [each for each in figure.axes[0].findobj(QuadContourSet) if not each.filled]
    return lines


def dashed(lines, index):
    """Whether one level of a contour set is drawn dashed."""
    _, pattern = lines.get_linestyle()[index]
    return pattern is not None


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("parity_energy", ["reference energy, relative to the mean (kcal/mol)", "MAE 0.203 kcal/mol", "residual"]),
        ("parity_forces", ["predicted force component (kcal/mol/Å)", "5,400 values", "values per cell"]),
        ("learning_curve", ["epoch", "loss", "forces (kcal/mol/Å)", "energy (kcal/mol)", "best model: epoch"]),
        ("atom_contributions", ["C0\n−9.7", "O2\n−19.1", "H8\n", "contribution to the energy (kcal/mol)", "1 Å"]),
        ("contribution_distributions", ["C", "O", "H", "mean −19.14, spread 0.45 kcal/mol"]),
        ("potential_cut", ["x (Å)", "y (Å)", "Ω of a probe H, relative to the isolated probe (kcal/mol)", "C0"]),
        ("energy_drift", ["time (fs)", "(meV/atom)", "drift 0.0078 meV/atom per ps", "potential", "kinetic"]),
        ("force_order", ["step of the central difference (Å)", "(eV/Å)", "step to the power 2.00 (fitted)"]),
    ],
)
def test_figures_say_what_they_show_and_in_which_unit(drawn, name, labels):
    found = texts(drawn[name])
    for label in labels:
        assert label in found


def test_parity_has_equal_axes_and_a_diagonal():
    figure = figures.parity([1.0, 2.0, 4.0], [1.5, 2.0, 3.0], "energy", "meV", 0.5, 0.6)
    axes = figure.axes[0]
    assert axes.get_xlim() == axes.get_ylim()
    diagonal = axes.get_lines()[0]
    assert np.array_equal(diagonal.get_xdata(), diagonal.get_ydata())
    drawn = np.asarray(axes.collections[0].get_offsets())
    assert drawn[:, 0] == pytest.approx(np.array([1.0, 2.0, 4.0]) * 1e-3 / KCAL_PER_MOL)


def test_parity_takes_a_single_frame_and_equal_values():
    for reference in ([3.0], [2.0, 2.0]):
        figures.parity(reference, reference, "energy", "eV", 0.0, 0.0).canvas.draw()


def test_the_residuals_far_out_are_counted_in_the_end_bins():
    residuals = np.concatenate([np.zeros(99), [50.0]])
    figure = figures.parity(np.linspace(-1, 1, 100), np.linspace(-1, 1, 100) + residuals, "charge", "e", 0.5, 1.0)
    heights = [patch.get_height() for patch in figure.axes[0].child_axes[0].patches]
    assert sum(heights) == 100
    assert heights[-1] == 1


def test_the_learning_curve_marks_the_epoch_of_lowest_validation_loss(synthetic):
    rows = synthetic.history(epochs=30)
    rows[17]["validation_loss"] = 1e-3
    assert "best model: epoch 17" in texts(figures.learning_curve(rows))
    assert "best model: epoch 4" in texts(figures.learning_curve(rows, best_epoch=4))


def test_the_learning_curve_of_energies_alone_has_no_forces(synthetic):
    labels = texts(figures.learning_curve(synthetic.history(forces=False)))
    assert "energy (kcal/mol)" in labels
    assert "forces (" not in labels


def test_the_learning_curve_takes_gaps():
    rows = [{"epoch": 0, "train_loss": None}, {"epoch": 1, "train_loss": float("nan"), "validation_loss": 0.0}]
    figures.learning_curve(rows).canvas.draw()
    figures.learning_curve([]).canvas.draw()


@pytest.mark.parametrize("name", ["atom_contributions", "potential_cut"])
def test_diverging_colours_are_centred_at_zero(drawn, name):
    figure = drawn[name]
    maps = [axes._colorbar.mappable for axes in figure.axes if hasattr(axes, "_colorbar")]
    assert maps
    for mappable in maps:
        low, high = mappable.get_clim()
        assert low == -high < 0.0
        red, green, blue, _ = mappable.cmap(mappable.norm(0.0))
        assert min(red, green, blue) > 0.95


def test_atoms_are_coloured_by_their_own_value():
    figure = figures.atom_contributions(["O", "H", "H"], [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]], [-1.0, 0.4, 0.0])
    circles = [patch for patch in figure.axes[0].patches if isinstance(patch, Circle)]
    blue, red, white = (np.array(circle.get_facecolor()[:3]) for circle in circles)
    assert blue[2] > blue[0]
    assert red[0] > red[2]
    assert white.min() > 0.95


def test_negative_contours_are_dashed_and_others_solid(drawn):
    lines = contour_lines(drawn["potential_cut"])
    assert min(lines.levels) < 0.0 < max(lines.levels)
    for index, level in enumerate(lines.levels):
        assert dashed(lines, index) == (level < 0.0)


def test_the_cut_is_masked_near_nuclei_and_does_not_follow_outliers():
    x, y = np.linspace(-3, 3, 41), np.linspace(-2, 2, 31)
    values = 0.1 * np.sin(x)[None, :] * np.cos(y)[:, None]
    values[0, 0], values[15, 20] = 1e4, np.nan
    atoms = [{"index": 0, "symbol": "C", "x": 0.0, "y": 0.0, "height": 0.0}]
    figure = figures.potential_cut(x, y, values, atoms, "C")
    (filled,) = [each for each in figure.axes[0].findobj(QuadContourSet) if each.filled]
    assert filled.get_clim()[1] < 5.0  # kcal/mol; the outlier is 2e5
    assert filled.zmin > -5.0  # the NaN took no part
    assert figure.axes[0].get_facecolor() != (1.0, 1.0, 1.0, 1.0)


@pytest.mark.parametrize("offset", [-3.0, 3.0, 0.0])
def test_the_cut_takes_one_sided_and_empty_fields(offset):
    x = np.linspace(-1, 1, 11)
    values = offset + 0.1 * np.add.outer(x, x)
    figures.potential_cut(x, x, values, [], "H").canvas.draw()
    figures.potential_cut(x, x, np.full((11, 11), np.nan), [], "H").canvas.draw()
    figures.potential_cut(x, x, np.zeros((11, 11)), [], "H").canvas.draw()


def test_contour_levels_are_round_symmetric_and_reach_the_limit():
    for limit in (0.013, 1.0, 47.0, 260.0):
        levels = potential.contour_levels(limit)
        assert np.array_equal(levels, -levels[::-1])
        assert 0.0 in levels
        assert levels[-1] >= limit
        assert np.ptp(np.diff(levels)) < 1e-9 * limit
        assert 7 <= len(levels) <= 15


def test_atoms_near_a_plane_come_in_its_coordinates():
    positions = [[1.0, 2.0, 3.0], [2.0, 2.0, 3.5], [1.0, 3.0, 9.0]]
    found = figures.atoms_near_plane(["C", "O", "H"], positions, [1.0, 2.0, 3.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0])
    assert [atom["symbol"] for atom in found] == ["C", "O"]
    assert found[1] == {"index": 1, "symbol": "O", "x": 0.0, "y": -1.0, "height": 0.5}


def test_atoms_above_and_below_a_spot_share_a_label(drawn):
    assert "H4/H5" in texts(drawn["potential_cut"])


def test_symmetric_limits_ignore_nan_and_the_far_tail():
    values = np.concatenate([np.linspace(-1, 1, 199), [100.0, np.nan]])
    assert contributions.symmetric_norm(values).vmax == 100.0
    assert contributions.symmetric_norm(values, 98.0).vmax <= 1.0
    assert contributions.symmetric_norm([np.nan]).vmin == -1.0


def test_the_drift_is_the_slope_of_the_total_energy():
    times = np.arange(0.0, 500.0, 5.0)
    figure = figures.energy_drift(times, -7.0 + 3e-9 * times)
    assert "drift 0.003 meV/atom per ps" in texts(figure)
    assert len(figure.axes) == 1
    assert "drift −2 meV/atom per ps" in texts(figures.energy_drift(times, 0 * times, drift=-0.002))


def test_the_order_line_runs_through_the_truncation_errors(synthetic):
    steps, errors = synthetic.differences()
    figure = figures.finite_difference_order(steps, errors, 2.0)
    line = figure.axes[0].get_lines()[0]
    x, y = (np.asarray(each, dtype=float) for each in line.get_data())
    assert np.log(y[-1] / y[0]) / np.log(x[-1] / x[0]) == pytest.approx(2.0)
    assert y[-1] == pytest.approx(errors[-1], rel=0.05)


def test_order_figures_take_errors_of_zero():
    figures.finite_difference_order([0.1, 0.01], [0.0, 0.0], float("nan")).canvas.draw()


def test_saving_writes_both_formats_the_same_every_time(synthetic, tmp_path):
    files = []
    for folder in ("first", "second"):
        path = figures.save_figure(synthetic.draw_all()["force_order"], tmp_path / folder, "force_order")
        files.append((path.read_bytes(), path.with_suffix(".png").read_bytes()))
        assert sorted(each.name for each in path.parent.iterdir()) == ["force_order.png", "force_order.svg"]
    assert files[0] == files[1]
    assert files[0][1].startswith(b"\x89PNG")
    assert b"<dc:date>" not in files[0][0]
    assert not re.search(rb'(href|src)="(?!#)', files[0][0])


def test_drawing_leaves_matplotlib_as_it_was():
    before = dict(matplotlib.rcParams)
    figures.parity([0.0, 1.0], [0.0, 1.0], "energy", "eV", 0.1, 0.1)
    assert dict(matplotlib.rcParams) == before


def test_element_colours_show_on_both_themes_and_differ():
    symbols = ["H", "C", "N", "O", "F", "Si", "P", "S", "Cl", "Br", "I", "Li", "Na", "Fe", "Ti", "Au", "He", "X"]
    for symbol in symbols:
        luminance = style.luminance(style.element_colour(symbol))
        assert 0.05 < luminance < 0.55, symbol
    assert len({style.element_colour(symbol) for symbol in symbols[:11]}) == 11


def test_no_bonds_are_drawn_as_line_collections_with_one_atom():
    figure = figures.atom_contributions(["He"], [[0.0, 0.0, 0.0]], [0.0])
    figure.canvas.draw()
    assert not figure.axes[0].findobj(LineCollection)
