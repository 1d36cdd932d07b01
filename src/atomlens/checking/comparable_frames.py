"""Pairs of frames that differ by little: what lies between their energies, forces tell on the way and stress as well.

Along the straight line from one frame to the other (of positions; of fractional positions and of the cell in crystals)
the derivative of the energy is known at both ends from the labels alone. Half the sum of the two is the difference of
the energies up to the third order of the displacement (the trapezium rule), so it is exact where the energy is
quadratic.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np

from atomlens.data.dataset import Dataset, ranges

MOST_FRAMES = 3_000  # that are paired, of all groups together
MOST_ATOMS = 300_000  # of those frames
_MOST_STRUCTURES = 200_000  # that are sorted into groups
_NEIGHBOURS = 6
_MOST_COLUMNS = 300  # numbers that describe a frame while its neighbours are searched
_CHUNK_VALUES = 4_000_000
_BOND = 2.5  # Å: a strain moves neighbouring atoms by this times its size
_SAME = 1e-5  # Å: nearer frames are one frame twice


@dataclass(frozen=True)
class FramePairs:
    """Pairs of structures with the same atoms in the same order, as near to each other as can be found.

    ``paths`` are derivatives of the energy along the way by the forces, at its two ends. ``strains`` are tensors whose
    contraction with the stress at that end is the derivative by the cell, in the orientation of that structure.
    """

    first: np.ndarray  # (pairs,) structures
    second: np.ndarray  # (pairs,)
    distance: np.ndarray  # (pairs,) Å, root mean square displacement of the atoms, without what strain explains
    strain: np.ndarray  # (pairs,) norm of the symmetric strain; 0 between open structures
    energy: np.ndarray  # (pairs,) eV, of the second less that of the first
    paths: np.ndarray  # (pairs, 2) eV
    strains: np.ndarray  # (pairs, 2, 3, 3) Å³

    def __len__(self) -> int:
        return len(self.first)

    def at(self, rows: np.ndarray) -> FramePairs:
        """Some of the pairs."""
        return FramePairs(**{entry.name: getattr(self, entry.name)[rows] for entry in fields(self)})


def medians_of_frames(pairs: FramePairs, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The structures of the pairs, the lower median of the values (pairs,) of each one's pairs, and how many it has."""
    structures, place = np.unique(np.concatenate([pairs.first, pairs.second]), return_inverse=True)
    both, counts = np.concatenate([values, values]), np.bincount(place)
    starts = np.cumsum(counts) - counts
    return structures, both[np.lexsort((both, place))][starts + (counts - 1) // 2], counts


def comparable_groups(data: Dataset, usable: np.ndarray, seed: int = 0) -> list[np.ndarray]:
    """Structures with the same atoms in the same order, charge and periodicity: groups of two or more, largest first.

    Structures periodic in one or two directions are left out, and of many a sample is looked at.

    Args:
        data: any structures.
        usable: (structures,) bool, those with the labels.
        seed: of the sample.
    """
    rows = np.flatnonzero(usable & (data.pbc.all(axis=1) | ~data.pbc.any(axis=1)))
    if len(rows) > _MOST_STRUCTURES:
        rows = np.sort(np.random.default_rng(seed).choice(rows, _MOST_STRUCTURES, replace=False))
    if not len(rows):
        return []
    keys = np.column_stack([_order_key(data, rows), data.n_atoms[rows], data.pbc[rows, 0], data.charge[rows]])
    _, group, sizes = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
    order = np.argsort(group.ravel(), kind="stable")
    parts = np.split(rows[order], np.cumsum(sizes)[:-1])
    return [parts[place] for place in np.argsort(-sizes, kind="stable") if sizes[place] > 1]


def _order_key(data: Dataset, rows: np.ndarray) -> np.ndarray:
    """(rows,) a number that the sequence of atomic numbers decides: 53 bits, so that two sequences hardly share one."""
    offsets, atoms = np.asarray(data.offsets), ranges(data.offsets, rows)
    place = atoms - np.repeat(offsets[rows], data.n_atoms[rows])
    mixed = (place * 131 + data.numbers[atoms]).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):  # the finaliser of splitmix64
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    starts = np.concatenate([[0], np.cumsum(data.n_atoms[rows])[:-1]])
    return (np.add.reduceat(mixed, starts) >> np.uint64(11)).astype(np.float64)


def sampled_frames(groups: list[np.ndarray], n_atoms: np.ndarray, seed: int = 0) -> list[np.ndarray]:
    """As many frames of the groups as may be paired: small groups whole, of large ones a part."""
    random, left, atoms = np.random.default_rng(seed), MOST_FRAMES, MOST_ATOMS
    chosen: list[np.ndarray] = []
    for place, group in enumerate(reversed(groups)):
        remaining = len(groups) - place
        share = min(left // remaining, atoms // remaining // int(n_atoms[group[0]]))
        kept = group if len(group) <= share else np.sort(random.choice(group, share, replace=False))
        if len(kept) > 1:
            chosen.append(kept)
            left, atoms = left - len(kept), atoms - len(kept) * int(n_atoms[group[0]])
    return chosen[::-1]


def frame_pairs(data: Dataset, groups: list[np.ndarray], *, with_forces: bool = True, seed: int = 0) -> FramePairs:
    """Each frame with its nearest neighbours in its group and, in trajectories, with the next one in time.

    Args:
        data: with the labels.
        groups: structures that can be compared, from `sampled_frames`; their energies (and forces) are known.
        with_forces: whether the forces are read; without, ``paths`` are 0.
        seed: of the columns by which neighbours are searched.
    """
    found = [
        piece
        for group in groups
        for piece in _pairs_of_group(data, group, np.random.default_rng(seed), with_forces=with_forces)
    ]
    empty = np.zeros(0, dtype=np.int64)
    if not found:
        nothing = np.zeros(0)
        return FramePairs(empty, empty, nothing, nothing, nothing, np.zeros((0, 2)), np.zeros((0, 2, 3, 3)))
    return FramePairs(
        **{entry.name: np.concatenate([getattr(piece, entry.name) for piece in found]) for entry in fields(FramePairs)}
    )


def _pairs_of_group(
    data: Dataset, group: np.ndarray, random: np.random.Generator, *, with_forces: bool
) -> Iterator[FramePairs]:
    size = int(data.n_atoms[group[0]])
    atoms = data.offsets[group][:, None] + np.arange(size)
    positions = data.positions[atoms]
    crystal = bool(data.pbc[group[0], 0])
    described = _crystal_description if crystal else _open_description
    columns = described(positions, np.asarray(data.cell[group]), random)
    first, second = _neighbours(columns, _in_time(data, group))
    forces = data.labels["forces"][atoms] if with_forces else np.zeros_like(positions)
    measured = _between_crystals if crystal else _between_molecules
    step = max(1, _CHUNK_VALUES // (3 * size))
    for start in range(0, len(first), step):
        ends = [part[start : start + step] for part in (first, second)]
        distance, strain, paths, strains = measured(
            [positions[part] for part in ends], [data.cell[group[part]] for part in ends], [forces[p] for p in ends]
        )
        energy = data.labels["energy"][group[ends[1]]] - data.labels["energy"][group[ends[0]]]
        apart = distance + _BOND * strain > _SAME
        yield FramePairs(group[ends[0]], group[ends[1]], distance, strain, energy, paths, strains).at(apart)


def _in_time(data: Dataset, group: np.ndarray) -> np.ndarray:
    """(frames - 1, 2) places in the group of frames that follow each other, as the columns or the file have them."""
    columns = (data.columns.get(name) for name in ("frame", "trajectory"))
    said = [np.asarray(column.values)[group] for column in columns if column is not None and column.per == "system"]
    order = np.lexsort([group, *said])
    return np.column_stack([order[:-1], order[1:]])


def _open_description(positions: np.ndarray, cell: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """(frames, columns) distances between atoms: the same however a molecule lies in space."""
    del cell
    one, other = np.triu_indices(positions.shape[1], 1)
    if len(one) > _MOST_COLUMNS:
        kept = np.sort(random.choice(len(one), _MOST_COLUMNS, replace=False))
        one, other = one[kept], other[kept]
    squared = np.zeros((len(positions), len(one)))
    for axis in range(3):
        squared += (positions[:, one, axis] - positions[:, other, axis]) ** 2
    return np.sqrt(squared)


def _crystal_description(positions: np.ndarray, cell: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """(frames, columns) displacements from the first frame and the shape of the cell, both as lengths."""
    fractional = positions @ np.linalg.inv(cell)
    moved = fractional - fractional[0]
    moved -= np.round(moved)
    moved -= moved.mean(axis=1, keepdims=True)
    flat = (moved @ cell[0]).reshape(len(positions), -1)
    if flat.shape[1] > _MOST_COLUMNS:
        kept = np.sort(random.choice(flat.shape[1], _MOST_COLUMNS, replace=False))
        flat = flat[:, kept]
    metric = cell @ cell.transpose(0, 2, 1)
    values, vectors = np.linalg.eigh(metric)
    shape = (vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]) @ vectors.transpose(0, 2, 1)
    size = np.cbrt(np.abs(np.linalg.det(cell[0])))
    weight = _BOND / size * np.sqrt(flat.shape[1] / 3.0)
    return np.concatenate([flat, weight * shape.reshape(len(positions), 9)], axis=1)


def _neighbours(columns: np.ndarray, in_time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places of frames that are near by their columns or follow in time, every pair once, the lower place first."""
    points = (columns - columns.mean(axis=0)).astype(np.float32)
    squares = np.einsum("fc,fc->f", points, points)
    count = min(_NEIGHBOURS, len(points) - 1)
    near = []
    for start in range(0, len(points), 512):
        rows = np.arange(start, min(start + 512, len(points)))
        apart = squares[rows, None] + squares[None, :] - 2.0 * points[rows] @ points.T
        apart[np.arange(len(rows)), rows] = np.inf
        near.append(np.argpartition(apart, count - 1, axis=1)[:, :count])
    beside = np.column_stack([np.repeat(np.arange(len(points)), count), np.concatenate(near).ravel()])
    low, high = np.sort(np.concatenate([beside, in_time]), axis=1).T
    both = np.unique(low * len(points) + high)
    return both // len(points), both % len(points)


Measured = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _between_molecules(positions: list[np.ndarray], cell: list[np.ndarray], forces: list[np.ndarray]) -> Measured:
    """Distance, strain, paths and strains of pairs of open structures, the second laid over the first.

    The rotation, or reflection, is the one of least squares (Kabsch, Acta Cryst. A 32, 922, 1976); it changes no energy
    and turns forces along.
    """
    del cell
    one, other = (part - part.mean(axis=1, keepdims=True) for part in positions)
    left, _, right = np.linalg.svd(other.transpose(0, 2, 1) @ one)
    turn = left @ right
    moved = other @ turn - one
    distance = np.sqrt((moved**2).sum(axis=2).mean(axis=1))
    paths = np.stack([-(forces[0] * moved).sum(axis=(1, 2)), -((forces[1] @ turn) * moved).sum(axis=(1, 2))], axis=1)
    return distance, np.zeros(len(one)), paths, np.zeros((len(one), 2, 3, 3))


def _between_crystals(positions: list[np.ndarray], cell: list[np.ndarray], forces: list[np.ndarray]) -> Measured:
    """The same for crystals, of nearest images; the second is turned so that its cell is strained and not rotated."""
    change = np.linalg.inv(cell[0]) @ cell[1]
    left, _, right = np.linalg.svd(change)
    turn = (left @ right).transpose(0, 2, 1)
    turned = cell[1] @ turn
    strain = np.linalg.norm(change @ turn - np.eye(3), axis=(1, 2))
    moved = positions[1] @ np.linalg.inv(cell[1]) - positions[0] @ np.linalg.inv(cell[0])
    moved -= np.round(moved)
    moved -= moved.mean(axis=1, keepdims=True)
    distance = np.sqrt(((moved @ (0.5 * (cell[0] + turned))) ** 2).sum(axis=2).mean(axis=1))
    paths = np.stack(
        [
            -(forces[0] * (moved @ cell[0])).sum(axis=(1, 2)),
            -((forces[1] @ turn) * (moved @ turned)).sum(axis=(1, 2)),
        ],
        axis=1,
    )
    # dE/dt = V stress : (h⁻¹ dh/dt) for a cell h whose rows are lattice vectors.
    widened = [
        np.abs(np.linalg.det(h))[:, None, None] * (np.linalg.inv(h) @ (turned - cell[0])) for h in (cell[0], turned)
    ]
    widened[1] = turn @ widened[1] @ turn.transpose(0, 2, 1)
    strains = np.stack([0.5 * (part + part.transpose(0, 2, 1)) for part in widened], axis=1)
    return distance, strain, paths, strains
