"""The panel of one molecule's rings: their energies beside those of the data set's rings of the same kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from atomlens.data.units import KCAL_PER_MOL
from atomlens.errors import InputError
from atomlens.explain.baseline import energy_baseline
from atomlens.explain.rings.data_rings import data_rings, serving
from atomlens.explain.rings.ring_perception import Ring, check_open, find_rings, sketch
from atomlens.explain.rings.rings import RingEnergies, in_kcal
from atomlens.explain.subject import NamedModel, Subject
from atomlens.figures import rings as drawing
from atomlens.panel import Chart, Check, Panel, Series, Table

FEW = 5  # rings of a kind, below which a mean says little
DRAWN = 6  # rings that are lettered and spoken of


@dataclass(frozen=True)
class Placed:
    """A ring of the molecule among those of its kind in the data, by one model."""

    ring: Ring
    energy: float  # eV
    others: np.ndarray  # (rings,) eV, rings of the kind in the data, sorted

    @property
    def deviation(self) -> float | None:
        """From the mean of the kind, in eV; None where the data have too few."""
        return self.energy - float(self.others.mean()) if len(self.others) >= FEW else None

    @property
    def rank(self) -> int:
        """One more than the number of rings of the data that are more stable by more than rounding."""
        return 1 + int((self.others < self.energy - 1e-4).sum())

    @property
    def words(self) -> str:
        """One line for the figure."""
        text = f"{self.ring.kind}: {in_kcal(self.energy)} kcal/mol"
        if self.deviation is None:
            return f"{text}; {len(self.others)} such rings in the data"
        return f"{text}, {_from_mean(self.deviation)} the mean of {len(self.others):,}; rank {self.rank:,}"


def of_structure(subject: Subject, place: int) -> Panel:
    """Rings of one of the structures shown."""
    system = subject.systems[place]
    check_open(system)
    rings = find_rings(system)
    if not rings:
        raise InputError("this molecule has no ring")
    models = serving(subject)
    placed = [_placed(subject, entry, place, rings, energies) for entry, energies in models]
    shown = sorted(placed[0], key=lambda each: each.deviation or 0.0)
    relative_to = models[0][1].relative_to
    return Panel(
        "rings",
        place,
        reading=_reading(shown, relative_to),
        trust=_trust(subject, [entry for entry, _ in models], placed, shown),
        checks=_checks(placed),
        facts=_facts(models[0][0], placed[0], relative_to),
        figures={"rings": _figure(subject, place, shown[:DRAWN])},
        tables=(_table(shown),),
        views=_charts(shown),
    )


def _placed(
    subject: Subject, entry: NamedModel, place: int, rings: tuple[Ring, ...], data: RingEnergies
) -> list[Placed]:
    baseline, _ = energy_baseline(entry.model, None)
    terms = subject.of_structure(entry, place)["atom_energies"] - baseline[subject.systems[place].numbers]
    return [
        Placed(
            ring,
            float(terms[list(ring.atoms)].sum()),
            np.sort(data.values[data.kinds.get(ring.kind, np.empty(0, dtype=np.int64))]),
        )
        for ring in rings
    ]


def _from_mean(deviation: float) -> str:
    size = in_kcal(abs(deviation))
    return f"{size} below" if deviation < 0 else f"{size} above"


def _reading(shown: list[Placed], relative_to: str) -> str:
    """How many rings, and the most unusual ones among their kind."""
    count = "one ring" if len(shown) == 1 else f"{len(shown)} rings"
    text = f"This molecule has {count}. "
    told = _told(shown)
    if not told:
        kinds = ", ".join(dict.fromkeys(each.ring.kind for each in shown))
        return text + f"The data have fewer than {FEW} rings of the kind ({kinds}), so nothing can be compared."
    for each in told:
        deviation = each.deviation or 0.0
        side = "more" if deviation < 0 else "less"
        better = 100 * float((each.others > each.energy + 1e-4).mean())
        text += (
            f"The atoms of the {each.ring.kind} ring add up to {in_kcal(each.energy)} kcal/mol, measured from "
            f"{relative_to}: {in_kcal(abs(deviation))} {side} stable than the mean of {len(each.others):,} such rings "
            f"of the data, and more stable than {better:.0f} % of them. "
        )
    return text.strip()


def _told(shown: list[Placed]) -> list[Placed]:
    """The rings that are spoken of: the most and the least stable for their kind."""
    known = [each for each in shown if each.deviation is not None]
    return known if len(known) <= 2 else [known[0], known[-1]]


def _trust(subject: Subject, models: list[NamedModel], placed: list[list[Placed]], shown: list[Placed]) -> str:
    found = data_rings(subject)
    text = f"Model {models[0].name}; rings of {found.looked:,} of the data's {found.of:,} molecules. "
    text += "How an energy is shared between a ring and what is bonded to it is the model's choice. "
    if len(models) == 1:
        return text + "One model: whether another training says the same is not known."
    for each in _told(shown):
        own = next(row for row, other in enumerate(placed[0]) if other is each)
        ranks = ", ".join(f"{rows[own].rank:,} ({entry.name})" for entry, rows in zip(models, placed, strict=True))
        text += f"Rank of the {each.ring.kind} ring among {len(each.others):,} by model: {ranks}. "
    return text.strip()


def _checks(placed: list[list[Placed]]) -> tuple[Check, ...]:
    """Whether other models move a ring among its kind by less than rings of the kind differ."""
    apart = []
    for rows in zip(*placed, strict=True):
        deviations = np.array([np.nan if each.deviation is None else each.deviation for each in rows])
        if len(rows) > 1 and np.isfinite(deviations).all():
            apart.append(float(np.ptp(deviations) / max(rows[0].others.std(), 1e-9)))
    if not apart:
        return ()
    what = (
        f"How far {len(placed)} models disagree on a ring's distance from the mean of its kind, largest of the rings, "
        "as a share of the spread of the kind"
    )
    return (Check("kept by other models", what, max(apart), "below 1", "", max(apart) < 1.0, claim=True),)


def _facts(entry: NamedModel, rows: list[Placed], relative_to: str) -> dict[str, Any]:
    return {
        "unit": "eV",
        "model": entry.name,
        "relative_to": relative_to,
        "rings": [
            {
                "atoms": list(each.ring.atoms),
                "kind": each.ring.kind,
                "aromatic": each.ring.aromatic,
                "energy": each.energy,
                "deviation": each.deviation,
                "rank": each.rank if each.deviation is not None else None,
                "of_its_kind_in_data": len(each.others),
            }
            for each in rows
        ],
    }


def _figure(subject: Subject, place: int, shown: list[Placed]) -> Any:
    drawn, where = sketch(subject.systems[place])
    rings = [tuple(where[atom] for atom in each.ring.atoms) for each in shown]
    label = "ring energy, less the mean of its kind"
    usual = max((float(each.others.std()) for each in shown if each.deviation is not None), default=0.0)
    deviations, words = [each.deviation for each in shown], [each.words for each in shown]
    return drawing.molecule_rings(drawn, rings, deviations, words, label, usual)


def _table(shown: list[Placed]) -> Table:
    columns = ("ring", "atoms", "E_ring (kcal/mol)", "less the mean of its kind (kcal/mol)", "rank", "of")
    rows = [
        (
            each.ring.kind,
            " ".join(str(atom) for atom in each.ring.atoms),
            round(each.energy / KCAL_PER_MOL, 1),
            "–" if each.deviation is None else round(each.deviation / KCAL_PER_MOL, 1),
            "–" if each.deviation is None else each.rank,
            len(each.others),
        )
        for each in shown
    ]
    return Table("Rings of this molecule, most stable for its kind first", columns, tuple(rows))


def _charts(shown: list[Placed]) -> tuple[Chart, ...]:
    """Per kind, every ring of the data in order of stability, and this molecule's."""
    charts = []
    for kind in dict.fromkeys(each.ring.kind for each in shown if each.deviation is not None):
        own = [each for each in shown if each.ring.kind == kind]
        others = own[0].others / KCAL_PER_MOL
        share = (np.arange(len(others)) + 0.5) / len(others) * 100
        energies = np.array([each.energy for each in own]) / KCAL_PER_MOL
        below = np.interp(energies, others, share)
        series = (
            Series(f"{len(others):,} rings of the data", others, share),
            Series("this molecule", energies, below, "markers"),
        )
        charts.append(
            Chart(f"{kind} rings", "energy of the ring's atoms (kcal/mol)", "rings that are more stable (%)", series)
        )
    return tuple(charts)
