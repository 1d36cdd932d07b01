"""Ways in which six or nine numbers of a file can have been taken for a stress that they are not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

# Off-diagonal components by name, and their rows and columns.
_SHEARS = {"yz": (1, 2), "xz": (0, 2), "xy": (0, 1)}


@dataclass(frozen=True)
class Reading:
    """One way to read a stress: which label stands for which shear, and what the numbers are multiplied by."""

    name: str
    words: str  # what was wrong with the label, if this reading fits and the plain one does not
    shears: tuple[str, str, str] = ("yz", "xz", "xy")  # the labels that really are yz, xz and xy
    shear_factor: float = 1.0
    sign: float = 1.0
    kind: Literal["stress", "virial"] = "stress"


# The labels that really are yz, xz and xy: exchanges of two, then cycles.
_ORDERS = (("xz", "yz", "xy"), ("xy", "xz", "yz"), ("yz", "xy", "xz"), ("xy", "yz", "xz"), ("xz", "xy", "yz"))


def _in_order(shears: tuple[str, str, str]) -> Reading:
    moved = [f"{name} stands under {label}" for name, label in zip(_SHEARS, shears, strict=True) if name != label]
    return Reading(f"shears {' '.join(shears)}", f"its shears are in another order ({', '.join(moved)})", shears)


# The plain one first: others are believed only where it fails.
READINGS: tuple[Reading, ...] = (
    Reading("stress", ""),
    *(_in_order(shears) for shears in _ORDERS),
    Reading("halved shears", "its shears are twice too large", shear_factor=0.5),
    Reading("doubled shears", "its shears are half of what they should be", shear_factor=2.0),
    Reading("virial", "it is a virial, not divided by the volume", kind="virial"),
)


def read_as(reading: Reading, stress: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """(structures, 3, 3) the stress if ``stress`` is to be read in this way; ``cell`` in Å."""
    found = np.array(stress, dtype=float)
    for name, label in zip(_SHEARS, reading.shears, strict=True):
        row, column = _SHEARS[name]
        found[:, row, column] = found[:, column, row] = reading.shear_factor * stress[:, *_SHEARS[label]]
    found *= reading.sign
    return found / np.abs(np.linalg.det(cell))[:, None, None] if reading.kind == "virial" else found
