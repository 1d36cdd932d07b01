"""QM7b's official file, made small: molecules come back from their Coulomb matrices."""

import numpy as np
import pytest
from ase.build import molecule
from scipy.io import savemat

from atomlens.data.pieces import concatenate
from atomlens.datasets.qm7b import nuclear_charges, read_qm7b, recovered_positions
from atomlens.errors import InputError

BOHR, KCAL_PER_MOL = 0.5291772, 0.0433641
# A tetrahedron, a pyramid, a chain, planes, a line, one atom of chlorine, and a molecule without symmetry.
NAMES = ["CH4", "NH3", "C3H8", "C2H4", "C4H4O", "HCN", "CH3Cl", "CH3SH", "CH3CH2OH"]
# The published row of methane, as QM7b-JSON gives it.
METHANE = [-420.9337343, 39.6946262, 0.6218414, -16.013, 4.162, 36.7680731, 15.72523, -3.98613, -10.9488, 0.1323,
           -14.1341, 1.087, 2.534576, 2.43222]  # fmt: skip


def coulomb(positions, numbers, unit=BOHR):
    distances = np.linalg.norm(positions[:, None] - positions[None], axis=-1) / unit + np.eye(len(numbers))
    matrix = np.outer(numbers, numbers) / distances
    np.fill_diagonal(matrix, 0.5 * numbers**2.4)
    padded = np.zeros((23, 23))
    padded[: len(numbers), : len(numbers)] = matrix
    return padded


def chiral():
    """CHFClBr-like: a hydrogen and four different neighbours, no two distances alike."""
    numbers = np.array([6, 1, 7, 8, 17])
    positions = np.array(
        [[0.0, 0, 0], [0.63, 0.63, 0.63], [-0.85, -0.85, 0.85], [-0.82, 0.82, -0.82], [1.0, -1.0, -1.0]]
    )
    return numbers, positions


def write(path, unit=BOHR, **changed):
    molecules = [molecule(name) for name in NAMES]
    matrices = [coulomb(atoms.positions, atoms.numbers, unit) for atoms in molecules]
    properties = np.tile(METHANE, (len(NAMES), 1))
    properties[:, 0] = [-84.0 * len(atoms) for atoms in molecules]
    properties[0] = METHANE
    savemat(path, {"X": np.array(matrices, np.float32), "T": properties.astype(np.float32), **changed})
    return path


def lengths(positions):
    return np.linalg.norm(positions[:, None] - positions[None], axis=-1)


@pytest.mark.parametrize("unit", [BOHR, 1.0], ids=["Bohr", "Å"])
def test_molecules_come_back_from_single_precision(tmp_path, unit):
    data = concatenate(read_qm7b((write(tmp_path / "qm7b.mat", unit),)))
    for row, name in enumerate(NAMES):
        atoms = molecule(name)
        assert data[row].numbers.tolist() == atoms.numbers.tolist()
        assert lengths(data[row].positions) == pytest.approx(lengths(atoms.positions), abs=1e-4)
    assert "handedness" in data.metadata["positions"]


def test_properties_of_methane_are_labels_in_their_units(tmp_path):
    data = concatenate(read_qm7b((write(tmp_path / "qm7b.mat"),)))
    labels = {name: values[0] for name, values in data.labels.items()}
    assert labels == pytest.approx(
        {"energy": -420.9337343 * KCAL_PER_MOL, "homo": -10.9488, "lumo": 0.1323, "isotropic_polarizability": 2.534576},
        rel=1e-6,
    )
    columns = {key: column.values[0] for key, column in data.columns.items()}
    assert columns == pytest.approx(
        {"emax_zindo": 39.6946262, "imax_zindo": 0.6218414, "homo_zindo": -16.013, "lumo_zindo": 4.162,
         "e1_zindo": 36.7680731, "ip_zindo": 15.72523, "ea_zindo": -3.98613, "homo_gw": -14.1341, "lumo_gw": 1.087,
         "p_scs": 2.43222, "index": 0},
        rel=1e-6,
    )  # fmt: skip


def test_a_molecule_and_its_mirror_image_are_one():
    numbers, positions = chiral()
    mirrored = positions * [1, 1, -1]
    matrices = np.stack([coulomb(positions, numbers), coulomb(mirrored, numbers)])
    assert matrices[0] == pytest.approx(matrices[1])
    found_numbers, n_atoms = nuclear_charges(matrices)
    assert found_numbers.tolist() == [*numbers, *numbers]
    found = recovered_positions(matrices, found_numbers, n_atoms).reshape(2, 5, 3)
    assert found[0] == pytest.approx(found[1], abs=1e-9)
    assert lengths(found[0]) == pytest.approx(lengths(positions), abs=1e-6)


def _random(seed, count, size):
    """Molecules of hydrogens 1 Å from a random heavy atom, far apart from each other."""
    rng = np.random.default_rng(seed)
    heavy = rng.normal(size=(count, size, 3)) * 6
    direction = rng.normal(size=(count, size, 3))
    hydrogen = heavy + direction / np.linalg.norm(direction, axis=-1, keepdims=True)
    return np.tile(np.r_[rng.choice([6, 7, 8], size), np.ones(size, int)], (count, 1)), np.concatenate(
        [heavy, hydrogen], 1
    )


def test_a_round_trip_of_random_points():
    numbers, positions = _random(0, 20, 7)
    matrices = np.stack([coulomb(r, z) for r, z in zip(positions, numbers, strict=True)])
    found = recovered_positions(matrices, numbers.reshape(-1), np.full(20, 14)).reshape(20, 14, 3)
    again = np.stack([coulomb(r, z) for r, z in zip(found, numbers, strict=True)])
    assert again == pytest.approx(matrices, rel=1e-5)


def test_what_is_not_of_points_in_space_is_refused():
    numbers, positions = _random(1, 3, 4)
    matrices = np.stack([coulomb(r, z) for r, z in zip(positions, numbers, strict=True)])
    matrices[1, 0, 1] = matrices[1, 1, 0] = matrices[1, 0, 1] * 3
    with pytest.raises(InputError, match="not of points in space") as error:
        recovered_positions(matrices, numbers.reshape(-1), np.full(3, 8))
    assert error.value.structure == 1


def test_lengths_of_no_molecules_are_refused():
    numbers, positions = _random(2, 3, 4)
    matrices = np.stack([coulomb(r * 4, z) for r, z in zip(positions, numbers, strict=True)])
    with pytest.raises(InputError, match="neither in Bohr nor in Å"):
        recovered_positions(matrices, numbers.reshape(-1), np.full(3, 8))


def test_other_arrays_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not hold Coulomb matrices"):
        list(read_qm7b((write(tmp_path / "a.mat", X=np.ones((9, 23, 23))),)))
    with pytest.raises(InputError, match=r"'T' has shape \(9, 13\)"):
        list(read_qm7b((write(tmp_path / "b.mat", T=np.ones((9, 13))),)))
    with pytest.raises(InputError, match="no atomisation energy in kcal/mol") as error:
        list(read_qm7b((write(tmp_path / "c.mat", T=np.tile(METHANE[::-1], (9, 1))),)))
    assert error.value.file == str(tmp_path / "c.mat")
