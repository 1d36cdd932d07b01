"""The dipole moment from latent partial charges (insights paper eq. 3 and 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from atomlens.data.batch import Batch
from atomlens.data.dataset import Dataset
from atomlens.ops.segment import segment_sum
from atomlens.readouts.atom_network import AtomNetwork, AtomNetworkConfig
from atomlens.readouts.centre import centred_batch
from atomlens.readouts.interface import Readout
from atomlens.readouts.standardise import known_label, rms_norm


class DipoleConfig(AtomNetworkConfig):
    """Hyper-parameters of the dipole readout."""

    name: Literal["dipole"] = "dipole"
    conserve_charge: bool = Field(
        True, description="shift the charges alike so that they add up to the structure's charge, exactly"
    )


class Dipole(Readout):
    """μ = Σ_i q_i (r_i - r_0) in e·Å, with latent charges q_i = q_σ o(x_i) and r_0 the centre of mass.

    With charges conserved, q_i ← q_i + (Q - Σ_j q_j) / n: a neutral molecule's dipole then has no origin. The magnitude
    |μ| comes with the vector, and either can be the target.
    """

    quantity = "dipole"
    atom_quantity = "charges"
    derived_quantities: ClassVar[tuple[str, ...]] = ("dipole_magnitude",)
    open_only: ClassVar[bool] = True

    def __init__(self, config: DipoleConfig, n_features: int, elements: Sequence[int]) -> None:
        super().__init__()
        self.conserve_charge = config.conserve_charge
        self.network = AtomNetwork(config, n_features, 1, elements)
        self.register_buffer("scale", torch.ones((), dtype=torch.float64))

    def terms(self, features: Tensor, batch: Batch) -> Tensor:
        """Latent charges (atoms,) in e."""
        charges = self.network(features, batch.numbers).squeeze(-1).to(torch.float64) * self.scale
        weight = None if batch.weight is None else batch.weight.to(charges)
        charges = charges if weight is None else charges * weight
        if not self.conserve_charge:
            return charges
        systems = batch.cell.shape[0]
        shares = torch.ones_like(charges) if weight is None else weight
        missing = batch.charge.to(charges) - segment_sum(charges, batch.system, systems)
        each = missing / segment_sum(shares, batch.system, systems).clamp(min=1e-12)
        return charges + shares * each.index_select(0, batch.system)

    def total(self, terms: Tensor, batch: Batch) -> Tensor:
        """μ, (systems, 3) in e·Å."""
        arms = centred_batch(batch, "a dipole moment")
        return segment_sum(terms[:, None] * arms, batch.system, batch.cell.shape[0])

    def derived(self, total: Tensor) -> dict[str, Tensor]:
        """|μ|, (systems,) in e·Å."""
        return {"dipole_magnitude": torch.linalg.vector_norm(total, dim=1)}

    def fit(self, data: Dataset, free_atoms: Mapping[int, float] | None) -> None:
        """The scale is the root mean square length of the dipoles; charges are as large on an arm of 1 Å."""
        del free_atoms  # of energies
        name, known = known_label(data, ["dipole", "dipole_magnitude"])
        values = np.asarray(data.labels[name])[known]
        self.scale.fill_(rms_norm(values, values))
