"""What every representation offers."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from atomlens.data.batch import Batch


class Representation(nn.Module, ABC):
    """Turns a batch into one feature vector per atom, unchanged by translation, rotation and reflection."""

    cutoff: float | None  # Å; pairs farther apart are not needed. None: every pair of an open structure
    n_features: int  # F, length of a feature vector
    continuous_forces: bool  # whether energies and forces stay continuous when an atom crosses the cutoff

    @abstractmethod
    def forward(self, batch: Batch) -> Tensor:
        """Features, (atoms, F)."""
