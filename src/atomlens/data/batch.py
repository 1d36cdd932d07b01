"""What a model reads: many structures laid end to end, and their directed pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from atomlens.data.neighbours import NeighbourList, neighbour_list
from atomlens.data.system import AtomicSystem
from atomlens.errors import InputError


@dataclass(frozen=True)
class Pairs:
    """Directed pairs: ``centre`` hears ``neighbour``. Rows are in rising order of ``centre``."""

    centre: Tensor  # (pairs,) int64, atom of the batch
    neighbour: Tensor  # (pairs,) int64, atom of the batch
    shift: Tensor | None = None  # (pairs, 3) lattice vectors added to the neighbour's position; None: no images


@dataclass(frozen=True)
class Batch:
    """Structures laid end to end. Every count is a length: ``numbers.shape[0]`` atoms, ``cell.shape[0]`` systems.

    ``weight`` and ``initial_features`` are the core's openings for explanations (DESIGN), with extra atoms that have
    incoming pairs only (probes): ``initial_features`` replace the embedding look-up, ``weight`` fades an atom's
    messages and readout terms. ``vectors`` are what energies are differentiated by.
    """

    numbers: Tensor  # (atoms,) int64 atomic numbers
    positions: Tensor  # (atoms, 3) Å, float64 until the distance vectors are formed
    system: Tensor  # (atoms,) int64, the structure of each atom, in rising order
    cell: Tensor  # (systems, 3, 3) Å, rows are lattice vectors
    pbc: Tensor  # (systems, 3) bool
    charge: Tensor  # (systems,) e
    pairs: Pairs
    weight: Tensor | None = None  # (atoms,) weight of messages and terms; None: one for all
    initial_features: Tensor | None = None  # (atoms, F); None: looked up by atomic number
    # (pairs, 3) Å, what `pair_vectors` returns; None: computed from positions and cells. It goes before them: whoever
    # replaces positions, cells or pairs sets this to None as well.
    vectors: Tensor | None = None

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""

        def move(value: Tensor | Pairs | None) -> Tensor | Pairs | None:
            if isinstance(value, Pairs):
                return Pairs(*(move(getattr(value, field.name)) for field in fields(Pairs)))  # type: ignore[arg-type]
            return None if value is None else value.to(device)

        return Batch(**{field.name: move(getattr(self, field.name)) for field in fields(self)})  # type: ignore[arg-type]

    def pair_vectors(self) -> Tensor:
        """r_j - r_i of each pair, (pairs, 3) in Å, images included; differentiable in positions and cell."""
        return self._vectors_at(self.positions, self.cell) if self.vectors is None else self.vectors

    def moved(self, positions: Tensor, cell: Tensor) -> Batch:
        """The same structures, with their vectors, at other positions (atoms, 3) and in other cells (systems, 3, 3)."""
        return replace(self, positions=positions, cell=cell, vectors=self._vectors_at(positions, cell))

    def _vectors_at(self, positions: Tensor, cell: Tensor) -> Tensor:
        pairs = self.pairs
        vectors = positions.index_select(0, pairs.neighbour) - positions.index_select(0, pairs.centre)
        if pairs.shift is None:
            return vectors
        shift = pairs.shift.to(cell.dtype)
        if cell.shape[0] == 1:  # spares a copy of the cell for every pair
            return torch.addmm(vectors, shift, cell[0])
        return vectors + torch.einsum("pa,pab->pb", shift, cell.index_select(0, self._system_of_pairs()))

    def strained(self, strain: Tensor) -> Batch:
        """Positions and cells mapped by r ← r (1 + ε), ε (systems, 3, 3) symmetrised."""
        symmetric = 0.5 * (strain + strain.transpose(1, 2))
        per_atom = symmetric.index_select(0, self.system)
        return replace(
            self,
            positions=self.positions + torch.einsum("na,nab->nb", self.positions, per_atom),
            cell=self.cell + torch.bmm(self.cell, symmetric),
            vectors=None,
        )

    def net_forces(self, slopes: Tensor) -> Tensor:
        """-∂E/∂r_i, (atoms, 3), from ∂E/∂(r_j - r_i) of each pair, (pairs, 3)."""
        forces = _add_rows(slopes.new_zeros(self.numbers.shape[0], 3), self.pairs.centre, slopes)
        return _add_rows(forces, self.pairs.neighbour, -slopes)

    def virial(self, slopes: Tensor) -> Tensor:
        """∂E/∂ε of a symmetric strain, (systems, 3, 3), from ∂E/∂(r_j - r_i) of each pair, (pairs, 3)."""
        vectors, systems = self.pair_vectors(), self.cell.shape[0]
        if systems == 1:
            virial = (vectors.T @ slopes)[None]
        else:
            products = (vectors[:, :, None] * slopes[:, None, :]).reshape(-1, 9)
            virial = _add_rows(products.new_zeros(systems, 9), self._system_of_pairs(), products).view(-1, 3, 3)
        return 0.5 * (virial + virial.transpose(1, 2))

    def _system_of_pairs(self) -> Tensor:
        return self.system.index_select(0, self.pairs.centre)


def _add_rows(sums: Tensor, rows: Tensor, values: Tensor) -> Tensor:
    # For rows as short as these torch's scatter_add takes a tenth of the time of its index_add.
    return sums.scatter_add(0, rows[:, None].expand_as(values), values)


for _kind, _name in ((Pairs, "atomlens.Pairs"), (Batch, "atomlens.Batch")):
    # torch.export takes batches as they are.
    torch.export.register_dataclass(_kind, serialized_type_name=_name)


def collate(
    systems: Sequence[AtomicSystem], cutoff: float | None, lists: Sequence[NeighbourList] | None = None
) -> Batch:
    """Lay structures end to end and list their pairs within ``cutoff`` Å (None: all pairs), or take ready ``lists``.

    Raises:
        InputError: see `neighbour_list`; the structure's place in the sequence is named.
    """
    lists = _neighbour_lists(systems, cutoff) if lists is None else lists
    sizes = np.array([len(system.numbers) for system in systems])
    starts = np.cumsum(sizes) - sizes
    periodic = any(system.pbc.any() for system in systems)
    shift = np.concatenate([found[2] for found in lists]).astype(np.float64) if periodic else None
    pairs = Pairs(
        centre=torch.from_numpy(np.concatenate([found[0] + s for found, s in zip(lists, starts, strict=True)])),
        neighbour=torch.from_numpy(np.concatenate([found[1] + s for found, s in zip(lists, starts, strict=True)])),
        shift=None if shift is None else torch.from_numpy(shift),
    )
    return Batch(
        numbers=torch.from_numpy(np.concatenate([system.numbers for system in systems])),
        positions=torch.from_numpy(np.concatenate([system.positions for system in systems])),
        system=torch.from_numpy(np.repeat(np.arange(len(systems)), sizes)),
        cell=torch.from_numpy(np.stack([system.cell for system in systems])),
        pbc=torch.from_numpy(np.stack([system.pbc for system in systems])),
        charge=torch.tensor([system.charge for system in systems], dtype=torch.float64),
        pairs=pairs,
    )


def _neighbour_lists(systems: Sequence[AtomicSystem], cutoff: float | None) -> list[NeighbourList]:
    lists = []
    for place, system in enumerate(systems):
        try:
            lists.append(neighbour_list(system, cutoff))
        except InputError as error:
            raise error.at(structure=place) from None
    return lists
