"""Ready-made settings of a run: what the two documents did, beside the present default."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from atomlens.config import nearest
from atomlens.errors import InputError

# No average of weights and no clipping: the documents had neither.
_PLAIN: dict[str, Any] = {"averaging": 0.0, "gradient_clip": None}
_ADAM: dict[str, Any] = {
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "schedule": "exponential",
    "batch_size": 32,
    **_PLAIN,
}

# Name, what it is, and settings as a run file has them.
RECIPES: dict[str, tuple[str, dict[str, Any]]] = {
    "dtnn": (
        "DTNN as in chapter 3 of the thesis: stochastic gradient descent with momentum 0.9, 3,000 epochs. Its learning "
        "rate belongs to another scale of the loss; this one is in units of the standardised loss",
        {
            "model": {"representation": {"name": "dtnn", "features": 30, "factors": 60, "interactions": 3}},
            "atom_networks": {"activation": "tanh"},
            "training": {
                "optimizer": "sgd",
                "momentum": 0.9,
                "learning_rate": 1e-5,  # 1e-4 no longer converges on QM7
                "schedule": "constant",
                "epochs": 3000,
                **_PLAIN,
            },
        },
    ),
    "schnet": (
        "SchNet as in chapter 4 of the thesis for molecules: 64 features, 6 blocks, Adam with a decay of 0.96 per "
        "100,000 steps",
        {
            "model": {"representation": {"name": "schnet", "features": 64, "interactions": 6}},
            "training": _ADAM,
        },
    ),
    "schnet-forces": (
        "SchNet as in chapter 5 of the thesis for energies and forces: 3 blocks, ρ = 0.01 (eq. 5.7)",
        {
            "model": {"representation": {"name": "schnet", "features": 64, "interactions": 3}},
            "training": {**_ADAM, "loss": {"energy": 0.01, "forces": 1.0}},
        },
    ),
    "schnet-crystals": (
        "SchNet as in chapter 4 of the thesis for crystals: mean over neighbours within 5 Å (eq. 4.14)",
        {
            "model": {"representation": {"name": "schnet", "cutoff": 5.0, "aggregation": "mean", "interactions": 6}},
            "training": _ADAM,
        },
    ),
    "behler-parrinello": (
        "weighted symmetry functions with one network per element, as in the insights paper, trained as by default",
        {
            "model": {"representation": {"name": "behler_parrinello", "kind": "weighted"}},
            "atom_networks": {"networks": "per_element", "hidden": [64, 64]},
        },
    ),
}


def recipe(name: str) -> dict[str, Any]:
    """The settings of a recipe, as a run file has them.

    Raises:
        InputError: there is none of that name; the nearest is named.
    """
    if name not in RECIPES:
        raise InputError(f"unknown recipe '{name}'; {nearest(name, list(RECIPES))}")
    return deepcopy(RECIPES[name][1])
