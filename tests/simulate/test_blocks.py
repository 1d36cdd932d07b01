"""Error bars of correlated samples, against processes whose errors are known."""

import json

import numpy as np
import pytest
from scipy import stats
from scipy.signal import lfilter

from atomlens.errors import InputError
from atomlens.simulate.analysis.blocks import block_average, block_curve, per_run, plain, slope

RUNS = 300  # of every test of coverage


def autoregressive(phi, frames, runs, rng):
    """x_t = φ x_{t-1} + noise, of variance 1 from the first frame on."""
    noise = rng.standard_normal((frames, runs)) * np.sqrt(1 - phi**2)
    noise[0] /= np.sqrt(1 - phi**2)
    return lfilter([1.0], [1.0, -phi], noise, axis=0)


def exact_error(phi, frames, runs):
    """Of the mean: σ²/N [(1+φ)/(1-φ) - 2φ(1-φ^N)/(N(1-φ)²)]."""
    first = (1 + phi) / (1 - phi)
    return np.sqrt((first - 2 * phi * (1 - phi**frames) / (frames * (1 - phi) ** 2)) / (frames * runs))


class TestKnownProcesses:
    def test_white_noise(self):
        values = np.random.default_rng(0).normal(3.0, 2.0, (20_000, 1, 40))
        found = block_average(values)
        # The mean of 40 bars is known to 1/sqrt(2 · 40 · blocks), some 1 %.
        assert np.mean(found.error) == pytest.approx(2.0 / np.sqrt(20_000), rel=0.05)
        assert np.mean(found.inefficiency) == pytest.approx(1.0, abs=0.1)
        assert found.plateau
        np.testing.assert_array_equal(found.mean, values.mean(axis=(0, 1)))

    @pytest.mark.parametrize(("phi", "frames", "runs"), [(0.9, 20_000, 1), (0.9, 3000, 4), (0.5, 2000, 2)])
    def test_autoregressive_process(self, phi, frames, runs):
        rng = np.random.default_rng(1)
        values = np.stack([autoregressive(phi, frames, runs, rng) for _ in range(RUNS)], axis=-1)
        found = block_average(values, interval=2.0)
        # The rule lets blocks of finite length lose a few per cent.
        assert np.mean(found.error) == pytest.approx(exact_error(phi, frames, runs), rel=0.06)
        expected = (1 + phi) / (1 - phi)  # frames, twice the integrated correlation time
        assert np.mean(found.correlation_time) == pytest.approx(expected, rel=0.1)  # · 2 fs / 2
        assert found.lower_bound.mean() < 0.02

    @pytest.mark.parametrize(("phi", "frames", "runs"), [(0.0, 1000, 1), (0.9, 20_000, 1), (0.9, 2000, 8)])
    def test_bars_cover_the_truth(self, phi, frames, runs):
        """One standard error holds the true mean in 68 % of runs, two in 95 %."""
        rng = np.random.default_rng(2)
        values = np.stack([autoregressive(phi, frames, runs, rng) for _ in range(RUNS)], axis=-1)
        found = block_average(values)
        for width, share in ((1.0, 0.683), (2.0, 0.954)):
            covered = int((np.abs(found.mean) < width * found.error).sum())
            low, high = stats.binom.interval(0.999, RUNS, share - 0.02)  # the error itself is known to some 10 %
            assert low <= covered <= high

    def test_blocks_that_were_averaged_before_give_the_same(self):
        values = autoregressive(0.8, 16_384, 1, np.random.default_rng(3))
        whole = block_average(values)
        parts = values.reshape(-1, 8, 1).mean(axis=1)
        found = block_average(parts, block=8, variance=values.var(ddof=1))
        assert found.frames == whole.frames
        assert float(found.block) == float(whole.block)
        assert float(found.error) == pytest.approx(float(whole.error), rel=1e-12)
        assert float(found.inefficiency) == pytest.approx(float(whole.inefficiency), rel=1e-12)


class TestHonesty:
    def test_short_run_says_so(self):
        values = autoregressive(0.999, 2000, 1, np.random.default_rng(4))
        found = block_average(values)
        assert bool(found.lower_bound)
        assert "lower bounds" in found.caution
        assert found.to_dict()["lower_bound"] is True

    def test_too_few_frames_have_no_bar(self):
        found = block_average(np.array([[1.0], [2.0], [3.0]]))
        assert float(found.mean) == 2.0
        assert np.isnan(found.error)
        assert "too few" in found.caution
        assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["error"] is None

    def test_many_short_runs_speak_for_each_other(self):
        """Of 64 runs of one correlation time each no plateau can be found, but they are independent."""
        rng = np.random.default_rng(5)
        values = np.stack([autoregressive(0.99, 100, 64, rng) for _ in range(50)], axis=-1)
        found = block_average(values)
        assert found.plateau
        assert np.mean(found.error) == pytest.approx(exact_error(0.99, 100, 64), rel=0.05)

    def test_runs_stuck_in_different_places(self):
        rng = np.random.default_rng(6)
        centres = np.array([-1.0, 0.2, 0.7, 1.5])
        found = block_average(centres + 0.1 * rng.standard_normal((2000, 4)))
        assert bool(found.runs_differ)
        assert float(found.error) == pytest.approx(centres.std(ddof=1) / 2.0, rel=0.05)
        assert "differ" in found.caution

    def test_equal_runs_do_not_differ(self):
        rng = np.random.default_rng(7)
        values = np.stack([autoregressive(0.5, 2000, 4, rng) for _ in range(RUNS)], axis=-1)
        assert block_average(values).runs_differ.mean() < 0.01

    def test_constant_has_no_error(self):
        found = block_average(np.full((100, 2), 5.0))
        assert float(found.error) == 0.0
        assert float(found.inefficiency) == 1.0

    @pytest.mark.parametrize("values", [np.empty((0, 1)), np.array([[1.0], [np.nan]] * 8)])
    def test_refuses(self, values):
        with pytest.raises(InputError):
            block_average(values)


class TestCurve:
    def test_rises_to_the_exact_error(self):
        rng = np.random.default_rng(8)
        curve = block_curve(np.stack([autoregressive(0.9, 65_536, 1, rng) for _ in range(16)], axis=-1))
        assert curve.lengths[:3].tolist() == [1, 2, 4]
        assert curve.blocks[-1] == 8
        # Blocks of b frames: the error of N/b independent blocks, each with the exact variance of its mean.
        expected = [exact_error(0.9, length, 65_536 / length) for length in curve.lengths]
        found = np.sqrt(np.square(curve.errors).mean(axis=1))
        np.testing.assert_allclose(found[:8], expected[:8], rtol=0.03)
        # From 256 frames on, 13 times the inefficiency of 19, blocks are independent and so is what their bars say.
        apart = np.abs(found - expected)[8:] / (curve.uncertainties[8:].mean(axis=1) / 4.0)
        assert apart.max() < 3.0

    def test_beads_are_averaged_before(self):
        values = np.arange(24.0).reshape(2, 6, 2)
        found = per_run(values, 3)
        assert found.shape == (2, 2, 2)
        np.testing.assert_array_equal(found[1, 1], values[1, 3:].mean(axis=0))

    def test_plain(self):
        assert plain(np.array([[1.0, np.inf], [np.nan, 2.0]])) == [[1.0, None], [None, 2.0]]
        assert plain(np.float64("nan")) is None


class TestSlope:
    def test_slope_and_error_of_a_random_walk(self):
        """The error is the spread of slopes over many walks, within what five pieces can tell."""
        rng = np.random.default_rng(5)
        times = np.arange(1000.0)
        found = [slope(times, 0.01 * times + np.cumsum(rng.normal(size=1000))) for _ in range(300)]
        slopes, errors = np.array(found).T
        assert slopes.mean() == pytest.approx(0.01, abs=4 * slopes.std() / np.sqrt(300))
        assert np.sqrt(np.square(errors).mean()) == pytest.approx(slopes.std(), rel=0.15)

    def test_a_straight_line_is_exact(self):
        times = np.linspace(3.0, 8.0, 40)
        assert slope(times, 2.0 - 0.5 * times) == pytest.approx((-0.5, 0.0), abs=1e-12)

    def test_few_samples(self):
        assert np.isnan(slope(np.arange(2.0), np.arange(2.0))).all()
        assert slope(np.arange(5.0), 2 * np.arange(5.0)) == pytest.approx((2.0, np.inf))
