"""Worker processes, seen from the benchmark that asks them."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
STOP_SECONDS = 10.0


class BenchmarkError(Exception):
    """What the user can mend, in one sentence."""


@dataclass(frozen=True)
class Contestant:
    """Who is timed."""

    key: str
    title: str
    module: str  # of benchmarks.contestants
    exact: bool = False  # the filter network evaluated for every pair
    peer: bool = False  # lives in the peers' environment


CONTESTANTS = (
    Contestant("schnetpack", "schnetpack", "spk", peer=True),
    Contestant("pyg", "PyTorch Geometric", "pyg", peer=True),
    Contestant("exact", "atomlens, exact filters", "ours", exact=True),
    Contestant("fast", "atomlens", "ours"),
)
BASELINE, EXACT, FAST = "schnetpack", "exact", "fast"


class Child:
    """A process that answers requests in JSON lines."""

    def __init__(self, title: str, command: Sequence[str], threads: int) -> None:
        self.title = title
        self._errors = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115  lives as long as the process
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=_environment(threads),
            cwd=ROOT,
        )

    def ask(self, what: str, **details: Any) -> dict[str, Any]:
        """Send a request and wait for the reply.

        Raises:
            BenchmarkError: the process ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"do": what, **details}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise BenchmarkError(f"the process of {self.title} ended: {self._last_words()}")
        reply: dict[str, Any] = json.loads(line)
        return reply

    def stop(self) -> None:
        """End the process."""
        try:
            self._process.communicate(json.dumps({"do": "stop"}) + "\n", timeout=STOP_SECONDS)
        except (subprocess.TimeoutExpired, BrokenPipeError, ValueError):
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def _last_words(self) -> str:
        code = self._process.wait()
        self._errors.seek(0)
        lines = [line for line in self._errors.read().splitlines() if line.strip()]
        return lines[-1] if lines else f"exit code {code}"


class Process(Child):
    """One contestant at work."""

    def __init__(self, contestant: Contestant, python: Path, threads: int) -> None:
        self.contestant = contestant
        filters = "exact" if contestant.exact else "default"
        command = [str(python), "-m", "benchmarks.worker", contestant.module, filters, str(threads)]
        super().__init__(contestant.title, command, threads)


@contextmanager
def processes(
    contestants: Sequence[Contestant], pythons: Mapping[bool, Path], threads: int
) -> Iterator[dict[str, Process]]:
    """Fresh processes by key; ``pythons`` gives the interpreter for peers (True) and for atomlens (False)."""
    running: dict[str, Process] = {}
    try:
        for contestant in contestants:
            running[contestant.key] = Process(contestant, pythons[contestant.peer], threads)
        yield running
    finally:
        for process in running.values():
            process.stop()


@contextmanager
def process(contestant: Contestant, pythons: Mapping[bool, Path], threads: int) -> Iterator[Process]:
    """One fresh process."""
    with processes([contestant], pythons, threads) as running:
        yield running[contestant.key]


def _environment(threads: int) -> dict[str, str]:
    """As the caller's, with one number of threads for every library that has threads."""
    counts = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | dict.fromkeys(counts, str(threads)) | {"PYTHONPATH": os.pathsep.join(paths)}
