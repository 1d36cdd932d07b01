"""What all splits have in common: a side to learn from, a side that is held out, and drawing from both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from atomlens.data.dataset import Dataset
from atomlens.data.splits.split import Split
from atomlens.errors import InputError

HELD_OUT = 0.2  # share of the structures that is held out unless it is said
_GROUPS, _LEARNING, _HELD = range(3)  # streams of random numbers


@dataclass(frozen=True)
class Wanted:
    """How many structures go where; ``test=None`` takes all that are held out."""

    train: int
    validation: int
    test: int | None
    seed: int

    def check(self) -> None:
        """Refuse what is no size.

        Raises:
            InputError: nothing to learn from, to validate or to test.
        """
        if self.train < 1 or self.validation < 1 or (self.test is not None and self.test < 1):
            raise InputError(
                f"a split needs at least one structure for training, validation and testing, not {self.train}, "
                f"{self.validation} and {'all that are held out' if self.test is None else self.test}"
            )


def candidates(data: Dataset, among: np.ndarray | None) -> np.ndarray:
    """The structures that may be drawn, in rising order."""
    return np.arange(len(data)) if among is None else np.flatnonzero(among)


def groups_held_out(
    sizes: np.ndarray, share: float, least: int, seed: int, stream: int = _GROUPS, needed: np.ndarray | None = None
) -> np.ndarray:
    """(groups,) bool: groups drawn at random until they hold about a share of all structures.

    In random order a group is taken where that brings the number of structures nearer to what is wanted. Where they
    then hold fewer than ``least``, the smallest group that makes up for it follows, or else the largest ones.

    Args:
        sizes: (groups,) number of structures.
        share: of all structures.
        least: number of structures that are needed at least.
        seed: of the order.
        stream: of random numbers.
        needed: (groups, elements) bool, which elements a group has: the last group that has one is never taken.
    """
    least = max(least, 1)
    wanted = max(share * sizes.sum(), least)
    order = np.random.default_rng([seed, stream]).permutation(len(sizes))
    rising = order[np.argsort(sizes[order], kind="stable")]
    taken, total = np.zeros(len(sizes), dtype=bool), 0
    needed = np.zeros((len(sizes), 0), dtype=bool) if needed is None else needed
    left = needed.sum(axis=0)
    passes: tuple[tuple[np.ndarray, Callable[[int], bool]], ...] = (
        (order, lambda size: abs(total + size - wanted) < abs(total - wanted)),
        (rising, lambda size: total < least <= total + size),
        (rising[::-1], lambda size: total < min(least, total + size)),
    )
    for groups, fits in passes:
        for group in groups:
            if not taken[group] and fits(int(sizes[group])) and (left[needed[group]] > 1).all():
                taken[group] = True
                total += int(sizes[group])
                left = left - needed[group]
    return taken


def split_by_groups(
    data: Dataset, group: np.ndarray, kinds: str, held_out: float, wanted: Wanted, among: np.ndarray | None
) -> Split:
    """Hold whole groups out: the test set is drawn from these, training and validation from the others.

    The last group with an element is never held out: no network can be tested on an element that it never saw.

    Args:
        data: the structures.
        group: (structures,) number of each one's group.
        kinds: what groups are, in the plural.
        held_out: share of the structures that is held out, in whole groups.
        wanted: how many go where.
        among: (structures,) bool, which may be drawn; None: all.

    Raises:
        InputError: there is one group only, none can be held out, or there are too few structures on either side.
    """
    wanted.check()
    rows = candidates(data, among)
    _, index, sizes = np.unique(group[rows], return_inverse=True, return_counts=True)
    index = np.asarray(index).reshape(-1)
    if len(sizes) < 2:
        raise InputError(
            f"cannot hold whole {kinds} out: the {len(rows):,} structures make up {len(sizes)}, and 2 are needed at "
            "least; choose another split.method"
        )
    needed = np.zeros((len(sizes), len(data.elements)), dtype=bool)
    np.logical_or.at(needed, index, data.counts()[0][rows] > 0)
    taken = groups_held_out(sizes, held_out, wanted.test or 1, wanted.seed, needed=needed)
    if not taken.any():
        raise InputError(
            f"none of the {len(sizes)} {kinds} can be held out: each has an element that is in no other, and a model "
            "cannot be tested on elements that it never saw; choose another split.method"
        )
    is_held = taken[index]
    method = f"{kinds} held out ({int(taken.sum()):,} of {len(sizes):,}), seed {wanted.seed}"
    return two_sides(data, rows[~is_held], rows[is_held], wanted, method, among)


def two_sides(
    data: Dataset, learning: np.ndarray, held: np.ndarray, wanted: Wanted, method: str, among: np.ndarray | None
) -> Split:
    """Draw training and validation from one side, from the two ends of a random order, and the test from the other.

    With the same seed larger training sets contain smaller ones, and are validated and tested by the same structures.

    Raises:
        InputError: a side is too small.
    """
    wanted.check()
    if wanted.train + wanted.validation > len(learning):
        raise InputError(
            f"cannot take {wanted.train:,} structures for training and {wanted.validation:,} for validation: "
            f"{len(learning):,} may be learned from, {len(held):,} are held out; ask for fewer, or hold out less"
        )
    if wanted.test is not None and wanted.test > len(held):
        raise InputError(
            f"cannot take {wanted.test:,} structures for testing: {len(held):,} are held out; ask for fewer, or hold "
            "out more"
        )
    order = np.random.default_rng([wanted.seed, _LEARNING]).permutation(learning)
    return Split(
        train=np.sort(order[: wanted.train]),
        validation=np.sort(order[len(order) - wanted.validation :]),
        test=drawn(held, wanted.test, wanted.seed, _HELD),
        data_hash=data.structure_hash,
        method=method + of_labelled(data, among),
    )


def drawn(rows: np.ndarray, count: int | None, seed: int, stream: int) -> np.ndarray:
    """``count`` of ``rows`` at random, in rising order; all of them where it is None."""
    return np.sort(np.random.default_rng([seed, stream]).permutation(rows)[:count])


def of_labelled(data: Dataset, among: np.ndarray | None) -> str:
    """The clause that says that not all structures took part."""
    count = len(candidates(data, among))
    return "" if count == len(data) else f", among {count} of {len(data)} structures"
