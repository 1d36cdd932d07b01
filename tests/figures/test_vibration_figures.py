import matplotlib
import numpy as np
import pytest
from matplotlib.collections import LineCollection

from atomlens.figures.vibrations import frequencies_compared, vibrational_spectrum

GRID = np.linspace(0.0, 2000.0, 4001)
CENTRES = np.array([-300.0, 400.0, 420.0, 1000.0, 1500.0])
HEIGHTS = np.array([1.0, 2.0, 1.5, 1.0, 0.02])


def curve():
    return sum(
        height / (1.0 + ((GRID - centre) / 5.0) ** 2) for centre, height in zip(CENTRES[1:], HEIGHTS[1:], strict=True)
    )


def words(figure):
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text)]


def lines(axes):
    """Where vertical lines stand, and from where to where they go."""
    found = [np.asarray(part) for collection in axes.findobj(LineCollection) for part in collection.get_segments()]
    return {round(float(part[0, 0]), 6): (float(part[:, 1].min()), float(part[:, 1].max())) for part in found}


@pytest.fixture(scope="module")
def spectrum():
    return vibrational_spectrum(CENTRES, HEIGHTS, GRID, curve(), "absorption (km/mol per cm⁻¹)", "10 cm⁻¹ wide")


def test_every_mode_is_a_line_of_its_height(spectrum):
    found = lines(spectrum.axes[0])
    assert set(found) == set(CENTRES)
    for centre, height in zip(CENTRES[1:], HEIGHTS[1:], strict=True):
        assert found[centre] == (0.0, height)


def test_high_peaks_are_named_apart_from_each_other(spectrum):
    written = [text.get_text() for text in spectrum.axes[0].texts]
    assert written == ["imaginary", "400", "1000"]  # not 420 over 400, nor the faint 1500


def test_imaginary_modes_stand_left_of_zero(spectrum):
    left, right = spectrum.axes[0].get_xlim()
    assert left < -300.0
    assert right == 2000.0
    plain = vibrational_spectrum(CENTRES[1:], HEIGHTS[1:], GRID, curve(), "absorption")
    assert plain.axes[0].get_xlim()[0] == 0.0
    assert "imaginary" not in words(plain)


def test_axes_say_their_units(spectrum):
    assert spectrum.axes[0].get_xlabel() == "wavenumber (cm⁻¹)"
    assert spectrum.axes[0].get_ylabel() == "absorption (km/mol per cm⁻¹)"
    assert "10 cm⁻¹ wide" in words(spectrum)


def test_an_empty_spectrum_is_drawn():
    figure = vibrational_spectrum([-20.0], [1.0], GRID, np.zeros_like(GRID), "absorption")
    assert figure.axes[0].get_ylim()[1] > 0.0


def test_comparison_names_the_largest_relative_difference():
    figure = frequencies_compared([100.0, 1000.0, 2000.0], [98.0, 1030.0, 2010.0], ("DFT", "model"))
    assert "largest: 3 % at 1000 cm⁻¹" in words(figure)
    assert {"DFT", "model"} <= set(words(figure))
    points = figure.axes[1].lines[1]
    np.testing.assert_allclose(points.get_ydata(), [-2.0, 3.0, 0.5])
    found = lines(figure.axes[0])
    assert found[100.0] == (0.0, 1.0)
    assert found[98.0] == (-1.0, 0.0)
