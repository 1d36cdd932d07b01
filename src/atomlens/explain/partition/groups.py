"""Are atomic energies what chemists add up for groups? Terms of networks beside an additive model of environments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from atomlens.errors import InputError
from atomlens.explain.analysis import Analysis
from atomlens.explain.partition.additive import GroupModel, additive_groups
from atomlens.explain.partition.bonds import coordination, data_environments
from atomlens.explain.partition.shared_terms import Shared, shared_terms
from atomlens.explain.subject import Subject
from atomlens.figures import style
from atomlens.panel import Chart, Check, Panel, Series, Table
from atomlens.wording import counted

__all__ = ["ANALYSIS", "GroupModel", "additive_groups"]

_ROWS = 40  # environments in the table
# Bonded neighbours of elements in closed-shell organic molecules.
_BONDS = {"C": (2, 3, 4), "N": (1, 2, 3, 4), "O": (1, 2, 3), **dict.fromkeys(("H", "F", "Cl", "Br", "I"), (1,))}


@dataclass(frozen=True)
class _Compared:
    """Group models of one data set, beside the energies of each model; the first is shown."""

    shared: Shared
    environments: np.ndarray  # (atoms,)
    labelled: bool  # whether totals are labels, or each model's predictions
    models: dict[str, GroupModel]


def _of_models(subject: Subject) -> Panel:
    """Energies of all models over the data set."""
    found = _compare(subject)
    shared, groups = found.shared, next(iter(found.models.values()))
    term = shared.term
    return Panel(
        ANALYSIS.name,
        reading=_reading(found, groups),
        trust=_trust(found, groups),
        checks=tuple(_checks(found, groups)),
        facts={
            "unit": term.unit,
            "relative_to": shared.relative_to,
            "totals": "labels" if found.labelled else "predictions of each model",
            "models": {name: model.to_dict() for name, model in found.models.items()},
        },
        figures={"groups": groups.plot(f"{term.words} by {shared.entries[0].name}", term.unit)},
        tables=(_models_table(found), _environments_table(found, groups)),
        views=(_chart(found, groups),),
    )


def _compare(subject: Subject) -> _Compared:
    rows = [row for row in shared_terms(subject) if row.term.quantity == "energy"]
    if not rows:
        raise InputError("groups are fitted to energies, which no model here predicts; give one that does")
    shared, data = rows[0], subject.data
    environments = data_environments(data)
    labels = data.labels.get("energy")
    labelled = labels is not None and bool(np.isfinite(labels).all())
    models = {}
    for entry in shared.entries:
        totals = labels if labelled and labels is not None else subject.predicted(entry)["energy"]
        measured = totals - np.add.reduceat(shared.baseline(entry)[data.numbers], data.offsets[:-1])
        values = shared.of_data(entry)
        models[entry.name] = additive_groups(environments, data.offsets, measured, values, seed=subject.config.seed)
    return _Compared(shared, environments, labelled, models)


def _reading(found: _Compared, groups: GroupModel) -> str:
    factor, unit = style.shown_unit(found.shared.term.unit)
    errors, name = groups.errors, found.shared.entries[0].name
    narrow, near = _listed(groups.correlations()), _listed(groups.correlations(nearest=True))
    free = f"{counted(groups.free, 'combination')} of these constants change{'s' if groups.free == 1 else ''}"
    return (
        f"A constant for each of {len(groups.environments)} kinds of atoms (an element with its bonded neighbours) "
        f"gives the energies of molecules that took no part in the fit to {factor * errors.groups:.3g} {unit}, where "
        f"constants per element give {factor * errors.elements:.3g}. Every bond is counted from both ends, and some "
        f"kinds of atoms never come apart (a nitrile's carbon and nitrogen), so {free} no "
        f"energy and cannot be known. Chosen to vary least "
        f"within elements, they go with what {name} gives to the same kinds of atoms with correlations of {narrow}. "
        f"Chosen as near to {name} as energies allow, of {near}; the {factor * groups.difference(True):.2g} {unit} per "
        f"atom that are left no choice of constants with the same energies can reach."
    )


def _listed(correlations: dict[str, float]) -> str:
    return ", ".join(f"{value:.2f} ({name})" for name, value in correlations.items() if np.isfinite(value)) or "none"


def _trust(found: _Compared, groups: GroupModel) -> str:
    totals = "labels" if found.labelled else "the energies that each model predicts itself"
    left_out = int((~groups.kept).sum())
    without = f"; {counted(left_out, 'structure')} with rare kinds of atoms left out" if left_out else ""
    return (
        f"Fitted to {totals} of {groups.errors.fitted:,} structures and tested on {groups.errors.tested:,} others"
        f"{without}. Bonds come from distances alone. {counted(len(found.models), 'model')} compared."
    )


def _checks(found: _Compared, groups: GroupModel) -> Iterator[Check]:
    unit, errors = found.shared.term.unit, groups.errors
    yield Check(
        "groups beside elements", "held-out error of constants per environment, against that of constants per element",
        errors.groups, f"below {errors.elements:.3g} {unit}", unit, errors.groups < errors.elements, claim=True,
    )  # fmt: skip
    yield _free_check(found, groups)
    names, counts = np.unique(found.environments, return_counts=True)
    judged = [(*coordination(str(name)), int(count)) for name, count in zip(names, counts, strict=True)]
    usual = [(count, bonds in _BONDS[own]) for own, bonds, count in judged if own in _BONDS]
    if usual:
        share = 100.0 * sum(count for count, fits in usual if fits) / sum(count for count, _ in usual)
        what = "share of atoms of H, C, N, O and halogens with as many bonded neighbours as organic molecules have"
        yield Check("bonds", what, share, "above 99 %", "%", share > 99.0, claim=True)


def _free_check(found: _Compared, groups: GroupModel) -> Check:
    """Totals by the two choices of the constants."""
    data, unit = found.shared.subject.data, found.shared.term.unit
    atoms = np.repeat(groups.kept, data.n_atoms)
    place = np.searchsorted(np.array(groups.environments), found.environments[atoms])
    change = np.zeros(len(data.numbers))
    change[atoms] = (groups.nearest - groups.constants)[place]
    off = float(np.abs(np.add.reduceat(change, data.offsets[:-1])).max())
    what = "energies by the constants that vary least against those by the constants nearest to the network"
    return Check("free combinations", what, off, f"below 1e-6 {unit}", unit, off < 1e-6)


def _models_table(found: _Compared) -> Table:
    factor, unit = style.shown_unit(found.shared.term.unit)
    elements = sorted({name for groups in found.models.values() for name in groups.explained})
    rows: list[tuple[str | int | float, ...]] = []
    for name, groups in found.models.items():
        measures = {
            "correlation, varying least": groups.correlations(),
            "correlation, nearest": groups.correlations(nearest=True),
            "variance between environments": groups.explained,
        }
        for what, values in measures.items():
            off = {"correlation, varying least": groups.difference(), "correlation, nearest": groups.difference(True)}
            last = _cell(factor * off[what]) if what in off else "–"
            rows.append((name, what, *(_cell(values.get(element, np.nan)) for element in elements), last))
    columns = ("model", "energies of kinds of atoms and constants", *elements, f"difference ({unit})")
    return Table("Energies beside additive constants, by element", columns, tuple(rows))


def _environments_table(found: _Compared, groups: GroupModel) -> Table:
    factor, unit = style.shown_unit(found.shared.term.unit)
    shown = np.argsort(-groups.counts, kind="stable")[:_ROWS]
    rows = [
        (
            groups.environments[row],
            int(groups.counts[row]),
            *(
                _cell(factor * column[row])
                for column in (groups.constants, groups.nearest, groups.terms, groups.spreads)
            ),
        )
        for row in shown
    ]
    name = found.shared.entries[0].name
    parts = ("constant, varying least", "constant, nearest", f"mean by {name}", f"spread by {name}")
    columns = ("atom and neighbours", "atoms", *(f"{part} ({unit})" for part in parts))
    return Table("The most frequent kinds of atoms", columns, tuple(rows))


def _chart(found: _Compared, groups: GroupModel) -> Chart:
    factor, unit = style.shown_unit(found.shared.term.unit)
    symbols, series = np.array(groups.elements), []
    for name in dict.fromkeys(groups.elements):
        own = np.flatnonzero(symbols == name)
        labels = tuple(f"{groups.environments[row]}, {groups.counts[row]:,} atoms" for row in own)
        x, y = factor * groups.nearest[own], factor * groups.terms[own]
        series.append(Series(name, x, y, "markers", labels, style.element_colour(name)))
    words = f"mean {found.shared.term.words} by {found.shared.entries[0].name} ({unit})"
    title = "Kinds of atoms: energy by the network over the nearest additive constant"
    return Chart(title, f"additive constant ({unit})", words, tuple(series), equal=True)


def _cell(value: float) -> float | str:
    """A number as a table shows it."""
    return float(f"{value:.4g}") if np.isfinite(value) else "–"


ANALYSIS = Analysis(
    "groups",
    "Do atoms add up like groups?",
    "Energies of molecules fitted as a sum of constants, one for every element with given bonded neighbours, E = Σ g, "
    "and these constants beside the mean E_i that the network gives to the same atoms.",
    'Beside the insights paper 3.1 ("various local environments"); additivity of groups after Benson and Buss 1958',
    of_models=_of_models,
)
