"""DTNN: messages of factorised tensor layers, in passes that share their weights (thesis chapter 3)."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Literal, Self

import torch
import torch.nn.functional as functional
from pydantic import Field, model_validator
from torch import Tensor, nn

from atomlens.config import Config
from atomlens.data.batch import Batch
from atomlens.data.system import MAX_ATOMIC_NUMBER
from atomlens.errors import InputError
from atomlens.ops.cfconv import kernels_for
from atomlens.ops.radial import CUTOFF_FUNCTIONS, gaussian_basis
from atomlens.ops.tensor_layer import MessageStep, PairLookup, messages, table_messages, tabulated_senders
from atomlens.representations.interface import Linearised, Listener, ProbePairs, Representation
from atomlens.representations.pair_graph import pair_graph, probe_graph
from atomlens.representations.tabulated import Tabulated

DEFAULT_RANGE = 20.0  # Å, of the Gaussians without a cutoff, as the method's first paper has it for QM9


class DTNNConfig(Config):
    """Hyper-parameters of DTNN."""

    name: Literal["dtnn"] = "dtnn"
    features: int = Field(30, ge=1, description="F, length of an atom's feature vector")
    factors: int = Field(60, ge=1, description="K, number of factors of the tensor layer")
    interactions: int = Field(3, ge=0, description="T, number of interaction passes; all share one tensor layer")
    cutoff: float | None = Field(None, gt=0, description="distance within which atoms hear each other, Å; null: any")
    cutoff_function: Literal["smooth", "cosine", "none"] = Field(
        "none", description="how messages fade at the cutoff; 'none' only without a cutoff"
    )
    gaussian_range: float | None = Field(
        None, gt=0, description="last Gaussian centre, Å; null: the cutoff, or 20 Å without one"
    )
    gaussian_spacing: float = Field(0.1, gt=0, description="distance between Gaussian centres, Å")
    gaussian_gamma: float = Field(10.0, gt=0, description="γ of exp(-γ (d - μ)²), Å⁻²")
    filter_accuracy: float | None = Field(
        1e-7,
        gt=0,
        description="interpolation error allowed in tabulated factors, of their range; null: exact, for every pair",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.cutoff is None) != (self.cutoff_function == "none"):
            raise InputError(
                "cutoff null and cutoff_function 'none' go together; with a cutoff set cutoff_function to 'smooth'"
            )
        return self

    @property
    def n_gaussians(self) -> int:
        """Number of Gaussian centres k Δμ, 0 ≤ k ≤ range / Δμ."""
        return int(self.range / self.gaussian_spacing + 1e-6) + 1  # the last one counts also where division rounds down

    @property
    def range(self) -> float:
        """Where the Gaussian centres end, in Å."""
        return self.gaussian_range or self.cutoff or DEFAULT_RANGE


class DistanceFactors(Tabulated):
    """w(d) = W_fd e(d) + b_2, the distance's part of the tensor layer (thesis eq. 3.4, 3.7)."""

    centres: Tensor

    def __init__(self, config: DTNNConfig) -> None:
        # Without a cutoff factors are constant once the last Gaussian has died away, below e⁻⁴⁰.
        end = config.cutoff or config.range + math.sqrt(40.0 / config.gaussian_gamma)
        # What fades at the cutoff are the messages, not the factors.
        super().__init__(end, fade="none", accuracy=config.filter_accuracy)
        self._gamma = config.gaussian_gamma
        # In float64, so that a model of that precision is not held back by rounded centres.
        centres = config.gaussian_spacing * torch.arange(config.n_gaussians, dtype=torch.float64)
        self.register_buffer("centres", centres, persistent=False)
        self.weight = nn.Parameter(torch.empty(config.factors, config.n_gaussians))
        self.bias = nn.Parameter(torch.zeros(config.factors))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, distances: Tensor) -> Tensor:
        """Factors at distances (pairs,) in Å: (1, pairs, K)."""
        return self.knot_values(distances)

    def knot_values(self, distances: Tensor) -> Tensor:
        """The same, for it has no cutoff function."""
        basis = gaussian_basis(distances, self.centres.to(distances.dtype), self._gamma)
        return functional.linear(basis, self.weight, self.bias)[None]


class DTNN(Representation):
    """x_i⁰ = A[Z_i]; x_i ← x_i + Σ_j tanh(W_xf ((W_fx x_j + b_1) ∘ w(d_ij))) in T passes (thesis eq. 3.1, 3.2, 3.7)."""

    def __init__(self, config: DTNNConfig) -> None:
        super().__init__()
        self.config = config
        self.cutoff = config.cutoff
        self.n_features = config.features
        self.continuous_forces = True
        self.embedding = nn.Embedding(MAX_ATOMIC_NUMBER + 1, config.features)
        nn.init.normal_(self.embedding.weight, std=config.features**-0.25)
        self.filters = DistanceFactors(config)
        self.atom_factors = nn.Linear(config.features, config.factors)
        self.to_features = nn.Linear(config.factors, config.features, bias=False)
        for layer in (self.atom_factors, self.to_features):
            nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(self.atom_factors.bias)
        for module in (self.filters, self.atom_factors, self.to_features):
            module.requires_grad_(config.interactions > 0)  # processes that train together wait for each gradient

    def forward(self, batch: Batch) -> Tensor:
        """Features, (atoms, F)."""
        x = self.embed(batch)
        if not self.config.interactions:
            return x
        heard_by = self._messages(batch, x.dtype)
        for _ in range(self.config.interactions):
            x = x + heard_by(self.atom_factors(x))
        return x

    def _messages(self, batch: Batch, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
        """From the factors of atoms (atoms, K) to the sums of what they hear (atoms, F), the same in every pass."""
        distances = torch.linalg.vector_norm(batch.pair_vectors(), dim=1)
        scale, weight = self._scale(batch, distances, 0), self.to_features.weight
        scale = None if scale is None else scale.to(dtype)
        # Kernels are opaque to torch.export; an exported program evaluates the exact factors.
        if self.filters.exact or torch.compiler.is_exporting():
            (factors,) = self.filters(distances.to(dtype))
            ends = {"centre": batch.pairs.centre, "neighbour": batch.pairs.neighbour}
            return partial(messages, factors=factors, weight=weight, scale=scale, **ends)
        table, pairs = self._lookup(batch, distances, dtype)
        return partial(table_messages, distances=distances, table=table, weight=weight, scale=scale, pairs=pairs)

    def _lookup(self, batch: Batch, distances: Tensor, dtype: torch.dtype) -> tuple[Tensor, PairLookup]:
        """The table of the distances' factors (rows, K), and where the pairs lie in it."""
        kernels = kernels_for(distances.device, dtype)
        (table,) = self.filters.table(kernels)
        return table, PairLookup(self.filters.grid, pair_graph(batch, kernels), distances, dtype, kernels)

    def _scale(self, batch: Batch, distances: Tensor, order: int) -> Tensor | None:
        """What multiplies each message, or its derivative by the distance, (pairs,); None where nothing does.

        That is the cutoff function and the neighbour's weight.
        """
        scale = None
        if self.cutoff is not None:
            scale = CUTOFF_FUNCTIONS[self.config.cutoff_function](distances, self.cutoff, order)
        if batch.weight is None or (scale is None and order):
            return scale
        weight = batch.weight.to(distances.dtype).index_select(0, batch.pairs.neighbour)
        return weight if scale is None else scale * weight

    def linearised(self, batch: Batch) -> Linearised | None:
        """Features, and what turns ∂E/∂x into ∂E/∂(r_j - r_i): the passes written out, without autograd."""
        derived = type(self) is not DTNN  # its forward may be another, which this would pass over
        if self.filters.exact or not self.config.interactions or derived:
            return None
        x, vectors = self.embed(batch), batch.pair_vectors()
        distances = torch.linalg.vector_norm(vectors, dim=1)
        scale, slope = self._scale(batch, distances, 0), self._scale(batch, distances, 1)
        scale = None if scale is None else scale.to(x.dtype)
        table, pairs = self._lookup(batch, distances, x.dtype)
        weight, w_fx = self.to_features.weight, self.atom_factors.weight
        steps = [MessageStep(table, weight, scale, pairs) for _ in range(self.config.interactions)]
        for step in steps:
            x = x + step.forward(self.atom_factors(x))

        def pullback(by_features: Tensor) -> Tensor:
            by_distance = torch.zeros_like(distances)
            by_scale = None if slope is None else torch.zeros_like(distances)
            for place in range(len(steps) - 1, -1, -1):
                by_heard = steps[place].backward(by_features, by_distance, by_scale, last=place == 0)
                by_features = by_features if by_heard is None else torch.addmm(by_features, by_heard, w_fx)
            if by_scale is not None and slope is not None:
                by_distance = by_distance.addcmul_(by_scale, slope)
            return vectors * (by_distance / distances)[:, None]

        return x, pullback

    def listener(self, batch: Batch) -> Listener | None:
        """What probes hear of all passes in one look-up per pair, for the atoms' messages are functions of it alone."""
        accuracy = self.filters.accuracy
        if self.filters.exact or accuracy is None or not self.config.interactions or type(self) is not DTNN:
            return None
        factors = copy.deepcopy(self.filters).to("cpu", torch.float64)
        kernels = kernels_for(batch.positions.device, self.embedding.weight.dtype)
        grid = replace(self.filters.grid, fade=self.config.cutoff_function)
        passes, weight = self._heard(batch), self.to_features.weight
        # Ten times what one factor may err: a message has many.
        tables = tabulated_senders(lambda d: factors(d)[0], passes, weight, grid, 10.0 * accuracy, kernels)
        if tables is None:
            return None
        fade = None if batch.weight is None else batch.weight.to(weight.dtype)

        def listen(pairs: ProbePairs) -> Tensor:
            distances = torch.linalg.vector_norm(pairs.vectors, dim=1)
            scale = None if fade is None else fade.index_select(0, pairs.atom)
            graph = probe_graph(pairs, batch.numbers.shape[0], kernels)
            return tables.sums(distances, pairs.atom, graph, scale)

        return listen

    def _heard(self, batch: Batch) -> list[Tensor]:
        """The factors that the atoms of a batch have for others to hear in every pass, (atoms, K) each."""
        x, heard = self.embed(batch), []
        heard_by = self._messages(batch, x.dtype)
        for _ in range(self.config.interactions):
            heard.append(self.atom_factors(x))
            x = x + heard_by(heard[-1])
        return heard

    def standardise(self, batches: Iterable[Batch]) -> None:
        """Nothing to fit: features are learned."""

    def bytes_needed(self, atoms: int, pairs: int) -> int:
        """See `Representation.bytes_needed`."""
        per_number = self.embedding.weight.element_size()
        features, factors, passes = self.config.features, self.config.factors, max(self.config.interactions, 1)
        if self.filters.exact:  # the basis, and per pass products, messages and their gradients
            per_pair = 2 * self.config.n_gaussians + passes * (4 * factors + 4 * features)
        else:  # what a pass keeps are its messages; products and gradients are in flight
            per_pair = passes * features + 2 * factors + 2 * features + 8
        return (atoms * passes * (features + 2 * factors) + pairs * per_pair) * per_number + 84 * pairs

    def embed(self, batch: Batch) -> Tensor:
        """x_i⁰, (atoms, F): looked up by atomic number, or as given by the batch."""
        looked_up: Tensor = self.embedding(batch.numbers)
        return looked_up if batch.initial_features is None else batch.initial_features.to(looked_up.dtype)
