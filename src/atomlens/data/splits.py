"""Which structures train, which choose the model, and which judge it; always written down with a hash."""

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
    """Disjoint positions in one data set, which is named by its hash."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    data_hash: str
    method: str

    @property
    def hash(self) -> str:
        """SHA-256 over the data set's hash and the three lists."""
        digest = hashlib.sha256(self.data_hash.encode())
        for name in SUBSETS:
            digest.update(name.encode())
            digest.update(np.asarray(getattr(self, name), dtype="<i8").tobytes())
        return digest.hexdigest()

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
            written = values["hash"]
        except (KeyError, TypeError, ValueError):
            raise InputError("is not a split file; make the split again", file=str(path)) from None
        if split.hash != written:
            raise InputError("was altered (its hash does not fit); make the split again", file=str(path))
        if split.data_hash != data.hash:
            raise InputError("belongs to other data than these; use the data it was made for", file=str(path))
        return split


def random_split(data: Dataset, train: int, validation: int, test: int | None, seed: int) -> Split:
    """Random disjoint subsets; ``test=None`` takes all that is left.

    Raises:
        InputError: the data set is too small.
    """
    wanted = train + validation + (test or 0)
    if train < 1 or validation < 1 or wanted > len(data):
        raise InputError(
            f"cannot split {len(data)} structures into {train} for training, {validation} for validation and "
            f"{'the rest' if test is None else test} for testing; ask for fewer, at least one each"
        )
    order = np.random.default_rng(seed).permutation(len(data))
    end = len(data) if test is None else wanted
    return Split(
        train=np.sort(order[:train]),
        validation=np.sort(order[train : train + validation]),
        test=np.sort(order[train + validation : end]),
        data_hash=data.hash,
        method=f"random, seed {seed}",
    )
