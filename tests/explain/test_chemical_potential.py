"""Ω on grids, cuts, surfaces and at points; the probes themselves are tested in test_probes."""

import itertools
import json

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from probes_by_hand import REPRESENTATIONS, make_model

from atomlens.data.system import AtomicSystem
from atomlens.errors import InputError
from atomlens.explain.probes.chemical_potential import (
    local_chemical_potential,
    potential_at,
    potential_cut,
    probe_reach,
)
from atomlens.explain.probes.field import Grid, Plane
from atomlens.explain.probes.isosurface import inverse_square_sum
from atomlens.model import Model, ModelConfig


@pytest.fixture(scope="module")
def model():
    return make_model()


def benzene():
    """A regular hexagon of C and one of H around the origin, exact to rounding; ASE's is off by some 1e-6 Å."""
    angles = np.arange(6) * np.pi / 3
    ring = np.stack([np.cos(angles), np.sin(angles), np.zeros(6)], axis=1)
    return Atoms("C6H6", np.concatenate([1.395 * ring, 2.482 * ring]))


def operations_of_d6h():
    """All 24: six turns about z, with or without a turn about an axis in the plane, with or without the mirror."""
    found = []
    for turn, flip, mirror in itertools.product(range(6), (False, True), (False, True)):
        c, s = np.cos(turn * np.pi / 3), np.sin(turn * np.pi / 3)
        matrix = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
        matrix = matrix @ np.diag([1, -1, -1]) if flip else matrix
        found.append(matrix @ np.diag([1, 1, -1]) if mirror else matrix)
    return found


@pytest.mark.parametrize("kind", REPRESENTATIONS)
def test_has_the_symmetry_of_the_molecule(kind):
    made = make_model(kind)
    points = np.random.default_rng(0).uniform(-4, 4, (12, 3))
    matrices = operations_of_d6h()
    assert len({tuple(np.round(matrix, 6).ravel() + 0.0) for matrix in matrices}) == 24
    everywhere = np.concatenate([points @ matrix.T for matrix in matrices])
    values = potential_at(made, benzene(), everywhere, "C", relative_to="references").reshape(24, 12)
    assert np.ptp(values[0]) > 1e-2
    assert np.ptp(values, axis=0).max() < 1e-9 * np.ptp(values[0])


def test_single_precision_keeps_the_symmetry_to_a_hundred_thousandth():
    made = make_model().set_precision(torch.float32)
    points = np.random.default_rng(0).uniform(-4, 4, (12, 3))
    everywhere = np.concatenate([points @ matrix.T for matrix in operations_of_d6h()])
    values = local_values(made, benzene(), everywhere).reshape(24, 12)
    assert np.ptp(values, axis=0).max() < 1e-5 * np.ptp(values[0])


def local_values(made, structure, points):
    """Ω less that of the isolated probe."""
    isolated = potential_at(made, structure, np.array([[500.0, 0, 0]]), "C", relative_to="references")
    return potential_at(made, structure, points, "C", relative_to="references") - isolated


@pytest.mark.parametrize("kind", ["schnet", "schnet, mean", "dtnn, cutoff", "wacsf"])
def test_of_a_crystal_repeats_with_the_lattice(kind):
    crystal = bulk("CO", "zincblende", a=3.9)
    crystal.rattle(0.1, seed=3)
    made = make_model(kind)
    points = np.random.default_rng(0).uniform(-2, 4, (8, 3))
    first = potential_at(made, crystal, points, "H")
    moved = points + np.random.default_rng(1).integers(-4, 5, (8, 3)) @ crystal.cell.array
    np.testing.assert_allclose(potential_at(made, crystal, moved, "H"), first, rtol=1e-9)
    larger = crystal.repeat((1, 2, 3))  # the same crystal
    np.testing.assert_allclose(potential_at(made, larger, points, "H"), first, rtol=1e-9)


class TestGridded:
    def test_holds_what_points_give(self, model):
        water = molecule("H2O")
        found = local_chemical_potential(model, water, "O", points=9, margin=1.5, relative_to="references", title="t")
        assert max(found.values.shape) == 9
        at = potential_at(model, water, found.grid.points, "O", relative_to="references")
        np.testing.assert_allclose(found.values.ravel() + found.isolated, at, rtol=1e-10)
        apart = np.linalg.norm(found.grid.points[:, None] - water.positions, axis=2).min(axis=1)
        np.testing.assert_allclose(found.nearest_atom.ravel(), apart, rtol=1e-12)
        assert found.relative_to == "references"
        alone = model.predict(Atoms("O"), forces=False)["energy"] + 2040.0
        assert found.isolated == pytest.approx(float(alone), abs=1e-9)
        assert found.field.unit == "eV"

    def test_facts_are_json_and_of_places_outside(self, model):
        found = local_chemical_potential(model, molecule("H2O"), points=12)
        facts = json.loads(json.dumps(found.to_dict(), allow_nan=False))
        outside = found.values[found.nearest_atom > 1.0]
        assert (facts["minimum"], facts["maximum"]) == (outside.min(), outside.max())
        assert facts["grid"]["shape"] == list(found.values.shape)

    def test_of_a_crystal_covers_its_cell(self, model):
        crystal = bulk("CO", "zincblende", a=3.9)
        found = local_chemical_potential(model, crystal, "C", points=7)
        assert found.values.shape == (7, 7, 7)
        np.testing.assert_allclose(7 * found.grid.steps, crystal.cell.array, atol=1e-12)
        corner = potential_at(model, crystal, crystal.cell.array.sum(axis=0)[None], "C", relative_to="nothing")
        home = potential_at(model, crystal, np.zeros((1, 3)), "C", relative_to="nothing")
        np.testing.assert_allclose(corner, home, rtol=1e-9)

    def test_takes_another_grid(self, model):
        grid = Grid(np.array([1.0, 2.0, 3.0]), 0.5 * np.eye(3), (2, 3, 4))
        found = local_chemical_potential(model, molecule("CH4"), grid=grid)
        assert found.values.shape == (2, 3, 4)
        assert found.grid is grid

    def test_writes_its_files(self, model, tmp_path):
        found = local_chemical_potential(model, molecule("CH4"), points=5)
        found.to_cube(tmp_path / "a.cube")
        found.to_vtk(tmp_path / "a.vtk")
        lines = (tmp_path / "a.cube").read_text().splitlines()
        assert lines[0] == "local chemical potential of a probe H relative to the isolated one of CH4"
        assert lines[1] == "values in eV, lengths in bohr"
        assert b"local_chemical_potential_of_a_probe_H" in (tmp_path / "a.vtk").read_bytes()

    def test_draws_itself(self, model):
        words = local_chemical_potential(model, molecule("CH4"), "C", points=5).plot()
        assert [axes.get_xlabel() for axes in words.axes] == [
            "x (Å)", "Ω of a probe C, relative to the isolated C (kcal/mol)",
        ]  # fmt: skip


class TestSurface:
    def test_has_the_networks_own_values_on_exact_places(self, model):
        pytest.importorskip("skimage")
        ethanol = molecule("CH3CH2OH")
        found = local_chemical_potential(model, ethanol, "O", points=5).isosurface(3.7, spacing=0.4)
        np.testing.assert_allclose(inverse_square_sum(AtomicSystem.from_ase(ethanol), found.vertices), 3.7, rtol=1e-6)
        at = potential_at(model, ethanol, found.vertices, "O", relative_to="nothing")
        isolated = float(model.predict(Atoms("O"), forces=False)["energy"])
        np.testing.assert_allclose(found.values, at - isolated, atol=1e-9)
        facts = found.to_dict()
        apart = np.linalg.norm(ethanol.positions - facts["minimum"]["position"], axis=1)
        assert facts["minimum"]["atom"] == apart.argmin()
        assert (facts["minimum"]["value"], facts["maximum"]["value"]) == (found.values.min(), found.values.max())
        assert "Ω of a probe O" in found.plot().axes[-1].get_xlabel()

    def test_of_a_crystal_is_refused(self, model):
        found = local_chemical_potential(model, bulk("CO", "zincblende", a=3.9), points=3)
        with pytest.raises(InputError, match="has no limit"):
            found.isosurface()


class TestCut:
    def test_lies_where_it_says(self, model):
        water = molecule("H2O")
        cut = potential_cut(model, water, "H", plane=Plane.through(water, (0, 1, 2)), spacing=0.5)
        row, column = 2, 3
        point = cut.plane.origin + cut.x[column] * cut.plane.u + cut.y[row] * cut.plane.v
        np.testing.assert_allclose(potential_at(model, water, point[None], "H"), cut.values[row, column], rtol=1e-10)
        assert cut.nearest_atom[row, column] == pytest.approx(np.linalg.norm(water.positions - point, axis=1).min())
        facts = json.loads(json.dumps(cut.to_dict(), allow_nan=False))
        assert facts["minimum"] <= facts["maximum"]

    def test_is_the_same_from_a_grid(self, model):
        water = molecule("H2O")
        plane = Plane.at([0, 0, 0.3], [0, 0, 1], (2.0, 1.0))
        found = local_chemical_potential(model, water, "O", points=4).cut(plane, spacing=0.5)
        expected = potential_cut(model, water, "O", plane=plane, spacing=0.5)
        np.testing.assert_allclose(found.values, expected.values, rtol=1e-12)
        assert found.relative_to == expected.relative_to

    @pytest.mark.parametrize("kind", REPRESENTATIONS)
    def test_of_a_flat_molecule_is_a_mirror_image_of_itself(self, kind):
        """Water lies in the plane x = 0: planes at right angles to it are cut into mirror images by it."""
        made, water = make_model(kind), molecule("H2O")
        cut = potential_cut(made, water, "O", plane=Plane.at([0, 0, 0.1], [0, 0, 1], (2.5, 2.0)), spacing=0.5)
        assert abs(cut.plane.u[0]) == 1.0
        spread = np.ptp(cut.values)
        assert spread > 1e-3
        assert np.abs(cut.values - cut.values[:, ::-1]).max() < 1e-9 * spread
        assert np.abs(cut.values - cut.values[::-1]).max() < 1e-9 * spread  # and its other mirror, y = 0
        above, below = (
            potential_cut(made, water, "O", plane=Plane.at([x, 0, 0], [1, 0, 0], (2.0, 2.0)), spacing=0.5).values
            for x in (0.7, -0.7)
        )
        assert np.abs(above - below).max() < 1e-9 * spread

    def test_of_a_crystal_repeats(self, model):
        salt = bulk("CO", "rocksalt", a=4.2, cubic=True)
        cut = potential_cut(model, salt, "C", plane=Plane.at([0.3, 0, 0], [0, 0, 1], (4.2, 4.2)), spacing=0.35)
        assert cut.values.shape == (25, 25)
        np.testing.assert_allclose(cut.values[:, 12:], cut.values[:, :13], rtol=1e-9)
        np.testing.assert_allclose(cut.values[12:], cut.values[:13], rtol=1e-9)
        figure = cut.plot()
        marks = [text.get_text() for text in figure.axes[0].texts]
        # Of every atom of the layer several images, also those at the edges.
        layer = [f"{symbol}{index}" for index, symbol in enumerate(salt.symbols) if salt.positions[index, 2] < 0.1]
        assert len(layer) == 4
        assert all(4 <= marks.count(name) <= 9 for name in layer)

    def test_with_every_point_at_an_atom_has_no_extremes(self, model):
        tight = Plane.at(molecule("CH4").positions[0], [0, 0, 1], (0.2, 0.2))
        facts = potential_cut(model, molecule("CH4"), plane=tight).to_dict()
        assert facts["minimum"] is None
        assert facts["maximum"] is None


@pytest.mark.parametrize("call", [local_chemical_potential, potential_cut])
def test_unknown_probes_are_refused(model, call):
    with pytest.raises(InputError, match="N is an element that the model never saw"):
        call(model, molecule("H2O"), "N")


class TestReach:
    def test_of_a_probe_is_a_ratio_of_features(self):
        torch.manual_seed(0)
        made = Model(ModelConfig.parse({"representation": {"name": "schnet", "interactions": 0}}), [1, 8])
        water = molecule("H2O")
        sizes = made.representation.embedding.weight.detach().abs().amax(dim=1)
        for probe, number in (("H", 1), ("O", 8)):
            cut = potential_cut(made, water, probe, spacing=0.5)
            assert probe_reach(made, water, cut) == pytest.approx(float(sizes[number] / sizes[[1, 8]].max()), rel=1e-6)

    def test_leaves_what_symmetry_functions_know(self):
        torch.manual_seed(0)
        rng = np.random.default_rng(0)
        representation = {"name": "behler_parrinello", "n_radial": 12, "n_angular": 0}
        functions = Model(ModelConfig.parse({"representation": representation}), [1, 8])
        frames = [molecule("H2O") for _ in range(20)]
        for frame in frames:
            frame.positions += 0.02 * rng.normal(size=(3, 3))
        functions.representation.standardise([functions.collate(frames)])
        assert probe_reach(functions, frames[0], potential_cut(functions, frames[0], spacing=0.5)) > 10

    def test_of_no_point_at_all_is_that_of_atoms(self, model):
        tight = Plane.at(molecule("CH4").positions[0], [0, 0, 1], (0.2, 0.2))
        assert probe_reach(model, molecule("CH4"), potential_cut(model, molecule("CH4"), plane=tight)) == 1.0
