"""In which order forces stand beside the atoms, from the torque alone: the right order leaves none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from atomlens.checking.places import named, place
from atomlens.data.dataset import Dataset
from atomlens.data.system import symbol

_MOST_FRAMES = 400
_LARGEST = 30  # atoms of a molecule whose whole order is searched: its unknowns are as many as the square
_FEWEST = 5  # frames that prove a whole order
_MOST_ALONE = 50  # structures in which two exchanged rows are looked for, one by one
_MENDED = 0.9  # share of the structures that an explanation must mend


@dataclass(frozen=True)
class Exchange:
    """What was done to the rows of the forces."""

    order: tuple[int, ...]  # atom that each row of the forces belongs to, in the gravest structure
    words: str


def exchanged_rows(data: Dataset, structures: np.ndarray, limit: float) -> Exchange | None:
    """Two rows of forces that were exchanged, or one order that is the same in all structures; None if none is found.

    Args:
        data: open structures.
        structures: those with a torque and no net force, gravest first.
        limit: relative torque that right forces may leave.
    """
    first = data[int(structures[0])]
    size = len(first.numbers)
    alike = structures[data.n_atoms[structures] == size][:_MOST_FRAMES]
    atoms = data.offsets[alike][:, None] + np.arange(size)
    same = (data.numbers[atoms] == first.numbers).all(axis=1)
    alike, atoms = alike[same], atoms[same]
    positions, forces = data.positions[atoms], np.asarray(data.labels["forces"][atoms])
    arms = positions - positions.mean(axis=1, keepdims=True)
    pair = _two(arms[0], forces[0], limit)
    if pair is not None:
        order = _exchange(size, pair)
        mended = (
            float((left_over(arms, forces[:, order]) < limit).mean()) * len(alike) / min(len(structures), _MOST_FRAMES)
        )
        if len(structures) > 1 and mended > _MENDED:
            return Exchange(
                tuple(order), f"the rows of atoms {_names(first.numbers, pair)} are exchanged in all of them"
            )
    if size <= _LARGEST and 3 * len(alike) >= size and len(alike) >= _FEWEST:
        whole = _whole(arms, forces, limit)
        if whole is not None:
            listed = " ".join(map(str, whole))
            return Exchange(tuple(whole), f"the torque vanishes where the rows belong to atoms {listed}")
    return _one_by_one(data, structures, limit)


def _one_by_one(data: Dataset, structures: np.ndarray, limit: float) -> Exchange | None:
    """Two rows of each structure alone."""
    pairs: list[tuple[int, int]] = []
    looked_at = structures[:_MOST_ALONE]
    for index in looked_at:
        atoms = slice(int(data.offsets[index]), int(data.offsets[index + 1]))
        positions = np.asarray(data.positions[atoms])
        found = _two(positions - positions.mean(axis=0), np.asarray(data.labels["forces"][atoms]), limit)
        if found is not None:
            pairs.append(found)
        elif not pairs:
            return None
    if len(pairs) < _MENDED * len(looked_at):
        return None
    first = data[int(looked_at[0])]
    also = f" (two rows of each of the others, {named(data, looked_at[1:])})" if len(looked_at) > 1 else ""
    words = (
        f"the rows of atoms {_names(first.numbers, pairs[0])} are exchanged in structure {place(data, looked_at[0])}"
    )
    return Exchange(tuple(_exchange(len(first.numbers), pairs[0])), words + also)


def _names(numbers: np.ndarray, pair: tuple[int, int]) -> str:
    return " and ".join(f"{atom} ({symbol(int(numbers[atom]))})" for atom in pair)


def _exchange(size: int, pair: tuple[int, int]) -> list[int]:
    order = list(range(size))
    order[pair[0]], order[pair[1]] = pair[1], pair[0]
    return order


def left_over(arms: np.ndarray, forces: np.ndarray) -> np.ndarray:
    """(frames,) torque over what random forces of the size would leave."""
    torque = np.linalg.norm(np.cross(arms, forces).sum(axis=1), axis=1)
    return np.asarray(torque / _random_torque(arms, forces))


def _random_torque(arms: np.ndarray, forces: np.ndarray) -> np.ndarray:
    squares = (arms**2).sum(axis=(-2, -1)) * (forces**2).sum(axis=(-2, -1))
    return np.maximum(np.sqrt(squares * 2.0 / 3.0 / arms.shape[-2]), 1e-12)


def _two(arms: np.ndarray, forces: np.ndarray, limit: float) -> tuple[int, int] | None:
    """The two rows of one structure, (atoms, 3) each, that leave it without torque once they are exchanged."""
    one, other = np.triu_indices(len(arms), 1)
    after = np.cross(arms, forces).sum(axis=0) + np.cross(arms[one] - arms[other], forces[other] - forces[one])
    left = np.linalg.norm(after, axis=1)
    best = int(left.argmin())
    if left[best] > limit * _random_torque(arms, forces):
        return None
    return int(one[best]), int(other[best])


def _whole(arms: np.ndarray, forces: np.ndarray, limit: float) -> list[int] | None:
    """The order of rows that leaves all frames without torque.

    Of a matrix x that says which row belongs to which atom, the torque sum_ij x_ij r_i × F_j is linear. It also
    vanishes for the matrix of equal entries, as the net force does, so the order is looked for at right angles to it:
    in the direction along which torques are smallest, with either sign.
    """
    size = arms.shape[1]
    torques = np.cross(arms[:, :, None, :], forces[:, None, :, :])  # (frames, atoms, rows, 3)
    system = torques.transpose(0, 3, 1, 2).reshape(-1, size * size)
    system = system / np.linalg.norm(system, axis=1).mean()
    every, ones = np.eye(size), np.ones((1, size))
    sums = np.concatenate([np.kron(every, ones), np.kron(ones, every)])  # of the rows and columns of x: none
    stacked = np.concatenate([system, 100.0 * sums])
    direction = np.linalg.eigh(stacked.T @ stacked)[1][:, 0].reshape(size, size)
    for sign in (1.0, -1.0):
        rows = linear_sum_assignment(-sign * direction)[1]
        if float((left_over(arms, forces[:, rows]) < limit).mean()) > _MENDED:
            return [int(atom) for atom in np.argsort(rows)]
    return None
