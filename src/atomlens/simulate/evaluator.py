"""Predictions of many structures that move: batches and neighbour lists are kept from step to step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import ase
import numpy as np

from atomlens.data.neighbours import neighbour_list
from atomlens.errors import InputError
from atomlens.model import CHUNK_BYTES, Arrays, Model, split_outputs
from atomlens.simulate.skin import Searched, checked, search


@dataclass(frozen=True)
class _Chunk:
    """Structures that are predicted together."""

    names: tuple[int, ...]
    searched: Searched


class Evaluator:
    """Predicts structures by number, as often as asked, in batches within a memory budget.

    Results are those of `Model.predict`. Batches are kept between calls as long as numbers and neighbours allow.

    Args:
        model: any.
        skin: how far beyond the model's cutoff neighbours are searched, in Å (see `Calculator`).
    """

    def __init__(self, model: Model, *, skin: float = 0.5) -> None:
        self.model = model
        self.skin = skin
        self._chunks: list[_Chunk] = []
        self._planned = 0  # structures when the chunks were laid out

    def __call__(self, structures: Mapping[int, ase.Atoms]) -> dict[int, Arrays]:
        """Predict, forces included, and stress of structures that are periodic in three directions.

        Raises:
            InputError: the model refuses a structure, whose place in the mapping is named.
        """
        results: dict[int, Arrays] = {}
        kept, self._chunks = self._still_wanted(structures), []  # a refused structure must leave nothing behind
        for chunk in kept:
            batch = chunk.searched.moved([structures[name] for name in chunk.names])
            if batch is None:
                chunk = self._searched(chunk.names, structures)
                batch = chunk.searched.batch
            found = split_outputs(self.model.predict(batch), batch)
            results |= dict(zip(chunk.names, found, strict=True))
            self._chunks.append(chunk)
        return {name: results[name] for name in structures}

    def forget(self) -> None:
        """Drop batches and neighbours, so that the next call does not depend on those before."""
        self._chunks, self._planned = [], 0

    def _still_wanted(self, structures: Mapping[int, ase.Atoms]) -> list[_Chunk]:
        """The chunks of the last call without structures that have dropped out; new ones where that wastes too much."""
        known = {name for chunk in self._chunks for name in chunk.names}
        if not known.issuperset(structures) or 2 * len(structures) < self._planned:
            return self._laid_out(structures)
        if len(known) == len(structures):
            return self._chunks
        chunks = []
        for chunk in self._chunks:
            names = tuple(name for name in chunk.names if name in structures)
            if names == chunk.names:
                chunks.append(chunk)
            elif names:
                chunks.append(self._searched(names, structures))
        return chunks

    def _searched(self, names: tuple[int, ...], structures: Mapping[int, ase.Atoms]) -> _Chunk:
        try:
            return _Chunk(names, search([structures[name] for name in names], self.model, self.skin))
        except InputError as error:
            place = list(structures).index(names[error.structure or 0])
            raise InputError(error.problem, structure=place, atom=error.atom) from None

    def _laid_out(self, structures: Mapping[int, ase.Atoms]) -> list[_Chunk]:
        """Chunks within `CHUNK_BYTES` (one structure at least); crystals have stress, and go in chunks of their own."""
        self._planned = len(structures)
        names = list(structures)
        systems = checked(list(structures.values()), self.model)
        reach = None if self.model.cutoff is None else self.model.cutoff + self.skin
        lists = []
        for place, system in enumerate(systems):
            try:
                lists.append(neighbour_list(system, reach))
            except InputError as error:
                raise error.at(structure=place) from None
        chunks = []
        for bulk in (False, True):
            places = [place for place, system in enumerate(systems) if bool(system.pbc.all()) is bulk]
            sizes = [(len(systems[place].numbers), len(lists[place][0])) for place in places]
            for run in self._runs(places, sizes):
                own = [structures[names[place]] for place in run]
                found = search(own, self.model, self.skin, [lists[place] for place in run])
                chunks.append(_Chunk(tuple(names[place] for place in run), found))
        return chunks

    def _runs(self, places: list[int], sizes: list[tuple[int, int]]) -> list[list[int]]:
        runs: list[list[int]] = []
        total = np.zeros(2, dtype=int)
        for place, size in zip(places, sizes, strict=True):
            total = total + size
            if not runs or self.model.bytes_needed(int(total[0]), int(total[1])) > CHUNK_BYTES:
                runs.append([])
                total = np.array(size)
            runs[-1].append(place)
        return runs
