"""Models on which the contract is tested: one row per kind that users can build."""

from __future__ import annotations

import torch

from atomlens.model import Model, ModelConfig

# Small settings of each representation; a variant without a name is SchNet's.
SMALL = {
    "schnet": {"features": 16, "interactions": 2},
    "dtnn": {"features": 12, "factors": 20, "interactions": 2},
    "behler_parrinello": {"n_radial": 8, "n_angular": 3},
}
OPEN = {"cutoff": None, "cutoff_function": "none", "gaussian_range": 10.0}

VARIANTS = {
    "default": {},
    "cosine cutoff": {"cutoff_function": "cosine"},
    "short cutoff": {"cutoff": 2.5},
    "no cutoff": OPEN,
    "two filter activations": {"filter_activations": 2},
    "shared filters": {"shared_filters": True},
    "mean aggregation": {"aggregation": "mean"},
    "mean, cosine, shared": {"aggregation": "mean", "cutoff_function": "cosine", "shared_filters": True},
    "no interactions": {"interactions": 0},
    "float64": {},
    "one element": {},
    "dtnn": {"name": "dtnn"},
    "dtnn with cutoff": {"name": "dtnn", "cutoff": 5.0, "cutoff_function": "smooth"},
    "dtnn, cosine cutoff": {"name": "dtnn", "cutoff": 4.0, "cutoff_function": "cosine"},
    "dtnn float64": {"name": "dtnn", "cutoff": 5.0, "cutoff_function": "smooth"},
    "symmetry functions": {"name": "behler_parrinello", "kind": "element"},
    "weighted symmetry functions": {"name": "behler_parrinello"},
    "smooth symmetry functions": {"name": "behler_parrinello", "cutoff_function": "smooth", "angular_grid": "centred"},
}


def make_model(variant: str = "default", seed: int = 0, **changes) -> Model:
    """A model with random weights, biases included, and references as large as real total energies."""
    name = VARIANTS[variant].get("name", "schnet")
    config = ModelConfig.parse({"representation": {"name": name, **SMALL[name], **VARIANTS[variant], **changes}})
    elements = [14] if variant == "one element" else [1, 6, 7, 8]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Model(config, elements)
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                torch.nn.init.normal_(parameter, 0.0, 0.3)
    model.energy_readout.set_scale(0.7, {number: -163.4 * number - 13.6 for number in elements})
    return model.set_precision(torch.float64) if variant.endswith("float64") else model
