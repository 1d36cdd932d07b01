import numpy as np
import pytest

from atomlens.data.correlation import autocorrelation_time, integrated_autocorrelation
from tests.data.made_up_sets import remembering

TIME = 20.0
# τ of an evenly sampled exponential memory a^t is (1 + a) / (2 (1 - a)); integrated over all times it is TIME.
EVEN = 0.5 * (1 + np.exp(-1 / TIME)) / (1 - np.exp(-1 / TIME))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_memory_of_an_exponential_process_is_the_analytic_one(seed):
    """Sokal's error of τ is sqrt(2 (2 · 5 τ + 1) / N) = 4.5 % of it; three of these are allowed."""
    series = remembering(200_000, TIME, seed)
    times = np.arange(len(series), dtype=float)
    found = autocorrelation_time(series, times, np.zeros(len(series), int))
    assert found == pytest.approx(EVEN, rel=0.135)
    assert found == pytest.approx(integrated_autocorrelation(series[None]), rel=0.01)  # another estimator


@pytest.mark.parametrize("step", [3.0, 10.0, 40.0])
def test_uneven_sampling_finds_the_same_memory(step):
    """Frames drawn at random from a long trajectory, as rMD17's are; times in another unit."""
    rng = np.random.default_rng(1)
    series = remembering(600_000, TIME, 3)
    kept = np.sort(rng.choice(len(series), int(len(series) / step), replace=False))
    found = autocorrelation_time(series[kept], 0.5 * kept, np.zeros(len(kept), int))
    assert found == pytest.approx(0.5 * TIME, rel=0.2)


def test_order_runs_and_constants():
    rng = np.random.default_rng(0)
    runs = [remembering(20_000, TIME, seed) for seed in range(8)]
    values, times = np.concatenate(runs), np.tile(np.arange(20_000.0), 8)
    labels = np.repeat(np.arange(8), 20_000)
    expected = integrated_autocorrelation(np.stack(runs))
    shuffled = rng.permutation(len(values))
    found = autocorrelation_time(values[shuffled], times[shuffled], labels[shuffled])
    assert found == pytest.approx(expected, rel=0.02)
    assert autocorrelation_time(np.ones(50), np.arange(50.0), np.zeros(50, int)) == 0.5
    assert autocorrelation_time(rng.normal(size=50_000), 4.0 * np.arange(50_000), np.zeros(50_000, int)) == (
        pytest.approx(2.0, rel=0.15)
    )
    assert np.isnan(autocorrelation_time(np.ones(1), np.zeros(1), np.zeros(1, int)))
    assert np.isnan(autocorrelation_time(np.ones(4), np.zeros(4), np.zeros(4, int)))


def test_runs_stuck_in_different_states_count_as_correlated():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(size=1000), 5.0 + rng.normal(size=1000)])
    times, runs = np.tile(np.arange(1000.0), 2), np.repeat([0, 1], 1000)
    assert autocorrelation_time(values, times, runs) > 50
