"""What speaks for Ω: the whole network run another way, and other models."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass, replace
from typing import Any

import ase
import numpy as np
import torch
from scipy.spatial.transform import Rotation

from atomlens.data.batch import Pairs
from atomlens.data.system import AtomicSystem
from atomlens.explain.probes.probes import Probing, energy_quantity, probe_number

_TIED = 0.05  # of the range of Ω: atoms closer than this to the extreme share it, as those of a ring do


_FLAT = 1e-5  # eV, deviation below which a field varies by rounding alone


@dataclass(frozen=True)
class Agreement:
    """Ω of two models at the same points."""

    correlation: float  # Pearson's
    offset: float  # eV, mean of the second less that of the first
    same_minimum: bool  # whether the atom where the first is lowest is one of those where the second is
    same_maximum: bool

    def to_dict(self) -> dict[str, Any]:
        """For JSON; without variance there is no correlation."""
        return asdict(self) | {"correlation": self.correlation if np.isfinite(self.correlation) else None}


def agreement(first: np.ndarray, second: np.ndarray, nearest: np.ndarray) -> Agreement:
    """Compare Ω of two models (points,) in eV; ``nearest`` (points,) is the atom nearest to each point."""
    spread = float(first.std() * second.std())
    covariance = float(((first - first.mean()) * (second - second.mean())).mean())
    return Agreement(
        covariance / spread if min(first.std(), second.std()) > _FLAT else float("nan"),
        float(second.mean() - first.mean()),
        _shared_minimum(first, second, nearest),
        _shared_minimum(-first, -second, nearest),
    )


def _shared_minimum(first: np.ndarray, second: np.ndarray, nearest: np.ndarray) -> bool:
    there = second[nearest == nearest[first.argmin()]].min()
    return bool(there <= second.min() + _TIED * np.ptp(second))


@torch.no_grad()
def by_the_whole_network(probing: Probing, points: np.ndarray, probe: str, seed: int = 0) -> np.ndarray:
    """Ω less that of the isolated probe at a few points (points, 3), (points,) in eV, by another way.

    For each point a turned copy of the structure with the probe as one more of its atoms, pairs from the list that
    predictions use, of which those that hear the probe are left out, functions of the distance exact and for every
    pair, and all of it in float64.
    """
    model = copy.deepcopy(probing.model).set_precision(torch.float64).set_exact_filters()
    number, name = probe_number(model, probe), model.readouts[energy_quantity(model)].atom_quantity
    turn = Rotation.random(rng=np.random.default_rng(seed)).as_matrix()
    system, last = probing.system, len(probing.system.numbers)
    found = []
    for point in points:
        joined = AtomicSystem(
            numbers=np.append(system.numbers, number),
            positions=np.vstack([system.positions, point]) @ turn.T,
            cell=system.cell @ turn.T,
            pbc=system.pbc,
            charge=system.charge,
        )
        batch = model.collate([joined])
        pairs = batch.pairs
        kept = pairs.neighbour != last
        shift = None if pairs.shift is None else pairs.shift[kept]
        batch = replace(batch, pairs=Pairs(pairs.centre[kept], pairs.neighbour[kept], shift))
        found.append(float(model.predict(batch, forces=False, stress=False)[str(name)][last]))
    lone = ase.Atoms(numbers=[number], positions=np.zeros((1, 3)))
    return np.array(found) - float(model.predict(lone, forces=False)[str(name)][0])
