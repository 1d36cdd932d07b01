"""The table on the terminal; everything in it stands in the results file as well."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from benchmarks.data.formats import CUTOFF, OURS, TITLES
from benchmarks.data.worker import KINDS

Results = Mapping[str, Any]
WORDS = {
    "one": "one by one",
    "gather32": "batches of 32",
    "gather256": "batches of 256",
    "batch32": "32, with pairs",
    "batch256": "256, with pairs",
}


def summary(results: Results) -> list[str]:
    """What the table holds for: machine, load, versions."""
    machine, settings, load = results["machine"], results["settings"], results["load"]
    versions: dict[str, str] = {}
    for entry in results["formats"].values():
        versions |= entry.get("versions", {})
    return [
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gibibytes']:g} GiB; "
        f"{settings['threads']} thread; load {min(load):.2f} to {max(load):.2f} (this benchmark's own included)",
        f"{settings['structures']:,} made-up molecules of 9 to 29 atoms with energies and forces; files in the page "
        f"cache; {settings['rounds']} rounds in turn, medians (quartiles)",
        ", ".join(f"{name} {version}" for name, version in versions.items()),
    ]


def table(results: Results) -> Table:
    """All measurements, a column for each format."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    made.add_column("")
    for key in results["formats"]:
        made.add_column(TITLES[key], justify="right")
    made.add_column("asked", justify="right")
    for label, cells, asked in _rows(results):
        made.add_row(label, *cells, asked)
    return made


def _rows(results: Results) -> Iterator[tuple[str, list[str], Text]]:
    formats = results["formats"]

    def cells(shown: Any) -> list[str]:
        return ["not run" if "refused" in entry else str(shown(entry)) for entry in formats.values()]

    yield "thousand written / s", cells(lambda entry: thousands(entry["written_per_second"])), Text()
    yield "on disk / MiB", cells(lambda entry: f"{entry['bytes'] / 2**20:.1f}"), Text()
    for kind, words in WORDS.items():
        asked = Text()
        if KINDS[kind] > 1:
            met = results["met"][kind]
            asked = Text.assemble(f"≥ {thousands(results['target'])} ", ("yes", "green") if met else ("no", "red"))
        yield (
            f"thousand read / s, {words}",
            cells(lambda entry, kind=kind: _spread(entry["reads"][kind]["rate"])),
            asked,
        )
    yield "memory, own / MiB", cells(lambda entry: f"{entry['memory']['own']:.0f}"), Text()
    yield "memory, mapped files / MiB", cells(lambda entry: f"{entry['memory']['mapped']:.0f}"), Text()


def notes(results: Results) -> list[str]:
    """How to read the rows, and who was left out."""
    search = results["formats"][OURS]["search"]
    rate = thousands(results["settings"]["structures"] / search["seconds"])
    found = [
        f"with pairs: batches as networks are trained on, with neighbours within {CUTOFF:g} Å. The store keeps them, "
        f"searched once at {rate} thousand molecules a second, "
        f"{search['bytes'] / 2**20:.1f} MiB; for the others they are searched whenever they are read.",
        "memory: above that before opening; pages of mapped files are the system's to take back.",
    ]
    found += [
        f"{TITLES[key]} not run: {entry['refused']}" for key, entry in results["formats"].items() if "refused" in entry
    ]
    if results.get("million"):
        found += _many(results["million"])
    return found


def _many(many: Mapping[str, Any]) -> list[str]:
    taken, search = many["import"], many["search"]
    reads = ", ".join(f"{words} {thousands(many['reads'][kind]['rate']['median'])}" for kind, words in WORDS.items())
    return [
        f"{many['structures']:,} molecules: imported from .npz in {taken['seconds']:.0f} s "
        f"({thousands(many['structures'] / taken['seconds'])} thousand a second), "
        f"peak memory {taken['memory']['peak']:.0f} MiB, "
        f"{taken['bytes'] / 2**20:,.0f} MiB on disk; neighbours searched in {search['seconds']:.0f} s, peak memory "
        f"{search['memory']['peak']:.0f} MiB with the mapped store's pages, {search['bytes'] / 2**20:,.0f} MiB on disk",
        f"thousand read / s from these: {reads}",
    ]


def thousands(value: float) -> str:
    """How many thousands, with three digits."""
    count = value / 1000.0
    return f"{count:,.0f}" if count >= 100 else f"{count:.1f}" if count >= 10 else f"{count:.2f}"


def _spread(rate: Mapping[str, float]) -> str:
    return f"{thousands(rate['median'])} ({thousands(rate['lower'])}–{thousands(rate['upper'])})"
