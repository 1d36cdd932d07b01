"""The search for test and validation structures that are close to training structures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from atomlens.data.bond_graphs import bond_graphs
from atomlens.data.dataset import Dataset
from atomlens.data.leaks.copies import COPY, copies
from atomlens.data.leaks.fingerprints import fingerprints
from atomlens.data.leaks.nearest import nearest
from atomlens.data.leaks.plan import Plan, families, plan
from atomlens.data.leaks.report import InTime, LeakReport, SubsetLeaks
from atomlens.data.splits.blocks import GAP
from atomlens.data.splits.split import Split
from atomlens.data.timeline import TRAJECTORY, Timeline, memory, system_column, timeline

CLOSE, CLOSE_SHARE = 0.05, 0.2  # Å, and of the usual distance in a family: stiff molecules never differ by much
_FAMILY = 10  # structures on either side, from which on there is a usual distance
_MOST = {"test": 2_000, "validation": 500}  # structures that are looked at
_DEVIATIONS = 4.0  # by which the order of a file must remember more than none does, to be one in time
_LOOKED_AT = 50  # structures that tell a trajectory from a list of isomers


@dataclass(frozen=True)
class _Time:
    """Frames closer in time than the window are of nearly the same time."""

    when: Timeline
    window: float

    def near(self, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Whether frames are of nearly the same time, for two arrays of rows that go together as numpy has it."""
        close = np.abs(self.when.time[rows] - self.when.time[others]) < self.window
        return np.asarray(close & (self.when.run[rows] == self.when.run[others]))

    def share(self, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
        """(rows,) share of the others that are of nearly the same time."""
        time = self.when.time - self.when.time.min()
        axis = time + self.when.run * (2.0 * self.window + float(time.max()) + 1.0)  # runs one after another
        known = np.sort(axis[others])
        upper = np.searchsorted(known, axis[rows] + self.window, side="left")
        return np.asarray((upper - np.searchsorted(known, axis[rows] - self.window, side="right")) / len(known))


@dataclass(frozen=True)
class _Nearest:
    """Of every structure that is looked at: arrays with one entry for each."""

    rows: np.ndarray
    partner: np.ndarray  # row of the nearest training structure
    distance: np.ndarray  # Å, to it
    typical: np.ndarray  # Å, to a training structure of the same family, taken at random; NaN in small families
    usual: np.ndarray  # Å, the family's median of these; inf in small families
    near_in_time: np.ndarray  # bool, the nearest is
    chance: np.ndarray  # share of the training structures of the same family that are near in time
    apart: np.ndarray  # Å, to the nearest of the others; inf: there is none


def find_leaks(data: Dataset, split: Split, *, close: float = CLOSE, seed: int = 0) -> LeakReport:
    """Look for structures of the test and of the validation that are close to a training structure.

    Structures are compared where their composition is the same (of crystals, the ratio of elements at nearly the same
    density), by sorted interatomic distances: rotation, translation, reflection and the order of atoms do not matter.
    In trajectories only frames of nearly the same time (within 5 autocorrelation times) count as close, and it is asked
    whether the nearest training frame is one of these more often than chance explains: such frames are not independent
    of training. Copies of open structures are looked for among all. The distance to the nearest training structure is
    measured for 2,000 test and 500 validation structures at most, drawn at random, and in very large sets to a random
    part of the training structures.

    Args:
        data: the structures that the split is of.
        split: which train.
        close: distance in Å below which structures count as close, where it is also below a fifth of what training
            structures of their composition usually are away.
        seed: of what is drawn.

    Raises:
        InputError: the split belongs to other data.
    """
    split.check(data)
    family, time = families(data), _time(data)
    subsets = {name: np.asarray(getattr(split, name)) for name in _MOST if len(getattr(split, name))}
    chosen = plan(data, family, subsets, split.train, _MOST, time.when if time else None, seed)
    every = np.concatenate([*chosen.asked.values(), np.zeros(0, dtype=np.int64)])
    found = _nearest(data, family, every, chosen.training, time, np.random.default_rng([seed, 1]))
    return LeakReport(
        {
            name: _subset(data, family, name, rows, split.train, chosen, found, time, close)
            for name, rows in subsets.items()
        }
    )


def _time(data: Dataset) -> _Time | None:
    """Where and how long trajectories remember; None for structures of no trajectory, or in no order of time."""
    when = timeline(data)
    if when is None or (system_column(data, TRAJECTORY) is None and not when.stated and not _moves(data)):
        return None
    found = memory(data, when)
    # Of n frames in no order the time is half a frame, with a deviation of half of sqrt(2 (2 · 2.5 + 1) / n) (Sokal).
    if found is None or (not when.stated and found[0] < 0.5 + _DEVIATIONS * np.sqrt(3.0 / len(data))):
        return None
    return _Time(when, GAP * found[0])


def _moves(data: Dataset) -> bool:
    """Whether structures of one composition come back to the same bonds: frames of a trajectory do, isomers do not."""
    if data.pbc.any():
        return True
    rows = np.unique(np.linspace(0, len(data) - 1, _LOOKED_AT).astype(np.int64))
    return bool(bond_graphs(data, rows).max() < len(rows) / 2)


def _nearest(
    data: Dataset,
    family: np.ndarray,
    asked: np.ndarray,
    training: np.ndarray,
    time: _Time | None,
    rng: np.random.Generator,
) -> _Nearest:
    """The nearest training structure of each structure, family by family."""
    pieces = []
    asked, training = (
        asked[np.argsort(family[asked], kind="stable")],
        training[np.argsort(family[training], kind="stable")],
    )
    names, starts = np.unique(family[asked], return_index=True)
    for name, rows in zip(names, np.split(asked, starts[1:]), strict=True):
        low, high = np.searchsorted(family[training], (name, name + 1))
        if high > low:
            pieces.append(_in_family(data, rows, training[low:high], time, rng))
    if not pieces:
        none, far = np.zeros(0, dtype=np.int64), np.zeros(0)
        return _Nearest(none, none, far, far, far, none.astype(bool), far, far)
    return _Nearest(*(np.concatenate(column) for column in zip(*pieces, strict=True)))


def _in_family(
    data: Dataset, rows: np.ndarray, known: np.ndarray, time: _Time | None, rng: np.random.Generator
) -> tuple[np.ndarray, ...]:
    prints = fingerprints(data, np.concatenate([rows, known]))
    queries, others = prints[: len(rows)], prints[len(rows) :]
    place, distance = nearest(queries, others)
    typical, usual = np.full(len(rows), np.nan), np.full(len(rows), np.inf)
    if min(len(rows), len(known)) >= _FAMILY:
        typical = np.linalg.norm(queries - others[rng.integers(len(known), size=len(rows))], axis=1).astype(float)
        usual[:] = np.median(typical)
    close, chance, apart = np.zeros(len(rows), dtype=bool), np.zeros(len(rows)), distance.copy()
    if time is not None:
        close, chance = time.near(rows, known[place]), time.share(rows, known)
        apart = nearest(queries, others, lambda part: time.near(rows[part, None], known))[1]
    return rows, known[place], distance, typical, usual, close, chance, apart


def _subset(
    data: Dataset,
    family: np.ndarray,
    name: str,
    rows: np.ndarray,
    training: np.ndarray,
    chosen: Plan,
    found: _Nearest,
    time: _Time | None,
    close: float,
) -> SubsetLeaks:
    """What there is to say of one subset."""
    mine = np.isin(found.rows, chosen.asked[name])
    pairs, distance = np.column_stack([found.rows, found.partner])[mine], found.distance[mine]
    same = np.concatenate([copies(data, family, rows, training), pairs[distance < COPY]])
    same = same[np.unique(same[:, 0], return_index=True)[1]]
    is_close = (distance < np.minimum(close, CLOSE_SHARE * found.usual[mine])) & ~np.isin(pairs[:, 0], same[:, 0])
    if time is not None:
        is_close &= found.near_in_time[mine]  # a molecule may come back to a shape by itself
    order = np.flatnonzero(is_close)[np.argsort(distance[is_close], kind="stable")]
    return SubsetLeaks(
        name=name,
        structures=len(rows),
        comparable=chosen.comparable[name],
        examined=int(mine.sum()),
        training=len(training),
        training_examined=len(chosen.training),
        tolerance=close,
        copies=_places(data, same),
        copies_complete=not data.pbc.any() or int(mine.sum()) == chosen.comparable[name],
        close=_places(data, pairs[order]),
        distances=distance[order],
        nearest=_median(distance),
        typical=_median(found.typical[mine]),
        in_time=None if time is None or not mine.any() else _in_time(found, mine, time),
        trajectories=None if time is None else time.when.runs,
        advice=_advice(data, family, time),
    )


def _advice(data: Dataset, family: np.ndarray, time: _Time | None) -> str:
    """The kind of split that keeps close structures together."""
    if time is not None:
        return "blocks"
    if not family.any():
        return "" if _moves(data) else "isomers"
    elements = np.zeros((int(family.max()) + 1, len(data.elements)), dtype=bool)
    np.logical_or.at(elements, family, data.counts()[0] > 0)
    shared = elements.sum(axis=0) > 1
    return "formula" if (shared | ~elements).all(axis=1).any() else ""  # a formula without an element of its own


def _in_time(found: _Nearest, mine: np.ndarray, time: _Time) -> InTime:
    return InTime(
        window=time.window,
        unit=time.when.unit,
        frames=int(mine.sum()),
        observed=int(found.near_in_time[mine].sum()),
        by_chance=float(found.chance[mine].sum()),
        apart=_median(found.apart[mine]),
    )


def _places(data: Dataset, rows: np.ndarray) -> np.ndarray:
    """Rows of the data set as places in the user's file."""
    return rows if data.origin.places is None else np.asarray(data.origin.places)[rows]


def _median(values: np.ndarray) -> float | None:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else None
