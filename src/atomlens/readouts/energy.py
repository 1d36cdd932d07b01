"""The energy as a sum over atoms (thesis eq. 3.8, 4.6; insights paper eq. 2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from atomlens.config import Config
from atomlens.data.batch import Batch
from atomlens.data.system import MAX_ATOMIC_NUMBER
from atomlens.ops.activations import shifted_softplus
from atomlens.ops.segment import segment_sum
from atomlens.readouts.interface import Output, Readout


class EnergyConfig(Config):
    """Hyper-parameters of the energy readout."""

    name: Literal["energy"] = "energy"
    hidden: int | None = Field(None, ge=1, description="width of the hidden layer; null: half the features")


class Energy(Readout):
    """E = Σ_i E_i with E_i = E_σ o(x_i) + E_ref[Z_i], in eV.

    The references hold what is known before learning: free atoms, or offsets fitted to the training set (`set_scale`).
    They are added, and all sums taken, in float64, so that large totals cost no precision.
    """

    quantity = "energy"
    atom_quantity = "atom_energies"
    references: Tensor
    free_atoms: Tensor
    scale: Tensor

    def __init__(self, config: EnergyConfig, n_features: int) -> None:
        super().__init__()
        hidden = config.hidden or max(n_features // 2, 1)
        self.first = nn.Linear(n_features, hidden)
        self.second = nn.Linear(hidden, 1)
        for layer in (self.first, self.second):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.register_buffer("references", torch.zeros(MAX_ATOMIC_NUMBER + 1, dtype=torch.float64))
        # The part of the references that is known from free atoms; NaN where it is not.
        self.register_buffer("free_atoms", torch.full((MAX_ATOMIC_NUMBER + 1,), torch.nan, dtype=torch.float64))
        self.register_buffer("scale", torch.ones((), dtype=torch.float64))

    def set_scale(
        self, scale: float, references: Mapping[int, float], free_atoms: Mapping[int, float] | None = None
    ) -> None:
        """Set E_σ in eV and E_ref in eV per atomic number, with the free-atom energies in it where they are known."""
        self.scale.fill_(scale)
        self.references.zero_()
        self.free_atoms.fill_(torch.nan)
        for number, value in references.items():
            self.references[number] = value
        for number, value in (free_atoms or {}).items():
            self.free_atoms[number] = value

    def learned_terms(self, features: Tensor, batch: Batch) -> Tensor:
        """E_σ o(x_i) without references, (atoms,) in eV, float64."""
        raw = self.second(shifted_softplus(self.first(features))).squeeze(-1)
        return self._weighted(raw.to(torch.float64) * self.scale, batch)

    def forward(self, features: Tensor, batch: Batch) -> Output:
        """Energies (systems,) and atom energies (atoms,) in eV, float64."""
        terms = self.learned_terms(features, batch) + self._weighted(self.references[batch.numbers], batch)
        return Output(system=segment_sum(terms, batch.system, batch.cell.shape[0]), atoms=terms)

    def _weighted(self, terms: Tensor, batch: Batch) -> Tensor:
        return terms if batch.weight is None else terms * batch.weight.to(terms.dtype)
