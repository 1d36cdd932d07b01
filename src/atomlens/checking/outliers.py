"""Labels that stand apart from all others of their kind, and values that stand for something missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from atomlens.checking.composition import fit_composition
from atomlens.checking.distorted import unusual_shape
from atomlens.checking.energies import MISTAKES
from atomlens.checking.outcome import DataCheck, Outcome, Status
from atomlens.checking.places import atom_named, named, place, share, structure_of
from atomlens.data.dataset import Dataset
from atomlens.data.quantities import quantity
from atomlens.data.system import symbol
from atomlens.figures.style import plain_unit
from atomlens.wording import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_APART = 12.0  # deviations (median magnitude times 1.4826) below which nothing is an outlier
_BEYOND = 2.0  # times what the tail of the others reaches
_TAIL, _END = 0.95, 0.998  # quantiles between which a tail is followed
_FEWEST = 30
_GRAVE = 5.0  # eV per atom: chemistry has no energies so far from their composition's
_PLACEHOLDER = 0.01  # share of structures with exactly one value, from which on it stands for something else
_ZERO_HAS_MEANING = {"gap", "dipole", "dipole_magnitude", "formation_energy", "stress", "charges"}


@dataclass(frozen=True)
class Apart:
    """Rows whose values stand apart."""

    rows: np.ndarray  # gravest first
    size: np.ndarray  # how many deviations off each is
    limit: float  # deviations from which on a value stands apart


def stand_apart(values: np.ndarray) -> Apart:
    """Values that neither the deviation nor the tail of the others explains.

    Tails of physics are heavier than a normal distribution's. How the largest magnitudes fall off between the upper 5 %
    and 0.2 % is followed to the last value as a power law (Hill), and an outlier lies as far again, and at 12
    deviations (1.4826 times the median magnitude) at least.

    Args:
        values: (rows,) deviations from what is expected, NaN where unknown.
    """
    known = np.flatnonzero(np.isfinite(values))
    magnitude = np.abs(values[known] - np.median(values[known])) if len(known) else np.zeros(0)
    scale = 1.4826 * float(np.median(magnitude)) if len(known) else 0.0
    if len(known) < _FEWEST or scale == 0.0:
        return Apart(np.zeros(0, dtype=np.int64), np.zeros(0), np.inf)
    size = magnitude / scale
    low, high = np.quantile(size, [_TAIL, _END])
    # With fewer than some thousand values the end of the tail is the outlier itself: the start alone is followed.
    if len(known) < 5 / (1 - _END):
        high = float(np.sort(size)[int(len(size) * _END) - 2])
    power = float(np.clip(np.log(high / low) / np.log((1 - _TAIL) / (1 - _END)), 0.1, 0.6))
    reach = high * max(1.0, len(known) * (1 - _END)) ** power
    limit = max(_APART, _BEYOND * reach)
    far = np.flatnonzero(size > limit)
    far = far[np.argsort(-size[far], kind="stable")]
    return Apart(known[far], size[far], limit)


def check_outliers(data: Dataset) -> list[Outcome]:
    """Outliers of each label, per composition or element, and placeholders."""
    outcomes = []
    for name, values in data.labels.items():
        values = np.asarray(values)
        kind = quantity(name)
        if kind.per == "system":
            outcomes += [*_placeholder(data, name, values), *_of_structures(data, name, values)]
        elif values.ndim <= 2:
            outcomes += _of_atoms(data, name, values)
    return outcomes


def _placeholder(data: Dataset, name: str, values: np.ndarray) -> list[Outcome]:
    """One value that many structures share to the last digit."""
    known = values[np.isfinite(values)] if values.ndim == 1 else np.zeros(0)
    if len(known) < _FEWEST:
        return []
    found, times = np.unique(known, return_counts=True)
    # Some labels are rounded so that many are equal: a placeholder is far more frequent than the next.
    order = np.argsort(-times, kind="stable")
    most = float(found[order[0]])
    next_most = int(times[order[1]]) if len(order) > 1 else 0
    often = int(times[order[0]])
    if often == len(known):
        words = (
            f"'{name}' is {most:.6g} {plain_unit(quantity(name).unit)} in all structures: there is nothing to learn."
        )
        return [Outcome("outliers", "warning", words, facts={"label": name, "value": most})]
    if often < max(5, _PLACEHOLDER * len(known), 5 * next_most) or (most == 0.0 and name in _ZERO_HAS_MEANING):
        return []
    rows = np.flatnonzero(values == most)
    words = (
        f"'{name}' is exactly {most:.6g} {plain_unit(quantity(name).unit)} in {often:,} of {len(known):,} structures "
        f"({share(often, len(known))}), such as {named(data, rows)}: does it stand for what is not known? Then mark it "
        "NaN."
    )
    return [Outcome("outliers", "warning", words, rows, {"label": name, "value": most, "structures": often})]


def _of_structures(data: Dataset, name: str, values: np.ndarray) -> list[Outcome]:
    kind = quantity(name)
    scalar = values if values.ndim == 1 else np.linalg.norm(values.reshape(len(values), -1), axis=1)
    fit = fit_composition(data, scalar, extensive=kind.extensive)
    if fit is None:
        return []
    residuals = np.full(len(data), np.nan)
    residuals[fit.rows] = fit.residuals / (np.sqrt(data.n_atoms[fit.rows]) if kind.extensive else 1.0)
    apart = stand_apart(residuals)
    off = np.full(len(data), np.nan)
    off[fit.rows] = fit.residuals
    facts = _facts(name, apart)
    unit = plain_unit(kind.unit)
    if not len(apart.rows):
        return [_nothing(name, apart, facts, _drawing(name, residuals, apart))]
    first = int(apart.rows[0])
    where = f" in {place(data, first)}" if len(apart.rows) > 1 else ""
    guess = _guess(scalar[first], scalar[first] - off[first]) if name == "energy" else ""
    words = (
        f"'{name}' stands apart in {named(data, apart.rows)}: {scalar[first]:.6g} {unit}{where}, "
        f"{off[first]:+.3g} {unit} from what its composition leads to expect ({apart.size[0]:,.0f} deviations){guess}. "
        "Look at them before training."
    )
    grave = name == "energy" and _impossible(data, off, apart.rows).any()
    status: Status = "fault" if grave else "warning"
    facts |= {
        "places": [place(data, int(row)) for row in apart.rows[:20]],
        "largest_off": float(off[first]),
        "unit": unit,
    }
    return [Outcome("outliers", status, words, apart.rows, facts, _drawing(name, residuals, apart))]


def _impossible(data: Dataset, off: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(rows,) bool: energies that no chemistry has; those of atoms pushed together or pulled apart may be high."""
    on_purpose = unusual_shape(data)[rows] & (off[rows] > 0.0)
    return np.asarray((np.abs(off[rows]) > _GRAVE * data.n_atoms[rows]) & ~on_purpose)


def _guess(value: float, expected: float) -> str:
    """The unit that a single energy may be in."""
    ratio = value / expected if expected else 0.0
    near = [entry for entry in MISTAKES if abs(ratio / entry.factor - 1) < 0.05]
    return f": {near[0].looks}" if near else ": of the other sign" if abs(ratio + 1) < 0.05 else ""


def _of_atoms(data: Dataset, name: str, values: np.ndarray) -> list[Outcome]:
    """Atoms whose value is beyond those of its element; one outcome for the label."""
    size = np.abs(values) if values.ndim == 1 else np.linalg.norm(values, axis=1)
    found: list[tuple[float, int, float]] = []
    for element in data.elements:
        rows = np.flatnonzero(data.numbers == element)
        # Vectors are judged by their lengths, scalars by where they lie.
        apart = stand_apart((values if values.ndim == 1 else size)[rows])
        found += [(float(off), int(rows[row]), apart.limit) for row, off in zip(apart.rows, apart.size, strict=True)]
    found.sort(reverse=True)
    structures = structure_of(data, np.array([atom for _, atom, _ in found], dtype=np.int64))
    structures = structures[np.sort(np.unique(structures, return_index=True)[1])]
    outcomes = _vanishing(data, name, size)
    unit = plain_unit(quantity(name).unit)
    if not found:
        sentence = f"'{name}': no atom stands apart from the others of its element."
        return [Outcome("outliers", "ok", sentence, facts={"label": name, "outliers": 0}), *outcomes]
    off, atom, _ = found[0]
    words = (
        f"'{name}' stands apart on {counted(len(found), 'atom')} of {named(data, structures)}: {size[atom]:.4g} {unit} "
        f"on {atom_named(data, atom)} of {place(data, int(structures[0]))}, {off:,.0f} deviations of all "
        f"{symbol(int(data.numbers[atom]))}. Look at them before training."
    )
    facts = {
        "label": name,
        "outliers": len(found),
        "places": [place(data, int(row)) for row in structures[:20]],
        "largest": float(size[atom]),
        "unit": unit,
    }
    return [Outcome("outliers", "warning", words, structures, facts), *outcomes]


def _vanishing(data: Dataset, name: str, size: np.ndarray) -> list[Outcome]:
    """Structures of several atoms on all of which a vector is exactly zero, where it is not in the others."""
    if name != "forces":
        return []
    zero = np.logical_and.reduceat(size == 0.0, data.offsets[:-1]) & (data.n_atoms > 2)
    rows = np.flatnonzero(zero)
    if not len(rows) or zero.all() or data.pbc[rows].any(axis=1).all():  # symmetric crystals have no forces
        return []
    words = (
        f"All forces are exactly zero in {named(data, rows)}: do they stand for what is not known? Then mark them NaN."
    )
    return [Outcome("outliers", "warning", words, rows, {"label": name, "structures": len(rows)})]


def _facts(name: str, apart: Apart) -> dict[str, Any]:
    limit = float(apart.limit) if np.isfinite(apart.limit) else None
    return {"label": name, "outliers": len(apart.rows), "limit_deviations": limit}


def _nothing(name: str, apart: Apart, facts: dict[str, Any], figures: dict[str, Callable[[], Figure]]) -> Outcome:
    if not np.isfinite(apart.limit):
        words = f"'{name}': too few known values, or all equal by composition, to tell outliers."
        return Outcome("outliers", "skipped", words, facts=facts)
    words = f"'{name}': none stands apart from what compositions lead to expect."
    return Outcome("outliers", "ok", words, facts=facts, figures=figures)


def _drawing(name: str, values: np.ndarray, apart: Apart) -> dict[str, Callable[[], Figure]]:
    def draw() -> Figure:
        from atomlens.figures.checking import outliers as drawing

        return drawing(values[np.isfinite(values)], apart.limit, name.replace("_", " "))

    return {f"outliers_{name}": draw}


CHECK = DataCheck(
    "outliers",
    "Outliers",
    "Whether single labels stand apart from the others of their composition or element, or for what is not known.",
    check_outliers,
)
