"""Whole trajectories are held out."""

from __future__ import annotations

import numpy as np

from atomlens.data.dataset import Dataset
from atomlens.data.splits.sharing import HELD_OUT, Wanted, split_by_groups
from atomlens.data.splits.split import Split
from atomlens.data.timeline import TRAJECTORY, system_column
from atomlens.errors import InputError


def trajectory_split(data: Dataset, trajectory: np.ndarray, held_out: int, validation: int, seed: int) -> Split:
    """Test on whole trajectories that nothing was learned from: the last ``held_out`` of them.

    Frames of the others are drawn at random for validation, and train where they are not drawn.

    Args:
        data: frames of several trajectories.
        trajectory: (structures,) which trajectory a frame belongs to.
        held_out: number of trajectories to test on.
        validation: number of frames for validation.
        seed: of the random order.

    Raises:
        InputError: there are too few trajectories or frames.
    """
    names = np.unique(trajectory)
    if not 1 <= held_out < len(names):
        raise InputError(f"cannot hold {held_out} of {len(names)} trajectories out; sample more, or hold out fewer")
    is_test = np.isin(trajectory, names[-held_out:])
    rest = np.random.default_rng(seed).permutation(np.flatnonzero(~is_test))
    if not 1 <= validation < len(rest):
        raise InputError(f"cannot take {validation} of {len(rest)} frames for validation; sample more, or ask for less")
    return Split(
        train=np.sort(rest[validation:]),
        validation=np.sort(rest[:validation]),
        test=np.flatnonzero(is_test),
        data_hash=data.structure_hash,
        method=f"the last {held_out} of {len(names)} trajectories test, the rest is shared out at random, seed {seed}",
    )


def held_trajectories_split(
    data: Dataset,
    train: int,
    validation: int,
    test: int | None,
    seed: int,
    among: np.ndarray | None = None,
    *,
    held_out: float = HELD_OUT,
) -> Split:
    """No trajectory of the test set occurs in training or validation; which are held out is drawn at random.

    Args:
        data: frames of several trajectories, numbered in the column `trajectory`.
        train: number of frames to learn from.
        validation: number of frames that choose the model, of trajectories that are learned from.
        test: number of frames to judge it; None: all that are held out.
        seed: of everything drawn.
        among: (structures,) bool, which may be drawn; None: all.
        held_out: share of the frames that is held out, as nearly as whole trajectories allow.

    Raises:
        InputError: there is no such column, or too few trajectories or frames.
    """
    names = system_column(data, TRAJECTORY)
    if names is None:
        raise InputError(
            "there is no column 'trajectory' that says which frames belong together; use split.method blocks"
        )
    return split_by_groups(data, names, "trajectories", held_out, Wanted(train, validation, test, seed), among)
