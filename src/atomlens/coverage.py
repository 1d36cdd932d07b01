"""What a model saw in training, kept with it: how close atoms came, and which surroundings they had.

Surroundings are compared in the features of the model's representation, by the distance to the nearest of the training
atoms of the same element (Janet, Duan, Yang, Nandy, Kulik, Chem. Sci. 2019, 10, 7913). To be small, a coverage keeps
few directions, whitened, and few atoms of each element, one as far from the others as the next (Gonzalez, Theor.
Comput. Sci. 1985, 38, 293). From which distance on surroundings are strange is set by structures that were held out, so
that the share of false alarms is bounded whatever the distribution (split conformal prediction: Vovk, Gammerman,
Shafer, Algorithmic Learning in a Random World, 2005).
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, Self

import numpy as np
import torch

from atomlens.data.batch import Batch
from atomlens.data.batching import BatchSource
from atomlens.data.dataset import Dataset
from atomlens.data.system import MAX_ATOMIC_NUMBER, symbol
from atomlens.errors import InputError
from atomlens.evaluation import batches_by_pairs
from atomlens.model import Model
from atomlens.ops.threads import threads_for
from atomlens.progress import track

KEY = "coverage"  # of a model's provenance
FALSE_ALARMS = 1e-3  # where so many structures were held out that so few can be told from none
MOST_STRUCTURES = 2_000  # whose features are looked at
MOST_ATOMS = 50_000  # in them
_OF_RARE_ELEMENTS = 20  # structures that are added for an element that these leave out
_HELD_BACK = 10  # every tenth structure, where none are held out
_DIRECTIONS = 16  # with more, what varies is lost among what hardly does
_KEPT_ATOMS = 1_200  # over all elements
_ROWS = 4_096  # atoms compared with those kept at a time
_LEAST_VARIANCE = 1e-6  # of a direction, relative to the largest; below, it may be rounding
_LEAST_LIMIT = 1e-2  # deviations; where all structures are alike, rounding must not be strange


@dataclass(frozen=True)
class Excess:
    """How far a batch lies outside of what a model saw."""

    surroundings: np.ndarray  # (atoms,) distance to the nearest kept atom over the limit; above 1 is strange
    closer: np.ndarray  # (pairs,) Å by which atoms are closer than any such in training; inf: there were no such pairs
    farther: np.ndarray  # (atoms,) Å by which the nearest neighbour is farther than that of any such atom in training


@dataclass(frozen=True, eq=False)
class Coverage:
    """What a model saw in training; arrays have the precision in which they are stored."""

    elements: tuple[int, ...]  # atomic numbers in rising order
    cutoff: float | None  # Å, within which pairs were listed
    distances: np.ndarray  # (elements, elements) Å, the smallest in training; inf: no such pair within the cutoff
    nearest: np.ndarray  # (elements,) Å, the largest distance to a nearest neighbour; inf: there were atoms without any
    directions: np.ndarray  # (F, K) float32; features times these deviate by 1 from their element's mean, on average
    centres: np.ndarray  # (elements, K) float32, the mean of each element in these directions
    kept: tuple[np.ndarray, ...]  # for each element (atoms, K) float16, training atoms as seen from the mean
    limit: float  # distance to the nearest kept atom from which on surroundings are strange
    false_alarms: float  # bound on the share of structures like those of training with an atom beyond the limit
    structures: int  # of training, in which distances were measured
    sampled: int  # of them, whose features were looked at
    held_out: int  # structures that set the limit

    @classmethod
    def of(
        cls,
        model: Model,
        training: BatchSource | Dataset,
        held_out: BatchSource | Dataset | None = None,
        *,
        title: str = "",
    ) -> Self:
        """Measure what a model saw.

        Distances are those of all structures. Features are looked at in 2,000 structures and 50,000 atoms at most,
        evenly spaced, and in 20 more for an element that these leave out.

        Args:
            model: the features are its.
            training: the structures that it was trained on.
            held_out: structures of the same kind that it was not trained on. Without them every tenth of ``training``
                sets the limit, and is not kept.
            title: of a progress bar; none without it.

        Raises:
            InputError: there are fewer than two structures, or two atoms of one nearly coincide.
        """
        source = _source(model, training)
        others = source if held_out is None else _source(model, held_out)
        rows, other_rows = np.arange(len(source)), np.arange(len(others))
        if held_out is None:
            rows, other_rows = rows[rows % _HELD_BACK != 0], other_rows[::_HELD_BACK]
        if not len(rows) or not len(other_rows):
            raise InputError("a coverage needs structures to keep and others to set its limit; give two at least")
        elements = tuple(source.data.elements)
        distances, nearest = _distances(source, elements, title)
        numbers, features = _features(model, source, _sample(source.data, rows))
        directions, centres, kept = _kept_atoms(elements, numbers, features)
        counts = len(source), len(_sample(source.data, rows)), 0
        made = cls(elements, model.cutoff, distances, nearest, directions, centres, kept, 1.0, 1.0, *counts)
        return made._calibrated(model, others, _sample(others.data, other_rows))

    @classmethod
    def stored(cls, model: Model) -> Self | None:
        """The coverage that a model carries; None for one that was made without.

        Raises:
            InputError: see `from_dict`; also where it is of other features.
        """
        values = model.provenance.get(KEY)
        if values is None:
            return None
        found = cls.from_dict(values)
        if len(found.directions) != model.representation.n_features:
            raise InputError(
                f"the coverage that the model carries is of {len(found.directions)} features, where the model has "
                f"{model.representation.n_features}; measure it again with Coverage.of"
            )
        return found

    def check(self, batch: Batch, features: torch.Tensor) -> Excess:
        """How far each atom and pair lies outside of what the model saw.

        Args:
            batch: structures; pairs beyond the cutoff count for nothing.
            features: (atoms, F), what the model's representation says of the batch.
        """
        numbers = batch.numbers.cpu().numpy()
        lengths = torch.linalg.vector_norm(batch.pair_vectors().detach(), dim=1).cpu().numpy()
        centre, neighbour = batch.pairs.centre.cpu().numpy(), batch.pairs.neighbour.cpu().numpy()
        heard = lengths < (math.inf if self.cutoff is None else self.cutoff)
        column, known = self._columns(numbers)
        seen = np.where(known[centre] & known[neighbour], self.distances[column[centre], column[neighbour]], np.inf)
        closer = np.where(heard, np.where(np.isfinite(seen), seen - lengths, np.inf), -np.inf)
        alone = np.full(len(numbers), np.inf)
        np.minimum.at(alone, centre[heard], lengths[heard])
        most = self.nearest[column]
        farther = np.where(np.isfinite(most), alone - np.where(np.isfinite(most), most, 0.0), -np.inf)
        return Excess(self.strangeness(numbers, features), closer, np.where(known, farther, np.inf))

    def strangeness(self, numbers: np.ndarray, features: torch.Tensor) -> np.ndarray:
        """Distance to the nearest kept atom over the limit, (atoms,); inf for unknown elements and what is not finite.

        Args:
            numbers: (atoms,) atomic numbers.
            features: (atoms, F)
        """
        values = features.detach().cpu().numpy().astype(np.float64) @ self.directions
        column, known = self._columns(numbers)
        known = known & np.isfinite(values).all(axis=1)
        found = np.full(len(numbers), np.inf)
        for place in np.unique(column[known]):
            rows = np.flatnonzero(known & (column == place))
            for start in range(0, len(rows), _ROWS):
                some = rows[start : start + _ROWS]
                found[some] = _nearest(values[some] - self.centres[place], *self._kept[place])
        return found / self.limit

    def pair(self, first: int, second: int) -> float:
        """The smallest distance of two elements in training, Å; inf where no such pair was within the cutoff."""
        columns, known = self._columns(np.array([first, second]))
        return float(self.distances[columns[0], columns[1]]) if known.all() else math.inf

    def nearest_of(self, number: int) -> float:
        """The largest distance of an element's atom to its nearest neighbour in training, Å; inf where one had none."""
        columns, known = self._columns(np.array([number]))
        return float(self.nearest[columns[0]]) if known.all() else math.inf

    def _columns(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The place of each atomic number among the elements, and whether it is one of them."""
        elements = np.array(self.elements)
        column = np.minimum(np.searchsorted(elements, numbers), len(elements) - 1)
        return column, elements[column] == numbers

    @cached_property
    def _kept(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """The kept atoms in double precision, and the squares of their lengths."""
        return [(atoms.astype(np.float64), np.square(atoms, dtype=np.float64).sum(axis=1)) for atoms in self.kept]

    def _calibrated(self, model: Model, source: BatchSource, rows: np.ndarray) -> Self:
        """The smallest limit beyond which a share of `FALSE_ALARMS` lies, or fewer cannot be told from these.

        Of n structures and one more of the same kind, each is equally likely to be the k-th strangest.
        """
        numbers, features = _features(model, source, rows)
        sizes = source.data.n_atoms[rows]
        strangest = np.maximum.reduceat(self.strangeness(numbers, features), np.cumsum(sizes) - sizes)
        strangest = np.sort(strangest[np.isfinite(strangest)])  # an element that only they have is strange at any limit
        count = len(strangest)
        rank = min(math.ceil((count + 1) * (1.0 - FALSE_ALARMS)), count)
        limit = max(float(strangest[rank - 1]), _LEAST_LIMIT) if count else _LEAST_LIMIT
        return replace(self, limit=limit, false_alarms=(count + 1 - rank) / (count + 1), held_out=count)

    def __str__(self) -> str:
        """What atoms came closest, and on how much this stands."""
        rows = np.argwhere(np.triu(np.isfinite(self.distances)))
        pairs = sorted(
            (float(self.distances[i, j]), symbol(self.elements[i]), symbol(self.elements[j])) for i, j in rows
        )
        shown = ", ".join(f"{first}–{second} {distance:.2f} Å" for distance, first, second in pairs[:6])
        more = f" and {len(pairs) - 6} more pairs of elements" if len(pairs) > 6 else ""
        return (
            f"smallest distances {shown}{more} in {self.structures:,} structures; surroundings of "
            f"{sum(map(len, self.kept)):,} atoms out of {self.sampled:,} structures, with at most "
            f"{100 * self.false_alarms:.2g} % false alarms by {self.held_out:,} others"
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON: readable numbers, and arrays of features in base64 (little-endian)."""
        return {
            "elements": list(self.elements),
            "cutoff": self.cutoff,
            "smallest_distances": [
                [float(distance) if math.isfinite(distance) else None for distance in self.distances[row, : row + 1]]
                for row in range(len(self.elements))
            ],
            "largest_nearest_distances": [float(d) if math.isfinite(d) else None for d in self.nearest],
            "directions": _packed(self.directions, "<f4"),
            "centres": _packed(self.centres, "<f4"),
            "kept": _packed(np.concatenate(self.kept), "<f2"),
            "kept_atoms": [len(atoms) for atoms in self.kept],
            **{name: getattr(self, name) for name in (*_NUMBERS, *_COUNTS)},
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`.

        Raises:
            InputError: something is missing or cannot be what was written.
        """
        try:
            return cls(**_unpacked(values))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            what = f"'{error.args[0]}' is missing" if isinstance(error, KeyError) else str(error)
            raise InputError(
                f"the coverage that the model carries is damaged ({what}); measure it again with Coverage.of, or train "
                "the model again"
            ) from None


_NUMBERS, _COUNTS = ("limit", "false_alarms"), ("structures", "sampled", "held_out")


def _source(model: Model, data: BatchSource | Dataset) -> BatchSource:
    return data if isinstance(data, BatchSource) else BatchSource(data, model.cutoff, [])


def _distances(source: BatchSource, elements: tuple[int, ...], title: str) -> tuple[np.ndarray, np.ndarray]:
    """The fields ``distances``, rounded down to 0.001 Å, and ``nearest``, rounded up."""
    size, order = len(elements), torch.tensor(elements)
    table = torch.full((size * size,), torch.inf, dtype=torch.float64)
    nearest = torch.zeros(size, dtype=torch.float64)
    with track(title, len(source), "structures") as bar:
        for rows in batches_by_pairs(source, np.arange(len(source))):
            batch, _ = source.batch(rows)
            column, pairs = torch.searchsorted(order, batch.numbers), batch.pairs
            lengths = torch.linalg.vector_norm(batch.pair_vectors(), dim=1)
            table.scatter_reduce_(0, column[pairs.centre] * size + column[pairs.neighbour], lengths, "amin")
            alone = torch.full((len(column),), torch.inf, dtype=torch.float64)
            nearest.scatter_reduce_(0, column, alone.scatter_reduce(0, pairs.centre, lengths, "amin"), "amax")
            bar.advance(len(rows))
    found = np.floor(1e3 * table.numpy().reshape(size, size)) / 1e3
    return np.minimum(found, found.T), np.ceil(1e3 * nearest.numpy()) / 1e3  # lengths of a pair may differ by rounding


def _sample(data: Dataset, rows: np.ndarray) -> np.ndarray:
    """Structures whose features are looked at, out of ``rows``: evenly spaced, and some of every element."""
    sizes = data.n_atoms[rows]
    count = max(min(MOST_STRUCTURES, int(MOST_ATOMS / sizes.mean()), len(rows)), 1)
    chosen = np.unique(np.linspace(0, len(rows) - 1, count).astype(int))
    if count < len(rows):
        has = data.counts()[0][rows] > 0
        missing = np.flatnonzero(~has[chosen].any(axis=0))
        rare = [np.flatnonzero(has[:, element])[:_OF_RARE_ELEMENTS] for element in missing]
        chosen = np.unique(np.concatenate([chosen, *rare]))
    return np.asarray(rows[chosen])


def _features(model: Model, source: BatchSource, rows: np.ndarray) -> tuple[np.ndarray, torch.Tensor]:
    """Atomic numbers (atoms,) and features (atoms, F) of the structures at ``rows``."""
    numbers, features = [], []
    with torch.no_grad():
        for batch in _batches(source, rows):
            with threads_for(len(batch.numbers) * model.representation.n_features**2):
                features.append(model.representation(batch.to(model.device)).cpu())
            numbers.append(batch.numbers.numpy())
    return np.concatenate(numbers), torch.cat(features)


def _batches(source: BatchSource, rows: np.ndarray) -> Iterator[Batch]:
    return (source.batch(part)[0] for part in batches_by_pairs(source, rows))


def _kept_atoms(
    elements: tuple[int, ...], numbers: np.ndarray, features: torch.Tensor
) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, ...]]:
    """Directions, centres and kept atoms (see `Coverage`)."""
    values = features.numpy().astype(np.float64)
    places = [np.flatnonzero(numbers == element) for element in elements]
    means = [values[place].mean(axis=0) if len(place) else np.zeros(values.shape[1]) for place in places]
    deviations = [values[place] - mean for place, mean in zip(places, means, strict=True)]
    directions = _whitening(np.sum([found.T @ found for found in deviations], axis=0) / len(values))
    centres = np.stack([mean @ directions for mean in means]).astype(np.float32)
    share = max(_KEPT_ATOMS // len(elements), 2)
    kept = [
        _far_apart(values[place] @ directions - centre, share) for place, centre in zip(places, centres, strict=True)
    ]
    return directions, centres, tuple(atoms.astype(np.float16) for atoms in kept)


def _whitening(covariance: np.ndarray) -> np.ndarray:
    """(F, K) principal directions over their deviations, the largest first, without those that hardly vary."""
    variances, vectors = np.linalg.eigh(covariance)
    largest = [place for place in range(len(variances))[::-1] if variances[place] > _LEAST_VARIANCE * variances[-1]]
    largest = largest[:_DIRECTIONS] or [len(variances) - 1]
    scale = np.sqrt(np.maximum(variances[largest], np.finfo(np.float32).tiny))
    return np.asarray(vectors[:, largest] / scale, dtype=np.float32)


def _far_apart(points: np.ndarray, most: int) -> np.ndarray:
    """Up to ``most`` of the points (n, K), first the most central, then always that farthest from those chosen."""
    if len(points) <= most:
        return points
    chosen = [int(np.square(points).sum(axis=1).argmin())]
    nearest = np.full(len(points), np.inf)
    while len(chosen) < most:
        nearest = np.minimum(nearest, np.square(points - points[chosen[-1]]).sum(axis=1))
        chosen.append(int(nearest.argmax()))
    return points[chosen]


def _nearest(points: np.ndarray, kept: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Distance of each point (n, K) to the nearest of those kept, by one product of matrices."""
    apart = np.square(points).sum(axis=1) + (squares - 2.0 * (points @ kept.T)).min(axis=1)
    return np.asarray(np.sqrt(np.maximum(apart, 0.0)))


def _packed(values: np.ndarray, kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype=kind).tobytes()).decode()


def _array(values: Mapping[str, Any], name: str, kind: str, columns: int | None = None) -> np.ndarray:
    """A packed array, checked; with one column where it is not said how many."""
    array = np.frombuffer(base64.b64decode(values[name], validate=True), dtype=kind)
    if not array.size or not np.isfinite(array).all():
        raise ValueError(f"'{name}' holds what is no number")
    return array.reshape(-1, columns or 1).astype(kind[1:])


def _unpacked(values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a `Coverage`.

    Raises:
        KeyError, TypeError, ValueError: something is missing or wrong.
    """
    elements = values["elements"]
    rising = bool(elements) and all(first < second for first, second in pairwise(elements))
    if not rising or not all(isinstance(z, int) and 0 < z <= MAX_ATOMIC_NUMBER for z in elements):
        raise ValueError("'elements' are no rising atomic numbers")
    columns = _columns_of(values, len(elements))
    kept, counts = _array(values, "kept", "<f2", columns), values["kept_atoms"]
    if len(counts) != len(elements) or min(counts) < 1 or sum(counts) != len(kept):
        raise ValueError("'kept_atoms' do not fit the elements")
    return {
        "elements": tuple(elements),
        "cutoff": None if values["cutoff"] is None else _positive(values, "cutoff"),
        "distances": _square(values["smallest_distances"], len(elements)),
        "nearest": _row(values["largest_nearest_distances"], len(elements)),
        "directions": _array(values, "directions", "<f4", columns),
        "centres": _array(values, "centres", "<f4", columns),
        "kept": tuple(np.split(kept, np.cumsum(counts)[:-1])),
        **{name: _positive(values, name) for name in _NUMBERS},
        **{name: int(values[name]) for name in _COUNTS},
    }


def _columns_of(values: Mapping[str, Any], elements: int) -> int:
    """The number of directions: that of the centres, which have one row for each element."""
    size = len(_array(values, "centres", "<f4"))
    if size % elements:
        raise ValueError("'centres' do not fit the elements")
    return size // elements


def _positive(values: Mapping[str, Any], name: str) -> float:
    value = float(values[name])
    if not 0.0 < value < math.inf:
        raise ValueError(f"'{name}' is no positive number")
    return value


def _row(distances: Any, size: int) -> np.ndarray:
    """Distances, inf for None."""
    row = np.array([math.inf if distance is None else float(distance) for distance in distances])
    if len(row) != size or not (row > 0).all():
        raise ValueError("distances are no positive numbers, or do not fit the elements")
    return row


def _square(rows: Any, size: int) -> np.ndarray:
    """The symmetric table of distances from its lower triangle."""
    table = np.full((size, size), np.inf)
    for place in range(size):
        table[place, : place + 1] = _row(rows[place], place + 1)
    return np.minimum(table, table.T)
