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


def random_split(
    data: Dataset, train: int, validation: int, test: int | None, seed: int, among: np.ndarray | None = None
) -> Split:
    """Random disjoint subsets; ``test=None`` takes all that is left.

    Training structures are drawn from the front of one random order, those for validation and testing from its end:
    with the same seed a larger training set contains the smaller ones and is judged by the same structures (by fewer
    of them where the test takes what is left).

    Args:
        data: the structures.
        train: number of structures to learn from.
        validation: number of structures that choose the model.
        test: number of structures to judge it.
        seed: of the random order.
        among: (structures,) bool, which may be drawn, such as those with a known label; None: all.

    Raises:
        InputError: the data set is too small.
    """
    candidates = np.arange(len(data)) if among is None else np.flatnonzero(among)
    count = len(candidates)
    wanted = train + validation + (test or 0)
    if train < 1 or validation < 1 or (test or 0) < 0 or wanted > count:
        raise InputError(
            f"cannot split {count} structures into {train} for training, {validation} for validation and "
            f"{'the rest' if test is None else test} for testing; ask for fewer, at least one each"
        )
    order = candidates[np.random.default_rng(seed).permutation(count)]
    judged = count - validation
    return Split(
        train=np.sort(order[:train]),
        validation=np.sort(order[judged:]),
        test=np.sort(order[train if test is None else judged - test : judged]),
        data_hash=data.structure_hash,
        method=f"random, seed {seed}" + ("" if count == len(data) else f", among {count} of {len(data)} structures"),
    )


def trajectory_split(data: Dataset, trajectory: np.ndarray, held_out: int, validation: int, seed: int) -> Split:
    """Test on whole trajectories that nothing was learned from: the last ``held_out`` of them.

    Frames of the others are drawn at random for validation, and train where they are not drawn.

    Args:
        data: frames of several trajectories.
        trajectory: (structures,) which trajectory a frame belongs to.
        held_out: number of trajectories to test on.
        validation: number of frames for validation.
        seed: of the random order.

    Raises:
        InputError: there are too few trajectories or frames.
    """
    names = np.unique(trajectory)
    if not 1 <= held_out < len(names):
        raise InputError(f"cannot hold {held_out} of {len(names)} trajectories out; sample more, or hold out fewer")
    is_test = np.isin(trajectory, names[-held_out:])
    rest = np.random.default_rng(seed).permutation(np.flatnonzero(~is_test))
    if not 1 <= validation < len(rest):
        raise InputError(f"cannot take {validation} of {len(rest)} frames for validation; sample more, or ask for less")
    return Split(
        train=np.sort(rest[validation:]),
        validation=np.sort(rest[:validation]),
        test=np.flatnonzero(is_test),
        data_hash=data.structure_hash,
        method=f"the last {held_out} of {len(names)} trajectories test, the rest is shared out at random, seed {seed}",
    )
