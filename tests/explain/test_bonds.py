import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.collections import g2

from atomlens.data.bonds import bonded_pairs
from atomlens.data.dataset import Dataset
from atomlens.errors import InputError
from atomlens.explain.partition.bonds import coordination, data_environments, environments

# Bonded neighbours of elements with one valence.
USUAL = {"H": 1, "F": 1, "Cl": 1, "Si": 4, "Li": 1, "Na": 1}
UNUSUAL = {"SiO", "Si2", "SiH2_s1A1d", "SiH2_s3B1d", "SiH3"}  # silicon with fewer than four
ODD = {"ClF3": ("Cl", 3), "ClNO": ("Cl", 0)}  # ClNO: its Cl-N bond of 2.0 Å is that weak
BONDS = {
    "CH4": 4, "C2H6": 7, "C2H4": 5, "C2H2": 3, "C6H6": 12, "CH3CH2OH": 8, "H2O": 2, "NH3": 3, "CO2": 2, "HCN": 2,
    "cyclobutane": 12, "bicyclobutane": 11, "C5H8": 14, "C3H4_C3v": 6, "CH3COOH": 7, "CH3NO2": 6, "C5H5N": 11,
    "C4H4S": 9, "C2H6SO": 9, "SiF4": 4, "PF3": 3, "F2": 1, "Cl2": 1, "H2": 1, "O3": 2, "N2": 1, "H2O2": 3, "LiF": 1,
    "Na2": 1, "BF3": 3, "AlCl3": 3, "isobutane": 13, "2-butyne": 9, "butadiene": 9, "NCCN": 3,
}  # fmt: skip


def test_atoms_of_known_molecules_have_their_valences():
    judged = 0
    for name in sorted(set(g2.names) - UNUSUAL):
        atoms = molecule(name)
        for label in environments(atoms.numbers, atoms.positions) if len(atoms) > 1 else ():
            element, count = coordination(label)
            expected = ODD[name][1] if ODD.get(name, ("", 0))[0] == element else USUAL.get(element)
            assert expected is None or count == expected, (name, label)
            assert 1 <= count <= 4 or name in ODD, (name, label)
            judged += expected is not None
    assert judged > 450


@pytest.mark.parametrize(("name", "bonds"), BONDS.items())
def test_numbers_of_bonds_are_those_of_lewis_structures(name, bonds):
    atoms = molecule(name)
    assert len(bonded_pairs(atoms.numbers, atoms.positions)) == bonds


def test_bonds_are_pairs_in_rising_order():
    ethanol = molecule("CH3CH2OH")  # C of CH3, C of CH2, O, its H, the two H of CH2, the three of CH3
    pairs = bonded_pairs(ethanol.numbers, ethanol.positions).tolist()
    assert pairs == [[0, 1], [0, 6], [0, 7], [0, 8], [1, 2], [1, 4], [1, 5], [2, 3]]


def test_environments_name_the_element_and_its_sorted_neighbours():
    ethanol = molecule("CH3CH2OH")
    found = environments(ethanol.numbers, ethanol.positions)
    assert found == ["C(CH3)", "C(CH2O)", "O(CH)", "H(O)", "H(C)", "H(C)", "H(C)", "H(C)", "H(C)"]
    assert environments(np.array([2]), np.zeros((1, 3))) == ["He"]
    assert [coordination(name) for name in ("C(CH3)", "He", "C(C2Cl2)")] == [("C", 4), ("He", 0), ("C", 4)]


def test_a_bridged_ring_has_no_bond_across_it():
    # Two carbons 1.78 Å apart, as an ether's bridge holds them; a crowded bond of 1.66 Å is one.
    for distance, bonds in ((1.78, 0), (1.66, 1)):
        assert len(bonded_pairs(np.array([6, 6]), np.array([[0.0, 0, 0], [distance, 0, 0]]))) == bonds


def data_of(structures):
    return Dataset.from_arrays(
        np.concatenate([atoms.numbers for atoms in structures]),
        np.concatenate([atoms.positions for atoms in structures]),
        np.array([len(atoms) for atoms in structures]),
        {},
        cell=np.array([atoms.cell.array for atoms in structures]),
        pbc=np.array([atoms.pbc for atoms in structures]),
    )


def test_environments_of_a_data_set_stand_end_to_end():
    found = data_environments(data_of([molecule("H2O"), Atoms("He")]))
    assert found.tolist() == ["O(H2)", "H(O)", "H(O)", "He"]


def test_crystals_are_refused_by_their_place():
    with pytest.raises(InputError, match="is periodic, and bonds are looked for within one cell only") as caught:
        data_environments(data_of([molecule("H2O"), bulk("C")]))
    assert caught.value.structure == 1
