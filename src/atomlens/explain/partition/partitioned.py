"""How two partitions of the same totals differ, in parts; and what of their variance they share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# A direction of a structure's arms below this share of its longest (squared, as in AᵀA) is rounding: the third one of a
# molecule that is planar to 1e-6 Å.
_FLAT = 1e-13
# Compositions are whole numbers: their exact null space lies far below this share of the largest singular value.
_RANK = 1e-9


@dataclass(frozen=True)
class Difference:
    """A difference between two models' atom terms in three parts at right angles, as root mean squares over atoms.

    ``whole``² = ``totals``² + ``elements``² + ``shares``².
    """

    whole: float
    totals: float  # the part that changes what labels know: totals of structures
    elements: float  # constants per element, as far as they change no total
    shares: float  # the rest: between atoms of one structure, beyond constants per element
    leak: float  # by how much totals would change per atom if those constants stood alone; 0 in an exact null space

    def to_dict(self) -> dict[str, float]:
        """All five, for JSON."""
        return dict(vars(self))


@dataclass(frozen=True)
class Partitioned:
    """Atoms of a data set with what fixes their terms: totals per structure, and elements."""

    numbers: np.ndarray  # (atoms,) atomic numbers
    offsets: np.ndarray  # (structures + 1,) where each structure starts
    arms: np.ndarray  # (atoms, k): the totals of a structure are Σ_i arms_ik t_i; ones for a sum or a mean

    @property
    def elements(self) -> np.ndarray:
        """Atomic numbers that occur, rising."""
        return np.unique(self.numbers)

    @property
    def indicators(self) -> np.ndarray:
        """(atoms, elements): one where an atom is of an element, else zero."""
        return (self.numbers[:, None] == self.elements).astype(float)

    def in_totals(self, values: np.ndarray) -> np.ndarray:
        """The part of values (atoms, columns) that totals can see: the projection on each structure's arms."""
        owner = np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))
        starts = self.offsets[:-1]
        gram = np.add.reduceat(self.arms[:, :, None] * self.arms[:, None, :], starts)
        sums = np.add.reduceat(self.arms[:, :, None] * values[:, None, :], starts)
        coefficients = np.linalg.pinv(gram, rcond=_FLAT, hermitian=True) @ sums
        return np.einsum("ak,akc->ac", self.arms, coefficients[owner])

    def within_elements(self, values: np.ndarray) -> np.ndarray:
        """Values (models, atoms) less the mean of each element, model by model."""
        means = values @ self.indicators / self.indicators.sum(axis=0)
        return np.asarray(values - means[:, np.searchsorted(self.elements, self.numbers)])

    def free_constants(self) -> int:
        """How many independent constants per element change no total of this data set."""
        singular = np.linalg.svd(self.in_totals(self.indicators), compute_uv=False)
        return int((singular < _RANK * singular[0]).sum())

    def constants(self, values: np.ndarray) -> np.ndarray:
        """Constants per element (elements, columns) nearest to the part of values (atoms, columns) outside totals.

        Where several are as near (all elements alike, for sums), those that change the totals least.
        """
        seen = self.in_totals(self.indicators)
        unseen = self.indicators - seen
        found, _, rank, _ = np.linalg.lstsq(unseen, values - self.in_totals(values), rcond=_RANK)
        free = np.linalg.svd(unseen, full_matrices=False)[2][rank:].T
        return np.asarray(found - free @ np.linalg.lstsq(seen @ free, seen @ found, rcond=_RANK)[0])

    def shares(self, values: np.ndarray) -> np.ndarray:
        """What totals and constants per element leave of values (atoms, columns)."""
        constant = self.indicators @ self.constants(values)
        return np.asarray(values - self.in_totals(values) - constant + self.in_totals(constant))

    def difference(self, first: np.ndarray, second: np.ndarray) -> Difference:
        """``second`` - ``first``, each (atoms,), in parts."""
        change = (second - first)[:, None]
        constant = self.indicators @ self.constants(change)
        seen, leak = self.in_totals(change), self.in_totals(constant)
        parts = change, seen, constant - leak, change - seen - constant + leak, leak
        return Difference(*(float(np.sqrt(np.square(part).mean())) for part in parts))


def shared_variance(values: np.ndarray) -> float:
    """The share of variance that models have in common, for values (models, atoms) of mean zero.

    Mean covariance of two models over the mean variance of one: the intraclass correlation ICC(3,1) of Shrout and
    Fleiss (1979), and for two models of equal spread their correlation. NaN where nothing varies.
    """
    covariance = values @ values.T / values.shape[1]
    own = float(np.trace(covariance)) / len(values)
    if own <= 0.0:
        return float("nan")
    return float(covariance.sum() - np.trace(covariance)) / (len(values) * (len(values) - 1)) / own
