"""Structures that no molecule or crystal looks like: clashes, stray atoms, broken molecules, lost coordinates."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from atomlens.checking.composition import composition_groups
from atomlens.checking.distances import LINK, Distances, distances, per_structure
from atomlens.checking.distorted import excused, forced
from atomlens.checking.outcome import DataCheck, Outcome
from atomlens.checking.places import atom_named, named, share, structure_of
from atomlens.data.dataset import Dataset
from atomlens.data.neighbours import MIN_DISTANCE
from atomlens.data.system import formula
from atomlens.errors import InputError
from atomlens.wording import counted

# Shares of the sum of covalent radii. The shortest distance of 33,733 crystals is 0.63 of it, of hot and strained
# metals 0.61, of molecules at 500 K 0.78; multiple bonds between metals go down to 0.58.
_CLOSE, _IMPOSSIBLE, _AS_CLOSE = 0.55, 0.4, 0.95
_STRAY, _STRAY_DISTANCE = 2.5, 3.0  # times the radii, and in Å: an atom without neighbours
_NOBLE = np.array([2, 10, 18, 36, 54, 86])
_BOND_RANGE = 0.7, 1.25  # times the radii: nearest neighbours in molecules that no one distorted
_EXCEPTION = 0.05  # what fewer structures have than this share is an exception


def check_structures(data: Dataset) -> list[Outcome]:
    """Whether every structure can be one; what is found comes as one outcome per kind of problem."""
    impossible = _impossible(data)
    if impossible:
        return impossible
    found = distances(data)
    problems = [*_clashes(data, found), *_stray(data, found), *_fragments(data, found), *_columns(data, found)]
    if any(outcome.status in ("warning", "fault") for outcome in problems):
        return problems
    smallest = _nearest_ratio(data, found)
    known = smallest[np.isfinite(smallest)]
    closest = (
        f"; atoms come no closer than {known.min():.2f} times the sum of their covalent radii" if len(known) else ""
    )
    of_all = "" if len(found.measured) == len(data) else f" ({len(found.measured):,} of them looked at)"
    words = f"{counted(len(data), 'structure')}{of_all}, all atoms at finite positions{closest}."
    facts = {"looked_at": len(found.measured), "closest_ratio": float(known.min()) if len(known) else None}
    return [Outcome("structures", "ok", words, facts=facts), *problems]


def _impossible(data: Dataset) -> list[Outcome]:
    """What reading refuses: it can only be met where a data set was made without checking."""
    try:
        data.check()
    except InputError as error:
        where = np.zeros(0, dtype=np.int64)
        if error.structure is not None:
            places = np.arange(len(data)) if data.origin.places is None else data.origin.places
            where = np.flatnonzero(places == error.structure)[:1]
        return [Outcome("structures", "fault", f"{error}.", where)]
    return []


def _nearest_ratio(data: Dataset, found: Distances) -> np.ndarray:
    return per_structure(np.minimum, found.ratio, data)


def _clashes(data: Dataset, found: Distances) -> list[Outcome]:
    smallest = _nearest_ratio(data, found)
    close = np.flatnonzero(smallest < _CLOSE)
    if not len(close):
        return []
    close = close[np.argsort(smallest[close], kind="stable")]
    nearest = per_structure(np.fmin, found.distance, data)
    # What lies between structures that were pushed together on purpose was so, too.
    pushed = np.min(smallest, where=forced(data) & np.isfinite(smallest), initial=np.inf)
    wrong = (smallest[close] < min(_IMPOSSIBLE, _AS_CLOSE * pushed)) & ~excused(data)[close]
    wrong |= nearest[close] < MIN_DISTANCE
    first = int(close[0])
    atoms = np.arange(data.offsets[first], data.offsets[first + 1])
    atom = int(atoms[np.argmin(found.ratio[atoms])])
    pair = f"{atom_named(data, atom)} and {atom_named(data, int(found.partner[atom]))}"
    image = " (its own image)" if found.partner[atom] == atom else ""
    words = (
        f"{counted(len(close), 'structure')} with atoms closer than {_CLOSE} of the sum of their covalent radii; "
        f"closest {pair}{image} of {named(data, close[:1])} at {found.distance[atom]:.3f} Å, {smallest[first]:.2f} of "
        "it. "
        + ("No two atoms come so close: repair or remove them." if wrong.any() else "Look at them before training.")
    )
    facts = {"structures": len(close), "closest_ratio": float(smallest[first]), "distance_ang": float(nearest.min())}
    return [Outcome("structures", "fault" if wrong.any() else "warning", words, close, facts)]


def _stray(data: Dataset, found: Distances) -> list[Outcome]:
    """Atoms that are far from all others; noble gases, and free atoms alone, are not meant."""
    far = (found.ratio > _STRAY) & ~(found.distance < _STRAY_DISTANCE) & ~np.isin(data.numbers, _NOBLE)
    alone = (data.n_atoms == 1) & ~data.pbc.any(axis=1)
    far &= ~np.repeat(alone, data.n_atoms)
    atoms = np.flatnonzero(far)
    if not len(atoms):
        return []
    atoms = atoms[np.argsort(-found.distance[atoms], kind="stable")]
    structures = structure_of(data, atoms)
    concerned = structures[np.sort(np.unique(structures, return_index=True)[1])]
    gap = found.distance[atoms[0]]
    words = (
        f"{counted(len(concerned), 'structure')} with an atom far from all others: {atom_named(data, int(atoms[0]))} "
        f"of {named(data, concerned[:1])} has no neighbour within {f'{gap:.1f} Å' if np.isfinite(gap) else 'reach'}"
        f"{_others(data, concerned)}. Network and reference may mean different things by it: look at them."
    )
    return [Outcome("structures", "warning", words, concerned, {"structures": len(concerned), "atoms": len(atoms)})]


def _others(data: Dataset, structures: np.ndarray) -> str:
    return f" (also {named(data, structures[1:])})" if len(structures) > 1 else ""


def fragments(data: Dataset, found: Distances) -> np.ndarray:
    """(structures,) pieces of open structures that lie apart; 1 for periodic ones and those not looked at."""
    atoms = len(data.numbers)
    graph = coo_array((np.ones(len(found.links)), (found.links[:, 0], found.links[:, 1])), shape=(atoms, atoms))
    piece = connected_components(graph, directed=False)[1]
    # Pieces are numbered by their first atoms, and no bond leads from one structure to another.
    first = np.unique(piece, return_index=True)[1]
    pieces = np.bincount(structure_of(data, first), minlength=len(data))
    counted_ones = np.isin(np.arange(len(data)), found.measured) & ~data.pbc.any(axis=1)
    return np.where(counted_ones, pieces, 1)


def _fragments(data: Dataset, found: Distances) -> list[Outcome]:
    is_open = ~data.pbc.any(axis=1)
    if not is_open.any():
        return []
    pieces = fragments(data, found)
    broken = np.flatnonzero(pieces > 1)
    if not len(broken):
        return []
    broken = broken[np.argsort(-pieces[broken], kind="stable")]
    rare = len(broken) < _EXCEPTION * is_open.sum()
    example = formula(data[int(broken[0])].numbers)
    words = (
        f"{counted(len(broken), 'open structure')} of {is_open.sum():,} ({share(len(broken), int(is_open.sum()))}) in "
        f"pieces farther apart than {LINK} times covalent radii, such as {named(data, broken[:1])} ({example}, "
        f"{pieces[broken[0]]} pieces)"
        + ("; the others are whole. Molecules that fell apart? Look at them." if rare else ".")
    )
    facts = {"structures": len(broken), "most_pieces": int(pieces.max())}
    return [Outcome("structures", "warning" if rare else "note", words, broken, facts)]


def _columns(data: Dataset, found: Distances) -> list[Outcome]:
    """A column of coordinates that was read twice, or zeros for positions."""
    size = np.repeat(data.n_atoms, data.n_atoms)
    is_open = np.repeat(~data.pbc.any(axis=1), data.n_atoms) & (size > 3)
    twice = np.zeros(len(data), dtype=bool)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        a, b = data.positions[:, one], data.positions[:, other]
        same = per_structure(np.logical_and, (a == b) & is_open, data)
        # Molecules along an axis have two columns of zeros: the columns must vary.
        twice |= same & (per_structure(np.maximum, a, data) > per_structure(np.minimum, a, data))
    structures = np.flatnonzero(twice)
    if not len(structures):
        return []
    if _flat(data, found, twice):
        words = (
            f"Two columns of coordinates are equal in {named(data, structures)}, as in a flat molecule that lies in a "
            "diagonal plane. Was one read twice?"
        )
        return [Outcome("structures", "warning", words, structures, {"structures": len(structures)})]
    words = f"Two columns of coordinates are equal in {named(data, structures)}: one was read twice. Read them again."
    return [Outcome("structures", "fault", words, structures, {"structures": len(structures)})]


def _flat(data: Dataset, found: Distances, twice: np.ndarray) -> bool:
    """Whether equal columns may be right: bonds are as long as bonds, and no structure of the composition differs."""
    rows = np.flatnonzero(np.repeat(twice, data.n_atoms))
    low, high = _BOND_RANGE
    bonds = (found.ratio[rows] > low) & (found.ratio[rows] < high)
    groups = composition_groups(data)
    return bool(bonds.all() and not np.isin(groups[~twice], groups[twice]).any())


CHECK = DataCheck(
    "structures",
    "Structures",
    "Whether atoms stand where they can: no clashes, no stray atoms, no molecules in pieces, no lost coordinate.",
    check_structures,
)
