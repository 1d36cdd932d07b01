"""Net force and net torque: an energy that neither a shift nor a turn of the whole changes exerts none."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from atomlens.checking.force_energy import follow_energies
from atomlens.checking.force_rows import exchanged_rows
from atomlens.checking.outcome import DataCheck, Outcome, Status
from atomlens.checking.places import named, share
from atomlens.data.dataset import Dataset, ranges
from atomlens.data.units import KCAL_PER_MOL, parse_unit
from atomlens.wording import counted

_NAME = "net_force"
_MOST = 200_000  # structures that are looked at
_AT_ONCE = 5_000
# Random errors of the size e of the forces on n atoms add up to sqrt(n) e: what is left over, by sqrt(n) and by the
# forces' size, is their relative error. Labels of good programs have 1e-7 to 1e-5 and, where the electron density lies
# on a grid, 1e-4; MD17's ethanol has 1e-3, and a network learns forces to 3e-3.
_NOTE, _WARNING, _FAULT = 5e-5, 5e-4, 0.1
_ROUNDING = 3.0  # times what rounding leaves over is still rounding
_LEAST_FAULT = 0.02  # eV/Å on each atom: of relaxed structures all that is left is noise
_REST = 0.05  # eV/Å: smaller forces on the atoms of a set are those of relaxed structures
_VANISHING = 1e-7  # eV/Å: forces that are none by symmetry
_COARSE = 1e-3  # a rounding of forces to this share of their size is worth knowing
_STANDS_OUT = 10.0  # times what is usual in the set
_TURNS_ONLY = 0.1  # share of the torque's error below which a net force counts for none
_ROW_LIMITS = (2e-3, 1e-2)  # relative torque that forces in the right order leave
_ROWS_TURN = 3.0  # times that is worth a look for exchanged rows
_GRID_SAMPLE = 3_000


@dataclass(frozen=True)
class Sums:
    """Net forces and torques of structures; the torque of periodic ones is NaN, there is none."""

    rows: np.ndarray  # (looked at,) structures
    force: np.ndarray  # (looked at,) eV/Å
    torque: np.ndarray  # (looked at,) eV, about the centre of the atoms
    force_error: np.ndarray  # (looked at,) relative error of the forces of atoms that would leave as much
    torque_error: np.ndarray  # (looked at,)
    beyond: np.ndarray  # (looked at,) bool: more than rounding leaves
    size: float  # eV/Å, root mean square length of the forces on atoms
    step: float  # eV/Å, in which the forces were written; 0 where that cannot be told

    @property
    def error(self) -> np.ndarray:
        """(looked at,) the larger of the two errors."""
        return np.fmax(self.force_error, self.torque_error)


def net_sums(data: Dataset, seed: int = 0) -> Sums:
    """Net force and torque of the structures whose forces are known, or of a sample of very many."""
    rows = np.flatnonzero(data.known(["forces"]) & (data.n_atoms > 1))
    if len(rows) > _MOST:
        rows = np.sort(np.random.default_rng(seed).choice(rows, _MOST, replace=False))
    if not len(rows):
        nothing = np.zeros(0)
        return Sums(rows, nothing, nothing, nothing, nothing, nothing.astype(bool), 0.0, 0.0)
    parts = [_sums_of(data, rows[start : start + _AT_ONCE]) for start in range(0, len(rows), _AT_ONCE)]
    force, torque, lever, squares = (np.concatenate(column) for column in zip(*parts, strict=True))
    atoms = data.n_atoms[rows]
    size = float(np.sqrt(squares.sum() / atoms.sum()))
    # A structure at rest has no forces to compare with, but the same errors as the others; so have sets of such.
    typical = np.maximum(np.sqrt(squares / atoms), max(size, _REST)) if size else np.ones(len(rows))
    torque[data.pbc[rows].any(axis=1)] = np.nan
    step = rounding_step(data)
    # A rounded number is off by step / sqrt(12), and a force has three.
    rounded = max(_ROUNDING * 0.5 * step, _VANISHING)
    beyond = (force > rounded * np.sqrt(atoms)) | (np.nan_to_num(torque) > rounded * lever)
    return Sums(rows, force, torque, force / (np.sqrt(atoms) * typical), torque / (lever * typical), beyond, size, step)


def _sums_of(data: Dataset, rows: np.ndarray) -> tuple[np.ndarray, ...]:
    """Lengths of net force and torque, the torques' lever arm in Å, and the sum of squares of the forces."""
    atoms = ranges(np.asarray(data.offsets), rows)
    forces, positions = np.asarray(data.labels["forces"][atoms]), np.asarray(data.positions[atoms])
    counts = data.n_atoms[rows]
    starts = np.cumsum(counts) - counts
    centre = np.add.reduceat(positions, starts) / counts[:, None]
    arm = positions - np.repeat(centre, counts, axis=0)
    net, turning = np.add.reduceat(forces, starts), np.add.reduceat(np.cross(arm, forces), starts)
    # Of a random force two of three components, on average, turn.
    lever = np.sqrt(np.add.reduceat((arm**2).sum(axis=1), starts) * 2.0 / 3.0)
    squares = np.add.reduceat((forces**2).sum(axis=1), starts)
    return np.linalg.norm(net, axis=1), np.linalg.norm(turning, axis=1), np.maximum(lever, 1e-9), squares


def rounding_step(data: Dataset, seed: int = 0) -> float:
    """The step in eV/Å in which forces were written, if they have few decimals in a unit of the field; 0 if not."""
    forces = data.labels["forces"]
    rows = np.sort(np.random.default_rng(seed).integers(0, len(forces), min(_GRID_SAMPLE, len(forces))))
    values = np.asarray(forces[rows]).ravel()
    values = values[np.isfinite(values) & (values != 0.0)]
    if len(values) < 30:
        return 0.0
    units = ("eV/Ang", "kcal/mol/Ang", "Ha/bohr", "Ry/bohr")
    steps = sorted((10.0**-digits * parse_unit(unit)[0] for digits in range(7) for unit in units), reverse=True)
    return next((step for step in steps if _lies_on(values, step)), 0.0)


def _lies_on(values: np.ndarray, step: float) -> bool:
    """Whether all values are whole multiples of a step, as exactly as single precision (seven digits) can say."""
    steps = values / step
    blur = 2e-7 * np.abs(steps)
    if np.median(np.abs(steps)) < 2.0 or blur.max() > 0.1:
        return False
    return bool((np.abs(steps - np.round(steps)) < 0.01 + blur).all())


def check_net_force(data: Dataset) -> list[Outcome]:
    """Whether the forces of each structure add up to none, and turn it neither if it is open."""
    if "forces" not in data.labels:
        return []
    sums = net_sums(data)
    if not len(sums.rows):
        return [Outcome(_NAME, "skipped", "No structure of several atoms has known forces, so none can be added up.")]
    if not sums.size:
        return [Outcome(_NAME, "warning", "All forces are zero: they were not computed, or not written.", sums.rows)]
    wrong_rows = _wrong_rows(data, sums)
    if wrong_rows is not None:
        return [wrong_rows]
    typical = float(np.median(sums.error))
    usual = float((sums.beyond & (sums.error > _NOTE)).mean()) > 0.5
    single = np.flatnonzero(sums.beyond & (sums.error > max(_WARNING, _STANDS_OUT * typical)))
    single = single[np.argsort(-sums.error[single], kind="stable")]
    outcomes = [_usual(data, sums, typical)] if usual else []
    if len(single):
        outcomes.append(_single(data, sums, single))
    return outcomes or [_fine(data, sums)]


def _wrong_rows(data: Dataset, sums: Sums) -> Outcome | None:
    """Forces that turn a molecule and do not push it: right forces on wrong atoms."""
    turning, pushing = np.nan_to_num(sums.torque_error), sums.force_error
    known = np.isfinite(sums.torque)
    sound = turning[known & (turning < 0.5 * _FAULT)]
    noise = _STANDS_OUT * float(np.median(sound)) if len(sound) else 0.0
    limit = float(np.clip(noise, *_ROW_LIMITS))
    wrong = sums.beyond & (turning > _ROWS_TURN * limit) & (pushing < _TURNS_ONLY * turning)
    if not wrong.any():
        return None
    turned = np.flatnonzero(wrong)
    turned = turned[np.argsort(-turning[turned], kind="stable")]
    found = exchanged_rows(data, sums.rows[turned], limit)
    if found is None:
        return None
    rows = sums.rows[turned]
    words = (
        f"Forces stand beside the wrong atoms: in {counted(len(rows), 'structure')} of {len(sums.rows):,} "
        f"({named(data, rows)}) they do not push but turn, with a torque of up to "
        f"{_shown(float(sums.torque[turned].max()), 'torque')}; {found.words}. Put the rows of the forces in the "
        "order of "
        f"the atoms."
    )
    facts = _facts(sums) | {"structures": len(rows), "order": list(found.order)}
    return Outcome(_NAME, "fault", words, rows, facts, {"net_force": partial(_figure, sums)})


def _held(data: Dataset, rows: np.ndarray) -> np.ndarray:
    """(rows,) bool: some atoms feel no force at all, as those that were held fixed, and others do."""
    zero = (np.asarray(data.labels["forces"]) == 0.0).all(axis=1)
    some, every = (reduction.reduceat(zero, data.offsets[:-1]) for reduction in (np.logical_or, np.logical_and))
    return np.asarray((some & ~every)[rows])


def _meant(data: Dataset, sums: Sums, typical: float, *, grave: bool) -> str:
    """Why net forces may be right, as the last sentence; empty where nothing says so."""
    if grave and typical * max(sums.size, _REST) < _LEAST_FAULT:
        return "The structures are relaxed, and what is left is noise of the labels."
    if _held(data, sums.rows).mean() > 0.5:
        return "Some atoms feel no force at all: they were held fixed, and their forces left out. Compute these, too."
    if grave and follow_energies(data):
        return "But energies change by what the forces say: an outer field acts, or surroundings that are not there."
    return ""


def _usual(data: Dataset, sums: Sums, typical: float) -> Outcome:
    """About a set whose structures have net forces or torques as a rule."""
    status: Status = "fault" if typical > _FAULT else "warning" if typical > _WARNING else "note"
    meant = "" if status == "note" else _meant(data, sums, typical, grave=status == "fault")
    status = "warning" if meant else status
    advice = (
        meant
        or {
            "note": "Less than a network learns forces to.",
            "warning": "The labels are noisy (loosely converged calculations, or rounded): no energy has such forces, "
            "and no model that conserves energy gets below it. Prefer labels that were computed again (for MD17: "
            "rMD17), or subtract the net force.",
            "fault": "Without an outer field or atoms held fixed no energy has such forces: they belong to other "
            "structures, "
            "or stand beside wrong atoms.",
        }[status]
    )
    words = (
        f"{_net(sums)} (root mean square of {counted(len(sums.rows), 'structure')}) where there should be none; "
        "forces on "
        f"atoms are {_shown(sums.size, 'force')}. That is an error of {100.0 * typical:.2g} % in the force on each "
        "atom. "
        f"{advice}"
    )
    worst = sums.rows[np.argsort(-sums.error, kind="stable")][:100]
    facts = _facts(sums) | {"relative_error": typical}
    return Outcome(_NAME, status, words, worst, facts, {"net_force": partial(_figure, sums)})


def _single(data: Dataset, sums: Sums, single: np.ndarray) -> Outcome:
    """About structures that stand out of their set."""
    worst, rows = int(single[0]), sums.rows[single]
    what = "torque" if not sums.force_error[worst] >= np.nan_to_num(sums.torque_error)[worst] else "force"
    value = float(sums.torque[worst] if what == "torque" else sums.force[worst])
    words = (
        f"{counted(len(rows), 'structure')} of {len(sums.rows):,} ({share(len(rows), len(sums.rows))}) with a net "
        "force or "
        f"torque that stands out: {named(data, rows)}; the first has a net {what} of {_shown(value, what)}, where "
        "forces on "
        f"atoms are {_shown(sums.size, 'force')}. Some force on them is wrong: compute them again or leave them out."
    )
    alone = (
        (sums.error[single] > _FAULT) & (sums.error[single] * max(sums.size, _REST) > _LEAST_FAULT) & ~_held(data, rows)
    )
    status: Status = "fault" if alone.any() else "warning"
    facts = _facts(sums) | {"structures": len(rows), "of": what, "largest": value}
    return Outcome(_NAME, status, words, rows, facts, {"net_force": partial(_figure, sums)})


def _fine(data: Dataset, sums: Sums) -> Outcome:
    of_all = "" if len(sums.rows) == len(data) else f" of {len(sums.rows):,} of {len(data):,} structures"
    coarse = sums.step > _COARSE * sums.size
    rounded = (
        f" They were written in steps of {_shown(sums.step, 'force')}, which explains it; a model cannot be finer."
        if coarse
        else ""
    )
    words = f"{_net(sums)}{of_all} (root mean square), where forces on atoms are {_shown(sums.size, 'force')}.{rounded}"
    figures = {"net_force": partial(_figure, sums)}
    return Outcome(_NAME, "note" if coarse else "ok", words, facts=_facts(sums), figures=figures)


def _net(sums: Sums) -> str:
    """Net forces, and torques where there are any, in words."""
    known = sums.torque[np.isfinite(sums.torque)]
    torque = f" and net torques of {_shown(_root_mean_square(known), 'torque')}" if len(known) else ""
    return f"Net forces of {_shown(_root_mean_square(sums.force), 'force')}{torque}"


def _facts(sums: Sums) -> dict[str, Any]:
    known = sums.torque[np.isfinite(sums.torque)]
    return {
        "looked_at": len(sums.rows),
        "force_rms_ev_ang": sums.size,
        "net_force_rms_ev_ang": _root_mean_square(sums.force),
        "net_torque_rms_ev": _root_mean_square(known) if len(known) else None,
        "rounding_step_ev_ang": sums.step,
    }


def _root_mean_square(values: np.ndarray) -> float:
    return float(np.sqrt((values**2).mean()))


def _shown(value: float, what: str) -> str:
    number = value / KCAL_PER_MOL
    return f"{f'{number:,.0f}' if number >= 100 else f'{number:.2g}'} kcal/mol{'/Å' if what == 'force' else ''}"


def _figure(sums: Sums) -> Any:
    from atomlens.figures.data_checks_forces import net_forces

    return net_forces(sums.force, sums.torque, sums.size)


NET_FORCE = DataCheck(
    _NAME,
    "Net force and torque",
    "Whether the forces of a structure add up to none: noise of the labels, and forces that stand beside wrong atoms.",
    check_net_force,
)
