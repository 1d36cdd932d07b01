"""Cells and total charges: periodicity that was lost, lattice vectors that cannot be, electrons that do not pair."""

from __future__ import annotations

import numpy as np
from ase.data import covalent_radii

from atomlens.checking.composition import composition_groups
from atomlens.checking.distances import distances, median_per_structure, per_structure, sound_structures
from atomlens.checking.outcome import DataCheck, Outcome, Status
from atomlens.checking.places import named, share
from atomlens.data.dataset import Dataset
from atomlens.data.system import formula
from atomlens.wording import counted

# Share of a cell that spheres of covalent radii fill: of 33,733 crystals 0.04 (hydrogen fluoride) to 1.58 (uranium),
# and 0.006 of helium.
_FULL, _OVERFULL, _EMPTY = 0.1, 1.7, 0.02
_SURFACE = 0.02  # eV per atom above the highest crystal; clusters of hundreds of atoms have 0.3 and more
_MOST_CLUSTERS = 1_000
_SHORTEST = 1.2  # Å, of a lattice vector; the shortest of the crystals is 1.78 Å
_CLASH = 0.55  # of covalent radii: no bond is shorter
_NEAR = 0.5  # of covalent radii: atoms nearer than bonds
_TRANSITION = np.concatenate([np.arange(21, 31), np.arange(39, 49), np.arange(57, 81), np.arange(89, 113)])


def check_cells(data: Dataset) -> list[Outcome]:
    """What is wrong with cells and periodic flags; nothing for sets of open molecules without cells."""
    has_cell = np.any(data.cell != 0, axis=(1, 2))
    periodic = np.asarray(data.pbc.any(axis=1))
    if not has_cell.any() and not periodic.any():
        return []
    filled = _filling(data)
    problems = [
        *_not_periodic(data, has_cell & ~periodic, filled),
        *_mixed(data, periodic),
        *_fractional(data, periodic),
        *_sizes(data, filled),
    ]
    if problems:
        return problems
    volume = np.abs(np.linalg.det(data.cell))[data.pbc.all(axis=1)] / data.n_atoms[data.pbc.all(axis=1)]
    words = f"{counted(int(periodic.sum()), 'periodic structure')} of {len(data):,}"
    if len(volume):
        words += f", {np.median(volume):.3g} Å³ per atom (median; {volume.min():.3g} to {volume.max():.3g})"
    return [Outcome("cells", "ok", f"{words}.", facts={"periodic": int(periodic.sum())})]


def _filling(data: Dataset) -> np.ndarray:
    """(structures,) share of the cell that spheres of covalent radii fill; NaN without a cell in three directions."""
    volume = np.abs(np.linalg.det(np.nan_to_num(data.cell)))
    known = np.where((data.numbers > 0) & (data.numbers < len(covalent_radii)), data.numbers, 0)
    spheres = np.add.reduceat(4 / 3 * np.pi * covalent_radii[known] ** 3, data.offsets[:-1])
    return np.where(volume > 1e-6, spheres / np.where(volume > 1e-6, volume, 1.0), np.nan)


def _not_periodic(data: Dataset, unused: np.ndarray, filled: np.ndarray) -> list[Outcome]:
    rows = np.flatnonzero(unused & (filled > _FULL))
    if not len(rows):
        return []
    words = (
        f"{named(data, rows)} {'has a cell' if len(rows) == 1 else 'have cells'} that atoms fill, and no periodic "
        "direction: bonds across the boundary are missing. Were the periodic flags lost?"
    )
    return [Outcome("cells", "warning", words[0].upper() + words[1:], rows, {"structures": len(rows)})]


def _mixed(data: Dataset, periodic: np.ndarray) -> list[Outcome]:
    """Structures without a cell whose composition otherwise comes in cells."""
    if periodic.all() or not periodic.any():
        return []
    sizes = composition_groups(data, periodicity=False)
    times = np.bincount(sizes)
    of_cells = np.bincount(sizes, weights=periodic)
    rows = np.flatnonzero(~periodic & (data.n_atoms > 1) & (of_cells[sizes] > 0.5 * times[sizes]))
    if not len(rows):
        words = (
            f"{counted(int(periodic.sum()), 'periodic structure')} and {counted(int((~periodic).sum()), 'open one')} "
            "of other compositions."
        )
        return [Outcome("cells", "note", words, facts={"periodic": int(periodic.sum())})]
    words = (
        f"{counted(len(rows), 'structure')} without a periodic cell among others of the same composition with one: "
        f"{named(data, rows)} ({formula(data[int(rows[0])].numbers)}). Give the cell, or remove them."
    )
    status: Status = "fault" if _bound_as_crystals(data, rows, periodic, sizes).any() else "warning"
    return [Outcome("cells", status, words, rows, {"structures": len(rows)})]


def _bound_as_crystals(data: Dataset, rows: np.ndarray, periodic: np.ndarray, group: np.ndarray) -> np.ndarray:
    """(rows,) bool: the energy is that of the periodic structures of the composition, or not known.

    Clusters have a surface, and a higher energy.
    """
    energy = np.asarray(data.labels.get("energy", data.labels.get("formation_energy", np.full(len(data), np.nan))))
    per_atom = energy / data.n_atoms if "energy" in data.labels else energy
    found = np.ones(len(rows), dtype=bool)
    for place, row in enumerate(rows[:_MOST_CLUSTERS]):
        alike = per_atom[periodic & (group == group[row])]
        alike = alike[np.isfinite(alike)]
        if len(alike) and np.isfinite(per_atom[row]):
            found[place] = per_atom[row] < alike.max() + _SURFACE
    return found


def _fractional(data: Dataset, periodic: np.ndarray) -> list[Outcome]:
    """Positions that are shares of lattice vectors."""
    low = np.minimum.reduceat(data.positions, data.offsets[:-1]).min(axis=1)
    high = np.maximum.reduceat(data.positions, data.offsets[:-1]).max(axis=1)
    large = np.linalg.norm(data.cell, axis=2).max(axis=1) > 3.0
    candidates = periodic & (low > -1.0) & (high < 1.001) & large & (data.n_atoms > 2)
    if not candidates.any():
        return []
    near = median_per_structure(np.nan_to_num(distances(data).ratio, nan=np.inf), data.offsets) < _NEAR
    rows = np.flatnonzero(candidates & near)
    if not len(rows):
        return []
    words = (
        f"All coordinates of {named(data, rows)} lie between -1 and 1 and atoms on top of each other: these look like "
        "fractional coordinates read as Å. Multiply them by the lattice vectors."
    )
    return [Outcome("cells", "fault", words, rows, {"structures": len(rows)})]


def _sizes(data: Dataset, filled: np.ndarray) -> list[Outcome]:
    lengths = np.where(data.pbc, np.linalg.norm(data.cell, axis=2), np.inf).min(axis=1)
    bulk = data.pbc.all(axis=1)
    noble = np.logical_and.reduceat(np.isin(data.numbers, [2, 10, 18, 36, 54, 86]), data.offsets[:-1])
    outcomes = []
    short, full = lengths < _SHORTEST, bulk & (filled > _OVERFULL)
    rows = np.flatnonzero(short | full)
    if len(rows):
        volume = float(np.abs(np.linalg.det(data.cell[rows[0]]))) / int(data.n_atoms[rows[0]])
        words = (
            f"Cells too small for their atoms in {named(data, rows)}: shortest lattice vector "
            f"{lengths[rows[0]]:.2f} Å, {volume:.3g} Å³ per atom. Is the unit of the cell right?"
        )
        # Metals under pressure and chains of hydrogen have small cells, too; in a wrong unit atoms meet their images.
        nearest = per_structure(np.fmin, distances(data).ratio, data)[rows]
        status: Status = "fault" if (nearest < _CLASH).any() else "warning"
        outcomes.append(Outcome("cells", status, words, rows, {"structures": len(rows)}))
    rows = np.flatnonzero(bulk & (filled < _EMPTY) & ~noble)
    if len(rows):
        rows = rows[np.argsort(filled[rows], kind="stable")]
        words = (
            f"Cells that are mostly empty in {named(data, rows)} (molecules in a box, or a wrong unit of the cell): "
            f"atoms fill {100 * filled[rows[0]]:.2g} %."
        )
        outcomes.append(Outcome("cells", "note", words, rows, {"structures": len(rows)}))
    return outcomes


def check_charges(data: Dataset) -> list[Outcome]:
    """Total charges that cannot be, and numbers of electrons that say that a charge was left out."""
    sound = sound_structures(data)
    outcomes = []
    nuclei = np.add.reduceat(data.numbers, data.offsets[:-1])
    wild = np.flatnonzero((np.abs(data.charge - np.round(data.charge)) > 1e-6) | (data.charge > nuclei))
    if len(wild):
        why = "more than its nuclei have" if data.charge[wild[0]] > nuclei[wild[0]] else "no whole number"
        words = f"The total charge of {named(data, wild)} is {data.charge[wild[0]]:g} e, {why}. Correct it."
        outcomes.append(Outcome("charges", "fault", words, wild, {"structures": len(wild)}))
    simple = ~data.pbc.any(axis=1) & sound & (data.n_atoms > 2)
    simple &= ~np.logical_or.reduceat(np.isin(data.numbers, _TRANSITION), data.offsets[:-1])
    odd = np.flatnonzero(simple & (np.round(nuclei - data.charge).astype(np.int64) % 2 == 1))
    if len(odd):
        words = (
            f"{len(odd):,} of {counted(int(simple.sum()), 'molecule')} ({share(len(odd), int(simple.sum()))}) have an "
            f"odd number of electrons at the charge that is stated, such as {named(data, odd[:1])} "
            f"({formula(data[int(odd[0])].numbers)}, {data.charge[odd[0]]:+g} e): radicals, or was a charge left out?"
        )
        outcomes.append(Outcome("charges", "warning", words, odd, {"structures": len(odd)}))
    if outcomes:
        return outcomes
    found, times = np.unique(data.charge, return_counts=True)
    if len(found) == 1 and found[0] == 0:
        words = f"All structures are neutral{', and the electrons of molecules pair' if simple.any() else ''}."
        return [Outcome("charges", "ok", words, facts={"charges": {"+0": len(data)}})]
    charges = {f"{value:+g}": int(count) for value, count in zip(found, times, strict=True)}
    words = "Total charges: " + ", ".join(f"{key} e in {count:,}" for key, count in list(charges.items())[:8]) + "."
    return [Outcome("charges", "ok", words, facts={"charges": charges})]


CELLS = DataCheck(
    "cells",
    "Cells",
    "Whether cells are as large as their atoms need, and no structure lost its cell or its periodic flags.",
    check_cells,
)
CHARGES = DataCheck(
    "charges",
    "Total charges",
    "Whether total charges can be, and molecules have an even number of electrons with them.",
    check_charges,
)
