import copy
import dataclasses

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


def ethanol_model(**representation):
    torch.manual_seed(0)
    config = ModelConfig.parse({"representation": {"name": "schnet", **representation}})
    model = Model(config, elements=[1, 6, 8])
    return model, model.collate([molecule("CH3CH2OH")])


@pytest.mark.parametrize(("features", "filters"), [(64, 32), (32, 64), (48, 32), (64, 48)])
def test_filters_of_another_length(features, filters):
    model, batch = ethanol_model(features=features, filters=filters)
    found = model.predict(batch)
    exact = model.set_exact_filters().predict(batch)
    torch.testing.assert_close(found["forces"], exact["forces"], rtol=1e-3, atol=1e-4)


@pytest.mark.filterwarnings("ignore")  # torch's compiler warns of what it passes over
def test_compiled_models_are_the_same():
    """torch.compile leaves kernels alone, and what they read alive."""
    model, batch = ethanol_model(features=64)
    compiled = torch.compile(model, backend="eager")
    torch.testing.assert_close(compiled(batch)["energy"], model(batch)["energy"])
    found, expected = compiled(batch, forces=True), model(batch, forces=True)
    torch.testing.assert_close(found["forces"], expected["forces"])
    torch._dynamo.reset()


@pytest.mark.filterwarnings("ignore:.torch.jit.script.:DeprecationWarning")  # of torch.func itself
def test_function_transforms_with_exact_filters():
    """torch.func follows models with exact filters, of which every function is torch's own."""
    model, batch = ethanol_model(features=64)
    model.set_exact_filters()

    def energy(positions):
        return model(dataclasses.replace(batch, positions=positions))["energy"].sum()

    slopes = torch.func.grad(energy)(batch.positions)
    torch.testing.assert_close(slopes, -model.predict(batch)["forces"], rtol=1e-4, atol=1e-5)
    hessian = torch.func.hessian(energy)(batch.positions).detach()
    assert torch.isfinite(hessian).all()
    torch.testing.assert_close(hessian, hessian.permute(2, 3, 0, 1), rtol=1e-2, atol=1e-3 * float(hessian.abs().max()))


def test_predictions_follow_weights_that_are_written_past_torch():
    model, batch = ethanol_model(features=64)
    model.predict(batch)
    block = model.representation.blocks[1]
    for change in (
        lambda: block.atomwise_mid.weight.data[3].neg_(),
        lambda: block.atomwise_in.weight.data.copy_(torch.eye(64)),
        lambda: block.atomwise_in.weight.data.copy_(torch.eye(64)[torch.randperm(64)]),
        lambda: block.atomwise_out.bias.detach().numpy().__imul__(2.0),
        lambda: model.readouts["energy"].network.layers[0].weight.data.mul_(2.0),
        lambda: model.representation.filters.second_weight.data[0].mul_(1.5),
    ):
        change()
        expected = copy.deepcopy(model)
        expected.representation._kept_layers = expected.representation.filters._kept = None
        torch.testing.assert_close(model.predict(batch), expected.predict(batch), rtol=0.0, atol=0.0)
