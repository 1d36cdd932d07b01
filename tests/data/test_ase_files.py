"""ASE databases and other files that ASE reads."""

import ase
import ase.db
import ase.io
import numpy as np
import pytest
from ase.build import bulk, molecule
from reading import BOHR, HA, labelled, labels, refusal

from atomlens.data.readers import read_dataset, read_structures


@pytest.mark.parametrize("name", ["a.db", "a.json"])
def test_slots_are_in_the_units_that_ase_defines(tmp_path, name):
    with ase.db.connect(tmp_path / name) as database:
        database.write(labelled(molecule("H2O"), energy=-3.0, forces=np.ones((3, 3)), dipole=np.ones(3)), gap=1.0)
        database.write(labelled(bulk("Cu"), energy=-4.0, stress=np.arange(6.0)), data={"total_charge": 1.0})
    data = read_dataset(tmp_path / name)
    assert list(data.labels) == ["energy", "forces", "stress", "dipole"]
    assert data.labels["energy"].tolist() == [-3.0, -4.0]
    np.testing.assert_array_equal(np.isnan(data.labels["forces"][:, 0]), [False] * 3 + [True])
    np.testing.assert_array_equal(data.labels["stress"][1], [[0, 5, 4], [5, 1, 3], [4, 3, 2]])
    assert data.pbc.tolist() == [[False] * 3, [True] * 3]
    assert data.charge.tolist() == [0.0, 1.0]
    assert refusal(tmp_path / name, "energy:Ha").startswith("states 'energy' in eV, not in Ha")
    np.testing.assert_allclose(
        read_dataset(tmp_path / name, labels("energy=gap:Ha")).labels["energy"], [HA, np.nan], rtol=1e-6
    )


def test_data_entries_with_schnetpack_metadata(tmp_path):
    with ase.db.connect(tmp_path / "a.db") as database:
        for energy in (-1.0, -2.0):
            database.write(
                ase.Atoms("H2", [[0, 0, 0], [0, 0, 1.4]]),
                data={"energy": np.array([energy]), "forces": np.ones((2, 3)), "other": np.ones(1)},
            )
        units = {"energy": "Ha", "forces": "Ha/Bohr", "other": None}
        database.metadata = {"_property_unit_dict": units, "_distance_unit": "Bohr"}
    data = read_dataset(tmp_path / "a.db")
    assert list(data.labels) == ["energy", "forces"]
    np.testing.assert_allclose(data.labels["energy"], [-HA, -2 * HA], rtol=1e-6)
    np.testing.assert_allclose(data.labels["forces"], HA / BOHR, rtol=1e-6)
    np.testing.assert_allclose(data.positions[1], [0, 0, 1.4 * BOHR], rtol=1e-6)
    assert refusal(tmp_path / "a.db", "energy=other").startswith("does not state the unit of the label 'energy'")


def test_without_structures(tmp_path):
    with ase.db.connect(tmp_path / "a.db") as database:
        row = database.write(molecule("H2O"))
        database.delete([row])
    assert refusal(tmp_path / "a.db").startswith("holds no structures")


def test_truncated(tmp_path):
    path = tmp_path / "a.db"
    with ase.db.connect(path) as database:
        for _ in range(200):
            database.write(molecule("C60"))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert refusal(path).startswith("cannot be read as an ASE database (")


def test_bad_structure_is_named(tmp_path):
    atoms = molecule("H2O")
    atoms.positions[1, 0] = np.nan
    with ase.db.connect(tmp_path / "a.db") as database:
        database.write(molecule("H2O"))
        database.write(atoms)
    assert refusal(tmp_path / "a.db").startswith("structure 1, atom 1: the position of this H is not finite")


def test_reading_changes_nothing(tmp_path):
    with ase.db.connect(tmp_path / "a.db") as database:
        database.write(molecule("H2O"))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    read_structures(tmp_path / "a.db")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_trajectory_is_in_ase_units(tmp_path):
    frames = [labelled(molecule("H2O"), energy=energy, forces=np.ones((3, 3))) for energy in (-1.0, -2.0)]
    ase.io.write(tmp_path / "a.traj", frames)
    data = read_dataset(tmp_path / "a.traj")
    assert data.labels["energy"].tolist() == [-1.0, -2.0]
    assert data.labels["forces"].shape == (6, 3)


@pytest.mark.parametrize("name", ["POSCAR", "a.cif", "a.vasp", "a.xsf"])
def test_structures(tmp_path, name):
    ase.io.write(tmp_path / name, bulk("Cu"))
    (system,) = read_structures(tmp_path / name)
    assert system.numbers.tolist() == [29]
    assert system.pbc.all()


def test_truncated_trajectory(tmp_path):
    ase.io.write(tmp_path / "a.traj", [molecule("C60")] * 3)
    path = tmp_path / "a.traj"
    path.write_bytes(path.read_bytes()[:500])
    assert refusal(path).startswith("cannot be read as a structure file (")
