"""Units and sign of forces by plausibility: bonds to hydrogen are springs of a known stiffness."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import units as ase_units

from atomlens.checking.energies import Mistake
from atomlens.checking.force_energy import follow_energies
from atomlens.checking.outcome import DataCheck, Outcome
from atomlens.checking.springs import STIFFNESS, Spring, springs
from atomlens.data.dataset import Dataset
from atomlens.data.system import symbol
from atomlens.data.units import KCAL_PER_MOL, parse_unit

_STRONG = 15.0  # eV/Å, root mean square of a component; of molecules at 500 K and of hot metals it is near 1.2
_SOFT, _STIFF = 0.25, 4.0  # times the stiffness of the textbook; measured are 0.72 to 1.1
_SURE = 0.7  # correlation of force and length; measured are 0.90 to 0.99
_BAND = 2.0  # by how much a known mistake may miss
_ATOMIC: float = ase_units.Hartree / ase_units.Bohr

MISTAKES = (
    Mistake(1.0 / KCAL_PER_MOL, "these look like kcal/mol/Å read as eV/Å"),
    Mistake(1.0 / parse_unit("kJ/mol")[0], "these look like kJ/mol/Å read as eV/Å"),
    Mistake(_ATOMIC, "these look like eV/Å read as Ha/bohr, or Ha/bohr converted twice"),
    Mistake(_ATOMIC / KCAL_PER_MOL, "these look like kcal/mol/Å read as Ha/bohr"),
    Mistake(1e3, "these look like meV/Å read as eV/Å"),
    Mistake(1.0 / _ATOMIC, "these look like Ha/bohr read as eV/Å"),
    Mistake(KCAL_PER_MOL, "these look like eV/Å read as kcal/mol/Å, or kcal/mol/Å converted twice"),
    Mistake(KCAL_PER_MOL / _ATOMIC, "these look like Ha/bohr read as kcal/mol/Å"),
)


def check_forces(data: Dataset) -> list[Outcome]:
    """Whether forces are as strong as forces in eV/Å are, and pull stretched bonds together."""
    if "forces" not in data.labels:
        return []
    values = np.asarray(data.labels["forces"])
    known = np.isfinite(values).all(axis=1)
    if not known.any():
        return [Outcome("forces", "skipped", "No forces are known.")]
    mean_square = float(np.sqrt(np.square(values[known]).mean()))
    found = springs(data)
    facts: dict[str, Any] = {
        "rms_ev_per_ang": mean_square,
        "largest_ev_per_ang": float(np.abs(values[known]).max()),
        "springs": {f"{symbol(each.partner)}-H": vars(each) for each in found},
    }
    if mean_square == 0.0:
        return [_zero(data, known, facts)]
    words = f"Components have a root mean square of {mean_square:.3g} eV/Å"
    sure = [each for each in found if abs(each.correlation) > _SURE]
    if sure:
        return [_of_springs(data, sure, words, facts)]
    if mean_square > _STRONG:
        guess = f"{words}, more than of molecules at some thousand kelvin: is the unit right?"
        return [Outcome("forces", "warning", guess, facts=facts)]
    return [
        Outcome("forces", "ok", f"{words}; no bonds to hydrogen that vary tell the unit more exactly.", facts=facts)
    ]


def _zero(data: Dataset, known: np.ndarray, facts: dict[str, Any]) -> Outcome:
    """Free atoms have no forces, nor have crystals by symmetry; molecules do."""
    of_molecules = np.logical_or.reduceat(known, data.offsets[:-1]) & (data.n_atoms > 1) & ~data.pbc.any(axis=1)
    if of_molecules.any():
        return Outcome("forces", "fault", "All forces are zero: they are no labels. Leave them out.", facts=facts)
    words = "All forces are zero, as they are on free atoms and by symmetry in crystals: there is nothing to learn."
    return Outcome("forces", "note", words, facts=facts)


def _of_springs(data: Dataset, found: list[Spring], words: str, facts: dict[str, Any]) -> Outcome:
    ratio = float(np.median([each.stiffness / STIFFNESS[each.partner] for each in found]))
    facts |= {"stiffness_over_textbook": ratio}
    each = max(found, key=lambda spring: spring.bonds)
    spring = (
        f"bonds {symbol(each.partner)}-H pull with {each.stiffness:.3g} eV/Å², of the textbook "
        f"{STIFFNESS[each.partner]:.0f}"
    )
    size = abs(ratio)
    mistake = min(MISTAKES, key=lambda entry: abs(np.log(size / entry.factor)))
    guess = f": {mistake.looks}" if 1 / _BAND < size / mistake.factor < _BAND else ": their unit is wrong"
    off = guess if not _SOFT < size < _STIFF else ""
    if size < _SOFT and follow_energies(data):
        sentence = (
            f"{words}; {spring}. As energies change by what the forces say, the labels are differences of two "
            "levels of theory, or both of them are in a wrong unit."
        )
        return Outcome("forces", "warning", sentence, facts=facts)
    if ratio < 0:
        sentence = (
            f"{words}; {spring}: forces push stretched bonds apart, their sign is reversed{off}. Change the sign."
        )
        return Outcome("forces", "fault", sentence, facts=facts)
    if off:
        return Outcome("forces", "fault", f"{words}; {spring}{off}. State the right unit.", facts=facts)
    return Outcome("forces", "ok", f"{words}; {spring}.", facts=facts)


CHECK = DataCheck(
    "forces",
    "Unit and sign of forces",
    "Whether forces pull stretched bonds to hydrogen together as strongly as such bonds do.",
    check_forces,
)
