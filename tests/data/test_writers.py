"""Everything that is written reads back; what other programs find in the files."""

import json

import ase.io
import numpy as np
import pytest
from ase.build import bulk, molecule
from reading import labels

from atomlens.data.dataset import Dataset
from atomlens.data.readers import read_dataset, read_structures
from atomlens.data.store import is_store
from atomlens.data.system import AtomicSystem
from atomlens.data.writers import WRITERS, write_dataset, write_predictions
from atomlens.errors import InputError

FORMATS = ["a.xyz", "a.extxyz", "a.npz", "a.json"]
# ASE writes eight decimals of what stands in columns.
DECIMALS = 0.51e-8


@pytest.fixture
def structures():
    ion = molecule("CH3CH2OH")
    ion.info["charge"] = -1.0
    slab = bulk("Cu", cubic=True)
    slab.pbc = [True, True, False]
    crystal = bulk("NaCl", "rocksalt", 5.64)
    crystal.rattle(0.1, seed=1)
    return [ion, crystal, AtomicSystem.from_ase(slab), molecule("H")]


@pytest.fixture
def predictions(structures):
    """As `Model.predict` gives them: stress only where a structure is periodic in three directions."""
    rng = np.random.default_rng(0)
    found = []
    for atoms in structures:
        count = len(atoms.numbers)
        found.append(
            {
                "energy": np.array(rng.normal() * 1e-5),
                "atom_energies": rng.normal(size=count).astype(np.float32),
                "forces": rng.normal(size=(count, 3)),
            }
        )
    stress = rng.normal(size=(3, 3)) * 1e-3
    found[1]["stress"] = stress + stress.T
    return found


@pytest.mark.parametrize("name", FORMATS)
def test_predictions_read_back(tmp_path, structures, predictions, name):
    write_predictions(tmp_path / name, structures, predictions)
    data = read_dataset(tmp_path / name)
    assert list(data.labels) == ["energy", "forces", "stress", "atom_energies"]
    for index, (atoms, values) in enumerate(zip(structures, predictions, strict=True)):
        system, rows = data[index], slice(*data.offsets[index : index + 2])
        np.testing.assert_array_equal(system.numbers, atoms.numbers)
        np.testing.assert_allclose(system.positions, atoms.positions, atol=DECIMALS, rtol=0)
        np.testing.assert_array_equal(system.cell, np.array(atoms.cell))
        np.testing.assert_array_equal(system.pbc, atoms.pbc)
        assert data.labels["energy"][index] == values["energy"]
        np.testing.assert_array_equal(data.labels["stress"][index], values.get("stress", np.full((3, 3), np.nan)))
        for key in ("forces", "atom_energies"):
            np.testing.assert_allclose(data.labels[key][rows], values[key], atol=DECIMALS, rtol=0)
    assert data.charge.tolist() == [-1.0, 0.0, 0.0, 0.0]
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", FORMATS)
def test_units_stand_in_the_file(tmp_path, structures, predictions, name):
    write_predictions(tmp_path / name, structures, predictions)
    with pytest.raises(InputError, match=r"states 'energy' in eV, not in Ha"):
        read_dataset(tmp_path / name, labels("energy:Ha"))
    with pytest.raises(InputError, match=r"states the positions in Ang, not in bohr"):
        read_structures(tmp_path / name, position_unit="bohr")


@pytest.mark.parametrize("name", ["a.npz", "a.json"])
def test_exact_formats_are_exact(tmp_path, structures, predictions, name):
    write_predictions(tmp_path / name, structures, predictions)
    data = read_dataset(tmp_path / name)
    np.testing.assert_array_equal(data.positions, np.concatenate([atoms.positions for atoms in structures]))
    np.testing.assert_array_equal(data.labels["forces"], np.concatenate([values["forces"] for values in predictions]))


def test_ase_finds_results_in_extended_xyz(tmp_path, structures, predictions):
    write_predictions(tmp_path / "a.xyz", structures, predictions)
    frames = ase.io.read(tmp_path / "a.xyz", index=":")
    for atoms, values in zip(frames, predictions, strict=True):
        assert atoms.get_potential_energy() == values["energy"]
        np.testing.assert_allclose(atoms.get_forces(), values["forces"], atol=DECIMALS, rtol=0)
        np.testing.assert_allclose(atoms.arrays["atom_energies"], values["atom_energies"], atol=DECIMALS, rtol=0)
    np.testing.assert_array_equal(frames[1].get_stress(voigt=False), predictions[1]["stress"])
    assert "stress" not in frames[0].calc.results


def test_json_is_plain(tmp_path, structures, predictions):
    predictions[0]["energy"] = np.array(np.inf)
    write_predictions(tmp_path / "a.json", structures, predictions)
    values = json.loads((tmp_path / "a.json").read_text(), parse_constant=pytest.fail)
    assert values["units"] == {
        "positions": "Ang",
        "energy": "eV",
        "atom_energies": "eV",
        "forces": "eV/Ang",
        "stress": "eV/Ang^3",
    }
    assert [entry["formula"] for entry in values["structures"]] == ["C2H6O", "ClNa", "Cu4", "H"]
    assert values["structures"][0]["energy"] is None
    assert "cell" not in values["structures"][0]
    assert values["structures"][1]["forces"] == predictions[1]["forces"].tolist()


def test_predictions_of_no_structures(tmp_path):
    for name in FORMATS:
        write_predictions(tmp_path / name, [], [])
    assert json.loads((tmp_path / "a.json").read_text())["structures"] == []


def test_an_existing_file_is_replaced_whole(tmp_path, structures, predictions):
    (tmp_path / "a.xyz").write_text("old")
    write_predictions(tmp_path / "a.xyz", structures, predictions)
    assert len(read_structures(tmp_path / "a.xyz")) == 4


@pytest.mark.parametrize(
    ("name", "writer"),
    [
        ("a.xyz", "atomlens.data.writers.extended_xyz.write_extxyz"),
        ("a.npz", "numpy.lib.format.write_array"),
        ("a.json", "json.dumps"),
    ],
)
def test_a_crash_while_writing_leaves_the_old_file(tmp_path, structures, predictions, monkeypatch, name, writer):
    def fail(*_, **__):
        raise OSError("no space left")

    (tmp_path / name).write_text("old")
    monkeypatch.setattr(writer, fail)
    with pytest.raises(OSError, match="no space left"):
        write_predictions(tmp_path / name, structures, predictions)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "old"


@pytest.mark.parametrize(
    ("name", "hint"),
    [("a.xzy", "did you mean '.xyz'?"), ("a", "known are .extxyz, .json, .npz, .xyz"), ("a.csv", "known are")],
)
def test_unknown_suffix(tmp_path, structures, predictions, name, hint):
    with pytest.raises(InputError) as caught:
        write_predictions(tmp_path / name, structures, predictions)
    assert str(caught.value).startswith(f"{tmp_path / name}: the suffix '")
    assert hint in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_unknown_quantity(tmp_path, structures):
    with pytest.raises(InputError, match="unknown quantity 'enrgy'; did you mean 'energy'"):
        write_predictions(tmp_path / "a.xyz", structures[:1], [{"enrgy": np.array(1.0)}])


def test_prediction_of_another_structure(tmp_path, structures):
    with pytest.raises(InputError, match=r"^structure 1: 'forces' has shape \(3,\) where \(2, 3\) is needed"):
        write_predictions(tmp_path / "a.xyz", structures[:2], [{}, {"forces": np.ones(3)}])


@pytest.fixture
def data():
    energy = np.array([-1.0, np.nan, -3.0])
    charges = np.array([0.1, -0.1, np.nan, np.nan, 0.3])
    return Dataset.from_arrays(
        np.array([1, 8, 6, 6, 2]),
        np.random.default_rng(0).normal(size=(5, 3)),
        np.array([2, 2, 1]),
        {"energy": energy, "charges": charges, "dipole": np.arange(9.0).reshape(3, 3)},
        charge=np.array([0, 1, -1]),
        metadata={"level": "GFN2-xTB"},
    )


@pytest.mark.parametrize("name", ["a.npz", "a.json", "store", "a.store"])
def test_exact_round_trip_of_a_data_set(tmp_path, data, name):
    write_dataset(data, tmp_path / name)
    read = read_dataset(tmp_path / name)
    assert read.hash == data.hash
    assert read.metadata["level"] == "GFN2-xTB"
    assert is_store(tmp_path / name) == ("store" in name)


@pytest.mark.parametrize("name", FORMATS)
def test_labels_that_are_not_known_stay_so(tmp_path, data, name):
    write_dataset(data, tmp_path / name)
    read = read_dataset(tmp_path / name)
    for key in ("energy", "charges", "dipole"):
        np.testing.assert_allclose(read.labels[key], data.labels[key], atol=DECIMALS, rtol=0)
    assert read.charge.tolist() == [0, 1, -1]


@pytest.mark.parametrize("name", FORMATS)
def test_a_data_set_without_labels(tmp_path, data, name):
    bare = Dataset.from_arrays(data.numbers, data.positions, data.n_atoms, {})
    write_dataset(bare, tmp_path / name)
    assert not read_dataset(tmp_path / name).labels
    assert len(read_structures(tmp_path / name)) == 3


def test_every_written_format_is_tested():
    assert {f".{name.partition('.')[2]}" for name in FORMATS} == set(WRITERS)


def test_damaged_json_is_named(tmp_path, data):
    path = tmp_path / "a.json"
    write_dataset(data, path)
    values = json.loads(path.read_text())

    def sentence(change):
        altered = json.loads(json.dumps(values))
        change(altered)
        path.write_text(json.dumps(altered))
        with pytest.raises(InputError) as caught:
            read_dataset(path)
        return str(caught.value).removeprefix(str(path)).lstrip(":, ")

    entries = "structures"
    assert sentence(lambda v: v[entries][1].pop("numbers")).startswith(
        "structure 1: cannot be read (KeyError('numbers'))"
    )
    assert sentence(lambda v: v[entries][1]["positions"].pop()).startswith("structure 1: cannot be read (ValueError(")
    assert sentence(lambda v: v[entries][1]["positions"][1].__setitem__(2, None)).startswith(
        "structure 1, atom 1: the pos"
    )
    assert sentence(lambda v: v[entries][2].update(dipole=[1, 2])).startswith(
        "structure 2: the label 'dipole' (key 'dipole')"
    )
    assert sentence(lambda v: v[entries].__setitem__(0, 3)).startswith("structure 0: cannot be read")
    assert sentence(lambda v: v.update(structures={})).startswith("'units' is no object or 'structures' no list")
    assert sentence(lambda v: v.update(structures=[])).startswith("holds no structures")
    assert sentence(lambda v: v.update(format_version=2)).startswith("has format version 2, this atomlens reads 1")
    path.write_text(path.read_text()[:-20])
    with pytest.raises(InputError, match=r"a\.json: is not valid JSON"):
        read_dataset(path)
