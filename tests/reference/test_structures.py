"""Names, files and SMILES strings as structures; wrong ones as one clear sentence."""

import sys

import ase.io
import numpy as np
import pytest
from ase.build import molecule
from ase.collections import g2

from atomlens.errors import InputError
from atomlens.reference.molecule import describe
from atomlens.reference.structures import ALIASES, resolve_structure

# Formulas written by hand, not taken from ASE.
FORMULAS = {
    "ethanol": "C2H6O", "water": "H2O", "methane": "CH4", "benzene": "C6H6", "methanol": "CH4O", "ammonia": "H3N",
    "acetic acid": "C2H4O2", "acetone": "C3H6O", "formaldehyde": "CH2O", "pyridine": "C5H5N", "formic acid": "CH2O2",
    "acetaldehyde": "C2H4O", "acetamide": "C2H5NO", "acetonitrile": "C2H3N", "acetylene": "C2H2", "ethyne": "C2H2",
    "acrylonitrile": "C3H3N", "allene": "C3H4", "aziridine": "C2H5N", "butane": "C4H10", "carbon dioxide": "CO2",
    "carbon monoxide": "CO", "chloroform": "CHCl3", "cyclopropane": "C3H6", "cyclopropene": "C3H4",
    "dichloromethane": "CH2Cl2", "dimethyl ether": "C2H6O", "dimethyl sulfoxide": "C2H6OS", "dmso": "C2H6OS",
    "dimethylamine": "C2H7N", "ethane": "C2H6", "ethanethiol": "C2H6S", "ethene": "C2H4", "ethylene": "C2H4",
    "ethylamine": "C2H7N", "ethylene oxide": "C2H4O", "oxirane": "C2H4O", "furan": "C4H4O", "glyoxal": "C2H2O2",
    "hydrazine": "H4N2", "hydrogen": "H2", "hydrogen cyanide": "CHN", "hydrogen peroxide": "H2O2",
    "hydrogen sulfide": "H2S", "isopropanol": "C3H8O", "ketene": "C2H2O", "methanethiol": "CH4S",
    "methyl formate": "C2H4O2", "methylamine": "CH5N", "nitrogen": "N2", "nitromethane": "CH3NO2", "oxygen": "O2",
    "ozone": "O3", "propane": "C3H8", "propene": "C3H6", "propyne": "C3H4", "pyrrole": "C4H5N", "silane": "H4Si",
    "spiropentane": "C5H8", "thiophene": "C4H4S", "trimethylamine": "C3H9N",
}  # fmt: skip


@pytest.mark.parametrize("name", ALIASES)
def test_a_common_name_has_the_formula_of_that_substance(name):
    assert resolve_structure(name).atoms.get_chemical_formula(mode="hill") == FORMULAS[name]


def _bonds(atoms):
    """How many bonded pairs of each two elements; bonded: nearer than 1.3 times the sum of the covalent radii."""
    from ase.data import covalent_radii

    distances = atoms.get_all_distances()
    reach = 1.3 * (covalent_radii[atoms.numbers][:, None] + covalent_radii[atoms.numbers])
    pairs = np.argwhere(np.triu(distances < reach, 1))
    names = ["".join(sorted(atoms[int(i)].symbol + atoms[int(j)].symbol)) for i, j in pairs]
    return {name: names.count(name) for name in names}


@pytest.mark.parametrize(
    ("name", "bonds"),
    [  # isomers share a formula, not their bonds
        ("ethanol", {"CC": 1, "CO": 1, "CH": 5, "HO": 1}),
        ("dimethyl ether", {"CO": 2, "CH": 6}),
        ("acetic acid", {"CC": 1, "CO": 2, "CH": 3, "HO": 1}),
        ("methyl formate", {"CO": 3, "CH": 4}),
        ("isopropanol", {"CC": 2, "CO": 1, "CH": 7, "HO": 1}),
        ("propene", {"CC": 2, "CH": 6}),
        ("cyclopropane", {"CC": 3, "CH": 6}),
        ("propyne", {"CC": 2, "CH": 4}),
        ("cyclopropene", {"CC": 3, "CH": 4}),
        ("ethylamine", {"CC": 1, "CN": 1, "CH": 5, "HN": 2}),
        ("dimethylamine", {"CN": 2, "CH": 6, "HN": 1}),
        ("acetaldehyde", {"CC": 1, "CO": 1, "CH": 4}),
        ("oxirane", {"CC": 1, "CO": 2, "CH": 4}),
    ],
)
def test_a_common_name_is_the_right_isomer(name, bonds):
    assert _bonds(resolve_structure(name).atoms) == bonds


def test_propene_and_allene_are_told_from_their_isomers_by_their_bond_lengths():
    def carbon_carbon(name):
        atoms = resolve_structure(name).atoms
        carbons = [atom.index for atom in atoms if atom.symbol == "C"]
        distances = atoms.get_all_distances()[np.ix_(carbons, carbons)]
        return sorted(distances[np.triu_indices(3, 1)])[:2]

    assert carbon_carbon("allene") == pytest.approx([1.31, 1.31], abs=0.02)  # two double bonds
    assert carbon_carbon("propyne") == pytest.approx([1.21, 1.46], abs=0.02)  # a triple and a single one


@pytest.mark.parametrize("text", ["Ethanol", "  ethanol ", "CH3CH2OH"])
def test_names_are_read_generously_and_formulas_exactly(text):
    assert resolve_structure(text).atoms.get_chemical_formula() == molecule("CH3CH2OH").get_chemical_formula()


@pytest.mark.parametrize("name", g2.names)
def test_every_g2_name_is_a_structure_with_a_possible_multiplicity(name):
    atoms = resolve_structure(name).atoms
    assert (atoms.numbers.sum() - describe(atoms)["multiplicity"] + 1) % 2 == 0


def test_oxygen_is_a_triplet():
    assert resolve_structure("oxygen").atoms.info["multiplicity"] == 3


def test_an_ambiguous_formula_says_how_to_mean_smiles():
    found = resolve_structure("CO")
    assert found.atoms.get_chemical_formula() == "CO"
    assert "smiles:CO" in found.source


def test_a_file_is_read_and_its_last_structure_taken(tmp_path):
    frames = [molecule("H2O"), molecule("NH3")]
    frames[1].info["charge"] = 1
    path = tmp_path / "two of them.xyz"
    ase.io.write(path, frames, format="extxyz")
    found = resolve_structure(str(path))
    assert found.name == "two-of-them"
    np.testing.assert_allclose(found.atoms.positions, frames[1].positions, atol=1e-7)  # digits of the format
    assert found.atoms.info["charge"] == 1
    assert "last of its 2" in found.source


def test_a_charge_that_is_no_number_is_refused(tmp_path):
    path = tmp_path / "ion.xyz"
    path.write_text("1\nProperties=species:S:1:pos:R:3 charge=plus\nH 0 0 0\n")
    with pytest.raises(InputError, match="not a finite number"):
        resolve_structure(str(path))


def test_a_file_comes_before_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ase.io.write("water", molecule("NH3"), format="xyz")
    assert resolve_structure("water").atoms.get_chemical_formula() == "H3N"


@pytest.mark.parametrize(
    ("content", "problem"), [("", "read"), ("not a structure\n", "read"), ("1\n\nH 0 0 nan\n", "finite")]
)
def test_a_broken_file_is_named(tmp_path, content, problem):
    path = tmp_path / "broken.xyz"
    path.write_text(content)
    with pytest.raises(InputError, match=problem) as error:
        resolve_structure(str(path))
    assert error.value.file == str(path)


@pytest.mark.parametrize("text", ["nowhere.xyz", "./nowhere", "../nowhere", "/no/where", "structures/nowhere.cif"])
def test_a_missing_file_is_called_missing(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="does not exist") as error:
        resolve_structure(text)
    assert error.value.file == text


def test_a_folder_is_no_structure(tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        resolve_structure(str(tmp_path))


def test_nothing_is_no_structure():
    with pytest.raises(InputError, match="no structure is given"):
        resolve_structure("  ")


def test_without_rdkit_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "rdkit", None)
    with pytest.raises(InputError, match=r"did you mean 'ethanol'.*pip install 'atomlens\[rdkit\]'"):
        resolve_structure("ethanoll")


class TestSmiles:
    @pytest.fixture(autouse=True)
    def _rdkit(self):
        pytest.importorskip("rdkit", reason="SMILES need the extra atomlens[rdkit]")

    @pytest.mark.parametrize(
        ("smiles", "formula", "bonds"),
        [
            ("CC=O", "C2H4O", {"CC": 1, "CO": 1, "CH": 4}),
            ("Cc1ccccc1", "C7H8", {"CC": 7, "CH": 8}),
            ("F/C=C/F", "C2H2F2", {"CC": 1, "CF": 2, "CH": 2}),
            ("smiles:CO", "CH4O", {"CO": 1, "CH": 3, "HO": 1}),
        ],
    )
    def test_a_smiles_string_becomes_a_molecule_with_its_bonds(self, smiles, formula, bonds):
        atoms = resolve_structure(smiles).atoms
        assert atoms.get_chemical_formula(mode="hill") == formula
        assert _bonds(atoms) == bonds

    @pytest.mark.parametrize(("smiles", "charge"), [("C[NH3+]", 1), ("CC(=O)[O-]", -1), ("[O-]S(=O)(=O)[O-]", -2)])
    def test_formal_charges_are_the_total_charge(self, smiles, charge):
        assert resolve_structure(smiles).atoms.info["charge"] == charge

    def test_the_same_string_gives_the_same_positions(self):
        first, second = (resolve_structure("CC(N)C(=O)O").atoms.positions for _ in range(2))
        np.testing.assert_array_equal(first, second)

    def test_names_are_safe_for_folders_and_differ(self):
        names = {resolve_structure(smiles).name for smiles in ("CC(=O)N", "CC(=N)O", "CC(#N)", "C/C=C/C", "C/C=C\\C")}
        assert len(names) == 5
        assert all(set(name) <= set("CNO-0123456789abcdef") for name in names)

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("ethanoll", "did you mean 'ethanol'"),
            ("C1CC", "no valid SMILES"),
            ("C(C)(C)(C)(C)C", "no valid SMILES"),
            ("some/where", "is no file"),
            ("smiles:", "empty"),
            ("O.O", "separate molecules"),
        ],
    )
    def test_an_unreadable_string_is_one_sentence_and_nothing_else(self, text, problem, capfd):
        with pytest.raises(InputError, match=problem):
            resolve_structure(text)
        assert capfd.readouterr() == ("", "")
