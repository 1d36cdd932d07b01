"""What training minimises."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from atomlens.data.batch import Batch
from atomlens.errors import InputError
from atomlens.ops.segment import segment_sum


def energy_forces_loss(
    outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor], batch: Batch, weights: Mapping[str, float]
) -> Tensor:
    """ρ |E - Ê|² + (1/n) Σ_i |F_i - F̂_i|², averaged over the batch (thesis eq. 5.7).

    Args:
        outputs: predictions of the model, ``energy`` (systems,) in eV and ``forces`` (atoms, 3) in eV/Å.
        targets: the labels, of the same shapes.
        batch: the structures.
        weights: ρ as ``energy``, the weight of the second term as ``forces``; a term without weight is left out.
    """
    systems = batch.cell.shape[0]
    # Zero times the energy: processes that train together expect a gradient for the last bias too, which forces lack.
    loss = 0.0 * outputs["energy"].sum()
    if weights.get("energy"):
        loss = loss + weights["energy"] * (outputs["energy"] - targets["energy"]).square().mean()
    if weights.get("forces"):
        squares = (outputs["forces"] - targets["forces"]).square().sum(dim=1)
        sizes = torch.bincount(batch.system, minlength=systems)
        loss = loss + weights["forces"] * (segment_sum(squares, batch.system, systems) / sizes).mean()
    return loss


def loss_weights(asked: Mapping[str, float] | None, labels: list[str]) -> dict[str, float]:
    """The weights to use: as asked for, or the default for the labels that there are.

    Raises:
        InputError: a weight is negative, or belongs to no quantity that can be trained on, or none is positive.
    """
    if asked is None:
        return {"energy": 0.01, "forces": 1.0} if "forces" in labels else {"energy": 1.0}
    for name, weight in asked.items():
        if name not in ("energy", "forces"):
            raise InputError(f"training.loss: '{name}' cannot be trained on; give weights of energy and forces")
        if not weight >= 0:
            raise InputError(f"training.loss: the weight of {name} is {weight}; give a number that is not negative")
    if not any(asked.values()):
        raise InputError("training.loss: every weight is zero; give energy or forces a positive one")
    return {name: float(weight) for name, weight in asked.items() if weight}
