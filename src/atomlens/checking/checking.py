"""All checks of a data set, and what they found."""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from atomlens.checking.outcome import GRAVITY, DataCheck, Outcome, Status
from atomlens.checking.registry import CHECKS
from atomlens.config import nearest
from atomlens.data.dataset import Dataset
from atomlens.errors import InputError
from atomlens.progress import track
from atomlens.wording import counted

_LISTED = 1_000  # structures of an outcome that the JSON lists; how many there are is said beside them


@dataclass(frozen=True)
class CheckReport:
    """What the checks found in one data set; outcomes are in the order of the registry."""

    file: str | None
    data_hash: str  # of structures and labels, as in a store's header
    structures: int
    atoms: int
    checks: tuple[str, ...]  # that were run
    outcomes: tuple[Outcome, ...]
    places: np.ndarray | None = None  # (structures,) of each structure in the user's file; None: as they stand
    seconds: Mapping[str, float] | None = None  # that each check took

    @property
    def worst(self) -> Status:
        """The gravest status; ``ok`` where no check had anything to say."""
        return max((outcome.status for outcome in self.outcomes), key=GRAVITY.index, default="ok")

    @property
    def counts(self) -> dict[Status, int]:
        """How many outcomes have each status."""
        return {status: sum(outcome.status == status for outcome in self.outcomes) for status in GRAVITY}

    def of(self, *statuses: Status) -> tuple[Outcome, ...]:
        """The outcomes of these statuses, gravest first."""
        chosen = [outcome for outcome in self.outcomes if outcome.status in statuses]
        return tuple(sorted(chosen, key=lambda outcome: -GRAVITY.index(outcome.status)))

    @property
    def summary(self) -> str:
        """One sentence: how many faults and warnings there are."""
        found = [counted(self.counts[status], status) for status in ("fault", "warning", "note") if self.counts[status]]
        listed = " and ".join(filter(None, [", ".join(found[:-1]), *found[-1:]])) or "nothing to remark"
        return f"{counted(len(self.checks), 'check')} of {counted(self.structures, 'structure')}: {listed}."

    def to_dict(self) -> dict[str, Any]:
        """For JSON: structures are named by their place in the user's file, no number is NaN or infinite."""
        return {
            "file": self.file,
            "hash": self.data_hash,
            "structures": self.structures,
            "atoms": self.atoms,
            "checks": list(self.checks),
            "worst": self.worst,
            "counts": dict(self.counts),
            "outcomes": [self._outcome(outcome) for outcome in self.outcomes],
        }

    def _outcome(self, outcome: Outcome) -> dict[str, Any]:
        rows = np.asarray(outcome.structures)
        listed = rows[:_LISTED] if self.places is None else self.places[rows[:_LISTED]]
        return {
            "check": outcome.check,
            "status": outcome.status,
            "sentence": outcome.sentence,
            "structures_concerned": len(rows),
            "structures": [int(row) for row in listed],
            "facts": _plain(outcome.facts),
        }


def check_data(data: Dataset, *, only: Sequence[str] | None = None, title: str = "") -> CheckReport:
    """Run the checks of the registry on a data set.

    A check that breaks down takes no other along: it is reported as a fault of its own, and nothing is then said about
    what it looks at.

    Args:
        data: structures with their labels.
        only: names of the checks to run; None for all.
        title: of a progress bar; none without it.

    Raises:
        InputError: there is no check of a name.
    """
    for name in only or ():
        if name not in CHECKS:
            raise InputError(f"there is no check '{name}'; {nearest(name, list(CHECKS))}")
    chosen = [check for name, check in CHECKS.items() if only is None or name in only]
    outcomes: list[Outcome] = []
    seconds: dict[str, float] = {}
    with track(title, len(chosen), "checks") as bar:
        for check in chosen:
            bar.note(check.title)
            started = time.perf_counter()
            outcomes += _run(check, data)
            seconds[check.name] = time.perf_counter() - started
            bar.advance()
    return CheckReport(
        file=data.origin.file,
        data_hash=data.hash,
        structures=len(data),
        atoms=len(data.numbers),
        checks=tuple(check.name for check in chosen),
        outcomes=tuple(outcomes),
        places=data.origin.places,
        seconds=seconds,
    )


def _run(check: DataCheck, data: Dataset) -> list[Outcome]:
    try:
        return check.run(data)
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{last.filename.rpartition('/')[2]}, line {last.lineno}"
        words = (
            f"The check itself failed ({type(error).__name__}: {error}; {where}). It says nothing about the data; "
            "please report it."
        )
        facts = {"check_failed": True, "error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
        return [Outcome(check.name, "fault", words, facts=facts)]


def _plain(value: Any) -> Any:
    """What JSON has: lists for arrays, plain numbers, None for what is not finite."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
