"""What every readout offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor, nn

from atomlens.data.batch import Batch
from atomlens.data.dataset import Dataset


@dataclass(frozen=True)
class Output:
    """A property of each structure, the terms of its atoms, and what else follows from the property."""

    system: Tensor  # (systems, ...)
    atoms: Tensor  # (atoms, ...)
    derived: Mapping[str, Tensor] = field(default_factory=dict)  # (systems, ...) by quantity


class Readout(nn.Module, ABC):
    """Turns features into a property, through contributions of the atoms.

    Quantities are names of `atomlens.data.quantities`.
    """

    quantity: str  # the property
    atom_quantity: str  # the atoms' terms
    derived_quantities: ClassVar[tuple[str, ...]] = ()  # what follows from the property alone, and can be a target
    open_only: ClassVar[bool] = False  # whether the property has no meaning under periodic boundaries
    cutoff: float | None = None  # Å within which it needs pairs of its own; None: it needs none
    scale: Tensor  # () float64; size of what is left to learn, in the property's unit; the loss is measured in it

    def forward(self, features: Tensor, batch: Batch) -> Output:
        """The property and its atom terms from features (atoms, F), in float64."""
        terms = self.terms(features, batch)
        total = self.total(terms, batch)
        return Output(total, terms, self.derived(total))

    @abstractmethod
    def terms(self, features: Tensor, batch: Batch) -> Tensor:
        """The atoms' terms, (atoms, ...), float64; those of faded atoms are faded."""

    @abstractmethod
    def total(self, terms: Tensor, batch: Batch) -> Tensor:
        """The property (systems, ...) that atom terms stand for."""

    @abstractmethod
    def derived(self, total: Tensor) -> dict[str, Tensor]:
        """The `derived_quantities` of a property (systems, ...)."""

    @abstractmethod
    def fit(self, data: Dataset, free_atoms: Mapping[int, float] | None) -> None:
        """Standardise: take scales and offsets from training structures, before anything is learned.

        Args:
            data: structures with a label of the property or of a derived one, NaN where it is not known.
            free_atoms: energies of free atoms in eV by atomic number, for energies.

        Raises:
            InputError: no label of the readout is known.
        """
