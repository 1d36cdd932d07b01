"""Labels that belong to other structures, and structures whose atoms stand in another order than in the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from atomlens.checking.outcome import DataCheck, Outcome, Status
from atomlens.checking.places import named, share
from atomlens.checking.swapped_atoms import check_swapped_atoms
from atomlens.data.dataset import Dataset
from atomlens.data.quantities import quantity

_NAME = "label_order"
_MOST = 20_000  # structures that a regression looks at
_FEWEST = 30
_PER_TERM = 5  # structures for each coefficient
# Share of the variance that the composition explains. Extensive labels of molecules reach 0.97 and more (energies above
# 0.999); intensive ones 0.2 to 0.6. Shuffled ones have none.
_EXTENSIVE_LEAST, _EXTENSIVE_USUAL = 0.1, 0.6
# Above, labels are sums over atoms by their size: of QM7 it is 1.4, of QM9 2.8 and of its zero-point energies 0.5.
# Energies of adsorption, and those from which the share of the composition was taken away, have 0.1 and less.
_GROWS = 0.2
_IDENTITY_FITS, _IDENTITY_WRONG = 0.01, 0.2
_IDENTITY_MOST = 200_000


@dataclass(frozen=True)
class Explained:
    """How much of a label the numbers of atoms of each element explain."""

    name: str
    share: float  # of the variance, corrected for the number of coefficients
    deviations: float  # by how many standard deviations it is above that of shuffled labels
    structures: int
    values: np.ndarray  # (structures,) in internal units
    fitted: np.ndarray  # (structures,)
    rows: np.ndarray  # (structures,)
    grows: float  # share of the variance that a sum over equal atoms would have, with this mean: 0 for differences


def check_label_order(data: Dataset) -> list[Outcome]:
    """Whether labels belong to the structures beside them, and atoms stand in one order throughout."""
    found = [entry for name in data.labels if (entry := explained(data, name)) is not None]
    outcomes = [*_shuffled(found), *_identities(data), *check_swapped_atoms(data)]
    if any(outcome.status not in ("ok", "skipped") for outcome in outcomes):
        return [outcome for outcome in outcomes if outcome.status != "skipped"]
    if not found and not outcomes:
        words = "Labels cannot be held against compositions: these do not vary, or too few structures have the label."
        return [Outcome(_NAME, "skipped", words)]
    return [_fine(found, outcomes)] if found else outcomes


def explained(data: Dataset, name: str, seed: int = 0) -> Explained | None:
    """How well a linear regression on the composition explains a label; None where it cannot tell.

    Extensive labels are fitted to numbers of atoms, others to the shares of the elements. Labels of shape () only.
    """
    kind = quantity(name)
    if kind.per != "system" or kind.shape != ():
        return None
    rows = np.flatnonzero(np.isfinite(data.labels[name]))
    if len(rows) > _MOST:
        rows = np.sort(np.random.default_rng(seed).choice(rows, _MOST, replace=False))
    if len(rows) < _FEWEST:
        return None
    sample = data.subset(rows) if len(rows) < len(data) else data
    counts = sample.counts()[0]
    design = np.column_stack(
        [counts if kind.extensive else counts / counts.sum(axis=1, keepdims=True), np.ones(len(rows))]
    )
    values = np.asarray(sample.labels[name])
    rank = int(np.linalg.matrix_rank(design))
    if rank < 2 or len(rows) < _PER_TERM * rank or values.std() == 0.0:
        return None
    coefficients = np.linalg.lstsq(design, values, rcond=None)[0]
    fitted = design @ coefficients
    free = len(rows) - rank
    raw = 1.0 - ((values - fitted) ** 2).sum() / ((values - values.mean()) ** 2).sum()
    # Of shuffled labels the share is Beta((rank - 1) / 2, free / 2).
    mean = (rank - 1) / (len(rows) - 1)
    deviation = np.sqrt(2.0 * mean * (1.0 - mean) / (len(rows) + 1))
    corrected = 1.0 - (1.0 - raw) * (len(rows) - 1) / free
    grows = (values.sum() / sample.n_atoms.sum()) ** 2 * sample.n_atoms.var() / values.var()
    return Explained(
        name, float(corrected), float((raw - mean) / deviation), len(rows), values, fitted, rows, float(grows)
    )


def _shuffled(found: list[Explained]) -> list[Outcome]:
    """Labels of which the composition explains nothing, or far less than it does of labels of their kind."""
    outcomes = []
    for entry in found:
        extensive = quantity(entry.name).extensive
        unrelated = entry.deviations < 5.0
        if not (entry.share < _EXTENSIVE_USUAL if extensive else unrelated and entry.structures >= 1_000):
            continue
        if extensive and (entry.share < _EXTENSIVE_LEAST or unrelated) and entry.grows > _GROWS:
            status, words = (
                "fault",
                (
                    f"'{entry.name}' has nothing to do with the composition: the numbers of atoms explain "
                    f"{_percent(entry.share)} of it, where labels that grow with the structure have nearly all. It "
                    "looks "
                    "shuffled, or belongs to other structures: join it with them again."
                ),
            )
        elif extensive and (entry.share < _EXTENSIVE_LEAST or unrelated):
            status, words = (
                "warning",
                (
                    f"'{entry.name}' has nothing to do with the composition: the numbers of atoms explain "
                    f"{_percent(entry.share)} of it. So it is of energies of adsorption, or of energies whose "
                    "composition's share was taken away; if it should be a total, it is shuffled."
                ),
            )
        elif extensive:
            others = [other for other in found if quantity(other.name).extensive and other.share > 0.9]
            beside = f" ({_percent(others[0].share)} of '{others[0].name}')" if others else ""
            status, words = (
                "warning",
                (
                    f"the numbers of atoms explain only {_percent(entry.share)} of '{entry.name}'{beside}: part of it "
                    "may be "
                    "shuffled, or its structures differ in something else."
                ),
            )
        else:
            status, words = (
                "warning",
                (
                    f"'{entry.name}' has nothing to do with the composition: shares of elements explain "
                    f"{_percent(entry.share)} of it, no more than by chance. Look whether it belongs to these "
                    "structures."
                ),
            )
        outcomes.append(_outcome(status, words, entry))  # type: ignore[arg-type]
    return outcomes


def _outcome(status: Status, words: str, entry: Explained) -> Outcome:
    facts: dict[str, Any] = {
        "label": entry.name,
        "explained": entry.share,
        "deviations_from_chance": entry.deviations,
        "structures": entry.structures,
    }
    figures = {f"composition_{entry.name}": partial(_figure, entry)}
    return Outcome(_NAME, status, words[0].upper() + words[1:], facts=facts, figures=figures)


def _fine(found: list[Explained], outcomes: list[Outcome]) -> Outcome:
    listed = ", ".join(f"{_percent(entry.share)} of '{entry.name}'" for entry in found)
    also = "".join(f" {outcome.sentence}" for outcome in outcomes if outcome.status == "ok")
    facts: dict[str, Any] = {"explained": {entry.name: entry.share for entry in found}}
    for outcome in outcomes:
        facts |= outcome.facts
    return Outcome(_NAME, "ok", f"The composition explains {listed}.{also}", facts=facts)


def _percent(value: float) -> str:
    return f"{100.0 * value:.3g} %" if value < 0.999 else f"{100.0 * value:.5g} %"


# Labels that follow from others: name, the labels, and the value that they should have.
_IDENTITIES: tuple[tuple[str, tuple[str, ...], str, Callable[..., np.ndarray]], ...] = (
    ("gap", ("lumo", "homo"), "lumo - homo", lambda lumo, homo: lumo - homo),
    ("dipole_magnitude", ("dipole",), "the length of the dipole", lambda dipole: np.linalg.norm(dipole, axis=1)),
    (
        "isotropic_polarizability",
        ("polarizability",),
        "a third of the trace of the polarizability",
        lambda tensor: np.trace(tensor, axis1=1, axis2=2) / 3.0,
    ),
)


def _identities(data: Dataset) -> list[Outcome]:
    """Labels that do not follow from others as they must."""
    outcomes = []
    for name, sources, words, value in _IDENTITIES:
        if name not in data.labels or not set(sources) <= data.labels.keys():
            continue
        rows = np.arange(len(data))[:: max(1, len(data) // _IDENTITY_MOST)]
        expected = value(*(np.asarray(data.labels[source])[rows] for source in sources))
        off = np.abs(np.asarray(data.labels[name])[rows] - expected)
        known = np.isfinite(off)
        size = float(np.median(np.abs(expected[known]))) if known.any() else 0.0
        wrong = np.flatnonzero(known & (off > _IDENTITY_FITS * size + 1e-12))
        if not size or not len(wrong):
            continue
        wrong = wrong[np.argsort(-off[wrong], kind="stable")]
        many = len(wrong) > _IDENTITY_WRONG * known.sum()
        advice = "One of these columns is shuffled, or in another unit." if many else "Look at these rows."
        sentence = (
            f"'{name}' is not {words} in {len(wrong):,} of {known.sum():,} structures "
            f"({share(len(wrong), int(known.sum()))}; {named(data, rows[wrong])}). {advice}"
        )
        facts = {"label": name, "wrong": len(wrong), "known": int(known.sum())}
        outcomes.append(Outcome(_NAME, "fault" if many else "warning", sentence, rows[wrong], facts))
    return outcomes


def _figure(entry: Explained) -> Any:
    from atomlens.figures.data_checks_forces import label_against_composition

    kind = quantity(entry.name)
    return label_against_composition(entry.values, entry.fitted, entry.name.replace("_", " "), kind.shown or kind.unit)


LABEL_ORDER = DataCheck(
    _NAME,
    "Labels and structures belong together",
    "Whether extensive labels follow the composition, labels follow from each other, and atoms keep their order.",
    check_label_order,
)
