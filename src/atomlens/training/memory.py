"""Memory between training steps."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # of glibc's malloc.h
_PAD = 128 * 1024  # glibc's default
_LARGEST_MAP = 32 * 2**20  # the highest threshold that glibc takes, or comes to by itself


@contextmanager
def keep_freed_memory() -> Iterator[None]:
    """Let malloc keep what is freed inside the block, for the next step needs it again.

    glibc hands arrays of a megabyte back to the system as soon as they are freed, and every page of the next one is
    faulted in anew: 10 to 20 % of a training step. Does nothing where malloc is another one.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        yield
        return
    mallopt(_M_MMAP_THRESHOLD, _LARGEST_MAP)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    mallopt(_M_TOP_PAD, 2 * _LARGEST_MAP)
    try:
        yield
    finally:
        # Where glibc's own thresholds, which adapt, would have come to by now; setting them has ended the adapting.
        mallopt(_M_TRIM_THRESHOLD, 2 * _LARGEST_MAP)
        mallopt(_M_TOP_PAD, _PAD)
        trim(ctypes.c_size_t(0))
