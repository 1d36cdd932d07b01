"""How far apart atoms of two elements are in a data set: where a network has seen pairs, and where it has not."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from atomlens.data.dataset import Dataset
from atomlens.data.neighbours import neighbour_list
from atomlens.data.system import symbol

STRUCTURES = 2_000
PAIRS = 1_000_000  # bounds time and memory where crystals have hundreds of neighbours per atom
_ORDER = np.array([1 << 40, 1 << 20, 1])  # tells an atom's image from the opposite one, whatever the shift


@dataclass(frozen=True)
class PairDistances:
    """Distances of the pairs of atoms of sampled structures, each pair once."""

    first: np.ndarray  # (pairs,) atomic numbers, the lower of the two
    second: np.ndarray  # (pairs,) atomic numbers, the higher
    distances: np.ndarray  # (pairs,) Å
    structures: int  # looked at
    reach: float | None  # Å, up to which pairs were looked for; None: all of open structures

    def between(self, one: int, other: int) -> np.ndarray:
        """Sorted distances of the pairs of two elements, given by atomic numbers, (pairs,) in Å."""
        rows = (self.first == min(one, other)) & (self.second == max(one, other))
        return np.sort(self.distances[rows])

    def commonest(self, elements: tuple[int, ...], count: int) -> list[tuple[int, int]]:
        """The pairs of these elements with the most distances."""
        if not len(self.distances):
            return []
        found, times = np.unique(np.stack([self.first, self.second]), axis=1, return_counts=True)
        known = np.isin(found, elements).all(axis=0)
        tally = Counter({(int(a), int(b)): int(n) for (a, b), n in zip(found.T[known], times[known], strict=True)})
        return [pair for pair, _ in tally.most_common(count)]


def pair_distances(data: Dataset, reach: float, *, structures: int = STRUCTURES, seed: int = 0) -> PairDistances:
    """Distances of pairs in structures drawn at random.

    Args:
        data: where they are drawn from.
        reach: in Å, how far to look in periodic structures; open ones have all their pairs.
        structures: how many at most; fewer once there are `PAIRS` pairs.
        seed: of the drawing.

    Raises:
        InputError: two atoms nearly coincide.
    """
    drawn = np.random.default_rng(seed).permutation(len(data))[:structures]
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    total = 0
    for index in drawn.tolist():
        system = data[index]
        centre, neighbour, shift = neighbour_list(system, reach if system.pbc.any() else None)
        once = (centre < neighbour) | ((centre == neighbour) & (shift @ _ORDER > 0))
        centre, neighbour, shift = centre[once], neighbour[once], shift[once]
        apart = system.positions[neighbour] + shift @ system.cell - system.positions[centre]
        ends = np.sort(np.stack([system.numbers[centre], system.numbers[neighbour]]), axis=0)
        parts.append((ends[0], ends[1], np.linalg.norm(apart, axis=1)))
        total += len(apart)
        if total > PAIRS:
            break
    first, second, distances = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    bounded = reach if data.pbc[drawn].any() else None
    return PairDistances(first, second, distances, len(parts), bounded)


def names(pair: tuple[int, int]) -> tuple[str, str]:
    """Symbols of two atomic numbers, carbon first, then in alphabetic order, as in formulas."""
    first, second = sorted((symbol(number) for number in pair), key=lambda name: (name != "C", name))
    return first, second
