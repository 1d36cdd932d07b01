"""Descriptors against examples worked by hand, and against moving, turning and renaming atoms."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from scipy.spatial.transform import Rotation
from small_sets import dataset

from atomlens.baselines import DESCRIPTORS
from atomlens.baselines.atom_centred import _standardised, soap, symmetry_functions
from atomlens.baselines.bag_of_bonds import bag_of_bonds
from atomlens.baselines.coulomb import coulomb_eigenspectrum, sorted_coulomb_matrix, unsorted_coulomb_matrix
from atomlens.baselines.crystal_matrices import ewald_eigenspectrum, sine_eigenspectrum, sine_matrix
from atomlens.baselines.radial_distribution import partial_radial_distributions
from atomlens.data.dataset import Dataset
from atomlens.data.system import AtomicSystem

FLOAT32 = 2e-6  # relative; tables are kept in single precision
NEEDS = {"coulomb_matrix", "coulomb_matrix_unsorted", "coulomb_eigenspectrum", "soap", "ewald_matrix"}


def water(first=0.9572, second=0.9572, angle=104.52):
    """Water with an oxygen at the origin."""
    there = np.deg2rad(angle)
    return Atoms("OH2", [[0, 0, 0], [first, 0, 0], [second * np.cos(there), second * np.sin(there), 0]])


def everything(data):
    return np.arange(len(data))


def test_coulomb_matrix_of_water_by_hand():
    pytest.importorskip("dscribe")
    data = dataset([water(), Atoms("H", [[0, 0, 0]])])
    across = 2 * 0.9572 * np.sin(np.deg2rad(104.52 / 2))
    oxygen, hydrogen, bond, other = 0.5 * 8**2.4, 0.5, 8 / 0.9572, 1 / across
    expected = [oxygen, bond, bond, hydrogen, other, hydrogen]
    assert sorted_coulomb_matrix(data, everything(data))[0] == pytest.approx(expected, rel=FLOAT32)
    assert sorted_coulomb_matrix(data, everything(data))[1] == pytest.approx([0.5, 0, 0, 0, 0, 0], rel=FLOAT32)
    matrix = np.array([[oxygen, bond, bond], [bond, hydrogen, other], [bond, other, hydrogen]])
    values = np.linalg.eigvalsh(matrix)
    expected = values[np.argsort(-np.abs(values))]
    assert coulomb_eigenspectrum(data, everything(data))[0] == pytest.approx(expected, rel=FLOAT32)


def test_unsorted_coulomb_matrix_keeps_the_order_of_the_file():
    pytest.importorskip("dscribe")
    data = dataset([water()[[1, 0, 2]]])
    found = unsorted_coulomb_matrix(data, everything(data))[0]
    assert found[[0, 1, 3]] == pytest.approx([0.5, 8 / 0.9572, 0.5 * 8**2.4], rel=FLOAT32)


def test_bag_of_bonds_of_water_and_carbon_dioxide_by_hand():
    carbon_dioxide = Atoms("OCO", [[-1.16, 0, 0], [0, 0, 0], [1.16, 0, 0]])
    data = dataset([water(0.95, 1.0), carbon_dioxide])
    across = np.sqrt(0.95**2 + 1.0 - 2 * 0.95 * np.cos(np.deg2rad(104.52)))
    # Bags: H, C, O, then H-H, H-O, C-O, O-O; the fullest hold 2, 1, 2, 1, 2, 2 and 1.
    oxygen = 0.5 * 8**2.4
    expected = [
        [0.5, 0.5, 0, oxygen, 0, 1 / across, 8 / 0.95, 8 / 1.0, 0, 0, 0],
        [0, 0, 0.5 * 6**2.4, oxygen, oxygen, 0, 0, 0, 48 / 1.16, 48 / 1.16, 64 / 2.32],
    ]
    assert bag_of_bonds(data, everything(data)) == pytest.approx(np.array(expected), rel=FLOAT32)


def test_radial_distribution_of_a_dimer_by_hand():
    data = dataset([Atoms("HF", [[0, 0, 0], [0.92, 0, 0]])])
    found = partial_radial_distributions(data, everything(data), cutoff=4.0, bins=8).toarray()[0].reshape(2, 2, 8)
    expected = np.zeros((2, 2, 8))
    # 0.92 Å lies between 0.5 and 1.0 Å; each element has one atom and one neighbour of the other.
    expected[0, 1, 1] = expected[1, 0, 1] = 1 / (4 / 3 * np.pi * (1.0**3 - 0.5**3))
    assert found == pytest.approx(expected)


def test_radial_distribution_counts_images():
    cell = np.diag([3.0, 20.0, 20.0])
    data = dataset([Atoms("HF", [[0, 0, 0], [1, 0, 0]], cell=cell, pbc=True)])
    found = partial_radial_distributions(data, everything(data), cutoff=4.0, bins=4).toarray()[0].reshape(2, 2, 4)
    shells = 4 / 3 * np.pi * np.diff(np.arange(5.0) ** 3)
    # Along x: H-H at 3 Å on both sides; H-F at 1 and at 2 Å; 4 Å lies beyond the cutoff.
    expected = np.zeros((2, 2, 4))
    expected[0, 0, 3] = expected[1, 1, 3] = 2 / shells[3]
    expected[0, 1, 1:3] = expected[1, 0, 1:3] = 1 / shells[1:3]
    assert found == pytest.approx(expected)


def test_radial_distribution_of_a_supercell_is_the_same():
    one = bulk("NaCl", "rocksalt", 5.64)
    data = dataset([one, one * (2, 1, 3)])
    found = partial_radial_distributions(data, everything(data)).toarray()
    assert found[1] == pytest.approx(found[0])
    assert found[0].max() > 0


def test_sine_matrix_of_a_dimer_in_a_cell_by_hand():
    cell = np.array([[4.0, 0, 0], [1.0, 5.0, 0], [0, 0, 6.0]])
    fractional = np.array([0.25, 0.1, 0.5])
    system = AtomicSystem(np.array([1, 8]), np.array([[0, 0, 0], fractional @ cell]), cell, np.ones(3, dtype=bool))
    # sin² of π f: 1/2, sin²(18°) and 1; the vector is their combination of the lattice vectors.
    s = np.sin(np.deg2rad(18.0)) ** 2
    apart = np.sqrt((0.5 * 4.0 + s * 1.0) ** 2 + (s * 5.0) ** 2 + 6.0**2)
    expected = [[0.5, 8 / apart], [8 / apart, 0.5 * 8**2.4]]
    assert sine_matrix(system) == pytest.approx(np.array(expected), rel=1e-12)


def test_sine_matrix_knows_lattice_vectors_only():
    atoms = bulk("NaCl", "rocksalt", 5.64, cubic=True)
    moved = atoms.copy()
    moved.positions[3] += atoms.cell[0] - 2 * atoms.cell[2]
    shifted = atoms.copy()
    shifted.positions += [0.3, -1.1, 7.0]
    matrices = [sine_matrix(AtomicSystem.from_ase(each)) for each in (atoms, moved, shifted)]
    assert matrices[1] == pytest.approx(matrices[0], rel=1e-9)
    assert matrices[2] == pytest.approx(matrices[0], rel=1e-9)


def test_sine_eigenvalues_by_falling_size():
    atoms = bulk("NaCl", "rocksalt", 5.64)
    data = dataset([atoms, bulk("Cu", "fcc", 3.61)])
    found = sine_eigenspectrum(data, everything(data))
    values = np.linalg.eigvalsh(sine_matrix(AtomicSystem.from_ase(atoms)))
    assert found[0] == pytest.approx(values[::-1], rel=FLOAT32)
    assert found[1] == pytest.approx([0.5 * 29**2.4, 0.0], rel=FLOAT32)


def test_ewald_matrix_of_a_cubic_lattice_of_protons():
    pytest.importorskip("dscribe")
    data = dataset([Atoms("H", [[0, 0, 0]], cell=3.0 * np.eye(3), pbc=True)])
    # A point charge in a neutralising background, simple cubic: -2.837297 / 2L (Leslie and Gillan 1985).
    assert ewald_eigenspectrum(data, everything(data))[0, 0] == pytest.approx(-2.837297 / 6.0, rel=1e-4)


def test_symmetry_functions_are_standardised_over_the_training_atoms(molecules):
    some = molecules.subset(np.arange(24))
    found = symmetry_functions(some, np.arange(12)).astype(np.float64)
    inside = found[: some.offsets[12]]
    deviation = inside.std(axis=0)
    assert inside.mean(axis=0) == pytest.approx(0, abs=1e-4)
    assert deviation.max() <= 1 + 1e-4
    assert (deviation > 1 - 1e-4).sum() > 20
    assert np.isfinite(found).all()


def test_features_that_hardly_vary_are_not_blown_up():
    random = np.random.default_rng(0)
    table = random.normal(size=(100, 5)).astype(np.float32) * np.array([1.0, 2.0, 4.0, 1e-6, 0.0], dtype=np.float32)
    training = np.arange(100) < 50
    scales = table[training].std(axis=0)
    scales[3:] = 0.1 * np.median(scales[:4])
    expected = (table - table[training].mean(axis=0)) / scales
    assert _standardised(table.copy(), training) == pytest.approx(expected, abs=1e-5)


def test_soap_has_unit_length_and_draws_many_elements_together():
    pytest.importorskip("dscribe")
    few = dataset([molecule("CH3OH")])
    found = soap(few, everything(few))
    assert np.linalg.norm(found, axis=1) == pytest.approx(1, abs=1e-5)
    # Three elements with six radial functions each: 18 · 19 / 2 pairs, six angular momenta.
    assert found.shape == (6, 18 * 19 // 2 * 6)
    five = dataset([molecule("CH3OH"), molecule("H3CNH2"), molecule("CH3SH")])
    assert soap(five, everything(five)).shape[1] == 5 * 6 * 6 * 6
    many = dataset([Atoms([number], [[0, 0, 0]], cell=4 * np.eye(3), pbc=True) for number in range(1, 12)])
    assert soap(many, everything(many)).shape[1] == 21 * 6


def _turned(data, seed):
    """Every structure turned and moved, its atoms in another order (of crystals also moved by lattice vectors)."""
    random = np.random.default_rng(seed)
    systems = []
    for system in data:
        atoms = system.to_ase()
        if atoms.pbc.any():
            atoms.positions += random.integers(-2, 3, size=(len(atoms), 3)) @ atoms.cell[:]
        turn = Rotation.random(rng=random).as_matrix()
        atoms.set_cell(atoms.cell[:] @ turn)
        atoms.positions = atoms.positions @ turn + random.normal(size=3)
        order = np.arange(len(atoms)) if len(set(data.n_atoms.tolist())) == 1 else random.permutation(len(atoms))
        systems.append((atoms[order], order))
    return dataset([atoms for atoms, _ in systems]), [order for _, order in systems]


@pytest.mark.parametrize("name", DESCRIPTORS)
def test_descriptors_do_not_depend_on_place_direction_and_order(name, molecules, crystals, frames):
    if name in NEEDS:
        pytest.importorskip("dscribe")
    row = DESCRIPTORS[name]
    for kind in row.serves:
        data = {"molecules": molecules, "crystals": crystals, "trajectory": frames}[kind].subset(np.arange(24))
        data = Dataset(**{**vars(data), "labels": {}}) if kind == "trajectory" else data
        other, orders = _turned(data, 1)
        before, after = (_table(row.compute(each, np.arange(12), "")) for each in (data, other))
        if row.per == "atom":
            starts = data.offsets[:-1]
            before = before[np.concatenate([start + order for start, order in zip(starts, orders, strict=True)])]
        assert before.shape == after.shape
        assert np.abs(before).max() > 0
        # Single precision, and dscribe's Ewald sums to 1e-4; no structure is like another.
        tolerance = 1e-3 if name == "ewald_matrix" else 2e-4
        assert after == pytest.approx(before, abs=tolerance * np.abs(before).max())
        # Structures differ from each other by more than that.
        assert np.ptp(before, axis=0).max() > 20 * tolerance * np.abs(before).max()


def _table(features):
    return np.asarray(features.toarray() if hasattr(features, "toarray") else features, dtype=float)


def test_every_row_of_the_registry_says_what_it_is():
    for name, row in DESCRIPTORS.items():
        assert row.name == name
        assert row.serves
        assert len(row.what) > 10
        assert any(character.isdigit() for character in row.source)
