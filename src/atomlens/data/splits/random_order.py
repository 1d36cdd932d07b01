"""Structures drawn at random, one by one."""

from __future__ import annotations

import numpy as np

from atomlens.data.dataset import Dataset
from atomlens.data.splits.split import Split
from atomlens.errors import InputError


def random_split(
    data: Dataset, train: int, validation: int, test: int | None, seed: int, among: np.ndarray | None = None
) -> Split:
    """Random disjoint subsets; ``test=None`` takes all that is left.

    Training structures are drawn from the front of one random order, those for validation and testing from its end:
    with the same seed a larger training set contains the smaller ones and is judged by the same structures (by fewer
    of them where the test takes what is left).

    Args:
        data: the structures.
        train: number of structures to learn from.
        validation: number of structures that choose the model.
        test: number of structures to judge it.
        seed: of the random order.
        among: (structures,) bool, which may be drawn, such as those with a known label; None: all.

    Raises:
        InputError: the data set is too small.
    """
    candidates = np.arange(len(data)) if among is None else np.flatnonzero(among)
    count = len(candidates)
    wanted = train + validation + (test or 0)
    if train < 1 or validation < 1 or (test or 0) < 0 or wanted > count:
        raise InputError(
            f"cannot split {count:,} structures into {train:,} for training, {validation:,} for validation and "
            f"{'the rest' if test is None else f'{test:,}'} for testing; ask for fewer, at least one each"
        )
    order = candidates[np.random.default_rng(seed).permutation(count)]
    judged = count - validation
    return Split(
        train=np.sort(order[:train]),
        validation=np.sort(order[judged:]),
        test=np.sort(order[train if test is None else judged - test : judged]),
        data_hash=data.structure_hash,
        method=f"random, seed {seed}" + ("" if count == len(data) else f", among {count} of {len(data)} structures"),
    )
