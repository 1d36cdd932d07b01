"""What a time depends on, written beside it."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

_MODEL_KEYS = ("model name", "Model", "Processor")


def processor(cpuinfo: str) -> str:
    """The processor's name from the text of /proc/cpuinfo, or the architecture where it has none."""
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in _MODEL_KEYS and value.strip():
            return value.strip()
    return platform.machine()


def describe() -> dict[str, Any]:
    """Processor, cores, memory, system."""
    cpuinfo = Path("/proc/cpuinfo")
    return {
        "processor": processor(cpuinfo.read_text()) if cpuinfo.is_file() else platform.processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gibibytes": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.platform(terse=True),
    }


def load() -> float:
    """Mean number of processes that wanted a core over the last minute."""
    return round(os.getloadavg()[0], 2)
