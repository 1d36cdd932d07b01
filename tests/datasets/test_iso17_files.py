"""ISO17 from small databases in the official layout."""

import io
import tarfile

import ase
import ase.db
import numpy as np
import pytest

from atomlens.data.pieces import concatenate
from atomlens.datasets import iso17
from atomlens.errors import InputError

(NAMED,) = iso17.DATASETS
SYMBOLS = "C7O2H10"
GRID = 2.0 * np.stack(np.meshgrid(*[np.arange(3)] * 3), axis=-1).reshape(-1, 3)[:19]


def database(path, energies, forces=True, symbols=SYMBOLS, **keys):
    path.parent.mkdir(exist_ok=True)
    with ase.db.connect(str(path), type="db", use_lock_file=False) as target:
        for place, energy in enumerate(energies):
            atoms = ase.Atoms(symbols, positions=GRID[: len(ase.Atoms(symbols))] + 0.01 * place)
            data = {"atomic_forces": np.full((len(atoms), 3), float(place))} if forces else {}
            target.write(atoms, key_value_pairs={"total_energy": float(energy), **keys}, data=data)


def test_the_parts_are_told_apart_and_their_labels_are_read(tmp_path):
    folder = tmp_path / "iso17"
    database(folder / "test_other.db", [-4])
    database(folder / "reference.db", [-1, -2])
    database(folder / "reference_eq.db", [-3], forces=False)
    data = concatenate(NAMED.read((tmp_path,)))
    assert data.labels["energy"].tolist() == [-1, -2, -3, -4]
    assert data.columns["subset"].values.tolist() == [1, 1, 2, 4]
    assert "1 reference, 2 reference_eq, 3 test_within, 4 test_other, 5 test_eq" in data.columns["subset"].meaning
    forces = data.labels["forces"].reshape(4, 19, 3)
    assert (forces[1] == 1.0).all()
    assert np.isnan(forces[2]).all()
    np.testing.assert_allclose(data.positions[19:38], GRID + 0.01)
    assert "trajectory" not in data.columns
    assert not data.pbc.any()


def test_an_isomer_that_the_file_tells_is_the_trajectory(tmp_path):
    database(tmp_path / "reference.db", [-1, -2], isomer_id=7, step=3)
    database(tmp_path / "test_other.db", [-4], isomer_id=9)
    data = concatenate(NAMED.read((tmp_path,)))
    assert data.columns["trajectory"].values.tolist() == [7, 7, 9]
    assert "step" not in data.columns  # not in every part


def test_the_packed_databases_as_they_are_distributed(tmp_path):
    database(tmp_path / "x" / "reference.db", [-1, -2])
    content = (tmp_path / "x" / "reference.db").read_bytes()
    with tarfile.open(tmp_path / "iso17.tar.gz", "w:gz") as tar:
        member = tarfile.TarInfo("iso17/reference.db")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    data = concatenate(NAMED.read((tmp_path / "iso17.tar.gz",)))
    assert data.labels["energy"].tolist() == [-1, -2]
    assert data.origin.file.endswith("iso17.tar.gz: iso17/reference.db")


def test_pieces_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(iso17, "PIECE", 2)
    database(tmp_path / "test_within.db", [-1, -2, -3, -4, -5])
    pieces = list(NAMED.read((tmp_path / "test_within.db",)))
    assert [len(piece) for piece in pieces] == [2, 2, 1]
    assert pieces[2].origin.places.tolist() == [4]


def test_what_is_not_iso17_is_refused(tmp_path):
    database(tmp_path / "a" / "mine.db", [-1])
    with pytest.raises(InputError, match="is none of the parts of ISO17"):
        list(NAMED.read((tmp_path / "a" / "mine.db",)))
    database(tmp_path / "b" / "reference.db", [-1], symbols="C7O2H9")
    with pytest.raises(InputError, match=r"reference\.db, structure 0: is C7H9O2, not C7H10O2"):
        list(NAMED.read((tmp_path / "b",)))
    database(tmp_path / "c" / "reference.db", [-1])
    database(tmp_path / "d" / "reference.db", [-1])
    with pytest.raises(InputError, match="is there twice"):
        list(NAMED.read((tmp_path / "c", tmp_path / "d")))
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "reference.db").write_bytes(b"not a database, but long enough for SQLite to look at it" * 20)
    with pytest.raises(InputError, match=r"reference\.db: cannot be read as an ASE database"):
        list(NAMED.read((tmp_path / "e",)))
