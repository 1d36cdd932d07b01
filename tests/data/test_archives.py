"""Numpy archives in both layouts, and each way in which one can be wrong."""

import json
import zipfile

import numpy as np
import pytest
from reading import BOHR, HA, labels, refusal

from atomlens.data.readers import read_dataset
from atomlens.errors import InputError


@pytest.fixture
def write(tmp_path):
    def save(**arrays):
        np.savez(tmp_path / "data.npz", **arrays)
        return tmp_path / "data.npz"

    return save


FLAT = {
    "n_atoms": np.array([1, 2], dtype=np.int32),
    "numbers": np.array([2, 1, 8], dtype=np.uint8),
    "positions": np.arange(9, dtype=np.float32).reshape(3, 3),
}
FRAMES = {"numbers": np.array([1, 8], dtype=np.uint8), "positions": np.arange(24.0).reshape(4, 2, 3)}


def test_flat_layout(write):
    path = write(**FLAT, U0=np.array([-1.0, -2.0]), F=np.ones((3, 3), dtype=np.float32))
    data = read_dataset(path, labels("energy=U0:Ha", "forces=F:Ha/bohr"))
    assert [system.numbers.tolist() for system in data] == [[2], [1, 8]]
    assert data.numbers.dtype == np.int64
    np.testing.assert_array_equal(data[1].positions, [[3, 4, 5], [6, 7, 8]])
    np.testing.assert_allclose(data.labels["energy"], [-HA, -2 * HA], rtol=1e-6)
    np.testing.assert_allclose(data.labels["forces"], HA / BOHR, rtol=1e-6)
    assert not data.pbc.any()
    assert data.metadata == {
        "source": str(path),
        "labels": {"energy": {"key": "U0", "unit": "Ha"}, "forces": {"key": "F", "unit": "Ha/bohr"}},
    }


def test_trajectory(write):
    forces = np.arange(24.0).reshape(4, 2, 3)
    path = write(**FRAMES, energies=np.arange(4.0)[:, None], forces=forces, q=np.arange(8.0).reshape(4, 2))
    data = read_dataset(path, labels("energy=energies:eV", "forces:eV/Ang", "charges=q:e"))
    assert len(data) == 4
    np.testing.assert_array_equal(data[2].numbers, [1, 8])
    np.testing.assert_array_equal(data[2].positions, FRAMES["positions"][2])
    np.testing.assert_array_equal(data.labels["energy"], np.arange(4.0))
    np.testing.assert_array_equal(data.labels["forces"][4:6], forces[2])
    np.testing.assert_array_equal(data.labels["charges"], np.arange(8.0))


def test_one_structure(write):
    path = write(numbers=np.array([1, 8]), positions=np.eye(3)[:2], energy=np.array(-1.0), dipole=np.ones(3))
    data = read_dataset(path, labels("energy:eV", "dipole:D"))
    assert len(data) == 1
    assert data.labels["energy"].tolist() == [-1.0]
    np.testing.assert_allclose(data.labels["dipole"], np.full((1, 3), 0.2081943), rtol=1e-6)


def test_a_cell_is_periodic_unless_pbc_says_otherwise(write):
    cell = np.stack([3 * np.eye(3), np.zeros((3, 3))])
    assert read_dataset(write(**FLAT, cell=cell)).pbc.tolist() == [[True] * 3, [False] * 3]
    pbc = np.array([True, True, False])
    assert read_dataset(write(**FLAT, cell=3 * np.eye(3), pbc=pbc)).pbc.tolist() == [pbc.tolist()] * 2


def test_charge_of_structures(write):
    assert read_dataset(write(**FLAT, charge=np.array([1, -1]))).charge.tolist() == [1.0, -1.0]
    assert read_dataset(write(**FLAT, total_charge=np.array(2.0))).charge.tolist() == [2.0, 2.0]


def test_stated_units_are_taken_without_asking(write):
    units = json.dumps({"energies": "Ha", "positions": "bohr", "index": "1"})
    path = write(**FRAMES, energies=np.ones(4), forces=np.ones((4, 2, 3)), units=np.array(units))
    data = read_dataset(path)
    assert list(data.labels) == ["energy"]
    np.testing.assert_allclose(data.labels["energy"], HA, rtol=1e-6)
    np.testing.assert_allclose(data.positions.ravel(), BOHR * np.arange(24.0), rtol=1e-6)
    np.testing.assert_array_equal(
        data.labels["energy"], read_dataset(path, labels("energy=energies:Eh")).labels["energy"]
    )


def test_nothing_stated_reads_structures_and_says_what_was_left(write):
    data = read_dataset(write(**FRAMES, energies=np.ones(4)))
    assert not data.labels
    with pytest.raises(InputError) as caught:
        data.require("energy")
    assert str(caught.value).endswith(
        "data.npz: has no label 'energy' (it has: none; not taken over: energies); "
        "name its key and unit, as in --label energy=KEY:eV"
    )


def test_unit_of_positions_by_the_user(write):
    path = write(**FRAMES, cell=np.eye(3))
    data = read_dataset(path, position_unit="bohr")
    np.testing.assert_allclose(data.positions.ravel(), BOHR * np.arange(24.0), rtol=1e-6)
    np.testing.assert_allclose(data.cell[0], BOHR * np.eye(3), rtol=1e-6)
    assert refusal(path, position_unit="eV").startswith("'eV' is not a unit of positions; give one like Ang")


def test_unit_not_stated(write):
    path = write(**FRAMES, energies=np.ones(4))
    assert refusal(path, "energy=energies") == (
        "does not state the unit of the label 'energy'; name it, as in --label energy=energies:eV"
    )


def test_contradicting_units(write):
    units = np.array(json.dumps({"energies": "Ha", "positions": "Ang"}))
    path = write(**FRAMES, energies=np.ones(4), units=units)
    assert refusal(path, "energy=energies:eV").startswith("states 'energies' in Ha, not in eV; leave the unit")
    assert refusal(path, position_unit="bohr").startswith("states the positions in Ang, not in bohr")
    read_dataset(path, position_unit="Å")


def test_unknown_unit_in_the_file(write):
    path = write(**FRAMES, energies=np.ones(4), units=np.array('{"energies": "hartre"}'))
    assert refusal(path).startswith("unknown unit 'hartre' ('hartre' is not known); did you mean 'Hartree'?")


@pytest.mark.parametrize("units", [np.array("eV"), np.array('["eV"]'), np.array('{"a": 1}'), np.array(["{}"])])
def test_units_in_another_form(write, units):
    assert refusal(write(**FRAMES, units=units)).startswith("'units' is not")


def test_absent_key(write):
    path = write(**FRAMES, energies=np.ones(4), index=np.arange(4))
    assert refusal(path, "energy=energy:eV") == (
        "has no entry 'energy' for the label 'energy' (it has: energies, index); did you mean 'energies'?"
    )


@pytest.mark.parametrize(
    ("label", "values", "needed"),
    [
        ("energy:eV", np.ones(3), "(4,)"),
        ("energy:eV", np.ones((4, 2)), "(4,)"),
        ("forces:eV/Ang", np.ones((4, 3)), "(8, 3)"),
        ("forces:eV/Ang", np.ones((3, 2, 3)), "(8, 3)"),
        ("dipole:D", np.ones(4), "(4, 3)"),
        ("stress:GPa", np.ones((4, 6)), "(4, 3, 3) is needed; six numbers have no stated order"),
    ],
)
def test_wrong_shape(write, label, values, needed):
    name = label.partition(":")[0]
    sentence = refusal(write(**FRAMES, **{name: values}), label)
    assert sentence.startswith(f"the label '{name}' (key '{name}') has shape {values.shape} where {needed}")


def test_one_structure_with_too_few_forces(write):
    path = write(numbers=np.array([1, 8]), positions=np.eye(3)[:2], forces=np.ones(3))
    assert "has shape (3,) where (2, 3) is needed" in refusal(path, "forces:eV/Ang")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"numbers": np.array([2.5, 1, 8])}, "'numbers' does not hold whole numbers"),
        ({"numbers": np.array([np.inf, 1, 8])}, "'numbers' does not hold whole numbers"),
        ({"numbers": np.array(["He", "H", "O"])}, "'numbers' does not hold whole numbers"),
        ({"numbers": np.array([[2, 1, 8]])}, "'numbers' has shape (1, 3)"),
        ({"numbers": np.array([2, 1, 119])}, "structure 1, atom 1: atomic number 119 is not between 1 and 118"),
        ({"n_atoms": np.array([1, 1])}, "'n_atoms' does not add up to the 3 atoms of 'numbers'"),
        ({"n_atoms": np.array([4, -1])}, "'n_atoms' does not add up to the 3 atoms of 'numbers'"),
        ({"n_atoms": np.array([3, 0])}, "structure 1: has no atoms"),
        ({"positions": np.zeros((3, 2))}, "'positions' has shape (3, 2) where (3, 3) is needed"),
        ({"positions": np.array([["a"] * 3] * 3)}, "'positions' holds <U1, not numbers"),
        ({"positions": np.full((3, 3), np.nan)}, "structure 0, atom 0: the position of this He is not finite"),
        ({"cell": np.zeros((3, 3)), "pbc": np.array([True] * 3)}, "structure 0: is marked periodic but has no"),
        ({"cell": np.ones((2, 3, 3))}, "structure 0: the cell is singular"),
        ({"cell": np.ones((5, 3, 3))}, "'cell' holds float64 (5, 3, 3) where (2, 3, 3) is needed"),
        ({"charge": np.array([0, np.nan])}, "structure 1: the charge is not a finite number"),
        ({"metadata": np.array("[]")}, "'metadata' is not a JSON object"),
    ],
)
def test_bad_structures(write, changes, sentence):
    assert refusal(write(**{**FLAT, **changes})).startswith(sentence)


def test_no_structures(write):
    path = write(n_atoms=np.zeros(0, int), numbers=np.zeros(0, int), positions=np.zeros((0, 3)), energy=np.zeros(0))
    assert refusal(path, "energy:eV").startswith("holds no structures")


def test_infinite_label(write):
    path = write(**FLAT, forces=np.array([[0, 0, 0], [0, 0, 0], [0, np.inf, 0]]))
    assert refusal(path, "forces:eV/Ang").startswith("structure 1, atom 1: the label 'forces' is infinite")


def test_missing_arrays(write):
    assert refusal(write(energy=np.ones(3))).startswith("has no entry 'numbers' (it has: energy)")
    assert refusal(write(numbers=np.ones(3, int))).startswith("has no entry 'positions' (it has: numbers)")


def test_pickles_are_never_read(write):
    path = write(**FLAT, extra=np.array([{"a": 1}], dtype=object))
    assert refusal(path) == "holds pickled objects, which are never read; save plain arrays"


def test_zip_archives_of_other_files(write):
    path = write(**FLAT)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("notes.txt", "no array")
    assert refusal(path) == "holds 'notes.txt', which is no array; write it with numpy.savez"


@pytest.mark.parametrize("keep", [0.3, 0.9, 0.999])
def test_truncated(write, keep):
    path = write(**FLAT)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole))])
    assert refusal(path).startswith("is not a whole numpy archive (.npz); it may be truncated")


def test_damaged_inside(write):
    path = write(**FLAT)
    damaged = bytearray(path.read_bytes())
    place = damaged.index(b"NUMPY") + 130
    damaged[place] ^= 0xFF
    path.write_bytes(bytes(damaged))
    assert "has a damaged entry" in refusal(path)


def test_other_content(write):
    path = write(**FLAT)
    path.write_text("3\nno archive\n")
    assert refusal(path).startswith("is not a whole numpy archive")
