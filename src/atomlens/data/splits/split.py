"""Three disjoint lists of places in one data set, with a hash."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from atomlens.data.dataset import Dataset
from atomlens.errors import InputError
from atomlens.files import read_json, write_json

SUBSETS = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """Disjoint positions in one data set, which is named by the hash of its structures.

    Raises:
        InputError: on building, where a structure is in two subsets or twice in one.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    data_hash: str
    method: str

    def __post_init__(self) -> None:
        positions = np.concatenate([getattr(self, name) for name in SUBSETS])
        unique, times = np.unique(positions, return_counts=True)
        if (times > 1).any():
            raise InputError(
                "is in the split more than once; make the split again", structure=int(unique[times > 1][0])
            )

    @property
    def hash(self) -> str:
        """SHA-256 over the data set's hash and the three lists."""
        digest = hashlib.sha256(self.data_hash.encode())
        for name in SUBSETS:
            digest.update(name.encode())
            digest.update(np.asarray(getattr(self, name), dtype="<i8").tobytes())
        return digest.hexdigest()

    def check(self, data: Dataset, *, file: str | None = None) -> None:
        """Refuse data that the split was not made for; ``file`` is named where the split was read from one.

        Raises:
            InputError: the structures are others.
        """
        if self.data_hash != data.structure_hash:
            raise InputError(
                "the split belongs to other structures than these; use the data it was made for", file=file
            )

    def save(self, path: str | Path) -> None:
        """Write as JSON."""
        lists = {name: np.asarray(getattr(self, name)).tolist() for name in SUBSETS}
        write_json(path, {"method": self.method, "data_hash": self.data_hash, "hash": self.hash, **lists})

    @classmethod
    def load(cls, path: str | Path, data: Dataset) -> Split:
        """Read what `save` wrote.

        Raises:
            InputError: the file is damaged, or belongs to other data.
        """
        values = read_json(path)
        try:
            lists = {name: np.array(values[name], dtype=np.int64) for name in SUBSETS}
            split = cls(**lists, data_hash=values["data_hash"], method=values["method"])
            altered = split.hash != values["hash"]
        except InputError as error:
            raise error.at(file=str(path)) from None
        except (KeyError, TypeError, ValueError, AttributeError):
            raise InputError("is not a split file; make the split again", file=str(path)) from None
        if altered:
            raise InputError("was altered (its hash does not fit); make the split again", file=str(path))
        split.check(data, file=str(path))
        return split
