"""What a descriptor of structures is, and help for computing one piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from atomlens.baselines.memory import check_memory
from atomlens.data.dataset import Dataset
from atomlens.errors import InputError
from atomlens.progress import track

Kind = Literal["molecules", "crystals", "trajectory"]
PIECE = 500  # structures


@dataclass(frozen=True)
class Descriptor:
    """Numbers that describe a structure, or each of its atoms, with one row in the registry.

    ``compute`` takes a data set, the structures of it that anything adaptive may be taken from (training), and the
    title of a progress bar. It returns (structures, D) or (atoms, D), float32 or float64, or a sparse CSR array.
    """

    name: str
    serves: tuple[Kind, ...]  # open structures, crystals, frames of one molecule in one order of atoms
    what: str
    source: str
    compute: Callable[[Dataset, np.ndarray, str], Any]
    per: Literal["system", "atom"] = "system"
    extensive: bool = True  # whether it grows with the structure; else extensive labels are learned per atom


def kinds_of(data: Dataset) -> set[Kind]:
    """What a data set is: open structures only, crystals only (periodic in three directions), frames of one molecule.

    Mixed sets are none of these.
    """
    found: set[Kind] = set()
    if not data.pbc.any():
        found.add("molecules")
        sizes = data.n_atoms
        if (sizes == sizes[0]).all() and (data.numbers.reshape(len(data), -1) == data.numbers[: sizes[0]]).all():
            found.add("trajectory")
    elif data.pbc.all():
        found.add("crystals")
    return found


def pieces(data: Dataset, title: str) -> Iterator[tuple[slice, Dataset]]:
    """A data set in runs of some hundred structures, with a progress bar."""
    with track(title, len(data), "structures") as bar:
        for start in range(0, len(data), PIECE):
            rows = slice(start, min(start + PIECE, len(data)))
            yield rows, data.subset(np.arange(rows.start, rows.stop))
            bar.advance(rows.stop - rows.start)


def dense(rows: int, features: int, what: str) -> np.ndarray:
    """An empty float32 table, if it fits into memory.

    Raises:
        InputError: it does not.
    """
    check_memory(4.0 * rows * features, what)
    return np.zeros((rows, features), dtype=np.float32)


@contextmanager
def optional(package: str) -> Iterator[None]:
    """Turn a package that is missing into advice.

    Raises:
        InputError: it is not installed.
    """
    try:
        yield
    except ImportError as error:
        missing = error.name or package
        raise InputError(f"needs {missing}, which is not installed: pip install 'atomlens[baselines]'") from None
