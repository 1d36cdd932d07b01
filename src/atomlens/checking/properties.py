"""Units of all other labels by plausibility, and labels that have to agree with each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ase import units as ase_units
from ase.data import atomic_masses

from atomlens.checking.energies import COMMON_MISTAKES, Mistake
from atomlens.checking.outcome import DataCheck, Outcome, Status
from atomlens.checking.places import named
from atomlens.data.dataset import Dataset
from atomlens.data.quantities import quantity
from atomlens.data.units import parse_unit
from atomlens.figures.style import plain_unit
from atomlens.wording import counted

_BOHR: float = ase_units.Bohr
# Å³, of bonded atoms (Miller, J. Am. Chem. Soc. 1990, 112, 8533), averaged over hybridisations.
_POLARISABILITIES = {1: 0.39, 6: 1.2, 7: 1.0, 8: 0.6, 9: 0.3, 14: 4.0, 15: 1.7, 16: 3.0, 17: 2.3, 35: 3.3, 53: 5.4}
_ATOM_EXTENTS = {1: 3.0, 6: 13.9, 7: 12.1, 8: 11.2, 9: 10.2}  # bohr², ⟨r²⟩ of all electrons of a free atom
_ORGANIC = np.array([1, 6, 7, 8, 9, 15, 16, 17])
_AGREE = 0.02  # eV, e·Å or Å³: labels that are computed from each other in whatever rounding


@dataclass(frozen=True)
class Rule:
    """How large a label may be: its median over ``expected`` lies in a window."""

    label: str
    expected: Callable[[Dataset], np.ndarray]  # (structures,) in the label's unit; NaN where nothing is expected
    window: tuple[float, float]
    what: str  # that is expected
    mistakes: tuple[Mistake, ...] = ()


def _sum(data: Dataset, values: np.ndarray) -> np.ndarray:
    return np.asarray(np.add.reduceat(values, data.offsets[:-1]))


def _open_only(data: Dataset, values: np.ndarray) -> np.ndarray:
    return np.where(data.pbc.any(axis=1), np.nan, values)


def _zero_point(data: Dataset) -> np.ndarray:
    return _open_only(data, _sum(data, np.where(data.numbers == 1, 0.27, 0.12)))


def _heat_capacity(data: Dataset) -> np.ndarray:
    return ase_units.kB * data.n_atoms.astype(np.float64)


def _polarisability(data: Dataset) -> np.ndarray:
    table = np.full(119, np.nan)
    table[list(_POLARISABILITIES)] = list(_POLARISABILITIES.values())
    return _open_only(data, _sum(data, table[data.numbers]))


def _extent(data: Dataset) -> np.ndarray:
    """Σ Z r² about the centre of mass, and ⟨r²⟩ of each free atom."""
    masses = atomic_masses[data.numbers]
    centres = np.add.reduceat(masses[:, None] * data.positions, data.offsets[:-1]) / _sum(data, masses)[:, None]
    off = data.positions - np.repeat(centres, data.n_atoms, axis=0)
    table = np.full(119, 25.0)
    table[list(_ATOM_EXTENTS)] = list(_ATOM_EXTENTS.values())
    return _open_only(data, _sum(data, data.numbers * (off**2).sum(axis=1) + _BOHR**2 * table[data.numbers]))


def _dipole(data: Dataset) -> np.ndarray:
    """0.12 e·Å times the root of the number of atoms, for neutral organic molecules with paired electrons."""
    organic = np.logical_and.reduceat(np.isin(data.numbers, _ORGANIC), data.offsets[:-1])
    neutral = (data.charge == 0) & (_sum(data, data.numbers) % 2 == 0)
    return np.where(organic & neutral, _open_only(data, 0.12 * np.sqrt(data.n_atoms)), np.nan)


def _constant(value: float, *, open_only: bool = False) -> Callable[[Dataset], np.ndarray]:
    def expected(data: Dataset) -> np.ndarray:
        values = np.full(len(data), value)
        return _open_only(data, values) if open_only else values

    return expected


_VOLUME_MISTAKES = (Mistake(_BOHR**-3, "these look like bohr³ read as Å³"),
                    Mistake(_BOHR**3, "these look like Å³ read as bohr³"))  # fmt: skip
_DIPOLE_MISTAKES = (
    Mistake(1.0 / ase_units.Debye, "these look like Debye read as e·Å"),
    Mistake(ase_units.Debye, "these look like e·Å read as Debye"),
)
_HEAT_MISTAKES = (
    Mistake(1.0 / parse_unit("cal/mol/K")[0], "these look like cal/mol/K read as eV/K"),
    Mistake(1e3 / parse_unit("kJ/mol/K")[0], "these look like J/mol/K read as eV/K"),
)
_STRESS_MISTAKES = (
    Mistake(1.0 / parse_unit("kbar")[0], "these look like kbar read as eV/Å³"),
    Mistake(1.0 / parse_unit("GPa")[0], "these look like GPa read as eV/Å³"),
)
_EXTENT_MISTAKES = (
    Mistake(_BOHR**-2, "these look like bohr² read as Å²"),
    Mistake(_BOHR**2, "these look like Å² read as bohr²"),
)
RULES = (
    Rule(
        "zero_point_energy", _zero_point, (0.4, 2.5), "0.27 eV for each H and 0.12 eV for other atoms", COMMON_MISTAKES
    ),
    Rule("heat_capacity", _heat_capacity, (0.15, 3.5), "one Boltzmann constant per atom", _HEAT_MISTAKES),
    Rule("isotropic_polarizability", _polarisability, (0.5, 2.0), "the sum over atoms (Miller 1990)", _VOLUME_MISTAKES),
    Rule("polarizability", _polarisability, (0.5, 2.0), "the sum over atoms (Miller 1990)", _VOLUME_MISTAKES),
    Rule("electronic_spatial_extent", _extent, (0.6, 1.6), "that of free atoms", _EXTENT_MISTAKES),
    Rule("dipole_magnitude", _dipole, (0.1, 3.0), "0.12 e·Å √atoms", _DIPOLE_MISTAKES),
    Rule("dipole", _dipole, (0.1, 3.0), "0.12 e·Å √atoms", _DIPOLE_MISTAKES),
    Rule("homo", _constant(-6.5, open_only=True), (0.3, 2.5), "-6.5 eV", COMMON_MISTAKES),
    Rule("gap", _constant(5.0, open_only=True), (0.1, 3.5), "5 eV", COMMON_MISTAKES),
    Rule("formation_energy", _constant(1.0), (-6.0, 6.0), "1 eV/atom", COMMON_MISTAKES),
    Rule("stress", _constant(0.03), (0.0, 20.0), "0.03 eV/Å³ (5 GPa)", _STRESS_MISTAKES),
)


def _scalar(name: str, data: Dataset) -> np.ndarray:
    """(structures,) one number for the size of a label: a dipole's length, a third of a trace, a stress's size."""
    values = np.asarray(data.labels[name])
    if name == "dipole":
        return np.asarray(np.linalg.norm(values, axis=1))
    if name == "polarizability":
        return np.asarray(np.trace(values, axis1=1, axis2=2) / 3)
    if name == "stress":
        return np.asarray(np.sqrt(np.square(values).mean(axis=(1, 2))))
    return values


def check_properties(data: Dataset) -> list[Outcome]:
    """Whether each label is as large as it is for such structures, and whether labels agree that have to."""
    judged = [_judged(rule, data) for rule in RULES if rule.label in data.labels]
    return [*(outcome for outcome in judged if outcome is not None), *_agreements(data)]


def _judged(rule: Rule, data: Dataset) -> Outcome | None:
    values = _scalar(rule.label, data)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = values / rule.expected(data)
    ratios = ratios[np.isfinite(ratios)]
    if not len(ratios):
        return None
    ratio, unit = float(np.median(ratios)), quantity(rule.label).unit
    facts = {"label": rule.label, "median": float(np.nanmedian(values)), "unit": unit, "over_expected": ratio}
    name = rule.label.replace("_", " ")
    words = f"The {name} is {facts['median']:.3g} {plain_unit(unit)} (median)"
    if rule.window[0] <= ratio <= rule.window[1]:
        return Outcome("properties", "ok", f"{words}, as is usual.", facts=facts)
    words = f"{words}, {ratio:.2g} times {rule.what}"
    fitting = [entry for entry in rule.mistakes if rule.window[0] <= ratio / entry.factor <= rule.window[1]]
    middle = np.sqrt(abs(rule.window[0] * rule.window[1])) or 1.0
    near = min(fitting, key=lambda entry: abs(np.log(abs(ratio) / entry.factor / middle)), default=None)
    sign = " and of the other sign" if ratio < 0 <= rule.window[0] else ""
    guess = f": {near.looks}" if near else ""
    if rule.label == "formation_energy" and _of_whole_cells(values, data.n_atoms, rule.window):
        guess = ": these look like energies of whole cells, not per atom"
    return Outcome("properties", "warning", f"{words}{sign}{guess}. Is its unit right?", facts=facts)


def _of_whole_cells(values: np.ndarray, n_atoms: np.ndarray, window: tuple[float, float]) -> bool:
    """Whether values vary less, and are as large as they should be, once they are divided by the number of atoms."""
    known = np.isfinite(values) & (values != 0.0)
    total, per_atom = np.abs(values[known]), np.abs(values[known]) / n_atoms[known]
    in_window = window[0] <= float(np.median(values[known] / n_atoms[known])) <= window[1]
    return bool(in_window and np.log(per_atom).std() < np.log(total).std())


def _agreements(data: Dataset) -> list[Outcome]:
    """Labels that are functions of each other."""
    labels = data.labels
    outcomes = []
    if {"homo", "lumo", "gap"} <= set(labels):
        off = labels["gap"] - (labels["lumo"] - labels["homo"])
        outcomes.append(_agreement(data, off, "the gap", "LUMO minus HOMO", "eV", labels["gap"]))
    if {"homo", "lumo"} <= set(labels):
        wrong = np.flatnonzero(labels["lumo"] < labels["homo"])
        if len(wrong):
            # Of single molecules it may be so: states that were not filled from below, or hardly a gap.
            exchanged = len(wrong) > 0.5 * len(data.known(["homo"]).nonzero()[0])
            words = f"The LUMO lies below the HOMO in {named(data, wrong)}: are they exchanged?"
            status: Status = "fault" if exchanged else "warning"
            outcomes.append(Outcome("properties", status, words, wrong, {"structures": len(wrong)}))
    if {"dipole", "dipole_magnitude"} <= set(labels):
        off = labels["dipole_magnitude"] - np.linalg.norm(labels["dipole"], axis=1)
        outcomes.append(
            _agreement(data, off, "the dipole magnitude", "the dipole's length", "e·Å", labels["dipole_magnitude"])
        )
    if {"polarizability", "isotropic_polarizability"} <= set(labels):
        off = labels["isotropic_polarizability"] - np.trace(labels["polarizability"], axis1=1, axis2=2) / 3
        whole = labels["isotropic_polarizability"]
        outcomes.append(_agreement(data, off, "the isotropic polarisability", "a third of the trace", "Å³", whole))
    if "charges" in labels:
        off = np.add.reduceat(labels["charges"], data.offsets[:-1]) - data.charge
        outcomes.append(_agreement(data, off, "the sum of the partial charges", "the total charge", "e", None))
    return [outcome for outcome in outcomes if outcome is not None]


def _agreement(
    data: Dataset, off: np.ndarray, what: str, other: str, unit: str, whole: np.ndarray | None
) -> Outcome | None:
    size = np.abs(np.nan_to_num(off))
    if not np.isfinite(off).any():
        return None
    limit = _AGREE if whole is None else np.maximum(_AGREE, 1e-3 * np.abs(np.nan_to_num(whole)))
    wrong = np.flatnonzero(size > limit)
    known = int(np.isfinite(off).sum())
    facts = {"largest_difference": float(size.max()), "unit": unit, "structures": len(wrong)}
    begin = what[0].upper() + what[1:]
    if not len(wrong):
        words = f"{begin} is {other} in all {counted(known, 'structure')}, to {size.max():.1g} {unit}."
        return Outcome("properties", "ok", words, facts=facts)
    wrong = wrong[np.argsort(-size[wrong], kind="stable")]
    words = (
        f"{begin} is not {other} in {len(wrong):,} of {counted(known, 'structure')}: by {size[wrong[0]]:.3g} {unit} in "
        f"{named(data, wrong)}. One of them is wrong, has another unit or another definition."
    )
    return Outcome(
        "properties", "fault" if len(wrong) > 0.5 * known and whole is not None else "warning", words, wrong, facts
    )


CHECK = DataCheck(
    "properties",
    "Units of other labels",
    "Whether labels are as large as they are for such structures, and agree where they follow from each other.",
    check_properties,
)
