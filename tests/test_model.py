import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from atomlens import model as model_module
from atomlens.data.system import AtomicSystem
from atomlens.errors import InputError
from atomlens.model import Model, ModelConfig


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Model(ModelConfig(), [1, 6, 8, 14])


def test_one_structure_a_list_and_a_batch_agree(model):
    structures = [molecule("CH4"), molecule("CH3CH2OH"), Atoms("H")]
    listed = model.predict(structures)
    batch = model.predict(model.collate(structures))
    for place, atoms in enumerate(structures):
        alone = model.predict(atoms)
        assert set(alone) == {"energy", "atom_energies", "forces"}
        for name, values in alone.items():
            np.testing.assert_allclose(listed[place][name], values, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(batch["energy"][place], alone["energy"], rtol=1e-6)


def test_molecules_and_crystals_mix(model):
    found = model.predict([molecule("CH4"), bulk("Si"), molecule("H2O")])
    assert ["stress" in entry for entry in found] == [False, True, False]
    np.testing.assert_allclose(found[1]["energy"], model.predict(bulk("Si"))["energy"], rtol=1e-6)


def test_chunks_change_nothing(model, monkeypatch):
    structures = [molecule(name) for name in ("CH4", "C6H6", "H2O", "CH3CH2OH")] * 3
    whole = model.predict(structures)
    monkeypatch.setattr(model_module, "CHUNK_BYTES", 60_000)
    for one, other in zip(whole, model.predict(structures), strict=True):
        np.testing.assert_allclose(one["energy"], other["energy"], rtol=1e-6)
        np.testing.assert_allclose(one["forces"], other["forces"], atol=1e-5)


def test_places_in_messages_count_through_chunks(model, monkeypatch):
    monkeypatch.setattr(model_module, "CHUNK_BYTES", 1)
    clash = Atoms("OH", positions=[[0, 0, 0], [0, 0, 0.1]])
    with pytest.raises(InputError, match=r"structure 2: atom 0 \(O\) and atom 1 \(H\) are 0\.100 Å apart"):
        model.predict([molecule("CH4"), molecule("H2O"), clash])
    with pytest.raises(
        InputError, match=r"structure 1, atom 0: N is an element that the model never saw \(it knows H, C"
    ):
        model.predict([molecule("CH4"), molecule("NH3")])


def test_empty_list(model):
    assert model.predict([]) == []


def test_energies_alone(model):
    found = model.predict(molecule("CH4"), forces=False)
    assert set(found) == {"energy", "atom_energies"}


def test_numpy_structures(model):
    atoms = molecule("H2O")
    np.testing.assert_array_equal(model.predict(AtomicSystem.from_ase(atoms))["energy"], model.predict(atoms)["energy"])


def test_periodic_without_cutoff_is_refused():
    representation = {"name": "schnet", "cutoff": None, "cutoff_function": "none", "gaussian_range": 10.0}
    boundless = Model(ModelConfig.parse({"representation": representation}), [14])
    with pytest.raises(InputError, match="no cutoff"):
        boundless.predict(bulk("Si"))


def test_stress_of_molecules_and_slabs_is_refused(model):
    slab = bulk("Si")
    slab.pbc = [True, True, False]
    with pytest.raises(InputError, match="structure 1: stress needs three periodic directions"):
        model.predict([bulk("Si"), slab], stress=True)
    with pytest.raises(InputError, match="stress needs structures that are periodic"):
        model.predict(model.collate([molecule("H2O")]), stress=True)


def test_charges_never_seen_are_refused(model):
    hydronium = molecule("H2O")
    hydronium.info["charge"] = 1
    with pytest.raises(InputError, match="structure 1: has a total charge of 1 e, which the model never saw"):
        model.predict([molecule("H2O"), hydronium])
    cation = Model(ModelConfig(), [1, 8], charges=[1.0])
    cation.predict(hydronium)


def test_graph_of_forces_is_kept_on_demand(model):
    batch = model.collate([molecule("H2O")])
    assert model(batch, forces=True, differentiable=True)["forces"].requires_grad
    assert not model(batch, forces=True)["forces"].requires_grad


def test_forces_survive_an_outer_no_grad(model):
    batch = model.collate([molecule("H2O")])
    with torch.no_grad():
        inside = model(batch, forces=True)["forces"]
    torch.testing.assert_close(inside, model(batch, forces=True)["forces"])
