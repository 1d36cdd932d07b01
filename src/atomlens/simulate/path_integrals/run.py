"""Path-integral runs in a folder, recorded so that nothing written is lost."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase
import numpy as np

from atomlens.errors import InputError, Interrupted
from atomlens.files import check_folder, of_disk, write_text
from atomlens.model import Model
from atomlens.progress import Reporter, stop_requests, track
from atomlens.simulate.evaluator import Evaluator
from atomlens.simulate.path_integrals.config import FREE, PathIntegralConfig
from atomlens.simulate.path_integrals.driver import Potential
from atomlens.simulate.path_integrals.engine import Engine, Sample, State
from atomlens.simulate.path_integrals.observables import COLUMNS, OF_CRYSTALS, row
from atomlens.simulate.recording import CHECKPOINT, Recorder, load_checkpoint, save_checkpoint, snapshot
from atomlens.simulate.running import BLOCK, WRITTEN, begin, moved_copy, ns_per_day
from atomlens.simulate.settings import model_hash, structure_hash
from atomlens.simulate.watch import Watch, memory_of, remind
from atomlens.wording import speed

KIND = "path integrals"
MATRICES = "gle.xml"  # a copy of those of the thermostat


@dataclass(frozen=True)
class Timings:
    """Where the time of this session went, in seconds."""

    model: float
    engine: float  # i-PI, with what passes between it and the model
    recording: float
    steps: int

    @property
    def overhead(self) -> float:
        """The share of the time that was not the model's."""
        total = self.model + self.engine + self.recording
        return 1.0 - self.model / total if total else 0.0


@dataclass(frozen=True)
class PathIntegralRun:
    """What a run came to; `read_observables` reads its table."""

    folder: Path
    config: PathIntegralConfig
    steps: int  # equilibration included
    timings: Timings
    seconds: float  # over all sessions
    steps_per_second: float
    ns_per_day: float  # of each replica
    alarms: list[Any]  # what the watch collected


def run_path_integrals(
    model: Model | Potential,
    structures: ase.Atoms | Sequence[ase.Atoms],
    folder: str | Path,
    config: PathIntegralConfig | None = None,
    *,
    resume: bool = False,
    watch: Watch | None = None,
    title: str = "",
    skin: float = 0.5,
) -> PathIntegralRun:
    """Move nuclei as ring polymers by i-PI, with all beads of all paths predicted in one batch.

    The folder gets a trajectory for each bead (those of a path beside each other), ``observables.csv``,
    ``settings.json`` and ``checkpoint.npz``. A run that was stopped, killed or met a full disk goes on with
    ``resume=True`` to the same files, byte for byte on the same machine. One that is over goes on for longer, when
    ``config.duration`` is raised.

    Args:
        model: with an energy readout; or any `Potential`.
        structures: where all beads of all paths begin; or one structure for each path; or one for each bead, such as
            the last frames of another run.
        folder: an empty or new one, or that of the run to go on with.
        config: how to move, and what to write.
        resume: go on from the checkpoint in ``folder``.
        watch: gets the beads, their results under ASE's names and the step at every frame; beads for which it returns
            True are marked in that frame, and an `InputError` from it ends the run. What it has in an attribute
            ``alarms`` is handed on.
        title: of the progress bar; nothing is shown without.
        skin: see `Calculator`.

    Raises:
        InputError: i-PI is missing, a structure or setting that cannot be used, atoms that fell into each other, or a
            full disk.
        Interrupted: SIGINT or SIGTERM came; the checkpoint is written.
    """
    config, folder = config or PathIntegralConfig(), Path(folder)
    if isinstance(model, Model) and not model.has_energy:
        raise InputError(f"the model predicts no energies, but {', '.join(model.predicted)}; forces need one that does")
    starts = _starts(structures, config)
    check_folder(folder, resuming=resume)
    engine = Engine(Evaluator(model, skin=skin) if isinstance(model, Model) else model, starts, config)
    try:
        begin(folder, _settings(model, starts, config, skin), resume=resume, free=FREE)
        if config.gle is not None and not (folder / MATRICES).is_file():
            write_text(folder / MATRICES, Path(config.gle).read_text(encoding="utf-8"))
        run = _Run(engine, config, folder, watch, crystal=bool(starts[0][0].pbc.all()))
    except OSError as error:
        raise of_disk(error, folder, "nothing was written yet") from None
    try:
        with stop_requests() as stopping, track(title, config.steps, "steps", run.step) as bar:
            run.go(bar, stopping)
    except OSError as error:
        raise of_disk(error, folder, f"all up to {run.saved_step * config.timestep:g} fs is kept") from None
    finally:
        run.recorder.close()
    return run.result()


def _starts(structures: ase.Atoms | Sequence[ase.Atoms], config: PathIntegralConfig) -> list[list[ase.Atoms]]:
    """The beads of each path."""
    given = [structures] if isinstance(structures, ase.Atoms) else list(structures)
    given = [moved_copy(atoms, place) for place, atoms in enumerate(given)]
    for place, atoms in enumerate(given):
        same = np.array_equal(atoms.numbers, given[0].numbers)
        if not same or (atoms.pbc != given[0].pbc).any():
            raise InputError("has other atoms or boundaries than the first; run it on its own", structure=place)
    beads, paths = config.beads, config.replicas
    if len(given) == 1:
        return [given * beads] * paths
    if len(given) == paths:
        return [[atoms] * beads for atoms in given]
    if len(given) != paths * beads:
        raise InputError(
            f"{len(given)} structures for {paths} paths of {beads} beads; give one, one for each path, or one for each "
            "bead"
        )
    return [given[place * beads : (place + 1) * beads] for place in range(paths)]


def _settings(
    model: Model | Potential, starts: Sequence[Sequence[ase.Atoms]], config: PathIntegralConfig, skin: float
) -> dict[str, Any]:
    return {
        "kind": KIND,
        "formula": starts[0][0].get_chemical_formula(),
        "atoms": len(starts[0][0]),
        "copies": config.beads * config.replicas,
        "beads": config.beads,
        "interval_fs": config.record_interval,
        "equilibration_fs": 1000.0 * config.equilibration,
        "skin": skin,
        "matrices": None if config.gle is None else hashlib.sha256(Path(config.gle).read_bytes()).hexdigest(),
        "model": model_hash(model) if isinstance(model, Model) else type(model).__name__,
        "structures": [structure_hash(atoms) for beads in starts for atoms in beads],
        "config": config.model_dump(mode="json"),
    }


class _Run:
    """A run that stands at a step, with its files open."""

    def __init__(
        self, engine: Engine, config: PathIntegralConfig, folder: Path, watch: Watch | None, *, crystal: bool
    ) -> None:
        self.engine, self.config, self.folder, self.watch = engine, config, folder, watch
        self.step = self.saved_step = 0
        self.seconds, self.recording = 0.0, 0.0
        self.origin: list[float] = []  # conserved quantities at the first frame
        marks = self._restore() if (folder / CHECKPOINT).is_file() else None
        columns = COLUMNS + (OF_CRYSTALS if crystal else ())
        self.recorder = Recorder(folder, config.beads * config.replicas, columns, config.format, marks)
        self._first, self._new = self.step, marks is None
        self._began = self._saved = time.monotonic()

    def _restore(self) -> dict[str, int]:
        state, arrays = load_checkpoint(self.folder)
        try:
            paths = range(self.config.replicas)
            cut = [{name.split("/", 1)[1]: arrays[name] for name in arrays if name.startswith(f"{p}/")} for p in paths]
            self.engine.restore(cut)
            self.step = self.saved_step = int(state["step"])
            self.seconds, self.origin = state["seconds"], state["origin"]
            remind(self.watch, state["watch"])
            return dict(state["marks"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"is no checkpoint of path integrals ({error}); start anew", file=str(self.folder / CHECKPOINT)
            ) from None

    def go(self, bar: Reporter, stopping: Callable[[], bool]) -> None:
        """To the end of the run, or a reason to stop."""
        if self.step > self.config.steps:
            raise InputError(
                f"the run has gone {self.step * self.config.timestep / 1000:g} ps already; raise the duration",
                file=str(self.folder),
            )
        if self._new:
            self._record(bar)
            self._save(self.engine.settle())
        while self.step < self.config.steps:
            self._onward(bar)
            if self.step % BLOCK == 0:
                self._point(stopping)
        if self.saved_step < self.step:
            self._save(self.engine.settle())

    def _onward(self, bar: Reporter) -> None:
        """To the next frame or point."""
        frame = self.config.steps_per_frame
        wanted = min(self.config.steps, *(self.step - self.step % way + way for way in (BLOCK, frame)))
        try:
            self.engine.advance(wanted - self.step)
            bar.advance(wanted - self.step)
            self.step = wanted
            if self.step % frame == 0:
                self._record(bar)
        except InputError as error:
            self.recorder.commit()
            raise InputError(f"{error.problem}; frames until then are kept", file=str(self.folder)) from None

    def _record(self, bar: Reporter) -> None:
        """A frame of every bead and a row of every path."""
        samples = self.engine.samples()
        begun, when = time.perf_counter(), self.step * self.config.timestep
        beads = [atoms for sample in samples for atoms in sample.beads]
        results = [found for sample in samples for found in sample.results]
        marked, stop = self._looked(beads, results)
        frames = []
        for place, (atoms, found) in enumerate(zip(beads, results, strict=True)):
            path, bead = divmod(place, self.config.beads)
            info = {"step": self.step, "time_fs": when, "replica": path, "bead": bead}
            info |= {"marked": True} if marked[place] else {}
            frames.append(snapshot(atoms, {name: found[name] for name in WRITTEN if name in found}, info))
        for path, sample in enumerate(samples):
            self.recorder.row(*row(self.step, when, path, sample))
        self.recorder.frames(frames)
        self.recording += time.perf_counter() - begun
        bar.note(self._note(samples))
        if stop is not None:
            raise stop

    def _looked(
        self, beads: list[ase.Atoms], results: list[dict[str, Any]]
    ) -> tuple[Sequence[bool], InputError | None]:
        """What the watch marks, and why it ends the run; the frame is written in any case."""
        try:
            found = self.watch(beads, list(results), self.step) if self.watch is not None else None
            return found if found is not None else [False] * len(beads), None
        except InputError as error:
            return [True] * len(beads), error

    def _point(self, stopping: Callable[[], bool]) -> None:
        """A step from which the run can go on: the way here is forgotten, whether a checkpoint is made or not."""
        states = self.engine.settle()
        asked = stopping() and self.step < self.config.steps
        if asked or time.monotonic() - self._saved >= self.config.checkpoint_seconds:
            self._save(states)
        if asked:
            at = f"{self.step * self.config.timestep:g} fs"
            raise Interrupted(f"stopped after {at}; go on with --resume --out {self.folder}")

    def _save(self, states: Sequence[State]) -> None:
        begun = time.perf_counter()
        marks = self.recorder.commit()
        state = {"step": self.step, "seconds": self._seconds(), "origin": self.origin, "marks": marks}
        state |= {"watch": memory_of(self.watch)}
        arrays = {f"{path}/{name}": value for path, found in enumerate(states) for name, value in found.items()}
        save_checkpoint(self.folder, state, arrays)
        self.saved_step, self._saved = self.step, time.monotonic()
        self.recording += time.perf_counter() - begun

    def _seconds(self) -> float:
        return self.seconds + time.monotonic() - self._began

    def _note(self, samples: Sequence[Sample]) -> str:
        conserved = [sample.conserved for sample in samples]
        self.origin = self.origin or conserved
        drift = 1000.0 * float(np.mean(np.subtract(conserved, self.origin))) / len(samples[0].beads[0])
        rate = self.step / max(self._seconds(), 1e-9)
        warmth = np.mean([sample.temperature for sample in samples])
        return (
            f"{warmth:.0f} K, conserved {drift:+.2f} meV/atom, {speed(rate)} steps/s, "
            f"{speed(ns_per_day(rate, self.config.timestep))} ns/day"
        )

    def result(self) -> PathIntegralRun:
        """What the run came to."""
        seconds, now = self._seconds(), time.monotonic() - self._began
        rate = self.step / seconds
        model = self.engine.seconds
        return PathIntegralRun(
            folder=self.folder,
            config=self.config,
            steps=self.step,
            timings=Timings(model, now - model - self.recording, self.recording, self.step - self._first),
            seconds=seconds,
            steps_per_second=rate,
            ns_per_day=ns_per_day(rate, self.config.timestep),
            alarms=list(getattr(self.watch, "alarms", ())),
        )
