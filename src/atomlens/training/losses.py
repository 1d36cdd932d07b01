"""What training minimises."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from atomlens.config import nearest
from atomlens.data.batch import Batch
from atomlens.data.quantities import QUANTITIES, quantity
from atomlens.errors import InputError
from atomlens.ops.segment import segment_sum


def loss(
    outputs: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    batch: Batch,
    weights: Mapping[str, float],
    scales: Mapping[str, float],
) -> Tensor:
    """Weighted squared errors, each in units of its quantity's scale, averaged over the batch.

    Energies and forces give ρ |E - Ê|² + (1/n) Σ_i |F_i - F̂_i|² (thesis eq. 5.7), ρ the weight of energies; stress
    joins as the virial per atom, |V (σ - σ̂) / n|²; every other property as |y - ŷ|², over its components. Labels that
    are not known, NaN, count for nothing.

    Args:
        outputs: predictions of the model, properties (systems, ...) and ``forces`` (atoms, 3).
        targets: the labels, of the same shapes.
        batch: the structures.
        weights: per quantity; a term without weight is left out.
        scales: per quantity, in its unit; energies, forces and stress share that of the energy.
    """
    # Zero times what has no weight: processes that train together expect a gradient of every weight, and forces alone
    # give the last bias none.
    idle = [name for name in outputs if name in scales and name not in weights and quantity(name).per == "system"]
    total: Any = sum(0.0 * outputs[name].sum() for name in idle)
    for name, weight in weights.items():
        scale = scales["energy"] if name in ("forces", "stress") else scales[name]
        total = total + weight * _squared_error(name, outputs[name], targets[name], batch) / scale**2
    return cast(Tensor, total)


def _squared_error(name: str, output: Tensor, target: Tensor, batch: Batch) -> Tensor:
    """Mean over the structures of the batch of |y - ŷ|², of an atom's share for forces and stress."""
    known = torch.isfinite(target)
    off = output - target
    if not bool(known.all()):
        off = torch.where(known, output - torch.where(known, target, 0.0), 0.0)
    systems = batch.cell.shape[0]
    if name == "forces":
        squares = segment_sum(off.square().sum(dim=1), batch.system, systems) / _sizes(batch)
        return squares.mean()
    if name == "stress":
        off = off * (torch.linalg.det(batch.cell).abs() / _sizes(batch))[:, None, None]
    return off.square().sum() / systems


def _sizes(batch: Batch) -> Tensor:
    return torch.bincount(batch.system, minlength=batch.cell.shape[0])


def loss_weights(
    asked: Mapping[str, float] | None, labels: Sequence[str], predicted: Sequence[str]
) -> dict[str, float]:
    """The weights to use: as asked for, or the default for the labels that there are.

    By default energies weigh 0.01 beside forces of weight 1 (thesis 5.2), stress is not trained on, and every other
    property with a label weighs 1; a vector's magnitude or a tensor's trace counts only where the data label no whole.

    Args:
        asked: by the user; None for the default.
        labels: quantities that the data label.
        predicted: quantities that the model predicts.

    Raises:
        InputError: a weight is negative, or belongs to no quantity that can be trained on, or none is positive.
    """
    possible = [name for name in predicted if name not in _TERMS and not name.startswith("atom_")]
    if asked is None:
        chosen = [name for name in possible if name in labels and name != "stress"]
        for whole, part in (("dipole", "dipole_magnitude"), ("polarizability", "isotropic_polarizability")):
            if whole in chosen and part in chosen:
                chosen.remove(part)
        if not chosen:
            have, can = ", ".join(labels) or "none", ", ".join(possible)
            raise InputError(
                f"no label that the model predicts (labels: {have}; predicted: {can}); name keys and units"
            )
        return {name: 0.01 if name == "energy" and "forces" in chosen else 1.0 for name in chosen}
    for name, weight in asked.items():
        if name not in possible and (weight or name not in QUANTITIES):
            hint = nearest(name, possible)
            raise InputError(f"training.loss: '{name}' is not predicted by this model and cannot be trained on; {hint}")
        if not 0 <= weight < math.inf:
            raise InputError(
                f"training.loss: the weight of {name} is {weight}; give a finite number that is not negative"
            )
    if not any(asked.values()):
        raise InputError("training.loss: every weight is zero; give one quantity a positive one")
    return {name: float(weight) for name, weight in asked.items() if weight}


_TERMS = ("charges", "extent_charges")
