"""Structures that occur twice, whatever the order of their atoms and their place, and whether their labels agree."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from ase.data import covalent_radii
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from atomlens.checking.composition import composition_groups
from atomlens.checking.distances import distances, sound_structures
from atomlens.checking.outcome import DataCheck, Outcome, Status
from atomlens.checking.places import place, share
from atomlens.data.dataset import Dataset
from atomlens.data.neighbours import neighbour_list
from atomlens.data.quantities import quantity
from atomlens.errors import InputError
from atomlens.wording import counted

EQUAL, NEAR = 2e-3, 0.02  # Å, largest difference of any two corresponding distances
_BLOCKS = 6  # numbers that a structure is looked up by
_NEIGHBOURS = 4  # nearest in these numbers that are looked at
_MOST_PAIRS = 300_000  # that are compared distance by distance
_MOST_CRYSTALS = 5_000  # pairs, each of which needs two searches for neighbours
_LARGEST = 200  # atoms whose distances are all formed for looking up
_AT_ONCE = 1 << 19
_NOISE, _GRAVE = 0.02, 0.25  # of a label's spread: above it labels of equal structures differ, or contradict each other
_STIFF, _PULL, _RELATIVE = 60.0, 5.0, 10.0  # eV/Å² of bonds, eV/Å on each atom, 1/Å of other labels
_FORCE_NOISE, _ENERGY_NOISE, _LABEL_NOISE = 1e-3, 1e-5, 1e-3  # eV/Å, eV per atom, and share of the label
_REACH, _NEAREST = 5.0, 24  # Å, and how many neighbours of each atom within it, by which crystals are compared


@dataclass(frozen=True)
class Twins:
    """Pairs of structures that are the same or nearly so."""

    pairs: np.ndarray  # (pairs, 2) structures, the first with the lower number
    difference: np.ndarray  # (pairs,) Å, largest of two corresponding distances
    complete: bool  # False: there were more candidates than were compared


def twins(data: Dataset) -> Twins:
    """Find equal and nearly equal structures of one composition, charge and periodicity.

    Each structure is looked up by the sorted distances between its atoms, averaged in blocks (a crystal by its cell's
    volume and its atoms' nearest neighbours); the nearest in these are compared by all distances between each pair of
    elements. Mirror images count as equal, and a crystal in another cell is not recognised. Of structures that are
    equal to many others only some of the pairs are found, enough to tell that each has a twin.
    """
    keys = _fingerprints(data)
    sound = np.flatnonzero(np.isfinite(keys).all(axis=1) & (data.n_atoms > 1))
    if len(sound) < 2:
        return Twins(np.zeros((0, 2), dtype=np.int64), np.zeros(0), True)
    # Compositions stand so far apart in one more direction that nearest neighbours are of one's own.
    group = composition_groups(data)[sound].astype(np.float64)[:, None] * 1e4
    table = np.hstack([keys[sound], group])
    count = min(_NEIGHBOURS + 1, len(sound))
    # No mean moves farther than what it is the mean of: none of the numbers may differ by more.
    off, other = cKDTree(table).query(table, k=count, p=np.inf, distance_upper_bound=NEAR)
    one = np.repeat(np.arange(len(sound)), count)
    known = np.isfinite(off.ravel()) & (one != other.ravel())
    pairs = np.unique(np.sort(np.column_stack([one[known], other.ravel()[known]]), axis=1), axis=0)
    apart = np.abs(table[pairs[:, 0]] - table[pairs[:, 1]]).max(axis=1)
    pairs = sound[pairs[np.argsort(apart, kind="stable")]]
    small = ~data.pbc[pairs[:, 0]].any(axis=1) & (data.n_atoms[pairs[:, 0]] <= _LARGEST)
    molecules, others = pairs[small][:_MOST_PAIRS], pairs[~small][:_MOST_CRYSTALS]
    difference = np.concatenate([_of_molecules(data, molecules), _of_others(data, others)])
    compared = np.concatenate([molecules, others])
    kept = difference < NEAR
    return Twins(compared[kept], difference[kept], len(compared) == len(pairs))


def _of_molecules(data: Dataset, pairs: np.ndarray) -> np.ndarray:
    """(pairs,) Å, the largest difference of corresponding distances between each two elements."""
    difference = np.zeros(len(pairs))
    sizes = data.n_atoms[pairs[:, 0]]
    for size in np.unique(sizes):
        group = np.flatnonzero(sizes == size)
        step = max(1, _AT_ONCE // int(size * size))
        for start in range(0, len(group), step):
            some = group[start : start + step]
            first, second = (_by_elements(data, pairs[some, column], int(size)) for column in (0, 1))
            difference[some] = np.abs(first - second).max(axis=1, initial=0.0)
    return difference


def _by_elements(data: Dataset, group: np.ndarray, size: int) -> np.ndarray:
    """(group, distances) sorted by pair of elements, then by length; elements are told apart by steps of 10⁵ Å."""
    rows = data.offsets[group][:, None] + np.arange(size)
    one, other = np.triu_indices(size, k=1)
    low = np.minimum(data.numbers[rows[:, one]], data.numbers[rows[:, other]])
    high = np.maximum(data.numbers[rows[:, one]], data.numbers[rows[:, other]])
    distance = np.linalg.norm(data.positions[rows[:, one]] - data.positions[rows[:, other]], axis=2)
    return np.sort((low * 128 + high) * 1e5 + distance, axis=1)


def _of_others(data: Dataset, pairs: np.ndarray) -> np.ndarray:
    """(pairs,) Å, the same for crystals and large structures, by the nearest neighbours of their atoms."""
    profiles = {int(index): _profile(data, int(index)) for index in np.unique(pairs)}
    return np.array([_difference(profiles[int(a)], profiles[int(b)]) for a, b in pairs])


def _fingerprints(data: Dataset) -> np.ndarray:
    """(structures, numbers) in Å, nearly equal for nearly equal structures; NaN for those that cannot be measured."""
    keys = np.full((len(data), _BLOCKS + 1), np.nan)
    sound, periodic = sound_structures(data), data.pbc.any(axis=1)
    sizes = data.n_atoms
    for size in np.unique(sizes[sound & ~periodic]):
        group = np.flatnonzero(sound & ~periodic & (sizes == size))
        pairs = size * (size - 1) // 2 if size <= _LARGEST else size
        step = max(1, _AT_ONCE // max(1, int(pairs)))
        for start in range(0, len(group), step):
            some = group[start : start + step]
            keys[some] = _blocks(_sorted_distances(data, some, int(size)))
    crystals = np.flatnonzero(sound & periodic)
    if len(crystals):
        keys[crystals] = _of_crystals(data, crystals)
    return keys


def _sorted_distances(data: Dataset, group: np.ndarray, size: int) -> np.ndarray:
    """(group, distances) between all atoms, or of large structures to their centre, in rising order."""
    rows = data.offsets[group][:, None] + np.arange(size)
    positions = np.asarray(data.positions)[rows]
    if size > _LARGEST:
        return np.sort(np.linalg.norm(positions - positions.mean(axis=1, keepdims=True), axis=2), axis=1)
    one, other = np.triu_indices(size, k=1)
    squared = np.zeros((len(group), len(one)))
    for axis in range(3):
        squared += (positions[:, one, axis] - positions[:, other, axis]) ** 2
    return np.sqrt(np.sort(squared, axis=1))


def _blocks(values: np.ndarray) -> np.ndarray:
    """(rows, numbers) means of sorted values (rows, values) in blocks, and of all: none moves more than the values."""
    if not values.shape[1]:
        return np.zeros((len(values), _BLOCKS + 1))
    cuts = np.linspace(0, values.shape[1], _BLOCKS + 1).astype(np.int64)
    means = [values[:, a:b].mean(axis=1) if b > a else np.zeros(len(values)) for a, b in pairwise(cuts.tolist())]
    return np.column_stack([*means, values.mean(axis=1)])


def _of_crystals(data: Dataset, crystals: np.ndarray) -> np.ndarray:
    """Lengths of cells and of nearest neighbours, by rank, and the edge of a cube of the volume per atom."""
    found = distances(data)
    near = np.where(np.isfinite(found.ratio), found.ratio, 5.0) * covalent_radii[data.numbers]
    order = np.lexsort((near, np.repeat(np.arange(len(data)), data.n_atoms)))
    ranked = near[order]
    sizes = data.n_atoms[crystals]
    at = [data.offsets[crystals] + ((sizes - 1) * part).astype(np.int64) for part in np.linspace(0, 1, _BLOCKS - 2)]
    with np.errstate(invalid="ignore"):
        mean = np.add.reduceat(near, data.offsets[:-1])[crystals] / sizes
    lengths = np.linalg.norm(data.cell[crystals], axis=2)
    edge = np.abs(np.linalg.det(data.cell[crystals] + np.where(lengths[:, :, None] > 0, 0.0, np.eye(3)))) / sizes
    keys = np.column_stack([*(ranked[rows] for rows in at), mean, lengths.mean(axis=1), edge ** (1 / 3)])
    keys[~np.isin(crystals, found.measured)] = np.nan
    return keys


def _difference(first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray]) -> float:
    if len(first[0]) != len(second[0]) or (first[0] != second[0]).any():
        return np.inf
    return float(np.abs(first[1] - second[1]).max(initial=0.0))


def _profile(data: Dataset, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances in Å of each atom's 24 nearest neighbours within reach, and what tells them apart, both sorted.

    They are told apart by their rank and the element of their centre; the elements of neighbours at equal distances
    could come in any order.
    """
    system = data[index]
    size = len(system.numbers)
    try:
        centre, neighbour, shift = neighbour_list(system, _REACH)
    except InputError:  # atoms coincide, which is said elsewhere
        return np.array([-1 - index]), np.zeros(1)
    off = system.positions[neighbour] + shift @ system.cell - system.positions[centre]
    distance = np.linalg.norm(off, axis=1)
    order = np.lexsort((distance, centre))
    centre, distance = centre[order], distance[order]
    rank = np.arange(len(centre)) - np.searchsorted(centre, np.arange(size))[centre]
    near = rank < _NEAREST
    kind, distance = rank[near] * 128 + system.numbers[centre[near]], distance[near]
    order = np.lexsort((distance, kind))
    return kind[order], distance[order]


def check_duplicates(data: Dataset) -> list[Outcome]:
    """Whether structures occur more than once, and what their labels say of it."""
    found = twins(data)
    equal, near = found.difference < EQUAL, found.difference >= EQUAL
    outcomes = [
        *_equal(data, found.pairs[equal], found.difference[equal]),
        *_near(data, found.pairs[near], found.difference[near]),
    ]
    if not found.complete:
        words = "There were more candidates than could be compared; the most similar pairs were."
        outcomes.append(Outcome("duplicates", "note", words))
    if outcomes:
        return outcomes
    words = f"No structure occurs twice (no two of one composition with all distances equal to {NEAR} Å)."
    return [Outcome("duplicates", "ok", words)]


def _equal(data: Dataset, pairs: np.ndarray, difference: np.ndarray) -> list[Outcome]:
    if not len(pairs):
        return []
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(data), len(data)))
    sets = connected_components(graph, directed=False)[1]
    extra = len(data) - len(np.unique(sets))
    concerned = np.unique(pairs)
    first = pairs[0]
    part = f"{len(concerned):,} of {len(data):,} ({share(len(concerned), len(data))})"
    words = (
        f"{counted(extra, 'structure')} too many: {part} have an equal one or its mirror image, such as "
        f"{place(data, first[0])} and {place(data, first[1])}{_in_a_row(pairs)}. A network "
        "tested on one may have been trained on the other: keep one of each."
    )
    facts = {"structures": len(concerned), "too_many": extra, "pairs": len(pairs)}
    outcomes = [Outcome("duplicates", "warning", words, concerned, facts)]
    groups = composition_groups(data)
    return outcomes + [
        outcome for name in data.labels for outcome in _labels_differ(data, pairs, difference, name, groups)
    ]


def _in_a_row(pairs: np.ndarray) -> str:
    row = int((pairs[:, 1] - pairs[:, 0] == 1).sum())
    return f"; {row:,} of the pairs follow each other, like repeated frames" if row > 1 else ""


def _labels_differ(
    data: Dataset, pairs: np.ndarray, difference: np.ndarray, name: str, groups: np.ndarray
) -> list[Outcome]:
    """What the labels of equal structures differ by, against how much the label varies."""
    values = _comparable(data, name)
    off = np.abs(values[pairs[:, 0]] - values[pairs[:, 1]])
    known = np.isfinite(off)
    spread = _spread(groups, values)
    if not known.any() or spread == 0.0:
        return []
    explained = _explained(data, pairs, difference, name, values)
    wrong = np.flatnonzero(known & (off > np.maximum(_NOISE * spread, explained)))
    if not len(wrong):
        return []
    wrong = wrong[np.argsort(-off[wrong], kind="stable")]
    worst, unit = pairs[wrong[0]], quantity(name).unit
    # Of crystals not all distances were compared, and magnetic order may tell two of them apart.
    grave = (off[wrong] > _GRAVE * spread) & ~data.pbc[pairs[wrong, 0]].any(axis=1)
    status: Status = "fault" if grave.any() else "warning"
    words = (
        f"Equal structures have other labels: '{name}' differs by {off[wrong[0]]:.3g} {unit} between structures "
        f"{place(data, worst[0])} and {place(data, worst[1])} ({counted(len(wrong), 'pair')}); within a composition "
        f"the label has a deviation of {spread:.3g} {unit}. At most one of them can be learned: find the right one."
    )
    facts = {"label": name, "pairs": len(wrong), "largest_difference": float(off[wrong[0]]), "unit": unit}
    return [Outcome("duplicates", status, words, np.unique(pairs[wrong]), facts)]


def _explained(data: Dataset, pairs: np.ndarray, difference: np.ndarray, name: str, values: np.ndarray) -> np.ndarray:
    """(pairs,) how much a label may differ as structures are not quite equal, or calculations not quite converged.

    Finite displacements of 0.001 Å, as for vibrations, differ by less than what counts as equal.
    """
    if name == "forces":
        return _STIFF * difference + _FORCE_NOISE
    if name == "energy":
        return data.n_atoms[pairs[:, 0]] * (_PULL * difference + _ENERGY_NOISE)
    return (_RELATIVE * difference + _LABEL_NOISE) * float(np.nanmedian(np.abs(values)))


def _comparable(data: Dataset, name: str) -> np.ndarray:
    """(structures,) one number of a label that turning a structure or reordering its atoms leaves as it is."""
    values = np.asarray(data.labels[name])
    size = values if values.ndim == 1 else np.linalg.norm(values.reshape(len(values), -1), axis=1)
    if quantity(name).per == "system":
        return size
    return np.asarray(np.sqrt(np.add.reduceat(size**2, data.offsets[:-1]) / data.n_atoms))


def _spread(groups: np.ndarray, values: np.ndarray) -> float:
    """Robust deviation of a label within compositions, or over all where each composition occurs once."""
    known = np.isfinite(values)
    group = groups[known]
    order = np.lexsort((values[known], group))
    ranked, sizes = values[known][order], np.bincount(group)
    sizes = sizes[sizes > 0]
    starts = np.cumsum(sizes) - sizes
    middle = np.repeat(ranked[starts + (sizes - 1) // 2], sizes)
    several = np.repeat(sizes, sizes) > 3
    off = np.abs(ranked - middle)[several] if several.sum() > 10 else np.abs(ranked - np.median(ranked))
    return 1.4826 * float(np.median(off)) if len(off) else 0.0


def _near(data: Dataset, pairs: np.ndarray, difference: np.ndarray) -> list[Outcome]:
    if not len(pairs):
        return []
    concerned = np.unique(pairs)
    closest = pairs[np.argmin(difference)]
    words = (
        f"{len(concerned):,} of {counted(len(data), 'structure')} ({share(len(concerned), len(data))}) have another "
        f"that differs by less than {NEAR} Å in every distance, such as {place(data, closest[0])} and "
        f"{place(data, closest[1])} ({difference.min():.3f} Å). A random split puts such pairs on both sides: split by "
        "blocks of the trajectory, or test on other structures."
    )
    facts = {"structures": len(concerned), "pairs": len(pairs), "smallest_difference_ang": float(difference.min())}
    return [Outcome("duplicates", "note", words, concerned, facts)]


CHECK = DataCheck(
    "duplicates",
    "Duplicates",
    "Whether a structure occurs twice, whatever the order of its atoms and its orientation, and with which labels.",
    check_duplicates,
)
