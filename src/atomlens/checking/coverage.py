"""What a network can learn from: which labels are known, which bonds occur."""

from __future__ import annotations

import numpy as np

from atomlens.checking.distances import distances
from atomlens.checking.outcome import DataCheck, Outcome
from atomlens.checking.places import named, share
from atomlens.data.dataset import Dataset
from atomlens.data.quantities import quantity
from atomlens.data.system import symbol
from atomlens.wording import counted

_FEW = 10  # structures with a bond, below which a network hardly learns it
_NAMED = 8


def check_coverage(data: Dataset) -> list[Outcome]:
    """Labels that are not known, and kinds of bonds that occur in few structures."""
    return [*_labels(data), *_partly(data), *_bonds(data)]


def _labels(data: Dataset) -> list[Outcome]:
    if not data.labels:
        words = "No labels: nothing can be learned from these structures. Name the key and unit of one with --label."
        return [Outcome("coverage", "warning", words)]
    known = {name: int(data.known([name]).sum()) for name in data.labels}
    facts = {"known": known, "structures": len(data)}
    lacking = {name: count for name, count in known.items() if count < len(data)}
    if not lacking:
        words = f"Known for all {counted(len(data), 'structure')}: {', '.join(data.labels)}."
        return [Outcome("coverage", "ok", words, facts=facts)]
    alike: dict[int, list[str]] = {}
    for name, count in lacking.items():
        alike.setdefault(count, []).append(name)
    parts = [
        f"{', '.join(names)} in {count:,} of {len(data):,} ({share(count, len(data))})"
        for count, names in alike.items()
    ]
    nothing = np.flatnonzero(~data.known(list(data.labels)))
    without = f" {counted(len(nothing), 'structure')} without any label count for nothing." if len(nothing) else ""
    words = f"Labels that are known for some structures only: {'; '.join(parts)}.{without}"
    empty = [name for name, count in known.items() if count == 0]
    if empty:
        words += f" {', '.join(empty)}: known for none, so it cannot be trained on."
    return [Outcome("coverage", "warning" if empty else "note", words, nothing, facts)]


def _partly(data: Dataset) -> list[Outcome]:
    """Labels of atoms, or of several numbers, of which a structure has some and lacks some: rarely on purpose."""
    outcomes = []
    for name, values in data.labels.items():
        known = np.isfinite(np.asarray(values).reshape(len(values), -1))
        if quantity(name).per == "atom":
            some = np.logical_or.reduceat(known.any(axis=1), data.offsets[:-1])
            every = np.logical_and.reduceat(known.all(axis=1), data.offsets[:-1])
        else:
            some, every = known.any(axis=1), known.all(axis=1)
        rows = np.flatnonzero(some & ~every)
        if not len(rows):
            continue
        atoms = " for some of their atoms" if quantity(name).per == "atom" else " in part"
        words = (
            f"'{name}' is known{atoms} only in {counted(len(rows), 'structure')} ({named(data, rows)}); they do not "
            "count for this label. Was something lost in writing?"
        )
        outcomes.append(Outcome("coverage", "warning", words, rows, {"label": name, "structures": len(rows)}))
    return outcomes


def _bonds(data: Dataset) -> list[Outcome]:
    found = distances(data)
    facts = {f"{symbol(a)}-{symbol(b)}": times for (a, b), times in sorted(found.pairs.items())}
    rare = sorted((times, name) for name, times in facts.items() if times < _FEW)
    sampled = "" if len(found.measured) == len(data) else f" of the {len(found.measured):,} that were looked at"
    if not rare or len(data) < 10 * _FEW:
        return []
    listed = ", ".join(f"{name} ({times})" for times, name in rare[:_NAMED])
    more = f" and {len(rare) - _NAMED:,} more" if len(rare) > _NAMED else ""
    words = (
        f"{len(rare):,} of {counted(len(facts), 'kind')} of bonds occur in fewer than {_FEW} structures{sampled}: "
        f"{listed}{more}. What a network says of such bonds rests on next to nothing."
    )
    return [Outcome("coverage", "note", words, facts={"bonds": facts, "rare": len(rare)})]


CHECK = DataCheck(
    "coverage",
    "Coverage",
    "Which labels are known for which structures, and which kinds of bonds occur too rarely to be learned.",
    check_coverage,
)
