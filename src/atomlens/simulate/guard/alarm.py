"""What a guard finds, and how it says so."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

# In the order in which alarms of one copy are named: what is certain before what is likely.
Kind = Literal["broken", "distance", "pair", "isolated", "surroundings", "committee", "temperature", "energy"]

UNITS: dict[Kind, str] = {
    "broken": "",
    "distance": "Å",
    "pair": "Å",
    "isolated": "Å",
    "surroundings": "",
    "committee": "eV/Å",
    "temperature": "K",
    "energy": "eV/atom",
}
_LOW: tuple[Kind, ...] = ("distance", "pair")  # kinds of which less is worse


@dataclass(frozen=True)
class Finding:
    """Something of one structure that is beyond its limit."""

    structure: int
    kind: Kind
    atoms: tuple[int, ...]  # of the structure, from 0; empty: all of it
    value: float  # in the unit of `UNITS`
    limit: float  # 0 where there is nothing to compare with
    words: str  # a clause that does not say where


@dataclass(frozen=True)
class Alarm:
    """Something in a run that is beyond its limit."""

    step: int
    time: float  # fs
    copy: int  # replica, or bead
    atoms: tuple[int, ...]  # counted from 0; empty: the whole structure
    kind: Kind
    value: float  # in the unit of `UNITS`
    limit: float  # 0 where there is nothing to compare with
    sentence: str

    @property
    def severity(self) -> float:
        """How many times beyond its limit."""
        worse, better = (self.limit, self.value) if self.kind in _LOW else (self.value, self.limit)
        return worse / better if better > 0.0 else float("inf")

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"atoms": list(self.atoms)}


def raised(found: Finding, *, step: int, time: float, copy: int) -> Alarm:
    """A finding with its place in the run."""
    sentence = f"step {step} ({time:g} fs), copy {copy}: {found.words}"
    return Alarm(step, time, copy, found.atoms, found.kind, found.value, found.limit, sentence)
