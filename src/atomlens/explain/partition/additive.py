"""Atom terms beside an additive model of groups: a constant for every element with given bonded neighbours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from atomlens.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Counts are whole numbers: exact relations between them lie far below this share of the largest singular value.
_RANK = 1e-9
FEWEST_STRUCTURES = 50
# Structures of the half that is fitted to in which an environment must occur for its constant to be trusted.
FEWEST_OCCURRENCES = 3


@dataclass(frozen=True)
class GroupErrors:
    """Errors on structures that took no part in the fit, mean absolute, in the unit of the totals."""

    groups: float  # of the constants per environment
    elements: float  # of constants per element, fitted to the same structures
    fitted: int  # structures
    tested: int


@dataclass(frozen=True)
class GroupModel:
    """Additive constants of environments, and how a partition over atoms compares with them.

    The constants are not unique. Every bond between two elements is counted from both ends, and some environments
    never come apart (a nitrile's carbon and nitrogen): as many combinations of constants (``free``) change no total of
    any of these molecules. Two of the best fits are given. The narrowest varies least within elements, weighted by
    atoms: what a model would choose that keeps "the deviation of the interaction energies within atom types to a
    minimum" (insights paper 3.1). The nearest is as near to the atom terms as totals allow: where these differ from
    it, they are not additive in the environments, whatever is chosen for the free part.
    """

    environments: tuple[str, ...]  # such as C(CH3): an element and its bonded neighbours
    elements: tuple[str, ...]  # symbol of each environment's own element
    counts: np.ndarray  # (environments,) atoms in the structures kept
    constants: np.ndarray  # (environments,) the narrowest best fit, in the unit of the totals
    nearest: np.ndarray  # (environments,) the best fit nearest to the terms
    terms: np.ndarray  # (environments,) mean of the atom terms
    spreads: np.ndarray  # (environments,) their standard deviation within the environment
    rank: int  # independent combinations of constants that totals fix
    errors: GroupErrors
    kept: np.ndarray  # (structures,) bool: those without environments that are too rare to be fitted
    explained: Mapping[str, float]  # element to the share of its terms' variance that lies between environments

    @property
    def free(self) -> int:
        """Independent combinations of constants that change no total."""
        return len(self.environments) - self.rank

    def correlations(self, nearest: bool = False) -> dict[str, float]:
        """Within each element, over atoms, of mean terms with the narrowest or the nearest constants.

        NaN for fewer than three environments.
        """
        constants, symbols = self.nearest if nearest else self.constants, np.array(self.elements)
        return {
            str(name): _correlation(self.terms[own], constants[own], self.counts[own])
            for name in np.unique(symbols)
            for own in [symbols == name]
        }

    def difference(self, nearest: bool = False) -> float:
        """Mean terms less constants, root mean square over atoms."""
        away = self.terms - (self.nearest if nearest else self.constants)
        return float(np.sqrt(np.average(np.square(away), weights=self.counts)))

    def to_dict(self) -> dict[str, Any]:
        """All numbers, for JSON; what is not defined is None."""
        columns = zip(
            self.environments, self.counts, self.constants, self.nearest, self.terms, self.spreads, strict=True
        )
        keys = "narrowest", "nearest", "term_mean", "term_spread"
        return {
            "errors": dict(vars(self.errors)),
            "environments": [
                {"name": name, "atoms": int(count), **dict(zip(keys, map(float, each), strict=True))}
                for name, count, *each in columns
            ],
            "rank": self.rank,
            "free": self.free,
            "structures_kept": int(self.kept.sum()),
            "structures_left_out": int((~self.kept).sum()),
            "correlations": {name: _known(value) for name, value in self.correlations().items()},
            "correlations_nearest": {name: _known(value) for name, value in self.correlations(True).items()},
            "difference": self.difference(),
            "difference_nearest": self.difference(True),
            "explained": {name: _known(value) for name, value in self.explained.items()},
        }

    def plot(self, words: str = "energy contribution", unit: str = "eV") -> Figure:
        """Mean term of every environment over its constant, narrowest and nearest.

        Args:
            words: what the terms are.
            unit: of terms and constants; energies are shown in kcal/mol.
        """
        from atomlens.figures.groups import group_scatter

        constants = {"narrowest within elements": self.constants, "nearest to the network": self.nearest}
        return group_scatter(self.elements, constants, self.terms, self.counts, words, unit)


def additive_groups(
    environments: np.ndarray, offsets: np.ndarray, totals: np.ndarray, terms: np.ndarray, *, seed: int = 0
) -> GroupModel:
    """Fit totals by a constant for every environment, E = Σ_i g[environment of i], and compare with atom terms.

    Errors come from a fit to one half of the structures, chosen at random, and the other half; the constants from a
    fit to all. Structures with an environment that is rare in the first half are left out of both.

    Args:
        environments: (atoms,) of strings that start with the element, see `bonds.data_environments`.
        offsets: (structures + 1,) where each structure starts.
        totals: (structures,) relative to the baseline of ``terms``.
        terms: (atoms,) of a network, to compare with.
        seed: of the halves.

    Raises:
        InputError: there are too few structures, or their compositions are too much alike.
    """
    if len(totals) < FEWEST_STRUCTURES:
        raise InputError(
            f"{len(totals)} structures are too few to fit a constant for every kind of atom; give {FEWEST_STRUCTURES} "
            "or more of different composition"
        )
    names, column = np.unique(environments, return_inverse=True)
    owner = np.repeat(np.arange(len(totals)), np.diff(offsets))
    table = np.zeros((len(totals), len(names)))
    np.add.at(table, (owner, column), 1.0)
    halves = np.random.default_rng(seed).permutation(len(totals)) < len(totals) // 2
    kept, used = _kept(table, halves)
    _check_varied(table[kept], len(totals))
    table, names, place = table[:, used], names[used], (np.cumsum(used) - 1)[column[kept[owner]]]
    symbols = np.array([str(name).partition("(")[0] for name in names])
    alike = (symbols[:, None] == np.unique(symbols)).astype(float)  # (environments, elements)
    constants, free = _narrowest(table[kept], totals[kept], alike)
    values, counts = terms[kept[owner]], np.bincount(place)
    means = np.bincount(place, values) / counts
    squares = np.bincount(place, np.square(values - means[place]))
    root = np.sqrt(counts)
    away = np.linalg.lstsq(root[:, None] * free, root * (means - constants), rcond=_RANK)[0]
    return GroupModel(
        environments=tuple(map(str, names)),
        elements=tuple(map(str, symbols)),
        counts=counts,
        constants=constants,
        nearest=constants + free @ away,
        terms=means,
        spreads=np.sqrt(squares / counts),
        rank=len(names) - free.shape[1],
        errors=_errors(table, totals, alike, kept & halves, kept & ~halves),
        kept=kept,
        explained={
            str(name): _explained(values[own[place]], float(squares[own].sum()))
            for name in np.unique(symbols)
            for own in [symbols == name]
        },
    )


def _kept(table: np.ndarray, halves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Structures (bool) and environments (bool) that are left when rare ones are taken out, until none is rare."""
    kept = np.ones(len(table), dtype=bool)
    while True:
        used = np.asarray((table[kept] > 0).any(axis=0))
        rare = ((table[kept & halves] > 0).sum(axis=0) < FEWEST_OCCURRENCES) & used
        if not rare.any():
            return kept, used
        kept &= ~(table[:, rare] > 0).any(axis=1)


def _check_varied(table: np.ndarray, structures: int) -> None:
    if len(table) < FEWEST_STRUCTURES // 2:
        raise InputError(
            f"only {len(table)} of {structures} structures have kinds of atoms that recur in others, too few to fit "
            "constants for; give more of them"
        )
    different = len(np.unique(table, axis=0))
    if different < FEWEST_STRUCTURES // 5:
        raise InputError(
            f"the structures hold only {different} different sets of bonded atoms, which cannot tell what each adds; "
            "give molecules of different composition"
        )


def _narrowest(table: np.ndarray, totals: np.ndarray, alike: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The best fit whose constants vary least within elements, and (environments, free) what changes no total."""
    found, _, rank, _ = np.linalg.lstsq(table, totals, rcond=_RANK)
    triangle = np.linalg.qr(table, mode="r")  # the same null space in few rows
    free = np.linalg.svd(triangle, full_matrices=True)[2][rank:].T
    weight = table.sum(axis=0)
    means = alike @ ((alike * weight[:, None]).T / (alike.T @ weight)[:, None])  # (environments, environments)
    inner = np.sqrt(weight)[:, None] * (np.eye(len(weight)) - means)
    return found - free @ np.linalg.lstsq(inner @ free, inner @ found, rcond=_RANK)[0], free


def _errors(
    table: np.ndarray, totals: np.ndarray, alike: np.ndarray, fitted: np.ndarray, tested: np.ndarray
) -> GroupErrors:
    """Held-out errors of constants per environment and per element."""
    off = []
    for counts in (table, table @ alike):
        constants = np.linalg.lstsq(counts[fitted], totals[fitted], rcond=_RANK)[0]
        off.append(float(np.abs(counts[tested] @ constants - totals[tested]).mean()))
    return GroupErrors(off[0], off[1], int(fitted.sum()), int(tested.sum()))


def _correlation(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> float:
    """Pearson's coefficient with weights; NaN for fewer than three points or where one of the two is constant."""
    if len(x) < 3:
        return float("nan")
    x, y = x - np.average(x, weights=weight), y - np.average(y, weights=weight)
    size = float(np.sqrt((weight @ x**2) * (weight @ y**2)))
    return float(weight @ (x * y)) / size if size > 0.0 else float("nan")


def _explained(values: np.ndarray, inside: float) -> float:
    """Share of the variance of one element's terms that is not inside its environments (a sum of squares)."""
    whole = float(values.var()) * len(values)
    return round(1.0 - inside / whole, 12) if whole > 0.0 else float("nan")


def _known(value: float) -> float | None:
    """For JSON: None where a number is not defined."""
    return float(value) if np.isfinite(value) else None
