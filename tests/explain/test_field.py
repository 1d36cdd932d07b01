"""Planes, grids, and atoms over planes."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from atomlens.data.system import AtomicSystem
from atomlens.errors import InputError
from atomlens.explain.probes.field import Grid, Plane, atoms_near

SKEW = np.array([[3.0, 0, 0], [1.4, 2.9, 0], [0.3, -1.2, 3.3]])


def turned(name):
    made = molecule(name)
    made.rotate(40, (1, 2, 3))
    return made


class TestPlaneThroughAtoms:
    def test_contains_its_three_atoms_and_all_others_within_the_margin(self):
        ethanol = molecule("CH3CH2OH")
        plane = Plane.through(ethanol, (0, 1, 2), margin=1.0)
        flat = plane.coordinates(ethanol.positions)
        np.testing.assert_allclose(flat[:3, 2], 0.0, atol=1e-12)
        assert (np.abs(flat[:, :2]) <= np.array(plane.half_widths) - 1.0 + 1e-9).all()
        assert plane.description == "the plane through C0, C1 and O2"

    def test_atoms_on_a_line_are_refused(self):
        with pytest.raises(InputError, match="lie on one line"):
            Plane.through(molecule("CO2"), (0, 1, 2))

    def test_missing_atoms_are_refused(self):
        with pytest.raises(InputError, match="there is no atom 7"):
            Plane.through(molecule("H2O"), (0, 1, 7))


class TestMoleculesOwnPlane:
    @pytest.mark.parametrize("name", ["C6H6", "H2O", "H2CO", "C2H4"])
    def test_is_a_flat_molecules_plane(self, name):
        flat = turned(name)
        np.testing.assert_allclose(Plane.through(flat).coordinates(flat.positions)[:, 2], 0.0, atol=1e-5)

    def test_is_that_of_the_other_atoms_where_hydrogen_stands_out(self):
        ethanol = turned("CH3CH2OH")
        plane = Plane.through(ethanol)
        heights = plane.coordinates(ethanol.positions)[:, 2]
        assert np.abs(heights[ethanol.numbers > 1]).max() < 1e-9
        assert np.abs(heights).max() > 0.8
        assert plane.description == "the plane nearest to all atoms but hydrogen"

    @pytest.mark.parametrize("name", ["C2H6", "C3H4_C3v", "CO2"])
    def test_is_that_of_all_atoms_where_the_others_lie_on_a_line(self, name):
        plane = Plane.through(turned(name))
        assert plane.description == "the plane nearest to all atoms"
        np.testing.assert_allclose(np.abs(plane.coordinates(turned(name).positions)[:2, 2]), 0.0, atol=0.2)

    def test_starts_at_an_atom_where_no_direction_is_longest(self):
        benzene = turned("C6H6")
        places = Plane.through(benzene).coordinates(benzene.positions)
        assert abs(places[0, 1]) < 1e-4  # the geometry is a hexagon to some 1e-6 Å
        assert places[0, 0] > 1.3

    def test_of_a_single_atom_is_any(self):
        plane = Plane.through(Atoms("H", [[1.0, 2.0, 3.0]]), margin=1.5)
        np.testing.assert_allclose(plane.origin, [1.0, 2.0, 3.0])
        assert plane.half_widths == pytest.approx((1.5, 1.5))


class TestPlaneAt:
    @pytest.mark.parametrize("normal", [(0, 0, 2), (0, 0, -1), (1, 0, 0), (1, -2, 0.5), (1e-9, 0, 1)])
    def test_lies_at_right_angles_to_its_normal(self, normal):
        plane = Plane.at((1, 2, 3), normal, (4.0, 2.5))
        frame = np.stack([plane.u, plane.v, plane.normal])
        np.testing.assert_allclose(frame @ frame.T, np.eye(3), atol=1e-12)
        np.testing.assert_allclose(plane.normal, np.array(normal) / np.linalg.norm(normal), atol=1e-8)
        assert plane.u[2] == pytest.approx(0.0, abs=1e-8)
        x, y, points = plane.grid(0.5)
        assert (x[0], x[-1], y[0], y[-1]) == (-4.0, 4.0, -2.5, 2.5)
        np.testing.assert_allclose(points[5, 8], [1, 2, 3], atol=1e-12)
        assert np.abs(plane.coordinates(points.reshape(-1, 3))[:, 2]).max() < 1e-12

    @pytest.mark.parametrize(
        ("origin", "normal", "half", "words"),
        [
            ((0, 0, 0), (0, 0, 0), (1, 1), "has no direction"),
            ((0, 0, np.nan), (0, 0, 1), (1, 1), "has no direction"),
            ((0, 0, 0), (0, 0, 1), (1, 0), "must be positive"),
        ],
    )
    def test_impossible_ones_are_refused(self, origin, normal, half, words):
        with pytest.raises(InputError, match=words):
            Plane.at(origin, normal, half)

    def test_too_many_points_are_refused(self):
        with pytest.raises(InputError, match="over a million points"):
            Plane.at((0, 0, 0), (0, 0, 1), (100, 100)).grid(0.1)


class TestGrid:
    def test_around_reaches_the_margin_on_every_side(self):
        water = molecule("H2O")
        grid = Grid.around(water, points=20, margin=1.5)
        assert max(grid.shape) == 20
        low, high = grid.points.min(axis=0), grid.points.max(axis=0)
        np.testing.assert_allclose(low, water.positions.min(axis=0) - 1.5)
        assert (high >= water.positions.max(axis=0) + 1.5 - 1e-9).all()

    def test_of_a_cell_repeats_without_a_gap(self):
        structure = Atoms("CO", [[0, 0, 0], [1.1, 0.4, 0.2]], cell=SKEW, pbc=True)
        grid = Grid.of_cell(structure, 0.5)
        assert (np.linalg.norm(grid.steps, axis=1) <= 0.5).all()
        np.testing.assert_allclose(np.array(grid.shape)[:, None] * grid.steps, SKEW, atol=1e-12)
        # Points of the next cell continue the grid: all fractions are whole multiples, none twice.
        fractions = grid.points @ np.linalg.inv(SKEW) * grid.shape
        np.testing.assert_allclose(fractions, np.round(fractions), atol=1e-9)
        assert len(np.unique(np.round(fractions) % grid.shape, axis=0)) == np.prod(grid.shape)
        assert (fractions.max(axis=0) < np.array(grid.shape) - 0.5).all()

    def test_without_a_cell_is_refused(self):
        with pytest.raises(InputError, match="no cell with three lattice vectors"):
            Grid.of_cell(molecule("H2O"))

    def test_too_fine_is_refused(self):
        with pytest.raises(InputError, match="over a million points"):
            Grid.of_cell(bulk("Si", cubic=True), 0.01)

    def test_the_last_index_is_the_fastest(self):
        grid = Grid(np.array([1.0, 2.0, 3.0]), SKEW, (2, 3, 4))
        points = grid.points.reshape(2, 3, 4, 3)
        np.testing.assert_allclose(points[1, 2, 3], [1.0, 2.0, 3.0] + SKEW[0] + 2 * SKEW[1] + 3 * SKEW[2])


class TestAtomsNear:
    def test_of_a_molecule_are_those_over_the_rectangle(self):
        ethanol = AtomicSystem.from_ase(molecule("CH3CH2OH"))
        plane = Plane.through(ethanol, (0, 1, 2))
        assert sorted(atom.index for atom in atoms_near(ethanol, plane, reach=1e9)) == list(range(9))
        near = atoms_near(ethanol, plane, reach=0.1)
        for atom in near:
            place = plane.origin + atom.x * plane.u + atom.y * plane.v + atom.height * plane.normal
            np.testing.assert_allclose(place, ethanol.positions[atom.index], atol=1e-12)
        assert {0, 1, 2} <= {atom.index for atom in near}

    @pytest.mark.parametrize("pbc", [True, [True, True, False], [False, False, True]])
    def test_of_a_crystal_are_all_images(self, pbc):
        atoms = Atoms("CO", [[0, 0, 0], [1.1, 0.4, 5.2]], cell=SKEW, pbc=pbc)
        system = AtomicSystem.from_ase(atoms)
        plane = Plane.at([0.7, -0.4, 0.2], [1, 2, 3], (4.0, 6.0))
        found = {(atom.index, round(atom.x, 6), round(atom.y, 6)) for atom in atoms_near(system, plane, 1.0, 0.5)}
        cells = (np.indices((21, 21, 21)).reshape(3, -1).T - 10) * system.pbc
        expected = set()
        for index, position in enumerate(system.positions):
            places = plane.coordinates(position + cells @ SKEW)
            inside = (np.abs(places) <= [4.5, 6.5, 1.0]).all(axis=1)
            expected |= {(index, round(float(x), 6), round(float(y), 6)) for x, y, _ in places[inside]}
        assert found == expected
        assert len(found) > 1


@pytest.mark.parametrize("atoms", [(0, 0, 1), (0, 1, 0), (1, 0, 0)])
def test_a_plane_needs_three_different_places(atoms):
    with pytest.raises(InputError, match="lie on one line"):
        Plane.through(molecule("H2O"), atoms)
