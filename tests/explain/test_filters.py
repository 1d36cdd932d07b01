import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.neighborlist import neighbor_list

from atomlens.data.dataset import Dataset
from atomlens.data.system import AtomicSystem
from atomlens.errors import InputError
from atomlens.explain.interactions.filter_cuts import (
    displacements,
    filter_cut,
    image_sum,
    neighbour_plane,
    periodic_filters,
    translations,
)
from atomlens.explain.interactions.filters import ANALYSIS
from atomlens.explain.interactions.radial_filters import (
    RadialFilters,
    features_of_pair,
    pair_distances,
    pair_features,
    radial_filters,
)
from atomlens.explain.probes.field import Plane
from atomlens.explain.subject import ExplainConfig, NamedModel, Subject
from atomlens.model import Model, ModelConfig

Z = np.array([0.0, 0.0, 1.0])


def made(elements=(1, 6, 8), seed=0, **representation):
    torch.manual_seed(seed)
    config = ModelConfig.parse({"representation": {"name": "schnet", **representation}})
    model = Model(config, list(elements)).set_precision(torch.float64)
    # Untrained biases are zero, so that a mistake with them would not be seen.
    with torch.no_grad():
        for name, parameter in model.representation.named_parameters():
            if "bias" in name:
                parameter += 0.3 * torch.randn_like(parameter)
    model.refine_tables()
    return model


def small(**representation):
    return made(features=8, interactions=2, **representation)


DTNN = {"name": "dtnn", "cutoff": 5.0, "cutoff_function": "smooth"}


def graphite():
    places = [[0, 0, 0.25], [0, 0, 0.75], [1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]]
    return Atoms("C4", scaled_positions=places, cell=[2.461, 2.461, 6.708, 90, 90, 120], pbc=True)


def dataset(*structures):
    systems = [AtomicSystem.from_ase(atoms) for atoms in structures]
    return Dataset.from_arrays(
        np.concatenate([system.numbers for system in systems]),
        np.concatenate([system.positions for system in systems]),
        np.array([len(system.numbers) for system in systems]),
        {},
        cell=np.stack([system.cell for system in systems]),
        pbc=np.stack([system.pbc for system in systems]),
    )


def subject(*models, shown=(), data=None):
    named = tuple(NamedModel(f"m{place}", model) for place, model in enumerate(models))
    systems = tuple(AtomicSystem.from_ase(atoms) for atoms in shown)
    data = data or dataset(molecule("CH3CH2OH"), molecule("C6H6"))
    return Subject(named, systems, tuple("s" for _ in systems), data, ExplainConfig())


@pytest.mark.parametrize("options", [{}, {"shared_filters": True}, {"filter_activations": 2}, {"filters": 5}], ids=str)
def test_filters_are_what_multiplies_a_lone_neighbour(options):
    """The real interaction with one neighbour: what comes out of the convolution over what went into it."""
    model = small(**options).set_exact_filters()
    heard, convolved = [], []
    for block in model.representation.blocks:
        block.atomwise_in.register_forward_hook(lambda _module, _inputs, output: heard.append(output.detach()))
        block.atomwise_mid.register_forward_pre_hook(lambda _module, inputs: convolved.append(inputs[0].detach()))
    model.predict([Atoms("CO", positions=[[0, 0, 0], [0, 1.3, 0]])], forces=False)
    found = radial_filters(model, [1.3])
    assert found.values.shape == (2, 1, options.get("filters", 8))
    for block, before, after in zip(found.values, heard, convolved, strict=True):
        np.testing.assert_allclose((after / before.flip(0)).numpy(), np.stack([block[0]] * 2), rtol=1e-9)


def test_factors_are_what_multiplies_a_lone_neighbour_in_dtnn():
    """The message undone: with fewer factors than features tanh and the last layer can be inverted."""
    model = made(name="dtnn", features=9, factors=4, interactions=1).set_exact_filters()
    layers = model.representation
    with torch.no_grad():
        layers.to_features.weight *= 0.2  # tanh is undone with few digits where it saturates
        after = layers(model.collate([Atoms("CO", positions=[[0, 0, 0], [0, 1.3, 0]])]))
        before = layers.embedding(torch.tensor([6, 8]))
        heard = layers.atom_factors(before).flip(0)
        product = torch.linalg.lstsq(layers.to_features.weight, torch.atanh(after - before).T).solution.T
    found = radial_filters(model, [1.3])
    assert found.names == ("every pass",)
    np.testing.assert_allclose((product / heard).numpy(), np.stack([found.values[0, 0]] * 2), rtol=1e-8)


@pytest.mark.parametrize(
    "options",
    [{}, {"aggregation": "mean"}, {"shared_filters": True}, DTNN, {"name": "dtnn"}],
    ids=["sum", "mean", "shared", "dtnn", "dtnn without cutoff"],
)
def test_features_of_two_atoms_follow_from_the_filters(options):
    model = made(**options)
    exact = made(**options).set_exact_filters()
    for distance in (0.9, 2.2, 4.6):
        by_hand = pair_features(model, (6, 8), distance)
        np.testing.assert_allclose(by_hand, features_of_pair(exact, (6, 8), distance), rtol=1e-10, atol=1e-12)
        # The table may be off by a millionth of the filters' range.
        np.testing.assert_allclose(by_hand, features_of_pair(model, (6, 8), distance), atol=2e-5)
        assert np.abs(by_hand - pair_features(model, (6, 8), distance + 0.1)).max() > 1e-4


@pytest.mark.parametrize("fade", ["smooth", "cosine"])
def test_filters_vanish_at_the_cutoff(fade):
    model = small(cutoff=4.0, cutoff_function=fade)
    found = radial_filters(model)
    assert found.distances[-1] == pytest.approx(4.0)
    assert np.abs(radial_filters(model, np.linspace(4.0, 9.0, 11)).values).max() == 0.0
    near = radial_filters(model, [4.0 - 1e-4, 4.0 - 2e-4]).values
    order = np.log2(np.abs(near[:, 1] / near[:, 0]))
    np.testing.assert_allclose(order, 2.0 if fade == "cosine" else 3.0, atol=0.01)


def test_loudness_does_not_depend_on_what_layers_can_undo():
    model = made(seed=1)
    before, energy = radial_filters(model), model.predict(molecule("CH3OH"))["energy"]
    factors = torch.linspace(0.2, 5.0, 64, dtype=torch.float64) * torch.where(torch.arange(64) % 2 == 0, 1.0, -1.0)
    with torch.no_grad():
        model.representation.filters.second_weight[1] *= factors
        model.representation.filters.second_bias[1] *= factors
        model.representation.blocks[1].atomwise_in.weight /= factors[:, None]
    model.refine_tables()
    assert model.predict(molecule("CH3OH"))["energy"] == pytest.approx(energy, rel=1e-9)
    after = radial_filters(model)
    assert np.abs(after.values - before.values).max() > 0.1
    np.testing.assert_allclose(after.loudness, before.loudness, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(after.strengths(), before.strengths(), rtol=1e-10)
    np.testing.assert_array_equal(after.strongest(9), before.strongest(9))
    assert after.shapes() == before.shapes()


def test_strengths_shapes_and_centres_of_known_curves():
    apart = np.linspace(0.0, 4.0, 401)
    bump = [np.exp(-20.0 * (apart - centre) ** 2) for centre in (1.0, 3.0)]
    values = np.stack([bump[0], -2.0 * bump[1], bump[0] + bump[1]], axis=1)[None]
    found = RadialFilters(apart, values, np.array([[1.0, 1.0, 0.5]]), ("interaction 1",))
    assert found.shapes() == [2]
    np.testing.assert_allclose(found.centres(), [[1.0, 3.0, 2.0]], atol=1e-6)
    assert found.strongest(3).tolist() == [[1, 0, 2]]
    # Pairs at 1 Å alone: the second filter is never used there.
    near = (np.abs(apart - 1.0) < 0.5).astype(float)
    assert found.strongest(3, near).tolist() == [[0, 2, 1]]
    assert found.shapes(near) == [1]
    rms = np.sqrt((bump[0][near > 0] ** 2).mean())
    np.testing.assert_allclose(found.strengths(near), [[rms, 0.0, 0.5 * rms]], atol=1e-8)
    at_one = np.hypot(1.0, 0.5)
    assert found.loudness[0, 100] == pytest.approx(at_one, rel=1e-9)


def test_distances_of_pairs_are_those_of_ase():
    data = dataset(molecule("CH3CH2OH"), bulk("Cu"), graphite())
    found = pair_distances(data, 4.0)
    expected = np.concatenate(
        [neighbor_list("d", atoms, 4.0) for atoms in (molecule("CH3CH2OH"), bulk("Cu"), graphite())]
    )
    np.testing.assert_allclose(np.sort(found.distances), np.sort(expected), atol=1e-9)
    assert found.structures == 3
    assert found.shortest == pytest.approx(expected.min())
    assert pair_distances(data, 4.0, most=2).structures == 2
    assert pair_distances(dataset(Atoms("He")), 4.0) is None


def test_density_of_pairs():
    found = pair_distances(dataset(molecule("H2O")), 4.0)
    apart = np.linspace(0.0, 4.0, 401)
    density = found.density(apart)
    assert density.max() == 1.0
    assert abs(apart[density.argmax()] - 0.9686) < 0.05
    assert density[apart < 0.96].max() == 0.0
    assert density[(apart > 1.1) & (apart < 1.4)].max() == 0.0
    ratio = found.per_volume(apart)[150] / found.per_volume(apart)[97]
    assert ratio == pytest.approx(density[150] / density[97] * (0.97 / 1.5) ** 2)


def test_a_cut_is_the_radial_filter_at_every_point():
    model = small()
    cut = filter_cut(model, half_width=2.0, spacing=0.25)
    assert cut.values.shape == (2, 8, 17, 17)
    for row, column in ((0, 0), (3, 11), (8, 9)):
        expected = radial_filters(model, [np.hypot(cut.x[column], cut.y[row])]).values[:, 0]
        np.testing.assert_allclose(cut.values[:, :, row, column], expected, rtol=1e-9)
    assert np.abs(cut.values[:, :, 8, 8]).max() == 0.0  # an atom does not hear itself
    np.testing.assert_allclose(cut.values, cut.values.swapaxes(2, 3), rtol=1e-9)


def summed_by_hand(model, cell, periodic, points, extra=((0.0, 0.0, 0.0),)):
    """Σ_R W(|r + R|) with exact filters and every image of a large box."""
    reach = [range(-9, 10) if repeats else (0,) for repeats in periodic]
    found = []
    for point in points:
        total = 0.0
        for shift, offset in product(product(*reach), extra):
            apart = np.linalg.norm(point + np.array(shift) @ cell + np.array(offset))
            if 1e-6 < apart < model.cutoff:
                total = total + radial_filters(model, [apart]).values[:, 0]
        found.append(total)
    return np.array(found)


PERIODIC = [
    (bulk("C"), [[0.0, 0.0, 0.0]]),
    (graphite(), [[0.0, 0.0, 0.0]]),
    (Atoms("Cu", cell=[2.5, 0, 0], pbc=[True, False, False]), [[0.0, 0.0, 0.0]]),
    (bulk("Fe", cubic=True), [[0.0, 0.0, 0.0], [1.435, 1.435, 1.435]]),
]


@pytest.mark.parametrize(("crystal", "extra"), PERIODIC, ids=["diamond", "graphite", "chain", "iron, two in the cell"])
def test_periodic_filters_are_sums_over_images(crystal, extra):
    model = small(cutoff=3.0)
    plane = Plane(np.zeros(3), np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.6, 0.8]), (1.0, 1.0), "a plane")
    cut = periodic_filters(model, crystal, plane, spacing=1.0)
    points = [s * plane.u + t * plane.v for t in cut.y for s in cut.x]
    expected = summed_by_hand(model, crystal.cell.array, crystal.pbc, points, extra)
    found = cut.values.transpose(2, 3, 0, 1).reshape(expected.shape)
    np.testing.assert_allclose(found, expected, atol=1e-9 * np.abs(expected).max())
    place = points[2]
    np.testing.assert_allclose(image_sum(model, crystal, place), expected[2], rtol=1e-9)
    shortest = min(
        np.linalg.norm(place + np.array(shift) @ crystal.cell.array + offset)
        for shift in product(range(-3, 4), repeat=3)
        for offset in np.array(extra)
    )
    if shortest < 3.0:
        assert cut.nearest[0, 2] == pytest.approx(shortest)


def turned(angle, half=2.5):
    """A plane at right angles to z, turned about it."""
    u = np.array([np.cos(angle), np.sin(angle), 0.0])
    return Plane(np.zeros(3), u, np.cross(Z, u), (half, half), "a plane")


@pytest.mark.parametrize(("crystal", "fold"), [(bulk("C"), 4), (graphite(), 6)], ids=["diamond", "graphite"])
def test_cuts_have_the_symmetry_of_the_lattice(crystal, fold):
    model = small()
    first = periodic_filters(model, crystal, turned(0.3), spacing=0.5).values
    size = np.abs(first).max()
    same = periodic_filters(model, crystal, turned(0.3 + 2 * np.pi / fold), spacing=0.5).values
    np.testing.assert_allclose(same, first, atol=1e-9 * size)
    np.testing.assert_allclose(first[..., ::-1, ::-1], first, atol=1e-9 * size)  # inversion
    mirrored = periodic_filters(model, crystal, turned(-0.3), spacing=0.5).values
    np.testing.assert_allclose(mirrored[..., ::-1, :], first, atol=1e-9 * size)  # the mirror through x
    other = periodic_filters(model, crystal, turned(0.3 + np.pi / fold), spacing=0.5).values
    assert np.abs(other - first).max() > 0.05 * size


def test_periodic_filters_repeat_with_the_lattice():
    model, crystal = small(), graphite()
    here = turned(0.1)
    first = periodic_filters(model, crystal, here, spacing=0.5).values
    for shift in ([1, 0, 0], [0, 1, 0], [2, -1, 3]):
        there = replace(here, origin=np.array(shift) @ crystal.cell.array)
        found = periodic_filters(model, crystal, there, spacing=0.5).values
        np.testing.assert_allclose(found, first, atol=1e-9 * np.abs(first).max())


def test_the_choice_of_the_cell_does_not_matter():
    model, plane = small(), turned(0.2)
    primitive = periodic_filters(model, bulk("C"), plane, spacing=0.5).values
    for crystal in (bulk("C", cubic=True), bulk("C") * (2, 1, 2)):
        found = periodic_filters(model, crystal, plane, spacing=0.5).values
        np.testing.assert_allclose(found, primitive, atol=1e-9 * np.abs(primitive).max())


def test_translations_of_crystals():
    salt = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    counts = ((bulk("C"), 1), (bulk("C", cubic=True), 4), (salt, 4), (graphite(), 1), (graphite() * (2, 3, 1), 6))
    for crystal, expected in counts:
        assert len(translations(AtomicSystem.from_ase(crystal))) == expected
    shaken = bulk("C", cubic=True)
    shaken.rattle(0.05, seed=1)
    assert len(translations(AtomicSystem.from_ase(shaken))) == 1


def test_the_plane_holds_an_atom_and_its_nearest_neighbours():
    diamond = AtomicSystem.from_ase(bulk("C"))
    plane = neighbour_plane(diamond, 5.0)
    near = displacements(diamond, 5.0)
    assert np.linalg.norm(near[0]) == pytest.approx(np.linalg.norm(near[3])) == pytest.approx(3.57 * np.sqrt(3) / 4)
    local = plane.coordinates(near[:4])
    assert (np.abs(local[:, 2]) < 1e-9).sum() == 2
    assert abs(plane.u @ plane.v) < 1e-12
    flat = neighbour_plane(AtomicSystem.from_ase(graphite()), 5.0)
    assert abs(abs(np.cross(flat.u, flat.v) @ Z) - 1.0) < 1e-9
    chain = neighbour_plane(AtomicSystem.from_ase(Atoms("Cu", cell=[2.5, 0, 0], pbc=[True, False, False])), 5.0)
    assert abs(chain.u[0]) == pytest.approx(1.0)
    with pytest.raises(InputError, match="no atom 2"):
        neighbour_plane(diamond, 5.0, atom=2)


def test_what_has_no_filters_is_refused():
    with pytest.raises(InputError, match="fixed formulas"):
        radial_filters(made(name="behler_parrinello"))
    with pytest.raises(InputError, match="no interactions"):
        radial_filters(made(interactions=0))
    with pytest.raises(InputError, match="not negative"):
        radial_filters(small(), [-0.1])
    with pytest.raises(InputError, match="tanh inside"):
        periodic_filters(made(**DTNN), bulk("C"))
    endless = small(cutoff=None, cutoff_function="none", gaussian_range=6.0)
    with pytest.raises(InputError, match="no cutoff"):
        periodic_filters(endless, bulk("C"))
    with pytest.raises(InputError, match="nothing repeats"):
        periodic_filters(small(), molecule("CH4"))


def test_panel_of_models():
    panel = ANALYSIS.of_models(subject(made(name="behler_parrinello"), made(), made(seed=3), made(name="dtnn")))
    assert [check.name for check in panel.checks] == ["tabulated filters", "filters are the model's", "filters end"]
    assert all(check.passed for check in panel.checks), panel.checks
    assert "Shown is model m1" in panel.trust
    assert set(panel.facts["agreement"]) == {"m2", "m3"}
    assert panel.facts["shortest_pair"] == pytest.approx(0.971, abs=2e-3)
    assert "closer than 0.97 Å" in panel.reading
    json.dumps(panel.to_dict(), allow_nan=False)
    # Nothing that was never asked for is charted.
    assert all(series.x.min() >= panel.facts["shortest_pair"] for view in panel.views for series in view.series)
    assert set(panel.figures) == {"filters", "all_filters", "filter_loudness", "filter_cuts"}
    assert len(panel.views) == 4


def test_numbers_of_one_are_singular():
    model = small(filters=3)
    networks = model.representation.filters
    with torch.no_grad():  # all filters are one and the same
        networks.second_weight.copy_(networks.second_weight[..., :1].expand_as(networks.second_weight).clone())
        networks.second_bias.copy_(networks.second_bias[..., :1].expand_as(networks.second_bias).clone())
    model.refine_tables()
    panel = ANALYSIS.of_models(subject(model, data=dataset(molecule("C6H6"))))
    assert set(panel.facts["shapes"]) == {1}
    assert "combinations of only 1 shape (99%" in panel.reading
    assert "No two atoms of 1 structure are" in panel.reading


def test_panel_of_dtnn_alone():
    panel = ANALYSIS.of_models(subject(made(name="dtnn"), data=dataset(molecule("C6H6"))))
    assert all(check.passed for check in panel.checks), panel.checks
    assert "a tanh follows the factors" in panel.trust
    farthest = np.linalg.norm(molecule("C6H6").positions[:, None] - molecule("C6H6").positions, axis=-1).max()
    assert panel.facts["distances"][-1] == pytest.approx(farthest, abs=0.03)  # beyond, nobody ever asked


def test_panel_of_schnet_without_a_cutoff():
    endless = small(cutoff=None, cutoff_function="none", gaussian_range=6.0)
    panel = ANALYSIS.of_models(subject(endless))
    assert [check.name for check in panel.checks] == ["tabulated filters", "filters are the model's"]
    assert all(check.passed for check in panel.checks), panel.checks


def test_a_clash_in_the_data_is_located():
    data = dataset(molecule("H2O"), molecule("CH4"))
    positions = data.positions.copy()
    positions[4] = positions[3] + 0.01
    with pytest.raises(InputError, match="structure 1"):
        pair_distances(replace(data, positions=positions), 4.0)


def test_panel_of_data_without_pairs():
    panel = ANALYSIS.of_models(subject(small(), data=dataset(Atoms("He"))))
    assert panel.facts["shortest_pair"] is None
    assert "No two atoms" not in panel.reading
    assert all(check.passed for check in panel.checks), panel.checks


def test_a_coarse_table_fails_its_check():
    model = made(gaussian_gamma=60.0, gaussian_spacing=0.05)
    filters = model.representation.filters
    filters.grid = replace(filters.grid, intervals=64)
    failed = {check.name: check.passed for check in ANALYSIS.of_models(subject(model)).checks}
    assert failed["tabulated filters"] is False


def test_panel_of_a_crystal():
    panel = ANALYSIS.of_structure(subject(made(name="dtnn"), made(), shown=[graphite()], data=dataset(graphite())), 0)
    assert [check.name for check in panel.checks] == ["sum over images", "lattice"]
    assert all(check.passed for check in panel.checks), panel.checks
    assert panel.facts["model"] == "m1"
    assert "56 neighbours" in panel.reading
    assert "1.42 Å" in panel.reading
    json.dumps(panel.to_dict(), allow_nan=False)
    assert len(panel.tables[0].rows) == 4
    assert set(panel.figures) == {"periodic_filters"}


def test_molecules_and_models_without_convolutions_have_no_periodic_filters():
    with pytest.raises(InputError, match="no periodic images"):
        ANALYSIS.of_structure(subject(small(), shown=[molecule("CH4")]), 0)
    with pytest.raises(InputError, match="model m0 has a tanh inside"):
        ANALYSIS.of_structure(subject(made(**DTNN), shown=[bulk("C")]), 0)
    with pytest.raises(InputError, match="model m0 has no filters"):
        ANALYSIS.of_models(subject(made(name="behler_parrinello")))


@pytest.mark.parametrize("crystal", [bulk("Al"), bulk("Al", cubic=True), bulk("Al") * (2, 1, 1)], ids=len)
def test_images_of_the_atom_itself_are_heard_where_only_one_lattice_is(crystal):
    """In aluminium every neighbour is an image of the atom; the sum runs over all of the lattice but the atom."""
    torch.manual_seed(0)
    model = Model(ModelConfig.parse({"representation": {"name": "schnet", "features": 4, "cutoff": 5.0}}), [13])
    primitive = np.asarray(bulk("Al").cell)
    steps = np.indices((9, 9, 9)).reshape(3, -1).T - 4
    distances = np.linalg.norm(steps @ primitive, axis=1)
    near = distances[(distances > 0.1) & (distances < 5.0)]
    expected = radial_filters(model, near).values.sum(axis=1)
    np.testing.assert_allclose(image_sum(model, crystal, primitive[0]), expected, atol=1e-6)


def test_one_filter_and_one_neighbour_are_singular():
    pair = Atoms("C2", positions=[[0, 0, 0], [0, 0, 1.4]], cell=[20, 20, 20], pbc=True)
    panel = ANALYSIS.of_structure(subject(small(filters=1), shown=[pair], data=dataset(pair)), 0)
    assert panel.reading.startswith("Drawn is the strongest filter of the first interaction")
    assert "An atom hears 1 neighbour here" in panel.reading
    assert panel.reading.endswith("in 1 structure of the data.")
    panel = ANALYSIS.of_models(subject(small(filters=1), data=dataset(pair)))
    assert "multiplied by 1 filter W(d) in each" in panel.reading
    assert "combinations" not in panel.reading


def test_a_crystal_among_data_without_pairs():
    panel = ANALYSIS.of_structure(subject(small(), shown=[graphite()], data=dataset(Atoms("He"))), 0)
    assert "structures of the data" not in panel.reading
