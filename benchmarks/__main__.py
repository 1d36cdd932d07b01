"""Time atomlens beside schnetpack and PyTorch Geometric: same weights, same batches, in turn.

Every contestant runs in a process of its own; only one works at a time. First each must predict the same energies (to
1e-5 eV) and forces (to 1e-4 of their RMS) as exact filters in float64, or it is not timed. Then rounds: every
contestant in turn, its median time per round; the ratio to schnetpack is taken round by round.

cases:
  1  energy training step, 256 molecules (F=64, T=6, cutoff 12 Å, 120 Gaussians)
  2  energy + force training step, the same batch
  3  energies + forces, the same batch
  4  energy + force training step, 32 ethanol frames (F=64, T=3, cutoff 5 Å)
  5  one molecular-dynamics step through ASE, C20 (F=128, T=6, 200 Gaussians, all pairs), neighbour list included
  6  energy + forces of a silicon crystal of 10,000 atoms (cutoff 5 Å, F=64, T=3): time, peak memory; time against size
  7  agreement of the fast path with exact filters: energies, forces, weight gradients

For instance:
  python -m benchmarks --cases 2,4 --rounds 15 --threads 1 --out benchmarks/results/training.json
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from atomlens.files import write_json
from benchmarks import figure, machine, report
from benchmarks.cases import AGREEMENT, CASES, QUICK_SIZES, SCALING, SIZES
from benchmarks.extras import run_agreement, run_scaling
from benchmarks.process import CONTESTANTS, EXACT, FAST, ROOT, BenchmarkError, Contestant, Process, process, processes
from benchmarks.rounds import Say, Settings, run_case

ROUNDS, QUICK_ROUNDS = 11, 3
TURN_SECONDS, QUICK_TURN_SECONDS = 1.0, 0.3
TABLE_WIDTH = 144  # where the output goes to a file or a pipe
NUMBERS = sorted({case.number for case in CASES} | {SCALING, AGREEMENT})


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--cases", type=case_numbers, default=NUMBERS, metavar="N,N", help="which cases (default: all)")
    add("--contestants", type=_names, default=[entry.key for entry in CONTESTANTS], metavar="NAME,NAME",
        help="who takes part; exact always, as the standard (default: schnetpack,pyg,exact,fast)")  # fmt: skip
    add("--rounds", type=_positive, help=f"rounds of every case (default: {ROUNDS})")
    add("--threads", type=_positive, default=2, help="threads of each contestant (default: 2)")
    add("--quick", action="store_true", help="few and short rounds, crystals to 10,000 atoms: to see that all works")
    add("--out", type=Path, default=ROOT / "benchmarks" / "results" / "latest.json", metavar="FILE.json",
        help="where results go, with a figure beside (default: benchmarks/results/latest.json)")  # fmt: skip
    add("--peers", type=Path, default=ROOT / ".venv-bench" / "bin" / "python", metavar="PYTHON",
        help="Python of the environment with schnetpack and torch_geometric (default: that of make bench)")  # fmt: skip
    return parser.parse_args(words)


def case_numbers(text: str) -> list[int]:
    """Numbers of cases from a list with commas."""
    try:
        chosen = sorted({int(word) for word in text.split(",")})
    except ValueError:
        chosen = []
    if not chosen or not set(chosen) <= set(NUMBERS):
        raise argparse.ArgumentTypeError(
            f"'{text}' is no list of cases; give numbers from {NUMBERS[0]} to {NUMBERS[-1]}, as in 1,4"
        )
    return chosen


def _names(text: str) -> list[str]:
    known = [entry.key for entry in CONTESTANTS]
    chosen = text.split(",")
    if not set(chosen) <= set(known):
        raise argparse.ArgumentTypeError(f"'{text}' names someone unknown; choose from {', '.join(known)}")
    return chosen


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"'{text}' is no number above zero")
    return int(text)


def measure(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Run everything that was asked for.

    Raises:
        BenchmarkError: the peers' environment is missing, or a process ended.
    """
    chosen = [entry for entry in CONTESTANTS if entry.key in {*options.contestants, EXACT}]
    if any(entry.peer for entry in chosen) and not options.peers.is_file():
        raise BenchmarkError(f"the peers' Python {options.peers} is not there; run make bench, or name it with --peers")
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    settings = Settings(rounds, QUICK_TURN_SECONDS if options.quick else TURN_SECONDS)
    results: dict[str, Any] = {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine.describe(),
        "settings": {"rounds": rounds, "turn_seconds": settings.turn_seconds, "threads": options.threads},
        "contestants": {},
        "cases": [],
    }
    with tempfile.TemporaryDirectory() as name, console.status("starting") as status:

        def say(text: str) -> None:
            if console.is_terminal:
                status.update(text)
            else:
                console.print(text, highlight=False, markup=False)

        _measure(options, chosen, settings, Path(name), results, say)
    return results


def _measure(
    options: argparse.Namespace,
    chosen: Sequence[Contestant],
    settings: Settings,
    folder: Path,
    results: dict[str, Any],
    say: Say,
) -> None:
    pythons = {True: options.peers.absolute(), False: Path(sys.executable)}
    for case in (case for case in CASES if case.number in options.cases):
        # Every case with fresh processes: nobody inherits the caches and the memory of the case before.
        with processes(chosen, pythons, options.threads) as workers:
            results["contestants"] = results["contestants"] or _introduced(workers)
            results["cases"].append(run_case(case, workers, folder, settings, partial(_say_of, say, case.title)))
    ours = [entry for entry in CONTESTANTS if entry.key in (EXACT, FAST)]
    if SCALING in options.cases and FAST in options.contestants:
        fast = next(entry for entry in ours if entry.key == FAST)
        sizes = QUICK_SIZES if options.quick else SIZES
        results["scaling"] = run_scaling(partial(process, fast, pythons, options.threads), folder, sizes, say)
    if AGREEMENT in options.cases:
        with processes(ours, pythons, options.threads) as workers:
            results["contestants"] = results["contestants"] or _introduced(workers)
            results["agreement"] = run_agreement(workers, folder, say)


def _say_of(say: Say, title: str, text: str) -> None:
    say(f"{title}: {text}")


def _introduced(workers: dict[str, Process]) -> dict[str, dict[str, str]]:
    return {key: worker.ask("hello")["versions"] for key, worker in workers.items()}


def main(words: Sequence[str] | None = None) -> int:
    """Measure, show, write; returns the exit code."""
    options, console = arguments(words), Console()
    if not console.is_terminal:
        console.width = TABLE_WIDTH
    try:
        results = measure(options, console)
    except BenchmarkError as error:
        Console(stderr=True).print(f"error: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        return 1
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.out, results)
    drawn = figure.save(results, options.out) if results["cases"] or results.get("scaling") else None
    for line in report.summary(results):
        console.print(line, highlight=False, markup=False)
    console.print(report.table(results))
    for line in report.notes(results):
        console.print(line, highlight=False, markup=False)
    console.print(
        f"written: {options.out}" + (f", {drawn}" if drawn else ""), highlight=False, markup=False, soft_wrap=True
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
