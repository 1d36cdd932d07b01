import matplotlib
import numpy as np
import pytest
from matplotlib.collections import PolyCollection

from atomlens.figures import dynamics

X = np.linspace(0.0, 1.0, 101)


def line(name, shift=0.0, error=0.1):
    return dynamics.Line(name, X, np.sin(6 * X) + shift, None if error is None else np.full(101, error))


def texts(figure):
    return "\n".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))


class TestCurves:
    def test_shade_is_one_standard_error(self):
        figure = dynamics.curves([dynamics.Plot("r (Å)", "density", [line("classical")])])
        (shade,) = figure.axes[0].findobj(PolyCollection)
        points = shade.get_paths()[0].vertices
        middle = points[np.abs(points[:, 0] - 0.5) < 1e-9, 1]
        assert np.ptp(middle) == pytest.approx(0.2)

    def test_a_run_looks_alike_in_all_plots(self):
        first = dynamics.Plot("a", "b", [line("classical"), line("quantum", 1.0)])
        second = dynamics.Plot("c", "d", [line("quantum", 1.0)])
        figure = dynamics.curves([first, second])
        own, other = figure.axes[0].lines[1], figure.axes[1].lines[0]
        assert own.get_color() == other.get_color() != figure.axes[0].lines[0].get_color()
        assert own.get_linestyle() == other.get_linestyle() != figure.axes[0].lines[0].get_linestyle()
        assert len(figure.legends) == 1
        assert {"classical", "quantum"} <= set(texts(figure).split("\n"))

    def test_one_run_needs_no_legend_and_empty_places_no_axes(self):
        plots = [dynamics.Plot("r (Å)", "h", [line("run")], title=str(place)) for place in range(4)]
        figure = dynamics.curves(plots)
        assert not figure.legends
        assert sum(axes.axison for axes in figure.axes) == 4

    def test_missing_errors_draw_no_shade(self):
        unknown = dynamics.Line("run", X, X, np.full(101, np.nan))
        figure = dynamics.curves([dynamics.Plot("x", "y", [line("bare", error=None), unknown])])
        assert not figure.axes[0].findobj(PolyCollection)

    def test_limits_and_marks(self):
        plot = dynamics.Plot("x", "y", [line("run")], marks=(("asked for", 0.5),), x_limits=(0.2, 0.6))
        figure = dynamics.curves([plot])
        assert figure.axes[0].get_xlim() == (0.2, 0.6)
        assert "asked for" in texts(figure)


class TestTraces:
    def test_running_mean_follows_a_slope(self):
        """A mean over a window centred on its place leaves a straight line as it is."""
        times = np.arange(5000.0)
        plot = dynamics.Plot("time (ps)", "T (K)", [dynamics.Line("run", times, 2.0 * times)])
        figure = dynamics.traces([plot, plot])
        thick = max(figure.axes[0].lines, key=lambda each: each.get_linewidth())
        np.testing.assert_allclose(thick.get_ydata(), 2.0 * np.asarray(thick.get_xdata()), atol=1.1)
        thin = min(figure.axes[0].lines, key=lambda each: each.get_linewidth())
        assert len(thin.get_xdata()) <= 4000
        assert figure.axes[0].get_xlabel() == ""
        assert figure.axes[1].get_xlabel() == "time (ps)"


class TestBlockCurves:
    def test_errors_are_relative_and_the_taken_one_is_ringed(self):
        lengths = 2 ** np.arange(6)
        errors = np.array([1.0, 1.4, 1.8, 2.0, 2.1, 2.1]) * 3.0
        curve = dynamics.Line("energy", 0.5 * lengths, errors, 0.1 * errors)
        figure = dynamics.block_curves([lengths], [curve], [8.0], "fs")
        axes = figure.axes[0]
        ring = next(each for each in axes.lines if each.get_markerfacecolor() == "none")
        assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (4.0, pytest.approx(2.0))
        assert "fs" in axes.get_xlabel()
