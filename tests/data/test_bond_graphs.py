import numpy as np
import pytest
from ase.build import molecule

from atomlens.data.bond_graphs import bond_graphs
from atomlens.data.bonds import bonded_pairs
from atomlens.data.compositions import compositions
from tests.data.made_up_sets import ISOMERS, joined, molecules, moved


@pytest.mark.parametrize("seed", range(3))
def test_molecules_are_told_apart_by_their_bonds_alone(seed):
    data, names = molecules(frames=6, seed=seed)
    graphs = bond_graphs(data)
    for name in ISOMERS:
        assert len(np.unique(graphs[names == name])) == 1, name
    assert len(np.unique(graphs)) == len(ISOMERS)
    assert len(np.unique(compositions(data))) == 5  # so that isomers are among them


def test_far_branches_of_a_chain_hear_of_each_other():
    """Two methyl groups on thirty carbons; a chain counted from its other end is the same."""

    def chain(*branches):
        xyz = [[1.26 * k, 0.45 * (-1) ** k, 0.0] for k in range(30)]
        xyz += [[1.26 * k, 0.45 * (-1) ** k, 1.54] for k in branches]
        return np.full(len(xyz), 6), np.array(xyz)

    rng = np.random.default_rng(0)
    graphs = bond_graphs(joined([moved(*chain(*pair), rng) for pair in ((10, 18), (10, 19), (29 - 10, 29 - 18))]))
    assert graphs[0] == graphs[2] != graphs[1]


def test_bonds_of_large_structures_are_those_of_small_ones():
    """A crystal of methane molecules in the open, in one piece and molecule by molecule."""
    methane = molecule("CH4")
    places = 5.0 * np.stack(np.meshgrid(*[np.arange(4)] * 3), axis=-1).reshape(-1, 3)
    large = (np.tile(methane.numbers, len(places)), (places[:, None] + methane.positions).reshape(-1, 3))
    broken = (large[0], large[1].copy())
    broken[1][1] += [0.0, 0.0, 30.0]  # a hydrogen is gone
    moved_away = (large[0], large[1] + 3.0)
    graphs = bond_graphs(joined([large, broken, moved_away]))
    assert len(large[0]) > 300  # where pairs are looked for by a neighbour list
    assert graphs[0] == graphs[2] != graphs[1]
    assert len(bonded_pairs(*large)) == 4 * len(places)


def test_atoms_without_bonds_and_chosen_structures():
    single = [(np.array([18]), np.zeros((1, 3))), (np.array([10]), np.zeros((1, 3))), (np.array([18]), np.ones((1, 3)))]
    graphs = bond_graphs(joined(single))
    assert graphs[0] == graphs[2] != graphs[1]
    data, names = molecules(frames=4)
    rows = np.flatnonzero((names == "CH2OCH2") | (names == "CH3CHO"))
    found = bond_graphs(data, rows)
    assert (found[:, None] == found).tolist() == (names[rows][:, None] == names[rows]).tolist()


def test_crystals_and_their_supercells_are_of_one_composition():
    numbers, cell = np.array([11, 17]), 4.0 * np.eye(3)
    double = (np.tile(numbers, 2), np.array([[0.0, 0, 0], [2, 2, 2], [4, 0, 0], [6, 2, 2]]))
    one = (numbers, double[1][:2])
    data = joined([one, double, (np.array([11, 11]), one[1])], cell=np.stack([cell, cell * [[2], [1], [1]], cell]))
    whole, reduced = compositions(data), compositions(data, reduced=True)
    assert len(np.unique(whole)) == 3
    assert reduced[0] == reduced[1] != reduced[2]
