"""The filters that panels show: which are drawn, and which distances the data has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from atomlens.errors import InputError
from atomlens.explain.interactions.radial_filters import (
    FARTHEST,
    STEP,
    PairDistances,
    RadialFilters,
    pair_distances,
    radial_filters,
)
from atomlens.explain.subject import NamedModel, Subject
from atomlens.model import Model

CURVES = 8  # of each interaction that are drawn
RARE = 1e-3  # of the most frequent distance; where pairs are fewer, filters are hardly used


@dataclass(frozen=True)
class ShownFilters:
    """The filters of one model and the data's distances, with what is drawn of them."""

    entry: NamedModel
    filters: RadialFilters
    pairs: PairDistances | None
    crystals: bool  # among the data

    @cached_property
    def density(self) -> np.ndarray | None:
        """(distances,) how many pairs lie at each, the most frequent being one."""
        return None if self.pairs is None else self.pairs.density(self.filters.distances)

    @cached_property
    def foot(self) -> np.ndarray | None:
        """(distances,) the distribution of pairs as it is drawn: in crystals per volume, or far ones hide the rest."""
        if self.pairs is None or not self.crystals:
            return self.density
        return self.pairs.per_volume(self.filters.distances)

    @property
    def shortest(self) -> float:
        """Å, of the closest pair; 0 where there is none."""
        return 0.0 if self.pairs is None else self.pairs.shortest

    @cached_property
    def chosen(self) -> list[list[int]]:
        """Per interaction the places of the strongest filters, from near to far."""
        centres = self.filters.centres(self.density)
        strongest = self.filters.strongest(CURVES, self.density)
        return [
            sorted(row, key=lambda place: float(centres[block][place])) for block, row in enumerate(strongest.tolist())
        ]

    @property
    def loudest(self) -> list[float]:
        """Å, per interaction: where a neighbour is heard loudest, of the distances at which there are pairs."""
        used = np.ones(len(self.filters.distances)) if self.density is None else self.density
        seen = np.where(used > RARE, self.filters.loudness, -1.0)
        return self.filters.distances[seen.argmax(axis=1)].tolist()

    @property
    def reach(self) -> list[float]:
        """Å, per interaction: beyond it a neighbour is heard less than a tenth as loudly as at `loudest`."""
        loud, apart = self.filters.loudness, self.filters.distances
        found = []
        for line, peak in zip(loud, self.loudest, strict=True):
            above = np.flatnonzero(line > 0.1 * line[np.abs(apart - peak).argmin()])
            found.append(float(apart[above[-1]]))
        return found


def shown_filters(subject: Subject, entry: NamedModel, structures: int = 1000) -> ShownFilters:
    """The filters of a model up to its cutoff, or without one as far as there are pairs."""
    reach = entry.model.cutoff or FARTHEST
    pairs = pair_distances(subject.data, reach, structures)
    end = reach if entry.model.cutoff or pairs is None else float(pairs.distances.max())
    filters = radial_filters(entry.model, np.arange(0.0, end + STEP / 2, STEP))
    return ShownFilters(entry, filters, pairs, bool(subject.data.pbc.any()))


def serving(subject: Subject, serves: Callable[[Model], object]) -> list[NamedModel]:
    """The models that do not make ``serves`` raise.

    Raises:
        InputError: there is none; the reason of the first model.
    """
    found, problems = [], []
    for entry in subject.models:
        try:
            serves(entry.model)
            found.append(entry)
        except InputError as error:
            problems.append(InputError(f"model {entry.name} {error.problem}"))
    if not found:
        raise problems[0]
    return found
