"""Long work: a bar with rate and time left on a terminal, a plain line now and then elsewhere; requests to stop."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

PLAIN_INTERVAL_S = 15.0

console = Console(stderr=True, highlight=False)


def format_duration(seconds: float) -> str:
    """Seconds as ``42 s``, ``3 min 05 s`` or ``2 h 10 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def say(text: str) -> None:
    """Tell the user something beside the results, on standard error."""
    print(text, file=sys.stderr, flush=True)


class Reporter:
    """Handed out by `track`: call `advance` as work gets done, `note` to show a figure beside the bar."""

    def __init__(self, description: str, total: int, unit: str, done: int, bar: Progress | None) -> None:
        self._description, self._total, self._unit = description, total, unit
        self._done, self._start_done, self._note = done, done, ""
        self._started = self._printed = time.monotonic()
        self._bar = bar
        self._task = bar.add_task(description, total=total, completed=done, unit=unit, note="") if bar else None

    def advance(self, steps: int = 1) -> None:
        """Say that ``steps`` more units of work are done."""
        self._done += steps
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task, steps)
        elif self._description and time.monotonic() - self._printed > PLAIN_INTERVAL_S:
            self._print_line()

    def expect(self, total: int) -> None:
        """Change the amount of work, where it only shows on the way."""
        self._total = total
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, total=total)

    def note(self, text: str) -> None:
        """Show a short text, such as the current error, at the end of the line."""
        self._note = text
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, note=text)

    def _print_line(self) -> None:
        self._printed = time.monotonic()
        rate = (self._done - self._start_done) / max(self._printed - self._started, 1e-9)
        left = format_duration((self._total - self._done) / rate) if rate > 0 else "?"
        share = 100 * self._done / max(self._total, 1)
        line = (
            f"{self._description}: {self._done}/{self._total} {self._unit} ({share:.0f} %), {rate:.3g}/s, {left} left"
        )
        say(f"{line}  {self._note}".rstrip())


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.3g} {task.fields['unit']}/s")


@contextmanager
def track(description: str, total: int, unit: str = "steps", done: int = 0) -> Iterator[Reporter]:
    """Show the progress of ``total`` units of work, ``done`` of them from before; nothing without a description."""
    if not description or not console.is_terminal:
        yield Reporter(description, total, unit, done, None)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=12),
        TextColumn("{task.completed}/{task.total}"),
        _RateColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        yield Reporter(description, total, unit, done, bar)


@contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Turn SIGINT and SIGTERM into a question that work asks where nothing is lost; a second signal acts as usual."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    asked = threading.Event()
    # None is a handler that was not set from Python; it can be neither called nor put back.
    before = {
        int(number): signal.getsignal(number) or signal.SIG_DFL for number in (signal.SIGINT, signal.SIGTERM)
    }  # fmt: skip

    def note(number: int, frame: FrameType | None) -> None:
        del frame  # signal handlers get it, and this one needs it not
        asked.set()
        signal.signal(number, before[number])

    for number in before:
        signal.signal(number, note)
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
