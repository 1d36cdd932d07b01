"""What the checks say of public sets: nothing grave of healthy ones, and what is known of others."""

import numpy as np
import pytest
from ase import units

from atomlens.checking.checking import check_data
from atomlens.data.dataset import Dataset

KCAL = units.kcal / units.mol


def test_qm7_has_eleven_structures_twice(shared_data):
    arrays = np.load(shared_data / "qm7.npz")
    data = Dataset.from_arrays(
        arrays["numbers"], arrays["positions"], arrays["n_atoms"], {"energy": KCAL * arrays["atomization_energy"]}
    )
    report = check_data(data)
    (found,) = report.of("fault", "warning")
    assert (found.check, found.status, found.facts["too_many"]) == ("duplicates", "warning", 11)


@pytest.mark.parametrize("name", ["ethanol", "benzene", "aspirin"])
def test_revised_md17_is_healthy(shared_data, name):
    arrays = np.load(shared_data / "rmd17" / f"{name}.npz")
    frames = len(arrays["positions"])
    data = Dataset.from_arrays(
        np.tile(arrays["numbers"], frames),
        arrays["positions"].reshape(-1, 3),
        np.full(frames, len(arrays["numbers"])),
        {"energy": KCAL * arrays["energies"], "forces": KCAL * arrays["forces"].reshape(-1, 3)},
    )
    report = check_data(data)
    assert not report.of("fault", "warning")
    (spring,) = [outcome for outcome in report.outcomes if outcome.check == "forces"]
    assert 0.7 < spring.facts["stiffness_over_textbook"] < 1.3


def test_protonated_water_lacks_its_charge(shared_data):
    arrays = np.load(shared_data / "water_dipole_polarizability.npz")
    data = Dataset.from_arrays(arrays["numbers"], arrays["positions"], arrays["n_atoms"], {})
    (found,) = check_data(data, only=["charges"]).outcomes
    assert found.status == "warning"
    assert set(data.n_atoms[found.structures]) == {7}
