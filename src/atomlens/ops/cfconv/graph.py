"""Directed pairs in the orders in which kernels go through them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor


@dataclass(frozen=True)
class Groups:
    """Rows brought together by a key: group k holds the rows order[starts[k]] … order[starts[k + 1] - 1], rising."""

    starts: Tensor  # (groups + 1,) int32
    order: Tensor  # (rows,) int32


@dataclass(frozen=True)
class PairGraph:
    """Pairs of a batch, grouped by the atom that hears and by the atom that is heard; arrays are contiguous.

    Nothing is assumed about symmetry: a probe atom hears and is not heard.
    """

    centre: Tensor  # (pairs,) int32, the atom that hears
    neighbour: Tensor  # (pairs,) int32, the atom that is heard
    by_centre: Groups
    by_neighbour: Groups

    def __post_init__(self) -> None:
        object.__setattr__(self, "centre", self.centre.contiguous())
        object.__setattr__(self, "neighbour", self.neighbour.contiguous())

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return self.by_centre.starts.shape[0] - 1

    @cached_property
    def transposed(self) -> PairGraph:
        """The same pairs with the roles exchanged."""
        return PairGraph(self.neighbour, self.centre, self.by_neighbour, self.by_centre)
