"""The next ones are made while the present one is used."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from queue import Empty, Full, Queue
from typing import TypeVar

T = TypeVar("T")
_PATIENCE_S = 0.1  # between two looks whether anybody still wants more


@dataclass(frozen=True)
class _End:
    error: BaseException | None


def prefetched(items: Iterable[T], depth: int) -> Generator[T]:
    """The same items in the same order, with up to ``depth`` of them made ahead by a thread of their own.

    What goes wrong there is raised here, after the items before it. Close the generator to stop early
    (`contextlib.closing`): it waits for the item that is being made, and leaves no thread behind.

    Args:
        items: only touched by the other thread from here on.
        depth: 0 makes each item when it is asked for, without a thread.
    """
    if depth < 1:
        yield from items
        return
    ready: Queue[T | _End] = Queue(depth)
    enough = threading.Event()
    maker = threading.Thread(target=_make, args=(items, ready, enough), name="prefetch", daemon=True)
    maker.start()
    try:
        while not isinstance(item := ready.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        enough.set()
        while maker.is_alive():
            try:
                ready.get_nowait()  # wakes a maker that waits for room
            except Empty:
                maker.join(_PATIENCE_S)


def _make(items: Iterable[T], ready: Queue[T | _End], enough: threading.Event) -> None:
    error = None
    try:
        for item in items:
            if not _handed_over(item, ready, enough):
                return
    except BaseException as problem:
        error = problem
    _handed_over(_End(error), ready, enough)


def _handed_over(item: T | _End, ready: Queue[T | _End], enough: threading.Event) -> bool:
    while not enough.is_set():
        try:
            ready.put(item, timeout=_PATIENCE_S)
        except Full:
            continue
        return True
    return False
