"""Which structures are compared: those that can be alike at all, and of too many a part drawn at random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from atomlens.data.compositions import compositions
from atomlens.data.dataset import Dataset
from atomlens.data.timeline import Timeline

_MOST_DISTANCES = 3e7  # that are measured in open structures
_MOST_PRODUCTS = 1e10  # of entries of fingerprints
_MOST_ATOMS = 60_000  # of periodic structures, whose neighbours are looked for one by one
_SPREAD = 0.02  # relative difference of lengths, (volume per atom)^(1/3), up to which crystals are compared


@dataclass(frozen=True)
class Plan:
    """What is compared with what."""

    asked: dict[str, np.ndarray]  # rows of the data set by subset
    comparable: dict[str, int]  # how many structures of a subset have a training structure to be compared with
    training: np.ndarray  # rows


def families(data: Dataset) -> np.ndarray:
    """(structures,) numbers that are the same for structures that can be alike: a formula, or a ratio of elements."""
    return compositions(data, reduced=True)


def plan(
    data: Dataset,
    family: np.ndarray,
    subsets: dict[str, np.ndarray],
    training: np.ndarray,
    most: dict[str, int],
    when: Timeline | None,
    seed: int,
) -> Plan:
    """Draw what is compared.

    Args:
        data: the structures.
        family: (structures,) as `families` has them.
        subsets: rows of the structures in question, by the name of their subset.
        training: rows.
        most: structures that are looked at, by subset.
        when: for trajectories: the training frames nearest in time are always among those that are compared.
        seed: of the draw.
    """
    rng = np.random.default_rng(seed)
    length = _length(data)
    comparable = {name: rows[_has_partner(family, length, rows, training)] for name, rows in subsets.items()}
    asked = {name: np.sort(rng.permutation(rows)[: most[name]]) for name, rows in comparable.items()}
    periodic = np.asarray(data.pbc.any(axis=1))
    # Half of what may be spent on periodic structures: the training structures get the other half.
    asked = {name: _within_budget(data.n_atoms, rows, periodic, _MOST_ATOMS / 4) for name, rows in asked.items()}
    every = np.concatenate(list(asked.values()))
    candidates = training[_has_partner(family, length, training, every)]
    share = _affordable(data, family, every, candidates, periodic)
    keep = rng.random(len(candidates)) < share[candidates]
    if when is not None:
        keep |= np.isin(candidates, _nearest_in_time(when, every, candidates))
    return Plan(asked, {name: len(rows) for name, rows in comparable.items()}, candidates[keep])


def _length(data: Dataset) -> np.ndarray:
    """(structures,) logarithm of (volume per atom)^(1/3) where all three directions are periodic; elsewhere 0."""
    volume = np.abs(np.linalg.det(data.cell)) / data.n_atoms
    return np.where(data.pbc.all(axis=1), np.log(np.maximum(volume, 1e-6)) / 3.0, 0.0)


def _has_partner(family: np.ndarray, length: np.ndarray, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(rows,) bool: one of ``others`` is of the same family and, of crystals, of nearly the same density."""
    if not len(rows) or not len(others):
        return np.zeros(len(rows), dtype=bool)
    apart = 2.0 * (np.ptp(length) + 1.0)  # between families, on one axis
    axis = family * apart + length - length.min()
    known = np.sort(axis[others])
    place = np.searchsorted(known, axis[rows])
    below = axis[rows] - known[np.maximum(place - 1, 0)]
    above = known[np.minimum(place, len(known) - 1)] - axis[rows]
    return np.asarray((np.abs(below) <= _SPREAD) | (np.abs(above) <= _SPREAD))


def _within_budget(sizes: np.ndarray, rows: np.ndarray, periodic: np.ndarray, most: float) -> np.ndarray:
    """All open structures, and periodic ones, evenly spaced, with no more than so many atoms."""
    cells = rows[periodic[rows]]
    atoms = int(sizes[cells].sum())
    if atoms <= most:
        return rows
    kept = cells[np.linspace(0, len(cells) - 1, max(1, int(len(cells) * most / atoms))).astype(np.int64)]
    return np.sort(np.concatenate([rows[~periodic[rows]], kept]))


def _affordable(
    data: Dataset, family: np.ndarray, asked: np.ndarray, training: np.ndarray, periodic: np.ndarray
) -> np.ndarray:
    """(structures,) share of the training structures of its kind that can be looked at."""
    size = data.n_atoms.astype(float)
    columns = np.minimum(size * (size - 1) / 2, 400.0)
    questions = np.bincount(family[asked], minlength=int(family.max()) + 1)
    distances = float((size * (size - 1) / 2)[training[~periodic[training]]].sum())
    products = float((columns * questions[family])[training].sum())
    left = max(_MOST_ATOMS - float(size[asked[periodic[asked]]].sum()), 1.0)
    atoms = float(size[training[periodic[training]]].sum())
    of_open = min(1.0, _MOST_DISTANCES / max(distances, 1.0), _MOST_PRODUCTS / max(products, 1.0))
    return np.where(periodic, min(1.0, left / max(atoms, 1.0)), of_open)


def _nearest_in_time(when: Timeline, rows: np.ndarray, training: np.ndarray) -> np.ndarray:
    """The training frames next before and next after each row, of the same trajectory."""
    order = np.lexsort((when.time[training], when.run[training]))
    known = training[order]
    span = 2.0 * (np.ptp(when.time) + 1.0)
    axis = when.run * span + when.time - when.time.min()
    place = np.searchsorted(axis[known], axis[rows])
    near = np.concatenate([known[np.maximum(place - 1, 0)], known[np.minimum(place, len(known) - 1)]])
    same = when.run[near] == np.concatenate([when.run[rows], when.run[rows]])
    return np.asarray(np.unique(near[same]))
