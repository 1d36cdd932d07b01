"""Whole isomers are held out: their formula may be learned from, their bonds are not."""

from __future__ import annotations

import numpy as np

from atomlens.data.bond_graphs import bond_graphs
from atomlens.data.dataset import Dataset
from atomlens.data.splits.sharing import HELD_OUT, Wanted, split_by_groups
from atomlens.data.splits.split import Split
from atomlens.data.timeline import TRAJECTORY, system_column
from atomlens.errors import InputError

_LOOKED_AT = 9  # frames of a trajectory; in a hot one a bond may be longer than a bond


def isomer_split(
    data: Dataset,
    train: int,
    validation: int,
    test: int | None,
    seed: int,
    among: np.ndarray | None = None,
    *,
    held_out: float = HELD_OUT,
) -> Split:
    """No molecule of the test set occurs in training or validation, where a molecule is elements and bonds.

    The way ISO17 is tested (Schütt et al., NeurIPS 2017): the test set has other isomers, of formulas that may well be
    learned from. Structures are of one isomer where their graphs of bonds agree (`bond_graphs`). A column `trajectory`
    is never torn apart: all its frames belong to the graph that most of nine evenly spaced ones have.

    Args:
        data: the structures.
        train: number of structures to learn from.
        validation: number of structures that choose the model, of the isomers that are learned.
        test: number of structures to judge it; None: all that are held out.
        seed: of everything drawn.
        among: (structures,) bool, which may be drawn; None: all.
        held_out: share of the structures that is held out, as nearly as whole isomers allow.

    Raises:
        InputError: structures are periodic, there is a single isomer, or there are too few structures on either side.
    """
    if data.pbc.any():
        raise InputError(
            "isomers are told apart by bonds, which are looked for in open structures only; use split.method formula"
        )
    group = isomers(data)
    return split_by_groups(data, group, "isomers", held_out, Wanted(train, validation, test, seed), among)


def isomers(data: Dataset) -> np.ndarray:
    """(structures,) number of each open structure's isomer, from 0."""
    trajectory = system_column(data, TRAJECTORY)
    if trajectory is None:
        return bond_graphs(data)
    run = np.asarray(np.unique(trajectory, return_inverse=True)[1]).reshape(-1)
    order = np.argsort(run, kind="stable")
    ends = np.cumsum(np.bincount(run))
    starts = ends - np.bincount(run)
    steps = np.linspace(0.0, 1.0, _LOOKED_AT)
    looked_at = order[(starts[:, None] + np.rint(steps * (ends - starts - 1)[:, None])).astype(np.int64)]
    graphs = bond_graphs(data, looked_at.ravel()).reshape(looked_at.shape)
    return np.array([np.bincount(row).argmax() for row in graphs])[run]
