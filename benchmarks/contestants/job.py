"""What a contestant is given, and what it hands back to be timed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Arrays = Mapping[str, np.ndarray]

ENERGY_TRAINING, FORCE_TRAINING, INFERENCE, DYNAMICS = "energy training", "force training", "inference", "dynamics"
KINDS = (ENERGY_TRAINING, FORCE_TRAINING, INFERENCE, DYNAMICS)

# The loss of schnetpack's own recipe for energies and forces (its configs/experiment/md17.yaml), and its step size.
ENERGY_WEIGHT, FORCE_WEIGHT = 0.01, 0.99
LEARNING_RATE = 5e-4
TIMESTEP = 0.5  # fs, of the dynamics
DYNAMICS_STEPS = 10  # in one go, from the same start


class NotOfferedError(Exception):
    """The contestant cannot do this work; the message says why."""


@dataclass(frozen=True)
class Network:
    """A SchNet, in the terms that all contestants share."""

    features: int
    interactions: int
    gaussians: int
    range: float  # Å, the last Gaussian centre
    gamma: float  # Å⁻²
    cutoff: float | None  # Å, of a cosine cutoff; None: none
    filter_activations: int


@dataclass(frozen=True)
class Job:
    """One piece of work.

    ``arrays`` hold a batch: ``numbers`` (atoms,), ``positions`` (atoms, 3) Å float64, ``system`` (atoms,), ``cell``
    (systems, 3, 3), ``pbc`` (systems, 3), the directed pairs ``centre``, ``neighbour`` (pairs,) and, where periodic,
    ``shift`` (pairs, 3), the labels ``energy`` (systems,) and ``forces`` (atoms, 3), and ``velocities`` (atoms, 3).
    ``weights`` hold the state of an atomlens model, by its names.
    """

    kind: str
    network: Network
    arrays: Arrays
    weights: Arrays
    precision: str = "float32"

    @property
    def systems(self) -> int:
        """Number of structures."""
        return len(self.arrays["cell"])

    def offsets(self) -> np.ndarray:
        """What to add to the neighbour's position of each pair, (pairs, 3) in Å."""
        centre = self.arrays["centre"]
        if "shift" not in self.arrays:
            return np.zeros((len(centre), 3))
        cell = self.arrays["cell"][self.arrays["system"][centre]]
        return np.asarray(np.einsum("pa,pab->pb", self.arrays["shift"].astype(np.float64), cell))


@dataclass(frozen=True)
class Work:
    """Prepared work: the clock runs over ``step`` only."""

    fresh: Callable[[], Any]  # material for one step that no step has seen before
    step: Callable[[Any], object]
    results: Callable[
        [], dict[str, np.ndarray]
    ]  # energy (systems,), forces (atoms, 3), gradient (weights,) before training
    units: int = 1  # how many units of work one step does
