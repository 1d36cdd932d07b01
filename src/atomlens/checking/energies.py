"""Units of energies by plausibility: totals against all electrons, elements against bonds, spread against heat."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import units as ase_units

from atomlens.checking.composition import CompositionFit, composition_groups, fit_composition
from atomlens.checking.outcome import DataCheck, Outcome
from atomlens.checking.springs import temperature
from atomlens.data.dataset import Dataset
from atomlens.data.system import symbol
from atomlens.data.units import KCAL_PER_MOL, parse_unit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_HARTREE: float = ase_units.Hartree
# An energy cannot lie below that of all electrons and bonds. Relativity lowers the total of uranium by 9 %.
_LOWEST_RATIO, _LOWEST_BOND = 1.25, 12.0  # times the free atoms' total, and eV per atom
_ALL_ELECTRON = 0.03  # of molecules from the formula for their free atoms
_CLOSELY = 0.015  # of molecules of carbon and heavier atoms from the same, with their bonds
_TERM = 0.08  # of one element's term, which takes its bonds up
# Terms of elements in eV where energies are measured from free atoms. Of organic molecules -3 (H), -6.7 (C), -4.3
# (N, O), -3.3 (S); of metals and semiconductors -1.8 (Li) to -10.5 (Mo).
_BOND_TERMS, _HYDROGEN_TERMS = (-14.0, -0.6), (-5.0, -1.3)
_WIDE_OPEN, _WIDE = 0.8, 2.5  # eV per atom: residuals of the fit, of molecules and of periodic structures
_THERMAL = 5.0  # times more or less than equipartition gives
_FEWEST_FRAMES = 100
_MOST_FRAMES = 5_000
_WRONG_SIGN = (
    "Energies are as large as the totals of all electrons of the atoms, but positive: their sign is wrong. Change it."
)


@dataclass(frozen=True)
class Mistake:
    """A wrong unit and what it does to energies."""

    factor: float  # by which the numbers are too large
    looks: str


MISTAKES = (
    Mistake(1.0 / KCAL_PER_MOL, "these look like kcal/mol read as eV"),
    Mistake(1.0 / parse_unit("kJ/mol")[0], "these look like kJ/mol read as eV"),
    Mistake(_HARTREE, "these look like eV read as Ha, or Ha converted twice"),
    Mistake(_HARTREE / KCAL_PER_MOL, "these look like kcal/mol read as Ha"),
    Mistake(1e3, "these look like meV read as eV"),
    Mistake(1.0 / _HARTREE, "these look like Ha read as eV"),
    Mistake(KCAL_PER_MOL, "these look like eV read as kcal/mol, or kcal/mol converted twice"),
    Mistake(2.0, "these look like Ry read as Ha"),
    Mistake(0.5, "these look like Ha read as Ry"),
    Mistake(2.0 / _HARTREE, "these look like Ry read as eV"),
)
# What is told by less than 15 % of a unit's size can only name the common ones.
COMMON_MISTAKES = tuple(MISTAKES[place] for place in (0, 1, 4, 5))


def free_atom_total(numbers: np.ndarray) -> np.ndarray:
    """Energy of neutral atoms with all their electrons, in eV, to 1 % from carbon on and 8 % for hydrogen.

    E = (-0.768745 Z^(7/3) + Z²/2 - 0.269900 Z^(5/3)) Ha: Thomas and Fermi with the corrections of Scott and of
    Schwinger (Englert, Schwinger, Phys. Rev. A 1985, 32, 26).
    """
    z = np.asarray(numbers, dtype=np.float64)
    return np.asarray(_HARTREE * (-0.768745 * z ** (7 / 3) + 0.5 * z**2 - 0.2699 * z ** (5 / 3)))


def check_energies(data: Dataset) -> list[Outcome]:
    """Whether energies are as large as totals or atomisation energies in eV are."""
    if "energy" not in data.labels:
        return []
    values = np.asarray(data.labels["energy"])
    fit = fit_composition(data, values, extensive=True)
    if fit is None:
        return [Outcome("energies", "skipped", "No energy is known.")]
    per_atom = values[fit.rows] / data.n_atoms[fit.rows]
    facts = _facts(data, fit, per_atom)
    figures = {"energy_residuals": _drawing(fit, data.n_atoms[fit.rows])}
    judgements: tuple[Callable[[], Judged], ...] = (
        lambda: _below_all_electrons(data, values, fit, facts),
        lambda: _of_all_electrons(data, values, fit, facts),
        lambda: _of_bonds(fit, facts),
        lambda: _wide(data, fit, facts),
        lambda: _heat(data, values, fit, facts),
    )
    for judge in judgements:
        found = judge()
        if found is not None:
            status, words = found
            return [Outcome("energies", status, words, facts=facts, figures=figures)]
    words = (
        f"{facts['kind']}: {facts['per_atom_ev']:.4g} eV per atom (median); what the elements do not explain has a "
        f"deviation of {facts['spread_per_atom_ev']:.2g} eV per atom."
    )
    return [Outcome("energies", "ok", words[0].upper() + words[1:], facts=facts, figures=figures)]


Judged = tuple[Any, str] | None


def _facts(data: Dataset, fit: CompositionFit, per_atom: np.ndarray) -> dict[str, Any]:
    sizes = data.n_atoms[fit.rows]
    residuals = np.abs(fit.residuals / sizes)
    ratio = _total_ratio(data, fit, per_atom)
    return {
        "kind": "totals of all electrons" if abs(ratio - 1) < _ALL_ELECTRON else "energies",
        "per_atom_ev": float(np.median(per_atom)),
        "of_all_electrons": ratio,
        "spread_per_atom_ev": 1.4826 * float(np.median(residuals)),
        "terms_ev": {
            symbol(z): float(term)
            for z, term, resolved in zip(fit.elements, fit.terms, fit.resolved, strict=True)
            if resolved
        },
    }


def _total_ratio(data: Dataset, fit: CompositionFit, per_atom: np.ndarray) -> float:
    """Median of energies over what the free atoms have with all their electrons."""
    totals = np.add.reduceat(free_atom_total(data.numbers), data.offsets[:-1])[fit.rows]
    return float(np.median(per_atom * data.n_atoms[fit.rows] / totals))


def _below_all_electrons(data: Dataset, values: np.ndarray, fit: CompositionFit, facts: dict[str, Any]) -> Judged:
    """Energies below what all electrons and bonds together can have, of structures or of an element's term."""
    totals = np.add.reduceat(free_atom_total(data.numbers), data.offsets[:-1])[fit.rows]
    lowest = _LOWEST_RATIO * totals - _LOWEST_BOND * data.n_atoms[fit.rows]
    if (values[fit.rows] < lowest).mean() > 0.5:
        mistake = _nearest(facts["of_all_electrons"], _ALL_ELECTRON)
        guess = mistake.looks if mistake else "their unit is smaller than eV"
        return "fault", (
            f"Energies of {facts['per_atom_ev']:.4g} eV per atom are {facts['of_all_electrons']:.3g} times the total "
            f"of all electrons of the atoms, and nothing lies lower: {guess}. State the right unit."
        )
    for z, term, resolved in zip(fit.elements, fit.terms, fit.resolved, strict=True):
        bound = _LOWEST_RATIO * float(free_atom_total(np.array(z))) - _LOWEST_BOND
        if resolved and term < 1.2 * bound:
            mistake = _fitting(fit)
            guess = mistake.looks if mistake else "their unit is smaller than eV, or some of them are wrong"
            return "fault" if mistake else "warning", (
                f"By a fit to the compositions each {symbol(z)} atom adds {term:.4g} eV, lower than all of its "
                f"electrons and bonds can lie ({bound:.3g} eV): {guess}. State the right unit."
            )
    return None


def _of_all_electrons(data: Dataset, values: np.ndarray, fit: CompositionFit, facts: dict[str, Any]) -> Judged:
    """Totals of all electrons in a larger unit than eV, or with the other sign."""
    ratio = facts["of_all_electrons"]
    mistake = _nearest(abs(ratio), _ALL_ELECTRON) if abs(abs(ratio) - 1) > _ALL_ELECTRON else None
    if mistake is not None and mistake.factor < 1.0 and abs(abs(ratio) / mistake.factor - 1) > _CLOSELY:
        mistake = None  # valence electrons alone have any share of the total of all
    if mistake is None:
        return ("fault", _WRONG_SIGN) if abs(ratio + 1) < _ALL_ELECTRON else None
    heavy = [(z, t) for z, t, r in zip(fit.elements, fit.terms, fit.resolved, strict=True) if r and z > 2]
    off = [abs(t / float(free_atom_total(np.array(z))) / mistake.factor - 1) for z, t in heavy]
    if off and max(off) > _TERM:  # of single elements it does not hold: chance
        return None
    words = (
        f"Energies of {facts['per_atom_ev']:.4g} eV per atom are {ratio:.4g} times the total of all electrons of the "
        f"atoms: {mistake.looks}. State the right unit."
    )
    heat = _thermal(data, values, fit)
    if not off and mistake.factor < 1.0 and heat is not None and 1 / _THERMAL < heat[1] < _THERMAL:
        return None  # totals of the valence electrons alone: water by GFN2-xTB has 0.074 of all, and a Ry is 0.0735 Ha
    same = heat is not None and abs(np.log(heat[1] / mistake.factor)) < np.log(2.0)
    return ("fault" if len(off) > 1 or same else "warning"), words


def _of_bonds(fit: CompositionFit, facts: dict[str, Any]) -> Judged:
    """Atomisation energies in another unit, or with the other sign: all elements' terms fit another unit alone."""
    if not fit.resolved.any() or facts["kind"] != "energies" or _fits(fit, 1.0):
        return None
    if _fits(fit, -1.0):
        return "warning", (
            "Energies rise with the number of bonds, as atomisation energies do that are counted positive: the more "
            "strongly bound structure has to have the lower energy. Change the sign if it is so."
        )
    mistake = _fitting(fit)
    if mistake is None:
        return None
    terms = ", ".join(f"{name} {value:.3g}" for name, value in list(facts["terms_ev"].items())[:6])
    words = f"Terms of the elements ({terms} eV) are not those of atomisation energies in eV: {mistake.looks}."
    sure = int(fit.resolved.sum()) > 2 and 1 in fit.elements
    return ("fault" if sure else "warning"), f"{words} State the right unit."


def _fits(fit: CompositionFit, factor: float) -> bool:
    """Whether all terms over ``factor`` are those of atoms that are bound."""
    terms, elements = fit.terms[fit.resolved] / factor, np.array(fit.elements)[fit.resolved]
    low = np.where(elements == 1, _HYDROGEN_TERMS[0], _BOND_TERMS[0])
    high = np.where(elements == 1, _HYDROGEN_TERMS[1], _BOND_TERMS[1])
    return bool(((terms > low) & (terms < high)).all())


def _fitting(fit: CompositionFit) -> Mistake | None:
    """The one mistake that makes the terms those of bound atoms, where hydrogen or three elements can tell."""
    if not fit.resolved.any() or not (fit.resolved[np.array(fit.elements) == 1].any() or fit.resolved.sum() > 2):
        return None
    # Kilojoules and kilocalories differ by 4.2, less than the range of terms; the middle of the range decides.
    middle = np.where(np.array(fit.elements)[fit.resolved] == 1, -2.9, -4.8)
    fitting = [entry for entry in MISTAKES if abs(np.log(entry.factor)) > 1 and _fits(fit, entry.factor)]
    off = [abs(float(np.median(np.log(fit.terms[fit.resolved] / middle))) - np.log(entry.factor)) for entry in fitting]
    return fitting[int(np.argmin(off))] if fitting else None


def _nearest(ratio: float, band: float) -> Mistake | None:
    return next((entry for entry in MISTAKES if abs(ratio / entry.factor - 1) < band), None)


def _wide(data: Dataset, fit: CompositionFit, facts: dict[str, Any]) -> Judged:
    limit = _WIDE if data.pbc.any() else _WIDE_OPEN
    spread = facts["spread_per_atom_ev"]
    if spread < limit or len(fit.rows) <= 2 * len(fit.elements):
        return None
    return "warning", (
        f"What the elements do not explain of the energies has a deviation of {spread:.3g} eV per atom; of molecules "
        f"it is below {_WIDE_OPEN} and of crystals below {_WIDE}: is the unit right, and are the labels in order?"
    )


def _heat(data: Dataset, values: np.ndarray, fit: CompositionFit, facts: dict[str, Any]) -> Judged:
    """Frames of one molecule: how much energies vary against how much bonds to hydrogen do."""
    found = _thermal(data, values, fit)
    if found is None:
        return None
    kelvin, ratio = found
    facts |= {"kelvin_of_bonds": kelvin, "spread_over_thermal": ratio}
    if 1 / _THERMAL < ratio < _THERMAL:
        return None
    near = min(COMMON_MISTAKES, key=lambda entry: abs(np.log(ratio / entry.factor)))
    guess = f": {near.looks}" if abs(np.log(ratio / near.factor)) < np.log(2.0) else ""
    return "warning", (
        f"Energies of frames of one molecule vary {ratio:.3g} times as much as their bonds to hydrogen say "
        f"({kelvin:.0f} K){guess}. Is the unit of the energies right?"
    )


def _thermal(data: Dataset, values: np.ndarray, fit: CompositionFit) -> tuple[float, float] | None:
    """Temperature of the most frequent molecule in K, and its energies' deviation over that of 3N - 6 oscillators.

    The oscillators' potential energies vary by kT √((3N - 6) / 2). None for few frames or no molecule.
    """
    groups = composition_groups(data)[fit.rows]
    largest = fit.rows[groups == np.bincount(groups).argmax()][:_MOST_FRAMES]
    size = int(data.n_atoms[largest[0]])
    atoms = data.offsets[largest][:, None] + np.arange(size)
    others = data.pbc[largest[0]].any() or (data.numbers[atoms] != data.numbers[atoms[0]]).any()
    if len(largest) < _FEWEST_FRAMES or size < 3 or others:
        return None
    kelvin = temperature(data, largest)
    if kelvin is None:
        return None
    low, high = np.quantile(values[largest], [0.1587, 0.8413])
    return kelvin, float((high - low) / 2 / (ase_units.kB * kelvin * np.sqrt((3 * size - 6) / 2)))


def _drawing(fit: CompositionFit, sizes: np.ndarray) -> Callable[[], Figure]:
    def draw() -> Figure:
        from atomlens.figures.checking import energy_residuals as drawing

        return drawing(1e3 * fit.residuals / sizes)

    return draw


CHECK = DataCheck(
    "energies",
    "Unit of energies",
    "Whether energies lie where totals or atomisation energies in eV lie, for their elements and their temperature.",
    check_energies,
)
