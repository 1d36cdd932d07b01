"""The archives of ../shared/data against their raw arrays and against facts known from elsewhere."""

import time

import numpy as np
import pytest
from reading import labels

from atomlens.data.batching import BatchSource
from atomlens.data.readers import read_dataset, read_structures
from atomlens.data.splits import random_split
from atomlens.data.store import read_store, write_store
from atomlens.errors import InputError

KCAL, HA, BOHR = 0.0433641042, 27.211386, 0.529177211  # eV, eV, Å; from tables


@pytest.fixture
def raw(shared_data):
    return lambda name: np.load(shared_data / name)


def test_ethanol_with_original_labels(shared_data, raw):
    path = shared_data / "rmd17" / "ethanol.npz"
    data = read_dataset(path, labels("energy=md17_energies:kcal/mol", "forces=md17_forces:kcal/mol/Ang"))
    arrays = raw("rmd17/ethanol.npz")
    assert len(data) == 8633
    assert data[17].formula == "C2H6O"
    assert data.labels["energy"].mean() == pytest.approx(arrays["md17_energies"].mean() * KCAL, rel=1e-8)
    np.testing.assert_allclose(
        data.labels["forces"].reshape(-1, 9, 3), arrays["md17_forces"].astype(float) * KCAL, rtol=1e-7
    )
    # Forces of a free molecule balance, up to the noise that MD17 is known for.
    assert np.abs(data.labels["forces"].reshape(-1, 9, 3).sum(axis=1)).max() < 0.02
    # One C-C bond of about 1.5 Å shows that positions are in Å.
    first = data[0]
    carbons = first.positions[first.numbers == 6]
    assert np.linalg.norm(carbons[0] - carbons[1]) == pytest.approx(1.5, abs=0.1)


def test_ethanol_says_what_is_missing(shared_data):
    path = shared_data / "rmd17" / "ethanol.npz"
    with pytest.raises(InputError) as caught:
        read_dataset(path).require("energy")
    assert str(caught.value) == (
        f"{path}: has no label 'energy' (it has: none; not taken over: energies, forces, md17_energies, md17_forces, "
        "md17_index); name its key and unit, as in --label energy=KEY:eV"
    )
    with pytest.raises(InputError, match=r"does not state the unit .* --label energy=energies:eV$"):
        read_dataset(path, labels("energy=energies"))


def test_qm7(shared_data, raw):
    data = read_dataset(shared_data / "qm7.npz", labels("energy=atomization_energy:kcal/mol"))
    assert len(data) == 6401
    assert data.elements == [1, 6, 7, 8, 16]
    assert data.labels["energy"].mean() == pytest.approx(raw("qm7.npz")["atomization_energy"].mean() * KCAL, rel=1e-8)
    methane = next(index for index, system in enumerate(data) if system.formula == "CH4")
    # PBE0 atomisation energy of methane: 417 kcal/mol (18.1 eV).
    assert data.labels["energy"][methane] == pytest.approx(-18.1, abs=0.1)


def test_qm9_total_energies(shared_data, raw):
    data = read_dataset(shared_data / "qm9.npz", labels("energy=U0:Ha"))
    assert len(data) == 120_831
    start = time.perf_counter()
    data.check()
    assert time.perf_counter() - start < 2.0
    assert data.labels["energy"].mean() == pytest.approx(raw("qm9.npz")["U0"].mean() * HA, rel=1e-7)
    methane = int(np.flatnonzero(raw("qm9.npz")["gdb_index"] == 1)[0])
    assert data[methane].formula == "CH4"
    # Ramakrishnan et al. 2014, gdb 1: U0 = -40.47893 Ha.
    assert data.labels["energy"][methane] == pytest.approx(-40.47893 * HA, rel=1e-6)


def test_crystals(shared_data, raw):
    data = read_dataset(shared_data / "mlearn.npz", labels("energy:eV", "forces:eV/Ang"))
    assert data.pbc.all()
    assert data.elements == [3, 14, 28, 29, 32, 42]
    np.testing.assert_array_equal(data.labels["energy"], raw("mlearn.npz")["energy"])
    np.testing.assert_array_equal(data.cell, raw("mlearn.npz")["cell"].astype(float))
    batch, _ = BatchSource(data.subset(np.array([0])), 4.0, ["energy", "forces"]).batch(np.array([0]))
    assert batch.pair_vectors().norm(dim=1).max() < 4.0


def test_six_numbers_in_vasp_order_are_no_stress(shared_data):
    with pytest.raises(InputError, match="six numbers have no stated order"):
        read_dataset(shared_data / "mlearn.npz", labels("stress=virial_stress_kbar:kbar"))


def test_dipoles_and_charges(shared_data, raw):
    arrays = raw("qm9_mp2_dipoles_charges.npz")
    data = read_dataset(
        shared_data / "qm9_mp2_dipoles_charges.npz", labels("dipole:e*bohr", "charges=mulliken_charges:e")
    )
    np.testing.assert_allclose(data.labels["dipole"], arrays["dipole"] * BOHR, rtol=1e-8)
    water = next(index for index, system in enumerate(data) if system.formula == "H2O")
    # Measured 1.85 D; basis sets without diffuse functions give up to 0.3 D more. 1 D = 0.2081943 e·Å.
    assert 1.85 < np.linalg.norm(data.labels["dipole"][water]) / 0.2081943 < 2.15
    # The charges of a neutral molecule add up to zero.
    assert abs(data.labels["charges"][slice(*data.offsets[water : water + 2])].sum()) < 1e-5


def test_labels_unknown_for_some(shared_data, raw):
    data = read_dataset(shared_data / "qm9.npz", labels("energy=U:Ha"))
    unknown = np.isnan(raw("qm9.npz")["U"])
    np.testing.assert_array_equal(np.isnan(data.labels["energy"]), unknown)
    with pytest.raises(InputError, match=rf"qm9\.npz, structure {np.argmax(unknown)}: the label 'energy' is missing"):
        data.require("energy")
    assert len(data.subset(~unknown).require("energy")) == (~unknown).sum()


@pytest.mark.parametrize(
    "name",
    ["materials_project.npz", "ethanol_ccsdt.npz", "c20/c20_geometry.npz", "rmd17/aspirin.npz"],
)
def test_every_structure_is_possible(shared_data, name):
    data = read_dataset(shared_data / name)
    assert data.pbc.all() == (name == "materials_project.npz")
    assert data[len(data) - 1].positions.dtype == np.float64


def test_single_geometry_for_prediction(shared_data):
    (cage,) = read_structures(shared_data / "c20" / "c20_geometry.npz")
    assert cage.formula == "C20"


def test_store_and_split_of_real_data(shared_data, tmp_path):
    data = read_dataset(shared_data / "qm7.npz", labels("energy=atomization_energy:kcal/mol"))
    write_store(data, tmp_path / "qm7")
    stored = read_store(tmp_path / "qm7", verify=True)
    split = random_split(stored, 5000, 500, None, seed=0)
    assert split.hash == random_split(data, 5000, 500, None, seed=0).hash
    part = stored.subset(split.train)
    np.testing.assert_array_equal(part[9].positions, data[int(split.train[9])].positions)
