"""SchNet: continuous-filter convolutions (thesis chapter 4; insights paper 2.2)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Literal, Self, cast

import torch
import torch.nn.functional as functional
from pydantic import Field, model_validator
from torch import Tensor, nn

from atomlens.config import Config
from atomlens.data.batch import Batch, Pairs
from atomlens.data.system import MAX_ATOMIC_NUMBER
from atomlens.errors import InputError
from atomlens.ops.activations import shifted_softplus
from atomlens.ops.cfconv import (
    Kernels,
    Layers,
    Lookup,
    SplineGrid,
    cfconv,
    filter_networks,
    interactions,
    kernels_for,
    table_cfconv,
)
from atomlens.ops.fingerprint import fingerprint
from atomlens.ops.radial import CUTOFF_FUNCTIONS, gaussian_basis
from atomlens.ops.segment import segment_sum
from atomlens.representations.interface import Linearised, Listener, ProbePairs, Representation
from atomlens.representations.pair_graph import pair_graph, probe_graph
from atomlens.representations.tabulated import Tabulated, can_keep

Convolution = Callable[[Tensor], Tensor]


class SchNetConfig(Config):
    """Hyper-parameters of SchNet."""

    name: Literal["schnet"] = "schnet"
    features: int = Field(64, ge=1, description="F, length of an atom's feature vector")
    interactions: int = Field(3, ge=0, description="T, number of interaction blocks")
    filters: int | None = Field(None, ge=1, description="length of what is convolved; null: as many as features")
    cutoff: float | None = Field(5.0, gt=0, description="distance within which atoms hear each other, Å; null: any")
    cutoff_function: Literal["smooth", "cosine", "none"] = Field(
        "smooth", description="how filters fade at the cutoff; 'none' only without a cutoff"
    )
    gaussian_range: float | None = Field(None, gt=0, description="last Gaussian centre, Å; null: the cutoff")
    gaussian_spacing: float = Field(0.1, gt=0, description="distance between Gaussian centres, Å")
    gaussian_gamma: float = Field(10.0, gt=0, description="γ of exp(-γ (d - μ)²), Å⁻²")
    filter_accuracy: float | None = Field(
        1e-6,
        gt=0,
        description="interpolation error allowed in tabulated filters, of their range; null: exact, for every pair",
    )
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
    def n_filters(self) -> int:
        """Length of a filter, and of what it is multiplied with."""
        return self.filters or self.features

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


class FilterNetworks(Tabulated):
    """W_t(d) = [ssp] Dense(ssp(Dense(e(d)))) · fc(d) for all blocks in one pass (thesis eq. 4.11 and fig. 4.2).

    The blocks' weights are stacked, so that one matrix product serves every block.
    """

    centres: Tensor

    def __init__(self, config: SchNetConfig) -> None:
        # Without a cutoff filters are constant once the last Gaussian has died away, below e⁻⁴⁰.
        end = config.cutoff or config.range + math.sqrt(40.0 / config.gaussian_gamma)
        super().__init__(end, fade=config.cutoff_function, accuracy=config.filter_accuracy)
        blocks = 1 if config.shared_filters else config.interactions
        filters, gaussians = config.n_filters, config.n_gaussians
        self._gamma, self._activations = config.gaussian_gamma, config.filter_activations
        self._cutoff, self._fade = config.cutoff or 1.0, CUTOFF_FUNCTIONS[config.cutoff_function]
        # In float64, so that a model of that precision is not held back by rounded centres.
        centres = config.gaussian_spacing * torch.arange(gaussians, dtype=torch.float64)
        self.register_buffer("centres", centres, persistent=False)
        self.first_weight = nn.Parameter(torch.empty(blocks, gaussians, filters))
        self.first_bias = nn.Parameter(torch.zeros(blocks, 1, filters))
        self.second_weight = nn.Parameter(torch.empty(blocks, filters, filters))
        self.second_bias = nn.Parameter(torch.zeros(blocks, 1, filters))
        for weight in (self.first_weight, self.second_weight):
            for block in weight:
                nn.init.xavier_uniform_(block)
        self._at_knots: tuple[SplineGrid, Tensor] | None = None  # Gaussians at the knots of a grid

    def forward(self, distances: Tensor) -> Tensor:
        """Filters of every block at distances (pairs,) in Å: (blocks, pairs, F)."""
        return self.knot_values(distances) * self._fade(distances, self._cutoff)[:, None]

    def knot_values(self, distances: Tensor) -> Tensor:
        """The networks alone, without the cutoff function: (blocks, samples, F)."""
        basis = gaussian_basis(distances, self.centres.to(distances.dtype), self._gamma)
        found = filter_networks(self.first_weight, self.first_bias, self.second_weight, self.second_bias, basis)
        return shifted_softplus(found) if self._activations == 2 else found

    def _tabulate(self, kernels: Kernels) -> Tensor:
        weights = self.first_weight, self.first_bias, self.second_weight, self.second_bias
        if self._activations != 1 or not kernels.makes_filter_tables(self.first_weight):
            return super()._tabulate(kernels)
        if self._at_knots is None or self._at_knots[0] != self.grid:
            samples = self.grid.samples
            self._at_knots = self.grid, gaussian_basis(samples, self.centres.to(samples), self._gamma)
        return kernels.filter_tables(*weights, self._at_knots[1])


_LAYERS = ("atomwise_in", "atomwise_mid", "atomwise_out")


class Interaction(nn.Module):
    """The residual v_i = Dense(ssp(Dense(Σ_j (W_in x_j) ∘ W(d_ij)))) (thesis fig. 4.2, middle)."""

    def __init__(self, features: int, filters: int) -> None:
        super().__init__()
        self.atomwise_in = _dense(features, filters, bias=False)
        self.atomwise_mid = _dense(filters, features)
        self.atomwise_out = _dense(features, features)

    def forward(self, x: Tensor, convolve: Convolution, weight: Tensor | None, per_centre: Tensor | None) -> Tensor:
        """X + v, (atoms, F); ``weight`` (atoms, 1) fades messages, ``per_centre`` scales the sum over neighbours."""
        heard = self.atomwise_in(x)
        if weight is not None:
            heard = heard * weight
        convolved = convolve(heard)
        if per_centre is not None:
            convolved = convolved * per_centre
        residual: Tensor = self.atomwise_out(shifted_softplus(self.atomwise_mid(convolved)))
        return x + residual

    def weights(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """What `ops.cfconv.interaction` takes: the layers' weights and biases."""
        inner, mid, out = (cast(nn.Linear, self._modules[name]) for name in _LAYERS)
        wanted = ((inner, "weight"), (mid, "weight"), (mid, "bias"), (out, "weight"), (out, "bias"))
        # At every step of a simulation, where a module's own way of looking up shows; a parametrised weight needs it.
        w_in, w_mid, b_mid, w_out, b_out = (
            layer._parameters[name] if name in layer._parameters else getattr(layer, name) for layer, name in wanted
        )
        return cast(Any, (w_in, w_mid, b_mid, w_out, b_out))


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
        self.filters.requires_grad_(config.interactions > 0)  # processes that train together wait for each gradient
        self._kept_layers: tuple[tuple[Any, ...], Layers] | None = None
        self.blocks = nn.ModuleList(Interaction(config.features, config.n_filters) for _ in range(config.interactions))

    def forward(self, batch: Batch) -> Tensor:
        """Features, (atoms, F)."""
        x = self.embed(batch)
        if not self.blocks:
            return x
        distances = torch.linalg.vector_norm(batch.pair_vectors(), dim=1)
        weight = None if batch.weight is None else batch.weight.to(x.dtype)[:, None]
        mean = self.config.aggregation == "mean"
        per_centre = self._inverse_counts(batch.pairs, len(x), batch, distances, x.dtype) if mean else None
        centre, neighbour = batch.pairs.centre, batch.pairs.neighbour
        # Kernels are opaque to torch.export; an exported program evaluates the exact filters.
        if self.filters.exact or torch.compiler.is_exporting():
            filters = self.filters(distances.to(x.dtype)).expand(len(self.blocks), -1, -1).unbind(0)
            for block, part in zip(self._interactions, filters, strict=True):
                x = block(x, partial(cfconv, filters=part, centre=centre, neighbour=neighbour), weight, per_centre)
            return x
        kernels = kernels_for(distances.device, x.dtype)
        table = self.filters.table(kernels)
        lookup = Lookup(self.filters.grid, pair_graph(batch, kernels), distances, x.dtype, kernels)
        if weight is None and per_centre is None:
            return interactions(x, distances, table, self._layers(), lookup)
        for block, part in zip(self._interactions, table.expand(len(self.blocks), -1, -1).unbind(0), strict=True):
            convolve = partial(table_cfconv, table=part, distances=distances, lookup=lookup)
            x = block(x, convolve, weight, per_centre)
        return x

    def _layers(self) -> Layers:
        """The dense layers of all blocks; kept while parameters are constant and unchanged."""
        weights = [block.weights() for block in self._interactions]
        if not can_keep():
            return Layers(*(torch.stack(parts) for parts in zip(*weights, strict=True)))
        key = fingerprint([tensor for block in weights for tensor in block])
        if self._kept_layers is None or self._kept_layers[0] != key:
            with torch.no_grad():
                self._kept_layers = key, Layers(*(torch.stack(parts) for parts in zip(*weights, strict=True)))
        return self._kept_layers[1]

    @property
    def _interactions(self) -> list[Interaction]:
        return [cast(Interaction, block) for block in self.blocks]

    def linearised(self, batch: Batch) -> Linearised | None:
        """Features, and what turns ∂E/∂x into ∂E/∂(r_j - r_i): the blocks' passes written out, without autograd."""
        mean = self.config.aggregation == "mean"
        derived = type(self) is not SchNet  # its forward may be another, which this would pass over
        if self.filters.exact or not self.blocks or mean or derived or batch.weight is not None:
            return None
        x = self.embed(batch)
        vectors = batch.pair_vectors()
        distances = torch.linalg.vector_norm(vectors, dim=1)
        kernels = kernels_for(distances.device, x.dtype)
        lookup = Lookup(self.filters.grid, pair_graph(batch, kernels), distances, x.dtype, kernels)
        passes = kernels.passes(self.filters.table(kernels), self._layers(), lookup)
        made = passes.forward(x, keep=False)

        def pullback(by_features: Tensor) -> Tensor:
            return vectors * (passes.slopes(made, by_features) / distances)[:, None]

        return made.out, pullback

    def listener(self, batch: Batch) -> Listener | None:
        """What probes hear in all blocks, with the blocks' filters side by side (thesis eq. 4.15)."""
        if self.filters.exact or not self.blocks or type(self) is not SchNet:
            return None
        kernels = kernels_for(batch.positions.device, self.embedding.weight.dtype)
        tables = self.filters.table(kernels).expand(len(self.blocks), -1, -1).unbind(0)
        heard, table = torch.cat(self._heard(batch, tables, kernels), dim=1), torch.cat(tables, dim=1)
        out = torch.cat([block.atomwise_out.weight.T for block in self._interactions])
        # A block adds Dense(ssp(Dense(0))) also to an atom that hears nothing.
        silent = torch.cat([functional.softplus(block.atomwise_mid.bias) for block in self._interactions])

        def listen(pairs: ProbePairs) -> Tensor:
            distances = torch.linalg.vector_norm(pairs.vectors, dim=1)
            lookup = Lookup(self.filters.grid, probe_graph(pairs, len(heard), kernels), distances, heard.dtype, kernels)
            sums = lookup.convolve(heard, table, 0)
            if self.config.aggregation == "mean":
                own = Pairs(centre=pairs.probe, neighbour=pairs.atom)
                sums *= self._inverse_counts(own, pairs.n_probes, batch, distances, heard.dtype)
            parts = zip(self._interactions, sums.split(self.config.n_filters, dim=1), strict=True)
            inner = torch.cat([block.atomwise_mid(part) for block, part in parts], dim=1)
            return functional.softplus(inner, threshold=30.0).sub_(silent) @ out

        return listen

    def _heard(self, batch: Batch, tables: Sequence[Tensor], kernels: Kernels) -> list[Tensor]:
        """What the atoms of a batch have for others to hear in every block, (atoms, filters) each."""
        x = self.embed(batch)
        distances = torch.linalg.vector_norm(batch.pair_vectors(), dim=1)
        weight = None if batch.weight is None else batch.weight.to(x.dtype)[:, None]
        mean = self.config.aggregation == "mean"
        per_centre = self._inverse_counts(batch.pairs, len(x), batch, distances, x.dtype) if mean else None
        lookup = Lookup(self.filters.grid, pair_graph(batch, kernels), distances, x.dtype, kernels)
        heard = []
        for block, part in zip(self._interactions, tables, strict=True):
            own = block.atomwise_in(x)
            heard.append(own if weight is None else own * weight)
            convolve = partial(table_cfconv, table=part, distances=distances, lookup=lookup)
            x = block(x, convolve, weight, per_centre)
        return heard

    def standardise(self, batches: Iterable[Batch]) -> None:
        """Nothing to fit: features are learned."""

    def bytes_needed(self, atoms: int, pairs: int) -> int:
        """See `Representation.bytes_needed`."""
        per_number = self.embedding.weight.element_size()
        row, blocks = max(self.config.features, self.config.n_filters) * per_number, max(len(self.blocks), 1)
        if self.filters.exact:  # per block basis, hidden layer, filters, messages and their gradients
            return 6 * blocks * pairs * row
        # Two arrays that each block keeps and eight in flight; per pair vectors, places, weights and the two orders.
        return atoms * row * (2 * blocks + 8) + pairs * (84 + 8 * per_number)

    def embed(self, batch: Batch) -> Tensor:
        """x_i⁰, (atoms, F): looked up by atomic number, or as given by the batch."""
        looked_up: Tensor = self.embedding(batch.numbers)
        return looked_up if batch.initial_features is None else batch.initial_features.to(looked_up.dtype)

    def _inverse_counts(
        self, pairs: Pairs, centres: int, batch: Batch, distances: Tensor, dtype: torch.dtype
    ) -> Tensor:
        """One over the number of the batch's atoms that each centre hears, (centres, 1)."""
        weights = torch.ones(batch.numbers.shape[0]) if batch.weight is None else batch.weight
        heard = weights.to(batch.positions).index_select(0, pairs.neighbour)
        if self.cutoff is not None:  # lists may reach farther
            heard = heard * (distances.detach() < self.cutoff)
        counts = segment_sum(heard, pairs.centre, centres)
        return torch.where(counts > 0, 1.0 / counts.clamp(min=1e-12), counts).to(dtype)[:, None]


def _dense(inputs: int, outputs: int, *, bias: bool = True) -> nn.Linear:
    layer = nn.Linear(inputs, outputs, bias=bias)
    nn.init.xavier_uniform_(layer.weight)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer
