"""QM7's official file, made small."""

import numpy as np
import pytest
from ase.build import molecule
from scipy.io import savemat

from atomlens.data.pieces import concatenate
from atomlens.datasets.qm7 import folds, read_qm7
from atomlens.errors import InputError

BOHR, KCAL_PER_MOL = 0.5291772, 0.0433641
NAMES = ["CH4", "NH3", "C2H6", "CH3SH", "H2O", "HCN", "C2H4", "CH3OH", "C2H2", "HCOOH"]


def arrays():
    """Ten molecules as qm7.mat has them: padded, in Bohr, single precision, vectors as rows."""
    x, z, r = np.zeros((10, 23, 23)), np.zeros((10, 23)), np.zeros((10, 23, 3))
    for row, name in enumerate(NAMES):
        atoms = molecule(name)
        n = len(atoms)
        z[row, :n], r[row, :n] = atoms.numbers, atoms.positions / BOHR
        distances = np.linalg.norm(r[row, :n, None] - r[row, None, :n], axis=-1) + np.eye(n)
        x[row, :n, :n] = np.outer(atoms.numbers, atoms.numbers) / distances
        np.fill_diagonal(x[row, :n, :n], 0.5 * atoms.numbers**2.4)
    energies = -100.0 * np.arange(4, 14)
    groups = np.array([[7, 1], [0, 9], [2, 3], [8, 4], [6, 5]])
    single = {"X": x, "T": energies[None], "Z": z, "R": r}
    return {**{key: values.astype(np.float32) for key, values in single.items()}, "P": groups}


def write(path, **changed):
    savemat(path, {**arrays(), **changed})
    return path


def test_the_official_file_is_in_bohr(tmp_path):
    data = concatenate(read_qm7((write(tmp_path / "qm7.mat"),)))
    assert data.n_atoms.tolist() == [len(molecule(name)) for name in NAMES]
    for row, name in enumerate(NAMES):
        assert data[row].numbers.tolist() == molecule(name).numbers.tolist()
        assert data[row].positions == pytest.approx(molecule(name).positions, abs=1e-5)
    assert data.labels["energy"] == pytest.approx(-100 * np.arange(4, 14) * KCAL_PER_MOL, rel=1e-6)
    assert data.columns["fold"].values.tolist() == [1, 0, 2, 2, 3, 4, 4, 0, 3, 1]
    assert data.columns["index"].values.tolist() == list(range(10))


def test_a_copy_in_angstrom_is_refused(tmp_path):
    path = write(tmp_path / "qm7.mat", R=arrays()["R"] * BOHR)
    with pytest.raises(InputError, match=r"do not fit the Coulomb matrix.* are in Bohr") as error:
        list(read_qm7((path,)))
    assert (error.value.file, error.value.structure) == (str(path), 0)


def test_folds_share_the_rows_out():
    assert folds(np.array([[1], [0]]), 2, "f").tolist() == [1, 0]
    with pytest.raises(InputError, match="does not name every row once"):
        folds(np.array([[1], [1]]), 2, "f")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"T": np.zeros((1, 9))}, "different lengths"),
        ({"Z": np.zeros((10, 22))}, r"'Z' has shape \(10, 22\) where \(…, 23\) is needed"),
        ({"R": "text"}, "has no array 'R'"),
    ],
)
def test_other_files_are_refused(tmp_path, changed, words):
    with pytest.raises(InputError, match=words):
        list(read_qm7((write(tmp_path / "qm7.mat", **changed),)))


def test_what_is_no_matlab_file_is_refused(tmp_path):
    (tmp_path / "qm7.mat").write_text("<html>moved</html>")
    with pytest.raises(InputError, match="cannot be read as a MATLAB file"):
        list(read_qm7((tmp_path / "qm7.mat",)))


def test_the_real_archive_is_a_part(shared_data):
    data = concatenate(read_qm7((shared_data / "qm7.npz",)))
    assert len(data) == 6401
    assert data.elements == [1, 6, 7, 8, 16]
    assert data.labels["energy"][0] == pytest.approx(-417.031 * KCAL_PER_MOL, rel=1e-6)
    methane = data[0].positions
    assert np.linalg.norm(methane[1:] - methane[0], axis=1) == pytest.approx([1.089] * 4, abs=2e-3)
    per_atom = data.labels["energy"] / data.n_atoms
    assert (per_atom > -6.0).all()
    assert (per_atom < -3.5).all()
