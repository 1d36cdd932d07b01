"""The surroundings of atoms that follow from their bonds."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np

from atomlens.data.bonds import bonded_pairs
from atomlens.data.dataset import Dataset
from atomlens.data.system import symbol
from atomlens.errors import InputError


def environments(numbers: np.ndarray, positions: np.ndarray) -> list[str]:
    """Every atom's element and bonded neighbours, such as ``C(CH3)`` for a methyl group's carbon or ``He`` alone.

    Args:
        numbers: (atoms,) atomic numbers.
        positions: (atoms, 3) in Å.
    """
    symbols = [symbol(int(number)) for number in numbers]
    neighbours: list[Counter[str]] = [Counter() for _ in symbols]
    for first, second in bonded_pairs(numbers, positions).tolist():
        neighbours[first][symbols[second]] += 1
        neighbours[second][symbols[first]] += 1
    return [
        own + (f"({''.join(_times(*entry) for entry in sorted(around.items()))})" if around else "")
        for own, around in zip(symbols, neighbours, strict=True)
    ]


def data_environments(data: Dataset) -> np.ndarray:
    """`environments` of every atom of a data set, (atoms,) of strings.

    Raises:
        InputError: a structure is periodic.
    """
    periodic = np.flatnonzero(data.pbc.any(axis=1))
    if len(periodic):
        problem = "is periodic, and bonds are looked for within one cell only; give molecules"
        raise data.located(InputError(problem), int(periodic[0]))
    return np.array([name for system in data for name in environments(system.numbers, system.positions)])


def coordination(environment: str) -> tuple[str, int]:
    """The element of an environment's name and how many bonded neighbours it has: ``C(CH3)`` is C with 4."""
    own, _, around = environment.partition("(")
    return own, sum(int(times or 1) for times in re.findall(r"[A-Z][a-z]?(\d*)", around))


def _times(name: str, count: int) -> str:
    return name if count == 1 else f"{name}{count}"
