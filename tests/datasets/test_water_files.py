"""Dipoles and polarisabilities of water: the official examples by hand-written numbers, and the repacked archive."""

import numpy as np
import pytest
from ase.data import atomic_masses

from atomlens.data.pieces import concatenate
from atomlens.datasets import water
from atomlens.errors import InputError

(NAMED,) = water.DATASETS
BOHR = 0.529177
HARTREE = 27.2114
ATOMS = {"water_monomer": "OHH", "water_dimer": "OHHOHH", "water_zundel": "OOHHHHH"}
ENERGIES = {"water_monomer": "energy_1000.in", "water_dimer": "ener_1000.in", "water_zundel": "energy_1000.in"}


def example(folder, mark="/"):
    """Two structures of each species, with numbers that tell where they belong."""
    for number, (part, symbols) in enumerate(ATOMS.items(), 1):
        if mark == "/":
            (folder / part).mkdir(parents=True)
        files = {
            name: folder / f"{part}{mark}{name}" for name in ("coords_1000.xyz", "dipole_1000.in", "alpha_1000.in")
        }
        frame = [
            f"{len(symbols)}",
            "#",
            *(f"{symbol} {2.0 * place} {number} 0" for place, symbol in enumerate(symbols)),
        ]
        files["coords_1000.xyz"].write_text("\n".join(frame * 2) + "\n")
        files["dipole_1000.in"].write_text(f"{number} 0 0\n{number} 0 1\n")
        files["alpha_1000.in"].write_text(f"{number} 2 3 2 5 6 3 6 9\n" * 2)
        (folder / f"{part}{mark}{ENERGIES[part]}").write_text(f"-{number}.5\n-{number}.25\n")


@pytest.mark.parametrize("mark", ["/", "_"])  # as in the repository, and as a download keeps the files
def test_the_official_examples(tmp_path, mark):
    example(tmp_path, mark)
    data = concatenate(NAMED.read((tmp_path,)))
    assert data.n_atoms.tolist() == [3, 3, 6, 6, 7, 7]
    assert data.columns["species"].values.tolist() == [3, 3, 6, 6, 7, 7]
    assert data.charge.tolist() == [0, 0, 0, 0, 1, 1]
    assert data.numbers[:3].tolist() == [8, 1, 1]
    np.testing.assert_allclose(data.positions[:2], [[0, 1, 0], [2, 1, 0]])  # Å
    np.testing.assert_allclose(data.labels["energy"][4:], np.array([-3.5, -3.25]) * HARTREE, rtol=1e-5)
    np.testing.assert_allclose(data.labels["dipole"][1], np.array([1, 0, 1]) * BOHR, rtol=1e-5)
    np.testing.assert_allclose(
        data.labels["polarizability"][2], np.array([[2, 2, 3], [2, 5, 6], [3, 6, 9]]) * BOHR**3, rtol=1e-5
    )
    assert not data.pbc.any()


def test_every_file_is_downloaded_under_its_own_name():
    names = [file.name for file in NAMED.files]
    assert len(set(names)) == 12
    assert all("/" not in name for name in names)


def test_missing_and_short_files_are_named(tmp_path):
    example(tmp_path)
    (tmp_path / "water_dimer" / "alpha_1000.in").write_text("1 2 3 2 5 6 3 6 9\n")
    with pytest.raises(InputError, match=r"alpha_1000\.in: has \(1, 9\) numbers where \(2, 9\) are needed"):
        list(NAMED.read((tmp_path,)))
    (tmp_path / "water_dimer" / "alpha_1000.in").unlink()
    with pytest.raises(InputError, match=r"water_dimer/alpha_1000\.in is missing"):
        list(NAMED.read((tmp_path,)))
    (tmp_path / "water_monomer" / "coords_1000.xyz").write_text("3\n#\nO 0 0 0\nH 1 0 0\nX 0 1 0\n")
    with pytest.raises(InputError, match="has a line that is no atom of water"):
        list(NAMED.read((tmp_path / "water_monomer",)))


def test_the_repacked_archive(shared_data):
    data = concatenate(NAMED.read((shared_data / "water_dipole_polarizability.npz",)))
    assert np.bincount(data.n_atoms).tolist() == [0, 0, 0, 904, 0, 0, 903, 893]
    assert (data.charge == (data.n_atoms == 7)).all()
    assert np.isfinite(data.labels["energy"]).all()
    # A water molecule has 1.85 D, near 0.39 e·Å, at rest, and 1.47 Å³; these are distorted.
    monomers = data.n_atoms == 3
    assert 0.3 < np.linalg.norm(data.labels["dipole"][monomers], axis=1).mean() < 0.5
    assert 1.2 < np.trace(data.labels["polarizability"][monomers], axis1=1, axis2=2).mean() / 3 < 1.8


def test_the_cation_stands_about_its_centre_of_mass(shared_data):
    """Its dipole belongs to an origin: the label is the dipole about the centre of mass, as our readouts have it."""
    data = concatenate(NAMED.read((shared_data / "water_dipole_polarizability.npz",)))
    masses = atomic_masses[data.numbers]
    moments = np.add.reduceat(masses[:, None] * data.positions, data.offsets[:-1])
    centres = moments / np.add.reduceat(masses, data.offsets[:-1])[:, None]
    assert np.abs(centres[data.n_atoms == 7]).max() < 4e-4  # Å, as the card says
