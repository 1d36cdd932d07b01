"""What the checks found, as a panel of a report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atomlens.checking.checking import CheckReport
from atomlens.checking.registry import CHECKS
from atomlens.panel import Panel, Table, Topic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TOPIC = Topic(
    "data_checks",
    "Whether the data can be believed",
    "Structures and labels against chemistry and against each other: lengths against covalent radii, energies against "
    "electrons and bonds, forces against energies, labels against those of equal structures.",
    "Covalent radii: Cordero et al. 2008; totals of all electrons: Englert and Schwinger 1985",
)


def check_panel(report: CheckReport) -> Panel:
    """A panel with the table of outcomes, and the figures of the checks; figures are drawn here."""
    grave = report.of("fault", "warning", "note")
    ordered = report.of("fault", "warning", "note", "ok", "skipped")
    rows = tuple(
        (outcome.status, CHECKS[outcome.check].title if outcome.check in CHECKS else outcome.check, outcome.sentence)
        for outcome in ordered
    )
    figures: dict[str, Figure] = {}
    for outcome in ordered:
        for name, draw in outcome.figures.items():
            if name not in figures:
                figures[name] = draw()
    return Panel(
        TOPIC.name,
        reading=f"{report.summary} The table says what each check found, the gravest first.",
        trust=(
            "A fault is wrong beyond doubt; a warning is unusual and may be right; a note is worth knowing. "
            f"Checked were structures and labels with the hash {report.data_hash[:16]}"
            + ("." if grave else "; that nothing was found does not prove labels right.")
        ),
        facts=report.to_dict(),
        figures=figures,
        tables=(Table("Checks", ("status", "check", "found"), rows),),
    )
