"""What every readout offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn

from atomlens.data.batch import Batch


@dataclass(frozen=True)
class Output:
    """A property of each structure and the terms of its atoms."""

    system: Tensor  # (systems, ...)
    atoms: Tensor  # (atoms, ...)


class Readout(nn.Module, ABC):
    """Turns features into a property, through contributions of the atoms."""

    quantity: str  # name of the property, a key of `atomlens.data.quantities`
    atom_quantity: str  # name of the atoms' terms

    @abstractmethod
    def forward(self, features: Tensor, batch: Batch) -> Output:
        """The property and its atom terms from features (atoms, F)."""
