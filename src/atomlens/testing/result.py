"""What a check measures and what it says."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from atomlens.testing.subject import Subject


class NotApplicable(Exception):  # noqa: N818  it is no error of the model
    """Raised by a check that has nothing to test on this model; the message says why."""


@dataclass(frozen=True)
class Measurement:
    """One number and the bound that it must not exceed."""

    of: str  # the quantity that was compared, and where
    value: float
    limit: float
    unit: str

    @property
    def kept(self) -> bool:
        """Whether the bound holds; a value that is no number never keeps it."""
        return bool(self.value <= self.limit)

    @property
    def severity(self) -> float:
        """Value over limit, infinite for NaN and for anything above a limit of zero."""
        if math.isnan(self.value):
            return math.inf
        return self.value / self.limit if self.limit > 0 else math.inf if self.value > 0 else 0.0


def _raised(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"raised {type(error).__name__}: {lines[0]}"


def require_energy(subject: Subject) -> None:
    """Raise `NotApplicable` for a model without an energy readout."""
    if "energy" not in subject.model.readouts:
        raise NotApplicable("the model does not predict energies")


@dataclass(frozen=True)
class Check:
    """A property that every model must have, and the pure function that measures it.

    ``measure`` raises `NotApplicable`, or returns no measurement, where there is nothing to test.
    """

    name: str
    what: str
    measure: Callable[[Subject], Sequence[Measurement]]

    def run(self, subject: Subject) -> CheckResult:
        """Measure, and report the measurement nearest to its limit (or farthest beyond)."""
        try:
            with torch.enable_grad(), torch.random.fork_rng(devices=[]):
                worst = max(self.measure(subject), key=lambda found: found.severity, default=None)
            if worst is None:
                raise NotApplicable("no structure suits it")
        except NotApplicable as reason:
            return CheckResult(self.name, self.what, None, None, "", None, str(reason))
        except Exception as error:  # a model that breaks down violates the property; the other checks still run
            return CheckResult(self.name, self.what, None, None, "", False, _raised(error))
        return CheckResult(self.name, self.what, float(worst.value), worst.limit, worst.unit, worst.kept, worst.of)


@dataclass(frozen=True)
class CheckResult:
    """How one property came out; ``passed`` is None where it does not apply to the model."""

    name: str
    what: str
    value: float | None  # measured; None where nothing could be
    limit: float | None  # what it may be at most
    unit: str
    passed: bool | None
    detail: str  # the quantity and place of the value; why a check does not apply; the error that a model raised

    def __str__(self) -> str:
        if self.passed is None:
            return f"{self.name}: not applicable ({self.detail})"
        verdict = "ok" if self.passed else "VIOLATED"
        if self.value is None or self.limit is None:
            return f"{self.name}: {verdict}, {self.what} ({self.detail})"
        number = f"{self.value:.3g} {self.unit}".strip()
        return f"{self.name}: {verdict}, {self.what}: {number}, at most {self.limit:.3g} allowed ({self.detail})"
