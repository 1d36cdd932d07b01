"""Neighbour lists with a skin: searched beyond the cutoff, and kept while nobody new can have come within it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import ase
import numpy as np
import torch
from ase.geometry import complete_cell
from torch import Tensor

from atomlens.data import neighbours
from atomlens.data.batch import Batch, collate
from atomlens.data.system import AtomicSystem, total_charge
from atomlens.errors import InputError
from atomlens.model import Model


@dataclass(frozen=True)
class Searched:
    """A structure, and its pairs within ``cutoff`` + ``skin`` Å; without a cutoff all its pairs."""

    system: AtomicSystem
    batch: Batch
    cutoff: float | None
    skin: float

    def moved(self, atoms: ase.Atoms) -> Batch | None:
        """The same atoms elsewhere, with the same `Pairs`, so that what kernels derive from these is used again.

        Its ``vectors`` are there already, for the distances have to be looked at anyway.

        Returns:
            None where a new search is due: other atoms, a pair within the cutoff that may be missing, or something that
            the search would refuse.
        """
        positions, cell = torch.from_numpy(atoms.positions), torch.from_numpy(atoms.cell.array)
        if not (self._same_atoms(atoms) and self._complete(positions, cell)):
            return None
        batch = self.batch.moved(positions.to(self.batch.cell.device), cell[None].to(self.batch.cell.device))
        vectors = batch.pair_vectors()
        if len(vectors) and float(torch.linalg.vector_norm(vectors, dim=1).min()) < neighbours.MIN_DISTANCE:
            return None
        return batch

    def _same_atoms(self, atoms: ase.Atoms) -> bool:
        # Bytes and lists compare in a tenth of the time that np.array_equal takes, and this runs in every step.
        return (
            atoms.numbers.tobytes() == self.system.numbers.tobytes()
            and atoms.pbc.tolist() == self.system.pbc.tolist()
            and total_charge(atoms.info.get("charge", 0.0)) == self.system.charge
        )

    def _complete(self, positions: Tensor, cell: Tensor) -> bool:
        """Whether all pairs within the cutoff are listed at these positions and in this cell.

        A pair that was left out is cutoff + skin apart at least. Under a map F of space by which the cell changes that
        shrinks to (1 - |F - 1|) of it at most, and by twice what an atom moved beyond the map.
        """
        start, slack = torch.from_numpy(self.system.positions), math.inf if self.cutoff is None else self.skin
        if self.batch.pairs.shift is not None and not torch.equal(cell, torch.from_numpy(self.system.cell)):
            if not cell.isfinite().all():
                return False
            mapping = np.linalg.solve(complete_cell(self.system.cell), complete_cell(cell.numpy()))
            start = start @ torch.from_numpy(mapping)
            slack -= float(np.linalg.norm(mapping - np.eye(3))) * ((self.cutoff or 0.0) + self.skin)
        # False for what is not finite, too.
        return 2.0 * float(torch.linalg.vector_norm(positions - start, dim=1).max()) < slack


def search(atoms: ase.Atoms, model: Model, skin: float) -> Searched:
    """Check a structure and list its pairs within ``skin`` Å beyond the model's cutoff.

    Raises:
        InputError: the model refuses the structure (see `Model.collate`).
    """
    try:
        system = AtomicSystem.from_ase(atoms.copy())  # numbers would be shared with the caller
    except InputError as error:
        raise error.at(structure=0) from None
    model.check_elements(system.numbers, np.array([0, len(system.numbers)]))
    model.check_charges(np.array([system.charge]))
    model.check_boundaries(system.pbc[None])
    batch = collate([system], None if model.cutoff is None else model.cutoff + skin).to(model.device)
    return Searched(system, batch, model.cutoff, skin)
