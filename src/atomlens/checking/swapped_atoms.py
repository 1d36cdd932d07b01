"""Frames in which two atoms changed places, beside the other frames of the same molecule."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from atomlens.checking.comparable_frames import comparable_groups
from atomlens.checking.force_rows import left_over
from atomlens.checking.outcome import Outcome
from atomlens.checking.places import named, place, share
from atomlens.data.dataset import Dataset
from atomlens.data.system import formula, symbol
from atomlens.wording import counted

_NAME = "label_order"
_FEWEST = 10  # frames of one molecule
_MOST_FRAMES, _MOST_GROUPS = 2_000, 50
_LARGEST = 60  # atoms
_STIFF = 0.25  # nearest share of the pairs of atoms, whose distance varies least
# Å, spread of the distances between atoms: of stiff ones, and the median of all. Molecules at 500 K have up to 0.06 and
# 0.14; isomers with the atoms in the same order 0.05 and more, and 0.3 to 1.
_STIFF_VARY, _ALL_VARY = 0.12, 0.25
_FAR_OFF = 8.0  # spreads of the misfit among the frames
_MENDS = 0.25  # of the misfit is left where two atoms are put back
_CANDIDATES = 10  # atoms that are tried, the worst first
_LARGEST_SHARE = 0.2  # of the frames: more are another conformation, and no exception
_NO_TORQUE = 1e-2  # relative torque that forces beside the right atoms leave
_RARE_ORDER = 0.05


@dataclass(frozen=True)
class Swap:
    """Two atoms of a frame that stand in each other's place."""

    structure: int
    atoms: tuple[int, int]
    left: float  # share of the misfit that is left once they are put back


def check_swapped_atoms(data: Dataset) -> list[Outcome]:
    """Frames with two atoms in each other's place, and few frames with another order of the elements than the rest."""
    every = np.ones(len(data), dtype=bool)
    groups = [group for group in comparable_groups(data, every) if not data.pbc[group[0], 0]]
    groups = [group for group in groups if len(group) >= _FEWEST and 3 <= data.n_atoms[group[0]] <= _LARGEST][
        :_MOST_GROUPS
    ]
    looked_at, molecules = 0, 0
    swaps: list[Swap] = []
    for group in groups:
        frames = group[np.linspace(0, len(group) - 1, min(len(group), _MOST_FRAMES)).astype(np.int64)]
        found = swaps_in(data, frames)
        if found is not None:
            looked_at, molecules = looked_at + len(frames), molecules + 1
            swaps += found
    outcomes = _other_order(data)
    numbered = [swap for swap in swaps if _only_numbered(data, swap)]
    swaps = [swap for swap in swaps if swap not in numbered]
    if numbered:
        outcomes.append(_note(data, numbered))
    if swaps:
        outcomes.append(_outcome(data, swaps, looked_at))
    elif molecules and not outcomes:
        words = f"No atoms changed places in {counted(looked_at, 'frame')} of {counted(molecules, 'molecule')}."
        outcomes.append(Outcome(_NAME, "ok", words, facts={"frames_looked_at": looked_at}))
    return outcomes


def _only_numbered(data: Dataset, swap: Swap) -> bool:
    """Whether atoms of one element have each other's numbers, and their forces as well: that is no mistake."""
    atoms = slice(int(data.offsets[swap.structure]), int(data.offsets[swap.structure + 1]))
    one, other = data.numbers[atoms][list(swap.atoms)]
    if one != other or "forces" not in data.labels:
        return False
    positions, forces = np.asarray(data.positions[atoms]), np.asarray(data.labels["forces"][atoms])
    left = float(left_over((positions - positions.mean(axis=0))[None], forces[None])[0])
    return bool(np.isfinite(left) and left < _NO_TORQUE)


def _note(data: Dataset, swaps: list[Swap]) -> Outcome:
    rows = np.array([entry.structure for entry in swaps])
    words = (
        f"{counted(len(rows), 'frame')} ({named(data, rows)}) with two atoms of one element numbered the other way "
        "round, as after a turn of a group, and forces that go along. No harm to a network."
    )
    return Outcome(_NAME, "note", words, rows, {"structures": len(rows)})


def swaps_in(data: Dataset, frames: np.ndarray) -> list[Swap] | None:
    """Frames of one open molecule in which two atoms stand in each other's place, gravest first; None for isomers.

    What is compared are the distances between atoms that hardly vary over the frames, bonds and angles above all.
    """
    size = int(data.n_atoms[frames[0]])
    positions = data.positions[data.offsets[frames][:, None] + np.arange(size)]
    one, other = np.triu_indices(size, 1)
    distances = np.sqrt(sum((positions[:, one, axis] - positions[:, other, axis]) ** 2 for axis in range(3)))
    middle = np.median(distances, axis=0)
    width = 1.4826 * np.median(np.abs(distances - middle), axis=0) + 0.01
    stiff = np.argsort(width)[: max(3, size, int(_STIFF * len(one)))]
    if np.median(width[stiff]) > _STIFF_VARY or np.median(width) > _ALL_VARY:
        return None
    misfit = _misfit(distances, middle, width, stiff)
    usual = float(np.median(misfit))
    limit = usual + _FAR_OFF * (1.4826 * float(np.median(np.abs(misfit - usual))) + 0.1 * usual)
    suspects = np.flatnonzero(misfit > limit)
    if not len(suspects) or len(suspects) > _LARGEST_SHARE * len(frames):
        return []
    found = []
    for row in suspects[np.argsort(-misfit[suspects], kind="stable")][:200]:
        swap = _put_back(positions[row], middle, width, stiff, float(misfit[row]), limit)
        if swap is not None:
            found.append(Swap(int(frames[row]), swap[0], swap[1]))
    return found


def _misfit(distances: np.ndarray, middle: np.ndarray, width: np.ndarray, stiff: np.ndarray) -> np.ndarray:
    """(frames,) root mean square of the stiff distances' deviations, in their spreads."""
    return np.asarray(np.sqrt((((distances - middle) / width)[:, stiff] ** 2).mean(axis=1)))


def _put_back(
    positions: np.ndarray, middle: np.ndarray, width: np.ndarray, stiff: np.ndarray, before: float, limit: float
) -> tuple[tuple[int, int], float] | None:
    """The two atoms of one frame, (atoms, 3), that must change places for it to look like the others."""
    size = len(positions)
    one, other = np.triu_indices(size, 1)
    off = np.zeros(size)
    distances = np.linalg.norm(positions[one] - positions[other], axis=1)
    squares = ((distances - middle) / width)[stiff] ** 2
    np.add.at(off, one[stiff], squares)
    np.add.at(off, other[stiff], squares)
    worst = np.argsort(-off)[:_CANDIDATES]
    pairs = [(int(a), int(b)) for place_a, a in enumerate(worst) for b in worst[place_a + 1 :]]
    orders = np.tile(np.arange(size), (len(pairs), 1))
    for row, (a, b) in enumerate(pairs):
        orders[row, [a, b]] = b, a
    swapped = positions[orders]
    tried = np.sqrt(sum((swapped[:, one, axis] - swapped[:, other, axis]) ** 2 for axis in range(3)))
    after = _misfit(tried, middle, width, stiff)
    best = int(after.argmin())
    if after[best] > limit or after[best] > _MENDS * before:
        return None
    return (min(pairs[best]), max(pairs[best])), float(after[best] / before)


def _outcome(data: Dataset, swaps: list[Swap], looked_at: int) -> Outcome:
    rows = np.array([entry.structure for entry in swaps])
    first = swaps[0]
    numbers = data[first.structure].numbers
    names = " and ".join(f"{atom} ({symbol(int(numbers[atom]))})" for atom in first.atoms)
    words = (
        f"Atoms stand in each other's place in {counted(len(swaps), 'frame')} of {looked_at:,} ({named(data, rows)}): "
        "put "
        f"atoms {names} of structure {place(data, first.structure)} back, and it has the bonds of the other frames. "
        "Exchange their rows, and those of their forces, or leave the frames out."
    )
    facts = {"swaps": [{"structure": entry.structure, "atoms": list(entry.atoms)} for entry in swaps[:100]]}
    return Outcome(_NAME, "fault", words, rows, facts)


def _other_order(data: Dataset) -> list[Outcome]:
    """Few structures whose elements stand in another order than in the rest of the same composition."""
    if len(data) > 50_000:
        return []
    counts = data.counts()[0].astype(np.int64)
    keys = np.column_stack([counts, data.charge, data.pbc])
    _, kind, sizes = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
    found: list[int] = []
    for large in np.flatnonzero(sizes >= 2 * _FEWEST)[:_MOST_GROUPS]:
        group = np.flatnonzero(kind.ravel() == large)
        size = int(data.n_atoms[group[0]])
        orders = data.numbers[data.offsets[group][:, None] + np.arange(size)]
        _, order, times = np.unique(orders, axis=0, return_inverse=True, return_counts=True)
        if times.max() > (1.0 - _RARE_ORDER) * len(group):
            found += group[order.ravel() != times.argmax()].tolist()
    if not found:
        return []
    rows = np.array(found)
    words = (
        f"{counted(len(rows), 'structure')} of {len(data):,} ({share(len(rows), len(data))}; {named(data, rows)}, "
        f"{formula(data[found[0]].numbers)}) with the elements in another order than the rest of the same "
        "composition. No "
        "harm to a network; labels per atom must be in the same order, and frames cannot be compared."
    )
    return [Outcome(_NAME, "note", words[0].upper() + words[1:], rows, {"structures": len(rows)})]
