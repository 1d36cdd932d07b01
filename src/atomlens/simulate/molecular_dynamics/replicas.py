"""The copies of a structure that move side by side, each with an engine and random numbers of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import ase
import numpy as np

from atomlens.errors import InputError
from atomlens.model import Model
from atomlens.simulate.calculator import Calculator
from atomlens.simulate.lockstep import Lockstep
from atomlens.simulate.molecular_dynamics import ensembles
from atomlens.simulate.molecular_dynamics.config import MolecularDynamicsConfig
from atomlens.simulate.molecular_dynamics.velocities import halt, start
from atomlens.simulate.running import moved_copy


class Replicas:
    """Engines of ASE on copies of structures; one batch for the forces of all.

    Args:
        model: with an energy readout.
        structures: of the same atoms, one for each replica; not changed.
        config: how they move.
        skin: see `Calculator`.

    Raises:
        InputError: structures that cannot be moved so.
    """

    def __init__(
        self, model: Model, structures: Sequence[ase.Atoms], config: MolecularDynamicsConfig, *, skin: float
    ) -> None:
        self.config, self.ensemble = config, ensembles.ENSEMBLES[config.ensemble]
        seeds = np.random.SeedSequence(config.seed).spawn(len(structures))
        self._rngs = [np.random.default_rng(seed) for seed in seeds]
        self.structures = [self._begun(*entry) for entry in enumerate(zip(structures, self._rngs, strict=True))]
        self.degrees_of_freedom = self.ensemble.degrees_of_freedom(self.structures[0])
        # A batch of one has nothing to gain from taking turns.
        self._lockstep = Lockstep(model, self.structures, skin=skin) if len(structures) > 1 else None
        self._alone = Calculator(model, skin=skin)
        if self._lockstep is None:
            self.structures[0].calc = self._alone
        self.step = 0
        makers = [
            partial(self.ensemble.make, atoms, config, rng)
            for atoms, rng in zip(self.structures, self._rngs, strict=True)
        ]
        self.engines: list[Any] = []
        self.engines = self._together(makers)
        self._together([partial(_refreshed, atoms) for atoms in self.structures])  # a model may refuse them

    def _begun(self, place: int, given: tuple[ase.Atoms, np.random.Generator]) -> ase.Atoms:
        """What of a structure moves, with the velocities that it starts with."""
        atoms, rng = given
        _check(atoms, self.ensemble, place)
        moving = moved_copy(atoms, place)
        if self.config.velocities == "maxwell":
            start(moving, self.config.temperature, rng)
        elif not atoms.get_momenta().any():
            raise InputError("the structure has no velocities to start with; draw them (maxwell)", structure=place)
        if self.ensemble.at_rest:
            halt(moving)
        return moving

    @property
    def results(self) -> list[Mapping[str, Any]]:
        """Predictions for the structures as the last step has left them, under ASE's names."""
        return [atoms.calc.results for atoms in self.structures]

    def advance(self, steps: int) -> None:
        """Move all structures on.

        Raises:
            InputError: the model refuses one, as where atoms fell into each other; says which, when and why.
        """
        self._together([partial(engine.run, steps) for engine in self.engines])
        self.step += steps

    def conserved(self) -> list[float]:
        """The conserved quantity of each in eV; NaN where there is none."""
        count = self.ensemble.conserved
        return [float("nan") if count is None else count(engine) for engine in self.engines]

    def halt(self) -> None:
        """Take out what has grown of the motion of the whole, where the ensemble lets it grow."""
        if self.ensemble.scales_at_random:
            for atoms in self.structures:
                halt(atoms)

    def forget(self) -> None:
        """Drop all that depends on the way here, so that a run that goes on from here does so from the same."""
        self._alone.forget()
        if self._lockstep is not None:
            self._lockstep.forget()

    def state(self) -> tuple[list[Any], dict[str, np.ndarray]]:
        """Where the random numbers are, and everything else that decides how to go on, stacked over replicas."""
        states = [ensembles.state(engine, self.ensemble) for engine in self.engines]
        return [rng.bit_generator.state for rng in self._rngs], {
            f"engine {name}": np.stack([state[name] for state in states]) for name in states[0]
        }

    def restore(self, step: int, random: Sequence[Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Go to a `state`."""
        self.step = step
        own = {name.removeprefix("engine "): array for name, array in arrays.items() if name.startswith("engine ")}
        for place, (engine, rng) in enumerate(zip(self.engines, self._rngs, strict=True)):
            rng.bit_generator.state = random[place]
            ensembles.restore(engine, self.ensemble, {name: array[place] for name, array in own.items()})
            engine.nsteps = step
        self.forget()

    def _together(self, tasks: Sequence[Callable[[], Any]]) -> list[Any]:
        if self._lockstep is None:
            try:
                return [tasks[0]()]
            except InputError as error:
                raise self._broken(0, error) from None
        outcomes = self._lockstep.run(dict(enumerate(tasks)))
        for place, outcome in outcomes.items():
            if isinstance(outcome, InputError):
                raise self._broken(place, outcome)
        return list(outcomes.values())

    def _broken(self, place: int, error: InputError) -> InputError:
        steps = self.engines[place].nsteps if self.engines else 0
        if not steps:
            return error  # of the structure to start from
        which = f"replica {place}" if len(self.structures) > 1 else "the run"
        atom = "" if error.atom is None else f"atom {error.atom}: "
        problem = error.problem.partition(";")[0]  # its advice is for structures from files
        return InputError(
            f"{which} broke after {steps * self.config.timestep:g} fs ({atom}{problem}); try a shorter time step or a "
            "lower temperature, or train the model on structures such as the last frames"
        )


def _refreshed(atoms: ase.Atoms) -> None:
    atoms.get_forces()


def _check(atoms: ase.Atoms, ensemble: ensembles.Ensemble, place: int) -> None:
    if ensemble.moves_cell and not atoms.pbc.all():
        raise InputError(
            "is not periodic in three directions, and has no volume to hold a pressure; choose 'langevin'",
            structure=place,
        )
