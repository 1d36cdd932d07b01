"""A split that was published with the data, in one of their columns."""

from __future__ import annotations

import numpy as np

from atomlens.data.dataset import Dataset
from atomlens.data.splits.sharing import Wanted, candidates, two_sides
from atomlens.data.splits.split import Split
from atomlens.data.timeline import system_column
from atomlens.errors import InputError

NEITHER, TRAIN, TEST = 0, 1, 2


def column_split(
    data: Dataset,
    train: int,
    validation: int,
    test: int | None,
    seed: int,
    among: np.ndarray | None = None,
    *,
    column: str,
) -> Split:
    """A published split: the column says 1 for training, 2 for testing and 0 for neither.

    Validation structures are drawn from those for training, and are not trained on.

    Args:
        data: the structures.
        train: number of structures to learn from, drawn from those that are published for it.
        validation: number of structures that choose the model, likewise.
        test: number of structures to judge it; None: all that are published for it.
        seed: of what is drawn.
        among: (structures,) bool, which may be drawn; None: all.
        column: its key, such as ``split_01``.

    Raises:
        InputError: there is no such column, it holds something else, or publishes fewer structures.
    """
    codes = system_column(data, column)
    if codes is None:
        whole = ", ".join(key for key in data.columns if system_column(data, key) is not None) or "none"
        raise InputError(f"there is no column '{column}' with one number per structure (there are: {whole})")
    strange = np.setdiff1d(codes, (NEITHER, TRAIN, TEST))
    if len(strange):
        raise InputError(
            f"column '{column}' holds {strange[0]:g} where 1 (train), 2 (test) or 0 (neither) is needed; name another"
        )
    rows = candidates(data, among)
    learning, held = rows[codes[rows] == TRAIN], rows[codes[rows] == TEST]
    wanted = Wanted(train, validation, test, seed)
    return two_sides(data, learning, held, wanted, f"as published in column {column}, seed {seed}", among)
