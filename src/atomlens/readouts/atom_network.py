"""The networks that turn an atom's features into its terms: one for all atoms, or one per element."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal, cast

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from atomlens.config import Config
from atomlens.errors import InputError
from atomlens.ops.activations import shifted_softplus
from atomlens.ops.atom_network import atom_terms, atom_terms_and_slopes

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"shifted_softplus": shifted_softplus, "tanh": torch.tanh}


class AtomNetworkConfig(Config):
    """Hyper-parameters of the network from features to atom terms, which every readout has."""

    hidden: int | tuple[int, ...] | None = Field(
        None, description="widths of the hidden layers; null: one, half as wide as the features"
    )
    activation: Literal["shifted_softplus", "tanh"] = Field("shifted_softplus", description="after each hidden layer")
    networks: Literal["shared", "per_element"] = Field(
        "shared", description="one network for all atoms, or one per element (Behler-Parrinello)"
    )

    @field_validator("hidden")
    @classmethod
    def _widths(cls, value: int | tuple[int, ...] | None) -> int | tuple[int, ...] | None:
        if any(width < 1 for width in _listed(value)):
            raise InputError("'hidden' takes widths of at least 1; give one, a list of them, or null")
        return value

    def widths(self, n_features: int) -> list[int]:
        """Widths of the hidden layers for features of that length."""
        return [max(n_features // 2, 1)] if self.hidden is None else _listed(self.hidden)


def _listed(value: int | tuple[int, ...] | None) -> list[int]:
    return [] if value is None else [value] if isinstance(value, int) else list(value)


class AtomNetwork(nn.Module):
    """o(x_i): dense layers with an activation after each but the last (thesis eq. 3.7; fig. 4.2).

    Args:
        config: layers and kind.
        n_features: F, length of a feature vector.
        outputs: numbers per atom.
        elements: atomic numbers that have a network of their own, where each has one.
    """

    def __init__(self, config: AtomNetworkConfig, n_features: int, outputs: int, elements: Sequence[int]) -> None:
        super().__init__()
        self._activation = ACTIVATIONS[config.activation]
        self.outputs = outputs
        self.in_steps = False  # use nothing but torch's functions, which torch.func and the like can follow
        sizes = [n_features, *config.widths(n_features), outputs]
        kinds = tuple(elements) if config.networks == "per_element" else ()
        self.layers = None if kinds else _dense_layers(sizes)
        self.per_element = nn.ModuleDict({str(number): _dense_layers(sizes) for number in kinds})

    def forward(self, features: Tensor, numbers: Tensor) -> Tensor:
        """Outputs (atoms, outputs) from features (atoms, F) and atomic numbers (atoms,)."""
        if self.layers is not None:
            return self._through(self.layers, features)
        # A sum over elements, so that every network has a gradient also where a batch lacks its element.
        found = features.new_zeros(features.shape[0], self.outputs)
        for number, layers in self.per_element.items():
            rows = torch.nonzero(numbers == int(number)).squeeze(1)
            found = found.index_copy(0, rows, self._through(layers, features.index_select(0, rows)))
        return found

    def with_slopes(self, features: Tensor, scale: Tensor) -> tuple[Tensor, Tensor] | None:
        """Outputs (atoms, 1) and ``scale`` times their slopes (atoms, F), outside of autograd; None if only by it."""
        hooked = self._forward_hooks or self._forward_pre_hooks
        weights = None if self.layers is None or hooked else self._fused(self.layers)
        return None if weights is None else atom_terms_and_slopes(features, *weights, scale)

    @torch.no_grad()
    def shift(self, by: float) -> None:
        """Raise every output by the same number, through the last biases."""
        for layers in [self.layers, *self.per_element.values()]:
            if layers is not None:
                *_, output = layers.children()
                cast(nn.Linear, output).bias.add_(by)

    def _fused(self, layers: nn.Module) -> tuple[Tensor, Tensor, Tensor, Tensor] | None:
        """The weights that `ops.atom_network` takes; None for another network."""
        *hidden, output = cast(Sequence[nn.Linear], list(layers.children()))
        plain = not self.in_steps and all(map(_is_plain, (*hidden, output)))
        if len(hidden) != 1 or self.outputs != 1 or self._activation is not shifted_softplus or not plain:
            return None
        return hidden[0].weight, hidden[0].bias, output.weight, output.bias

    def _through(self, layers: nn.Module, x: Tensor) -> Tensor:
        fused = self._fused(layers)
        if fused is not None:
            return atom_terms(x, *fused)
        *hidden, output = layers.children()
        for layer in hidden:
            x = self._activation(layer(x))
        last: Tensor = output(x)
        return last


def _is_plain(layer: nn.Module) -> bool:
    """Whether a layer is what was made here: not wrapped, parametrised or listened to since."""
    hooks = layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks
    return type(layer) is nn.Linear and not hooks


def _dense_layers(sizes: list[int]) -> nn.ModuleList:
    layers = [nn.Linear(inputs, outputs) for inputs, outputs in pairwise(sizes)]
    for layer in layers:
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)
    return nn.ModuleList(layers)
