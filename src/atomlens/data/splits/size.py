"""From small structures to large ones."""

from __future__ import annotations

import numpy as np

from atomlens.data.dataset import Dataset
from atomlens.data.splits.sharing import HELD_OUT, Wanted, candidates, two_sides
from atomlens.data.splits.split import Split
from atomlens.errors import InputError


def size_split(
    data: Dataset,
    train: int,
    validation: int,
    test: int | None,
    seed: int,
    among: np.ndarray | None = None,
    *,
    held_out: float = HELD_OUT,
    max_atoms: int | None = None,
) -> Split:
    """Learn from small structures, test on larger ones; every test structure has more atoms than any other.

    Validation structures are drawn from the small ones, too: the model is chosen without a look at large ones.

    Args:
        data: the structures.
        train: number of structures to learn from.
        validation: number of structures that choose the model.
        test: number of structures to judge it; None: all that are held out.
        seed: of everything drawn.
        among: (structures,) bool, which may be drawn; None: all.
        held_out: share of the structures that is held out, as nearly as whole sizes allow.
        max_atoms: of a structure that may be learned from; None: by ``held_out``.

    Raises:
        InputError: all structures have the same size, or there are too few on either side.
    """
    wanted = Wanted(train, validation, test, seed)
    wanted.check()
    rows = candidates(data, among)
    sizes, counts = np.unique(data.n_atoms[rows], return_counts=True)
    if len(sizes) < 2:
        raise InputError(
            f"all {len(rows):,} structures have the same number of atoms, so none is larger than the others; choose "
            "another split.method"
        )
    limit = _limit(sizes, counts, held_out, test or 1) if max_atoms is None else max_atoms
    if not sizes[0] <= limit < sizes[-1]:
        raise InputError(f"max_atoms is {limit}, but sizes go from {sizes[0]} to {sizes[-1]} atoms; choose one between")
    large = data.n_atoms[rows] > limit
    method = f"up to {limit} atoms to learn from, up to {sizes[-1]} to test, seed {seed}"
    return two_sides(data, rows[~large], rows[large], wanted, method, among)


def _limit(sizes: np.ndarray, counts: np.ndarray, held_out: float, least: int) -> int:
    """The size above which the number of structures is nearest to a share of all, and not below ``least``."""
    above = counts.sum() - np.cumsum(counts)[:-1]
    miss = np.abs(above - max(held_out * counts.sum(), least)) + np.where(above < least, 2.0 * counts.sum(), 0.0)
    return int(sizes[int(miss.argmin())])
