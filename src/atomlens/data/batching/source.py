"""Batches of a data set, gathered without Python loops."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from atomlens.data.batch import Batch, Pairs
from atomlens.data.dataset import Dataset, ranges
from atomlens.data.neighbour_cache import stored_neighbours
from atomlens.data.neighbours import MIN_DISTANCE, neighbour_list
from atomlens.data.pair_lists import AllPairs, Pairing, searched
from atomlens.data.quantities import quantity
from atomlens.errors import InputError


class BatchSource:
    """Hands out batches of a data set: neighbours are searched once, batches are gathered without Python loops.

    Pairs of structures from a store are kept in its folder and shared by all its subsets (`neighbour_cache`).

    Args:
        data: structures with their labels.
        cutoff: in Å; None for every pair of open structures.
        targets: names of the labels that come along with a batch, NaN where they are not known.
        title: of a progress bar over the search for neighbours; none without it.

    Raises:
        InputError: there is no label of that name, or two atoms of a structure nearly coincide.
    """

    def __init__(self, data: Dataset, cutoff: float | None, targets: list[str], title: str = "") -> None:
        self.data = data
        # Plain arrays: indexing a mapped one takes many times as long, whatever is read.
        self._targets = {name: (quantity(name).per, np.asarray(data.label(name))) for name in targets}
        self._numbers, self._positions = np.asarray(data.numbers), np.asarray(data.positions)
        self._offsets, self._charge = np.asarray(data.offsets), np.asarray(data.charge)
        self._cell, self._pbc = np.asarray(data.cell), np.asarray(data.pbc)
        self._periodic = bool(data.pbc.any())
        kept = None if cutoff is None else stored_neighbours(data, cutoff, title)
        self._places: np.ndarray | None  # of the structures in the pairs; None: as they stand
        self._pairs: Pairing
        if kept is not None:
            self._pairs, self._places = kept
        else:
            self._pairs = AllPairs(data, title) if cutoff is None else searched(data, cutoff, title)
            self._places = None
        self._refuse_clashes(cutoff)

    def _refuse_clashes(self, cutoff: float | None) -> None:
        shortest = self._pairs.shortest if self._places is None else self._pairs.shortest[self._places]
        for index in np.flatnonzero(~(shortest >= MIN_DISTANCE)):
            try:
                neighbour_list(self.data[int(index)], cutoff)
            except InputError as error:
                raise self.data.located(error, int(index)) from None

    def __len__(self) -> int:
        return len(self.data)

    def pair_count(self, indices: np.ndarray) -> np.ndarray:
        """(structures,) number of directed pairs."""
        return self._pairs.counts(self._rows(indices))

    def batch(self, indices: np.ndarray) -> tuple[Batch, dict[str, Tensor]]:
        """The structures at ``indices`` as a batch, and their targets as float64 tensors."""
        sizes = self._offsets[indices + 1] - self._offsets[indices]
        atom_rows = ranges(self._offsets, indices)
        batch = Batch(
            numbers=torch.from_numpy(self._numbers[atom_rows]),
            positions=torch.from_numpy(self._positions[atom_rows]),
            system=torch.from_numpy(np.repeat(np.arange(len(indices)), sizes)),
            cell=torch.from_numpy(self._cell[indices]),
            pbc=torch.from_numpy(self._pbc[indices]),
            charge=torch.from_numpy(self._charge[indices]),
            pairs=self._pairs_of(indices, np.cumsum(sizes) - sizes),
        )
        targets = {
            name: torch.from_numpy(values[atom_rows if per == "atom" else indices])
            for name, (per, values) in self._targets.items()
        }
        return batch, targets

    def _pairs_of(self, indices: np.ndarray, starts: np.ndarray) -> Pairs:
        """Pairs in a batch whose structures begin at the atoms ``starts``."""
        rows = self._rows(indices)
        centre, neighbour, shift = self._pairs.gather(rows)
        first = np.repeat(starts, self._pairs.counts(rows))
        return Pairs(
            centre=torch.from_numpy(centre + first),
            neighbour=torch.from_numpy(neighbour + first),
            shift=torch.from_numpy(shift.astype(np.float64)) if shift is not None and self._periodic else None,
        )

    def _rows(self, indices: np.ndarray) -> np.ndarray:
        return np.asarray(indices if self._places is None else self._places[indices])
