"""SchNet against PyTorch Geometric's with the same weights: values that it gave, and live where it is installed."""

import json

import ase
import numpy as np
import pytest
import torch
from make_pyg_schnet import DEVIATION, FILE, MEAN, NETWORKS, digest, draw_weights, make_pyg

from atomlens.model import Model, ModelConfig

GOLDEN = json.loads(FILE.read_text(encoding="utf-8"))
STRUCTURES = {
    name: ase.Atoms(entry["numbers"], entry["positions"], cell=entry["cell"], pbc=entry["pbc"])
    for name, entry in GOLDEN["structures"].items()
}
# Both sum in float64. PyTorch Geometric's softplus is linear above 20, which leaves out 2e-9 of it; crystals get there.
TOLERANCE = 1e-9


def make_model(label):
    """Our SchNet with the weights that PyTorch Geometric's had."""
    network = NETWORKS[label]
    weights = {name: torch.from_numpy(values) for name, values in draw_weights(network).items()}
    spacing = network["cutoff"] / (network["gaussians"] - 1)
    representation = {
        "name": "schnet",
        "features": network["features"],
        "interactions": network["interactions"],
        "cutoff": network["cutoff"],
        "cutoff_function": "cosine",
        "gaussian_spacing": spacing,
        "gaussian_gamma": 0.5 / spacing**2,
    }
    model = Model(ModelConfig.parse({"representation": representation}), [1, 6, 8, 11, 17])
    model.set_precision(torch.float64)
    with torch.no_grad():
        fill(model, weights)
    model.refine_tables()
    references = {number: MEAN + weights["atomref.weight"][number].item() for number in model.elements}
    model.energy_readout.set_scale(DEVIATION, references)
    return model


def fill(model, weights):
    schnet = model.representation
    schnet.embedding.weight[:100] = weights["embedding.weight"]
    for place, block in enumerate(schnet.blocks):
        name, filters = f"interactions.{place}", schnet.filters
        filters.first_weight[place] = weights[f"{name}.mlp.0.weight"].T
        filters.first_bias[place] = weights[f"{name}.mlp.0.bias"]
        filters.second_weight[place] = weights[f"{name}.mlp.2.weight"].T
        filters.second_bias[place] = weights[f"{name}.mlp.2.bias"]
        block.atomwise_in.weight.copy_(weights[f"{name}.conv.lin1.weight"])
        for layer, source in ((block.atomwise_mid, "conv.lin2"), (block.atomwise_out, "lin")):
            layer.weight.copy_(weights[f"{name}.{source}.weight"])
            layer.bias.copy_(weights[f"{name}.{source}.bias"])
    readout = [module for module in model.energy_readout.modules() if isinstance(module, torch.nn.Linear)]
    for layer, source in zip(readout, ("lin1", "lin2"), strict=True):
        layer.weight.copy_(weights[f"{source}.weight"])
        layer.bias.copy_(weights[f"{source}.bias"])


@pytest.fixture(scope="module", params=NETWORKS)
def label(request):
    return request.param


@pytest.fixture(scope="module")
def values(label):
    """Per structure energy and forces (atoms, 3)."""
    kept = GOLDEN["results"][label]
    assert kept["network"] == NETWORKS[label]
    assert kept["weights_sha256"] == digest(draw_weights(NETWORKS[label])), "numpy draws other numbers than it did"
    return {name: (found["energy"], np.array(found["forces"])) for name, found in kept["values"].items()}


def assert_agree(found, energy, forces, tolerance):
    assert found["energy"] == pytest.approx(energy, rel=tolerance)
    off = np.abs(found["forces"] - forces).max()
    assert off <= tolerance * np.abs(forces).max(), off


def test_exact_filters(label, values):
    model = make_model(label).set_exact_filters()
    for name, atoms in STRUCTURES.items():
        assert_agree(model.predict(atoms), *values[name], TOLERANCE)


def test_all_in_one_batch(label, values):
    found = make_model(label).set_exact_filters().predict(list(STRUCTURES.values()))
    for result, name in zip(found, STRUCTURES, strict=True):
        assert_agree(result, *values[name], TOLERANCE)


def test_through_tables(label, values):
    """Filters are off by 1e-6 of their range, slopes by a hundred times as much of theirs (docs/schnet.md)."""
    model, largest = make_model(label), max(np.abs(forces).max() for _, forces in values.values())
    for name, atoms in STRUCTURES.items():
        found = model.predict(atoms)
        energy, forces = values[name]
        assert found["energy"] == pytest.approx(energy, rel=1e-6)
        assert np.abs(found["forces"] - forces).max() <= 1e-4 * largest


def test_golden_values_tell_cutoffs_apart(values, label):
    """The pairs at either side of a cutoff are there: neighbours within it, none beyond."""
    cutoff = NETWORKS[label]["cutoff"]
    for name in (name for name in STRUCTURES if name.startswith("CO ")):
        apart = float(name.split()[1])
        assert (np.abs(values[name][1]).max() > 0) == (apart < cutoff and NETWORKS[label]["interactions"] > 0)


def test_live(label, values):
    pytest.importorskip("torch_geometric", reason="PyTorch Geometric is not installed")
    evaluate, model = make_pyg(NETWORKS[label], draw_weights(NETWORKS[label])), make_model(label).set_exact_filters()
    for name, atoms in STRUCTURES.items():
        energy, forces = evaluate(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
        assert energy == pytest.approx(values[name][0], rel=1e-12)
        assert_agree(model.predict(atoms), energy, forces, TOLERANCE)
