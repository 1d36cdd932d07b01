"""Weigh the code generators: reference, numba, C++ and Inductor, each alone and inside a full training step.

"numba" is what everyone gets, with whole interaction blocks as one kernel; "primitives" numba's functions over pairs
alone, to compare with the other generators, which have no more.

Every generator is first checked against the reference, then timed in turn with the others in one process: each function
over pairs, then energy + force training steps. Cold starts are taken in processes of their own, with empty caches and
again with those that the first start left. C++ and Inductor need g++; they share numba's grouping, places, weights and
coefficients, so what differs is the code for the five functions over pairs.

For instance:
  python -m benchmarks.generators --rounds 15 --out generators.json
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import ase
import numpy as np
import torch
from ase.build import molecule
from ase.collections import g2
from torch import Tensor

from atomlens.data.system import AtomicSystem
from atomlens.files import write_json
from atomlens.ops.cfconv import backends
from atomlens.ops.cfconv.kernels import Kernels
from atomlens.ops.cfconv.spline import SplineGrid
from benchmarks import machine
from benchmarks.cases import FRAMES, MOLECULES, SCHNET_ETHANOL, SCHNET_MOLECULES
from benchmarks.contestants.job import FORCE_TRAINING, Job, Network, Work
from benchmarks.contestants.ours import prepare
from benchmarks.generators.cpp import FOLDER, runtimes
from benchmarks.inputs import batch_arrays, initial_state
from benchmarks.statistics import Spread, order_of_round, steps_per_turn
from benchmarks.structures import RATTLE, SEED

REFERENCE = "reference"
NAMES = (REFERENCE, "numba", "primitives", "cpp", "inductor")
CLOSE = {"values": 1e-5, "energy": 1e-5, "forces": 1e-4, "gradient": 1e-4}  # largest deviation over largest value
TURN_SECONDS, MOST_STEPS = 0.15, 50  # of one generator in one round
LARGE_PAIRS = 39_956
COLD, WARM = "empty caches", "caches kept"
QUIET, PATIENCE = 0.7, 600.0  # load to wait for, and seconds for which to wait at most
CACHES = {"NUMBA_CACHE_DIR": "numba", "TORCHINDUCTOR_CACHE_DIR": "inductor", FOLDER: "cpp"}
Times = dict[str, dict[str, float]]


def register() -> None:
    """Let `use_kernels` know what is compared here, in this process only."""
    backends._BACKENDS["primitives"] = ("benchmarks.generators.primitives", "PrimitiveKernels")
    backends._BACKENDS["cpp"] = ("benchmarks.generators.cpp", "CppKernels")
    backends._BACKENDS["inductor"] = ("benchmarks.generators.inductor", "InductorKernels")


def molecules() -> list[AtomicSystem]:
    """256 rattled molecules of ASE's g2 set with about as many pairs within 12 Å as molecules of QM7 have."""
    large = [atoms for atoms in (molecule(name) for name in g2.names) if len(atoms) >= 12]
    return _rattled(list(islice(cycle(large), MOLECULES)))


def frames() -> list[AtomicSystem]:
    """32 rattled frames of ethanol."""
    return _rattled([molecule("CH3CH2OH")] * FRAMES)


def _rattled(structures: Sequence[ase.Atoms]) -> list[AtomicSystem]:
    rng = np.random.default_rng(SEED)
    moved = [atoms.copy() for atoms in structures]
    for atoms in moved:
        atoms.positions += rng.normal(scale=RATTLE, size=atoms.positions.shape)
    return [AtomicSystem.from_ase(atoms) for atoms in moved]


CASES: dict[str, tuple[Callable[[], list[AtomicSystem]], Network, int | None]] = {
    "32 ethanol frames, T=3": (frames, SCHNET_ETHANOL, None),
    "256 molecules, T=6": (molecules, SCHNET_MOLECULES, LARGE_PAIRS),
}


def job(case: str) -> Job:
    """The training step's batch and weights."""
    structures, network, _ = CASES[case]
    arrays, _ = batch_arrays(structures(), network.cutoff)
    torch.manual_seed(SEED)
    return Job(FORCE_TRAINING, network, arrays, initial_state(network))


def functions(given: Job, pairs: int | None) -> dict[str, Callable[[Kernels], Tensor]]:
    """The five functions on the graph of a batch, with random features and table.

    Args:
        given: the batch.
        pairs: how many pairs it is brought to, by repeating pairs from its beginning; None: as it is.
    """
    arrays, grid = given.arrays, SplineGrid(given.network.range, 256, "cosine")
    take = np.sort(np.resize(np.arange(len(arrays["centre"])), pairs or len(arrays["centre"])))
    centre, neighbour = (torch.from_numpy(arrays[name][take]) for name in ("centre", "neighbour"))
    positions = torch.from_numpy(arrays["positions"])
    distances = torch.linalg.vector_norm(positions[neighbour] - positions[centre], dim=1)
    shared = loaded("numba")
    graph = shared.graph(centre, neighbour, len(positions))
    place, fraction = shared.locate(grid, distances)
    weights, slopes = (shared.spline_weights(grid, distances, fraction, n, torch.float32) for n in (0, 1))
    by_place = shared.group(place, grid.n_samples - 1)
    generator = torch.Generator().manual_seed(SEED)
    g, x, y = torch.randn(3, len(positions), given.network.features, generator=generator)
    table = torch.randn(grid.n_samples + 2, given.network.features, generator=generator)
    scale = torch.randn(len(centre), generator=generator)
    ends = (graph, place, by_place)
    return {
        "convolve": lambda k: k.convolve(x, table, graph, place, weights, None),
        "dot": lambda k: k.dot(g, x, table, graph, place, slopes),
        "table_gradient": lambda k: k.table_gradient(g, x, *ends, weights, None),
        "convolve_both": lambda k: k.convolve_both(x, y, table, graph, place, weights, slopes, scale),
        "table_gradient_both": lambda k: k.table_gradient_both(g, x, y, *ends, weights, slopes, scale),
    }


def differ(found: np.ndarray, expected: np.ndarray, bound: str, where: str) -> float:
    """The largest deviation over the largest value.

    Raises:
        SystemExit: it is beyond the bound: another result, not to be timed.
    """
    off = float(np.abs(found - expected).max() / np.abs(expected).max())
    if not off <= CLOSE[bound]:
        raise SystemExit(f"{where} is off by {off:.1e}; no times of what is wrong")
    return off


def interleave(turns: dict[str, Callable[[], float]], rounds: int) -> dict[str, Spread]:
    """Each one in turn; its median time in each round, and their median and quartiles."""
    found: dict[str, list[float]] = {name: [] for name in turns}
    steps = {name: steps_per_turn(min(turn(), turn()), TURN_SECONDS, MOST_STEPS) for name, turn in turns.items()}
    for number in range(rounds):
        for name in order_of_round(list(turns), number):
            turns[name]()
            found[name].append(float(np.median([turns[name]() for _ in range(steps[name])])))
    return {name: Spread.of(values) for name, values in found.items()}


def _call(function: Callable[[Kernels], Tensor], kernels: Kernels) -> Callable[[], float]:
    def turn() -> float:
        start = time.perf_counter()
        function(kernels)
        return time.perf_counter() - start

    return turn


def _step(name: str, work: Work) -> Callable[[], float]:
    def turn() -> float:
        material = work.fresh()
        with backends.use_kernels(name):
            start = time.perf_counter()
            work.step(material)
            return time.perf_counter() - start

    return turn


def loaded(name: str) -> Kernels:
    """The kernels of that name."""
    found = backends._load(name)
    if isinstance(found, str):
        raise SystemExit(f"{name}: {found}")
    return found


def measure(case: str, names: Sequence[str], threads: int, rounds: int) -> list[dict[str, Any]]:
    """Check and time everything of one case."""
    torch.set_num_threads(threads)
    given, rows = job(case), []
    before = machine.load()
    for title, function in functions(given, CASES[case][2]).items():
        expected = function(loaded(REFERENCE)).numpy()
        arrays = {name: function(loaded(name)).numpy() for name in names}
        off = {name: differ(array, expected, "values", f"{name}: {title}") for name, array in arrays.items()}
        same = {name: bool((function(loaded(name)).numpy() == array).all()) for name, array in arrays.items()}
        times = interleave({name: _call(function, loaded(name)) for name in names}, rounds)
        about = f"{CASES[case][2] or len(given.arrays['centre'])} pairs"
        rows.append(_row(f"{title}, {about}", threads, times, off, before) | {"repeatable": same})
    works: dict[str, Work] = {}
    found: dict[str, dict[str, np.ndarray]] = {}
    off = {}
    for name in (REFERENCE, *names):
        with backends.use_kernels(name):
            works[name] = prepare(given, exact=False)
            found[name] = works[name].results()
    for name in names:
        keys = found[name].items()
        off[name] = max(differ(value, found[REFERENCE][key], key, f"{name}: {case}: {key}") for key, value in keys)
    times = interleave({name: _step(name, works[name]) for name in names}, rounds)
    pairs = len(given.arrays["centre"])
    rows.append(_row(f"**training step**, {case} ({pairs} pairs)", threads, times, off, before))
    return rows


def _row(work: str, threads: int, times: dict[str, Spread], off: dict[str, float], before: float) -> dict[str, Any]:
    seconds = {name: vars(spread) for name, spread in times.items()}
    load = [before, machine.load()]
    return {"work": work, "threads": threads, "seconds": seconds, "deviation": off, "load": load}


def cold(names: Sequence[str]) -> dict[str, Times]:
    """Seconds of first calls in fresh processes, with empty caches and with those that were left."""
    found: dict[str, Times] = {}
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            for path in CACHES.values():
                (Path(folder) / path).mkdir()
            caches = {variable: str(Path(folder) / path) for variable, path in CACHES.items()}
            command = [sys.executable, "-m", "benchmarks.generators", "--cold", name]
            for start in (COLD, WARM):
                done = subprocess.run(command, env=os.environ | caches, check=True, capture_output=True, text=True)
                found.setdefault(name, {})[start] = json.loads(done.stdout.splitlines()[-1])
    return found


def first_calls(name: str) -> dict[str, float]:
    """Seconds of the first call of the five functions, and of the first training step after them."""
    torch.set_num_threads(1)
    given = job(next(iter(CASES)))
    called = functions(given, None).values()  # numba's helpers, which all but the reference share, are loaded by this
    start = time.perf_counter()
    for function in called:
        function(loaded(name))
    middle = time.perf_counter()
    with backends.use_kernels(name):
        work = prepare(given, exact=False)
        begin = time.perf_counter()
        work.step(work.fresh())
        end = time.perf_counter()
    return {"functions": middle - start, "step": end - begin}


def report(results: dict[str, Any], names: Sequence[str]) -> list[str]:
    """The tables, in Markdown."""
    lines = [f"| median ms | threads | {' | '.join(names)} | load |", "|---|---|" + "---|" * (len(names) + 1)]
    for row in results["rows"]:
        cells = []
        for name in names:
            spread, marks = row["seconds"][name], "" if row.get("repeatable", {}).get(name, True) else " ≠"
            few = f"{1e3 * spread['lower']:.3g} to {1e3 * spread['upper']:.3g}"
            cells.append(f"{1e3 * spread['median']:.3g}{marks} ({few})")
        load = " → ".join(f"{value:.1f}" for value in row["load"])
        lines.append(f"| {row['work']} | {row['threads']} | {' | '.join(cells)} | {load} |")
    lines += ["", "In brackets quartiles over rounds; ≠: not the same bit for bit when called twice.", ""]
    if results["cold"]:
        lines += ["| first calls, s | five functions | training step after them |", "|---|---|---|"]
    for name, starts in results["cold"].items():
        lines += [f"| {name}, {start} | {t['functions']:.2f} | {t['step']:.2f} |" for start, t in starts.items()]
    return lines


def main() -> None:
    """Measure, print tables, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", type=lambda text: text.split(","), default=list(NAMES), help="who takes part")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--threads", type=lambda text: [int(word) for word in text.split(",")], default=[1, 2])
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="where results go")
    parser.add_argument("--no-cold", action="store_true", help="leave the cold starts out")
    parser.add_argument("--wait", action="store_true", help=f"wait for a load under {QUIET}, ten minutes at most")
    parser.add_argument("--cold", metavar="NAME", help=argparse.SUPPRESS)
    options = parser.parse_args()
    register()
    if options.cold:
        print(json.dumps(first_calls(options.cold)))  # noqa: T201
        return
    deadline = time.monotonic() + (PATIENCE if options.wait else 0.0)
    while time.monotonic() < deadline and machine.load() >= QUIET:
        time.sleep(5.0)
    results: dict[str, Any] = {"machine": machine.describe(), "torch": torch.__version__, "rows": []}
    for threads in options.threads:
        for case in CASES:
            results["rows"] += measure(case, options.names, threads, options.rounds)
    results["openmp"] = runtimes()
    results["cold"] = {} if options.no_cold else cold(options.names)
    print("\n".join(report(results, options.names)))  # noqa: T201
    if options.out:
        write_json(options.out, results)


if __name__ == "__main__":
    main()
