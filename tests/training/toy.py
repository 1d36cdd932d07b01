"""A small labelled data set with known physics: three atoms bound by Morse potentials."""

import numpy as np

from atomlens.data.dataset import Dataset
from atomlens.data.splits import random_split
from atomlens.training import RunConfig

DEPTH, WIDTH, REST = 2.0, 1.5, 1.1  # eV, 1/Å, Å


def morse(positions):
    """Energy (eV) and forces (eV/Å) of one structure."""
    energy, forces = 0.0, np.zeros_like(positions)
    for i in range(len(positions)):
        for j in range(i):
            apart = positions[i] - positions[j]
            distance = np.linalg.norm(apart)
            decay = np.exp(-WIDTH * (distance - REST))
            energy += DEPTH * (1 - decay) ** 2
            slope = 2 * DEPTH * WIDTH * (1 - decay) * decay
            forces[i] -= slope * apart / distance
            forces[j] += slope * apart / distance
    return energy, forces


def toy_data(count=48, seed=0):
    rng = np.random.default_rng(seed)
    rest = np.array([[0.0, 0.0, 0.0], [1.1, 0.0, 0.0], [0.3, 1.2, 0.0]])
    positions = rest + 0.1 * rng.normal(size=(count, 3, 3))
    labels = [morse(frame) for frame in positions]
    return Dataset.from_arrays(
        numbers=np.tile([8, 1, 1], count),
        positions=positions.reshape(-1, 3),
        n_atoms=np.full(count, 3),
        labels={
            "energy": np.array([energy for energy, _ in labels]),
            "forces": np.concatenate([forces for _, forces in labels]),
        },
    )


def toy_split(data):
    return random_split(data, 32, 8, 8, seed=0)


def toy_run(**training):
    return RunConfig.parse(
        {
            "data": {"path": "toy"},
            "model": {"representation": {"name": "schnet", "features": 16, "interactions": 2, "cutoff": 4.0}},
            "training": {"epochs": 4, "batch_size": 8, "tensorboard": False, **training},
        }
    )
