"""What every representation offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable

from torch import Tensor, nn

from atomlens.data.batch import Batch

# Features (atoms, F), and the map from ∂E/∂features to ∂E/∂(r_j - r_i) of every pair, (pairs, 3).
Linearised = tuple[Tensor, Callable[[Tensor], Tensor]]


class Representation(nn.Module, ABC):
    """Turns a batch into one feature vector per atom, unchanged by translation, rotation and reflection."""

    cutoff: float | None  # Å; pairs farther apart are not needed. None: every pair of an open structure
    n_features: int  # F, length of a feature vector
    continuous_forces: bool  # whether energies and forces stay continuous when an atom crosses the cutoff

    @abstractmethod
    def forward(self, batch: Batch) -> Tensor:
        """Features, (atoms, F)."""

    @abstractmethod
    def standardise(self, batches: Iterable[Batch]) -> None:
        """Fit what is fixed before training, such as means and deviations of features, to the training structures."""

    @abstractmethod
    def linearised(self, batch: Batch) -> Linearised | None:
        """Features with their derivatives by pair vectors written out, called outside of autograd.

        Returns:
            None where there is nothing faster than autograd.
        """

    @abstractmethod
    def bytes_needed(self, atoms: int, pairs: int) -> int:
        """An estimate of the memory that features and their derivatives take, for batches of that size."""
