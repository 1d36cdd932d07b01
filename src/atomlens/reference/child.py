"""Running `atomlens.reference.engine` in processes of its own.

A program of our own is started, rather than a pool of `multiprocessing`: that one would import the caller's script
again (and fail where it has no main guard), load torch in every child, and send pickles.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import IO, Any

from atomlens.errors import InputError

_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def require_tblite() -> None:
    """Check that tblite is installed.

    Raises:
        InputError: it is not.
    """
    if importlib.util.find_spec("tblite") is None:
        raise InputError("xTB labels need tblite, which is not installed: pip install 'atomlens[xtb]'")


def run_task(task: Mapping[str, Any], advance: Callable[[int], None] | None = None) -> dict[str, Any]:
    """Do one task in a child process and wait for its result.

    Args:
        task: see `atomlens.reference.engine`.
        advance: called with the number of steps done since its last call.

    Raises:
        InputError: the child found something that the user can mend.
        RuntimeError: the child broke down; its last words are in the message.
    """
    return run_tasks([task], 1, advance)[0]


def run_tasks(
    tasks: Sequence[Mapping[str, Any]], workers: int, advance: Callable[[int], None] | None = None
) -> list[dict[str, Any]]:
    """Do tasks in child processes, ``workers`` at a time; when one fails, or on Ctrl-C, the others are ended.

    Arguments and errors as for `run_task`; ``advance`` is called by one thread at a time.
    """
    group = _Group(advance)
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(group.run, task) for task in tasks]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            group.end()
            raise
    return [future.result() for future in futures]


class _Group:
    """Children that are ended together."""

    def __init__(self, advance: Callable[[int], None] | None) -> None:
        self._advance = advance
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._ended = False

    def end(self) -> None:
        """Kill what runs, and let nothing start any more."""
        with self._lock:
            self._ended = True
            for child in self._running:
                child.kill()

    def run(self, task: Mapping[str, Any]) -> dict[str, Any]:
        # -P: files of the working folder must not pass for installed packages.
        command = [sys.executable, "-P", "-m", "atomlens.reference.engine"]
        with (
            tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as complaints,
            subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                env=_environment(),
                encoding="utf-8",
            ) as child,
        ):
            with self._lock:
                self._running.add(child)
                if self._ended:
                    child.kill()
            try:
                answer = self._converse(child, task)
            finally:
                with self._lock:
                    self._running.discard(child)
            if answer is None:
                raise RuntimeError(f"the xTB process ended with code {child.wait()}: {_last_words(complaints)}")
        if "problem" in answer:
            raise InputError(answer["problem"], structure=answer["structure"])
        result: dict[str, Any] = answer["result"]
        return result

    def _converse(self, child: subprocess.Popen[str], task: Mapping[str, Any]) -> dict[str, Any] | None:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            with child.stdin:
                child.stdin.write(json.dumps(task))
        except BrokenPipeError:
            return None  # it broke down before it could listen
        answer = None
        for line in child.stdout:
            answer = json.loads(line)
            if "steps" in answer and self._advance is not None:
                with self._lock:
                    self._advance(answer["steps"])
        return answer if answer is not None and "steps" not in answer else None


def _environment() -> dict[str, str]:
    """One thread each (tblite gains nothing from a second, and sums in another order), and our own import path."""
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    return {**os.environ, **dict.fromkeys(_ONE_THREAD, "1"), "PYTHONPATH": path}


def _last_words(complaints: IO[str]) -> str:
    complaints.seek(0)
    lines = complaints.read().strip().splitlines()
    return lines[-1] if lines else "it said nothing"
