"""Labels as the user writes them, files that are no data, and stores."""

import ase
import ase.db
import ase.io
import numpy as np
import pytest
from ase.build import bulk
from reading import WATER, labels, refusal

from atomlens.data.dataset import Dataset
from atomlens.data.readers import LabelSource, parse_label, read_dataset, read_structures
from atomlens.data.store import write_store
from atomlens.errors import InputError


@pytest.mark.parametrize(
    ("text", "name", "key", "unit"),
    [
        ("energy=md17_energies:kcal/mol", "energy", "md17_energies", "kcal/mol"),
        ("forces=md17_forces:kcal/mol/Ang", "forces", "md17_forces", "kcal/mol/Ang"),
        ("energy=:kcal/mol", "energy", "energy", "kcal/mol"),
        ("energy:kcal/mol", "energy", "energy", "kcal/mol"),
        ("energy=U0", "energy", "U0", None),
        ("energy", "energy", "energy", None),
        (" energy = dft:pbe : eV ", "energy", "dft:pbe", "eV"),
    ],
)
def test_command_line_form(text, name, key, unit):
    assert parse_label(text) == (name, LabelSource(key, unit))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("enrgy=U0:Ha", "unknown quantity 'enrgy'; did you mean 'energy'?"),
        ("energy=U0:Hb", "unknown unit 'Hb' ('Hb' is not known); did you mean 'Ha'?"),
        ("forces=F:kcal/mol", "'kcal/mol' is not a unit of forces; give one like eV/Ang"),
        ("energy=U0:", "the label 'energy=U0:' has no unit after the colon; write NAME=KEY:UNIT"),
        ("", "unknown quantity ''"),
    ],
)
def test_wrong_forms(text, sentence):
    with pytest.raises(InputError) as caught:
        parse_label(text)
    assert str(caught.value).startswith(sentence)


def test_missing(tmp_path):
    assert refusal(tmp_path / "a.xyz") == "cannot be read (No such file or directory); check the path"


@pytest.mark.parametrize("name", ["a.xyz", "a.npz", "a.db", "a.json", "a.traj", "a.cif", "a.foo", "a"])
def test_empty(tmp_path, name):
    (tmp_path / name).touch()
    assert refusal(tmp_path / name) == "is empty; check how it was written"


@pytest.mark.parametrize(
    "name", ["a.npz", "a.db", "a.json", "a.traj", "a.cif", "a.foo", "a", "a.xyz", "POSCAR", "a.gz"]
)
@pytest.mark.parametrize("content", [b"\x00\xff\xfe garbage \x80" * 40, b"lorem ipsum dolor\n" * 20])
def test_garbage(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert refusal(tmp_path / name).startswith(("cannot be read", "is ", "structure 0: begins with"))


def test_folder(tmp_path):
    assert refusal(tmp_path).startswith("is a folder without header.json, so no atomlens store")


def test_name_with_an_at_sign(tmp_path):
    ase.io.write(tmp_path / "b.cif", bulk("Cu"))
    (tmp_path / "b.cif").rename(tmp_path / "a@b.cif")
    assert len(read_structures(tmp_path / "a@b.cif")) == 1


@pytest.fixture
def store(tmp_path):
    data = Dataset.from_arrays(
        np.ones(3, int), np.zeros((3, 3)), np.array([1, 2]), {"energy": np.ones(2), "forces": np.zeros((3, 3))}
    )
    write_store(data, tmp_path / "data")
    return tmp_path / "data"


def test_labels_come_with_their_units_and_stay_mapped(store):
    data = read_dataset(store)
    assert list(data.labels) == ["energy", "forces"]
    assert isinstance(data.positions, np.memmap)
    assert list(read_dataset(store, labels("energy:eV")).labels) == ["energy"]
    assert len(read_structures(store)) == 2


def test_wrong_wishes(store):
    assert refusal(store, "energy:Ha").startswith("states 'energy' in eV, not in Ha; leave the unit to the store")
    assert refusal(store, "energy=energies").endswith("(it has: energy, forces); did you mean 'energy'?")
    assert refusal(store, "energy=forces").startswith("'eV/Ang' is not a unit of energy")
    assert refusal(store, position_unit="bohr").startswith("is a store, with positions in Ang, not in bohr")


def test_damaged(store):
    (store / "positions.npy").write_bytes(b"")
    assert refusal(store).startswith("is a damaged store (positions.npy is truncated or altered")


def test_unknown_names_in_the_mapping_of_labels(tmp_path):
    (tmp_path / "a.xyz").write_text(f"3\n\n{WATER}")
    with pytest.raises(InputError, match=r"a\.xyz: unknown quantity 'enrgy'; did you mean 'energy'\?$"):
        read_dataset(tmp_path / "a.xyz", {"enrgy": LabelSource("energy", "eV")})
