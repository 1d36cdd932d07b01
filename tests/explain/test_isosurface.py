"""The surface Σ|r - r_i|⁻² = c against spheres, pairs of atoms, and what a surface must be."""

import builtins

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from atomlens.data.system import AtomicSystem
from atomlens.errors import InputError
from atomlens.explain.probes.isosurface import inverse_square_sum, isosurface

pytest.importorskip("skimage", exc_type=ImportError)


def volume(surface):
    first, second, third = (surface.vertices[surface.triangles[:, corner]] for corner in range(3))
    return float(np.einsum("ij,ij->", first, np.cross(second, third)) / 6.0)


def edges(surface):
    """Edges in the order of their triangles, and how often each is used in either direction."""
    corners = surface.triangles
    return np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]])


@pytest.mark.parametrize("isovalue", [3.8, 3.7, 0.9])
@pytest.mark.parametrize("name", ["CH4", "C6H6", "CH3CH2OH", "C60", "LiF"])
def test_vertices_lie_on_it(name, isovalue):
    structure = molecule(name)
    surface = isosurface(structure, isovalue, spacing=0.3)
    assert len(surface.vertices) > 100
    apart = np.linalg.norm(surface.vertices[:, None] - structure.positions, axis=2)
    np.testing.assert_allclose((apart**-2.0).sum(axis=1), isovalue, rtol=1e-11)


@pytest.mark.parametrize("name", ["H2O", "C6H6", "CH3CH2OH"])
def test_is_closed_and_faces_outward(name):
    surface = isosurface(molecule(name))
    found = edges(surface)
    # Each edge belongs to two triangles, which run along it in opposite directions.
    assert len(np.unique(found, axis=0)) == len(found)
    assert {tuple(pair) for pair in found.tolist()} == {(b, a) for a, b in found.tolist()}
    assert volume(surface) > 0.0
    pieces = len(surface.vertices) - len(found) // 2 + len(surface.triangles)
    assert pieces == 2  # Euler's number of a sphere


def test_of_one_atom_is_a_sphere():
    radius = 3.8**-0.5
    exact = 4.0 / 3.0 * np.pi * radius**3
    errors = []
    for spacing in (0.1, 0.05):
        surface = isosurface(Atoms("H", [[0.3, -0.2, 5.0]]), spacing=spacing)
        np.testing.assert_allclose(np.linalg.norm(surface.vertices - [0.3, -0.2, 5.0], axis=1), radius, rtol=1e-12)
        errors.append(exact - volume(surface))
    assert 0.0 < errors[1] < 0.02 * exact
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2.0, abs=0.15)  # flat triangles miss a second order


def test_of_two_atoms_is_cassinis_relative():
    """On the axis, d⁻² + (d + a)⁻² = c by bisection; in the middle plane 2 / (h² + a²/4) = c."""
    a, c = 1.4, 2.0
    surface = isosurface(Atoms("H2", [[0, 0, 0], [a, 0, 0]]), c, spacing=0.05)
    middle = np.sqrt(2.0 / c - a * a / 4.0)
    near = np.abs(surface.vertices[:, 0] - 0.5 * a) < 0.03
    np.testing.assert_allclose(np.linalg.norm(surface.vertices[near, 1:], axis=1), middle, atol=2e-3)
    low, high = 0.1, 3.0
    for _ in range(60):
        d = 0.5 * (low + high)
        low, high = (d, high) if d**-2 + (d + a) ** -2 > c else (low, d)
    assert -surface.vertices[:, 0].min() == pytest.approx(d, abs=2e-3)


def test_atoms_far_apart_have_one_each():
    surface = isosurface(Atoms("H2", [[0, 0, 0], [30.0, 0, 0]]), spacing=0.15)
    left = surface.vertices[:, 0] < 15.0
    np.testing.assert_allclose(np.linalg.norm(surface.vertices[left], axis=1), (3.8 - 30.0**-2) ** -0.5, rtol=1e-3)
    assert (~left).any()


def test_the_first_look_cuts_nothing_off():
    """The surface of many atoms on a line, far from all of which the sum is still large beside them all."""
    many = Atoms("H80", np.outer(np.arange(80) * 0.25, [1.0, 0, 0]))
    surface = isosurface(many, 3.8, spacing=0.3)
    found = edges(surface)
    assert {tuple(pair) for pair in found.tolist()} == {(b, a) for a, b in found.tolist()}  # closed
    middle = surface.vertices[np.abs(surface.vertices[:, 0] - 10.0) < 0.3]
    # An endless line of density 4/Å has ∫ 4 dx / (x² + h²) = 4π/h, of which the ends are missing.
    assert np.linalg.norm(middle[:, 1:], axis=1).mean() == pytest.approx(4.0 * np.pi / 3.8, rel=0.3)


def test_too_many_points_are_refused():
    with pytest.raises(InputError, match="choose a wider one"):
        isosurface(molecule("C60"), spacing=0.01)


def test_sums_are_counted_in_runs_alike(monkeypatch):
    system = AtomicSystem.from_ase(molecule("C60"))
    points = np.random.default_rng(0).uniform(-5, 5, (40, 3))
    points[3] = system.positions[7]
    whole = inverse_square_sum(system, points)
    monkeypatch.setattr("atomlens.explain.probes.isosurface._AT_ONCE", 500)
    np.testing.assert_array_equal(inverse_square_sum(system, points), whole)
    assert np.isinf(whole[3])


@pytest.mark.parametrize("pbc", [True, [True, False, False]])
def test_crystals_have_none(pbc):
    crystal = bulk("C")
    crystal.pbc = pbc
    with pytest.raises(InputError, match="has no limit, so there is no such surface"):
        isosurface(crystal)


def test_without_scikit_image_it_says_what_to_install(monkeypatch):
    plain = builtins.__import__

    def without(name, *rest, **more):
        if name.startswith("skimage"):
            raise ImportError(name)
        return plain(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"pip install 'atomlens\[explain\]'"):
        isosurface(molecule("H2O"))


@pytest.mark.parametrize(
    ("value", "said"), [(-1.0, "above 0"), (0.0, "above 0"), (np.nan, "above 0"), (1e4, "smaller than the grid")]
)
def test_values_without_a_surface_are_refused(value, said):
    with pytest.raises(InputError, match=said):
        isosurface(molecule("H2O"), value)
