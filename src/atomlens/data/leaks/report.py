"""What a search for leaks found, in numbers and in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from atomlens.wording import counted

_LISTED = 20  # pairs in the record
_BEYOND_CHANCE = 5.0  # standard deviations
_TESTS_ON = {  # by kind of split
    "blocks": "frames without such neighbours",
    "formula": "compositions that were not learned",
    "isomers": "isomers that were not learned",
}
_WORTH_A_WORD = 0.05  # share of the frames


@dataclass(frozen=True)
class InTime:
    """How often the nearest training frame is one of nearly the same time."""

    window: float  # times closer than this count as nearly the same: 5 autocorrelation times
    unit: str  # of the window
    frames: int  # that were looked at
    observed: int  # of them, whose nearest training frame lies within the window
    by_chance: float  # how many would be if training frames near in time were no closer than others
    apart: float | None  # Å, median distance to the nearest training frame outside of the window

    @property
    def leaking(self) -> bool:
        """Whether that is more often than chance explains, and often enough to matter."""
        excess = self.observed - self.by_chance
        return bool(excess > _BEYOND_CHANCE * np.sqrt(self.by_chance + 1.0) and excess > _WORTH_A_WORD * self.frames)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**vars(self), "leaking": self.leaking}


@dataclass(frozen=True)
class SubsetLeaks:
    """How close the structures of one subset are to those of training.

    Distances are root mean square differences of sorted interatomic distances (`atomlens.data.leaks.fingerprints`).
    """

    name: str
    structures: int
    comparable: int  # those with a training structure of the same composition; of crystals, and nearly the same density
    examined: int  # of the comparable, those whose nearest training structure was looked for
    training: int
    training_examined: int  # training structures that they were compared with
    tolerance: float  # Å, below which structures are close
    copies: np.ndarray  # (n, 2) places of a structure and of the training structure that it is a copy of
    copies_complete: bool  # whether copies were looked for among all
    close: np.ndarray  # (n, 2) likewise, of close ones that are no copies, of frames if near in time; the closest first
    distances: np.ndarray  # (n,) Å, of the close ones
    nearest: float | None  # Å, median distance to the nearest training structure; None: none is comparable
    typical: float | None  # Å, median distance to a training structure of the same composition taken at random
    in_time: InTime | None  # where the data are trajectories
    trajectories: int | None  # how many these are
    advice: str  # the kind of split that keeps close structures together; empty: there is none

    @property
    def leaking(self) -> bool:
        """Whether there is anything to tell."""
        return bool(len(self.copies) or len(self.close) or (self.in_time is not None and self.in_time.leaking))

    @property
    def sentences(self) -> list[str]:
        """What was found and what to do; nothing where nothing was."""
        return [text for text in (self.of_copies, self._of_close(), self._of_time()) if text]

    @property
    def of_copies(self) -> str:
        """The sentence about copies; empty where there are none."""
        if not len(self.copies):
            return ""
        (one, other), least = self.copies[0], "" if self.copies_complete else "at least "
        words = counted(len(self.copies), f"{self.name} structure is a copy", f"{self.name} structures are copies")
        return (
            f"{least}{words} of training structures, but for rotation, reflection and the order of atoms (such as "
            f"{one} of {other}, counted from 0 in the file); leave the copies out of the data"
        )

    def _of_close(self) -> str:
        if not len(self.close):
            return ""
        (one, other), whole, single = self.close[0], self.examined == self.comparable, len(self.close) == 1
        total = f"{self.structures:,} {self.name} structures" if whole else f"{self.examined:,} that were looked at"
        usual = "" if self.typical is None else f", where two of one composition usually are {self.typical:.2g} Å apart"
        return (
            f"{len(self.close):,} of {total} {'is' if single else 'are'} close to a training structure (such as {one}, "
            f"{self.distances[0]:.2g} Å from {other}{usual}){self._meaning('it' if single else 'these')}"
        )

    def _meaning(self, which: str) -> str:
        if self.in_time is not None and self.in_time.leaking:
            return ""  # said there
        what = "between frames" if self.trajectories else "between structures that are nearly the same"
        return f": for {which} the {self.name} measures interpolation {what}{self._do()}"

    def _of_time(self) -> str:
        found = self.in_time
        if found is None or not found.leaking:
            return ""
        near = "" if self.nearest is None else f" ({self.nearest:.2g} Å away at the median"
        far = "" if not near else f", {found.apart:.2g} Å without these)" if found.apart is not None else ")"
        which = "one trajectory" if self.trajectories == 1 else "the same trajectories"
        return (
            f"for {found.observed / found.frames:.0%} of the {self.name} frames the nearest training frame{near}{far} "
            f"is one of nearly the same time, within {found.window:.4g} {found.unit}, where chance would make it "
            f"{100 * found.by_chance / found.frames:.2g}%: for these the {self.name} measures interpolation between "
            f"frames of {which}{self._do()}"
        )

    def _do(self) -> str:
        return f"; split.method {self.advice} tests on {_TESTS_ON[self.advice]}" if self.advice else ""

    def to_dict(self) -> dict[str, Any]:
        """For JSON; of many pairs the first twenty."""
        return {
            "structures": self.structures,
            "examined": self.examined,
            "comparable": self.comparable,
            "training": self.training,
            "training_examined": self.training_examined,
            "copies": len(self.copies),
            "copies_complete": self.copies_complete,
            "copied": self.copies[:_LISTED].tolist(),
            "tolerance_angstrom": self.tolerance,
            "close": len(self.close),
            "closest": [
                [*pair, float(distance)]
                for pair, distance in zip(self.close[:_LISTED].tolist(), self.distances, strict=False)
            ],
            "median_nearest_angstrom": self.nearest,
            "median_typical_angstrom": self.typical,
            "in_time": None if self.in_time is None else self.in_time.to_dict(),
        }


@dataclass(frozen=True)
class LeakReport:
    """What was found in the subsets that do not train, by their names."""

    subsets: Mapping[str, SubsetLeaks]

    @property
    def leaking(self) -> bool:
        """Whether test or validation have anything to tell."""
        return any(found.leaking for found in self.subsets.values())

    @property
    def sentences(self) -> list[str]:
        """About the test; about validation only where there are copies, for there closeness does little harm."""
        found = []
        for name, subset in self.subsets.items():
            found += subset.sentences if name == "test" else [text for text in (subset.of_copies,) if text]
        return found

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "sentences": self.sentences,
            **{name: found.to_dict() for name, found in self.subsets.items()},
        }
