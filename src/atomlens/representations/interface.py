"""What every representation offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import Tensor, nn

from atomlens.data.batch import Batch

# Features (atoms, F), and the map from ∂E/∂features to ∂E/∂(r_j - r_i) of every pair, (pairs, 3).
Linearised = tuple[Tensor, Callable[[Tensor], Tensor]]


@dataclass(frozen=True)
class ProbePairs:
    """What probes hear of one structure: atoms beside it, that it does not hear."""

    n_probes: int
    probe: Tensor  # (pairs,) int64, in rising order
    atom: Tensor  # (pairs,) int64, atom of the structure; one pair for each of its images
    vectors: Tensor  # (pairs, 3) Å, float64, from the probe to the atom


# From what probes hear to what that adds to their features: (probes, F) in any precision, zero for one that hears none.
Listener = Callable[[ProbePairs], Tensor]


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
    def listener(self, batch: Batch) -> Listener | None:
        """What probes hear of a batch of one structure, with all that is the structure's own computed once.

        The features of a probe are those of its element alone plus what the listener returns; called outside of
        autograd.

        Returns:
            None where what is heard depends on the probe's element, or nothing is faster than a batch with probes.
        """

    @abstractmethod
    def bytes_needed(self, atoms: int, pairs: int) -> int:
        """An estimate of the memory that features and their derivatives take, for batches of that size."""
