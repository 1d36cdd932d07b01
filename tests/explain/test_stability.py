import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase.build import molecule
from scipy import stats

from atomlens.data.dataset import Dataset
from atomlens.errors import InputError
from atomlens.explain.partition import stability
from atomlens.explain.partition.compared import compare, compared
from atomlens.explain.partition.partitioned import Partitioned
from atomlens.explain.partition.stability import ANALYSIS, partition_stability
from atomlens.explain.subject import ExplainConfig, NamedModel, Subject
from atomlens.explain.terms import atom_term
from atomlens.model import Model, ModelConfig

SEED = 5


def varied(structures=60, seed=SEED):
    """Numbers and offsets of random compositions of H, C and O."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(6, 16, structures)
    return rng.choice([1, 6, 8], sizes.sum(), p=[0.5, 0.35, 0.15]), np.concatenate([[0], np.cumsum(sizes)])


def one_composition(frames=40):
    return np.tile([6, 6, 8, 1, 1, 1, 1, 1, 1], frames), 9 * np.arange(frames + 1)


def rms(values):
    return float(np.sqrt(np.square(values).mean()))


class TestDifference:
    def test_constants_that_change_no_total_of_one_composition_are_found_alone(self):
        numbers, offsets = one_composition()
        shift = np.where(numbers == 1, 1.5, np.where(numbers == 6, -4.0, -1.0))  # 6 · 1.5 - 2 · 4 - 1 = 0
        base = np.random.default_rng(0).normal(size=len(numbers))
        found = partition_stability(np.stack([base, base + shift]), numbers, offsets)
        difference = found.pairs[0].difference
        assert difference.elements == pytest.approx(rms(shift), rel=1e-12)
        assert max(difference.totals, difference.shares, difference.leak) < 1e-12
        assert found.free_constants == 2  # elements less one
        assert found.score == pytest.approx(1.0, abs=1e-12)

    def test_a_change_of_totals_is_no_redistribution(self):
        numbers, offsets = varied()
        rng = np.random.default_rng(0)
        base, change = rng.normal(size=len(numbers)), np.repeat(rng.normal(size=60), np.diff(offsets))
        difference = partition_stability(np.stack([base, base + change]), numbers, offsets).pairs[0].difference
        assert difference.totals == difference.whole == pytest.approx(rms(change), rel=1e-12)
        assert max(difference.elements, difference.shares) < 1e-12

    def test_constants_of_varied_compositions_change_totals_and_say_so(self):
        numbers, offsets = varied()
        constant = np.where(numbers == 6, 2.0, 0.0)
        base = np.zeros(len(numbers))
        found = partition_stability(np.stack([base, constant]), numbers, offsets)
        assert found.free_constants == 0
        difference = found.pairs[0].difference
        assert difference.shares < 1e-12
        assert difference.totals**2 + difference.elements**2 == pytest.approx(rms(constant) ** 2)
        # The share of carbons in a structure is what the constant adds per atom.
        share = np.add.reduceat(constant, offsets[:-1]) / np.diff(offsets)
        assert difference.totals == pytest.approx(rms(np.repeat(share, np.diff(offsets))))
        # Of all constants that move atoms alike, the ones reported change totals least; carbon's alone is one of them.
        assert 0.0 < difference.leak < difference.totals

    @pytest.mark.parametrize("arms", [1, 4])
    def test_parts_equal_those_of_dense_least_squares(self, arms):
        numbers, offsets = varied(20)
        rng = np.random.default_rng(1)
        weights = np.column_stack([np.ones(len(numbers)), rng.normal(size=(len(numbers), 3))])[:, :arms]
        values = rng.normal(size=(2, len(numbers)))
        difference = partition_stability(values, numbers, offsets, weights).pairs[0].difference
        owner = np.repeat(np.arange(20), np.diff(offsets))
        blocks = (owner[:, None, None] == np.arange(20)[:, None]) * weights[:, None, :]  # a column per total
        totals = blocks.reshape(len(numbers), -1)
        both = np.column_stack([totals, numbers[:, None] == np.unique(numbers)])
        change = values[1] - values[0]
        in_totals, in_both = (design @ np.linalg.lstsq(design, change)[0] for design in (totals, both))
        assert difference.totals == pytest.approx(rms(in_totals), rel=1e-9)
        assert difference.elements == pytest.approx(rms(in_both - in_totals), rel=1e-9)
        assert difference.shares == pytest.approx(rms(change - in_both), rel=1e-9)
        squares = difference.totals**2 + difference.elements**2 + difference.shares**2
        assert squares == pytest.approx(difference.whole**2, rel=1e-12)

    def test_noise_of_known_size_falls_into_the_parts_by_their_dimensions(self):
        numbers, offsets = varied(400)
        noise = np.random.default_rng(2).normal(scale=0.3, size=len(numbers))
        difference = partition_stability(np.stack([0 * noise, noise]), numbers, offsets).pairs[0].difference
        atoms = len(numbers)
        # A chi-squared sum of n terms is known to sqrt(2 / n); four times that is allowed.
        for part, dimension in ((difference.totals, 400), (difference.shares, atoms - 402)):
            assert part**2 == pytest.approx(0.09 * dimension / atoms, rel=4 * np.sqrt(2 / dimension))
        assert difference.elements**2 < 0.09 * 12 / atoms  # two dimensions; 1 in 400 lies above 12

    def test_a_planar_molecule_has_three_arms_of_dipoles(self):
        water = molecule("H2O")
        arms = np.column_stack([np.ones(3), water.positions])
        atoms = Partitioned(water.numbers, np.array([0, 3]), arms)
        values = np.random.default_rng(0).normal(size=(3, 2))
        np.testing.assert_allclose(
            atoms.in_totals(values), values, atol=1e-12
        )  # three atoms, charge and two directions


class TestScore:
    def test_is_one_for_the_same_partition_and_near_zero_for_unrelated_ones(self):
        numbers, offsets = varied(400)
        values = np.random.default_rng(0).normal(size=(2, len(numbers)))
        same = partition_stability(values[[0, 0]], numbers, offsets)
        assert same.score == pytest.approx(1.0)
        assert same.score_beyond_totals == pytest.approx(1.0)
        assert partition_stability(values, numbers, offsets).score < 4 / np.sqrt(len(numbers))
        assert partition_stability(np.stack([values[0], -values[0]]), numbers, offsets).score == 0.0

    def test_does_not_see_constants_per_element(self):
        numbers, offsets = varied()
        values = np.random.default_rng(0).normal(size=(3, len(numbers)))
        values += values[0]
        shifted = values + np.array([0.0, 30.0, -8.0])[:, None] * (numbers == 6) + 5.0 * (numbers == 8)
        plain, moved = (partition_stability(each, numbers, offsets) for each in (values, shifted))
        assert moved.score == pytest.approx(plain.score, rel=1e-9)
        assert moved.score_beyond_totals == pytest.approx(plain.score_beyond_totals, rel=1e-9)
        assert moved.per_element["C"].score == pytest.approx(plain.per_element["C"].score, rel=1e-9)
        assert moved.pairs[0].per_element["C"].shift - plain.pairs[0].per_element["C"].shift == pytest.approx(30.0)

    def test_is_the_intraclass_correlation_of_the_analysis_of_variance(self):
        values = np.random.default_rng(3).normal(size=(3, 50)) + np.random.default_rng(4).normal(size=50)
        found = partition_stability(values, np.full(50, 6), np.array([0, 20, 50]))
        table = values.T - values.mean(axis=1)
        between = 3 * np.square(table.mean(axis=1)).sum() / 49
        within = np.square(table - table.mean(axis=1, keepdims=True)).sum() / (49 * 2)
        assert found.score == pytest.approx((between - within) / (between + 2 * within), rel=1e-12)

    def test_of_a_common_signal_with_noise_is_their_share_of_variance(self):
        numbers, offsets = varied(1500)
        rng = np.random.default_rng(6)
        signal, noise = rng.normal(scale=2.0, size=len(numbers)), rng.normal(scale=1.0, size=(4, len(numbers)))
        found = partition_stability(signal + noise, numbers, offsets)
        # 16,000 atoms give a correlation of 0.8 to about 0.36 / sqrt(16,000) = 0.003.
        assert found.score == pytest.approx(4.0 / 5.0, abs=0.012)
        assert found.score_beyond_totals == pytest.approx(4.0 / 5.0, abs=0.012)
        assert found.per_element["O"].score == pytest.approx(4.0 / 5.0, abs=0.04)
        assert found.per_element["C"].difference == pytest.approx(np.sqrt(2.0), rel=0.03)
        assert len(found.pairs) == 6

    def test_falls_where_one_partition_is_wider_than_the_other(self):
        numbers, offsets = varied()
        base = np.random.default_rng(0).normal(size=len(numbers))
        found = partition_stability(np.stack([base, 2.0 * base]), numbers, offsets)
        assert found.score == pytest.approx(2 * 2 / (1 + 4))  # twice the covariance over both variances
        row = found.pairs[0].per_element["H"]
        assert (row.correlation, row.slope) == (pytest.approx(1.0), pytest.approx(2.0))

    def test_agreement_on_totals_alone_is_told_apart(self):
        numbers, offsets = varied(400)
        rng = np.random.default_rng(0)
        totals = np.repeat(rng.normal(size=400), np.diff(offsets))
        found = partition_stability(totals + 0.5 * rng.normal(size=(2, len(numbers))), numbers, offsets)
        assert found.score > 0.7
        assert found.score_beyond_totals < 0.06

    def test_nothing_that_varies_has_no_score(self):
        numbers, offsets = varied()
        values = np.stack([numbers, 2.5 * numbers])
        found = partition_stability(values, numbers, offsets)
        assert np.isnan(found.score)
        assert np.isnan(found.pairs[0].per_element["H"].correlation)
        facts = json.loads(json.dumps(found.to_dict(), allow_nan=False))
        assert facts["score"] is None
        assert facts["per_element"]["C"]["score"] is None

    def test_rounding_of_single_precision_has_no_score(self):
        numbers, offsets = np.tile([8, 1, 1], 3), np.array([0, 3, 6, 9])
        rng = np.random.default_rng(0)
        noise = rng.normal(size=len(numbers)) * 1e-7
        values = np.tile([-9.0, 2.0, 2.0], 3) * (1.0 + noise) + np.zeros((2, 1))
        found = partition_stability(values, numbers, offsets)
        assert np.isnan(found.score)
        assert np.isnan(found.score_beyond_totals)
        clear = partition_stability(values + 1e-4 * rng.normal(size=len(numbers)), numbers, offsets)
        assert clear.score == pytest.approx(1.0)

    def test_differences_of_what_networks_add_are_rounding_of_that(self):
        numbers, offsets = np.tile([7, 7], 3), np.array([0, 2, 4, 6])
        values = 1e-8 * np.random.default_rng(0).normal(size=6) + np.zeros((2, 1))
        assert partition_stability(values, numbers, offsets).score == pytest.approx(1.0)
        assert np.isnan(partition_stability(values, numbers, offsets, sizes=np.array([0.5, 0.5])).score)


def test_correlations_and_slopes_are_those_of_linear_regression():
    numbers, offsets = varied()
    x, y = np.random.default_rng(0).normal(size=(2, len(numbers)))
    y = 10.0 + 0.7 * x + 0.2 * y
    pair = partition_stability(np.stack([x, y]), numbers, offsets).pairs[0]
    assert pair.correlation == pytest.approx(np.corrcoef(x, y)[0, 1])
    own = numbers == 8
    expected = stats.linregress(x[own], y[own])
    assert pair.per_element["O"].slope == pytest.approx(expected.slope)
    assert pair.per_element["O"].correlation == pytest.approx(expected.rvalue)
    assert pair.per_element["O"].difference == pytest.approx((y - x)[own].std())


@pytest.mark.parametrize(
    ("values", "words"), [(np.ones((1, 9)), "at least two models"), (np.ones((2, 8)), "8 terms do not fit 9 atoms")]
)
def test_what_cannot_be_compared_is_refused(values, words):
    numbers, offsets = one_composition(1)
    with pytest.raises(InputError, match=words):
        partition_stability(values, numbers, offsets)


def test_the_plot_has_a_panel_for_each_element_and_prints_the_score():
    numbers, offsets = varied()
    values = np.random.default_rng(0).normal(size=(2, len(numbers)))
    found = partition_stability(values + 3.0 * values[0], numbers, offsets)
    figure = found.plot(("first", "second"))
    words = "\n".join(text.get_text() for text in figure.findobj(lambda each: hasattr(each, "get_text")))
    assert f"score {found.score:.2f}" in words
    assert f"r = {found.pairs[0].per_element['C'].correlation:.2f}" in words
    assert "energy contribution, first (kcal/mol)" in words
    assert len([axes for axes in figure.axes if axes.axison]) == 3
    for axes in figure.axes[:3]:
        assert np.ptp(axes.get_xlim()) == pytest.approx(np.ptp(axes.get_ylim()))


def random_model(seed, readouts=("energy",), elements=(1, 6, 8)):
    torch.manual_seed(seed)
    rows = [{"name": "intensive", "property": name} if name == "homo" else {"name": name} for name in readouts]
    small = {"name": "schnet", "features": 16, "interactions": 1, "cutoff": 4.0}
    made = Model(ModelConfig.parse({"representation": small, "readouts": rows}), elements).set_precision(torch.float64)
    if made.has_energy:
        made.energy_readout.set_scale(1.0, {1: -13.6, 6: -1030.0, 8: -2040.0}, {1: -13.0, 6: -1029.0, 8: -2039.0})
    return made.set_exact_filters()


def molecules(count=40):
    names = ("CH3CH2OH", "H2O", "CH4", "C6H6", "CH3COOH", "CH3OCH3", "H2CO", "isobutane")
    rng = np.random.default_rng(0)
    structures = [molecule(names[place % len(names)]) for place in range(count)]
    return Dataset.from_arrays(
        np.concatenate([atoms.numbers for atoms in structures]),
        np.concatenate([atoms.positions + 0.05 * rng.normal(size=(len(atoms), 3)) for atoms in structures]),
        np.array([len(atoms) for atoms in structures]),
        {},
    )


def subject_of(*models, data=None):
    data = molecules() if data is None else data
    named = tuple(NamedModel(f"m{place}", model) for place, model in enumerate(models))
    return Subject(named, (data[0],), ("a",), data, ExplainConfig())


@pytest.fixture(scope="module")
def panel():
    return ANALYSIS.of_models(subject_of(*(random_model(seed, ("energy", "dipole")) for seed in (0, 1, 2))))


class TestPanel:
    def test_its_claims_are_checked(self, panel):
        assert [check.name for check in panel.checks] == [
            f"{words}: {what}" for words in ("energy contribution", "charge") for what in ("totals", "models", "chance")
        ]
        assert all(check.passed for check in panel.checks)

    def test_it_says_that_a_partition_is_not_unique_and_how_stable_this_one_is(self, panel):
        assert "not unique" in panel.reading
        assert f"score is {panel.facts['energy']['score']:.2f}" in panel.reading
        assert "All are of one kind" in panel.trust
        json.dumps(panel.to_dict(), allow_nan=False)

    def test_energies_are_set_beside_charges(self, panel):
        (energies,), (charges,) = (panel.facts[name]["score_by_kinds"] for name in ("energy", "dipole"))
        assert f"two SchNet {energies['score']:.2f} and {charges['score']:.2f}" in panel.reading
        holds = charges["score"] > energies["score"]
        assert f"here that {'holds for these' if holds else 'does not hold'}." in panel.reading

    def test_charts_hold_at_most_two_thousand_points_with_labels(self, panel):
        assert len(panel.views) == len(panel.figures) == 6
        for chart in panel.views:
            assert chart.equal
            assert 0 < sum(len(series.x) for series in chart.series) <= 2000
            assert all(len(series.labels) == len(series.x) for series in chart.series)

    def test_tables_give_every_pair_and_element(self, panel):
        elements, pairs = panel.tables[:2]
        assert [row[0] for row in elements.rows] == ["H", "C", "O"]
        assert len(pairs.rows) == 3
        assert all(len(row) == len(pairs.columns) for row in pairs.rows)

    def test_the_same_model_twice_is_noticed(self):
        model = random_model(0)
        panel = ANALYSIS.of_models(subject_of(model, model))
        assert [check.name for check in panel.checks if not check.passed] == ["energy contribution: models"]

    def test_different_models_that_say_the_same_by_symmetry_are_told_from_the_same_model(self):
        hydrogen = Dataset.from_arrays(
            np.ones(4, dtype=int), np.array([[0.0, 0, 0], [0, 0, 0.74]] * 2), np.array([2, 2]), {}
        )
        models = [random_model(seed, ("dipole",)) for seed in (0, 1)]
        panel = ANALYSIS.of_models(subject_of(*models, data=hydrogen))
        assert {check.name: check.passed for check in panel.checks} == {"charge: totals": True, "charge: models": True}
        assert "There is no score" in panel.reading
        assert "nan" not in panel.reading + panel.trust + panel.views[0].title
        assert "shuffled" not in panel.trust
        twice = ANALYSIS.of_models(subject_of(models[0], models[0], data=hydrogen))
        assert not {check.name: check.passed for check in twice.checks}["charge: models"]

    def test_scores_are_said_to_be_checked_against_chance_only_where_they_are(self, panel):
        assert "Every score is checked" in panel.trust
        one = ANALYSIS.of_models(subject_of(random_model(0), random_model(1), data=molecules().subset(np.array([0]))))
        assert "chance" not in " ".join(check.name for check in one.checks)
        assert "over 1 structure." in one.trust
        assert "shuffled" not in one.trust

    def test_chance_is_a_check_that_can_fail(self, monkeypatch):
        monkeypatch.setattr(stability, "_shuffled", lambda values, _numbers, _generator: values)
        model = random_model(0)
        found = {check.name: check.passed for check in ANALYSIS.of_models(subject_of(model, model)).checks}
        assert not found["energy contribution: chance"]

    def test_one_composition_is_called_what_it_is(self):
        frames = molecules().subset(np.arange(0, 40, 8))
        panel = ANALYSIS.of_models(subject_of(random_model(0), random_model(1), data=frames))
        assert "no total sees whole elements shifted in 2 independent ways" in panel.reading

    def test_one_model_for_a_quantity_is_too_few(self):
        with pytest.raises(InputError, match="train one more on another split"):
            ANALYSIS.of_models(subject_of(random_model(0), random_model(1, ("dipole",))))


class TestCompared:
    def test_energies_come_first_and_every_shared_quantity_is_there(self):
        rows = compared(subject_of(random_model(0, ("homo", "energy")), random_model(1, ("energy", "homo"))))
        assert [row.term.quantity for row in rows] == ["energy", "homo"]
        assert [row.names for row in rows] == [["m0", "m1"]] * 2

    def test_values_are_measured_from_free_atoms_where_all_know_them_else_from_references(self):
        known, bare = random_model(0), random_model(1)
        bare.energy_readout.set_scale(1.0, {1: -13.5, 6: -1030.5, 8: -2040.5})
        assert compared(subject_of(known, random_model(2)))[0].relative_to == "free atoms"
        row = compared(subject_of(known, bare))[0]
        assert row.relative_to == "references"
        data = molecules()
        terms = np.concatenate([bare.predict(system)["atom_energies"] for system in data])
        offsets = np.array([{1: -13.5, 6: -1030.5, 8: -2040.5}[number] for number in data.numbers])
        np.testing.assert_allclose(row.stability.values[1], terms - offsets, atol=1e-9)

    def test_the_free_sign_of_charges_is_made_alike(self):
        first, second = random_model(0, ("dipole",)), random_model(0, ("dipole",))
        with torch.no_grad():
            for name, weight in second.readouts["dipole"].network.named_parameters():
                if name.startswith("layers.1"):
                    weight.neg_()  # q becomes -q, and |μ| stays
        subject = subject_of(first, second)
        raw = [subject.predicted(entry)["charges"] for entry in subject.models]
        np.testing.assert_allclose(raw[0], -raw[1], atol=1e-12)
        assert compared(subject)[0].stability.score == pytest.approx(1.0)

    def test_predicted_totals_that_do_not_follow_from_the_terms_are_noticed(self):
        subject = subject_of(random_model(0), random_model(1))
        entries, term = subject.models, atom_term(random_model(0), "energy")
        assert compare(subject, term, entries).mismatch < 1e-9
        wrong = replace(subject)
        found = dict(subject.predicted(entries[1]))
        found["energy"] = found["energy"] + np.eye(len(subject.data))[7]
        wrong._store.update({("predictions", "m0"): subject.predicted(entries[0]), ("predictions", "m1"): found})
        assert compare(wrong, term, entries).mismatch == pytest.approx(1.0)

    def test_pairs_of_one_kind_are_drawn_first(self):
        torch.manual_seed(0)
        functions = {"name": "behler_parrinello", "n_radial": 4, "n_angular": 0}
        others = []
        for _ in range(2):
            other = Model(ModelConfig.parse({"representation": functions}), [1, 6, 8]).set_precision(torch.float64)
            other.energy_readout.set_scale(1.0, {1: -13.6, 6: -1030.0, 8: -2040.0}, {1: -13.0, 6: -1029.0, 8: -2039.0})
            others.append(other)
        row = compared(subject_of(random_model(0), others[0], random_model(1), others[1]))[0]
        drawn = [row.kinds(row.stability.pairs[place]) for place in row.shown]
        assert drawn == [("SchNet",) * 2, ("Behler-Parrinello",) * 2, ("Behler-Parrinello", "SchNet")]
        assert {kinds: len(scores) for kinds, scores in row.by_kinds.items()} == {
            ("SchNet", "SchNet"): 1, ("Behler-Parrinello",) * 2: 1, ("Behler-Parrinello", "SchNet"): 4,
        }  # fmt: skip
