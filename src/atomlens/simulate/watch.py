"""What looks at a run while it goes on, such as a guard."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ase
import numpy as np

# Gets the structures, their results under ASE's names, and the step; returns which of them to mark in the next frame.
# An `InputError` from it ends the run. A watch may have ``alarms``, which are handed on, and ``state`` and ``restore``:
# what it remembers is then kept in checkpoints, so that a run that goes on is watched as if it had never stopped.
Watch = Callable[[list[ase.Atoms], list[Mapping[str, np.ndarray]], int], Sequence[bool] | None]


def memory_of(watch: Watch | None) -> dict[str, Any] | None:
    """What a watch remembers, for JSON; None if it has nothing to remember."""
    state = getattr(watch, "state", None)
    found: dict[str, Any] | None = None if state is None else state()
    return found


def remind(watch: Watch | None, memory: Mapping[str, Any] | None) -> None:
    """Give a watch back what it remembered.

    Raises:
        InputError: the memory is damaged.
    """
    restore = getattr(watch, "restore", None)
    if restore is not None and memory is not None:
        restore(memory)
