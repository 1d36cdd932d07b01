"""Scalar properties: sums over atoms where they grow with the system, means where they do not (thesis eq. 4.6, 4.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from atomlens.data.batch import Batch
from atomlens.data.dataset import Dataset
from atomlens.data.quantities import SCALAR_PROPERTIES
from atomlens.data.system import MAX_ATOMIC_NUMBER
from atomlens.errors import InputError
from atomlens.ops.segment import segment_sum
from atomlens.readouts.atom_network import AtomNetwork, AtomNetworkConfig
from atomlens.readouts.interface import Readout
from atomlens.readouts.standardise import fit_offsets, known_label, spread


class ScalarConfig(AtomNetworkConfig):
    """Hyper-parameters of the readout of a scalar property."""

    name: Literal["extensive", "intensive"]
    property: str = Field(
        description="extensive: zero_point_energy, heat_capacity or isotropic_polarizability; intensive: homo, lumo, "
        "gap or formation_energy"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        known = SCALAR_PROPERTIES[self.name]
        if self.property not in known:
            raise InputError(
                f"'{self.property}' is no property of the readout '{self.name}'; choose {', '.join(known)}"
            )
        return self


class Scalar(Readout):
    """y = Σ_i y_i (extensive) or the mean of the y_i (intensive), y_i = σ o(x_i) + c[Z_i].

    The offsets c are fitted per element to the training structures, in sums and in means alike.
    """

    offsets: Tensor

    def __init__(self, config: ScalarConfig, n_features: int, elements: Sequence[int]) -> None:
        super().__init__()
        self.quantity, self.atom_quantity = config.property, f"atom_{config.property}"
        self._mean = config.name == "intensive"
        self.network = AtomNetwork(config, n_features, 1, elements)
        self.register_buffer("offsets", torch.zeros(MAX_ATOMIC_NUMBER + 1, dtype=torch.float64))
        self.register_buffer("scale", torch.ones((), dtype=torch.float64))

    def terms(self, features: Tensor, batch: Batch) -> Tensor:
        """(atoms,) in the property's unit."""
        raw = self.network(features, batch.numbers).squeeze(-1).to(torch.float64)
        terms = raw * self.scale + self.offsets[batch.numbers]
        return terms if batch.weight is None else terms * batch.weight.to(terms)

    def total(self, terms: Tensor, batch: Batch) -> Tensor:
        """(systems,) in the property's unit."""
        systems = batch.cell.shape[0]
        sums = segment_sum(terms, batch.system, systems)
        if not self._mean:
            return sums
        weights = torch.ones_like(terms) if batch.weight is None else batch.weight.to(terms)
        return sums / segment_sum(weights, batch.system, systems).clamp(min=1e-12)

    def derived(self, total: Tensor) -> dict[str, Tensor]:
        """None."""
        del total
        return {}

    def fit(self, data: Dataset, free_atoms: Mapping[int, float] | None) -> None:
        """Offsets per element, and the deviation of what they leave: per atom in a sum, per structure in a mean."""
        del free_atoms  # of energies
        name, known = known_label(data, [self.quantity])
        counts, elements = data.counts()
        counts, values = counts[known], data.labels[name][known]
        sizes = counts.sum(axis=1)
        counts = counts / sizes[:, None] if self._mean else counts
        offsets = fit_offsets(counts, values)
        left = values - counts @ offsets
        self.scale.fill_(spread(left, values) if self._mean else spread(left / sizes, values / sizes))
        self.offsets.zero_()
        self.offsets[elements] = torch.from_numpy(np.asarray(offsets))
