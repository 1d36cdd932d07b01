"""What is measured of atomlens alone: time against size, and the fast path against the exact filters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import inputs
from benchmarks.cases import AGREEMENT_CASES, AGREEMENT_TARGETS, CASES, LINEAR, SMALL_CRYSTAL, Case
from benchmarks.contestants.job import FORCE_TRAINING
from benchmarks.process import EXACT, FAST, BenchmarkError, Process
from benchmarks.rounds import WARM_UP, Say, predictions
from benchmarks.statistics import deviation, rms, slope
from benchmarks.structures import silicon

CALLS = 3  # per size, each on a batch never seen before


def run_scaling(
    fresh: Callable[[], AbstractContextManager[Process]], folder: Path, sizes: Sequence[int], say: Say
) -> dict[str, Any]:
    """Energy and forces of ever larger silicon crystals, each in a ``fresh`` process.

    Raises:
        BenchmarkError: a call failed.
    """
    rows = []
    for size in sizes:
        say(f"silicon, about {size:,} atoms")
        with fresh() as worker:
            rows.append(_one_size(worker, folder, size))
    exponent = slope([row["atoms"] for row in rows], [row["seconds"] for row in rows])
    return {"sizes": rows, "slope": exponent, "target": LINEAR, "met": exponent <= LINEAR}


def _one_size(worker: Process, folder: Path, size: int) -> dict[str, Any]:
    case = next(case for case in CASES if case.measures_memory)
    # A small crystal first: libraries and compiled code are then in memory, and not counted.
    _ask(worker, "prepare", job=inputs.write(case, folder, [silicon(SMALL_CRYSTAL)]).job())
    _ask(worker, "run", steps=1, warm_up=WARM_UP)
    files = inputs.write(case, folder, [silicon(size)])
    _ask(worker, "prepare", job=files.job())
    first = _ask(worker, "memory")
    times = [first["seconds"], *_ask(worker, "run", steps=CALLS - 1, warm_up=0)["seconds"]]
    for file in (files.arrays, files.weights):
        file.unlink()
    return {
        "atoms": files.about["atoms"],
        "pairs": files.about["pairs"],
        "calls": times,
        "seconds": float(np.median(times)),
        "mebibytes": first["mebibytes"],
        "neighbour_list_seconds": files.about["neighbour_list_seconds"],
    }


def run_agreement(workers: Mapping[str, Process], folder: Path, say: Say) -> list[dict[str, Any]]:
    """The fast path against the exact filters in float32, and both against the exact filters in float64.

    Raises:
        BenchmarkError: one of them failed.
    """
    return [
        _agreement(case, workers, folder, say)
        for number in AGREEMENT_CASES
        for case in CASES
        if case.number == number and case.kind == FORCE_TRAINING
    ]


def relative_differences(found: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray]) -> dict[str, float]:
    """RMS of the differences over the RMS of the reference, and for energies and forces the largest over the same."""
    names = ("energy", "forces", "gradient")
    off = {name: rms(found[name].astype(np.float64) - reference[name]) / rms(reference[name]) for name in names}
    largest = {f"largest_{name}": deviation(found[name], reference[name]) / rms(reference[name]) for name in names[:2]}
    return off | largest


def _agreement(case: Case, workers: Mapping[str, Process], folder: Path, say: Say) -> dict[str, Any]:
    say(f"fast against exact filters: {case.title}")
    files = inputs.write(case, folder)
    found = {
        (key, precision): predictions(workers[key], files, folder, precision=precision)
        for key, precision in ((EXACT, "float64"), (EXACT, "float32"), (FAST, "float32"))
    }
    for (key, _), value in found.items():
        if isinstance(value, str):
            raise BenchmarkError(f"{workers[key].contestant.title} fails in '{case.title}': {value}")
    arrays: Any = found
    off = relative_differences(arrays[FAST, "float32"], arrays[EXACT, "float32"])
    return {
        "case": case.number,
        "title": case.title,
        "structures_from": files.about["structures_from"],
        "fast_to_exact": off,
        "fast_to_float64": relative_differences(arrays[FAST, "float32"], arrays[EXACT, "float64"]),
        "exact_to_float64": relative_differences(arrays[EXACT, "float32"], arrays[EXACT, "float64"]),
        "targets": AGREEMENT_TARGETS,
        "met": {name: off[name] <= limit for name, limit in AGREEMENT_TARGETS.items()},
    }


def _ask(worker: Process, what: str, **details: Any) -> dict[str, Any]:
    reply = worker.ask(what, **details)
    if "error" in reply:
        raise BenchmarkError(f"{worker.contestant.title} failed at growing crystals: {reply['error']}")
    return reply
