"""The electronic spatial extent ⟨R²⟩ from latent charges (SPEC of the documents, section 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from atomlens.data.batch import Batch
from atomlens.data.dataset import Dataset
from atomlens.data.system import MAX_ATOMIC_NUMBER
from atomlens.ops.segment import segment_sum
from atomlens.readouts.atom_network import AtomNetwork, AtomNetworkConfig
from atomlens.readouts.centre import centred_batch, centred_data
from atomlens.readouts.interface import Readout
from atomlens.readouts.standardise import fit_offsets, known_label, spread

_SHORTEST = 1e-3  # Å², sum of squared distances from the centre of mass; H₂ has 0.27


class SpatialExtentConfig(AtomNetworkConfig):
    """Hyper-parameters of the readout of the electronic spatial extent."""

    name: Literal["electronic_spatial_extent"] = "electronic_spatial_extent"


class SpatialExtent(Readout):
    """⟨R²⟩ = Σ_i q_i |r_i - r_0|² in Å², with latent numbers of electrons q_i = q_σ o(x_i) + c[Z_i]."""

    quantity = "electronic_spatial_extent"
    atom_quantity = "extent_charges"
    open_only: ClassVar[bool] = True
    offsets: Tensor
    charge_scale: Tensor

    def __init__(self, config: SpatialExtentConfig, n_features: int, elements: Sequence[int]) -> None:
        super().__init__()
        self.network = AtomNetwork(config, n_features, 1, elements)
        self.register_buffer("offsets", torch.zeros(MAX_ATOMIC_NUMBER + 1, dtype=torch.float64))
        self.register_buffer("charge_scale", torch.ones((), dtype=torch.float64))
        self.register_buffer("scale", torch.ones((), dtype=torch.float64))

    def terms(self, features: Tensor, batch: Batch) -> Tensor:
        """Latent charges (atoms,), numbers of electrons."""
        raw = self.network(features, batch.numbers).squeeze(-1).to(torch.float64)
        charges = raw * self.charge_scale + self.offsets[batch.numbers]
        return charges if batch.weight is None else charges * batch.weight.to(charges)

    def total(self, terms: Tensor, batch: Batch) -> Tensor:
        """⟨R²⟩, (systems,) in Å²."""
        squares = centred_batch(batch, "a spatial extent").square().sum(dim=1)
        return segment_sum(terms * squares, batch.system, batch.cell.shape[0])

    def derived(self, total: Tensor) -> dict[str, Tensor]:
        """None."""
        del total
        return {}

    def fit(self, data: Dataset, free_atoms: Mapping[int, float] | None) -> None:
        """Charges per element by least squares, and the deviation of what they leave."""
        del free_atoms  # of energies
        name, known = known_label(data, [self.quantity])
        squares = centred_data(data).square().sum(dim=1).numpy()
        arms = np.zeros((len(data), len(data.elements)))
        place = np.repeat(np.arange(len(data)), data.n_atoms), np.searchsorted(data.elements, data.numbers)
        np.add.at(arms, place, squares)
        # An atom alone has no arm: its label says nothing about charges, and would blow up what is divided by arms.
        known = known & (arms.sum(axis=1) > _SHORTEST)
        arms, values = arms[known], data.labels[name][known]
        self.offsets.zero_()
        self.scale.fill_(1.0)
        self.charge_scale.fill_(1.0)
        if not len(values):
            return
        offsets = fit_offsets(arms, values)
        left = values - arms @ offsets
        reach = arms.sum(axis=1)
        self.scale.fill_(spread(left, values))
        self.charge_scale.fill_(spread(left / reach, values / reach))
        self.offsets[data.elements] = torch.from_numpy(offsets)
