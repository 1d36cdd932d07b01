"""Every format keeps what it is given; other programs find their own names in it."""

import os
import signal
import sqlite3
import subprocess
import sys

import ase.db
import ase.io
import numpy as np
import pytest
from everything import assert_same, full_dataset
from reading import labels

from atomlens.data.dataset import Column, Dataset
from atomlens.data.readers import read_dataset
from atomlens.data.writers import write_dataset
from atomlens.errors import InputError, Interrupted

# ASE writes eight decimals of what stands in columns of extended XYZ.
DECIMALS = 0.51e-8


def frames(count=5, **columns):
    """One molecule, many frames."""
    rng = np.random.default_rng(1)
    return Dataset.from_arrays(
        np.tile([8, 1, 1], count),
        rng.normal(size=(3 * count, 3)),
        np.full(count, 3),
        {"energy": rng.normal(size=count), "forces": rng.normal(size=(3 * count, 3))},
        columns=columns,
    )


@pytest.mark.parametrize("name", ["a.xyz", "a.db", "a.npz", "a.json", "a.store"])
def test_everything_comes_back(tmp_path, name):
    data = full_dataset()
    write_dataset(data, tmp_path / name)
    found = read_dataset(tmp_path / name)
    assert_same(found, data, tolerance=DECIMALS if name == "a.xyz" else 0.0)
    if name != "a.xyz":
        assert found.metadata["level"] == "PBE"
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["a.db", "a.npz", "a.json", "a.store"])
def test_the_hash_survives_exact_formats(tmp_path, name):
    write_dataset(full_dataset(), tmp_path / name)
    assert read_dataset(tmp_path / name).hash == full_dataset().hash


def test_meanings_stay_in_a_store(tmp_path):
    write_dataset(full_dataset(), tmp_path / "a.store")
    assert read_dataset(tmp_path / "a.store").columns["U"].meaning == "at 298 K"


def test_ase_finds_its_results_in_a_database(tmp_path):
    data = full_dataset()
    write_dataset(data, tmp_path / "a.db")
    with ase.db.connect(tmp_path / "a.db") as database:
        atoms = [row.toatoms() for row in database.select()]
        rows = list(database.select())
    for index in (1, 3):
        inside = slice(*data.offsets[index : index + 2])
        assert atoms[index].get_potential_energy() == data.labels["energy"][index]
        np.testing.assert_array_equal(atoms[index].get_forces(), data.labels["forces"][inside])
        np.testing.assert_array_equal(atoms[index].get_stress(voigt=False), data.labels["stress"][index])
        np.testing.assert_array_equal(atoms[index].get_dipole_moment(), data.labels["dipole"][index])
        np.testing.assert_array_equal(atoms[index].get_charges(), data.labels["charges"][inside])
    assert "energy" not in rows[2]
    assert rows[1].data["gdb_index"] == data.columns["gdb_index"].values[1]


def test_schnetpack_finds_its_units_in_a_database(tmp_path):
    write_dataset(full_dataset(), tmp_path / "a.db")
    with sqlite3.connect(tmp_path / "a.db") as connection:
        ((text,),) = connection.execute("SELECT value FROM information WHERE name='metadata'")
    assert '"_distance_unit": "Ang"' in text
    assert '"U": "kcal/mol"' in text
    connection.close()


def test_forces_known_for_some_atoms_only_are_kept_in_a_database(tmp_path):
    data = frames()
    data.labels["forces"][4] = np.nan
    write_dataset(data, tmp_path / "a.db")
    assert_same(read_dataset(tmp_path / "a.db"), data)


def test_the_layout_of_frames(tmp_path):
    data = frames(index=Column(np.arange(5), "system"), spin=Column(np.arange(15.0), "atom", "e"))
    write_dataset(data, tmp_path / "a.npz", layout="frames")
    with np.load(tmp_path / "a.npz") as archive:
        assert archive["numbers"].tolist() == [8, 1, 1]
        assert archive["positions"].shape == archive["forces"].shape == (5, 3, 3)
        assert archive["energy"].shape == (5,)
        assert archive["spin"].shape == (5, 3)
    assert_same(read_dataset(tmp_path / "a.npz"), data)


@pytest.mark.parametrize("numbers", [[8, 1, 1, 1, 8, 1], [8, 1, 1, 8, 1, 1]])
def test_the_layout_of_frames_is_for_one_molecule(tmp_path, numbers):
    n_atoms = np.array([3, 3] if numbers[3] == 1 else [3, 2, 1])
    data = Dataset.from_arrays(np.array(numbers), np.arange(18.0).reshape(6, 3), n_atoms, {})
    with pytest.raises(InputError, match=r"a\.npz, structure 1: has other atoms than the first"):
        write_dataset(data, tmp_path / "a.npz", layout="frames")
    assert list(tmp_path.iterdir()) == []


def test_layouts_that_there_are_not(tmp_path):
    with pytest.raises(InputError, match=r"only a numpy archive \(\.npz\) has the layout 'frames'"):
        write_dataset(frames(), tmp_path / "a.xyz", layout="frames")
    with pytest.raises(InputError, match="unknown layout 'frame'; did you mean 'frames'"):
        write_dataset(frames(), tmp_path / "a.npz", layout="frame")


def test_the_table_by_pandas(tmp_path):
    pandas = pytest.importorskip("pandas")
    data = full_dataset()
    write_dataset(data, tmp_path / "a.csv")
    table = pandas.read_csv(tmp_path / "a.csv")
    assert list(table) == [
        "index", "formula", "number of atoms", "charge [e]", "energy [eV]", "gap [eV]", "gdb_index", "U [kcal/mol]",
    ]  # fmt: skip
    np.testing.assert_array_equal(table["energy [eV]"], data.labels["energy"])
    np.testing.assert_array_equal(table["U [kcal/mol]"], data.columns["U"].values)
    np.testing.assert_array_equal(table["gdb_index"], data.columns["gdb_index"].values)
    assert table["formula"].tolist() == [system.formula for system in data]
    assert table["index"].tolist() == list(range(7))
    pandas.testing.assert_frame_equal(pandas.DataFrame(data.table()), table)


def test_the_table_of_many_pieces_has_one_heading(tmp_path, monkeypatch):
    monkeypatch.setattr("atomlens.data.pieces.ATOMS", 6)
    write_dataset(full_dataset(), tmp_path / "a.csv")
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["index", *map(str, range(7))]


def test_headings_that_would_be_the_same():
    data = frames(**{"energy": Column(np.zeros(5), "system", "eV"), "index": Column(np.arange(5), "system")})
    assert list(data.table())[-3:] == ["energy [eV]", "energy [eV]_", "index_"]


def test_a_stress_that_is_not_quite_symmetric_is_kept_in_a_database(tmp_path):
    data = full_dataset()
    data.labels["stress"][3, 0, 1] *= 1.001
    write_dataset(data, tmp_path / "a.db")
    assert_same(read_dataset(tmp_path / "a.db"), data)
    with ase.db.connect(tmp_path / "a.db") as database:
        assert ["stress" in row for row in database.select()] == [False, True, True, False, True, True, True]


@pytest.mark.parametrize("name", ["a.xyz", "a.db", "a.npz", "a.json", "a.store"])
def test_columns_with_names_that_mean_something_else(tmp_path, name):
    columns = {
        "energy": Column(np.arange(5.0), "system", "Ha"),
        "cell": Column(np.arange(5), "system"),
        "file": Column(np.arange(5) + 1, "system"),
        "charge": Column(np.arange(5) + 7, "system"),
        "Lattice": Column(np.arange(5) + 2, "system"),
        "stress": Column(np.arange(30.0).reshape(5, 6), "system"),
        "U 0/K=1": Column(np.arange(5) + 3, "system"),
        "pos": Column(np.arange(15), "atom"),
    }
    data = frames(**columns)
    write_dataset(data, tmp_path / name)
    found = read_dataset(tmp_path / name, labels("energy", "forces"))
    values = {key: column.values.tolist() for key, column in found.columns.items()}
    for key, column in columns.items():
        assert column.values.tolist() in [values.get(key), values.get(f"{key}_"), values.get("U_0_K_1")], key
    np.testing.assert_allclose(found.labels["energy"], data.labels["energy"], rtol=1e-15)
    assert not found.charge.any()
    assert not found.pbc.any()


def test_a_unit_with_spaces_is_read_back(tmp_path):
    data = frames(E=Column(np.arange(5.0), "system", "kcal mol^-1"))
    write_dataset(data, tmp_path / "a.xyz")
    found = read_dataset(tmp_path / "a.xyz", labels("energy=E"))
    np.testing.assert_allclose(found.labels["energy"], np.arange(5) * 0.0433641, rtol=1e-5)


@pytest.mark.parametrize("name", ["a.xyz", "a.db", "a.npz", "a.json", "a.csv"])
def test_a_failure_leaves_the_old_file(tmp_path, monkeypatch, name):
    def fail(*_, **__):
        raise KeyboardInterrupt

    (tmp_path / name).write_text("old")
    monkeypatch.setattr("atomlens.progress.Reporter.advance", fail)
    with pytest.raises(KeyboardInterrupt):
        write_dataset(frames(), tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "old"


@pytest.mark.parametrize("name", ["a.xyz", "a.db", "a.npz", "a.json", "a.csv", "a.store"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_request_to_stop_leaves_the_old_file(tmp_path, monkeypatch, name, number):
    monkeypatch.setattr("atomlens.progress.Reporter.advance", lambda *_: os.kill(os.getpid(), number))
    with pytest.raises(Interrupted, match=f"stopped; .*{name} was not written"):
        write_dataset(frames(), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


FULL = """
import resource, sys
from pathlib import Path
import numpy as np
from atomlens.data.dataset import Dataset
from atomlens.data.writers import write_dataset
from atomlens.errors import InputError
count = 4000
labels = {"forces": np.random.default_rng(0).normal(size=(count, 3))}
data = Dataset.from_arrays(np.ones(count, int), np.zeros((count, 3)), np.ones(count, int), labels)
resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
for name in sys.argv[2:]:
    try:
        write_dataset(data, Path(sys.argv[1]) / name)
    except InputError as error:
        print(error)
"""


def test_a_full_disk_is_one_sentence(tmp_path):
    names = ["a.xyz", "a.db", "a.npz", "a.json", "a.csv", "a.store"]
    found = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path), *names], capture_output=True, text=True, check=True
    )
    for name, line in zip(names, found.stdout.splitlines(), strict=True):
        assert line.startswith(f"{tmp_path / name}: ")
        assert line.endswith("free space and try again")
    assert list(tmp_path.iterdir()) == []
