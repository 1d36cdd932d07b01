"""Robust estimates and the table of mixed-up units."""

import numpy as np
import pytest

from atomlens.checking.robust import (
    line_through_origin,
    plane_through_origin,
    rank_correlation,
    running_spread,
    spread,
    weighted_median,
)
from atomlens.checking.unit_mixups import energy_force_mixups, stress_mixups


def test_line_is_not_moved_by_a_fifth_of_wrong_rows():
    random = np.random.default_rng(0)
    x = random.normal(size=500)
    y = 2.5 * x + random.normal(scale=0.1, size=500)
    y[:100] = 50.0 * random.normal(size=100)
    line = line_through_origin(x, y, np.ones(500))
    assert line.slope == pytest.approx(2.5, abs=0.02)
    assert line.correlation > 0.99


def test_error_of_the_slope_is_that_of_repeated_fits():
    random = np.random.default_rng(1)
    found = []
    for _ in range(200):
        x = random.normal(size=80)
        size = 0.1 + np.abs(x)
        found.append(line_through_origin(x, x + size * random.normal(size=80), np.ones(80)))
    slopes, errors = np.array([(line.slope, line.error) for line in found]).T
    assert slopes.mean() == pytest.approx(1.0, abs=0.05)
    assert errors.mean() == pytest.approx(slopes.std(), rel=0.25)


def test_plane():
    random = np.random.default_rng(2)
    columns = random.normal(size=(300, 2))
    y = columns @ [1.5, -0.2] + random.normal(scale=0.01, size=300)
    y[:60] += 10.0
    found, errors = plane_through_origin(columns, y, np.ones(300))
    assert found == pytest.approx([1.5, -0.2], abs=0.01)
    assert (errors < 0.003).all()


def test_exact_data_have_no_error():
    x = np.linspace(-1.0, 1.0, 20)
    line = line_through_origin(x, 3.0 * x, np.ones(20))
    assert line.slope == pytest.approx(3.0)
    assert line.error == pytest.approx(0.0, abs=1e-12)
    assert line.correlation == pytest.approx(1.0)


def test_weighted_median():
    assert weighted_median(np.array([3.0, 1.0, 2.0]), np.array([1.0, 1.0, 1.0])) == 2.0
    assert weighted_median(np.array([3.0, 1.0, 2.0]), np.array([9.0, 1.0, 1.0])) == 3.0


def test_spread_of_normal_values():
    values = np.random.default_rng(3).normal(scale=0.7, size=20_000)
    assert spread(values) == pytest.approx(0.7, rel=0.03)


def test_running_spread_follows_the_size():
    random = np.random.default_rng(4)
    by = random.uniform(0.1, 1.0, size=5_000)
    found = running_spread(np.abs(by * random.normal(size=5_000)), by)
    assert found == pytest.approx(by, rel=0.5)
    assert np.median(found / by) == pytest.approx(1.0, abs=0.05)


def test_rank_correlation_against_scipy():
    from scipy.stats import spearmanr

    random = np.random.default_rng(5)
    x = random.normal(size=50)
    y = x**3 + random.normal(size=50)
    assert rank_correlation(x, y) == pytest.approx(spearmanr(x, y).statistic)


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (23.0605, "energies in kcal/mol stand beside forces in eV/Å"),
        (1 / 23.0605, "energies in eV stand beside forces in kcal/mol/Å"),
        (27.2114, "energies in eV stand beside forces in Ha/Å"),
        (51.4221, "energies in eV stand beside forces in Ha/bohr"),
        (96.485, "energies in kJ/mol stand beside forces in eV/Å"),
        (0.529177, "positions are in Bohr"),
        (1.889726, "forces are per Bohr"),
        (10.0, "kJ/mol stand beside forces in kJ/mol/nm"),
    ],
)
def test_ratios_of_energies_and_forces(ratio, words):
    """Conversion factors as in CODATA's tables, not computed from ours."""
    # 10 is a ratio of forces per nm: they are ten times those per Å, so energies change a tenth.
    found = energy_force_mixups(0.1 if ratio == 10.0 else ratio)
    assert words in found[0].meaning


def test_ratios_of_stress():
    assert "in GPa, taken for eV/Å³" in stress_mixups(1 / 160.21766)[0].meaning
    assert "in kbar, taken for eV/Å³" in stress_mixups(1 / 1602.1766)[0].meaning
    assert stress_mixups(1.0) == []
    assert stress_mixups(-1.0) == []


def test_no_mixup_is_named_without_need():
    assert energy_force_mixups(1.0) == []
    assert energy_force_mixups(7.0) == []
