"""Smaller training sets within one split, for learning curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from atomlens.data.splits.split import Split
from atomlens.errors import InputError


def learning_curve(split: Split, sizes: Sequence[int], seed: int = 0) -> list[Split]:
    """The same split with smaller training sets, each within the next larger one; validation and test stay.

    Args:
        split: of any method.
        sizes: numbers of training structures, in any order.
        seed: of the order in which structures join.

    Returns:
        One split for each size.

    Raises:
        InputError: a size is below 1 or above the split's.
    """
    order = np.random.default_rng(seed).permutation(split.train)
    wrong = [size for size in sizes if not 1 <= size <= len(order)]
    if wrong:
        raise InputError(
            f"a learning curve cannot have {wrong[0]:,} training structures where the split has {len(order):,}; choose "
            "sizes between"
        )
    return [
        replace(
            split,
            train=np.sort(order[:size]),
            method=f"{split.method}; {size} of {len(order)} training structures, seed {seed}",
        )
        for size in sizes
    ]
