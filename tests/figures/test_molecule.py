import numpy as np
import pytest
from ase.build import molecule as ase_molecule

from atomlens.figures import molecule


def test_bonds_of_ethanol(synthetic):
    found = {frozenset(pair) for pair in molecule.bonds(synthetic.SYMBOLS, synthetic.POSITIONS)}
    assert found == {frozenset(pair) for pair in [(0, 1), (1, 2), (2, 3), (1, 4), (1, 5), (0, 6), (0, 7), (0, 8)]}


@pytest.mark.parametrize("name", ["CH3CH2OH", "C6H6", "CH4", "H2O", "C2H4"])
def test_the_view_hides_no_atom(name):
    paper, _ = molecule.project(ase_molecule(name).positions)
    first, second = np.triu_indices(len(paper), k=1)
    assert np.linalg.norm(paper[first] - paper[second], axis=1).min() > 0.4


def test_the_view_is_a_rotation_that_does_not_depend_on_the_frame(synthetic):
    positions = synthetic.POSITIONS
    paper, depth = molecule.project(positions)
    seen = np.column_stack([paper, depth])
    distances = [np.linalg.norm(each[:, None] - each[None], axis=-1) for each in (seen, positions)]
    assert distances[0] == pytest.approx(distances[1])
    turn = np.array([[0.0, -1.0, 0.0], [0.6, 0.0, -0.8], [0.8, 0.0, 0.6]])
    moved, _ = molecule.project(positions @ turn.T + np.array([5.0, -3.0, 2.0]))
    assert moved == pytest.approx(paper)


def test_the_view_shows_no_mirror_image():
    generator = np.random.default_rng(3)
    for _ in range(20):
        positions = generator.normal(size=(4, 3))
        paper, depth = molecule.project(positions)
        volumes = [np.linalg.det(each[1:] - each[0]) for each in (positions, np.column_stack([paper, depth]))]
        assert volumes[0] == pytest.approx(volumes[1])


@pytest.mark.parametrize("positions", [[[1.0, 2.0, 3.0]], [[0.0, 0.0, 0.0], [0.0, 0.0, 0.74]]])
def test_the_view_takes_single_atoms_and_lines(positions):
    paper, depth = molecule.project(positions)
    assert np.isfinite(paper).all()
    assert depth.shape == (len(positions),)
    assert np.ptp(paper, axis=0) == pytest.approx([0.74 if len(positions) == 2 else 0.0, 0.0], abs=1e-9)
