"""The fullerene C20 with the weights that the method's first author published (`shared/data/README.md`, MIT).

The energy stands in that file, from an independent evaluation in float64. Bonds: thesis 5.3.
"""

import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import ase
import numpy as np
import pytest
from ase.calculators.calculator import Calculator, all_changes
from ase.neighborlist import neighbor_list
from ase.optimize import BFGS

from atomlens.convert import convert_published
from atomlens.data.units import KCAL_PER_MOL
from atomlens.model_file import load_model

ENERGY = -477075.847347  # kcal/mol
FORCE_MODEL, ENERGY_MODEL = "schnet_force_model.npz", "schnet_energy_model.npz"


@pytest.fixture(scope="module")
def model(shared_data):
    return convert_published(shared_data / "c20" / FORCE_MODEL)


@pytest.fixture
def cage(shared_data):
    arrays = np.load(shared_data / "c20" / "c20_geometry.npz")
    return ase.Atoms(arrays["numbers"], arrays["positions"])


class OfModel(Calculator):
    implemented_properties = ("energy", "forces")

    def __init__(self, model):
        super().__init__()
        self.model = model

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.results = self.model.predict(atoms)


def test_published_energy(model, cage):
    exact = deepcopy(model).set_exact_filters()
    found = exact.predict(cage)["energy"] / KCAL_PER_MOL
    assert found == pytest.approx(ENERGY, abs=1e-6)  # as many digits as are written down


@pytest.mark.parametrize("file", [FORCE_MODEL, ENERGY_MODEL])
def test_command_writes_the_same_model(shared_data, cage, tmp_path, file):
    """As a user runs it, and without a word on what the weights are."""
    out = tmp_path / "model.safetensors"
    command = [Path(sys.executable).with_name("atomlens"), "convert", shared_data / "c20" / file, "--out", out]
    subprocess.run([str(word) for word in command], check=True, capture_output=True)
    found = load_model(out, exact_filters=True).predict(cage)
    expected = convert_published(shared_data / "c20" / file).set_exact_filters().predict(cage)
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)
    if file == FORCE_MODEL:
        assert found["energy"] / KCAL_PER_MOL == pytest.approx(ENERGY, abs=1e-6)


def test_table_keeps_what_it_certifies(model, cage):
    """The learned part is 45 kcal/mol; filters are off by 1e-6 of their range, forces by less than 1e-4."""
    found = model.predict(cage)
    assert found["energy"] / KCAL_PER_MOL == pytest.approx(ENERGY, abs=1e-3)
    stretched = cage.copy()
    stretched.positions *= 1.02
    exact, found = deepcopy(model).set_exact_filters().predict(stretched), model.predict(stretched)
    rms = np.sqrt((exact["forces"] ** 2).mean())
    assert np.sqrt(((found["forces"] - exact["forces"]) ** 2).mean()) < 1e-4 * rms


def test_single_precision_costs_no_more_than_the_table(shared_data, cage):
    single = convert_published(shared_data / "c20" / FORCE_MODEL, precision="float32")
    assert single.predict(cage)["energy"] / KCAL_PER_MOL == pytest.approx(ENERGY, abs=1e-3)


def test_energy_model_agrees_with_the_force_model(shared_data, model, cage):
    """Both learned the same reference; this cage is no frame of their data, hence only 0.1 kcal/mol per atom."""
    other = convert_published(shared_data / "c20" / ENERGY_MODEL)
    assert other.predict(cage)["energy"] == pytest.approx(model.predict(cage)["energy"], abs=2.0 * KCAL_PER_MOL)


def test_relaxed_bonds(model, cage):
    """1.41, 1.45 and 1.52 Å in the thesis; 1.411, 1.447-1.453 and 1.516 Å with these weights."""
    cage.calc = OfModel(model)
    assert BFGS(cage, logfile=None).run(fmax=1e-4 * KCAL_PER_MOL, steps=300)
    bonds = np.sort(neighbor_list("d", cage, 1.8)[::1])[::2]
    assert len(bonds) == 30
    kinds = [bonds[bonds < 1.43], bonds[(bonds > 1.43) & (bonds < 1.48)], bonds[bonds > 1.48]]
    assert kinds[0] == pytest.approx(1.411, abs=1e-3)
    assert (kinds[1].min(), kinds[1].max()) == pytest.approx((1.447, 1.453), abs=1e-3)
    assert kinds[2] == pytest.approx(1.516, abs=1e-3)
