"""The panel that ranks a data set's rings: most and least stable with drawings, and whether models agree."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import kendalltau

from atomlens.data.units import KCAL_PER_MOL
from atomlens.errors import InputError
from atomlens.explain.rings.data_rings import DataRings, data_rings, serving
from atomlens.explain.rings.ring_perception import sketch, smiles
from atomlens.explain.rings.rings import RingEnergies, in_kcal, separation
from atomlens.explain.subject import NamedModel, Subject
from atomlens.figures import rings as drawing
from atomlens.panel import Chart, Check, Panel, Series, Table

FORMULA = "C6"  # as in thesis fig. 4.14
FEWEST = 4  # rings that are a ranking; with fewer six-membered carbon rings the commonest kind is ranked
END = 8  # drawings at either end
KINDS = 12
TIED = 1e-4  # eV; rings that differ by less differ by rounding
SEPARATED, KEPT, PERCEIVED = 0.9, 0.5, 0.95


@dataclass(frozen=True)
class Other:
    """How another model ranks the same rings."""

    name: str
    same_architecture: bool
    tau: float | None  # Kendall's, with the first model's ranking; None: to one of them all rings are alike


@dataclass(frozen=True)
class Ranked:
    """Rings of one set, ranked by several models; the first is the one shown."""

    title: str  # such as "aromatic C6"
    rows: np.ndarray  # (ranked,) rows of the ring energies, most stable first by the first model
    energies: RingEnergies
    others: tuple[Other, ...]

    @property
    def mean(self) -> float:
        """Of the rings ranked, in eV."""
        return float(self.energies.values[self.rows].mean())

    @property
    def compared(self) -> list[tuple[Other, float]]:
        """The other models whose ranking can be compared, with Kendall's τ."""
        return [(other, other.tau) for other in self.others if other.tau is not None]

    @property
    def end(self) -> int:
        """How many are shown at either end: no ring at both."""
        return min(END, len(self.rows) // 2)


def of_models(subject: Subject) -> Panel:
    """The data set's rings, ranked."""
    models, data = serving(subject), data_rings(subject)
    energies = models[0][1]
    if not len(energies.rings):
        raise InputError("no molecule of the data has a ring; give data with rings")
    formula = _formula(energies)
    sets = [_ranked(formula, None, models)]
    aromatic = _ranked(formula, True, models)
    if FEWEST <= len(aromatic.rows) < len(sets[0].rows):
        sets.append(aromatic)
    area = _area(energies, formula)
    return Panel(
        "rings",
        reading=_reading(models[0][0], energies, sets, area, data),
        trust=_trust(models, sets, data),
        checks=_checks(energies, sets, area),
        facts=_facts(models, energies, sets, area, data),
        figures={
            **{f"ranking_{entry.title.replace(' ', '_')}": _gallery(subject, entry) for entry in sets},
            "ring_kinds": drawing.ring_kinds({n: energies.values[r] for n, r in _commonest(energies, formula).items()}),
        },
        tables=(*(_ranking_table(subject, entry) for entry in sets), _kinds_table(energies, formula)),
        views=_charts(energies, formula),
    )


def _formula(energies: RingEnergies) -> str:
    """Six-membered carbon rings where there are enough, else the commonest formula."""
    counts = Counter(ring.formula for ring in energies.rings)
    return FORMULA if counts[FORMULA] >= FEWEST else counts.most_common(1)[0][0]


def _ranked(formula: str, aromatic: bool | None, models: list[tuple[NamedModel, RingEnergies]]) -> Ranked:
    first = models[0][1]
    rows = first.ranking(formula, aromatic=aromatic)
    kind = _architecture(models[0][0])
    others = tuple(
        Other(
            entry.name,
            _architecture(entry) == kind,
            _tau(first.values[rows], energies.values[rows]),
        )
        for entry, energies in models[1:]
        if len(rows) >= FEWEST
    )
    return Ranked(f"{'aromatic ' if aromatic else ''}{formula}", rows, first, others)


def _tau(first: np.ndarray, second: np.ndarray) -> float | None:
    """Kendall's τ of two models' energies; None where there is no order to be compared."""
    if min(np.ptp(first), np.ptp(second)) < TIED:
        return None
    tau = float(kendalltau(first, second).statistic)
    return tau if np.isfinite(tau) else None


def _architecture(entry: NamedModel) -> str:
    return type(entry.model.representation).__name__


def _area(energies: RingEnergies, formula: str) -> float | None:
    """How well stability alone tells aromatic rings of a formula from others; None where there is one sort only."""
    rows = [row for row in energies.ranking(formula) if energies.rings[row].aromatic is not None]
    flags = np.array([energies.rings[row].aromatic for row in rows], dtype=bool)
    return separation(energies.values[rows], flags) if 0 < flags.sum() < len(flags) else None


def _reading(shown: NamedModel, energies: RingEnergies, sets: list[Ranked], area: float | None, data: DataRings) -> str:
    """The ranking, what tells its ends apart, and whether aromatic rings stand out."""
    main = sets[0]
    values = energies.values[main.rows]
    text = (
        f"{len(energies.rings):,} rings in {data.looked:,} molecules. By {shown.name} the atoms of {main.title} rings "
        f"({len(values):,}) add up to between {in_kcal(values[0])} and {in_kcal(values[-1])} kcal/mol, measured from "
        f"{energies.relative_to}; lower is more stable. "
    )
    if area is not None:
        text += (
            f"Put an aromatic {main.title} ring beside one that is not, and the aromatic one is the more stable in "
            f"{100 * area:.1f} % of all cases. "
        )
    return text + _ends(sets[-1]) + _caution(sets[-1])


def _ends(ranked: Ranked) -> str:
    """The element bonded to the rings of one end much oftener than to those of the other."""
    count = ranked.end
    if not count:
        return ""
    rings = [ranked.energies.rings[row] for row in ranked.rows]
    elements = sorted({symbol for ring in (*rings[:count], *rings[-count:]) for symbol in ring.beside})
    tallies = [
        (name, *(sum(name in ring.beside for ring in part) for part in (rings[:count], rings[-count:])))
        for name in elements
    ]
    if not tallies:
        return ""
    name, top, bottom = max(tallies, key=lambda tally: abs(tally[1] - tally[2]))
    return (
        f"Among {ranked.title} rings {name} is bonded to {top} of the {count} most stable and to {bottom} of the "
        f"{count} least stable."
    )


def _caution(ranked: Ranked) -> str:
    low, lowest = min(ranked.compared, key=lambda found: found[1], default=(None, 1.0))
    if low is None or lowest > KEPT:
        return ""
    tau = f"{lowest:.2f}".replace("-", "−")
    return f" {low.name} ranks them otherwise (Kendall τ {tau}): no story should be built on their order."


def _trust(models: list[tuple[NamedModel, RingEnergies]], sets: list[Ranked], data: DataRings) -> str:
    text = f"{data.looked:,} of the data's {data.of:,} molecules, rings found from distances by RDKit. "
    text += (
        "How an energy is shared between a ring and what is bonded to it is the model's choice, and hydrogens are not "
        "counted, of which aromatic rings have fewer: read differences within a kind of ring. "
    )
    if len(models) == 1:
        return text + "One model: whether another training ranks them alike is not known."
    parts = [
        f"{ranked.title}: "
        + ", ".join(f"{other.name} " + f"{tau:.2f}".replace("-", "−") for other, tau in ranked.compared)
        for ranked in sets
        if ranked.compared
    ]
    if not parts:
        return text + f"There are {len(models)} models, but too few rings of different energies to compare rankings."
    return text + f"Agreement with the ranking by {models[0][0].name} (Kendall τ, 1 is the same): {'; '.join(parts)}."


def _checks(energies: RingEnergies, sets: list[Ranked], area: float | None) -> tuple[Check, ...]:
    known = float(np.mean([ring.aromatic is not None for ring in energies.rings]))
    what = "Share of the rings whose molecule has consistent bond orders on the bonds that distances give"
    checks = [Check("bonds make sense", what, known, f"above {PERCEIVED:g}", "", known > PERCEIVED)]
    if area is not None:
        what = f"Share of pairs of {sets[0].title} rings in which the aromatic one (RDKit) is the more stable"
        checks.append(
            Check("aromatic rings are stable", what, area, f"above {SEPARATED:g}", "", area > SEPARATED, claim=True)
        )
    for ranked in sets:
        for same, name in ((True, "another training"), (False, "another architecture")):
            taus = [tau for other, tau in ranked.compared if other.same_architecture is same]
            if taus:
                what = f"Kendall τ of the ranking of {len(ranked.rows):,} {ranked.title} rings, lowest of {len(taus)}"
                low = min(taus)
                checks.append(
                    Check(f"ranking kept by {name}", what, low, f"above {KEPT:g}", "", low > KEPT, claim=True)
                )
    return tuple(checks)


def _facts(
    models: list[tuple[NamedModel, RingEnergies]],
    energies: RingEnergies,
    sets: list[Ranked],
    area: float | None,
    data: DataRings,
) -> dict[str, Any]:
    return {
        **energies.to_dict(),
        "model": models[0][0].name,
        "molecules": data.looked,
        "aromatic_more_stable": area,
        "rankings": {
            ranked.title: {
                "kendall_tau": {other.name: other.tau for other in ranked.others},
                "most_to_least_stable": [
                    {"structure": int(energies.structures[row]), "energy": float(energies.values[row])}
                    for row in (*ranked.rows[: ranked.end], *ranked.rows[len(ranked.rows) - ranked.end :])
                ],
            }
            for ranked in sets
        },
    }


def _ends_of(ranked: Ranked) -> dict[str, np.ndarray]:
    if not ranked.end:
        return {f"all {ranked.title} rings": ranked.rows}
    return {
        f"most stable {ranked.title} rings": ranked.rows[: ranked.end],
        f"least stable {ranked.title} rings": ranked.rows[-ranked.end :],
    }


def _gallery(subject: Subject, ranked: Ranked) -> Any:
    blocks = {
        title[0].upper() + title[1:]: [_entry(subject, ranked, int(row)) for row in rows]
        for title, rows in _ends_of(ranked).items()
    }
    return drawing.gallery(blocks, f"ring energy, less the mean of {len(ranked.rows):,} rings")


def _entry(subject: Subject, ranked: Ranked, row: int) -> drawing.Entry:
    energies = ranked.energies
    drawn, where = sketch(subject.data[int(energies.structures[row])])
    ring = tuple(where[atom] for atom in energies.rings[row].atoms)
    return drawing.Entry(drawn, ring, float(energies.values[row]), float(energies.values[row]) - ranked.mean)


def _ranking_table(subject: Subject, ranked: Ranked) -> Table:
    energies, origin = ranked.energies, subject.data.origin.places
    rows = []
    for row in np.concatenate(list(_ends_of(ranked).values())).tolist():
        structure = int(energies.structures[row])
        system = subject.data[structure]
        rows.append(
            (
                int(np.flatnonzero(ranked.rows == row)[0]) + 1,
                smiles(system) or system.formula,
                structure if origin is None else int(origin[structure]),
                round(float(energies.values[row]) / KCAL_PER_MOL, 1),
                round((float(energies.values[row]) - ranked.mean) / KCAL_PER_MOL, 1),
            )
        )
    columns = ("rank", "molecule (SMILES)", "structure", "E_ring (kcal/mol)", "less the mean (kcal/mol)")
    title = f"{ranked.title} rings: the {ranked.end} most and least stable of {len(ranked.rows):,}"
    return Table(title, columns, tuple(rows))


def _commonest(energies: RingEnergies, formula: str) -> dict[str, np.ndarray]:
    """Rows of the commonest kinds and, if they are not among them, of the formula that is ranked."""
    kinds = energies.kinds
    ranked = [name for name in (formula, f"aromatic {formula}") if name in kinds]
    return {name: kinds[name] for name in dict.fromkeys([*list(kinds)[:KINDS], *ranked])}


def _kinds_table(energies: RingEnergies, formula: str) -> Table:
    rows: list[tuple[str | int | float, ...]] = []
    for name, chosen in _commonest(energies, formula).items():
        values = energies.values[chosen] / KCAL_PER_MOL
        numbers = (
            values.mean(),
            values.std(),
            values.min(),
            values.max(),
            values.mean() / energies.rings[chosen[0]].size,
        )
        rows.append((name, len(chosen), *(round(float(value), 1) for value in numbers)))
    columns = ("ring", "how many", "mean (kcal/mol)", "spread", "most stable", "least stable", "mean per atom")
    return Table(f"Kinds of rings: {len(rows)} of {len(energies.kinds)}, the commonest first", columns, tuple(rows))


def _charts(energies: RingEnergies, formula: str) -> tuple[Chart, ...]:
    """Distributions of the ranked formula, and of the commonest kinds about their means."""
    parts = {
        name: energies.values[energies.ranking(formula, aromatic=flag)]
        for name, flag in ((f"aromatic {formula}", True), (f"{formula}, not aromatic", False))
    }
    commonest = {name: energies.deviations[rows] for name, rows in list(energies.kinds.items())[:6]}
    charts = [
        _histogram(f"Energies of {formula} rings", "energy of the ring's atoms (kcal/mol)", parts),
        _histogram("Rings of the commonest kinds", "energy less the mean of the kind (kcal/mol)", commonest),
    ]
    return tuple(chart for chart in charts if chart.series)


def _histogram(title: str, label: str, parts: dict[str, np.ndarray]) -> Chart:
    """Counts of 60 bins over all values, as steps."""
    filled = {name: values / KCAL_PER_MOL for name, values in parts.items() if len(values)}
    together = np.concatenate([*filled.values(), np.empty(0)])
    edges = np.linspace(together.min() - 1.0, together.max() + 1.0, 61) if together.size else np.empty(0)
    series = tuple(
        Series(name, np.repeat(edges, 2)[1:-1], np.repeat(np.histogram(values, edges)[0], 2))
        for name, values in filled.items()
    )
    return Chart(title, label, "rings", series)
