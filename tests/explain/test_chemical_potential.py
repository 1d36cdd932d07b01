import copy

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from atomlens.data.system import AtomicSystem
from atomlens.errors import InputError
from atomlens.explain import Plane, chemical_potential, local_chemical_potential, potential_cut, probe_reach
from atomlens.explain.chemical_potential import Surroundings
from atomlens.model import Model, ModelConfig


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    made = Model(ModelConfig(), [1, 6, 8]).set_precision(torch.float64)
    made.energy_readout.set_scale(1.0, {1: -13.6, 6: -1030.0, 8: -2040.0})
    return made


@pytest.fixture(scope="module")
def exact(model):
    """The same weights without a table, for comparison with formulas."""
    return copy.deepcopy(model).set_exact_filters()


def residual(block, message):
    """Dense(ssp(Dense(message))), thesis fig. 4.2."""
    return block.atomwise_out(torch.nn.functional.softplus(block.atomwise_mid(message)) - np.log(2.0))


def one_way(model, system, point, number, images=((0.0, 0.0, 0.0),)):
    """Ω as in thesis eq. 3.11-3.13, atom by atom: the probe hears the molecule's features of the same pass."""
    schnet, readout = model.representation, model.energy_readout
    batch = model.collate([system])
    x, probe = schnet.embed(batch), schnet.embedding(torch.tensor([number]))
    inside = schnet.filters(torch.linalg.vector_norm(batch.pair_vectors(), dim=1))
    sources = np.concatenate([system.positions + np.array(image) for image in images])
    owners = torch.arange(len(system.numbers)).repeat(len(images))
    distances = torch.from_numpy(np.linalg.norm(sources - point, axis=1))
    near = distances < schnet.cutoff
    toward = schnet.filters(distances[near])
    for block, filters, of_probe in zip(schnet.blocks, inside, toward, strict=True):
        heard = block.atomwise_in(x)
        message = (heard[owners[near]] * of_probe).sum(dim=0, keepdim=True)
        among = torch.zeros_like(x).index_add(0, batch.pairs.centre, heard[batch.pairs.neighbour] * filters)
        probe, x = probe + residual(block, message), x + residual(block, among)
    hidden = torch.nn.functional.softplus(readout.network.layers[0](probe)) - np.log(2.0)
    return float(readout.network.layers[1](hidden))


def test_equals_a_brute_force_run_with_one_way_messages(exact, model):
    system = AtomicSystem.from_ase(molecule("CH3CH2OH"))
    points = np.random.default_rng(0).uniform(-3, 3, (6, 3))
    with torch.no_grad():
        expected = np.array([one_way(exact, system, point, 8) for point in points])
    values = local_chemical_potential(exact, system, points, "O", relative_to="references")
    np.testing.assert_allclose(values, expected, rtol=1e-10)
    # The table's filters are off by up to 1e-6 of their range.
    values = local_chemical_potential(model, system, points, "O", relative_to="references")
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_crystal_acts_with_its_images(exact):
    system = AtomicSystem.from_ase(bulk("C"))
    points = np.random.default_rng(0).uniform(-4, 8, (4, 3))
    images = [(np.array(shift) - 10) @ system.cell for shift in np.ndindex(21, 21, 21)]
    values = local_chemical_potential(exact, system, points, "H", relative_to="references")
    with torch.no_grad():
        np.testing.assert_allclose(values, [one_way(exact, system, p, 1, images) for p in points], rtol=1e-10)


def test_mixed_boundaries_count_images_in_one_direction():
    system = AtomicSystem.from_ase(Atoms("C", cell=[2.0, 0, 0], pbc=[True, False, False]))
    points = np.array([[0.9, 0.0, 1.0]])
    around = Surroundings.near(system, points, 4.0)
    point, image, nearest = around.heard(points)
    expected = sum(abs(0.9 - 2.0 * k) ** 2 + 1.0 < 16.0 for k in range(-9, 9))
    assert len(point) == len(image) == expected
    assert not around.shift[:, 1:].any()
    assert nearest[0] == pytest.approx(np.hypot(0.9, 1.0))


@pytest.mark.parametrize("structure", [molecule("C60"), bulk("NaCl", "rocksalt", a=5.6), molecule("CH4")], ids=str)
def test_a_tree_finds_what_all_distances_say(structure, monkeypatch):
    system = AtomicSystem.from_ase(structure)
    points = np.random.default_rng(0).uniform(-3, 6, (50, 3))
    points[7] = system.positions[0]  # at no distance at all
    around = Surroundings.near(system, points, 4.0)
    found = []
    for few in (0, 1_000_000):
        monkeypatch.setattr(chemical_potential, "FEW_IMAGES", few)
        found.append(around.heard(points))
    for by_tree, plain in zip(*found, strict=True):
        np.testing.assert_allclose(by_tree, plain, rtol=1e-14, atol=0)
    assert (np.diff(found[0][0]) >= 0).all()
    assert found[0][2][7] == 0.0


def test_has_the_symmetry_of_the_molecule(model):
    benzene = AtomicSystem.from_ase(molecule("C6H6"))
    points = np.random.default_rng(0).uniform(-4, 4, (20, 3))
    centre = benzene.positions.mean(axis=0)
    angle = np.pi / 3
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    first = local_chemical_potential(model, benzene, points, "C")
    turned = local_chemical_potential(model, benzene, (points - centre) @ turn.T + centre, "C")
    # The geometry itself has sixfold symmetry to a few 1e-6 Å.
    assert np.abs(first - turned).max() < 1e-5 * np.ptp(first)


def test_far_away_it_is_the_isolated_atom(model):
    far = local_chemical_potential(model, molecule("CH4"), np.array([[50.0, 0, 0]]), "O", relative_to="nothing")
    alone = model.predict(Atoms("O"))["energy"]
    np.testing.assert_allclose(far, alone, rtol=1e-12)


@pytest.mark.parametrize("bound", ["PROBES_PER_CHUNK", "PAIRS_PER_CHUNK"])
@pytest.mark.parametrize("structure", [molecule("CH4"), bulk("C")], ids=str)
def test_chunks_change_nothing(model, monkeypatch, bound, structure):
    points = np.random.default_rng(0).uniform(-3, 3, (50, 3))
    sizes = []
    plain = chemical_potential.with_probes

    def counted(*arguments):
        batch, nearest = plain(*arguments)
        sizes.append(len(nearest))
        return batch, nearest

    monkeypatch.setattr(chemical_potential, "with_probes", counted)
    whole = local_chemical_potential(model, structure, points, "H")
    assert sizes == [50]
    monkeypatch.setattr(chemical_potential, bound, 35)
    parts = local_chemical_potential(model, structure, points, "H", title="t")
    np.testing.assert_allclose(parts, whole, rtol=1e-12)
    assert len(sizes) > 2
    assert sum(sizes[1:]) == 50


def test_cut_lies_where_it_says(model):
    water = molecule("H2O")
    cut = potential_cut(model, water, "H", plane=Plane.through(water, (0, 1, 2)), spacing=0.5)
    row, column = 2, 3
    point = cut.plane.origin + cut.x[column] * cut.plane.u + cut.y[row] * cut.plane.v
    np.testing.assert_allclose(
        local_chemical_potential(model, water, point[None], "H"), cut.values[row, column], rtol=1e-12
    )
    assert cut.nearest_atom[row, column] == pytest.approx(np.linalg.norm(water.positions - point, axis=1).min())
    assert cut.to_dict()["minimum"] <= cut.to_dict()["maximum"]


class TestPlane:
    def test_contains_its_three_atoms_and_all_others_within_the_margin(self):
        ethanol = molecule("CH3CH2OH")
        plane = Plane.through(ethanol, (0, 1, 2), margin=1.0)
        flat = plane.coordinates(ethanol.positions)
        np.testing.assert_allclose(flat[:3, 2], 0.0, atol=1e-12)
        assert (np.abs(flat[:, :2]) <= np.array(plane.half_widths) - 1.0 + 1e-9).all()

    def test_nearest_to_all_atoms_is_a_flat_molecules_own(self):
        benzene = molecule("C6H6")
        benzene.rotate(40, (1, 2, 3))
        np.testing.assert_allclose(Plane.through(benzene).coordinates(benzene.positions)[:, 2], 0.0, atol=1e-5)

    def test_atoms_on_a_line_are_refused(self):
        with pytest.raises(InputError, match="lie on one line"):
            Plane.through(molecule("CO2"), (0, 1, 2))

    def test_missing_atoms_are_refused(self):
        with pytest.raises(InputError, match="there is no atom 7"):
            Plane.through(molecule("H2O"), (0, 1, 7))


@pytest.mark.parametrize(
    ("probe", "words"),
    [
        ("N", "N is an element that the model never saw"),
        ("Hy", "Hy is an element that the model never saw; choose one of H, C, O"),
    ],
)
def test_unknown_probe(model, probe, words):
    with pytest.raises(InputError, match=words):
        local_chemical_potential(model, molecule("H2O"), np.zeros((1, 3)), probe)


def test_reach_of_a_probe_is_a_ratio_of_features():
    torch.manual_seed(0)
    model = Model(ModelConfig.parse({"representation": {"name": "schnet", "interactions": 0}}), [1, 8])
    water = molecule("H2O")
    sizes = model.representation.embedding.weight.detach().abs().amax(dim=1)
    for probe, number in (("H", 1), ("O", 8)):
        cut = potential_cut(model, water, probe, spacing=0.5)
        assert probe_reach(model, water, cut) == pytest.approx(float(sizes[number] / sizes[[1, 8]].max()), rel=1e-6)


def test_probes_leave_what_symmetry_functions_know():
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    representation = {"name": "behler_parrinello", "n_radial": 12, "n_angular": 0}
    functions = Model(ModelConfig.parse({"representation": representation}), [1, 8])
    frames = [molecule("H2O") for _ in range(20)]
    for frame in frames:
        frame.positions += 0.02 * rng.normal(size=(3, 3))
    functions.representation.standardise([functions.collate(frames)])
    assert probe_reach(functions, frames[0], potential_cut(functions, frames[0], spacing=0.5)) > 10
