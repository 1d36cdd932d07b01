"""Point groups against those of molecules that every textbook lists."""

import ase
import numpy as np
import pytest
from ase.build import bulk, molecule
from scipy.spatial.transform import Rotation

from atomlens.errors import InputError
from atomlens.simulate.symmetry import point_group


def dodecahedron():
    golden = (1 + 5**0.5) / 2
    cube = [[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]
    planes = [[0, a / golden, b * golden] for a in (-1, 1) for b in (-1, 1)]
    rest = [np.roll(point, shift).tolist() for point in planes for shift in range(3)]
    return ase.Atoms("C20", np.array(cube + rest) * 1.16)


def staggered(twist):
    """Ethane-like: two triangles of H at an angle to each other."""
    angles = np.arange(3) * 2 * np.pi / 3
    up = np.array([[np.cos(a), np.sin(a), 1.2] for a in angles])
    down = np.array([[np.cos(a + twist), np.sin(a + twist), -1.2] for a in angles])
    return ase.Atoms("C2H6", np.concatenate([[[0, 0, 0.75], [0, 0, -0.75]], up, down]))


GROUPS = {
    "H2O": (lambda: molecule("H2O"), "C2v", 4),
    "NH3": (lambda: molecule("NH3"), "C3v", 6),
    "CH4": (lambda: molecule("CH4"), "Td", 24),
    "C6H6": (lambda: molecule("C6H6"), "D6h", 24),
    "C2H4": (lambda: molecule("C2H4"), "D2h", 8),
    "allene": (lambda: molecule("C3H4_D2d"), "D2d", 8),
    "BF3": (lambda: molecule("BF3"), "D3h", 12),
    "cyclopropene": (lambda: molecule("C3H4_C2v"), "C2v", 4),
    "staggered": (lambda: staggered(np.pi / 3), "D3d", 12),
    "eclipsed": (lambda: staggered(0.0), "D3h", 12),
    "twisted": (lambda: staggered(0.4), "D3", 6),
    "H2O2": (lambda: molecule("H2O2"), "C2", 2),
    "trans-butadiene": (lambda: molecule("trans-butane"), "C2h", 4),
    "CH3OH": (lambda: molecule("CH3OH"), "Cs", 2),
    "CO2": (lambda: molecule("CO2"), "D∞h", 2),
    "HCN": (lambda: molecule("HCN"), "C∞v", 1),
    "SF6": (lambda: ase.Atoms("SF6", [[0, 0, 0], *(1.56 * np.vstack([np.eye(3), -np.eye(3)]))]), "Oh", 48),
    "dodecahedron": (dodecahedron, "Ih", 120),
    "CHFClBr": (
        lambda: ase.Atoms("CHFClBr", [[0, 0, 0], [0.6, 0.6, 0.6], [-0.8, -0.8, 0.8], [1, -1, -1], [-1.1, 1.1, -1.1]]),
        "C1",
        1,
    ),
    "inversion alone": (
        lambda: ase.Atoms("HFClHFCl", np.kron([[1], [-1]], [[1, 0.1, 0], [0, 1.2, 0.3], [0.2, 0, 1.6]])),
        "Ci",
        2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GROUPS)
def test_groups_of_the_textbooks(name):
    make, symbol, order = GROUPS[name]
    atoms = make()
    atoms.positions = Rotation.from_euler("xyz", [0.3, 1.1, -0.7]).apply(atoms.positions) + 2.0
    found = point_group(atoms)
    assert (found.name, found.order) == (symbol, order)
    assert found.error < 0.02


@pytest.mark.parametrize("name", ["CH4", "C6H6", "dodecahedron", "staggered"])
def test_operations_form_a_group_and_map_the_molecule_onto_itself(name):
    atoms = GROUPS[name][0]()
    found = point_group(atoms, tolerance=0.02)
    positions = atoms.positions - atoms.positions.mean(axis=0)
    for first in found.operations:
        np.testing.assert_allclose(first @ first.T, np.eye(3), atol=1e-12)
        images = positions @ first.T
        distances = np.linalg.norm(images[:, None] - positions[None], axis=2)
        assert (atoms.numbers[distances.argmin(axis=1)] == atoms.numbers).all()
        assert distances.min(axis=1).max() < 0.02
        products = first @ found.operations
        gaps = np.abs(products[:, None] - found.operations[None]).max(axis=(2, 3)).min(axis=1)
        assert gaps.max() < 0.02


def test_a_distortion_beyond_the_tolerance_lowers_the_symmetry():
    """A dodecahedron drawn out along an axis of three keeps D3d of its Ih."""
    atoms = dodecahedron()
    axis = np.ones(3) / 3**0.5
    atoms.positions += 0.05 * np.outer(atoms.positions @ axis, axis)
    assert point_group(atoms, tolerance=0.01).name == "D3d"
    assert point_group(atoms, tolerance=0.15).name == "Ih"


def test_crystals_and_atoms_are_refused():
    with pytest.raises(InputError, match="open structure"):
        point_group(bulk("Si"))
    with pytest.raises(InputError, match="open structure"):
        point_group(ase.Atoms("C"))


def test_a_part_of_a_group_is_no_group():
    """Drawn out by as much as the tolerance, some operations of Ih are within it and others are not."""
    atoms = dodecahedron()
    axis = np.array([0.3, 0.5, 0.81])
    atoms.positions += 0.05 * np.outer(atoms.positions @ axis, axis) / (axis @ axis)
    found = {point_group(atoms, tolerance=tolerance).name for tolerance in np.linspace(0.02, 0.14, 25)}
    assert "unclear" in found
    assert found <= {"unclear", "Ci", "C2h", "D2h", "D3d", "Th", "D5d", "Ih"}  # those of Ih that have its inversion
