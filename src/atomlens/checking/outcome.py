"""What a check of data says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from atomlens.data.dataset import Dataset

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# From harmless to grave. A fault is wrong beyond doubt (forces that point uphill, lengths in Bohr); a warning is
# unusual, and may be right; a note is worth knowing.
Status = Literal["skipped", "ok", "note", "warning", "fault"]
GRAVITY: tuple[Status, ...] = ("skipped", "ok", "note", "warning", "fault")


@dataclass(frozen=True)
class Outcome:
    """What one check found in a data set."""

    check: str  # name in the registry
    status: Status
    sentence: str  # what was seen, with numbers, units and places, and what to do about it
    structures: np.ndarray = field(
        default_factory=lambda: np.zeros(0, dtype=np.int64)
    )  # those concerned, gravest first
    facts: Mapping[str, Any] = field(default_factory=dict)  # numbers behind the sentence, JSON-ready, no NaN
    figures: Mapping[str, Callable[[], Figure]] = field(default_factory=dict)  # drawn only where they are asked for


@dataclass(frozen=True)
class DataCheck:
    """One kind of check: a row of the registry."""

    name: str
    title: str
    what: str  # one sentence: what is looked at and why it matters
    run: Callable[[Dataset], list[Outcome]]  # one outcome, or one per label or problem; [] where nothing applies
