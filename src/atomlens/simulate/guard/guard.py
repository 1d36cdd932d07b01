"""A guard that watches a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ase
import numpy as np
import torch

from atomlens.coverage import Coverage
from atomlens.data.batch import Batch
from atomlens.errors import InputError
from atomlens.model import Model
from atomlens.ops.threads import threads_for
from atomlens.progress import say
from atomlens.simulate.guard import motion
from atomlens.simulate.guard.alarm import UNITS, Alarm, Finding, Kind, raised
from atomlens.simulate.guard.config import GuardConfig
from atomlens.simulate.guard.geometry import covalent_overlap, strange_geometry
from atomlens.simulate.guard.suspects import Suspects
from atomlens.simulate.skin import Searched, search

Results = Mapping[str, np.ndarray]
_SKIN = 0.5  # Å


class Guard:
    """Watches the copies of a structure that a model moves, all in one batch.

    At a look it warns of

    - predictions that are not finite,
    - atoms closer together than any such pair of elements in training, or of elements that training had no pair of,
    - an atom whose nearest neighbour is farther than that of any such atom in training,
    - surroundings unlike those in training (see `atomlens.coverage`),
    - forces on which a committee of models disagrees,
    - a temperature that the thermostat's does not explain; without a thermostat, a total energy that is not kept.

    What was in training is said by the coverage that the model carries. For a model without one, distances are compared
    with covalent radii.

    A kind of alarm is said, and its worst structure saved, once in `GuardConfig.save_interval` steps; `look` returns
    all alarms, so that every frame that raised one can be marked.

    Args:
        config: limits, and what to do.
        model: that moves the structures.
        timestep: in fs.
        committee: more models for the same forces; each asked at a look costs a step of its own.
        coverage: instead of the one that the model carries.
        suspects: an extended XYZ file for structures that raise alarms (see `Suspects`); None: they are not saved.

    Raises:
        InputError: the coverage is damaged, or a model of the committee has no forces.
    """

    def __init__(
        self,
        config: GuardConfig,
        model: Model,
        *,
        timestep: float,
        committee: Sequence[Model] = (),
        coverage: Coverage | None = None,
        suspects: str | Path | None = None,
    ) -> None:
        self.config, self.model, self.timestep, self.committee = config, model, timestep, tuple(committee)
        self.coverage = Coverage.stored(model) if coverage is None else coverage
        for place, member in enumerate(self.committee):
            if not (member.has_energy and model.has_energy):
                raise InputError(
                    f"model {place} of the committee has no forces to compare; use models with an energy readout"
                )
        self.counts: Counter[Kind] = Counter()  # alarms by kind
        self.saved = 0  # structures
        self.stopped = False  # an alarm was raised, and the run shall end
        self._suspects = None if suspects is None else Suspects(suspects)
        self._last_look: int | None = None
        self._last_said: dict[str, int] = {}  # kind to step
        self._start: list[float | None] | None = None  # eV per atom at the first look, by copy
        self._lists: dict[tuple[float | None, torch.device], tuple[tuple[int, ...], Searched]] = {}

    def due(self, step: int) -> bool:
        """Whether a call of `look` at this step would look."""
        return self._last_look is None or step - self._last_look >= self.config.interval

    def look(
        self,
        structures: Sequence[ase.Atoms],
        results: Sequence[Results],
        *,
        step: int,
        temperature: float | Sequence[float] | np.ndarray | None = None,
        target: float | None = None,
    ) -> tuple[Alarm, ...]:
        """Look at all copies, unless the last look is less than the interval ago.

        Args:
            structures: the copies, with momenta where the energy is to be watched.
            results: what the model predicts for each, as `Model.predict` gives it or under ASE's names.
            step: of the run.
            temperature: of each copy, or of all, in K; None: not watched.
            target: the thermostat's temperature in K. None: there is none, and the total energy must stay.

        Returns:
            At most one alarm for each copy and kind, in that order; none between looks. Whether they end the run is
            told by ``stopped``.

        Raises:
            InputError: the number of copies changed, results lack forces for the committee, a model of it does not know
                an element, or the file of suspicious structures is another run's or cannot be written.
        """
        if not self.due(step):
            return ()
        if self._last_look is None:
            self._first_look(structures)
        self._last_look = step
        found = motion.broken(structures, results)
        usable = sorted(set(range(len(structures))) - {entry.structure for entry in found})
        found += self._of_geometry(structures, results, usable)
        found += self._of_motion(structures, results, temperature, target)
        return self._react(structures, found, step)

    def state(self) -> dict[str, Any]:
        """All that looks to come depend on, for JSON. Kept neighbours are dropped: a run that goes on has none."""
        self._lists = {}
        return {
            "last_look": self._last_look,
            "last_said": dict(self._last_said),
            "start": self._start,
            "counts": dict(self.counts),
            "saved": self.saved,
            "stopped": self.stopped,
            "length": 0 if self._suspects is None else self._suspects.length,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`. Structures that were saved after it are cut off, for they will be found again.

        Raises:
            InputError: it is not the state of a guard.
        """
        try:
            self._last_look, self._start = state["last_look"], state["start"]
            self._last_said, self.counts = dict(state["last_said"]), Counter(state["counts"])
            self.saved, self.stopped = int(state["saved"]), bool(state["stopped"])
            length = int(state["length"])
        except (KeyError, TypeError, ValueError):
            raise InputError("the state of the guard is damaged; start the run anew") from None
        self._lists = {}
        if self._suspects is not None:
            self._suspects.go_on(length)

    def _first_look(self, structures: Sequence[ase.Atoms]) -> None:
        if self._suspects is not None:
            self._suspects.check_new()
        for place, member in enumerate(self.committee):
            for copy, atoms in enumerate(structures):
                try:
                    member.check_elements(atoms.numbers, np.array([0, len(atoms)]), first=copy)
                except InputError as error:
                    raise InputError(f"model {place} of the committee: {error}") from None
        if self.coverage is None:
            say(
                "note: the model does not say what it saw in training; the guard compares distances with covalent "
                "radii, and knows nothing of surroundings (atomlens.coverage.Coverage.of measures it)"
            )

    def _of_geometry(
        self, structures: Sequence[ase.Atoms], results: Sequence[Results], usable: list[int]
    ) -> list[Finding]:
        """What positions and forces say, of the copies that can be looked at."""
        refused: list[Finding] = []
        while usable:
            try:
                batch = self._batch([structures[copy] for copy in usable], tuple(usable), self.model)
                break
            except InputError as error:  # such as atoms on top of each other
                copy = usable.pop(error.structure or 0)
                atoms = () if error.atom is None else (error.atom,)
                refused.append(Finding(copy, "broken", atoms, 0.0, 0.0, error.problem))
        if not usable:
            return refused
        found = self._of_batch(batch)
        if self.committee:
            found += self._divided([structures[copy] for copy in usable], [results[c] for c in usable], tuple(usable))
        return refused + [replace(entry, structure=usable[entry.structure]) for entry in found]

    def _of_batch(self, batch: Batch) -> list[Finding]:
        if self.coverage is None:
            return covalent_overlap(batch, self.config)
        representation = self.model.representation
        with torch.no_grad(), threads_for(batch.numbers.shape[0] * representation.n_features**2):
            excess = self.coverage.check(batch, representation(batch))
        return strange_geometry(batch, excess, self.coverage, self.config)

    def _divided(self, structures: list[ase.Atoms], results: list[Results], copies: tuple[int, ...]) -> list[Finding]:
        if any("forces" not in entry for entry in results):
            raise InputError("a committee needs the forces of the run; hand them over with the results")
        own = np.concatenate([np.asarray(entry["forces"]) for entry in results])
        forces = [own]
        for member in self.committee:
            batch = self._batch(structures, copies, member)
            forces.append(member.predict(batch, stress=False)["forces"].cpu().numpy())
        ends = np.cumsum([len(atoms) for atoms in structures])[:-1]
        parts = np.split(np.stack(forces), ends, axis=1)
        entries = enumerate(zip(structures, parts, strict=True))
        return [
            entry
            for place, (atoms, part) in entries
            for entry in motion.divided(place, atoms.numbers, part, self.config)
        ]

    def _batch(self, structures: list[ase.Atoms], copies: tuple[int, ...], model: Model) -> Batch:
        """Structures with their pairs; these are searched when an atom has moved far, once for models of one cutoff."""
        key = model.cutoff, model.device
        kept = self._lists.pop(key, None)
        batch = kept[1].moved(structures) if kept is not None and kept[0] == copies else None
        searched = kept[1] if kept is not None and batch is not None else search(structures, model, _SKIN)
        self._lists[key] = copies, searched
        return searched.batch if batch is None else batch

    def _of_motion(
        self,
        structures: Sequence[ase.Atoms],
        results: Sequence[Results],
        temperature: float | Sequence[float] | np.ndarray | None,
        target: float | None,
    ) -> list[Finding]:
        found: list[Finding] = []
        if target is not None:
            if temperature is not None:
                measured = np.broadcast_to(np.asarray(temperature, dtype=np.float64), (len(structures),)).tolist()
                for copy, (atoms, kelvin) in enumerate(zip(structures, measured, strict=True)):
                    found += motion.hot(copy, kelvin, target, len(atoms), self.config)
            return found
        energies = [motion.total_energy(*entry) for entry in zip(structures, results, strict=True)]
        if self._start is None:
            self._start = energies
        if len(self._start) != len(energies):
            raise InputError(f"the guard watches {len(self._start)} copies, not {len(energies)}; hand over all of them")
        for copy, (energy, start) in enumerate(zip(energies, self._start, strict=True)):
            if energy is not None and start is not None:
                found += motion.drifted(copy, energy, start, self.config)
        return found

    def _react(self, structures: Sequence[ase.Atoms], found: list[Finding], step: int) -> tuple[Alarm, ...]:
        kinds = list(UNITS)
        order = sorted(found, key=lambda entry: (entry.structure, kinds.index(entry.kind)))
        alarms = tuple(raised(entry, step=step, time=step * self.timestep, copy=entry.structure) for entry in order)
        self.counts.update(alarm.kind for alarm in alarms)
        for kind in dict.fromkeys(alarm.kind for alarm in alarms):
            last = self._last_said.get(kind)
            if last is not None and step - last < self.config.save_interval:
                continue
            self._last_said[kind] = step
            worst = _worst([alarm for alarm in alarms if alarm.kind == kind])
            say(f"guard: {worst.sentence}")
            self._save(structures[worst.copy], worst)
        self.stopped = self.stopped or (bool(alarms) and self.config.action == "stop")
        return alarms

    def _save(self, atoms: ase.Atoms, alarm: Alarm) -> None:
        if self._suspects is None or self.saved >= self.config.most_saved or not np.isfinite(atoms.positions).all():
            return
        self._suspects.append(atoms, alarm)
        self.saved += 1


def _worst(alarms: Sequence[Alarm]) -> Alarm:
    return max(alarms, key=lambda alarm: alarm.severity)
