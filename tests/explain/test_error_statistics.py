import numpy as np
import pytest

from atomlens.explain.errors.error_statistics import bootstrap_intervals, errors_by_element, errors_by_size, summarise
from atomlens.explain.errors.isomer_ranking import rank_isomers


def test_averages_by_hand():
    found = summarise(np.array([1.0, -2.0, 3.0, -4.0]), signed=True)
    assert (found.count, found.mae, found.median, found.largest, found.mean) == (4, 2.5, 2.5, 4.0, -0.5)
    assert found.rmse == pytest.approx(np.sqrt(7.5))
    assert found.p95 == pytest.approx(3.85)  # 3 + 0.85, for ranks 0 to 3 lie at 0 to 100 %
    assert found.worst_share == pytest.approx(16 / 30)
    assert summarise(np.array([1.0, 2.0]), signed=False).mean is None
    assert summarise(np.zeros(3), signed=True).worst_share == 0.0
    heavy = np.ones(1000)
    heavy[:10] = 100.0
    assert summarise(heavy, signed=False).worst_share == pytest.approx(1e5 / (1e5 + 990))


def test_intervals_hold_the_truth_as_often_as_they_say():
    """The mean magnitude of normal errors is √(2/π); 95 % of intervals shall hold it."""
    rng, truth = np.random.default_rng(1), np.sqrt(2.0 / np.pi)
    ends = [bootstrap_intervals(np.abs(rng.normal(size=200)), seed)["mae"] for seed in range(200)]
    held = np.mean([low < truth < high for low, high in ends])
    assert held == pytest.approx(0.95, abs=0.05)  # three deviations of 200 draws
    errors = np.abs(rng.normal(size=4000))
    (low, high), spread = bootstrap_intervals(errors)["mae"], errors.std() / np.sqrt(4000)
    assert high - low == pytest.approx(2 * 1.96 * spread, rel=0.15)
    assert bootstrap_intervals(errors) == bootstrap_intervals(errors)
    assert set(bootstrap_intervals(errors)) == {"mae", "rmse", "median", "p95"}


def test_errors_by_size_by_hand():
    found = errors_by_size(np.array([1.0, 7.0, 3.0]), np.array([3, 5, 3]))
    assert found.names == ["3", "5"]
    assert found.count.tolist() == [2, 1]
    assert found.mean.tolist() == [2.0, 7.0]
    assert found.standard_error[0] == pytest.approx(1.0)  # √2 / √2
    assert np.isnan(found.standard_error[1])
    assert found.to_dict()["standard_error"][1] is None


def test_many_sizes_are_put_together():
    rng = np.random.default_rng(0)
    sizes, errors = rng.integers(1, 200, 3000), rng.exponential(size=3000)
    found = errors_by_size(errors, sizes, most=8)
    assert len(found.count) == 8
    assert found.count.sum() == 3000
    assert found.count.min() > 200
    assert (found.low[1:] > found.high[:-1]).all()
    for low, high, count, mean, spread in zip(
        found.low, found.high, found.count, found.mean, found.standard_error, strict=True
    ):
        inside = errors[(sizes >= low) & (sizes <= high)]
        assert len(inside) == count
        assert inside.mean() == pytest.approx(mean)
        assert inside.std(ddof=1) / np.sqrt(count) == pytest.approx(spread)
    assert "-" in found.names[0]


def test_errors_by_element_by_hand():
    counts = np.array([[4, 1, 0], [2, 1, 1], [0, 1, 2], [3, 1, 1]])
    found = errors_by_element(np.array([1.0, 2.0, 6.0, 3.0]), counts, np.array([1, 6, 8]))
    assert found.symbols == ["H", "C", "O"]
    assert found.count.tolist() == [3, 4, 3]
    assert found.mean == pytest.approx([2.0, 3.0, 11 / 3])
    assert found.mean_without[[0, 2]] == pytest.approx([6.0, 1.0])
    assert np.isnan(found.mean_without[1])  # all have carbon
    assert found.standard_error[0] == pytest.approx(1.0 / np.sqrt(3))
    assert np.isnan(found.per_atom).all()  # one carbon in each: nothing tells it from the constant
    assert found.to_dict()["per_atom"] == [None] * 3


def test_what_an_atom_adds_is_found_with_its_uncertainty():
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 8, (300, 3)).astype(float)
    exact = errors_by_element(0.5 + counts @ [0.1, 0.0, 0.4], counts, np.array([1, 6, 8]))
    assert exact.per_atom == pytest.approx([0.1, 0.0, 0.4], abs=1e-10)
    assert exact.per_atom_error == pytest.approx(np.zeros(3), abs=1e-10)
    # The spread of slopes over repeated draws, with noise that is large where the third element is rare or frequent.
    slopes, said = [], []
    for _ in range(400):
        noise = rng.normal(size=300) * (0.1 + 0.2 * (counts[:, 2] - 3.5) ** 2)
        found = errors_by_element(20.0 + counts @ [0.1, 0.0, 0.4] + noise, counts, np.array([1, 6, 8]))
        slopes.append(found.per_atom)
        said.append(found.per_atom_error)
    assert np.mean(said, axis=0) == pytest.approx(np.std(slopes, axis=0), rel=0.12)


C, H, O = 6, 1, 8  # noqa: E741
ELEMENTS = np.array([H, C, O])


def ranking(predicted, labelled, formulas, **settings):
    counts = np.array([{"a": [2, 1, 0], "b": [4, 2, 0], "c": [0, 1, 2], "d": [4, 1, 1]}[each] for each in formulas])
    return rank_isomers(np.array(predicted, float), np.array(labelled, float), counts, ELEMENTS, **settings)


def test_kendall_by_hand():
    one_swap = ranking([1, 3, 2, 4], [1, 2, 3, 4], "aaaa")  # 5 pairs right, 1 wrong
    assert one_swap.tau == pytest.approx([4 / 6])
    assert one_swap.formulas == ("CH2",)
    assert one_swap.swapped_share == pytest.approx(1 / 6)
    tied = ranking([1, 2, 3, 4], [1, 2, 2, 3], "aaaa")  # 5 pairs right, one with equal labels
    assert tied.tau == pytest.approx([5 / np.sqrt(5 * 6)])
    assert tied.pairs.sum() == 5
    assert tied.swapped_share == 0.0
    alike = ranking([1, 1, 1], [1, 2, 4], "aaa")  # neither right nor wrong
    assert alike.swapped_share == 0.0
    assert alike.gap_low.tolist() == [0.0, 2.0]
    assert alike.pairs.tolist() == [1, 2]  # of 1, and of 2 and 3
    equal = ranking([1, 2, 3], [5, 5, 5], "aaa")  # nothing to rank
    assert np.isnan(equal.tau[0])
    assert np.isnan(equal.mean_tau)
    assert equal.to_dict()["mean_tau"] is None
    assert equal.safe_gap == 0.0


def test_formulas_are_kept_apart_and_weighted_by_their_isomers():
    found = ranking([1, 9, 3, 2, 8, 4, 7, 5], [1, 1, 2, 3, 2, 4, 3, 0], "aaaacaab")
    assert found.formulas == ("CH2",)
    assert found.members[0].tolist() == [0, 1, 2, 3, 5, 6]
    both = ranking([1, 2, 3, 1, 3, 2, 4], [1, 2, 3, 1, 2, 3, 4], "cccdddd")
    assert both.formulas == ("CH4O", "CO2")
    assert both.tau == pytest.approx([4 / 6, 1.0])
    assert both.mean_tau == pytest.approx((4 * 4 / 6 + 3) / 7)
    assert ranking([1, 2], [1, 2], "ab") is None


def test_cells_of_one_material_count_as_one_formula_per_atom():
    assert ranking([1, 2, 3, 4], [1, 2, 3, 4], "aabb") is None
    found = ranking([1, 2, 3, 4], [1, 2, 3, 4], "aabb", per_atom=True)
    assert found.formulas == ("CH2",)
    assert found.count.tolist() == [4]


def test_swapped_pairs_by_their_gap():
    rng = np.random.default_rng(0)
    labels = rng.uniform(0, 100, 300)
    noise = rng.normal(scale=3.0, size=300)
    found = ranking(labels + noise, labels, "a" * 300)
    assert found.pairs.sum() == 300 * 299 / 2
    first, second = np.triu_indices(300, k=1)
    gaps, told = labels[first] - labels[second], (labels + noise)[first] - (labels + noise)[second]
    for low, high, pairs, swapped in zip(found.gap_low, found.gap_high, found.pairs, found.swapped, strict=True):
        inside = (np.abs(gaps) >= low) & (np.abs(gaps) < high)
        assert inside.sum() == pairs
        assert (inside & (gaps * told < 0)).sum() == swapped
    assert found.gap_low[0] == 0.0
    assert found.gap_high[-1] == np.inf
    assert set(np.round(found.gap_low[1:], 9)) <= {m * 10.0**d for m in (1, 2, 5) for d in (-1, 0, 1)}
    # Two errors of deviation 3 differ by 4.24 of deviation: of pairs 5 to 10 apart 4.5 % turn round, of 2 to 5 21 %.
    assert found.safe_gap == 5.0
    assert ranking(-labels, labels, "a" * 300).safe_gap is None
    assert ranking(np.exp(labels / 50), labels, "a" * 300).tau == pytest.approx([1.0])


def test_of_many_isomers_a_sample_of_pairs_is_drawn():
    rng = np.random.default_rng(0)
    labels, predicted = rng.normal(size=(2, 1000))
    found = ranking(predicted, labels, "a" * 1000)
    assert found.count.tolist() == [1000]
    assert found.pairs.sum() == 400 * 399 / 2
    assert found.swapped_share == pytest.approx(0.5, abs=0.05)
    again = ranking(predicted, labels, "a" * 1000)
    assert again.swapped.tolist() == found.swapped.tolist()
    assert ranking(predicted, labels, "a" * 1000, seed=1).swapped.tolist() != found.swapped.tolist()
