"""The C20 trajectory: the user's own, for no other is published."""

import ase
import ase.io
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator

from atomlens.data.pieces import concatenate
from atomlens.datasets import c20
from atomlens.errors import InputError

(NAMED,) = c20.DATASETS
GRID = 1.5 * np.stack(np.meshgrid(*[np.arange(3)] * 3), axis=-1).reshape(-1, 3)[:20]


def test_a_numpy_archive_in_kilocalories(tmp_path):
    np.savez(
        tmp_path / "run.npz", numbers=np.full(20, 6), positions=np.stack([GRID, GRID + 0.1]),
        energies=np.array([-477_000.0, -477_001.0]), forces=np.ones((2, 20, 3)),
    )  # fmt: skip
    data = concatenate(NAMED.read((tmp_path / "run.npz",)))
    np.testing.assert_allclose(data.labels["energy"], np.array([-477_000, -477_001]) * 0.0433641, rtol=1e-5)
    np.testing.assert_allclose(data.labels["forces"], 0.0433641, rtol=1e-5)
    assert data.columns["frame"].values.tolist() == [0, 1]


def test_a_file_that_states_its_units(tmp_path):
    images = [ase.Atoms("C20", positions=GRID + 0.1 * step) for step in range(3)]
    for image in images:
        image.calc = SinglePointCalculator(image, energy=-20_000.0, forces=np.full((20, 3), 0.5))
    ase.io.write(tmp_path / "c20.traj", images)
    with pytest.raises(InputError, match="holds none of the files"):
        list(NAMED.read((tmp_path,)))
    ase.io.write(tmp_path / "c20.db", images)
    data = concatenate(NAMED.read((tmp_path,)))
    assert data.labels["energy"].tolist() == [-20_000.0] * 3
    assert (data.labels["forces"] == 0.5).all()


def test_a_file_without_units_or_of_something_else_is_refused(tmp_path):
    ase.io.write(tmp_path / "c20.xyz", ase.Atoms("C20", positions=GRID), format="xyz")
    with pytest.raises(InputError, match="states no energies and forces with their units"):
        list(NAMED.read((tmp_path / "c20.xyz",)))
    image = ase.Atoms("C19N", positions=GRID)
    image.calc = SinglePointCalculator(image, energy=-1.0)
    ase.io.write(tmp_path / "c20.db", image)
    with pytest.raises(InputError, match=r"c20\.db, structure 0: is not C20"):
        list(NAMED.read((tmp_path / "c20.db",)))


def test_there_is_nothing_to_download_and_the_reason_is_told():
    assert not NAMED.files
    assert "no official place" in NAMED.why_no_files


def test_the_published_geometry_is_recognised(shared_data):
    with pytest.raises(InputError, match="is 1 geometry of C20 without energies or forces"):
        list(NAMED.read((shared_data / "c20",)))
