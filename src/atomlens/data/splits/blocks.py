"""Blocks of a trajectory, so far apart in time that one says little about the next."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from atomlens.data.dataset import Dataset
from atomlens.data.splits.sharing import (
    HELD_OUT,
    Wanted,
    candidates,
    drawn,
    groups_held_out,
    of_labelled,
)
from atomlens.data.splits.split import Split
from atomlens.data.timeline import Timeline, memory, timeline
from atomlens.errors import InputError

GAP = 5.0  # autocorrelation times; e^-5 of an exponential memory is left
BLOCK = 20.0  # autocorrelation times
_FEWEST = 10  # blocks that the default length leaves
_VALIDATION = 0.1  # share of the frames whose blocks validate, at least
_STREAM = 4  # of random numbers that choose the blocks for validation


@dataclass(frozen=True)
class Lengths:
    """Of blocks and of the gaps between them, in the unit of the timeline."""

    block: float
    gap: float
    words: str  # where they come from


def block_split(
    data: Dataset,
    train: int,
    validation: int,
    test: int | None,
    seed: int,
    among: np.ndarray | None = None,
    *,
    held_out: float = HELD_OUT,
    block_length: float | None = None,
    gap: float | None = None,
) -> Split:
    """Cut trajectories into blocks of time and draw at random which train, which validate and which test.

    Frames closer in time than ``gap`` to a block of another use are left out, so that no test or validation frame has
    a training frame nearer than that, and no test frame one for validation. Trajectories are those of the column
    `trajectory`, and time that of the column `frame`; without them the file is one trajectory in its order. Small
    training sets are drawn at random within the blocks for training.

    Args:
        data: frames of one or several trajectories.
        train: number of frames to learn from.
        validation: number of frames that choose the model; a tenth of the frames lies in their blocks at least.
        test: number of frames to judge it; None: all in the blocks for testing.
        seed: of everything drawn.
        among: (structures,) bool, which may be drawn; None: all.
        held_out: share of the frames whose blocks test, as nearly as whole blocks allow.
        block_length: in steps of the column `frame`, or frames of the file; None: 20 integrated autocorrelation times
            of the energy, but a tenth of the time where that is less.
        gap: in the same unit; None: 5 autocorrelation times.

    Raises:
        InputError: the structures are of no trajectory, it is too short for decorrelated blocks, or there are too few
            frames for one of the three uses.
    """
    wanted = Wanted(train, validation, test, seed)
    wanted.check()
    when = timeline(data)
    if when is None:
        raise InputError(
            "the structures have several compositions and no column 'trajectory', so there is no time to cut into "
            "blocks; use split.method formula, isomers or random"
        )
    lengths = _lengths(data, when, block_length, gap)
    rows = candidates(data, among)
    time, block = _on_one_axis(when, lengths, rows)
    pools, blocks = _pools(time, block, lengths.gap, held_out, wanted)
    learning, choosing, judging = (rows[pool] for pool in pools)
    method = (
        f"{blocks} trajectory blocks of {lengths.block:g} {when.unit}, gaps of {lengths.gap:g} ({lengths.words}), "
        f"seed {seed}"
    )
    return Split(
        train=_taken(learning, train, "training", seed, 1),
        validation=_taken(choosing, validation, "validation", seed, 2),
        test=_taken(judging, test, "testing", seed, 3),
        data_hash=data.structure_hash,
        method=method + of_labelled(data, among),
    )


def _taken(rows: np.ndarray, count: int | None, use: str, seed: int, stream: int) -> np.ndarray:
    if count is not None and count > len(rows):
        raise InputError(
            f"cannot take {count:,} frames for {use}: {len(rows):,} lie in its blocks and outside of gaps; ask for "
            "fewer, or set split.held_out, split.block_length or split.gap"
        )
    return drawn(rows, count, seed, stream)


def _lengths(data: Dataset, when: Timeline, block: float | None, gap: float | None) -> Lengths:
    """The lengths as given, or by the memory of the trajectory.

    Raises:
        InputError: the trajectory is too short for what it remembers, or that cannot be told.
    """
    if block is not None and gap is not None:
        return Lengths(block, gap, "as set")
    found = memory(data, when)
    if found is None:
        raise InputError(
            "how long the trajectory remembers cannot be told without energies; set split.block_length and split.gap"
        )
    tau, what = found
    words = f"the {what} has an autocorrelation time of {tau:.3g}"
    gap = GAP * tau if gap is None else gap
    longest = _together(when) / _FEWEST
    if block is None:
        if longest < 2.0 * gap:
            raise InputError(
                f"the trajectory is too short for decorrelated blocks: {words} {when.unit}, and {_FEWEST} blocks would "
                f"be {longest:.3g} long; use a longer one, or set split.block_length and split.gap"
            )
        block = min(max(BLOCK * tau, 2.0 * gap), longest)
    return Lengths(float(f"{block:.4g}"), float(f"{gap:.4g}"), words)


def _together(when: Timeline) -> float:
    """The time of all trajectories."""
    last, first = np.full(when.runs, -np.inf), np.full(when.runs, np.inf)
    np.maximum.at(last, when.run, when.time)
    np.minimum.at(first, when.run, when.time)
    return float((last - first).sum())


def _on_one_axis(when: Timeline, lengths: Lengths, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(rows,) times with the trajectories one after another, farther apart than any gap; and numbers of blocks."""
    first = np.full(when.runs, np.inf)
    np.minimum.at(first, when.run, when.time)
    since = when.time - first[when.run]
    per_run = int(since.max() // lengths.block) + 1
    block = when.run * per_run + np.minimum((since / lengths.block).astype(np.int64), per_run - 1)
    time = when.run * (per_run * lengths.block + 2.0 * lengths.gap + 1.0) + since
    return time[rows], np.asarray(np.unique(block[rows], return_inverse=True)[1]).reshape(-1)


def _pools(
    time: np.ndarray, block: np.ndarray, gap: float, held_out: float, wanted: Wanted
) -> tuple[list[np.ndarray], int]:
    """(frames,) bool of frames that may train, validate and test; and the number of blocks.

    Raises:
        InputError: there are fewer than three blocks.
    """
    sizes = np.bincount(block)
    if len(sizes) < 3:
        raise InputError(
            f"the trajectory makes {len(sizes)} blocks, and training, validation and testing need one each; set a "
            "smaller split.block_length"
        )
    testing = groups_held_out(sizes, held_out, wanted.test or 1, wanted.seed)[block]
    far = ~testing & _apart(time, time[testing], gap)
    usable = np.bincount(block, weights=far, minlength=len(sizes)).astype(np.int64)
    share = _VALIDATION * len(time) / max(int(usable.sum()), 1)
    choosing = groups_held_out(usable, share, wanted.validation, wanted.seed, _STREAM)[block] & ~testing
    validating = choosing & far
    training = far & ~choosing & _apart(time, time[validating], gap)
    return [training, validating, testing], len(sizes)


def _apart(time: np.ndarray, others: np.ndarray, gap: float) -> np.ndarray:
    """(frames,) bool: at least ``gap`` away from all ``others``."""
    if not len(others):
        return np.ones(len(time), dtype=bool)
    others = np.sort(others)
    place = np.searchsorted(others, time)
    before = time - others[np.maximum(place - 1, 0)]
    after = others[np.minimum(place, len(others) - 1)] - time
    distance = np.minimum(np.where(place > 0, before, np.inf), np.where(place < len(others), after, np.inf))
    return np.asarray(distance >= gap)
