import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

from atomlens.errors import InputError
from atomlens.explain import atom_contributions
from atomlens.model import Model, ModelConfig

FREE = {1: -13.0, 6: -1029.0, 8: -2039.0}
REFERENCES = {1: -13.6, 6: -1030.0, 8: -2040.0}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    made = Model(ModelConfig(), [1, 6, 8])
    made.energy_readout.set_scale(1.0, REFERENCES, FREE)
    return made


def test_relative_to_nothing_they_sum_to_the_energy(model):
    structures = [molecule("CH3CH2OH"), molecule("H2O"), bulk("C")]
    found = atom_contributions(model, structures, relative_to="nothing")
    energies = [model.predict(atoms)["energy"] for atoms in structures]
    np.testing.assert_allclose([part.sum() for part in found.per_structure], energies, rtol=1e-9)


def test_relative_to_free_atoms_they_sum_to_the_atomisation_energy(model):
    water = molecule("H2O")
    found = atom_contributions(model, [water])
    assert found.relative_to == "free atoms"
    expected = model.predict(water)["energy"] - (2 * FREE[1] + FREE[8])
    assert found.values.sum() == pytest.approx(float(expected), rel=1e-9)


def test_without_free_atoms_the_references_are_the_baseline():
    bare = Model(ModelConfig(), [1, 8])
    bare.energy_readout.set_scale(1.0, REFERENCES)
    assert atom_contributions(bare, [molecule("H2O")]).relative_to == "references"
    with pytest.raises(InputError, match="no free-atom energy of H, O"):
        atom_contributions(bare, [molecule("H2O")], relative_to="free atoms")


def test_elements_and_atoms_are_sorted_out(model):
    frames = [molecule("CH3CH2OH") for _ in range(3)]
    for seed, frame in enumerate(frames):
        frame.rattle(0.05, seed=seed)
    found = atom_contributions(model, frames)
    facts = found.to_dict()
    oxygen = [values[2] for values in found.per_structure]
    assert facts["per_element"]["O"]["count"] == 3
    assert facts["per_atom"][2] == {
        "index": 2,
        "symbol": "O",
        "mean": np.mean(oxygen),
        "std": np.std(oxygen),
        "count": 3,
    }
    assert sum(entry["count"] for entry in facts["per_element"].values()) == 27


def test_per_atom_only_where_all_structures_have_the_same_atoms(model):
    assert "per_atom" not in atom_contributions(model, [molecule("H2O"), molecule("CH4")]).to_dict()
    swapped = molecule("H2O")[[1, 0, 2]]
    assert "per_atom" not in atom_contributions(model, [molecule("H2O"), swapped]).to_dict()
