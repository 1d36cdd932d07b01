"""What the checks found, for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atomlens.checking.checking import CheckReport
from atomlens.checking.outcome import Outcome, Status
from atomlens.checking.registry import CHECKS

if TYPE_CHECKING:
    from rich.table import Table

_STYLES: dict[Status, str] = {"fault": "bold red", "warning": "yellow", "note": "cyan", "ok": "green", "skipped": "dim"}
_ORDER: tuple[Status, ...] = ("fault", "warning", "note", "ok", "skipped")


def report_table(report: CheckReport, *, quiet: bool = False) -> Table | str:
    """A table of status, check and sentence, gravest first; ``quiet`` leaves out what passed or was skipped.

    Where nothing is left the summary alone.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    shown = _shown(report, quiet=quiet)
    if not shown:
        return report.summary
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=report.summary, title_justify="left")
    table.add_column("", no_wrap=True)
    table.add_column("check", no_wrap=True)
    table.add_column("found", overflow="fold")
    for outcome in shown:
        # Sentences hold brackets, which rich would take for its markup.
        table.add_row(Text(outcome.status, _STYLES[outcome.status]), _title(outcome), Text(outcome.sentence))
    return table


def report_lines(report: CheckReport, *, quiet: bool = False) -> list[str]:
    """The same as plain lines, for logs: a summary, then ``status  check: sentence``."""
    lines = [f"{outcome.status:8s}{_title(outcome)}: {outcome.sentence}" for outcome in _shown(report, quiet=quiet)]
    return [report.summary, *lines]


def _shown(report: CheckReport, *, quiet: bool) -> tuple[Outcome, ...]:
    return report.of(*(_ORDER[:3] if quiet else _ORDER))


def _title(outcome: Outcome) -> str:
    return CHECKS[outcome.check].title if outcome.check in CHECKS else outcome.check
