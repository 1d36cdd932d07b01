"""Models on which the contract is tested: one row per kind that users can build."""

from __future__ import annotations

import ase
import torch
from ase.build import molecule

from atomlens.model import Model, ModelConfig
from atomlens.testing import Subject
from atomlens.testing.structures import crystals, molecules, slabs

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
    "dtnn float64": {"name": "dtnn", "cutoff": 3.0, "cutoff_function": "smooth"},
    "symmetry functions": {"name": "behler_parrinello", "kind": "element"},
    "weighted symmetry functions": {"name": "behler_parrinello"},
    "smooth symmetry functions": {"name": "behler_parrinello", "cutoff_function": "smooth", "angular_grid": "centred"},
}

# The range lies inside the cutoffs, so that both are seen.
TENSOR = {"name": "polarizability", "channels": 4, "range": 3.0}
READOUTS = {
    "energy": [{"name": "energy"}],
    "energy per element": [{"name": "energy", "networks": "per_element", "hidden": [6, 5]}],
    "zero-point energy": [{"name": "extensive", "property": "zero_point_energy", "activation": "tanh"}],
    "homo": [{"name": "intensive", "property": "homo"}],
    "formation energy": [{"name": "intensive", "property": "formation_energy", "networks": "per_element"}],
    "dipole": [{"name": "dipole"}],
    "dipole of free charges": [{"name": "dipole", "conserve_charge": False}],
    "spatial extent": [{"name": "electronic_spatial_extent"}],
    "polarisability": [TENSOR],
    "several of molecules": [{"name": "energy"}, {"name": "dipole"}, TENSOR],
    "several of crystals": [
        {"name": "energy"},
        {"name": "intensive", "property": "formation_energy"},
        {"name": "intensive", "property": "gap"},
    ],
}
# Every representation meets every readout; in float32 SchNet alone, for time.
BASES = ("default", "no cutoff", "dtnn float64", "symmetry functions", "weighted symmetry functions")
MATRIX = [
    (variant, readouts)
    for variant in BASES
    for readouts in READOUTS
    if readouts != "energy" and (variant, readouts) != ("no cutoff", "several of crystals")
]


def make_model(variant: str = "default", readouts: str = "energy", seed: int = 0, **changes) -> Model:
    """A model with random weights, biases included, and references as large as real total energies."""
    name = VARIANTS[variant].get("name", "schnet")
    config = {"representation": {"name": name, **SMALL[name], **VARIANTS[variant], **changes}}
    elements = [14] if variant == "one element" else [1, 6, 7, 8]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Model(ModelConfig.parse({**config, "readouts": READOUTS[readouts]}), elements)
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                torch.nn.init.normal_(parameter, 0.0, 0.3)
    for readout in model.readouts.values():
        readout.scale.fill_(0.7)
        for name, buffer in readout.named_buffers():
            if name in ("references", "offsets"):
                steep = -163.4 if name == "references" else 1.3
                buffer[elements] = torch.tensor([steep * number - 13.6 for number in elements], dtype=torch.float64)
    exact = variant.endswith("float64") or (variant != "default" and readouts != "energy")
    return model.set_precision(torch.float64) if exact else model


def make_subject(variant: str, readouts: str) -> Subject:
    """A model with its structures: all of the suite's for energies of the main representations, else small ones."""
    model = make_model(variant, readouts)
    every = readouts == "energy" and variant in (*BASES, "one element")
    return Subject.of(model, None if every else small_cases(model))


def small_cases(model: Model) -> list[ase.Atoms]:
    """Two molecules, and where the model takes them a crystal and a chain that repeats in one direction."""
    methanol = molecule("CH3OH")
    methanol.rattle(0.05, seed=1)
    cases = [molecules(model.elements)[2], methanol]
    if model.cutoff is not None and not model.open_only:
        cases += [crystals(model.elements, model.cutoff)[0], slabs(model.elements, model.cutoff)[1]]
    return cases
