"""Naming structures and atoms as they stand in the user's file."""

from __future__ import annotations

import numpy as np

from atomlens.data.dataset import Dataset
from atomlens.data.system import symbol
from atomlens.wording import counted


def place(data: Dataset, index: int) -> int:
    """The number of a structure in the user's file, counted from 0."""
    return int(index if data.origin.places is None else data.origin.places[index])


def named(data: Dataset, indices: np.ndarray, most: int = 3) -> str:
    """Structures in words: ``structure 4``, ``structures 4 and 7``, ``structures 4, 7, 9 and 12 others``."""
    shown = [str(place(data, int(index))) for index in indices[:most]]
    left = len(indices) - len(shown)
    last = [counted(left, "other")] if left else []
    words = [*shown, *last]
    listed = words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
    return f"{'structure' if len(indices) == 1 else 'structures'} {listed}"


def structure_of(data: Dataset, atoms: np.ndarray) -> np.ndarray:
    """The structures that rows of atoms belong to."""
    return np.asarray(np.searchsorted(data.offsets, atoms, side="right") - 1)


def atom_named(data: Dataset, atom: int) -> str:
    """An atom's row in words, by its place in its structure: ``atom 3 (C)``."""
    index = int(structure_of(data, np.array([atom]))[0])
    return f"atom {atom - data.offsets[index]} ({symbol(int(data.numbers[atom]))})"


def share(part: int, whole: int) -> str:
    """A share in per cent, as exactly as it deserves: ``12 %``, ``0.4 %``."""
    value = 100.0 * part / max(whole, 1)
    return f"{value:.0f} %" if value >= 10 or value == 0 else f"{value:.2g} %"
