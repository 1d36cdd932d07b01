"""Molecular dynamics: engines of ASE, many replicas in one batch, recorded so that nothing written is lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase

from atomlens.errors import InputError, Interrupted
from atomlens.files import check_folder, of_disk
from atomlens.model import Model
from atomlens.progress import Reporter, stop_requests, track
from atomlens.simulate.molecular_dynamics.config import FREE, MolecularDynamicsConfig
from atomlens.simulate.molecular_dynamics.observables import Trends, columns, observables
from atomlens.simulate.molecular_dynamics.replicas import Replicas
from atomlens.simulate.recording import CHECKPOINT, Recorder, load_checkpoint, save_checkpoint, snapshot
from atomlens.simulate.running import BLOCK, WRITTEN, begin, ns_per_day
from atomlens.simulate.settings import model_hash, structure_hash
from atomlens.simulate.watch import Watch, memory_of, remind
from atomlens.wording import speed

KIND = "molecular dynamics"


@dataclass(frozen=True)
class MolecularDynamicsRun:
    """What a run came to; `read_frames` reads its trajectories."""

    folder: Path
    steps: int  # equilibration included
    degrees_of_freedom: int  # of a replica, for its temperature
    temperature: float | None  # mean after equilibration, K
    drift: float | None  # of the conserved quantity after equilibration, eV/atom/ps; None: nothing is conserved
    seconds: float  # over all sessions
    steps_per_second: float  # of each replica
    ns_per_day: float  # of each replica
    alarms: list[Any]  # what the watch collected


def run_molecular_dynamics(
    model: Model,
    structures: ase.Atoms | Sequence[ase.Atoms],
    folder: str | Path,
    config: MolecularDynamicsConfig | None = None,
    *,
    resume: bool = False,
    watch: Watch | None = None,
    title: str = "",
    skin: float = 0.5,
) -> MolecularDynamicsRun:
    """Move atoms by the model's forces, and record where they go.

    The folder gets a trajectory for each replica, ``observables.csv``, ``settings.json`` and ``checkpoint.npz``. A run
    that was stopped, killed or met a full disk goes on with ``resume=True`` to the same files, byte for byte on the
    same machine. One that is over goes on for longer, when ``config.duration`` is raised.

    Args:
        model: with an energy readout.
        structures: one, which is copied ``config.replicas`` times; or one for each replica, of the same atoms.
        folder: an empty or new one, or that of the run to go on with.
        config: how to move, and what to write.
        resume: go on from the checkpoint in ``folder``.
        watch: gets the structures, their results under ASE's names and the step every ``config.watch_interval``; frames
            of replicas for which it returns True are marked, and an `InputError` from it ends the run. What it has in
            an attribute ``alarms`` is handed on.
        title: of the progress bar; nothing is shown without.
        skin: see `Calculator`.

    Raises:
        InputError: a structure or setting that cannot be used, atoms that fell into each other, or a full disk.
        Interrupted: SIGINT or SIGTERM came; the checkpoint is written.
    """
    config, folder = config or MolecularDynamicsConfig(), Path(folder)
    if not model.has_energy:
        raise InputError(f"the model predicts no energies, but {', '.join(model.predicted)}; forces need one that does")
    started = _started(structures, config)
    check_folder(folder, resuming=resume)
    replicas = Replicas(model, started, config, skin=skin)
    try:
        begin(folder, _settings(model, started, config, skin), resume=resume, free=FREE)
        run = _Run(replicas, folder, watch)
    except OSError as error:
        raise of_disk(error, folder, "nothing was written yet") from None
    try:
        with stop_requests() as stopping, track(title, config.steps, "MD steps", run.replicas.step) as bar:
            run.go(bar, stopping)
    except OSError as error:
        raise of_disk(error, folder, f"all up to {run.saved_step * config.timestep:g} fs is kept") from None
    finally:
        run.recorder.close()
    return run.result()


def _started(structures: ase.Atoms | Sequence[ase.Atoms], config: MolecularDynamicsConfig) -> list[ase.Atoms]:
    given = [structures] if isinstance(structures, ase.Atoms) else list(structures)
    if len(given) == 1:
        return given * config.replicas
    if not given or config.replicas not in (1, len(given)):
        raise InputError(f"{len(given)} structures for {config.replicas} replicas; give one, or one for each")
    for place, atoms in enumerate(given):
        same = len(atoms) == len(given[0]) and (atoms.numbers == given[0].numbers).all()
        if not same or (atoms.pbc != given[0].pbc).any():
            raise InputError("has other atoms or boundaries than the first; run it on its own", structure=place)
    return given


def _settings(
    model: Model, structures: Sequence[ase.Atoms], config: MolecularDynamicsConfig, skin: float
) -> dict[str, Any]:
    return {
        "kind": KIND,
        "formula": structures[0].get_chemical_formula(),
        "copies": len(structures),
        "beads": 1,
        "interval_fs": config.record_interval,
        "equilibration_fs": 1000.0 * config.equilibration,
        "skin": skin,
        "model": model_hash(model),
        "structures": [structure_hash(atoms) for atoms in structures],
        "config": config.model_dump(mode="json"),
    }


class _Run:
    """A run that stands at a step, with its files open."""

    def __init__(self, replicas: Replicas, folder: Path, watch: Watch | None) -> None:
        self.replicas, self.config, self.folder, self.watch = replicas, replicas.config, folder, watch
        copies = len(replicas.structures)
        self.columns = columns(replicas.structures[0], replicas.ensemble)
        self.marked = [False] * copies  # since the last frame
        self.trends = Trends.empty(copies)
        self.seconds, self.saved_step, marks = 0.0, 0, None
        if (folder / CHECKPOINT).is_file():
            marks = self._restore()
        self.recorder = Recorder(folder, copies, self.columns, self.config.format, marks)
        self._began = self._saved = time.monotonic()
        self._new = marks is None

    def _restore(self) -> dict[str, int]:
        state, arrays = load_checkpoint(self.folder)
        try:
            self.replicas.restore(state["step"], state["random"], arrays)
            self.marked, self.trends = state["marked"], Trends(arrays["trends"])
            self.seconds, self.saved_step = state["seconds"], state["step"]
            remind(self.watch, state["watch"])
            return dict(state["marks"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"is no checkpoint of molecular dynamics ({error}); start anew", file=str(self.folder / CHECKPOINT)
            ) from None

    def go(self, bar: Reporter, stopping: Callable[[], bool]) -> None:
        """To the end of the run, or a reason to stop."""
        if self.replicas.step > self.config.steps:
            raise InputError(
                f"the run has gone {self.replicas.step * self.config.timestep / 1000:g} ps already; raise the duration",
                file=str(self.folder),
            )
        if self._new:
            self._events()
            self._save()
        while self.replicas.step < self.config.steps:
            before = self.replicas.step
            try:
                self.replicas.advance(self._next() - before)
                self._events()
            except InputError as error:
                self.recorder.commit()
                problem = f"{error.problem}; frames until then are kept"
                raise InputError(problem, file=str(self.folder)) from None
            bar.advance(self.replicas.step - before)
            bar.note(self._note())
            if self.replicas.step % BLOCK == 0:
                self._point(stopping)
        if self.saved_step < self.replicas.step:
            self._save()

    def _next(self) -> int:
        """The step at which something is to be done next."""
        here, ways = self.replicas.step, [BLOCK, self.config.steps_per_frame]
        if self.watch is not None:
            ways.append(self.config.steps_per_look)
        return min(self.config.steps, *(here - here % way + way for way in ways))

    def _events(self) -> None:
        """Look and write, where it is time to."""
        step, stop = self.replicas.step, None
        if self.watch is not None and step % self.config.steps_per_look == 0:
            try:
                found = self.watch(self.replicas.structures, list(self.replicas.results), step)
            except InputError as error:  # the frame that ends the run is the one to look at
                found, stop = [True] * len(self.marked), error
            if found is not None:
                self.marked = [old or bool(new) for old, new in zip(self.marked, found, strict=True)]
        if step % self.config.steps_per_frame == 0:
            self._record()
            self.marked = [False] * len(self.marked)
        if stop is not None:
            raise stop

    def _record(self) -> None:
        step, time_fs = self.replicas.step, self.replicas.step * self.config.timestep
        results, conserved = self.replicas.results, self.replicas.conserved()
        frames, rows = [], []
        for copy, atoms in enumerate(self.replicas.structures):
            info = {"step": step, "time_fs": time_fs, "replica": copy} | ({"marked": True} if self.marked[copy] else {})
            frames.append(
                snapshot(atoms, {name: results[copy][name] for name in WRITTEN if name in results[copy]}, info)
            )
            row = observables(atoms, results[copy], conserved[copy], self.replicas.degrees_of_freedom)
            rows.append(row)
            self.recorder.row(step, time_fs, copy, *(row[name] for name in self.columns[3:]))
        self.recorder.frames(frames)
        if step >= self.config.steps_before:
            self.trends.add(1e-3 * time_fs, conserved, [row["temperature_K"] for row in rows])

    def _point(self, stopping: Callable[[], bool]) -> None:
        """A step from which the run can go on: the way here is forgotten, whether a checkpoint is made or not."""
        self.replicas.halt()
        asked = stopping() and self.replicas.step < self.config.steps
        if asked or time.monotonic() - self._saved >= self.config.checkpoint_seconds:
            self._save()
        else:
            self.replicas.forget()
        if asked:
            at = f"{self.replicas.step * self.config.timestep:g} fs"
            raise Interrupted(f"stopped after {at}; go on with --resume --out {self.folder}")

    def _save(self) -> None:
        random, arrays = self.replicas.state()
        state = {
            "step": self.replicas.step,
            "random": random,
            "marked": self.marked,
            "seconds": self._seconds(),
            "marks": self.recorder.commit(),
            "watch": memory_of(self.watch),
        }
        save_checkpoint(self.folder, state, arrays | {"trends": self.trends.sums})
        self.saved_step, self._saved = self.replicas.step, time.monotonic()
        self.replicas.forget()

    def _seconds(self) -> float:
        return self.seconds + time.monotonic() - self._began

    def _drift(self) -> float | None:
        drift = self.trends.drift
        return None if drift is None else drift / len(self.replicas.structures[0])

    def _note(self) -> str:
        parts = []
        if self.trends.temperature is not None:
            parts.append(f"{self.trends.temperature:.0f} K")
        drift = self._drift()
        if drift is not None:
            parts.append(f"drift {1000 * drift:.2g} meV/atom/ps")
        rate = self.replicas.step / self._seconds()
        return ", ".join([*parts, f"{speed(rate)} steps/s, {speed(ns_per_day(rate, self.config.timestep))} ns/day"])

    def result(self) -> MolecularDynamicsRun:
        """What the run came to."""
        seconds = self._seconds()
        rate = self.replicas.step / seconds
        return MolecularDynamicsRun(
            folder=self.folder,
            steps=self.replicas.step,
            degrees_of_freedom=self.replicas.degrees_of_freedom,
            temperature=self.trends.temperature,
            drift=self._drift(),
            seconds=seconds,
            steps_per_second=rate,
            ns_per_day=ns_per_day(rate, self.config.timestep),
            alarms=list(getattr(self.watch, "alarms", ())),
        )
