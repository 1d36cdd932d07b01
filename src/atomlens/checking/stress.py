"""Stress against strain: between crystals that differ by a small strain the energy changes by what the stress says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from atomlens.checking.comparable_frames import FramePairs, comparable_groups, frame_pairs, sampled_frames
from atomlens.checking.outcome import DataCheck, Outcome, Status
from atomlens.checking.places import named
from atomlens.checking.robust import plane_through_origin, spread
from atomlens.checking.stress_readings import READINGS, Reading, read_as
from atomlens.checking.stress_rows import wrong_rows
from atomlens.checking.unit_mixups import stress_mixups
from atomlens.data.dataset import Dataset
from atomlens.data.system import symbol
from atomlens.data.units import from_internal, parse_unit
from atomlens.wording import counted

_NAME = "stress"
_LEAST_STRAIN, _LARGEST_STRAIN = 1e-4, 0.15
_BOND = 2.5  # Å: a strain of e moves neighbouring atoms by this times e
_OWN_MOTION = 2.0  # atoms may move on their own by this times what the strain moves them
_FARTHEST = 0.35  # Å
_FEWEST = 5  # pairs
_FLOOR = 0.1  # of the usual residual: rounding of labels, whatever the distance
# Labelled stresses of silicon give the energies to 2 %; the third order of the strain bends slopes by some per cent.
_OWN_SLOPE, _MIXED = 0.08, 1.25
_DOUBTFUL = 0.25
_UNEXPLAINED = 0.4  # share of the energy differences that a stress of these structures never leaves over
_CLEARLY = 0.6  # another reading is believed if it misses less than this share of what the plain one misses
_MISSED = 5.0  # spreads of the best reading at which a pair counts as missed
_UNRELATED = 0.8  # and beyond this it has nothing to do with them
_STRETCH_FITS = 0.1
_ENOUGH, _MOST_SYSTEMS = 20, 12  # pairs of an element, or of elements together, that are judged alone
_THIRD_ORDER = 2.0  # copper of the effective medium potential needs 1
_OFFSET_LEAST, _OFFSET_HELPS = 0.1, 0.7  # GPa, and of the residuals it must leave less than this share


@dataclass(frozen=True)
class Fit:
    """How the energies follow one reading of the stress: energy = slope · work + offset · change of volume."""

    reading: Reading
    slope: float
    slope_error: float
    offset: float  # eV/Å³, isotropic; 0 where none is needed
    ends: np.ndarray  # (pairs, 2) eV, derivative of the energy by this reading at both ends
    said: np.ndarray  # (pairs,) eV, what the fit says
    residual: np.ndarray  # (pairs,) eV
    usual: np.ndarray  # (pairs,) relative size of the third order
    used: np.ndarray  # (pairs,) bool: those that were fitted to

    @property
    def scale(self) -> float:
        """What ``residual / usual`` spreads by among the pairs that were fitted to."""
        return spread((self.residual / self.usual)[self.used])

    @property
    def left(self) -> float:
        """Spread of what is left over, as a share of the differences of energy."""
        return self.scale / max(spread(((self.said + self.residual) / self.usual)[self.used]), 1e-300)


def check_stress(data: Dataset) -> list[Outcome]:
    """Whether energies change between strained crystals by what stress (and forces) along the way say."""
    if not {"energy", "stress"} <= data.labels.keys():
        return []
    usable = data.known(["energy"]) & data.known(["stress"]) & data.pbc.all(axis=1)
    with_forces = "forces" in data.labels
    if with_forces:
        usable &= data.known(["forces"])
    pairs = strained_pairs(data, usable, with_forces=with_forces)
    if len(pairs) < _FEWEST:
        words = (
            f"Stress cannot be held against strain: {counted(len(pairs), 'pair')} of structures with the same atoms "
            "in the "
            "same order differ by hardly more than a small strain."
        )
        return [Outcome(_NAME, "skipped", words)]
    systems = _systems(data, pairs)
    return [found for elements, rows in systems.items() for found in _checked(data, pairs.at(rows), elements)]


def _systems(data: Dataset, pairs: FramePairs) -> dict[str, np.ndarray]:
    """Rows of the pairs by their elements, where these are many: each may have been computed in its own way."""
    structures, place = np.unique(pairs.first, return_inverse=True)
    names = [" ".join(map(symbol, np.unique(data[int(index)].numbers).tolist())) for index in structures]
    kinds, of_structure = np.unique(names, return_inverse=True)
    kind = of_structure[place]
    counts = np.bincount(kind)
    alone = [index for index in np.argsort(-counts, kind="stable") if counts[index] >= _ENOUGH][:_MOST_SYSTEMS]
    if len(kinds) < 2 or not alone:
        return {"": np.arange(len(pairs))}
    found = {str(kinds[index]): np.flatnonzero(kind == index) for index in alone}
    rest = np.flatnonzero(~np.isin(kind, alone))
    return found | ({"others": rest} if len(rest) >= _FEWEST else {})


def _checked(data: Dataset, pairs: FramePairs, elements: str) -> list[Outcome]:
    aim = pairs.energy - 0.5 * pairs.paths.sum(axis=1)
    every = np.ones(len(pairs), dtype=bool)
    fit = best_fit([fitted(data, pairs, aim, reading, every) for reading in READINGS])
    if fit.left > _DOUBTFUL:
        fit = _without_shear(data, pairs, aim) or fit
    single = [] if fit.left > _UNEXPLAINED else _single(data, pairs, fit)
    outcomes = [_outcome(pairs, aim, fit), *single]
    about, short = f"{elements}: " if elements else "", elements.replace(" ", "")
    return [
        replace(
            found,
            sentence=about + found.sentence,
            facts=dict(found.facts) | {"elements": elements},
            figures={f"{name}_{short}" if short else name: draw for name, draw in found.figures.items()},
        )
        for found in outcomes
    ]


def _without_shear(data: Dataset, pairs: FramePairs, aim: np.ndarray) -> Fit | None:
    """The fit to pairs that only stretch, if these follow the stress: then the shears are to blame."""
    stretch = np.einsum("peii->pei", pairs.strains)[..., None] * np.eye(3)
    size = np.abs(pairs.strains).max(axis=(1, 2, 3))
    used = np.abs(pairs.strains - stretch).max(axis=(1, 2, 3)) < 0.05 * size
    if used.sum() < _FEWEST or used.all():
        return None
    fit = fitted(data, pairs, aim, READINGS[0], used)
    return fit if fit.left < _STRETCH_FITS else None


def strained_pairs(data: Dataset, usable: np.ndarray, *, with_forces: bool) -> FramePairs:
    """Pairs of crystals that differ by a strain and, by no more than twice as much, by displacements of their own."""
    groups = sampled_frames(comparable_groups(data, usable), data.n_atoms)
    pairs = frame_pairs(data, groups, with_forces=with_forces)
    strained = (pairs.strain > _LEAST_STRAIN) & (pairs.strain < _LARGEST_STRAIN)
    return pairs.at(strained & (pairs.distance < np.minimum(_FARTHEST, _OWN_MOTION * _BOND * pairs.strain)))


def fitted(data: Dataset, pairs: FramePairs, aim: np.ndarray, reading: Reading, used: np.ndarray) -> Fit:
    """The slope for one reading of the stress, and an isotropic offset where it explains much that the slope does not.

    Args:
        data: crystals with the label.
        pairs: of them.
        aim: (pairs,) eV, differences of energy less the work of the forces.
        reading: of the label.
        used: (pairs,) bool, those that are fitted to.
    """
    ends = np.stack(
        [
            (read_as(reading, data.labels["stress"][rows], data.cell[rows]) * pairs.strains[:, side]).sum(axis=(1, 2))
            for side, rows in enumerate((pairs.first, pairs.second))
        ],
        axis=1,
    )
    work, widening = 0.5 * ends.sum(axis=1), 0.5 * np.trace(pairs.strains, axis1=2, axis2=3).sum(axis=1)
    moved = np.abs(pairs.paths[:, 1] - pairs.paths[:, 0])
    change = np.abs(ends[:, 1] - ends[:, 0])
    columns = np.column_stack([work, widening])
    # The third order is the change of the derivative, which is the second, by the distance once more.
    near = pairs.strain + pairs.distance / _BOND
    near = near / np.median(near)
    usual = change * near + _FLOOR * np.median(change) + 1e-12
    for _ in range(2):  # a stress in another unit is weighed against the forces once its slope is known
        one, one_errors = plane_through_origin(columns[used, :1], aim[used], usual[used])
        usual = (moved + abs(one[0]) * change) * near
        usual += _FLOOR * np.median(usual) + 1e-12
    both, both_errors = plane_through_origin(columns[used], aim[used], usual[used])
    plain, shifted = (
        Fit(
            reading=reading,
            slope=float(found[0]),
            slope_error=float(errors[0]),
            offset=float(found[1]) if len(found) > 1 else 0.0,
            ends=ends,
            said=columns[:, : len(found)] @ found,
            residual=aim - columns[:, : len(found)] @ found,
            usual=usual,
            used=used,
        )
        for found, errors in ((one, one_errors), (both, both_errors))
    )
    large = abs(shifted.offset) > _OFFSET_LEAST * parse_unit("GPa")[0] + _anharmonic(data, pairs, plain.slope)
    needed = abs(both[1]) > 5.0 * both_errors[1] and shifted.left < _OFFSET_HELPS * plain.left
    return shifted if large and needed else plain


def _anharmonic(data: Dataset, pairs: FramePairs, slope: float) -> float:
    """eV/Å³ that the third order can look like an offset: the change of the pressure by the strain, once more."""
    pressure = slope * np.trace(data.labels["stress"], axis1=1, axis2=2) / 3.0
    change = np.abs(pressure[pairs.second] - pressure[pairs.first])
    return _THIRD_ORDER * float(np.median(change * pairs.strain))


def best_fit(fits: list[Fit]) -> Fit:
    """The first fit, unless another misses far fewer pairs: of shears in a wrong order most pairs know nothing."""
    limit = _MISSED * min(fit.scale for fit in fits) + 1e-300

    def missed(fit: Fit) -> float:
        return float(np.minimum(np.abs(fit.residual / fit.usual) / limit, 1.0).mean())

    best = min(fits, key=missed)
    if missed(best) < _CLEARLY * missed(fits[0]) and best.left < _UNEXPLAINED:
        return best
    plain, virial = fits[0], next(fit for fit in fits if fit.reading.kind == "virial")
    # Where all cells are nearly alike, the volume is a factor like any other.
    odd = _far_from_one(plain.slope) and not stress_mixups(abs(plain.slope))
    return virial if odd and virial.left < _UNEXPLAINED and not _far_from_one(virial.slope) else plain


def _far_from_one(slope: float) -> bool:
    return not 1.0 / _MIXED < abs(slope) < _MIXED


def _outcome(pairs: FramePairs, aim: np.ndarray, fit: Fit) -> Outcome:
    structures = len(np.unique(np.concatenate([pairs.first, pairs.second])))
    facts: dict[str, Any] = {
        "slope": fit.slope,
        "slope_error": fit.slope_error,
        "reading": fit.reading.name,
        "offset_gpa": from_internal(fit.offset, "GPa"),
        "pairs": len(pairs),
        "structures": structures,
        "left_over": fit.left,
    }
    status, words = _verdict(fit)
    if not fit.used.all():
        words += ", where they are stretched and not sheared"
    sentence = (
        f"{words} (slope {fit.slope:.3g} ± {fit.slope_error:.1g}, {_percent(fit.left)} of the energy differences left "
        f"over, {counted(int(fit.used.sum()), 'pair')} of {structures} strained structures)."
    )
    return Outcome(_NAME, status, sentence, facts=facts, figures={"stress": partial(_figure, pairs, aim, fit)})


def _percent(share: float) -> str:
    return f"{100.0 * share:.0f} %" if share >= 0.1 else f"{100.0 * share:.2g} %"


def _verdict(fit: Fit) -> tuple[Status, str]:
    """The status and a sentence without its full stop."""
    if fit.left > _UNEXPLAINED:
        return "fault" if fit.left > _UNRELATED else "warning", (
            "Energies of strained structures do not follow the stress: it may be shuffled, of another calculation, or "
            "not "
            "converged. Compare it with finite strains before it is trained on"
        )
    wrong = _wrong(fit)
    offset = from_internal(fit.offset, "GPa")
    missing = f"an isotropic {offset:+.2f} GPa ({10.0 * offset:+.0f} kbar)"
    if wrong:
        besides = f". Besides, {missing} must be added to it" if fit.offset else ""
        return "fault", f"The stress is not the energy's derivative by strain, per volume: {'; '.join(wrong)}{besides}"
    if fit.offset:
        return "warning", (
            f"Energies of strained structures follow the stress only if {missing} is added to it: Pulay stress of a "
            "basis of "
            "plane waves that is too small, or a pressure left out. Add it, or leave stress out of the loss"
        )
    if abs(fit.slope - 1.0) > max(_OWN_SLOPE, 5.0 * fit.slope_error):
        return "warning", (
            f"Energies change {fit.slope:.2f} times as much with strain as the stress says: the two may be of "
            "different "
            "levels of theory"
        )
    return "ok", "Energies of strained structures change by what the stress says"


def _wrong(fit: Fit) -> list[str]:
    """What is wrong with sign, order and unit."""
    wrong = [fit.reading.words] if fit.reading.words else []
    if fit.slope < 0.0:
        wrong.insert(0, "its sign is the opposite (as VASP's, where compression is positive)")
    size = abs(fit.slope)
    if _far_from_one(size):
        ways = [entry.meaning for entry in stress_mixups(size)[:2]]
        wrong.append(" or ".join(ways) if ways else f"it is off by a factor of {size:.3g} that no unit explains")
    return wrong


def _single(data: Dataset, pairs: FramePairs, fit: Fit) -> list[Outcome]:
    """Structures whose stress does not fit, by what would make it fit."""
    found = wrong_rows(data, pairs, fit)
    if not found:
        return []
    kinds: dict[str, list[int]] = {}
    for entry in found:
        kinds.setdefault(entry.words, []).append(entry.structure)
    listed = "; ".join(f"{named(data, np.array(structures))}: {words}" for words, structures in kinds.items())
    sentence = (
        f"The stress of {counted(len(found), 'structure')} does not fit what the energy does between it and the "
        "nearest "
        f"ones, which fit each other: {listed}. Leave it out, or compare it with finite strains."
    )
    rows = np.array([entry.structure for entry in found])
    return [Outcome(_NAME, "warning", sentence, rows, {"structures": kinds})]


def _figure(pairs: FramePairs, aim: np.ndarray, fit: Fit) -> Any:
    from atomlens.figures.data_checks_forces import stress_against_energy

    return stress_against_energy(0.5 * fit.ends.sum(axis=1), aim, pairs.strain, fit.slope)


STRESS = DataCheck(
    _NAME,
    "Stress against strain",
    "Whether the energy of a crystal changes with strain by what the stress says: sign, unit and order of components.",
    check_stress,
)
