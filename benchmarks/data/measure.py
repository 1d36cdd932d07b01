"""Everybody writes the same molecules, shows that they come back the same, and reads them in turn."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import machine
from benchmarks.data.formats import FORMATS, OURS, TITLES
from benchmarks.data.molecules import write_archive
from benchmarks.data.worker import KINDS
from benchmarks.process import BenchmarkError, Child
from benchmarks.statistics import Spread, order_of_round

TARGET = 50_000  # random molecules a second, read in batches
MILLION = 1_000_000
_SHOWN = 40  # molecules that must come back the same
_SETTLE_SECONDS = 0.05
_SEED = 20_240_607

Say = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """How much is measured."""

    structures: int
    rounds: int
    turn_seconds: float
    threads: int = 1


@contextmanager
def child(key: str, threads: int) -> Iterator[Child]:
    """A fresh process of a format."""
    running = Child(TITLES[key], [sys.executable, "-m", "benchmarks.data.worker", key], threads)
    try:
        yield running
    finally:
        running.stop()


def measure(settings: Settings, folder: Path, say: Say) -> dict[str, Any]:
    """Write, compare and read.

    Raises:
        BenchmarkError: a process ended or failed, or a format gives other molecules back than were written.
    """
    archive = folder / "molecules.npz"
    say("making molecules")
    write_archive(archive, settings.structures, _SEED)
    load, entries = [machine.load()], {}
    for entry in FORMATS:
        say(f"{entry.title}: writing")
        entries[entry.key] = _written(entry.key, settings, archive, folder / _file_name(entry.key))
    present = [key for key, entry in entries.items() if "refused" not in entry]
    store = folder / _file_name(OURS)
    with child(OURS, settings.threads) as worker:
        say("atomlens store: searching neighbours")
        entries[OURS]["search"] = _asked(worker, "search", path=str(store))
    running: dict[str, Child] = {}
    try:
        for key in present:
            running[key] = Child(TITLES[key], [sys.executable, "-m", "benchmarks.data.worker", key], settings.threads)
            _asked(running[key], "open", path=str(folder / _file_name(key)))
        _compare(running, settings, folder)
        for kind in KINDS:
            for key, spread in _read(kind, running, settings, say).items():
                entries[key].setdefault("reads", {})[kind] = spread
        for key, worker in running.items():
            entries[key]["memory"] = _asked(worker, "memory")
    finally:
        for worker in running.values():
            worker.stop()
    load.append(machine.load())
    return {"load": load, "formats": entries, "target": TARGET, "met": _met(entries[OURS]["reads"])}


def _met(reads: Mapping[str, Mapping[str, Any]]) -> dict[str, bool]:
    return {kind: entry["rate"]["median"] >= TARGET for kind, entry in reads.items()}


def _file_name(key: str) -> str:
    return {"ase": "molecules.db", "store": "store"}.get(key, f"{key}.h5")


def _written(key: str, settings: Settings, archive: Path, path: Path) -> dict[str, Any]:
    with child(key, settings.threads) as worker:
        hello = worker.ask("hello")
        if "error" in hello:
            return {"refused": hello["error"]}
        reply = _asked(worker, "write", archive=str(archive), path=str(path))
    rate = settings.structures / reply["seconds"]
    return {"versions": hello["versions"], "written_per_second": rate, "bytes": reply["bytes"]}


def _asked(worker: Child, what: str, **details: Any) -> dict[str, Any]:
    reply = worker.ask(what, **details)
    if "error" in reply:
        raise BenchmarkError(f"{worker.title} failed to {what}: {reply['error']}")
    return reply


def _compare(running: Mapping[str, Child], settings: Settings, folder: Path) -> None:
    rows = np.random.default_rng(_SEED).integers(0, settings.structures, _SHOWN).tolist()
    shown: dict[str, dict[str, np.ndarray]] = {}
    for key, worker in running.items():
        results = folder / f"{key}.npz"
        _asked(worker, "show", rows=rows, results=str(results))
        with np.load(results) as archive:
            shown[key] = dict(archive)
    for key, found in shown.items():
        for name, values in found.items():
            if not np.array_equal(values, shown[OURS][name]):
                raise BenchmarkError(f"{TITLES[key]} gives other {name.replace('_', ' ')} back than {TITLES[OURS]}")


def _read(kind: str, running: Mapping[str, Child], settings: Settings, say: Say) -> dict[str, dict[str, Any]]:
    """Molecules a second, by format: one rate for each round, with everybody in turn."""
    rates: dict[str, list[float]] = {key: [] for key in running}
    about = {"kind": kind, "structures": settings.structures}
    for key in running:
        _asked(running[key], "read", seconds=0.2 * settings.turn_seconds, seed=1, **about)  # files into memory
    for number in range(settings.rounds):
        say(f"reading, {kind}: round {number + 1} of {settings.rounds}")
        for key in order_of_round(list(running), number):
            time.sleep(_SETTLE_SECONDS)
            reply = _asked(running[key], "read", seconds=settings.turn_seconds, seed=number, **about)
            rates[key].append(reply["structures"] / reply["seconds"])
    return {key: {"rounds": values, "rate": asdict(Spread.of(values))} for key, values in rates.items()}


def measure_many(structures: int, settings: Settings, folder: Path, say: Say) -> dict[str, Any]:
    """A numpy archive of very many molecules: import it, search its neighbours, read at random.

    Raises:
        BenchmarkError: a process ended or failed.
    """
    archive, store = folder / "many.npz", folder / "many"
    say(f"making {structures:,} molecules")
    write_archive(archive, structures, _SEED)
    found: dict[str, Any] = {"structures": structures, "archive_bytes": archive.stat().st_size}
    say(f"importing {structures:,} molecules")
    with child(OURS, settings.threads) as worker:
        found["import"] = _asked(worker, "bring_in", archive=str(archive), path=str(store))
    archive.unlink()
    say(f"searching neighbours of {structures:,} molecules")
    with child(OURS, settings.threads) as worker:
        found["search"] = _asked(worker, "search", path=str(store))
    with child(OURS, settings.threads) as worker:
        _asked(worker, "open", path=str(store))
        many = Settings(structures, settings.rounds, settings.turn_seconds, settings.threads)
        found["reads"] = {kind: _read(kind, {OURS: worker}, many, say)[OURS] for kind in KINDS}
        found["memory"] = _asked(worker, "memory")
    return found


def describe(settings: Settings, started: str, keys: Sequence[str] = tuple(TITLES)) -> dict[str, Any]:
    """What the numbers hold for."""
    return {"created": started, "machine": machine.describe(), "settings": asdict(settings), "order": list(keys)}
