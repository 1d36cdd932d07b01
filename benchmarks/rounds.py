"""One case: agreement first, then interleaved runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import inputs
from benchmarks.cases import GATE, SMALL_CRYSTAL, Case
from benchmarks.machine import load
from benchmarks.process import BASELINE, EXACT, BenchmarkError, Process
from benchmarks.statistics import Spread, deviation, order_of_round, ratios, rms, steps_per_turn
from benchmarks.structures import silicon

Say = Callable[[str], None]
WARM_UP = 3  # steps before the first round; code is compiled and specialised in them
SETTLE_SECONDS = 0.05  # threads that still spin after a step have gone to sleep by then


@dataclass(frozen=True)
class Settings:
    """How long to measure."""

    rounds: int
    turn_seconds: float  # of one contestant in one round, at least


def run_case(case: Case, workers: Mapping[str, Process], folder: Path, settings: Settings, say: Say) -> dict[str, Any]:
    """Measure one case with all contestants that can do it and agree.

    Returns:
        What the results file holds for it; times in seconds per unit of work.
    """
    files = inputs.write(case, folder)
    truth = exact_results(workers, files, folder)
    before = load()
    if case.measures_memory:
        small = inputs.write(case, folder, [silicon(SMALL_CRYSTAL)])
        for worker in workers.values():
            if "not_offered" not in worker.ask("prepare", job=small.job()):
                worker.ask("run", steps=1, warm_up=WARM_UP)
    entries: dict[str, dict[str, Any]] = {}
    for key, worker in workers.items():
        say(f"{worker.contestant.title}: agreement and warm-up")
        entries[key] = _prepare(case, worker, files, folder, truth)
    ready = {key: workers[key] for key, entry in entries.items() if "refused" not in entry}
    times = _interleaved(ready, entries, settings, say)
    _summarise(entries, times)
    return {
        "number": case.number,
        "title": case.title,
        "kind": case.kind,
        "network": asdict(case.network),
        "about": files.about,
        "load": [before, load()],
        "targets": asdict(case.targets),
        "contestants": entries,
    }


def exact_results(workers: Mapping[str, Process], files: inputs.Files, folder: Path) -> dict[str, np.ndarray]:
    """What everyone must find: atomlens with exact filters in float64."""
    worker = workers[EXACT]
    found = predictions(worker, files, folder, precision="float64")
    worker.ask("release")
    if isinstance(found, str):
        raise BenchmarkError(f"the exact filters fail in '{files.case.title}': {found}")
    return found


def predictions(
    worker: Process, files: inputs.Files, folder: Path, kind: str | None = None, precision: str = "float32"
) -> dict[str, np.ndarray] | str:
    """What a contestant predicts, or why it does not; its work is left prepared."""
    path = folder / f"results-{worker.contestant.key}.npz"
    reply = worker.ask("prepare", job=files.job(kind, precision), results=str(path))
    for reason in ("not_offered", "error"):
        if reason in reply:
            return str(reply[reason])
    with np.load(path) as archive:
        return dict(archive)


def differences(
    case: Case, found: Mapping[str, np.ndarray], truth: Mapping[str, np.ndarray], atoms: int
) -> dict[str, float]:
    """The largest deviation of an energy in eV (per structure or atom); the RMS and the largest of forces over RMS."""
    share = atoms if case.per_atom else 1
    off = {"energy": deviation(found["energy"], truth["energy"]) / share}
    if "forces" in found and "forces" in truth:
        off["forces"] = rms(found["forces"] - truth["forces"]) / rms(truth["forces"])
        off["largest_force"] = deviation(found["forces"], truth["forces"]) / rms(truth["forces"])
    return off


def verdict(off: Mapping[str, float]) -> str | None:
    """Why deviations forbid timing, or None."""
    for name, unit in (("energy", "eV"), ("forces", "of their RMS")):
        if name in off and not off[name] <= GATE[name]:
            return f"{name} off by {off[name]:.1e} {unit}, more than {GATE[name]:.0e}: another model, not timed"
    return None


def _prepare(
    case: Case, worker: Process, files: inputs.Files, folder: Path, truth: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    memory: dict[str, Any] = {}
    if case.measures_memory:
        # Its first call on so many atoms: memory that an earlier one left with the allocator would hide its need.
        reply = worker.ask("prepare", job=files.job())
        memory = worker.ask("memory") if not reply else {}
        if "error" in memory:
            return {"refused": memory["error"]}
    found = predictions(worker, files, folder)
    if isinstance(found, str):
        return {"refused": found}
    entry: dict[str, Any] = {"differences": differences(case, found, truth, files.about["atoms"])}
    refusal = verdict(entry["differences"])
    if refusal:
        return entry | {"refused": refusal}
    reply = worker.ask("run", steps=1, warm_up=WARM_UP)
    if "error" in reply:
        return entry | {"refused": reply["error"]}
    if memory:
        entry["memory"] = memory
    return entry | {"warm_up": reply["warm_up"], "step_seconds": reply["seconds"][0] * reply["units"]}


def _interleaved(
    ready: Mapping[str, Process], entries: Mapping[str, dict[str, Any]], settings: Settings, say: Say
) -> dict[str, list[float]]:
    """The median time of each turn, by contestant."""
    times: dict[str, list[float]] = {key: [] for key in ready}
    for number in range(settings.rounds if ready else 0):
        say(f"round {number + 1} of {settings.rounds}")
        for key in order_of_round(list(ready), number):
            steps = steps_per_turn(entries[key]["step_seconds"], settings.turn_seconds)
            time.sleep(SETTLE_SECONDS)
            reply = ready[key].ask("run", steps=steps, warm_up=1)
            if "error" in reply:
                raise BenchmarkError(f"{ready[key].contestant.title} failed in a timed step: {reply['error']}")
            times[key].append(float(np.median(reply["seconds"])))
    return times


def _summarise(entries: Mapping[str, dict[str, Any]], times: Mapping[str, list[float]]) -> None:
    faster = ratios(times, BASELINE)
    for key, values in times.items():
        entries[key]["rounds"] = values
        entries[key]["seconds"] = asdict(Spread.of(values))
        if key in faster:
            entries[key]["speed"] = asdict(faster[key])
