"""Units of positions by plausibility: bond lengths against covalent radii, of the set and of single structures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase import units as ase_units

from atomlens.checking.distances import distances, median_per_structure
from atomlens.checking.distorted import excused
from atomlens.checking.outcome import DataCheck, Outcome, Status
from atomlens.checking.places import named
from atomlens.data.dataset import Dataset
from atomlens.data.system import MAX_ATOMIC_NUMBER
from atomlens.wording import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The median over a structure's atoms of the nearest distance over the sum of covalent radii is 0.9 to 1.02 for whole
# sets. Over what is usual for each element in the set it is 0.67 to 1.35 for each of 33,732 crystals, 0.78 to 1.25 for
# molecules, hot metals and protonated water.
SHORT, LONG = 0.65, 1.45
_SET_SHORT, _SET_LONG = 0.7, 1.4
_ENOUGH = 100  # atoms of an element, of which it is known what is usual
_BAND = 1.32  # how far the median of one structure may be from 1 after the right unit is put in
_GAP = 1.12  # between neighbouring ratios, where structures are pulled apart step by step
_MOST_OF_THEM = 0.8  # share of the structures that a mistake of the whole set explains
_FEWEST_ATOMS = 3  # two atoms may be pulled apart on purpose
_NOBLE = np.array([2, 10, 18, 36, 54, 86])


@dataclass(frozen=True)
class Mistake:
    """A wrong unit and what it does to numbers."""

    factor: float  # by which the numbers are too large
    looks: str


MISTAKES = (
    Mistake(1.0 / ase_units.Bohr, "these look like Bohr read as Å"),
    Mistake(ase_units.Bohr, "these look like Å that were converted as if they had been Bohr"),
    Mistake(ase_units.Bohr**2, "these look like Å that were converted twice as if they had been Bohr"),
    Mistake(ase_units.Bohr**-2, "these look like Bohr, converted from Å twice"),
    Mistake(0.1, "these look like nm read as Å"),
    Mistake(10.0, "these look like Å read as nm"),
    Mistake(100.0, "these look like pm read as Å"),
)


def length_ratios(data: Dataset, usual: bool = False) -> np.ndarray:
    """(structures,) median over atoms of the nearest distance over the sum of covalent radii (a usual bond: 1).

    NaN where nothing can be said: single atoms, noble gases, structures that were not looked at.

    Args:
        data: the structures.
        usual: divide the ratio of each atom by the median over all atoms of its element.
    """
    ratio = distances(data).ratio.copy()
    known = np.isfinite(ratio) & ~np.isin(data.numbers, _NOBLE)
    if usual:
        ratio /= _usual(ratio, np.where(known, data.numbers, 0))[data.numbers]
    sizes = np.add.reduceat(known, data.offsets[:-1])
    values = np.full(len(data), np.nan)
    some = sizes > 0
    if some.any():
        values[some] = median_per_structure(ratio[known], np.concatenate([[0], np.cumsum(sizes[some])]))
    return values


def _usual(ratio: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """(119,) the median ratio of each element; 1 where there are few atoms of it."""
    found = np.ones(MAX_ATOMIC_NUMBER + 1)
    order = np.argsort(numbers, kind="stable")
    elements, starts = np.unique(numbers[order], return_index=True)
    for element, values in zip(elements, np.split(ratio[order], starts[1:]), strict=True):
        if element and len(values) >= _ENOUGH:
            found[element] = np.median(values)
    return found


def mistake_of(ratio: float, band: float = _BAND) -> Mistake | None:
    """The wrong unit that explains a ratio; None where none does."""
    known = [(abs(np.log(ratio / mistake.factor)), mistake) for mistake in MISTAKES]
    off, best = min(known, key=lambda entry: entry[0])
    return best if off < np.log(band) else None


def check_lengths(data: Dataset) -> list[Outcome]:
    """Whether bonds are as long as bonds are, in the whole set and in each structure."""
    values = length_ratios(data)
    known = np.isfinite(values)
    if not known.any():
        words = "No two atoms are near enough to tell the unit of length (single atoms or noble gases)."
        return [Outcome("lengths", "skipped", words)]
    typical = float(np.median(values[known]))
    facts = {"median_ratio": typical, "structures": int(known.sum())}
    figures = {"length_ratios": _drawing(values[known])}
    if not _SET_SHORT < typical < _SET_LONG:
        return [_whole_set(data, values, typical, facts, figures)]
    relative = length_ratios(data, usual=True)
    strange = np.flatnonzero(known & ((relative < SHORT) | (relative > LONG)))
    words = f"Nearest atoms are {typical:.2f} times the sum of their covalent radii apart (median), as in Å."
    sound = Outcome("lengths", "ok", words, facts=facts, figures=figures)
    if not len(strange):
        return [sound]
    return [sound, *_single(data, relative, strange)]


def _whole_set(
    data: Dataset, values: np.ndarray, typical: float, facts: dict[str, float], figures: dict[str, Callable[[], Figure]]
) -> Outcome:
    mistake = mistake_of(typical)
    guess = f": {mistake.looks}" if mistake else ""
    # Few structures of two atoms may be pulled apart, or be bonded as weakly as alkali atoms are.
    small = float(np.median(data.n_atoms[np.isfinite(values)])) < _FEWEST_ATOMS
    words = (
        f"Nearest atoms are {typical:.2f} times the sum of their covalent radii apart (median over "
        f"{counted(int(np.isfinite(values).sum()), 'structure')}){guess}. Name the unit of the positions and read them "
        "again."
    )
    far = np.argsort(-np.abs(np.log(np.where(np.isfinite(values), values, 1.0))), kind="stable")
    status: Status = "fault" if mistake and not small and _shared(data, values, mistake) else "warning"
    facts = {**facts, **({"factor": mistake.factor} if mistake else {})}
    return Outcome("lengths", status, words, far[: int(np.isfinite(values).sum())], facts, figures)


def _shared(data: Dataset, values: np.ndarray, mistake: Mistake) -> bool:
    """Whether nearly all structures share the mistake; chains of hydrogen are pulled apart on purpose."""
    known = np.isfinite(values)
    right = values[known] / mistake.factor
    return bool(((right > SHORT) & (right < LONG)).mean() > _MOST_OF_THEM and (data.numbers != 1).any())


def _single(data: Dataset, values: np.ndarray, strange: np.ndarray) -> list[Outcome]:
    """Structures whose lengths are unlike all others', one outcome per mistake that explains them."""
    groups: dict[str, list[int]] = {}
    on_purpose = excused(data)
    for index in strange:
        mistake = mistake_of(float(values[index]))
        groups.setdefault(mistake.looks if mistake else "", []).append(int(index))
    outcomes = []
    for looks, members in groups.items():
        rows = np.array(members)
        rows = rows[np.argsort(-np.abs(np.log(values[rows])), kind="stable")]
        sure = (
            bool(looks)
            and ((data.n_atoms[rows] >= _FEWEST_ATOMS) & ~on_purpose[rows]).any()
            and not _bridged(values, rows)
        )
        words = (
            f"Nearest atoms of {named(data, rows)} are {values[rows[0]]:.2f} times as far apart as is usual for their "
            f"elements in this set{f': {looks}' if looks else ''}. "
            + ("Convert or remove them." if sure else "Look at them before training.")
        )
        status: Status = "fault" if sure else "warning"
        outcomes.append(
            Outcome("lengths", status, words, rows, {"structures": len(rows), "ratio": float(values[rows[0]])})
        )
    return outcomes


def _bridged(values: np.ndarray, rows: np.ndarray) -> bool:
    """Whether structures lead from usual lengths to these without a gap: then something is being pulled apart."""
    nearest = values[rows][np.argmin(np.abs(np.log(values[rows])))]
    low, high = sorted((1.0, float(nearest)))
    between = np.sort(values[(values >= low) & (values <= high)])
    return bool(np.diff(np.log(np.concatenate([[low], between, [high]]))).max() < np.log(_GAP))


def _drawing(values: np.ndarray) -> Callable[[], Figure]:
    def draw() -> Figure:
        from atomlens.figures.checking import length_ratios as drawing

        return drawing(values)

    return draw


CHECK = DataCheck(
    "lengths",
    "Unit of length",
    "Whether nearest atoms are as far apart as covalent radii say (Cordero et al. 2008), or farther, as in Bohr.",
    check_lengths,
)
