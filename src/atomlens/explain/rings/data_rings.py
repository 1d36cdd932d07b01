"""Rings of the data set behind a report, found once and kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from atomlens.errors import InputError
from atomlens.explain.baseline import energy_baseline
from atomlens.explain.rings.ring_perception import Ring
from atomlens.explain.rings.rings import RingEnergies, perceive, summed
from atomlens.explain.subject import NamedModel, Subject

MOLECULES = 10_000  # in which rings are looked for: a few seconds


@dataclass(frozen=True)
class DataRings:
    """Rings of the data set's molecules, or of some spread evenly over it."""

    rings: tuple[Ring, ...]
    structures: np.ndarray  # (rings,) structure of the data set that each belongs to
    looked: int  # molecules in which rings were looked for
    of: int  # molecules that there are


def data_rings(subject: Subject) -> DataRings:
    """The rings of the data set, found once.

    Raises:
        InputError: RDKit is not installed, or every structure is periodic.
    """
    return subject.kept("rings", lambda: _find(subject))


def data_ring_energies(subject: Subject, entry: NamedModel) -> RingEnergies:
    """Energies of the data set's rings by one model, computed once.

    Raises:
        InputError: the model predicts no energies or cannot serve the data; or see `data_rings`.
    """
    return subject.kept(("ring energies", entry.name), lambda: _energies(subject, entry))


def _energies(subject: Subject, entry: NamedModel) -> RingEnergies:
    found = data_rings(subject)
    baseline, chosen = energy_baseline(entry.model, None)
    terms = subject.predicted(entry)["atom_energies"] - baseline[subject.data.numbers]
    return summed(terms, subject.data.offsets[:-1], found.structures, found.rings, chosen)


def _find(subject: Subject) -> DataRings:
    data = subject.data
    open_ones = np.flatnonzero(~data.pbc.any(axis=1))
    if not len(open_ones):
        raise InputError("rings are not looked for under periodic boundaries; give data with molecules")
    chosen = open_ones[np.unique(np.linspace(0, len(open_ones) - 1, MOLECULES).astype(np.int64))]
    places, rings = perceive([data[int(row)] for row in chosen], title="rings", among=chosen)
    return DataRings(rings, places, len(chosen), len(open_ones))


def serving(subject: Subject) -> list[tuple[NamedModel, RingEnergies]]:
    """Every model with the energies of the data set's rings: the first that predicts energies, others as they can.

    Raises:
        InputError: no model predicts energies, or the first one cannot serve the data.
    """
    entries = subject.serving("energy")
    found = [(entries[0], data_ring_energies(subject, entries[0]))]
    for entry in entries[1:]:
        try:
            found.append((entry, data_ring_energies(subject, entry)))
        except InputError:  # trained on other elements; it says nothing about stability here
            continue
    return found
