"""Distances and surroundings beyond those of training."""

from __future__ import annotations

import math

import numpy as np
from ase.data import covalent_radii

from atomlens.coverage import Coverage, Excess
from atomlens.data.batch import Batch
from atomlens.data.system import symbol
from atomlens.simulate.guard.alarm import Finding, Kind
from atomlens.simulate.guard.config import GuardConfig

_MOST = 1e6  # more says no more, and infinity is no JSON


def strange_geometry(batch: Batch, excess: Excess, coverage: Coverage, config: GuardConfig) -> list[Finding]:
    """Per structure the worst pair too close, pair of elements never met, atom too far from all, and surroundings.

    Args:
        batch: structures with their pairs.
        excess: what ``coverage`` says of them.
        coverage: of the model.
        config: tolerances.
    """
    places = _Places(batch)
    return [
        *_too_close(places, excess, config),
        *_never_met(places, excess, coverage),
        *_isolated(places, excess, coverage, config),
        *_strange_surroundings(places, excess, config),
    ]


def covalent_overlap(batch: Batch, config: GuardConfig) -> list[Finding]:
    """Per structure the pair that is closest for its covalent radii (Cordero et al., Dalton Trans. 2008, 2832)."""
    places = _Places(batch)
    radii = covalent_radii[places.numbers]
    least = config.covalent_fraction * (radii[places.centre] + radii[places.neighbour])
    return [
        places.of_pair(
            pair,
            "distance",
            float(least[pair]),
            f"are {places.lengths[pair]:.3f} Å apart, closer than {config.covalent_fraction:g} of the sum of their "
            "covalent radii",
        )
        for pair in places.worst_pairs(least - places.lengths, 0.0)
    ]


def _too_close(places: _Places, excess: Excess, config: GuardConfig) -> list[Finding]:
    closer = np.where(np.isfinite(excess.closer), excess.closer, -np.inf)
    found = []
    for pair in places.worst_pairs(closer, config.distance_tolerance):
        length = float(places.lengths[pair])
        least = length + float(closer[pair])
        words = f"are {length:.3f} Å apart, closer than all such pairs in training ({least:.3f} Å)"
        found.append(places.of_pair(pair, "distance", least - config.distance_tolerance, words))
    return found


def _never_met(places: _Places, excess: Excess, coverage: Coverage) -> list[Finding]:
    strangers = np.where(np.isposinf(excess.closer), -places.lengths, -np.inf)
    found = []
    for pair in places.worst_pairs(strangers, -np.inf):
        length = float(places.lengths[pair])
        reach = f" within {coverage.cutoff:g} Å" if coverage.cutoff else ""
        words = f"are {length:.3f} Å apart, where training had no pair of these elements{reach}"
        found.append(places.of_pair(pair, "pair", coverage.cutoff or length, words))
    return found


def _isolated(places: _Places, excess: Excess, coverage: Coverage, config: GuardConfig) -> list[Finding]:
    found = []
    for atom in places.worst_atoms(excess.farther, config.distance_tolerance):
        most = coverage.nearest_of(int(places.numbers[atom]))
        away = most + float(excess.farther[atom])
        nearest = f"nearest neighbour {away:.3f} Å away" if math.isfinite(away) else "neighbours out of reach"
        words = f"has its {nearest}, farther than any such atom in training ({most:.3f} Å)"
        value = away if math.isfinite(away) else coverage.cutoff or _MOST
        found.append(places.of_atom(atom, "isolated", value, most + config.distance_tolerance, words))
    return found


def _strange_surroundings(places: _Places, excess: Excess, config: GuardConfig) -> list[Finding]:
    found = []
    for atom in places.worst_atoms(excess.surroundings, config.feature_tolerance):
        value = min(float(excess.surroundings[atom]), _MOST)
        words = f"has surroundings {value:.3g} times as far from those in training as the limit set by held-out data"
        found.append(places.of_atom(atom, "surroundings", value, config.feature_tolerance, words))
    return found


class _Places:
    """Where the atoms and pairs of a batch belong."""

    def __init__(self, batch: Batch) -> None:
        self.numbers, self.system = batch.numbers.cpu().numpy(), batch.system.cpu().numpy()
        self.centre, self.neighbour = batch.pairs.centre.cpu().numpy(), batch.pairs.neighbour.cpu().numpy()
        vectors = batch.pair_vectors().detach().cpu().numpy()
        self.lengths = np.sqrt(np.einsum("pa,pa->p", vectors, vectors))
        self._first = np.searchsorted(self.system, np.arange(batch.cell.shape[0]))

    def worst_pairs(self, values: np.ndarray, limit: float) -> list[int]:
        """The pair with the largest value in every structure that has one above the limit."""
        return self._worst(values, limit, self.centre)

    def worst_atoms(self, values: np.ndarray, limit: float) -> list[int]:
        """The atom with the largest value in every structure that has one above the limit."""
        return self._worst(values, limit, None)

    def _worst(self, values: np.ndarray, limit: float, atom: np.ndarray | None) -> list[int]:
        rows = np.flatnonzero(values > limit)
        if not len(rows):
            return []
        rows = rows[np.argsort(-values[rows], kind="stable")]
        structure = self.system[rows if atom is None else atom[rows]]
        return [int(row) for row in rows[np.unique(structure, return_index=True)[1]]]

    def of_pair(self, pair: int, kind: Kind, limit: float, words: str) -> Finding:
        """A finding about a pair; ``words`` follow its name."""
        ends = sorted((int(self.centre[pair]), int(self.neighbour[pair])))
        structure, (first, second) = self._within(*ends)
        name = f"{self._symbol(ends[0])} {first} and {self._symbol(ends[1])} {second}"
        if first == second:
            name = f"{self._symbol(ends[0])} {first} and its image"
        return Finding(structure, kind, (first, second), float(self.lengths[pair]), limit, f"{name} {words}")

    def of_atom(self, atom: int, kind: Kind, value: float, limit: float, words: str) -> Finding:
        """A finding about an atom; ``words`` follow its name."""
        structure, (place,) = self._within(atom)
        return Finding(structure, kind, (place,), value, limit, f"{self._symbol(atom)} {place} {words}")

    def _within(self, *atoms: int) -> tuple[int, tuple[int, ...]]:
        structure = int(self.system[atoms[0]])
        return structure, tuple(int(atom - self._first[structure]) for atom in atoms)

    def _symbol(self, atom: int) -> str:
        return symbol(int(self.numbers[atom]))
