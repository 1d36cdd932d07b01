"""Histograms of distances, angles and dihedrals against molecules worked by hand and against ASE."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from small_sets import dataset

from atomlens.baselines.hdad import _centres, _histograms, hdad
from atomlens.baselines.tuples import all_pairs, bond_angles, bonds, dihedrals


def test_tuples_of_ethanol_are_those_of_ase():
    atoms = molecule("CH3CH2OH")
    data = dataset([molecule("CO2"), atoms])
    start = data.offsets[1]
    bonded = bonds(data)
    pairs, angles, torsions = all_pairs(data), bond_angles(data, bonded), dihedrals(data, bonded)
    # CO2: three pairs, one angle, no dihedral. Ethanol: 9 · 8 / 2 pairs; degrees 4, 4 and 2: 6 + 6 + 1 angles; 3 · 3
    # dihedrals about C-C and 3 · 1 about C-O.
    assert [(part.structure == 0).sum() for part in (pairs, angles, torsions)] == [3, 1, 0]
    assert [(part.structure == 1).sum() for part in (pairs, angles, torsions)] == [36, 13, 12]
    for row, (i, j) in enumerate(pairs.atoms[3:] - start, start=3):
        assert pairs.value[row] == pytest.approx(atoms.get_distance(i, j))
    for row, (i, j, k) in enumerate(angles.atoms[1:] - start, start=1):
        assert np.rad2deg(angles.value[row]) == pytest.approx(atoms.get_angle(i, j, k))
    for row, (i, j, k, end) in enumerate(torsions.atoms - start):
        turn = atoms.get_dihedral(i, j, k, end)
        assert np.rad2deg(torsions.value[row]) == pytest.approx(min(turn, 360 - turn), abs=1e-5)


def test_straight_molecules_have_an_angle_of_half_a_turn():
    data = dataset([Atoms("OCO", [[-1.16, 0, 0], [0, 0, 0], [1.16, 0, 0]])])
    assert bond_angles(data, bonds(data)).value == pytest.approx(np.pi)


def test_a_ring_of_three_has_no_dihedral_from_an_atom_to_itself():
    data = dataset([molecule("cyclobutane"), molecule("C3H6_D3h")])
    found = dihedrals(data, bonds(data)).atoms
    assert (np.sort(found, axis=1)[:, 1:] != np.sort(found, axis=1)[:, :-1]).all()


def test_a_value_is_shared_linearly_between_two_centres():
    centres = np.array([1.0, 2.0, 4.0])
    found = _histograms(2, np.array([0, 0, 1, 1]), np.array([1.25, 3.0, 0.5, 9.0]), centres)
    assert found == pytest.approx(np.array([[0.75, 0.25 + 0.5, 0.5], [1.0, 0.0, 1.0]]))


def test_centres_are_the_extremes_of_the_distribution():
    random = np.random.default_rng(0)
    values = np.concatenate([random.normal(1.1, 0.05, 4000), random.normal(2.0, 0.05, 4000)])
    found = _centres(values, 0.02)
    inner = found[1:-1]
    assert found[[0, -1]] == pytest.approx([values.min(), values.max()])
    assert np.abs(inner - 1.1).min() < 0.03
    assert np.abs(inner - 2.0).min() < 0.03
    between = inner[(inner > 1.3) & (inner < 1.8)]
    assert len(between) <= 1  # the valley itself may be empty, and is then no centre


def test_histograms_of_a_structure_sum_to_its_tuples():
    data = dataset([molecule("CH3CH2OH"), molecule("H2O")])
    found = hdad(data, np.arange(2))
    # Atoms, distances, angles and dihedrals of both molecules.
    assert found.sum(axis=1) == pytest.approx([9 + 36 + 13 + 12, 3 + 3 + 1], rel=1e-6)


def test_combinations_that_training_lacks_are_left_out():
    data = dataset([molecule("H2O"), molecule("CH4")])
    assert hdad(data, np.array([0]))[1].sum() == pytest.approx(5 + 6)  # atoms, and H-H distances
