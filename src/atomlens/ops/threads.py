"""How many threads small work is worth."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

SMALL = 1 << 22  # multiply-adds of a dense layer; below, threads meet more often than they compute


@contextmanager
def threads_for(work: int) -> Iterator[None]:
    """Use one of torch's threads inside the block if dense layers have less than `SMALL` multiply-adds.

    A step of molecular dynamics of twenty atoms is some two hundred operations of a few microseconds. Where they are
    shared out, every one waits for the slower thread, and whatever else runs on the machine is waited for as well.
    """
    before = torch.get_num_threads()
    if before == 1 or work >= SMALL:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
