import matplotlib
import numpy as np
import pytest
from ase import units
from matplotlib.collections import TriMesh
from matplotlib.contour import QuadContourSet
from matplotlib.image import AxesImage
from matplotlib.patches import Circle, StepPatch

from atomlens.figures import charges, electrostatics

ATOMS = [
    {"symbol": "O", "index": 0, "x": 0.0, "y": 0.0, "height": 0.0},
    {"symbol": "H", "index": 12, "x": 1.0, "y": 0.5, "height": -0.8},
]


def texts(figure):
    """All text drawn in a figure."""
    return "\n".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))


@pytest.fixture(scope="module")
def cuts():
    x, y = np.linspace(-2.0, 2.0, 41), np.linspace(-1.0, 1.0, 21)
    slope = np.broadcast_to(x, (21, 41))
    return electrostatics.electrostatic_cuts([("latent", slope), ("xTB", 10.0 * slope)], x, y, ATOMS, 1.9)


class TestCuts:
    def test_negative_lines_are_dashed_and_zero_is_thick(self, cuts):
        for axes in cuts.axes[:2]:
            (lines,) = axes.findobj(QuadContourSet)
            patterns = {level: style[1] for level, style in zip(lines.levels, lines.get_linestyle(), strict=True)}
            assert all((pattern is not None) == (level < 0.0) for level, pattern in patterns.items())
            widths = dict(zip(lines.levels, lines.get_linewidths(), strict=True))
            assert widths[0.0] > max(width for level, width in widths.items() if level != 0.0)

    def test_share_one_scale_centred_at_zero(self, cuts):
        limits = {image.get_clim() for axes in cuts.axes[:2] for image in axes.findobj(AxesImage)}
        assert limits == {(-2.0, 2.0)}
        ticks = cuts.axes[2].get_xticks()
        assert 0.0 in ticks
        assert "electrostatic potential (V)" in texts(cuts)

    def test_values_lie_where_the_axes_say(self, cuts):
        (image,) = cuts.axes[0].findobj(AxesImage)
        left, right, bottom, top = image.get_extent()
        # Pixels are centred on the points, half a step wider than these on every side.
        np.testing.assert_allclose([left, right, bottom, top], [-2.05, 2.05, -1.05, 1.05])
        assert cuts.axes[0].get_xlim() == (-2.0, 2.0)
        assert image.origin == "lower"

    def test_atoms_off_the_plane_are_open(self, cuts):
        fills = [matplotlib.colors.to_hex(disc.get_facecolor()) for disc in cuts.axes[0].findobj(Circle)]
        assert fills.count("#ffffff") == 1
        assert "H12" in texts(cuts)

    def test_surfaces_share_one_scale(self):
        # An octahedron, its triangles counter-clockwise from outside.
        vertices = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1.0]])
        triangles = [[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]]
        positions = [[0.0, 0.0, 0.0], [0.9, 0.0, 0.0]]
        values = np.linspace(-0.5, 1.0, 6)
        figure = electrostatics.electrostatic_surfaces(
            [("latent", values), ("xTB", 4.0 * values)], vertices, triangles, ["O", "H"], positions
        )
        figure.canvas.draw()
        assert [axes.get_title(loc="left") for axes in figure.axes[:2]] == ["latent", "xTB"]
        low, high = figure.axes[2].get_xlim()
        assert low == pytest.approx(-high)
        assert 3.8 < high < 4.0
        first, second = (axes.findobj(TriMesh)[0].get_facecolor() for axes in figure.axes[:2])
        assert np.abs(np.asarray(first) - np.asarray(second)).max() > 0.1


class TestCharges:
    def test_elements_have_panels_with_their_slope(self):
        rng = np.random.default_rng(0)
        x = rng.normal(size=5000)
        figure = charges.charge_scatter(
            {"H": (x, -0.5 * x), "O": ([0.1], [0.2]), "C": (x[:50], x[:50])}, "Mulliken charge", "latent charge"
        )
        found = texts(figure)
        for words in ("r = −1.00, slope −0.50", "1 atom", "slope 1.00", "Mulliken charge (e)", "latent charge (e)"):
            assert words in found
        shown = [len(axes.collections[0].get_offsets()) for axes in figure.axes[:3]]
        assert shown == [charges.MOST_POINTS, 1, 50]
        assert not figure.axes[3].axison
        figure.canvas.draw()

    def test_distributions_are_densities_on_one_axis(self):
        rng = np.random.default_rng(0)
        figure = charges.charge_distributions({"H": {"a": rng.normal(size=100), "b": rng.normal(size=3000)}})
        for drawn in figure.axes[0].findobj(StepPatch):
            data = drawn.get_data()
            assert (data.values * np.diff(data.edges)).sum() == pytest.approx(1.0)
        assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]
        assert "latent charge (e)" in texts(figure)

    def test_dipoles_are_shown_in_debye_and_far_ones_counted(self):
        reference = np.full((2000, 3), units.Debye)
        reference[0] = [40.0, 0.0, 0.0]
        figure = charges.dipole_vectors(reference, 2.0 * reference, [10.0, 20.0, 30.0])
        offsets = np.asarray(figure.axes[0].collections[0].get_offsets())
        np.testing.assert_allclose(np.unique(offsets[:, 0].round(9)), [0.0, 1.0])
        assert offsets[:, 1].max() == pytest.approx(2.0)
        found = texts(figure)
        assert "1 farther out" in found
        assert "median 20.0°" in found
        bars = [bar for bar in figure.axes[1].patches if not isinstance(bar, StepPatch)]
        assert sum(bar.get_height() for bar in bars) == pytest.approx(100.0)

    def test_random_directions_are_what_they_are_drawn_as(self):
        rng = np.random.default_rng(0)
        first, second = rng.normal(size=(2, 200_000, 3))
        cosines = np.einsum("ij,ij->i", first, second) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)
        figure = charges.dipole_vectors(np.eye(3), np.eye(3), [])
        (line,) = figure.axes[1].findobj(StepPatch)
        counts = np.histogram(np.degrees(np.arccos(cosines)), line.get_data().edges)[0]
        # The share of a bin scatters by 0.04 % in 200,000 draws.
        np.testing.assert_allclose(line.get_data().values, counts / 2000.0, atol=0.15)

    def test_evenly_keeps_both_ends(self):
        assert charges.evenly(5, 10).tolist() == [0, 1, 2, 3, 4]
        assert charges.evenly(101, 3).tolist() == [0, 50, 100]
        assert charges.evenly(0, 3).tolist() == []
