"""A process that does one contestant's work on request, in JSON lines (``python -m benchmarks.worker``).

Requests: ``hello``; ``prepare`` with a job, answered after its results are written; ``run`` with a number of steps;
``memory``; ``release``; ``stop``. Between requests it waits on its pipe and uses no processor.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import platform
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.contestants.job import Arrays, Job, Network, NotOfferedError, Work

Reply = dict[str, Any]


class Answering:
    """Answers a request ``name`` by its method ``do_name``."""

    def answer(self, request: Mapping[str, Any]) -> Reply:
        """Do what is asked for; what goes wrong is an answer as well."""
        try:
            reply: Reply = getattr(self, f"do_{request['do']}")(**{k: v for k, v in request.items() if k != "do"})
            return reply
        except NotOfferedError as reason:
            return {"not_offered": str(reason)}
        except Exception as error:  # one contestant's failure must not end the benchmark
            return {"error": f"{type(error).__name__}: {str(error).strip() or 'no message'}"}


class Worker(Answering):
    """Holds the work that was prepared last."""

    def __init__(self, module: str, *, exact: bool) -> None:
        self.contestant = importlib.import_module(f"benchmarks.contestants.{module}")
        self.exact = exact
        self.work: Work | None = None

    def do_hello(self) -> Reply:
        """Versions of what takes part."""
        return {"versions": {"python": platform.python_version(), **self.contestant.versions()}}

    def do_prepare(self, job: Mapping[str, Any], results: str | None = None) -> Reply:
        """Make the work ready, and write what it predicts before any step into ``results``."""
        self.do_release()
        network = Network(**job["network"])
        arrays, weights = _load(job["arrays"]), _load(job["weights"])
        self.work = self.contestant.prepare(
            Job(job["kind"], network, arrays, weights, job["precision"]), exact=self.exact
        )
        if results is not None:
            np.savez(results, **self._prepared.results())  # type: ignore[arg-type]
        return {}

    def do_run(self, steps: int, warm_up: int) -> Reply:
        """Times of ``steps`` single units after ``warm_up`` steps whose times are told apart."""
        times = [self._timed() for _ in range(warm_up + steps)]
        return {"warm_up": times[:warm_up], "seconds": times[warm_up:], "units": self._prepared.units}

    def do_memory(self) -> Reply:
        """One step: its time, and how far the resident memory rose above where it stood before, in MiB."""
        work = self._prepared
        material = work.fresh()
        give_memory_back()
        before = status("VmRSS")
        reset = reset_high_water_mark()
        start = time.perf_counter()
        work.step(material)
        seconds = time.perf_counter() - start
        return {"mebibytes": (status("VmHWM") - before) / 1024.0, "seconds": seconds, "mark_reset": reset}

    def do_release(self) -> Reply:
        """Forget the work."""
        self.work = None
        gc.collect()
        return {}

    @property
    def _prepared(self) -> Work:
        if self.work is None:
            raise RuntimeError("asked to run before anything was prepared")
        return self.work

    def _timed(self) -> float:
        work = self._prepared
        material = work.fresh()
        start = time.perf_counter()
        work.step(material)
        return (time.perf_counter() - start) / work.units


def _load(path: str) -> Arrays:
    with np.load(path) as archive:
        return dict(archive)


def status(key: str) -> float:
    """An entry of this process's status, in KiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return float(line.split()[1])
    raise RuntimeError(f"this system does not tell {key}; memory can be measured on Linux only")


def give_memory_back() -> None:
    """Free what is garbage and hand free memory to the system, lest it serve the next step without being counted."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc
    if trim is not None:
        trim(0)


def reset_high_water_mark() -> bool:
    """Let VmHWM start anew from the present; without the right to, it still holds where no call before used more."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def serve(make: Callable[[], Answering]) -> None:
    """Answer requests on standard input until ``stop`` or its end."""
    # What libraries print must not end up between replies.
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    worker = make()
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "stop":
            break
        replies.write(json.dumps(worker.answer(request)) + "\n")
        replies.flush()


def main() -> None:
    """Arguments: module of the contestant, ``exact`` or ``default``, number of threads."""
    module, filters, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    serve(lambda: Worker(module, exact=filters == "exact"))


if __name__ == "__main__":
    main()
