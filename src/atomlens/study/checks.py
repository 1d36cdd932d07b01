"""Checks of a trained model's physics on frames that it never saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ase
import numpy as np

from atomlens.model import Model
from atomlens.simulate.dynamics import EnergyTrace
from atomlens.testing import CHECKS, Subject
from atomlens.testing.derivatives import STEPS, force_slopes

_PROPERTIES = ("translation", "rotation", "reflection", "permutation", "additivity", "forces")
# A tenth of a meV per atom and ps: in a nanosecond a hot molecule's energy would still be its own.
DRIFT_LIMIT = 1e-4
_ORDER_RANGE = (1.9, 2.1)  # central differences have order 2; the next term bends the line by less than that


@dataclass(frozen=True)
class ForceDifferences:
    """Central differences of the energy against the model's forces, for several steps."""

    steps: np.ndarray  # (steps,) Å
    errors: np.ndarray  # (steps,) eV/Å, root mean square over directions
    order: float  # fitted


def force_differences(model: Model, atoms: ase.Atoms) -> ForceDifferences:
    """Errors of central differences in float64; they fall with the square of the step where forces are right."""
    differences, slopes = force_slopes(Subject.of(model, [atoms]), atoms)
    errors = np.sqrt(np.square(differences - slopes).mean(axis=1))
    return ForceDifferences(STEPS, errors, float(np.polyfit(np.log(STEPS), np.log(errors), 1)[0]))


def check_physics(
    model: Model, frames: Sequence[ase.Atoms], differences: ForceDifferences, trace: EnergyTrace
) -> list[dict[str, Any]]:
    """Invariances, forces and energy conservation, each with what was measured and what is allowed.

    Args:
        model: the trained model.
        frames: structures that it never saw.
        differences: from `force_differences`.
        trace: a constant-energy run.
    """
    subject = Subject.of(model, frames)
    found = [CHECKS[name].run(subject) for name in _PROPERTIES]
    rows = [
        _row(check.name, check.what, check.value, check.limit, check.unit, check.passed)
        for check in found
        if check.passed is not None  # None: there is nothing to test on such a model
    ]
    order = differences.order
    what = "order with which differences of the energy approach the forces"
    rows.append(_row("force order", what, order, list(_ORDER_RANGE), "", _ORDER_RANGE[0] <= order <= _ORDER_RANGE[1]))
    drift = None if np.isnan(trace.drift) else abs(trace.drift)
    what = f"energy drift over {trace.times[-1]:.0f} fs at constant energy"
    what += f"; the run {trace.broken}" if trace.broken else ""
    kept = trace.broken is None and drift is not None and drift <= DRIFT_LIMIT
    rows.append(_row("energy drift", what, drift, DRIFT_LIMIT, "eV/atom/ps", kept))
    return rows


def _row(
    name: str, what: str, value: float | None, limit: float | list[float] | None, unit: str, passed: bool
) -> dict[str, Any]:
    return {"name": name, "what": what, "value": value, "limit": limit, "unit": unit, "passed": passed}
