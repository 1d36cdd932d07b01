import json

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist, pdist
from scipy.stats import binom, kendalltau, spearmanr

from atomlens.data.dataset import Dataset
from atomlens.data.system import MAX_ATOMIC_NUMBER, symbol
from atomlens.errors import InputError
from atomlens.explain.elements.elements import (
    classes_of,
    drawn_elements,
    element_embeddings,
    initial_embeddings,
    nearest,
    principal_components,
)
from atomlens.explain.elements.embedding_statistics import (
    Chance,
    agreement,
    cluster_score,
    explained_by_chance,
    order_within_classes,
)
from atomlens.explain.elements.embeddings import ANALYSIS
from atomlens.explain.elements.periodic_table import block, group, is_main_group, period
from atomlens.explain.subject import ExplainConfig, NamedModel, Subject
from atomlens.figures.embeddings import spread
from atomlens.model import Model, ModelConfig
from atomlens.training.config import RunConfig
from atomlens.training.prepare import build_model

SALTS = [1, 3, 4, 6, 7, 8, 9, 11, 12, 15, 16, 17, 19, 20, 26, 33, 34, 35, 37, 38, 53, 56, 57]
FEWER = [3, 4, 8, 9, 11, 12, 16, 17, 19, 20]
DTNN = ModelConfig.parse({"representation": {"name": "dtnn"}})


def made(elements, seed=0, config=None):
    torch.manual_seed(seed)
    model = Model(config or ModelConfig(), elements)
    model.provenance = {"training": {"seed": seed}}
    return model


def trained(elements, seed=0, config=None, change=None):
    """A model whose embeddings of trained elements were moved by ``change`` (elements, F)."""
    model = made(elements, seed, config)
    weight = model.representation.embedding.weight
    change = np.random.default_rng(5).normal(size=(len(elements), weight.shape[1])) if change is None else change
    with torch.no_grad():
        weight[list(model.elements)] += torch.from_numpy(change).to(weight)
    return model


def subject(*models):
    named = tuple(NamedModel(f"model {place}", model) for place, model in enumerate(models))
    data = Dataset.from_arrays(np.array([1]), np.zeros((1, 3)), np.array([1]), {})
    return Subject(named, (), (), data, ExplainConfig())


# Groups as columns of the printed table, from top to bottom.
COLUMNS = {
    1: "H Li Na K Rb Cs Fr", 2: "Be Mg Ca Sr Ba Ra", 3: "Sc Y Lu Lr", 4: "Ti Zr Hf Rf", 5: "V Nb Ta Db",
    6: "Cr Mo W Sg", 7: "Mn Tc Re Bh", 8: "Fe Ru Os Hs", 9: "Co Rh Ir Mt", 10: "Ni Pd Pt Ds", 11: "Cu Ag Au Rg",
    12: "Zn Cd Hg Cn", 13: "B Al Ga In Tl Nh", 14: "C Si Ge Sn Pb Fl", 15: "N P As Sb Bi Mc", 16: "O S Se Te Po Lv",
    17: "F Cl Br I At Ts", 18: "He Ne Ar Kr Xe Rn Og",
}  # fmt: skip


def test_groups_are_the_columns_of_the_periodic_table():
    expected = {name: column for column, names in COLUMNS.items() for name in names.split()}
    for number in range(1, MAX_ATOMIC_NUMBER + 1):
        assert group(number) == expected.get(symbol(number)), symbol(number)
        assert is_main_group(number) == (expected.get(symbol(number)) in (1, 2, *range(13, 19)))
    without = [symbol(number) for number in range(1, MAX_ATOMIC_NUMBER + 1) if group(number) is None]
    assert len(without) == 28
    assert (without[0], without[13], without[14], without[-1]) == ("La", "Yb", "Ac", "No")


def test_blocks():
    found = "".join(block(number) for number in range(1, MAX_ATOMIC_NUMBER + 1))
    long = "ss" + "f" * 14 + "d" * 10 + "p" * 6
    assert found == "ss" + 2 * ("ss" + "p" * 6) + 2 * ("ss" + "d" * 10 + "p" * 6) + 2 * long


def test_periods_are_those_of_rdkit():
    chem = pytest.importorskip("rdkit.Chem")
    table = chem.GetPeriodicTable()
    for number in range(1, MAX_ATOMIC_NUMBER + 1):
        assert period(number) == table.GetRow(number)
    with pytest.raises(ValueError, match="no element 119"):
        period(119)


@pytest.mark.parametrize("shape", [(12, 7), (6, 20), (2, 3)], ids=str)
def test_principal_components_are_those_of_scikit_learn(shape):
    decomposition = pytest.importorskip("sklearn.decomposition")
    vectors = np.random.default_rng(1).normal(size=shape) + 3.0
    found = principal_components(vectors, np.arange(float(shape[0])))
    count = min(shape[0] - 1, shape[1])
    judge = decomposition.PCA(count, svd_solver="full").fit(vectors)
    np.testing.assert_allclose(found.explained, judge.explained_variance_ratio_, rtol=1e-12)
    assert found.explained.sum() == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_allclose(np.abs(found.axes), np.abs(judge.components_), atol=1e-12)
    np.testing.assert_allclose(np.abs(found.places), np.abs(judge.transform(vectors)), atol=1e-12)
    np.testing.assert_allclose(found.places @ found.axes + vectors.mean(axis=0), vectors, atol=1e-12)


def test_signs_follow_a_rule_whatever_the_signs_of_the_vectors():
    vectors, numbers = np.random.default_rng(2).normal(size=(9, 5)), np.arange(9.0)
    found = principal_components(vectors, numbers)
    assert (found.places.T @ (numbers - numbers.mean()) > 0).all()
    np.testing.assert_allclose(principal_components(-vectors, numbers).places, found.places, atol=1e-12)
    # Where places neither rise nor fall, the farthest is positive.
    level = principal_components(np.array([[1.0, 0.0], [-3.0, 0.0], [1.0, 0.0]]), np.zeros(3))
    np.testing.assert_allclose(level.places[:, 0], [-4 / 3, 8 / 3, -4 / 3], atol=1e-12)


def test_without_differences_there_are_no_principal_components():
    with pytest.raises(InputError, match="same embedding"):
        principal_components(np.ones((4, 3)), np.arange(4.0))
    with pytest.raises(InputError, match="one element"):
        principal_components(np.ones((1, 3)), np.arange(1.0))


@pytest.mark.parametrize("config", [ModelConfig(), DTNN], ids=["schnet", "dtnn"])
def test_embeddings_are_what_the_first_layer_multiplies(config):
    model = made([1, 6, 8], config=config).set_precision(torch.float64).set_exact_filters()
    found, caught = element_embeddings(model), []
    representation = model.representation
    layer = representation.atom_factors if config is DTNN else representation.blocks[0].atomwise_in
    handle = layer.register_forward_hook(lambda _module, inputs, output: caught.append((inputs[0], output)))
    model.predict([_water()], forces=False)
    handle.remove()
    heard = caught[0][1].detach() - (0 if layer.bias is None else layer.bias.detach())
    by_atom = [found.symbols.index(name) for name in "OHH"]
    np.testing.assert_allclose(caught[0][0].detach().numpy(), found.vectors[by_atom], rtol=1e-12)
    np.testing.assert_allclose(heard.numpy(), found.heard[by_atom], rtol=1e-10)


def _water():
    from ase.build import molecule

    return molecule("H2O")


def test_elements_never_trained_on_are_left_out():
    model = made([1, 8, 26])
    found = element_embeddings(model)
    assert set(found.spaces) == {"embedding", "heard"}  # nothing was trained
    assert found.symbols == ["H", "O", "Fe"]
    assert set(np.ravel(found.nearest(9))) == {"H", "O", "Fe"}
    assert set(found.to_dict()["elements"]) == {"H", "O", "Fe"}
    np.testing.assert_array_equal(found.main_group, [True, True, False])


def test_symmetry_functions_have_none():
    model = made([1, 8], config=ModelConfig.parse({"representation": {"name": "behler_parrinello"}}))
    with pytest.raises(InputError, match="no element embeddings: symmetry functions"):
        element_embeddings(model)


def test_without_interactions_nothing_is_heard():
    config = ModelConfig.parse({"representation": {"name": "schnet", "interactions": 0}})
    assert set(element_embeddings(trained([1, 6, 8], config=config)).spaces) == {"embedding", "change"}


def test_the_start_is_that_of_training():
    data = Dataset.from_arrays(
        np.array([1, 1, 6, 8]), np.eye(4)[:, :3] * 9, np.array([2, 2]), {"energy": np.array([1.0, 2.0])}
    )
    config = RunConfig.parse(
        {"data": {"path": "none"}, "model": {}, "split": {"train": 1, "validation": 1}, "training": {"seed": 11}}
    )
    model = build_model(config, data)
    model.provenance = {"training": {"seed": 11}}
    np.testing.assert_array_equal(element_embeddings(model).change, 0.0)


@pytest.mark.parametrize("config", [ModelConfig(), DTNN], ids=["schnet", "dtnn"])
def test_what_training_added(config):
    change = np.random.default_rng(3).normal(size=(3, 64 if config is not DTNN else 30))
    model = trained([1, 6, 8], seed=4, config=config, change=change)
    before = torch.get_rng_state()
    np.testing.assert_allclose(element_embeddings(model).change, change, atol=2e-7)
    assert torch.equal(torch.get_rng_state(), before)
    model.provenance = {"training": {"seed": 5}}
    assert initial_embeddings(model) is None
    model.provenance = {}
    assert initial_embeddings(model) is None
    assert element_embeddings(model).change is None


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_nearest_are_those_of_a_search_through_all(metric):
    vectors = np.random.default_rng(6).normal(size=(8, 4))
    places, distances = nearest(vectors, 3, metric)
    for own in range(8):
        every = []
        for other in set(range(8)) - {own}:
            a, b = vectors[own], vectors[other]
            cosine = a @ b / np.sqrt((a @ a) * (b @ b))
            every.append((1 - cosine if metric == "cosine" else np.sqrt(((a - b) ** 2).sum()), other))
        expected = sorted(every)[:3]
        assert places[own].tolist() == [other for _, other in expected]
        np.testing.assert_allclose(distances[own], [distance for distance, _ in expected], rtol=1e-10)
    assert nearest(vectors, 99)[0].shape == (8, 7)


def counted(vectors, classes, metric="euclidean"):
    """The score as its words say it, pair by pair."""
    distances, shares = cdist(vectors, vectors, metric), []
    for own, name in enumerate(classes):
        partners = [k for k, other in enumerate(classes) if other == name and k != own]
        strangers = [k for k, other in enumerate(classes) if other != name]
        wins = [
            1.0 if distances[own, p] < distances[own, s] else 0.5 if distances[own, p] == distances[own, s] else 0.0
            for p in partners
            for s in strangers
        ]
        if partners:
            shares.append(np.mean(wins))
    return np.mean(shares)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_cluster_score_counts_pairs(metric):
    generator = np.random.default_rng(7)
    vectors, classes = generator.normal(size=(14, 3)), generator.integers(0, 5, 14).tolist()
    score = cluster_score(vectors, classes, metric=metric, draws=10)
    assert score.value == pytest.approx(counted(vectors, classes, metric), rel=1e-12)
    # Equal vectors make ties.
    tied = np.round(vectors)
    assert cluster_score(tied, classes, draws=10).value == pytest.approx(counted(tied, classes), rel=1e-12)


def test_planted_clusters_are_found():
    generator = np.random.default_rng(8)
    classes = np.repeat(np.arange(5), 4)
    centres = generator.normal(size=(5, 32))
    score = cluster_score(centres[classes] + 0.1 * generator.normal(size=(20, 32)), classes.tolist(), draws=200)
    assert score.value == 1.0
    assert score.elements == 20
    for chance in (score.permuted, score.random):
        assert chance.p == pytest.approx(1 / 201)
        assert chance.z > 5
        assert chance.mean == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("heard", [False, True])
def test_random_embeddings_are_no_finding(heard):
    """P-values of nothing are uniform: a share q of them is below q, within what binomial counts allow."""
    generator, found = np.random.default_rng(9), []
    classes = np.repeat(np.arange(4), 3).tolist()
    through = generator.normal(size=(5, 6)) * np.geomspace(1, 30, 6) if heard else None
    for repeat in range(80):
        vectors = generator.normal(size=(12, 6))
        vectors = vectors if through is None else vectors @ through.T
        score = cluster_score(vectors, classes, through=through, draws=59, seed=repeat)
        found.append((score.permuted.p, score.random.p))
    for values in np.array(found).T:
        for q in (0.1, 0.5, 0.9):
            low, high = binom.interval(0.999, len(values), q)
            assert low <= (values <= q + 1e-9).sum() <= high


def test_too_few_elements_are_refused():
    with pytest.raises(InputError, match="5 elements"):
        cluster_score(np.eye(5), [1, 1, 2, 2, 2])
    with pytest.raises(InputError, match="2 of them with another"):
        cluster_score(np.eye(12), [1, 1, *range(2, 12)])
    with pytest.raises(InputError, match="too few"):
        cluster_score(np.eye(12), [1] * 12)


def test_chance_counts_the_value_itself():
    found = Chance.of(2.0, np.array([0.0, 1.0, 2.0, 3.0]))
    assert (found.mean, found.p, found.draws) == (1.5, 3 / 5, 4)
    assert found.z == pytest.approx(0.5 / np.sqrt(1.25))
    assert Chance.of(1.0, np.ones(3)).p == 1.0


def test_random_embeddings_explain_what_their_components_say():
    layer = np.random.default_rng(10).normal(size=(4, 6))
    found = explained_by_chance(9, 6, 2, through=layer, draws=1, seed=3)
    drawn = np.random.default_rng(3).normal(size=(9, 6)) @ layer.T
    assert found[0] == pytest.approx(principal_components(drawn, np.arange(9.0)).explained[:2].sum(), rel=1e-12)
    # The fewer dimensions, the more of them two components are.
    assert explained_by_chance(9, 2, 2, draws=5) == pytest.approx(np.ones(5))


def test_order_within_groups_is_kendalls():
    generator = np.random.default_rng(11)
    places, classes, order = generator.normal(size=(13, 2)), [1] * 5 + [2] * 6 + [3] * 2, np.array([*range(13)])
    found, _ = order_within_classes(places, classes, order)
    assert set(found) == {1, 2}
    for name, rows in ((1, slice(0, 5)), (2, slice(5, 11))):
        expected = [kendalltau(places[rows, axis], order[rows]).statistic for axis in (0, 1)]
        assert found[name].taus == pytest.approx(expected)


def test_order_along_one_component_has_kendalls_exact_p():
    generator = np.random.default_rng(12)
    places = generator.normal(size=(6, 1))
    found, overall = order_within_classes(places, ["a"] * 6, np.arange(6))
    assert found["a"].p == pytest.approx(kendalltau(places[:, 0], np.arange(6), method="exact").pvalue)
    assert overall == pytest.approx(found["a"].p, abs=0.02)
    perfect, _ = order_within_classes(np.arange(5.0)[::-1, None], ["a"] * 5, np.arange(5))
    assert perfect["a"].taus == (-1.0,)
    assert perfect["a"].p == pytest.approx(2 / 120)
    assert order_within_classes(places[:3], ["a"] * 3, np.arange(3)) == ({}, 1.0)


def test_order_of_random_places_is_no_finding():
    generator = np.random.default_rng(13)
    classes, order = [1] * 4 + [2] * 5, np.array([0, 1, 2, 3, 0, 1, 2, 3, 4])
    found = np.array([order_within_classes(generator.normal(size=(9, 2)), classes, order)[1] for _ in range(200)])
    # The best of few permutations comes in steps, so p may be too large by a step and never too small.
    assert (found <= 0.1).sum() <= binom.ppf(0.999, 200, 0.1)
    assert (found <= 0.5).sum() <= binom.ppf(0.999, 200, 0.5)
    assert found.min() < 0.2


def test_agreement_is_the_correlation_of_distances():
    generator = np.random.default_rng(14)
    first, second = generator.normal(size=(12, 5)), generator.normal(size=(12, 8))
    found = agreement(first, second, draws=200)
    assert found.correlation.value == pytest.approx(spearmanr(pdist(first), pdist(second)).statistic)
    assert abs(found.correlation.mean) < 0.05
    assert found.correlation.p > 0.01
    turn = np.linalg.qr(generator.normal(size=(5, 5)))[0]
    same = agreement(first, 2.0 * first @ turn + 1.0, draws=200)
    assert same.correlation.value == pytest.approx(1.0)
    assert same.correlation.p == pytest.approx(1 / 201)
    with pytest.raises(InputError, match="at least 4"):
        agreement(first[:3], second[:3])


def planted():
    """A model that training has given clusters of groups, far from its random start."""
    generator = np.random.default_rng(15)
    centres = {column: 5.0 * generator.normal(size=64) for column in range(19)}
    return trained(SALTS, change=np.array([centres[group(number) or 0] for number in SALTS]))


def test_panel_of_a_model_with_clusters():
    panel = ANALYSIS.of_models(subject(planted()))
    assert all(check.passed for check in panel.checks), [check for check in panel.checks if not check.passed]
    assert len(panel.checks) == 6
    assert "more than chance gives" in panel.reading
    assert "22 main-group elements" not in panel.reading  # iron and lanthanum are none
    assert "21 main-group elements" in panel.reading
    json.dumps(panel.to_dict(), allow_nan=False)
    shown = [label for view in panel.views for series in view.series for label in series.labels]
    assert set(shown) == {symbol(number) for number in SALTS} - {"Fe", "La"}
    for view in panel.views:
        assert {label for series in view.series for label in series.labels} == set(shown)
    titles = [table.title for table in panel.tables]
    assert titles[-1] == "Nearest elements"
    assert len(panel.tables[-1].rows) == len(SALTS)
    assert set(panel.figures) == {"embedding_by_group", "embedding_by_period", "heard_by_group"}


def test_panel_of_random_embeddings_finds_nothing():
    panel = ANALYSIS.of_models(subject(made(SALTS, seed=1)))
    failed = {check.name for check in panel.checks if not check.passed}
    assert any("groups lie together" in name for name in failed)
    assert "control: the random start" not in failed
    assert "principal components" not in failed
    assert "no more than chance may give" in panel.reading


def test_panel_of_several_models_says_how_far_they_agree():
    generator = np.random.default_rng(16)
    change = 3.0 * generator.normal(size=(len(FEWER), 64))
    models = [trained(FEWER, seed=seed, change=change) for seed in (0, 1)]
    panel = ANALYSIS.of_models(subject(*models))
    agreed = panel.facts["agreement"]["model 1"]
    assert agreed["change"]["correlation"]["value"] == pytest.approx(1.0, abs=1e-3)
    assert agreed["embedding"]["correlation"]["value"] < 0.98
    # Of two models with one start the embeddings agree without any training.
    panel = ANALYSIS.of_models(subject(trained(FEWER), trained(FEWER, change=change)))
    assert set(panel.facts["agreement"]["model 1"]) == {"heard", "change"}


def test_panel_of_few_elements_keeps_to_neighbours():
    panel = ANALYSIS.of_models(subject(made([1], seed=2), made([1, 6, 7, 8, 9])))
    assert "cannot be told from chance" in panel.reading
    assert "Shown is model model 1" in panel.trust
    assert panel.facts["clusters"] == []
    assert len(panel.tables[-1].rows) == 5
    json.dumps(panel.to_dict(), allow_nan=False)


def test_what_cannot_be_served_is_said_in_a_sentence():
    with pytest.raises(InputError, match="knows Si alone, too few"):
        ANALYSIS.of_models(subject(made([14])))
    symmetric = made([1, 8, 9], config=ModelConfig.parse({"representation": {"name": "behler_parrinello"}}))
    with pytest.raises(InputError, match="model model 0 has no element embeddings"):
        ANALYSIS.of_models(subject(symmetric))


def test_models_of_metals_are_drawn_with_all_their_elements():
    found = drawn_elements(element_embeddings(made([22, 26, 29, 57])))
    assert found.symbols == ["Ti", "Fe", "Cu", "La"]
    assert classes_of(found.numbers, "group") == [4, 8, 11, 0]
    assert classes_of(found.numbers, "period") == [4, 4, 4, 6]
    assert found.plot().axes[0].get_xlabel().startswith("principal component 1")


def test_circles_are_parted_and_others_stay():
    points = np.array([[0.0, 0.0], [0.0, 0.0], [0.1, 0.0], [5.0, 5.0]])
    found = spread(points, 0.4)
    assert pdist(found).min() > 0.4 * 0.99
    np.testing.assert_array_equal(found[3], points[3])
    np.testing.assert_allclose(found[:3].mean(axis=0), points[:3].mean(axis=0), atol=1e-12)


def test_a_panel_without_a_score_of_groups():
    """Ten elements that fill two periods have hardly two of a group."""
    panel = ANALYSIS.of_models(subject(made([1, 3, 4, 5, 6, 7, 8, 9, 10, 11])))
    assert {entry["classes"] for entry in panel.facts["clusters"]} == {"period", "block"}
    assert "Chance is 1000 random redistributions of periods or blocks" in panel.trust
    assert "6 of them with another of their group" in panel.reading


def test_large_classes_are_permuted_at_random():
    generator = np.random.default_rng(18)
    places, order = generator.normal(size=(9, 1)), np.arange(9)
    found, overall = order_within_classes(places, ["a"] * 9, order)
    exact = kendalltau(places[:, 0], order, method="exact")
    assert found["a"].taus == pytest.approx((exact.statistic,))
    spread = np.sqrt(exact.pvalue * (1 - exact.pvalue) / 5_000)
    assert found["a"].p == pytest.approx(exact.pvalue, abs=4 * spread)
    assert order_within_classes(places, ["a"] * 9, order) == (found, overall)
    assert order_within_classes(places, ["a"] * 9, order, seed=1)[0]["a"].p != found["a"].p
    many, _ = order_within_classes(generator.normal(size=(60, 2)), ["a"] * 60, np.arange(60))
    assert 0.0 < many["a"].p <= 1.0
    perfect, _ = order_within_classes(np.arange(60.0)[:, None], ["a"] * 60, np.arange(60))
    assert perfect["a"].p == pytest.approx(1 / 5_001)


def test_elements_without_a_group_are_no_group():
    assert order_within_classes(np.eye(5)[:, :2], [None] * 5, np.arange(5)) == ({}, 1.0)
    metals = [*range(21, 31), *range(39, 47), *range(57, 71)]
    panel = ANALYSIS.of_models(subject(made(metals)))
    assert "0" not in panel.facts["order_within_groups"]["embedding"]["groups"]
    of_groups = [entry for entry in panel.facts["clusters"] if entry["classes"] == "group"]
    assert [entry["elements"] for entry in of_groups] == [16, 16]  # eight of the fourth period, eight of the fifth
    lanthanides = ANALYSIS.of_models(subject(made(range(57, 71))))
    assert lanthanides.facts["order_within_groups"]["embedding"] == {"groups": {}, "p": 1.0}


def test_the_control_says_how_often_it_fails_by_chance():
    panel = ANALYSIS.of_models(subject(planted()))
    (control,) = [check for check in panel.checks if check.name == "control: the random start"]
    draws = 1_000
    limit = float(control.limit.split()[2])
    failing = sum((1 + reached) / (1 + draws) < limit for reached in range(draws + 1))  # of 1,001 equally likely ranks
    assert f"fails for 1 of {round((draws + 1) / failing)} models" in control.what
