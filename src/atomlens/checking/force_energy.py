"""Forces against energies: along the way from a frame to its neighbour the energy changes by what the forces say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from atomlens.checking.comparable_frames import FramePairs, comparable_groups, frame_pairs, sampled_frames
from atomlens.checking.misfit_frames import Misfit, misfit_frames
from atomlens.checking.outcome import DataCheck, Outcome, Status
from atomlens.checking.places import named
from atomlens.checking.robust import Line, line_through_origin, rank_correlation
from atomlens.checking.unit_mixups import energy_force_mixups
from atomlens.data.dataset import Dataset
from atomlens.data.units import KCAL_PER_MOL
from atomlens.wording import counted

_NAME = "force_energy"
# Beyond, a straight line between two frames crosses barriers, and its ends tell nothing about the whole.
_FARTHEST = 0.35  # Å
_SAME_CELL = 1e-4  # strain; what differs by more is the stress' to tell
_NEAR_SHARE, _NEAR_LEAST = 0.3, 60  # pairs that the slope is fitted to
_FEWEST_PAIRS, _FEWEST_APART = 12, 8
# Spearman's correlation of labels that do not belong together is 0 within 1 / sqrt(n - 1); of right ones it is above
# 0.8 even where the nearest frames are 0.3 Å apart.
_UNRELATED, _TOLD_BY = 0.3, 20
_WEAK = 0.75
_OWN_SLOPE = 0.05  # the third order bends the slope of right labels by as much, and by more where it weakens r
_MIXED = 1.2  # slopes beyond this factor, or below its inverse, are no matter of the level of theory
# Residuals of labels that belong together are of the third order: beside the derivative's change along the way, which
# is of the second, they fall with the distance. Those of forces from another level of theory are of the first and
# rise. Of the nearest pairs they keep this share of the work, and beside the change this times what the farther pairs
# have (MD17 and rMD17, all ten: mixed labels 0.15 to 0.3 and 1.6 to 9, right ones 0.004 to 0.07 or below 1.3).
_SHARE, _RISES, _MOST_SHARE = 0.12, 1.5, 0.36
# What the third order leaves of the derivative's change: 0.003 (metals) to 0.03. In large structures the changes add up
# and the work averages out: independent frames of 1,000 atoms 0.3 Å apart have a change of 100 times the work.
_THIRD_ORDER, _BLURRED = 0.01, 0.5
_NEAREST, _FEWEST_NEAREST = 0.02, 20  # of the near pairs
_ADVICE = "no model can fit both; take energies and forces from one calculation"


@dataclass(frozen=True)
class Comparison:
    """What pairs of frames say about energies and forces; energies in eV, distances in Å."""

    pairs: FramePairs
    near: np.ndarray  # (pairs,) bool: those that the line was fitted to
    work: np.ndarray  # (pairs,) by the forces
    line: Line
    rank: float  # Spearman's correlation of pairs that share no frame
    apart: int  # how many those are
    residual: float  # root mean square over the near pairs
    share: float  # of the nearest pairs: size of the residual over that of the work
    rises: float  # the same, over the derivative's change, beside that of the farther pairs
    blur: float  # relative error of the slope that the third order may make

    @property
    def slope(self) -> float:
        """Of the reduced major axis: the work is no more exact than the energy, and a regression on it is too flat."""
        return self.line.slope / max(abs(self.line.correlation), 0.5)

    def facts(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "slope": self.slope,
            "slope_error": self.line.error,
            "correlation": self.line.correlation,
            "rank_correlation": self.rank,
            "pairs": int(self.near.sum()),
            "independent_pairs": self.apart,
            "residual_ev": self.residual,
            "distance_ang": float(np.median(self.pairs.distance[self.near])),
            "nearest_residual_over_work": self.share,
            "nearest_over_farther": self.rises,
            "third_order": self.blur,
        }


def check_force_energy(data: Dataset) -> list[Outcome]:
    """Whether energies change between near frames by what the forces along the way say."""
    if not {"energy", "forces"} <= data.labels.keys():
        return []
    groups = comparable_groups(data, data.known(["energy"]) & data.known(["forces"]))
    if not groups:
        return [_skipped("no two structures have the same atoms in the same order")]
    sampled = sampled_frames(groups, data.n_atoms)
    pairs = frame_pairs(data, sampled)
    pairs = pairs.at(pairs.strain < _SAME_CELL)
    if not len(pairs):
        return [_skipped("no two structures with the same atoms have the same cell")]
    nearest = float(np.median(pairs.distance))
    pairs = pairs.at(pairs.distance < _FARTHEST)
    if len(pairs) < _FEWEST_PAIRS:
        return [_skipped(f"the nearest frames are {nearest:.2f} Å apart, where forces say nothing about energies")]
    comparison = compared(pairs)
    if comparison.apart < _FEWEST_APART:
        return [_skipped(f"only {counted(comparison.apart, 'pair')} of near frames share none, too few to tell")]
    about = _about(groups, sampled)
    return _judged(data, comparison, about)


def follow_energies(data: Dataset) -> bool:
    """Whether near frames show that forces and energies are of one surface, whatever it is."""
    found = check_force_energy(data)
    return bool(found and found[0].status == "ok" and found[0].facts["nearest_residual_over_work"] < _SHARE)


def _skipped(why: str) -> Outcome:
    return Outcome(_NAME, "skipped", f"Forces cannot be held against energies: {why}.")


def _about(groups: list[np.ndarray], sampled: list[np.ndarray]) -> str:
    looked_at, there = sum(map(len, sampled)), sum(map(len, groups))
    kinds = f" of {len(sampled)} compositions or orders of atoms" if len(sampled) > 1 else ""
    of_all = f"{looked_at:,} frames" if looked_at == there else f"{looked_at:,} of {there:,} frames"
    return f"{of_all}{kinds}"


def compared(pairs: FramePairs) -> Comparison:
    """Fit the line of energies against work to the nearest pairs.

    Pairs along whose way the derivative changes much count for less: their third order is large as well.
    """
    work = 0.5 * pairs.paths.sum(axis=1)
    change = np.abs(pairs.paths[:, 1] - pairs.paths[:, 0])
    order = np.argsort(pairs.distance, kind="stable")
    count = max(min(_NEAR_LEAST, len(pairs)), int(_NEAR_SHARE * len(pairs)))
    alone = _sharing_none(pairs, order[:count])
    if len(alone) < _TOLD_BY:
        count, alone = len(pairs), _sharing_none(pairs, order)
    near = np.zeros(len(pairs), dtype=bool)
    near[order[:count]] = True
    spread = change + 0.1 * np.median(change[near]) + 1e-12
    line = line_through_origin(work[near], pairs.energy[near], spread[near])
    residual = np.abs(pairs.energy - line.slope / max(abs(line.correlation), 0.5) * work)
    share, rises = _nearest_pairs(residual, np.abs(line.slope * work), change, order[:count])
    return Comparison(
        pairs=pairs,
        near=near,
        work=work,
        line=line,
        rank=rank_correlation(work[alone], pairs.energy[alone]),
        apart=len(alone),
        residual=float(np.sqrt((residual[near] ** 2).mean())),
        share=share,
        rises=rises,
        blur=_THIRD_ORDER * float(np.median(change[near])) / max(float(np.median(np.abs(work[near]))), 1e-12),
    )


def _sharing_none(pairs: FramePairs, order: np.ndarray) -> np.ndarray:
    """Rows of pairs of which no two share a frame, taken in this order."""
    taken: set[int] = set()
    kept = []
    for row in order:
        ends = {int(pairs.first[row]), int(pairs.second[row])}
        if not ends & taken:
            taken |= ends
            kept.append(row)
    return np.array(kept, dtype=np.int64)


def _nearest_pairs(
    residual: np.ndarray, work: np.ndarray, change: np.ndarray, order: np.ndarray
) -> tuple[float, float]:
    """The residual of the nearest pairs: as a share of the work, and of the change beside that of the farther pairs."""
    nearest, rest = order[: max(_FEWEST_NEAREST, int(_NEAREST * len(order)))], order[len(order) // 2 :]
    typical, relative = float(np.median(work[nearest])), residual / np.maximum(change, 1e-12)
    beside = float(np.median(relative[rest]))
    if not typical or not beside:
        return 0.0, 0.0
    return float(np.median(residual[nearest])) / typical, float(np.median(relative[nearest])) / beside


def _judged(data: Dataset, found: Comparison, about: str) -> list[Outcome]:
    line, sizes = found.line, data.n_atoms[found.pairs.first]
    figures = {"force_energy": partial(_figure, found)}
    numbers = (
        f"slope {found.slope:.3g} ± {line.error:.1g}, correlation {found.rank:.2f}, residual "
        f"{energy_shown(found.residual)} over {counted(int(found.near.sum()), 'pair')} of near frames ({about})"
    )
    status, words = _verdict(found, sizes)
    outcome = Outcome(_NAME, status, f"{words} ({numbers}).".replace(") (", "; "), facts=found.facts(), figures=figures)
    if abs(found.rank) < _WEAK:
        return [outcome]
    misfits = misfit_frames(found.pairs, found.slope)
    return [outcome, *_misfits(data, misfits)]


def _verdict(found: Comparison, sizes: np.ndarray) -> tuple[Status, str]:
    """The status and a sentence without its full stop."""
    slope, deviations = found.slope, abs(found.rank) * np.sqrt(found.apart - 1)
    if found.blur > _BLURRED and (slope < 0.0 or abs(found.rank) < _WEAK):
        return "warning", (
            "Energies do not follow the forces, but the frames are so large and so far apart that they need not. "
            "Frames that follow each other closely would tell"
        )
    if abs(found.rank) < _UNRELATED and found.apart >= _TOLD_BY:
        return "fault", (
            "Energies do not follow the forces at all: one of the two labels is shuffled or belongs to other "
            "structures "
            f"(their correlation is {deviations:.1f} standard deviations from none). Join them again"
        )
    if slope < 0.0 and (found.apart >= _TOLD_BY or abs(found.rank) >= _WEAK):
        mixups = energy_force_mixups(-slope)
        also = f", and by a factor: {mixups[0].meaning}" if mixups and abs(np.log(-slope)) > np.log(_MIXED) else ""
        return "fault", f"Forces point uphill: their sign is wrong (they are gradients{also}). Turn it round"
    if abs(found.rank) < _WEAK:
        return "warning", (
            "Energies follow the forces only loosely: part of the labels may be shuffled or of other structures, or "
            "the "
            "frames are too far apart to tell"
        )
    if abs(np.log(slope)) > np.log(_MIXED) + np.log1p(found.blur):
        return _of_factor(found, slope, sizes)
    if (found.share > _SHARE and found.rises > _RISES) or found.share > _MOST_SHARE + 5.0 * found.blur:
        return "warning", (
            f"Energies and forces are not of one surface: between the nearest frames {100 * found.share:.0f} % of the "
            "work "
            "does not show in the energy, and curvature does not explain it. They are noisy, or of two levels of "
            "theory; "
            f"{_ADVICE}"
        )
    if abs(slope - 1.0) > max(_OWN_SLOPE + found.blur + 1.0 - abs(found.line.correlation), 5.0 * found.line.error):
        return "warning", (
            f"Energies change {slope:.2f} times as much as the forces say: they may be of two levels of theory; "
            f"{_ADVICE}"
        )
    return "ok", "Energies change by what the forces say"


def _of_factor(found: Comparison, slope: float, sizes: np.ndarray) -> tuple[Status, str]:
    atoms = float(np.median(sizes))
    ways = [entry.meaning for entry in energy_force_mixups(slope)[:2]]
    if atoms > 1 and abs(np.log(slope * atoms)) < 0.1:
        ways.insert(0, f"energies are per atom (of {atoms:.0f}), taken for totals")
    words = f"Energies change {slope:.3g} times as much as the forces say"
    if ways:
        return "fault", f"{words}: {', or '.join(ways)}. State the right unit"
    if found.line.correlation < 0.9:
        return "warning", f"{words}, loosely: the frames may be too far apart to tell, or labels are noisy"
    return "fault", f"{words}, which no usual mix-up of units explains. Look up how they were written"


def _misfits(data: Dataset, misfits: list[Misfit]) -> list[Outcome]:
    """One outcome about single frames that do not fit their neighbours."""
    if not misfits:
        return []
    rows = np.array([entry.structure for entry in misfits])
    kinds: dict[str, list[Misfit]] = {}
    for entry in misfits:
        kinds.setdefault(entry.kind, []).append(entry)
    parts = []
    for kind, entries in kinds.items():
        which = named(data, np.array([entry.structure for entry in entries]))
        worst = entries[0]
        parts.append(f"{which}: {_KINDS[kind].format(size=energy_shown(abs(worst.size)), factor=worst.size)}")
    words = (
        f"{counted(len(misfits), 'frame')} whose labels do not fit those of the near frames. "
        f"{'; '.join(parts)}. Compute them again or leave them out."
    )
    facts: Mapping[str, Any] = {
        "frames": [
            {"structure": entry.structure, "kind": entry.kind, "size": entry.size, "deviations": entry.deviations}
            for entry in misfits[:100]
        ]
    }
    sure = any(entry.sure for entry in misfits)
    return [Outcome(_NAME, "fault" if sure else "warning", words[0].upper() + words[1:], rows, facts)]


_KINDS = {
    "sign": "forces with the wrong sign",
    "factor": "forces too large by a factor (of the first: {factor:.3g})",
    "energy": "an energy that is off (of the first by {size})",
    "other": "energy or forces of something else (of the first off by {size})",
}


def energy_shown(energy: float) -> str:
    """An energy in eV in both units of the field."""
    return f"{energy / KCAL_PER_MOL:.3g} kcal/mol ({1000.0 * energy:.3g} meV)"


def _figure(found: Comparison) -> Any:
    from atomlens.figures.data_checks_forces import work_against_energy

    return work_against_energy(
        found.work[found.near],
        found.pairs.energy[found.near],
        found.pairs.distance[found.near],
        found.slope,
    )


FORCE_ENERGY = DataCheck(
    _NAME,
    "Forces against energies",
    "Whether the energy changes from a frame to its neighbours by what the forces say: sign, units and order of "
    "labels.",
    check_force_energy,
)
