"""The fullerene C20 with the weights that the method's first author published (`shared/data/README.md`, MIT).

The energy stands in that file, from an independent evaluation in float64. Bonds: thesis 5.3.
"""

from copy import deepcopy

import ase
import numpy as np
import pytest
import torch
from ase.calculators.calculator import Calculator, all_changes
from ase.neighborlist import neighbor_list
from ase.optimize import BFGS

from atomlens.data.units import KCAL_PER_MOL
from atomlens.model import Model, ModelConfig

ENERGY = -477075.847347  # kcal/mol
SCHNET = {
    "name": "schnet",
    "features": 128,
    "interactions": 6,
    "cutoff": None,
    "cutoff_function": "none",
    "gaussian_range": 20.0,
    "gaussian_spacing": 20.0 / 199,
    "filter_activations": 2,
}


def tensor(array):
    return torch.from_numpy(array.astype(np.float64))


def published_model(file):
    """Our SchNet with the published arrays; their kernels are stored (inputs, outputs)."""
    arrays = np.load(file)
    model = Model(ModelConfig.parse({"representation": SCHNET}), [6]).set_precision(torch.float64)
    state = model.state_dict()
    state["representation.embedding.weight"][:100] = tensor(arrays["atom_embedding.embeddings.W"])
    for block in range(6):
        source, target = f"interaction_{block}", f"representation.blocks.{block}"
        for ours, theirs in (("first", "SchNetFilter.Dense"), ("second", "SchNetFilter.Dense_1")):
            state[f"representation.filters.{ours}_weight"][block] = tensor(arrays[f"{source}.{theirs}.W"])
            state[f"representation.filters.{ours}_bias"][block] = tensor(arrays[f"{source}.{theirs}.b"])
        state[f"{target}.atomwise_in.weight"] = tensor(arrays[f"{source}.CFConv.in2fac.W"].T)
        for ours, theirs in (("atomwise_mid", "CFConv.fac2out"), ("atomwise_out", "Dense")):
            state[f"{target}.{ours}.weight"] = tensor(arrays[f"{source}.{theirs}.W"].T)
            state[f"{target}.{ours}.bias"] = tensor(arrays[f"{source}.{theirs}.b"])
    for ours, theirs in (("first", "Dense"), ("second", "Dense_1")):
        state[f"readouts.energy.{ours}.weight"] = tensor(arrays[f"{theirs}.W"].T)
        state[f"readouts.energy.{ours}.bias"] = tensor(arrays[f"{theirs}.b"])
    model.load_state_dict(state)
    model.refine_tables()
    offset = arrays["mean_per_atom"].astype(float).item() + arrays["atomref.embeddings.W"].astype(float)[6].item()
    scale = arrays["std_per_atom"].astype(float).item()
    model.energy_readout.set_scale(scale * KCAL_PER_MOL, {6: offset * KCAL_PER_MOL})
    return model


@pytest.fixture(scope="module")
def model(shared_data):
    return published_model(shared_data / "c20" / "schnet_force_model.npz")


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


def test_table_keeps_what_it_certifies(model, cage):
    """The learned part is some 1e3 kcal/mol; filters are off by 1e-6 of their range, forces by less than 1e-4."""
    found = model.predict(cage)
    assert found["energy"] / KCAL_PER_MOL == pytest.approx(ENERGY, abs=1e-3)
    stretched = cage.copy()
    stretched.positions *= 1.02
    exact, found = deepcopy(model).set_exact_filters().predict(stretched), model.predict(stretched)
    rms = np.sqrt((exact["forces"] ** 2).mean())
    assert np.sqrt(((found["forces"] - exact["forces"]) ** 2).mean()) < 1e-4 * rms


def test_single_precision_keeps_seven_digits_of_the_learned_part(shared_data, cage):
    single = published_model(shared_data / "c20" / "schnet_force_model.npz").set_precision(torch.float32)
    assert single.predict(cage)["energy"] / KCAL_PER_MOL == pytest.approx(ENERGY, rel=1e-7)


def test_energy_model_agrees_with_the_force_model(shared_data, model, cage):
    """Both learned the same reference; this cage is no frame of their data, hence only 0.1 kcal/mol per atom."""
    other = published_model(shared_data / "c20" / "schnet_energy_model.npz")
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
