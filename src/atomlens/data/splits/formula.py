"""Whole compositions are held out."""

from __future__ import annotations

import numpy as np

from atomlens.data.compositions import compositions
from atomlens.data.dataset import Dataset
from atomlens.data.splits.sharing import HELD_OUT, Wanted, split_by_groups
from atomlens.data.splits.split import Split


def formula_split(
    data: Dataset,
    train: int,
    validation: int,
    test: int | None,
    seed: int,
    among: np.ndarray | None = None,
    *,
    held_out: float = HELD_OUT,
) -> Split:
    """No formula of the test set occurs in training or validation.

    A formula counts the atoms of an open structure; of a periodic one it is the ratio of the elements, so that a
    crystal and its supercell are never torn apart. Validation structures are drawn from the formulas that are learned.

    Args:
        data: the structures.
        train: number of structures to learn from.
        validation: number of structures that choose the model.
        test: number of structures to judge it; None: all that are held out.
        seed: of everything drawn.
        among: (structures,) bool, which may be drawn; None: all.
        held_out: share of the structures that is held out, as nearly as whole formulas allow.

    Raises:
        InputError: there is a single formula, or there are too few structures on either side.
    """
    group = compositions(data, reduced=True)
    return split_by_groups(data, group, "formulas", held_out, Wanted(train, validation, test, seed), among)
