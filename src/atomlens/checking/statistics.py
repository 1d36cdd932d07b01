"""Which elements and sizes a data set has, and how likely a random split leaves an element out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from atomlens.checking.composition import composition_groups
from atomlens.checking.outcome import DataCheck, Outcome
from atomlens.data.dataset import Dataset
from atomlens.data.system import formula, symbol
from atomlens.wording import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TRAINED_ON = 0.8  # share of structures of the random split that is spoken of
_LIKELY = 0.01  # from which on it is worth saying that a split leaves an element out
_NAMED = 8


def check_statistics(data: Dataset) -> list[Outcome]:
    """Elements, sizes, compositions; elements so rare that a random split may not train on them."""
    atoms, structures = element_counts(data)
    sizes = data.n_atoms
    groups = composition_groups(data)
    many = int(groups.max()) + 1
    most = int(np.bincount(groups).argmax())
    example = formula(data[int(np.flatnonzero(groups == most)[0])].numbers)
    facts: dict[str, Any] = {
        "structures": len(data),
        "atoms": len(data.numbers),
        "elements": {
            symbol(z): {"atoms": int(n), "structures": int(m)}
            for z, n, m in zip(data.elements, atoms, structures, strict=True)
        },
        "sizes": {"least": int(sizes.min()), "median": float(np.median(sizes)), "most": int(sizes.max())},
        "compositions": many,
    }
    shown = [
        f"{symbol(z)} {n:,}" for z, n in sorted(zip(data.elements, atoms, strict=True), key=lambda entry: -entry[1])
    ]
    listed = ", ".join(shown[:_NAMED]) + (f" and {len(shown) - _NAMED} more" if len(shown) > _NAMED else "")
    atoms_each = counted(int(sizes.max()), "atom")
    if sizes.min() < sizes.max():
        atoms_each = f"{sizes.min()} to {atoms_each} (median {np.median(sizes):.0f})"
    compositions = f"{counted(many, 'composition')} (most often {example}, {np.bincount(groups).max():,} times)"
    words = (
        f"{counted(len(data), 'structure')} of {atoms_each}, {compositions}; atoms of "
        f"{counted(len(data.elements), 'element')}: {listed}."
    )
    figures = {"elements": _elements(data, structures), "sizes": _sizes(sizes)}
    return [Outcome("statistics", "ok", words, facts=facts, figures=figures), *_rare(data, structures)]


def element_counts(data: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """(elements,) atoms of each element, and structures with it, in the order of `Dataset.elements`."""
    counts, _ = data.counts()
    return counts.sum(axis=0).astype(np.int64), (counts > 0).sum(axis=0)


def unseen(occurrences: int, structures: int, trained_on: int) -> float:
    """The probability that a random choice of structures holds none of those with an element (hypergeometric).

    Args:
        occurrences: structures with the element.
        structures: of the data set.
        trained_on: structures that are chosen.
    """
    left_out = structures - trained_on
    if occurrences > left_out:
        return 0.0
    steps = np.arange(occurrences)
    return float(np.exp(np.sum(np.log(left_out - steps) - np.log(structures - steps))))


def _rare(data: Dataset, structures: np.ndarray) -> list[Outcome]:
    trained_on = round(_TRAINED_ON * len(data))
    chance = np.array([unseen(int(count), len(data), trained_on) for count in structures])
    rare = np.flatnonzero(chance > _LIKELY / len(chance))
    if not len(rare) or len(data) < 5:
        return []
    rare = rare[np.argsort(structures[rare], kind="stable")]
    any_of_them = 1.0 - float(np.prod(1.0 - chance))
    if any_of_them < _LIKELY:
        return []
    names = [f"{symbol(data.elements[row])} ({structures[row]})" for row in rare[:_NAMED]]
    more = f" and {len(rare) - _NAMED} more" if len(rare) > _NAMED else ""
    concerned = np.flatnonzero(
        np.logical_or.reduceat(np.isin(data.numbers, np.array(data.elements)[rare]), data.offsets[:-1])
    )
    words = (
        f"Elements in few structures: {', '.join(names)}{more}. A random {100 * _TRAINED_ON:.0f} % of the structures "
        f"leaves one or more of them out with a probability of {100 * any_of_them:.2g} %: take them all into "
        "training, or leave them out."
    )
    facts = {
        "rare": {symbol(data.elements[row]): int(structures[row]) for row in rare},
        "unseen_probability": any_of_them,
    }
    return [Outcome("statistics", "note", words, concerned, facts)]


def _elements(data: Dataset, structures: np.ndarray) -> Callable[[], Figure]:
    def draw() -> Figure:
        from atomlens.figures.checking import element_counts as drawing

        return drawing([symbol(z) for z in data.elements], structures)

    return draw


def _sizes(sizes: np.ndarray) -> Callable[[], Figure]:
    def draw() -> Figure:
        from atomlens.figures.checking import sizes as drawing

        return drawing(sizes)

    return draw


CHECK = DataCheck(
    "statistics",
    "Elements and sizes",
    "Which elements, sizes and compositions there are, and which are too rare for a random split.",
    check_statistics,
)
