"""The polarisability tensor from atomic scalars and positions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from atomlens.data.batch import Batch
from atomlens.data.dataset import Dataset
from atomlens.data.system import MAX_ATOMIC_NUMBER
from atomlens.ops.radial import gaussian_basis, smooth_cutoff
from atomlens.ops.segment import segment_sum
from atomlens.readouts.atom_network import AtomNetwork, AtomNetworkConfig
from atomlens.readouts.interface import Readout
from atomlens.readouts.standardise import fit_offsets, known_label, rms_norm


class PolarizabilityConfig(AtomNetworkConfig):
    """Hyper-parameters of the readout of the polarisability tensor."""

    name: Literal["polarizability"] = "polarizability"
    channels: int = Field(16, ge=1, description="products of atomic scalars, each with a Gaussian of the distance")
    range: float = Field(5.0, gt=0, description="neighbours within this distance shape an atom's tensor, Å")


class Polarizability(Readout):
    """α = Σ_i α_i in Å³, with atoms' tensors made of scalars and the directions to neighbours.

    α_i = a_i 1 + Σ_j s_ij (û_ij û_ijᵀ - 1/3), s_ij = fc(d_ij) Σ_k l_ik m_jk φ_k(d_ij), with a, l and m from the atoms'
    networks, Gaussians φ_k and unit vectors û_ij. It is symmetric by construction and turns with the structure; the
    trace is Σ_i 3 a_i, the isotropic polarisability as a sum over atoms.
    """

    quantity = "polarizability"
    atom_quantity = "atom_polarizabilities"
    derived_quantities: ClassVar[tuple[str, ...]] = ("isotropic_polarizability",)
    offsets: Tensor
    centres: Tensor

    def __init__(self, config: PolarizabilityConfig, n_features: int, elements: Sequence[int]) -> None:
        super().__init__()
        self.cutoff, self._channels = config.range, config.channels
        self.network = AtomNetwork(config, n_features, 1 + 2 * config.channels, elements)
        self._gamma = 0.5 * (max(config.channels - 1, 1) / config.range) ** 2
        centres = torch.linspace(0.0, config.range, config.channels, dtype=torch.float64)
        self.register_buffer("centres", centres, persistent=False)
        self.register_buffer("offsets", torch.zeros(MAX_ATOMIC_NUMBER + 1, dtype=torch.float64))
        self.register_buffer("scale", torch.ones((), dtype=torch.float64))

    def terms(self, features: Tensor, batch: Batch) -> Tensor:
        """(atoms, 3, 3) in Å³."""
        raw = self.network(features, batch.numbers)
        own, left, right = raw.split([1, self._channels, self._channels], dim=1)
        isotropic = own.squeeze(1).to(torch.float64) * self.scale + self.offsets[batch.numbers]
        one = torch.eye(3, dtype=torch.float64, device=features.device)
        tensors = isotropic[:, None, None] * one + self.scale * self._directed(left, right, batch, one)
        return tensors if batch.weight is None else tensors * batch.weight.to(tensors)[:, None, None]

    def _directed(self, left: Tensor, right: Tensor, batch: Batch, one: Tensor) -> Tensor:
        """Σ_j s_ij (û û - 1/3), (atoms, 3, 3)."""
        centre, neighbour = batch.pairs.centre, batch.pairs.neighbour
        vectors = batch.pair_vectors()
        distances = torch.linalg.vector_norm(vectors, dim=1)
        basis = gaussian_basis(distances, self.centres.to(distances), self._gamma).to(left.dtype)
        products = left.index_select(0, centre) * right.index_select(0, neighbour) * basis
        strengths = products.sum(dim=1).to(distances.dtype) * smooth_cutoff(distances, self.cutoff or 1.0)
        if batch.weight is not None:
            strengths = strengths * batch.weight.to(strengths).index_select(0, neighbour)
        units = vectors / distances[:, None]
        shaped = strengths[:, None, None] * (units[:, :, None] * units[:, None, :] - one / 3.0)
        return segment_sum(shaped, centre, batch.numbers.shape[0])

    def total(self, terms: Tensor, batch: Batch) -> Tensor:
        """α, (systems, 3, 3) in Å³."""
        return segment_sum(terms, batch.system, batch.cell.shape[0])

    def derived(self, total: Tensor) -> dict[str, Tensor]:
        """A third of the trace, (systems,) in Å³."""
        return {"isotropic_polarizability": total.diagonal(dim1=1, dim2=2).mean(dim=1)}

    def fit(self, data: Dataset, free_atoms: Mapping[int, float] | None) -> None:
        """Isotropic offsets per element, and the root mean square norm of what they leave."""
        del free_atoms  # of energies
        name, known = known_label(data, ["polarizability", "isotropic_polarizability"])
        counts, elements = data.counts()
        counts, values = counts[known], torch.from_numpy(data.labels[name][known])
        tensors = values if values.dim() == 3 else values[:, None, None] * torch.eye(3, dtype=torch.float64)
        isotropic = tensors.diagonal(dim1=1, dim2=2).mean(dim=1).numpy()
        offsets = fit_offsets(counts, isotropic)
        left = tensors - torch.from_numpy(counts @ offsets)[:, None, None] * torch.eye(3, dtype=torch.float64)
        self.scale.fill_(rms_norm(left.numpy(), isotropic))
        self.offsets.zero_()
        self.offsets[elements] = torch.from_numpy(offsets)
