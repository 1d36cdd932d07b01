"""SchNet: continuous-filter convolutions (thesis chapter 4; insights paper 2.2)."""

from __future__ import annotations

from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from atomlens.config import Config
from atomlens.data.batch import Batch
from atomlens.data.system import MAX_ATOMIC_NUMBER
from atomlens.errors import InputError
from atomlens.ops.activations import shifted_softplus
from atomlens.ops.cfconv import cfconv
from atomlens.ops.radial import CUTOFF_FUNCTIONS, gaussian_basis
from atomlens.ops.segment import segment_sum
from atomlens.representations.interface import Representation


class SchNetConfig(Config):
    """Hyper-parameters of SchNet."""

    name: Literal["schnet"] = "schnet"
    features: int = Field(64, ge=1, description="F, length of an atom's feature vector")
    interactions: int = Field(3, ge=0, description="T, number of interaction blocks")
    cutoff: float | None = Field(5.0, gt=0, description="distance within which atoms hear each other, Å; null: any")
    cutoff_function: Literal["smooth", "cosine", "none"] = Field(
        "smooth", description="how filters fade at the cutoff; 'none' only without a cutoff"
    )
    gaussian_range: float | None = Field(None, gt=0, description="last Gaussian centre, Å; null: the cutoff")
    gaussian_spacing: float = Field(0.1, gt=0, description="distance between Gaussian centres, Å")
    gaussian_gamma: float = Field(10.0, gt=0, description="γ of exp(-γ (d - μ)²), Å⁻²")
    filter_activations: Literal[1, 2] = Field(1, description="2: an activation after the second filter layer as well")
    shared_filters: bool = Field(False, description="one filter network for all blocks")
    aggregation: Literal["sum", "mean"] = Field("sum", description="over neighbours; 'mean' is eq. 4.14 for crystals")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.cutoff is None) != (self.cutoff_function == "none"):
            raise InputError("cutoff null and cutoff_function 'none' go together; set both or neither")
        if self.cutoff is None and self.gaussian_range is None:
            raise InputError("without a cutoff the Gaussians need gaussian_range in Å; set it")
        return self

    @property
    def n_gaussians(self) -> int:
        """Number of Gaussian centres k Δμ, 0 ≤ k ≤ range / Δμ."""
        return int(self.range / self.gaussian_spacing + 1e-6) + 1  # the last one counts also where division rounds down

    @property
    def range(self) -> float:
        """Where the Gaussian centres end, in Å."""
        end = self.gaussian_range if self.gaussian_range is not None else self.cutoff
        assert end is not None  # _consistent refuses the case
        return end


class FilterNetworks(nn.Module):
    """W_t(d) = [ssp] Dense(ssp(Dense(e(d)))) · fc(d) for all blocks in one pass (thesis eq. 4.11 and fig. 4.2).

    The blocks' weights are stacked, so that one matrix product serves every block.
    """

    centres: Tensor

    def __init__(self, config: SchNetConfig) -> None:
        super().__init__()
        blocks = 1 if config.shared_filters else config.interactions
        features, gaussians = config.features, config.n_gaussians
        self._gamma, self._activations = config.gaussian_gamma, config.filter_activations
        self._cutoff, self._fade = config.cutoff or 0.0, CUTOFF_FUNCTIONS[config.cutoff_function]
        # In float64, so that a model of that precision is not held back by rounded centres.
        centres = config.gaussian_spacing * torch.arange(gaussians, dtype=torch.float64)
        self.register_buffer("centres", centres, persistent=False)
        self.first_weight = nn.Parameter(torch.empty(blocks, gaussians, features))
        self.first_bias = nn.Parameter(torch.zeros(blocks, 1, features))
        self.second_weight = nn.Parameter(torch.empty(blocks, features, features))
        self.second_bias = nn.Parameter(torch.zeros(blocks, 1, features))
        for weight in (self.first_weight, self.second_weight):
            for block in weight:
                nn.init.xavier_uniform_(block)

    def forward(self, distances: Tensor) -> Tensor:
        """Filters of every block at distances (pairs,) in Å: (blocks, pairs, F)."""
        blocks, gaussians, features = self.first_weight.shape
        basis = gaussian_basis(distances, self.centres.to(distances.dtype), self._gamma)
        wide = self.first_weight.transpose(0, 1).reshape(gaussians, blocks * features)
        hidden = torch.addmm(self.first_bias.reshape(-1), basis, wide)
        hidden = shifted_softplus(hidden).view(-1, blocks, features).transpose(0, 1)
        filters = torch.baddbmm(self.second_bias, hidden, self.second_weight)
        if self._activations == 2:
            filters = shifted_softplus(filters)
        return filters * self._fade(distances, self._cutoff)[:, None]


class Interaction(nn.Module):
    """The residual v_i = Dense(ssp(Dense(Σ_j (W_in x_j) ∘ W(d_ij)))) (thesis fig. 4.2, middle)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.atomwise_in = _dense(features, features, bias=False)
        self.atomwise_mid = _dense(features, features)
        self.atomwise_out = _dense(features, features)

    def forward(self, x: Tensor, filters: Tensor, batch: Batch, per_centre: Tensor | None) -> Tensor:
        """Residual (atoms, F); ``per_centre`` (atoms, 1) scales the sum over neighbours."""
        heard = self.atomwise_in(x)
        if batch.weight is not None:
            heard = heard * batch.weight.to(heard.dtype)[:, None]
        convolved = cfconv(heard, filters, batch.pairs.centre, batch.pairs.neighbour)
        if per_centre is not None:
            convolved = convolved * per_centre
        residual: Tensor = self.atomwise_out(shifted_softplus(self.atomwise_mid(convolved)))
        return residual


class SchNet(Representation):
    """x_i⁰ = A[Z_i]; x_i ← x_i + v_i in T interaction blocks (thesis eq. 4.7)."""

    def __init__(self, config: SchNetConfig) -> None:
        super().__init__()
        self.config = config
        self.cutoff = config.cutoff
        self.n_features = config.features
        # The count of neighbours in a mean jumps by one at the cutoff, whatever the filters do.
        self.continuous_forces = config.aggregation == "sum" or config.cutoff is None
        self.embedding = nn.Embedding(MAX_ATOMIC_NUMBER + 1, config.features)
        self.filters = FilterNetworks(config)
        self.blocks = nn.ModuleList(Interaction(config.features) for _ in range(config.interactions))

    def forward(self, batch: Batch) -> Tensor:
        """Features, (atoms, F)."""
        x = self.embed(batch)
        if not self.blocks:
            return x
        # Distances are formed in the positions' precision and rounded once, here.
        distances = torch.linalg.vector_norm(batch.pair_vectors(), dim=1).to(x.dtype)
        filters = self.filters(distances).expand(len(self.blocks), -1, -1)
        per_centre = self._inverse_counts(batch, x.dtype) if self.config.aggregation == "mean" else None
        for block, of_block in zip(self.blocks, filters.unbind(0), strict=True):
            x = x + block(x, of_block, batch, per_centre)
        return x

    def embed(self, batch: Batch) -> Tensor:
        """x_i⁰, (atoms, F): looked up by atomic number, or as given by the batch."""
        looked_up: Tensor = self.embedding(batch.numbers)
        return looked_up if batch.initial_features is None else batch.initial_features.to(looked_up.dtype)

    def _inverse_counts(self, batch: Batch, dtype: torch.dtype) -> Tensor:
        weights = torch.ones(batch.numbers.shape[0]) if batch.weight is None else batch.weight
        heard = weights.to(batch.positions).index_select(0, batch.pairs.neighbour)
        counts = segment_sum(heard, batch.pairs.centre, batch.numbers.shape[0])
        return torch.where(counts > 0, 1.0 / counts.clamp(min=1e-12), counts).to(dtype)[:, None]


def _dense(inputs: int, outputs: int, *, bias: bool = True) -> nn.Linear:
    layer = nn.Linear(inputs, outputs, bias=bias)
    nn.init.xavier_uniform_(layer.weight)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer
