"""Extended XYZ, and each way in which a structure in it can be wrong."""

import gzip

import ase
import ase.db
import ase.io
import numpy as np
import pytest
from ase.build import bulk, molecule
from reading import BOHR, HA, WATER, labelled, labels, refusal

from atomlens.data.readers import read_dataset, read_structures
from atomlens.errors import InputError


@pytest.fixture
def write(tmp_path):
    def save(text, name="a.xyz"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return save


def test_plain_xyz(write):
    systems = read_structures(write(f"3\ncomment\n{WATER}3\n\n{WATER}\n\n"))
    assert [system.formula for system in systems] == ["H2O", "H2O"]
    np.testing.assert_array_equal(systems[0].positions[1], [0.96, 0, 0])


def test_blank_lines_between_structures_end_nothing(write):
    assert len(read_structures(write(f"3\n\n{WATER}\n\n3\n\n{WATER}"))) == 2


def test_compressed(tmp_path):
    with gzip.open(tmp_path / "a.xyz.gz", "wt") as file:
        file.write(f"3\n\n{WATER}")
    assert len(read_structures(tmp_path / "a.xyz.gz")) == 1


def test_labels_wherever_ase_puts_them(write):
    atoms = bulk("Cu", cubic=True)
    frame = labelled(atoms, energy=-3.0, forces=np.ones((4, 3)), stress=np.arange(1.0, 7.0))
    frame.info["REF_energy"] = -1e-05
    frame.arrays["q"] = np.arange(4.0)
    path = write("")
    ase.io.write(path, [frame, frame], format="extxyz")
    data = read_dataset(path, labels("energy:Ha", "forces:Ha/bohr", "stress:GPa", "charges=q:e"))
    np.testing.assert_allclose(data.labels["energy"], -3 * HA, rtol=1e-6)
    np.testing.assert_allclose(data.labels["forces"], HA / BOHR, rtol=1e-6)
    expected = np.array([[1, 6, 5], [6, 2, 4], [5, 4, 3]]) * 6.241509e-3
    np.testing.assert_allclose(data.labels["stress"], [expected, expected], rtol=1e-6)
    np.testing.assert_array_equal(data.labels["charges"], [0, 1, 2, 3] * 2)
    assert data.pbc.all()
    # Not 0: some of ASE's parsers take numbers without a point for whole ones.
    assert read_dataset(path, labels("energy=REF_energy:eV")).labels["energy"].tolist() == [-1e-05] * 2


def test_per_atom_column_energies_is_no_energy(write):
    path = write("")
    ase.io.write(path, labelled(molecule("H2O"), energy=-3.0, energies=np.array([1.0, 2.0, 3.0])), format="extxyz")
    data = read_dataset(path, labels("energy:eV", "atom_energies:eV"))
    np.testing.assert_array_equal(data.labels["atom_energies"], [1, 2, 3])


def test_units_are_not_assumed(write):
    path = write("")
    ase.io.write(path, labelled(molecule("H2O"), energy=-3.0), format="extxyz")
    assert not read_dataset(path).labels
    assert refusal(path, "energy") == (
        "does not state the unit of the label 'energy'; name it, as in --label energy=energy:eV"
    )


def test_stated_units(write):
    comment = 'units="positions=Ang energy=Ha" energy=-1.0'
    data = read_dataset(write(f"3\n{comment}\n{WATER}"))
    np.testing.assert_allclose(data.labels["energy"], [-HA], rtol=1e-6)
    assert refusal(write(f"3\n{comment}\n{WATER}"), "energy:eV").startswith("states 'energy' in Ha, not in eV")
    np.testing.assert_allclose(
        read_dataset(write(f"3\nunits=energy=Ha energy=-1\n{WATER}")).labels["energy"], [-HA], rtol=1e-6
    )


def test_other_text_under_units_states_nothing(write):
    assert not read_dataset(write(f"3\nunits=metal energy=-1.0\n{WATER}")).labels


def test_structures_in_different_units(write):
    first, second = (f"3\nenergy=-1.0 {units}\n{WATER}" for units in ("units=energy=eV", "units=energy=Ha"))
    assert refusal(write(first + second)).startswith(
        "structure 1: states 'energy' in Ha, the structures before it in eV"
    )
    assert refusal(write(first + f"3\nenergy=-1.0\n{WATER}")).startswith("structure 1: states 'energy' in no unit")
    assert len(read_dataset(write(first + f"3\nenergy=-1.0 units=energy=ev\n{WATER}")).labels["energy"]) == 2


def test_structures_without_the_label_get_nan(write):
    data = read_dataset(write(f"3\nenergy=-1.0\n{WATER}3\n\n{WATER}3\nenergy=nan\n{WATER}"), labels("energy:eV"))
    np.testing.assert_array_equal(data.labels["energy"], [-1.0, np.nan, np.nan])
    with pytest.raises(InputError, match=r"a\.xyz, structure 1: the label 'energy' is missing"):
        data.require("energy")


def test_charge(write):
    assert read_structures(write(f"3\ncharge=-1\n{WATER}"))[0].charge == -1.0
    assert refusal(write(f"3\ncharge=minus\n{WATER}")).startswith("structure 0: the charge 'minus' is not a finite")


@pytest.mark.parametrize("unit", ["bohr", "a0"])
def test_positions_in_bohr(write, unit):
    systems = read_structures(write(f"3\n\n{WATER}"), position_unit=unit)
    np.testing.assert_allclose(systems[0].positions[1], [0.96 * BOHR, 0, 0], rtol=1e-6)


BAD = {
    "truncated": ("5\n\n" + WATER, "structure 1: has 3 of its 5 atoms: the file is truncated"),
    "only a count": ("3\n", "structure 1: has 0 of its 3 atoms: the file is truncated"),
    "too few atoms": (f"4\n\n{WATER}3\n\n{WATER}", "structure 1, atom 3: the line '3' cannot be read"),
    "too many atoms": (f"2\n\n{WATER}", "structure 2: begins with 'H -0.24 0.93 0', not with its number of atoms"),
    "no atoms": ("0\n\n", "structure 1: begins with '0', not with its number of atoms"),
    "no number": ("2\n\nH 0 0 0\nH 0 x 1\n", "structure 1, atom 1: the line 'H 0 x 1' cannot be read"),
    "too few numbers": ("2\n\nH 0 0 0\nH 0 1\n", "structure 1, atom 1: the line 'H 0 1' cannot be read"),
    "unknown element": ("2\n\nXy 0 0 0\nH 0 0 1\n", "structure 1, atom 0: the line 'Xy 0 0 0' cannot be read"),
    "dummy atom": ("2\n\nH 0 0 0\nX 0 0 1\n", "structure 1, atom 1: atomic number 0 is not between 1 and 118"),
    "nan": ("2\n\nH 0 0 0\nO 0 nan 1\n", "structure 1, atom 1: the position of this O is not finite"),
    "infinite": ("2\n\nH 0 0 0\nO 0 0 inf\n", "structure 1, atom 1: the position of this O is not finite"),
    "comment": (f'3\nLattice="1 2"\n{WATER}', "structure 1: cannot be read as extended XYZ (Got info item Lattice"),
    "columns": (
        f"3\nProperties=species:S:1:pos:R:3:forces:R:3\n{WATER}",
        "structure 1: cannot be read as extended",
    ),
    "no cell": (f'3\npbc="T T T"\n{WATER}', "structure 1: is marked periodic but has no lattice vector for it"),
    "singular": (f'3\nLattice="1 0 0 0 1 0 1 1 0"\n{WATER}', "structure 1: the cell is singular"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_structure_is_named(write, case):
    text, sentence = BAD[case]
    assert refusal(write(f"3\n\n{WATER}{text}")).startswith(sentence)


@pytest.mark.parametrize(
    ("comment", "label", "sentence"),
    [
        (
            "dipole='1 2'",
            "dipole:D",
            "the label 'dipole' (key 'dipole') is of shape (2,) where numbers of shape (3,)",
        ),
        ("E=low", "energy=E:eV", "the label 'energy' (key 'E') is 'low' where numbers of shape () are needed"),
        ("E=T", "energy=E:eV", "the label 'energy' (key 'E') is True where numbers"),
        (
            "E='1 2 3'",
            "forces=E:eV/Ang",
            "the label 'forces' (key 'E') is of shape (3,) where numbers of shape (3, 3)",
        ),
        ("E=inf", "energy=E:eV", "the label 'energy' is infinite"),
    ],
)
def test_wrong_label_is_named(write, comment, label, sentence):
    good = "dipole='1 2 3' E=1.0" if not label.startswith("forces") else ""
    first = f"3\n{good}\n{WATER}"
    assert refusal(write(f"{first}3\n{comment}\n{WATER}"), label).startswith(f"structure 1: {sentence}")


def test_absent_key(write):
    assert refusal(write(f"3\nenergy_pbe=1.0\n{WATER}"), "energy=energy_pb:eV").endswith(
        "(it has: energy_pbe); did you mean 'energy_pbe'?"
    )
    assert refusal(write(f"3\n\n{WATER}"), "energy:eV") == (
        "has no entry 'energy' for the label 'energy' (it has: none); add it, or use another file"
    )
