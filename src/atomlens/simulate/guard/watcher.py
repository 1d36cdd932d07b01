"""A guard beside a run: called with every structure that is looked at, it marks frames and can end the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ase
import numpy as np
from ase import units

from atomlens.errors import InputError
from atomlens.simulate.guard.alarm import Alarm
from atomlens.simulate.guard.guard import Guard

_KEPT = 1000  # alarms that are handed on; of the others only the number


class Watcher:
    """What `run_molecular_dynamics` and `run_path_integrals` call as their ``watch``.

    Args:
        guard: that looks.
        temperature: that the thermostat is set to, in K; None: there is none, and the total energy must stay.
        degrees_of_freedom: of one structure, for its temperature; None: temperatures are not watched, as those of
            beads, whose momenta are not those of nuclei.
    """

    def __init__(
        self,
        guard: Guard,
        *,
        temperature: float | None,
        degrees_of_freedom: int | None,
    ) -> None:
        self.guard = guard
        self.alarms: list[Alarm] = []
        self.raised = 0  # alarms in all
        self._target = temperature
        self._degrees = degrees_of_freedom

    def __call__(
        self, structures: Sequence[ase.Atoms], results: Sequence[Mapping[str, np.ndarray]], step: int
    ) -> list[bool]:
        """Which structures raise an alarm.

        Raises:
            InputError: the guard is to stop the run at an alarm, and there is one.
        """
        temperatures = None
        if self._degrees is not None:
            scale = 2.0 / (self._degrees * units.kB)
            temperatures = [scale * float(atoms.get_kinetic_energy()) for atoms in structures]
        found = self.guard.look(structures, results, step=step, temperature=temperatures, target=self._target)
        self.raised += len(found)
        self.alarms += found[: max(0, _KEPT - len(self.alarms))]
        if self.guard.stopped and found:
            raise InputError(f"the guard stopped the run: {found[0].sentence}")
        marked = {alarm.copy for alarm in found}
        return [copy in marked for copy in range(len(structures))]

    def state(self) -> dict[str, Any]:
        """All that later looks depend on, and what was found so far, for the checkpoint of a run."""
        found = [alarm.to_dict() for alarm in self.alarms]
        return {"guard": self.guard.state(), "alarms": found, "raised": self.raised}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`.

        Raises:
            InputError: it is none.
        """
        try:
            self.alarms = [Alarm(**{**entry, "atoms": tuple(entry["atoms"])}) for entry in state["alarms"]]
            self.raised = int(state["raised"])
            guard = state["guard"]
        except (KeyError, TypeError, ValueError):
            raise InputError("the state of the guard is damaged; start the run anew") from None
        self.guard.restore(guard)
