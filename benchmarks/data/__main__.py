"""Time atomlens' store beside ASE's database and HDF5: writing, size, random reading, memory.

Everybody keeps the same made-up molecules of QM9's sizes with energies and forces, and reads the same random ones in a
process of its own; only one works at a time. First what they read is compared, to the last bit.

For instance:
  python -m benchmarks.data --structures 50000 --million --out benchmarks/results/data.json
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from atomlens.files import write_json
from benchmarks.data import figure, report
from benchmarks.data.measure import MILLION, Settings, describe, measure, measure_many
from benchmarks.process import ROOT, BenchmarkError

STRUCTURES, QUICK_STRUCTURES = 20_000, 1_000
ROUNDS, QUICK_ROUNDS = 9, 3
TURN_SECONDS, QUICK_TURN_SECONDS = 0.5, 0.05
TABLE_WIDTH = 144  # where the output goes to a file or a pipe


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.data", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--structures", type=_count, help=f"molecules that everybody keeps (default: {STRUCTURES:,})")
    add("--rounds", type=_count, help=f"rounds of every kind of reading (default: {ROUNDS})")
    add("--million", action="store_true", help="also import a million molecules: time and peak memory (3 GB of disk)")
    add("--many", type=_count, metavar="N", help="the same with N molecules in place of a million")
    add("--quick", action="store_true", help="few molecules, few and short rounds: to see that all works")
    add("--out", type=Path, default=ROOT / "benchmarks" / "results" / "data.json", metavar="FILE.json",
        help="where results go, with a figure beside (default: benchmarks/results/data.json)")  # fmt: skip
    return parser.parse_args(words)


def _count(text: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"'{text}' is no number above zero")
    return int(text)


def run(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Measure everything that was asked for.

    Raises:
        BenchmarkError: a process ended or failed, or formats give different molecules back.
    """
    settings = Settings(
        options.structures or (QUICK_STRUCTURES if options.quick else STRUCTURES),
        options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS),
        QUICK_TURN_SECONDS if options.quick else TURN_SECONDS,
    )
    results = describe(settings, datetime.now(UTC).isoformat(timespec="seconds"))
    many = options.many or (MILLION if options.million else None)
    with tempfile.TemporaryDirectory() as name, console.status("starting") as status:

        def say(text: str) -> None:
            if console.is_terminal:
                status.update(text)
            else:
                console.print(text, highlight=False, markup=False)

        results |= measure(settings, Path(name), say)
        if many:
            results["million"] = measure_many(many, settings, Path(name), say)
    return results


def main(words: Sequence[str] | None = None) -> int:
    """Measure, show, write; returns the exit code."""
    options, console = arguments(words), Console()
    if not console.is_terminal:
        console.width = TABLE_WIDTH
    try:
        results = run(options, console)
    except BenchmarkError as error:
        Console(stderr=True).print(f"error: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        return 1
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.out, results)
    drawn = figure.save(results, options.out)
    for line in report.summary(results):
        console.print(line, highlight=False, markup=False)
    console.print(report.table(results))
    for line in report.notes(results):
        console.print(line, highlight=False, markup=False)
    console.print(f"written: {options.out}, {drawn}", highlight=False, markup=False, soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
