"""Which structures train, which choose the model, and which judge it; always written down with a hash.

One kind of split is one file and one row of `SPLITS`.
"""

from __future__ import annotations

from atomlens.data.splits.blocks import block_split
from atomlens.data.splits.column import column_split
from atomlens.data.splits.curves import learning_curve
from atomlens.data.splits.formula import formula_split
from atomlens.data.splits.isomers import isomer_split
from atomlens.data.splits.random_order import random_split
from atomlens.data.splits.registry import SPLITS, SplitMethod, make_split
from atomlens.data.splits.size import size_split
from atomlens.data.splits.split import SUBSETS, Split
from atomlens.data.splits.trajectories import held_trajectories_split, trajectory_split

__all__ = [
    "SPLITS",
    "SUBSETS",
    "Split",
    "SplitMethod",
    "block_split",
    "column_split",
    "formula_split",
    "held_trajectories_split",
    "isomer_split",
    "learning_curve",
    "make_split",
    "random_split",
    "size_split",
    "trajectory_split",
]
