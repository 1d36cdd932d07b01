"""How much memory work would take, told before it starts."""

from __future__ import annotations

import os
from pathlib import Path

from atomlens.errors import InputError
from atomlens.progress import say

_WORTH_A_WORD = 512 * 2**20  # bytes


def free_memory() -> int | None:
    """Bytes that can be had without pushing others out, or None where the system does not tell."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    except (OSError, ValueError, IndexError):
        pass
    if not hasattr(os, "sysconf") or "SC_AVPHYS_PAGES" not in os.sysconf_names:
        return None
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def check_memory(needed: float, what: str) -> None:
    """Say what large work takes, and refuse what does not fit.

    Args:
        needed: bytes.
        what: of which work, such as ``kernel matrices of 5,000 structures``.

    Raises:
        InputError: more is needed than is free.
    """
    free = free_memory()
    if free is not None and needed > free:
        raise InputError(
            f"{what} would take {needed / 2**30:.3g} GiB of memory, and {free / 2**30:.3g} GiB are free; "
            "use fewer structures, or a machine with more"
        )
    if needed > _WORTH_A_WORD:
        say(f"{what}: about {needed / 2**30:.2g} GiB of memory")
