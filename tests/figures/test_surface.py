"""The picture of a surface: what is seen, in which colour, and in what order."""

import numpy as np
import pytest
from ase.build import molecule
from matplotlib.collections import TriMesh

from atomlens.figures import surface


def octahedron(size=2.0):
    """Six vertices, eight triangles that face outward."""
    vertices = size * np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], dtype=float)
    triangles = [
        (a, b, c) if np.linalg.det(vertices[[a, b, c]]) > 0 else (a, c, b)
        for a in (0, 1)
        for b in (2, 3)
        for c in (4, 5)
    ]
    return vertices, np.array(triangles)


def drawn(values, name="H2O"):
    atoms = molecule(name)
    vertices, triangles = octahedron()
    figure = surface.potential_surface(
        vertices, triangles, values, atoms.get_chemical_symbols(), atoms.positions, "C", relative_to="the isolated C"
    )
    figure.canvas.draw()
    return figure


def meshes(figure):
    return [part for axes in figure.axes[:2] for part in axes.collections if isinstance(part, TriMesh)]


def test_has_two_views_and_a_bar_centred_at_zero():
    figure = drawn(np.array([-0.2, 0.1, 0, 0, 0, 0.05]))
    assert len(meshes(figure)) == 2
    bar = figure.axes[-1]
    assert bar.get_xlabel() == "Ω of a probe C, relative to the isolated C (kcal/mol)"
    assert bar.get_xlim()[1] == pytest.approx(-bar.get_xlim()[0])
    assert bar.get_xlim()[1] == pytest.approx(0.2 * 23.0605, rel=1e-4)


def test_only_triangles_that_face_the_reader_are_drawn_far_ones_first():
    vertices, triangles = octahedron()
    for mesh, frame in zip(meshes(drawn(np.zeros(6))), surface.viewing_frames(molecule("H2O").positions), strict=True):
        shown = mesh._triangulation.triangles
        turned = vertices @ frame.T
        corners = turned[shown]
        depths = corners[:, :, 2].mean(axis=1)
        assert (np.diff(depths) >= -1e-12).all()
        keys = {tuple(sorted(corner)) for corner in shown.tolist()}
        for triangle in triangles.tolist():
            first, second, third = turned[triangle]
            toward = np.cross(second - first, third - first)[2]
            assert (tuple(sorted(triangle)) in keys) == (toward > 0.0)


def test_colours_follow_the_values_and_light_their_brightness():
    values = np.array([-0.3, 0.3, 0, 0, 0, 0])
    mesh = meshes(drawn(values))[0]
    colours = mesh.get_facecolor()[:, :3]
    assert colours[0, 2] > colours[0, 0] + 0.1  # blue
    assert colours[1, 0] > colours[1, 2] + 0.1  # red
    grey = colours[2:]
    assert np.ptp(grey, axis=1).max() < 0.02  # white, however lit
    assert np.ptp(grey[:, 0]) > 0.05


def test_lamp_and_gloss_by_hand():
    light = surface._LIGHT / np.linalg.norm(surface._LIGHT)
    colours = np.array([[0.5, 0.2, 0.1]] * 3)
    away, side = -light, np.cross(light, [0.0, 0.0, 1.0])
    found = surface._lit(colours, np.stack([away, side / np.linalg.norm(side), light]))
    np.testing.assert_allclose(found[0], surface._DARKEST * colours[0], rtol=1e-12)
    np.testing.assert_allclose(found[1], surface._DARKEST * colours[1], rtol=1e-12)
    assert (found[2] > colours[2]).all()


def test_normals_of_a_fine_sphere_are_its_radii():
    steps = np.linspace(0.05, np.pi - 0.05, 30), np.linspace(0.0, 2.0 * np.pi, 61)[:-1]
    theta, phi = (part.ravel() for part in np.meshgrid(*steps, indexing="ij"))
    vertices = np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], axis=1)
    triangles = []
    for row in range(29):
        for column in range(60):
            a, b = row * 60 + column, row * 60 + (column + 1) % 60
            triangles += [(a, a + 60, b), (b, a + 60, b + 60)]
    triangles = np.array(triangles)
    corners = vertices[triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    found = surface._smoothed(normals, triangles)
    inner = (theta > 0.4) & (theta < np.pi - 0.4)
    assert (np.einsum("ij,ij->i", found, vertices)[inner] > 0.999).all()


@pytest.mark.parametrize("name", ["CO2", "CH4", "C6H6", "H2O", "Cu"])
def test_views_are_rotations_a_quarter_turn_apart(name):
    first, second = surface.viewing_frames(molecule(name).positions if name != "Cu" else np.ones((1, 3)))
    for frame in (first, second):
        np.testing.assert_allclose(frame @ frame.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(frame) == pytest.approx(1.0)
    np.testing.assert_allclose(first[0], second[0])
    assert abs(first[2] @ second[2]) < 1e-12


@pytest.mark.parametrize(("name", "normal"), [("C6H6", (0, 0, 1)), ("H2O", (1, 0, 0))])
def test_flat_molecules_are_seen_from_above_and_from_the_edge(name, normal):
    first, second = surface.viewing_frames(molecule(name).positions)
    assert abs(first[2] @ normal) == pytest.approx(np.cos(surface._TILT))
    assert abs(second[2] @ normal) == pytest.approx(np.sin(surface._TILT))


def test_atoms_other_than_hydrogen_and_carbon_are_named():
    names = [text.get_text() for axes in drawn(np.zeros(6), "CH3OH").axes[:2] for text in axes.texts]
    assert names == ["O", "O"]
