"""Neighbour lists with a skin: searched beyond the cutoff, and kept while nobody new can have come within it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import ase
import numpy as np
import torch
from ase.geometry import complete_cell
from torch import Tensor

from atomlens.data import neighbours
from atomlens.data.batch import Batch, collate
from atomlens.data.neighbours import NeighbourList
from atomlens.data.system import AtomicSystem, total_charge
from atomlens.errors import InputError
from atomlens.model import Model


@dataclass(frozen=True)
class Searched:
    """Structures, and their pairs within ``cutoff`` + ``skin`` Å; without a cutoff all their pairs."""

    systems: tuple[AtomicSystem, ...]
    batch: Batch
    cutoff: float | None
    skin: float

    def moved(self, structures: Sequence[ase.Atoms]) -> Batch | None:
        """The same atoms elsewhere, with the same `Pairs`, so that what kernels derive from these is used again.

        Its ``vectors`` are there already, for the distances have to be looked at anyway.

        Returns:
            None where a new search is due: other atoms, a pair within the cutoff that may be missing, or something that
            the search would refuse.
        """
        if not all(_same_atoms(atoms, system) for atoms, system in zip(structures, self.systems, strict=True)):
            return None
        if len(structures) == 1:  # spares copies in every step of a single molecule
            positions, cells = structures[0].positions, structures[0].cell.array[None]
        else:
            positions = np.concatenate([atoms.positions for atoms in structures])
            cells = np.stack([atoms.cell.array for atoms in structures])
        return self._at(torch.from_numpy(positions), torch.from_numpy(cells))

    def _at(self, positions: Tensor, cells: Tensor) -> Batch | None:
        if not self._complete(positions, cells):
            return None
        batch = self.batch.moved(positions.to(self.batch.cell.device), cells.to(self.batch.cell.device))
        vectors = batch.pair_vectors()
        if len(vectors) and float(torch.linalg.vector_norm(vectors, dim=1).min()) < neighbours.MIN_DISTANCE:
            return None
        return batch

    def _complete(self, positions: Tensor, cells: Tensor) -> bool:
        """Whether all pairs within the cutoff are listed at these positions and in these cells.

        A pair that was left out is cutoff + skin apart at least. Under a map F of space by which the cell changes that
        shrinks to (1 - |F - 1|) of it at most, and by twice what an atom moved beyond the map.
        """
        # The batch was made of these systems, so it holds where they were; on the processor, as what they are now.
        start, slack = self.batch.positions.cpu(), math.inf if self.cutoff is None else self.skin
        before = self.batch.cell.cpu()
        if self.batch.pairs.shift is not None and not torch.equal(cells, before):
            return bool(cells.isfinite().all()) and self._complete_strained(positions, cells, start, before)
        # False for what is not finite, too.
        return 2.0 * float(torch.linalg.vector_norm(positions - start, dim=1).max()) < slack

    def _complete_strained(self, positions: Tensor, cells: Tensor, start: Tensor, before: Tensor) -> bool:
        pairs = zip(before.numpy(), cells.numpy(), strict=True)
        maps = np.stack([np.linalg.solve(complete_cell(old), complete_cell(new)) for old, new in pairs])
        of_atoms = torch.from_numpy(maps).index_select(0, self.batch.system.cpu())
        moved = torch.linalg.vector_norm(positions - torch.einsum("na,nab->nb", start, of_atoms), dim=1)
        strain = torch.from_numpy(np.linalg.norm(maps - np.eye(3), axis=(1, 2)))
        slack = self.skin - strain * ((self.cutoff or 0.0) + self.skin)
        return bool((2.0 * moved < slack.index_select(0, self.batch.system.cpu())).all())


def _same_atoms(atoms: ase.Atoms, system: AtomicSystem) -> bool:
    # Bytes and lists compare in a tenth of the time that np.array_equal takes, and this runs in every step.
    return (
        atoms.numbers.tobytes() == system.numbers.tobytes()
        and atoms.pbc.tolist() == system.pbc.tolist()
        and total_charge(atoms.info.get("charge", 0.0)) == system.charge
    )


def search(
    structures: Sequence[ase.Atoms], model: Model, skin: float, lists: Sequence[NeighbourList] | None = None
) -> Searched:
    """Check structures and list their pairs within ``skin`` Å beyond the model's cutoff, or take ready ``lists``.

    Raises:
        InputError: the model refuses a structure (see `Model.collate`).
    """
    systems = checked(structures, model)
    batch = collate(systems, None if model.cutoff is None else model.cutoff + skin, lists).to(model.device)
    return Searched(tuple(systems), batch, model.cutoff, skin)


def checked(structures: Sequence[ase.Atoms], model: Model) -> list[AtomicSystem]:
    """Structures in the form that batches are made of.

    Raises:
        InputError: the model refuses one, which is named by its place.
    """
    systems = []
    for place, atoms in enumerate(structures):
        try:
            system = AtomicSystem.from_ase(atoms.copy())  # numbers would be shared with the caller
        except InputError as error:
            raise error.at(structure=place) from None
        model.check_elements(system.numbers, np.array([0, len(system.numbers)]), first=place)
        model.check_charges(np.array([system.charge]), first=place)
        model.check_boundaries(system.pbc[None], first=place)
        systems.append(system)
    return systems
