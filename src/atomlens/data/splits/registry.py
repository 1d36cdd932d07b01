"""The kinds of splits by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from atomlens.config import nearest
from atomlens.data.dataset import Dataset
from atomlens.data.splits.blocks import block_split
from atomlens.data.splits.column import column_split
from atomlens.data.splits.formula import formula_split
from atomlens.data.splits.isomers import isomer_split
from atomlens.data.splits.random_order import random_split
from atomlens.data.splits.size import size_split
from atomlens.data.splits.split import Split
from atomlens.data.splits.trajectories import held_trajectories_split
from atomlens.errors import InputError


@dataclass(frozen=True)
class SplitMethod:
    """One kind of split."""

    name: str
    what: str  # one line: what the test then says
    draw: Callable[..., Split]  # (data, train, validation, test, seed, among, **options)
    options: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()  # options without a default


SPLITS: dict[str, SplitMethod] = {
    method.name: method
    for method in (
        SplitMethod("random", "one by one at random: tests on structures of the same kind", random_split),
        SplitMethod(
            "formula", "whole formulas are held out: tests on other compositions", formula_split, ("held_out",)
        ),
        SplitMethod("isomers", "whole isomers are held out: tests on other bonds", isomer_split, ("held_out",)),
        SplitMethod(
            "trajectories",
            "whole trajectories are held out (column trajectory): tests on runs that nothing was learned from",
            held_trajectories_split,
            ("held_out",),
        ),
        SplitMethod(
            "blocks",
            "blocks of a trajectory with gaps between: tests on frames without a neighbour in time",
            block_split,
            ("held_out", "block_length", "gap"),
        ),
        SplitMethod(
            "size",
            "small structures train, large ones test: tests how errors grow",
            size_split,
            ("held_out", "max_atoms"),
        ),
        SplitMethod(
            "column",
            "as published, in a column with 1 for train, 2 for test, 0 for neither",
            column_split,
            ("column",),
            ("column",),
        ),
    )
}


def check_options(method: str, options: dict[str, Any]) -> dict[str, Any]:
    """The options that are set, where the method has them and all that it needs.

    Args:
        method: its name in `SPLITS`.
        options: by name; None stands for what is not set.

    Raises:
        InputError: there is no such method, it has no such option, or lacks one; or a value is out of its range.
    """
    if method not in SPLITS:
        raise InputError(f"there is no split method '{method}'; {nearest(method, list(SPLITS))}")
    chosen, given = SPLITS[method], {name: value for name, value in options.items() if value is not None}
    for name in given:
        if name not in chosen.options:
            users = [entry.name for entry in SPLITS.values() if name in entry.options]
            raise InputError(
                f"split.{name} means nothing to split.method {method}"
                + (f", only to {', '.join(users)}; leave it out" if users else "; leave it out")
            )
    for name in chosen.needed:
        if name not in given:
            raise InputError(f"split.method {method} needs split.{name}; add it")
    _check_ranges(given)
    return given


def _check_ranges(given: dict[str, Any]) -> None:
    fits: dict[str, tuple[Callable[[float], bool], str]] = {
        "held_out": (lambda share: 0 < share < 1, "a share between 0 and 1"),
        "block_length": (lambda frames: 0 < frames < np.inf, "a number of frames above 0"),
        "gap": (lambda frames: 0 <= frames < np.inf, "a number of frames from 0"),
    }
    for name, (is_right, what) in fits.items():
        if name in given and not is_right(given[name]):
            raise InputError(f"split.{name} is {given[name]:g}, but must be {what}; give another")


def make_split(
    data: Dataset,
    method: str,
    train: int,
    validation: int,
    test: int | None = None,
    seed: int = 0,
    among: np.ndarray | None = None,
    **options: Any,
) -> Split:
    """Draw a split of any kind.

    Args:
        data: the structures.
        method: a name in `SPLITS`.
        train: number of structures to learn from.
        validation: number of structures that choose the model.
        test: number of structures to judge it; None: all that are left, or held out.
        seed: of everything drawn.
        among: (structures,) bool, which may be drawn, such as those with a known label; None: all.
        options: of the method; None: its default.

    Raises:
        InputError: see `check_options` and the method.
    """
    given = check_options(method, options)
    return SPLITS[method].draw(data, train, validation, test, seed, among, **given)
