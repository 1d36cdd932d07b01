"""Many ASE drivers side by side: each asks for forces when it needs them, and all are answered in one batch.

An optimiser or integrator of ASE knows one structure, and calls for its forces from deep inside its own loop. Each
therefore runs in a greenlet, which is left where it asks and entered again with the answer. Only one runs at a time, in
a fixed order, so that results do not depend on chance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import ase
import numpy as np
from ase.calculators.calculator import Calculator as AseCalculator
from ase.calculators.calculator import PropertyNotImplementedError, all_changes
from greenlet import getcurrent, greenlet

from atomlens.errors import InputError
from atomlens.model import Arrays, Model
from atomlens.simulate.calculator import ase_results, changes, predicted_by
from atomlens.simulate.evaluator import Evaluator


class Lockstep:
    """Structures that are driven by code of ASE each on its own, and predicted together.

    Args:
        model: with an energy readout.
        structures: each gets a calculator of its own; they are moved by whatever drives them.
        skin: see `Calculator`.
    """

    def __init__(self, model: Model, structures: Sequence[ase.Atoms], *, skin: float = 0.5) -> None:
        self.structures = list(structures)
        self._evaluator = Evaluator(model, skin=skin)
        self._hub: greenlet | None = None  # where answers come from, while there is one
        for place, atoms in enumerate(self.structures):
            atoms.calc = _Member(self, place, predicted_by(model))

    def run(self, work: Mapping[int, Callable[[], Any]]) -> dict[int, Any]:
        """Do ``work[place]()`` for every structure named, side by side.

        Returns:
            By place what was returned; or the `InputError` that ended it, with the place of the structure, as where
            atoms fell into each other. The others are not disturbed.
        """
        self._hub = getcurrent()
        try:
            return self._run({place: greenlet(partial(_outcome, place, task)) for place, task in work.items()})
        finally:
            self._hub = None

    def _run(self, running: dict[int, greenlet]) -> dict[int, Any]:
        done: dict[int, Any] = dict.fromkeys(running)
        said = {place: runner.switch() for place, runner in running.items()}
        while running:
            done |= {place: said[place] for place, runner in running.items() if runner.dead}
            running = {place: runner for place, runner in running.items() if not runner.dead}
            answers = self._answers({place: said[place] for place in running})
            said = {place: runner.switch(answers[place]) for place, runner in running.items()}
        return done

    def forget(self) -> None:
        """Drop results and neighbours, so that what follows does not depend on what was calculated before."""
        self._evaluator.forget()
        for atoms in self.structures:
            atoms.calc.atoms, atoms.calc.results = None, {}

    def ask(self, place: int, atoms: ase.Atoms) -> Arrays:
        """The predictions for a structure: at once outside of `run`, with those of all others inside.

        Raises:
            InputError: the model refuses the structure, or what it predicts is not finite, at which code of ASE would
                fail for all structures.
        """
        found: Arrays | InputError
        found = self._answers({place: atoms})[place] if self._hub is None else self._hub.switch(atoms)
        if isinstance(found, InputError):
            raise found
        if not all(np.isfinite(found[name]).all() for name in ("energy", "forces") if name in found):
            raise InputError("energy or forces are not finite numbers; the model does not know such structures")
        return found

    def _answers(self, asked: Mapping[int, ase.Atoms]) -> dict[int, Arrays | InputError]:
        answers: dict[int, Arrays | InputError] = {}
        waiting = dict(asked)
        while waiting:
            try:
                answers |= self._evaluator(waiting)
                break
            except InputError as error:
                place = list(waiting)[error.structure or 0]
                answers[place] = InputError(error.problem, structure=place, atom=error.atom)
                del waiting[place]
        return answers


def _outcome(place: int, task: Callable[[], Any]) -> Any:
    try:
        return task()
    except InputError as error:
        return error.at(structure=place)


class _Member(AseCalculator):
    """The calculator of one structure in a `Lockstep`; results as those of `atomlens.simulate.Calculator`."""

    def __init__(self, lockstep: Lockstep, place: int, predicted: list[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.implemented_properties = predicted
        self._lockstep = lockstep
        self._place = place

    def check_state(self, atoms: ase.Atoms, tol: float = 1e-15) -> list[str]:
        return changes(self.atoms, atoms, tol)

    def calculate(
        self,
        atoms: ase.Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        assert self.atoms is not None  # ASE's calculate has just set it
        self.results = {}  # should the structure be refused, it must not get those of the one before
        if "stress" in (properties or []) and not all(self.atoms.pbc.tolist()):
            raise PropertyNotImplementedError("stress needs a structure that is periodic in three directions")
        self.results = ase_results(self._lockstep.ask(self._place, self.atoms))
