import copy
import json

import matplotlib
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from atomlens.data.dataset import Dataset
from atomlens.data.system import AtomicSystem
from atomlens.errors import InputError
from atomlens.explain.interactions import bond_panel
from atomlens.explain.interactions.bond_breaking import (
    ANALYSIS,
    BondSensitivity,
    bond_sensitivity,
    default_distances,
    pair_features,
    summarise,
)
from atomlens.explain.interactions.pair_distances import names, pair_distances
from atomlens.explain.subject import ExplainConfig, NamedModel, Subject
from atomlens.figures import bond_breaking as drawing
from atomlens.model import Model, ModelConfig

matplotlib.use("Agg")

REPRESENTATIONS = {
    "schnet": {"name": "schnet", "features": 16, "interactions": 2},
    "dtnn": {"name": "dtnn", "features": 8, "factors": 12, "interactions": 2, "gaussian_range": 12.0},
    "dtnn with cutoff": {"name": "dtnn", "features": 8, "factors": 12, "cutoff": 5.0, "cutoff_function": "smooth"},
    "symmetry functions": {"name": "behler_parrinello", "cutoff_function": "smooth"},
}
MOLECULES = ["CH4", "C2H6", "CH3CH2OH", "C6H6", "C2H2", "C3H8", "H2O"]


def rattled(count=3):
    rng = np.random.default_rng(0)
    frames = [molecule(name) for name in MOLECULES for _ in range(count)]
    for frame in frames:
        frame.positions += rng.normal(0.0, 0.03, frame.positions.shape)
    return [AtomicSystem.from_ase(frame) for frame in frames]


def dataset(systems):
    return Dataset.from_arrays(
        np.concatenate([each.numbers for each in systems]),
        np.concatenate([each.positions for each in systems]),
        np.array([len(each.numbers) for each in systems]),
        {},
        cell=np.stack([each.cell for each in systems]),
        pbc=np.stack([each.pbc for each in systems]),
    )


def build(name, *, seed=0, elements=(1, 6, 8)):
    torch.manual_seed(seed)
    model = Model(ModelConfig.parse({"representation": REPRESENTATIONS[name]}), elements)
    model.set_precision(torch.float64).refine_tables()
    model.representation.standardise([model.collate(rattled())])
    model.energy_readout.set_scale(1.0, dict.fromkeys(elements, -13.6))
    return model


@pytest.fixture(scope="module")
def models():
    return {name: build(name) for name in REPRESENTATIONS}


def central(model, pair, distances, step):
    """Norms of central differences of either atom's features, (distances, 2)."""
    ahead, behind = (pair_features(model, *pair, distances + sign * step) for sign in (1, -1))
    return np.linalg.norm((ahead - behind) / (2 * step), axis=2)


@pytest.mark.parametrize("name", REPRESENTATIONS)
def test_equals_central_differences_with_an_error_of_second_order(models, name):
    exact = copy.deepcopy(models[name]).set_exact_filters()
    distances = np.linspace(0.9, 4.5, 25)
    for pair in (("C", "C"), ("H", "H"), ("C", "H")):
        found = bond_sensitivity(exact, *pair, distances)
        norms = np.stack([found.first, found.second], axis=1)
        steps = np.array([0.02, 0.01, 0.005, 0.0025])
        errors = [np.abs(central(exact, pair, distances, step) - norms).max() for step in steps]
        order = np.polyfit(np.log(steps), np.log(errors), 1)[0]
        assert order == pytest.approx(2.0, abs=0.05)
        assert errors[-1] < 1e-3 * norms.max()


@pytest.mark.parametrize("name", ["schnet", "dtnn", "dtnn with cutoff"])
def test_is_the_derivative_through_tables_too(models, name):
    distances = np.linspace(0.6, 4.9, 40)
    through_table = bond_sensitivity(models[name], "C", "H", distances)
    exact = bond_sensitivity(copy.deepcopy(models[name]).set_exact_filters(), "C", "H", distances)
    # Tables interpolate to 1e-6 of the filters' range; derivatives lose one power of the spacing of knots.
    np.testing.assert_allclose(through_table.both, exact.both, atol=2e-4 * exact.both.max())
    assert not models[name].representation.filters.exact


def test_closed_form_of_one_symmetry_function():
    eta, mu, cutoff = 1.5, 1.2, 5.0
    config = {"name": "behler_parrinello", "radial": [[eta, mu]], "n_angular": 0, "cutoff": cutoff}
    model = Model(ModelConfig.parse({"representation": config}), [1, 6]).set_precision(torch.float64)
    d = np.linspace(0.5, 6.0, 56)
    found = bond_sensitivity(model, "C", "H", d)
    fade, slope = 0.5 * (np.cos(np.pi * d / cutoff) + 1), -0.5 * np.pi / cutoff * np.sin(np.pi * d / cutoff)
    bell = np.exp(-eta * (d - mu) ** 2)
    expected = np.where(d < cutoff, np.abs(bell * (slope - 2 * eta * (d - mu) * fade)), 0.0)
    # Weighted functions multiply by the neighbour's nuclear charge: carbon hears Z = 1, hydrogen Z = 6.
    np.testing.assert_allclose(found.first, expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.second, 6 * expected, rtol=1e-9, atol=1e-12)


def test_closed_form_of_one_pass_of_dtnn():
    torch.manual_seed(1)
    config = {"name": "dtnn", "features": 5, "factors": 7, "interactions": 1, "filter_accuracy": None}
    model = Model(ModelConfig.parse({"representation": config}), [1, 6]).set_precision(torch.float64)
    dtnn = model.representation
    with torch.no_grad():
        dtnn.filters.bias.normal_()
        dtnn.atom_factors.bias.normal_()
    d = np.linspace(0.7, 9.0, 30)
    found = bond_sensitivity(model, "C", "H", d)
    weight, bias = dtnn.filters.weight.detach().numpy(), dtnn.filters.bias.detach().numpy()
    out = dtnn.to_features.weight.detach().numpy()
    centres = 0.1 * np.arange(weight.shape[1])
    basis = np.exp(-10.0 * (d[:, None] - centres) ** 2)
    factors, slopes = basis @ weight.T + bias, (-20.0 * (d[:, None] - centres) * basis) @ weight.T
    for number, norms in ((1, found.first), (6, found.second)):  # carbon hears hydrogen, and hydrogen carbon
        heard = dtnn.atom_factors(dtnn.embedding.weight[number]).detach().numpy()
        message = np.tanh((heard * factors) @ out.T)
        expected = np.linalg.norm((1 - message**2) * ((heard * slopes) @ out.T), axis=1)
        np.testing.assert_allclose(norms, expected, rtol=1e-9)


@pytest.mark.parametrize("name", ["schnet", "dtnn with cutoff", "symmetry functions"])
def test_vanishes_beyond_the_cutoff(models, name):
    found = bond_sensitivity(models[name], "C", "H", [1.0, 4.9, 5.0, 5.1, 9.0])
    assert (found.both[:2] > 0).all()
    assert not found.both[2:].any()
    assert not bond_sensitivity(models[name], "C", "H", [6.0, 7.0]).both.any()


@pytest.mark.parametrize("name", REPRESENTATIONS)
def test_equal_atoms_answer_alike_and_different_ones_swap(models, name):
    distances = np.linspace(0.8, 4.0, 9)
    equal = bond_sensitivity(models[name], "C", "C", distances)
    np.testing.assert_allclose(equal.first, equal.second, rtol=1e-12)
    one, other = (bond_sensitivity(models[name], *pair, distances) for pair in (("C", "H"), ("H", "C")))
    np.testing.assert_allclose(one.first, other.second, rtol=1e-12)
    assert np.abs(one.first - one.second).max() > 1e-3 * one.both.max()
    np.testing.assert_allclose(one.both**2, one.first**2 + one.second**2, rtol=1e-12)


def test_features_that_hear_nobody_are_silent():
    model = Model(ModelConfig.parse({"representation": {"name": "schnet", "interactions": 0}}), [1, 6])
    assert not bond_sensitivity(model, "C", "H").both.any()


@pytest.mark.parametrize("name", REPRESENTATIONS)
def test_energies_are_those_of_two_atoms_less_each_alone(models, name):
    distances = np.array([0.9, 1.4, 3.0])
    found = bond_sensitivity(models[name], "C", "H", distances)
    alone = sum(float(models[name].predict(Atoms(symbol))["energy"]) for symbol in "CH")
    pairs = [Atoms("CH", [[0, 0, 0], [0, distance, 0]]) for distance in distances]
    expected = [float(models[name].predict(pair)["energy"]) - alone for pair in pairs]
    np.testing.assert_allclose(found.energies, expected, rtol=0, atol=1e-9)
    assert np.ptp(found.energies) > 1e-6


def test_without_an_energy_readout_there_is_no_energy():
    model = Model(ModelConfig.parse({"readouts": [{"name": "dipole"}]}), [1, 6])
    assert bond_sensitivity(model, "C", "H").energies is None


@pytest.mark.parametrize("name", REPRESENTATIONS)
def test_leaves_the_model_as_it_was(models, name):
    model = models[name]
    before = copy.deepcopy(model.state_dict())
    marks = [(part.requires_grad, part.grad) for part in model.parameters()]
    water = model.predict(molecule("H2O"))["forces"]
    bond_sensitivity(model, "C", "H")
    assert [(part.requires_grad, part.grad) for part in model.parameters()] == marks
    for key, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[key].numpy())  # takes NaN for equal to NaN
    np.testing.assert_array_equal(model.predict(molecule("H2O"))["forces"], water)


@pytest.mark.parametrize("switched_off", [torch.no_grad, torch.inference_mode])
def test_works_where_gradients_are_switched_off(models, switched_off):
    with switched_off():
        inside = bond_sensitivity(models["schnet"], "C", "H", [1.0])
    assert inside.both[0] == bond_sensitivity(models["schnet"], "C", "H", [1.0]).both[0] > 0


def test_default_distances_reach_beyond_the_cutoff(models):
    assert default_distances(models["schnet"])[[0, -1]] == pytest.approx([0.5, 5.5])
    assert default_distances(models["dtnn"])[-1] == pytest.approx(12.0)


@pytest.mark.parametrize(
    ("pair", "distances", "words"),
    [
        (("C", "N"), [1.0], "N is an element that the model never saw; choose two of H, C, O"),
        (("C", "Xy"), [1.0], "Xy is an element that the model never saw"),
        (("C", "H"), [1.0, 0.0], "distances must be a list of positive numbers"),
        (("C", "H"), [np.nan], "distances must be a list of positive numbers"),
        (("C", "H"), [], "distances must be a list of positive numbers"),
    ],
)
def test_refuses(models, pair, distances, words):
    with pytest.raises(InputError, match=words):
        bond_sensitivity(models["schnet"], *pair, distances)


class TestPairDistances:
    def test_open_structures_have_all_their_pairs(self):
        systems = rattled(1)
        found = pair_distances(dataset(systems), 1.0)
        for first, second in ((6, 6), (1, 6), (1, 1), (6, 8)):
            expected = [
                np.linalg.norm(system.positions[a] - system.positions[b])
                for system in systems
                for a in range(len(system.numbers))
                for b in range(a)
                if sorted((system.numbers[a], system.numbers[b])) == [first, second]
            ]
            np.testing.assert_allclose(found.between(second, first), np.sort(expected), rtol=1e-12)
        assert found.reach is None
        assert found.structures == len(systems)

    def test_crystals_have_every_image_once(self):
        salt = AtomicSystem.from_ase(bulk("NaCl", "rocksalt", a=5.6))
        found = pair_distances(dataset([salt]), 6.0)
        shifts = np.array(list(np.ndindex(9, 9, 9))) - 4
        for first, second in ((11, 17), (11, 11), (17, 17)):
            expected = []
            for a, b in ((0, 0), (1, 1), (0, 1), (1, 0)):
                if sorted(salt.numbers[[a, b]]) == [first, second]:
                    apart = salt.positions[b] - salt.positions[a] + shifts @ salt.cell
                    lengths = np.linalg.norm(apart, axis=1)
                    expected += lengths[(lengths > 0) & (lengths < 6.0)].tolist()
            np.testing.assert_allclose(found.between(first, second), np.sort(expected)[::2], rtol=1e-9)
        assert found.reach == 6.0

    def test_samples_and_counts(self, monkeypatch):
        data = dataset(rattled(20))
        some = pair_distances(data, 1.0, structures=15, seed=3)
        assert some.structures == 15
        again = pair_distances(data, 1.0, structures=15, seed=3)
        np.testing.assert_array_equal(some.distances, again.distances)
        assert len(some.distances) != len(pair_distances(data, 1.0, structures=15, seed=4).distances)
        monkeypatch.setattr("atomlens.explain.interactions.pair_distances.PAIRS", 100)
        assert pair_distances(data, 1.0).structures < 30

    def test_commonest_pairs_are_of_known_elements(self):
        found = pair_distances(dataset(rattled(1)), 1.0)
        counts = {pair: len(found.between(*pair)) for pair in ((1, 1), (1, 6), (6, 6), (1, 8), (6, 8))}
        best = sorted(counts, key=lambda pair: -counts[pair])
        assert found.commonest((1, 6, 8), 2) == best[:2]
        assert found.commonest((8,), 2) == []
        assert pair_distances(dataset([AtomicSystem.from_ase(Atoms("He"))]), 1.0).commonest((2,), 3) == []

    def test_names_put_carbon_first(self):
        assert names((1, 6)) == ("C", "H")
        assert names((1, 8)) == ("H", "O")


def planted(curve, distances, pair=("C", "C")):
    return BondSensitivity(pair, distances, curve / np.sqrt(2), curve / np.sqrt(2), None)


def test_summary_of_a_planted_curve():
    d = np.linspace(0.5, 10.0, 951)
    curve = np.exp(-(((d - 2.0) / 0.5) ** 2)) + 0.3 * np.exp(-(((d - 8.0) / 0.5) ** 2)) + 50.0 * (d < 0.8)
    seen = np.concatenate([np.linspace(1.0, 7.0, 9_990), np.full(5, 9.0)])
    found = summarise(planted(curve, d), seen)
    assert found.peak == pytest.approx(2.0)
    assert found.height == pytest.approx(1.0)
    # Where data are (1 to 9 Å) the bells hold 0.9886 and 0.2962 of their areas √π/2 and 0.3 √π/2.
    areas = np.cumsum(np.where((d >= 1.0) & (d <= 9.0), curve, 0.0))
    assert found.half == pytest.approx(d[np.searchsorted(areas, areas[-1] / 2)], abs=0.02)
    assert found.reach == pytest.approx(8.0 + 0.5 * np.sqrt(np.log(6.0)), abs=0.02)
    assert found.rare == pytest.approx(7.0, abs=0.01)
    assert found.beyond == pytest.approx(0.3, abs=1e-3)
    with pytest.raises(InputError, match="widen them"):
        summarise(planted(curve, d), np.array([20.0, 30.0]))


def subject(models, systems):
    named = tuple(NamedModel(name, model) for name, model in models.items())
    return Subject(named, tuple(systems[:1]), ("first",), dataset(systems), ExplainConfig())


@pytest.fixture(scope="module")
def panel(models):
    return ANALYSIS.of_models(subject(models, rattled(4)))


def test_panel_has_the_pairs_of_the_thesis(panel, models):
    assert list(panel.facts["pairs"]) == ["C-C", "H-H", "C-H"]
    assert all(list(pair["models"]) == list(models) for pair in panel.facts["pairs"].values())
    assert json.loads(json.dumps(panel.to_dict(), allow_nan=False))
    assert len(panel.tables[0].rows) == 3 * len(models)
    assert [chart.title.split(":")[0] for chart in panel.views] == ["C-C", "H-H", "C-H"] * 2
    assert {"bond_sensitivity", "bond_sensitivity_near"} == set(panel.figures)
    for words in ("schnet changes most at", "half of all its change", "the most local model is"):
        assert words in panel.reading
    assert "4 models" in panel.trust


def test_panel_checks_pass_and_can_fail(panel, models, monkeypatch):
    found = {check.name: check for check in panel.checks}
    assert found["exact derivatives"].passed
    assert found["exact derivatives"].value < 1e-5
    assert found["equal atoms"].passed
    monkeypatch.setattr(bond_panel, "pair_features", lambda *arguments: 1.01 * pair_features(*arguments))
    result = bond_panel._result(
        [NamedModel("a", models["schnet"])], (6, 6), pair_distances(dataset(rattled()), 1.0), np.arange(0.5, 5.0, 0.1)
    )
    broken = bond_panel._checks([result], None)
    assert "exact derivatives" in [check.name for check in broken if not check.passed]


def test_reactions_where_data_are_rare_are_told(models):
    """DTNN's filters are as lively beyond the data as within, for nothing was learned."""
    systems = rattled(4)
    lively = ANALYSIS.of_models(subject({"dtnn": models["dtnn"]}, systems))
    check = next(check for check in lively.checks if check.name == "quiet where data are rare")
    assert not check.passed
    assert "it reacts again with up to" in lively.reading
    assert "One model" in lively.trust
    bounded = ANALYSIS.of_models(subject({"descriptor": models["symmetry functions"]}, systems))
    assert "symmetry functions, which are fixed" in bounded.reading


def test_other_elements_have_their_commonest_pairs():
    torch.manual_seed(0)
    model = Model(ModelConfig.parse({"representation": REPRESENTATIONS["schnet"]}), [11, 17])
    salt = [AtomicSystem.from_ase(bulk("NaCl", "rocksalt", a=a)) for a in (5.5, 5.6, 5.7)]
    found = ANALYSIS.of_models(subject({"salt": model}, salt))
    assert set(found.facts["pairs"]) == {"Cl-Na", "Cl-Cl", "Na-Na"}
    assert "crystals were searched for pairs up to 5 Å" in found.reading
    assert "quiet where data are rare" not in [check.name for check in found.checks]


def test_models_that_do_not_know_an_element_are_left_out(models):
    torch.manual_seed(0)
    hydrogen = Model(ModelConfig.parse({"representation": REPRESENTATIONS["schnet"]}), [1])
    found = ANALYSIS.of_models(subject({"all": models["schnet"], "hydrogen": hydrogen}, rattled(1)))
    known = {pair: list(entry["models"]) for pair, entry in found.facts["pairs"].items()}
    assert known == {"C-C": ["all"], "H-H": ["all", "hydrogen"], "C-H": ["all"]}


def test_data_without_pairs_are_refused(models):
    lone = [AtomicSystem.from_ase(Atoms("C"))]
    with pytest.raises(InputError, match="no two atoms of elements that the model knows"):
        ANALYSIS.of_models(subject({"schnet": models["schnet"]}, lone))


def test_charts_show_curves_of_one_where_data_are(panel):
    chart = panel.views[2]
    assert chart.title.startswith("C-H")
    seen, carbon, hydrogen = chart.series[:3]
    assert (seen.name, carbon.name, hydrogen.name) == ("pairs in the data", "schnet: C", "schnet: H")
    assert (carbon.mode, hydrogen.mode) == ("lines", "dashed")
    assert carbon.colour == hydrogen.colour
    data = panel.facts["pairs"]["C-H"]["seen"]
    inside = (carbon.x >= data["shortest"]) & (carbon.x <= data["longest"])
    assert max(carbon.y[inside].max(), hydrogen.y[inside].max()) == pytest.approx(1.0)
    assert seen.y.max() == pytest.approx(0.6)


def test_figure_draws_what_it_is_given():
    x = np.linspace(0.5, 6.0, 50)
    lines = [drawing.Line("a", x, np.exp(-x)), drawing.Line("a", x, np.exp(-2 * x), dashed=True)]
    panels = [drawing.PairPanel("C-H", lines, np.full(10, 1.52)), drawing.PairPanel("C-C", lines[:1], np.empty(0))]
    figure = drawing.sensitivities(panels, "sensitivity", end=4.0, note="solid and dashed")
    first, second = figure.axes
    assert first.get_xlim() == (0.5, 4.0) == second.get_xlim()
    assert [line.get_linestyle() for line in first.get_lines()] == ["-", "--"]
    assert first.get_lines()[0].get_color() == first.get_lines()[1].get_color()
    np.testing.assert_array_equal(first.get_lines()[1].get_ydata(), np.exp(-2 * x))
    (bars,) = first.patches
    values, edges, _ = bars.get_data()
    assert edges[np.argmax(values)] == pytest.approx(1.5)
    assert not second.patches
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "pairs in the data"]


def test_a_result_draws_itself(models):
    found = bond_sensitivity(models["schnet"], "C", "H", np.linspace(0.6, 4.0, 20))
    (axes,) = found.plot().axes
    np.testing.assert_array_equal(axes.get_lines()[0].get_ydata(), found.first)
    assert len(bond_sensitivity(models["schnet"], "C", "C", [1.0, 2.0]).plot().axes[0].get_lines()) == 1
    assert json.dumps(found.to_dict(), allow_nan=False)


def stretched(name, lengths):
    frames = [molecule(name) for _ in lengths]
    for frame, length in zip(frames, lengths, strict=True):
        frame.positions *= length / frame.get_distance(0, 1)
    return [AtomicSystem.from_ase(frame) for frame in frames]


@pytest.mark.parametrize("name", ["H2", "H2O"])
def test_data_with_one_distance_have_their_curve_and_no_story(models, name):
    chosen = {key: models[key] for key in ("schnet", "dtnn")}
    found = ANALYSIS.of_models(subject(chosen, [AtomicSystem.from_ase(molecule(name))] * 5))
    apart = molecule(name).get_distance(0, 1)
    title = "H-H" if name == "H2" else "H-O"
    assert f"at practically one distance: {title} at {apart:.2f} Å" in found.reading
    assert "widen" not in found.reading
    assert "changes most" not in found.reading
    assert "cannot be compared" in found.trust
    assert not found.tables
    assert {check.name: check.passed for check in found.checks} == {"exact derivatives": True, "equal atoms": True}
    curves = [series for series in found.views[0].series if series.name.startswith("schnet")]
    # Scaled to one where data are, at the distance of the grid that is nearest.
    assert max(np.interp(apart, curve.x, curve.y) for curve in curves) == pytest.approx(1.0, abs=0.1)
    assert json.dumps(found.to_dict(), allow_nan=False)


def test_one_kind_of_pair_at_one_distance_leaves_the_others_their_story(models):
    waters = [molecule("H2O") for _ in range(8)]
    for frame, angle in zip(waters, np.linspace(90.0, 125.0, 8), strict=True):
        frame.set_angle(1, 0, 2, angle)  # the bonds keep their length
    found = ANALYSIS.of_models(subject({"schnet": models["schnet"]}, [AtomicSystem.from_ase(each) for each in waters]))
    assert {row[0] for row in found.tables[0].rows} == {"H-H"}
    assert "(H-H) among the distances of the data" in found.reading
    assert "at practically one distance: H-O at 0.97 Å" in found.reading
    assert set(found.facts["pairs"]) == {"H-H", "H-O"}
    assert "peak" not in found.facts["pairs"]["H-O"]["models"]["schnet"]


def test_pairs_beyond_the_cutoff_are_not_heard(models):
    far = stretched("H2", [7.0, 8.0, 9.0])
    with pytest.raises(InputError, match="model schnet hears no two atoms of these data, which are 7"):
        ANALYSIS.of_models(subject({"schnet": models["schnet"]}, far))
    assert "(H-H) among" in ANALYSIS.of_models(subject({"dtnn": models["dtnn"]}, far)).reading


def test_one_structure_is_not_many(models):
    lone = [AtomicSystem.from_ase(molecule("C2H6"))]
    assert ANALYSIS.of_models(subject({"schnet": models["schnet"]}, lone)).trust.startswith(
        "Pair distances of 1 structure of the data."
    )
