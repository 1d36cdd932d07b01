"""The table on the terminal; everything in it stands in the results file as well."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from benchmarks.process import BASELINE, CONTESTANTS, FAST

Results = Mapping[str, Any]
TITLES = {contestant.key: contestant.title for contestant in CONTESTANTS}
COLUMNS = ("work", "who", "ΔE", "ΔF", "time", f"× {BASELINE}", "asked", "met")


def summary(results: Results) -> list[str]:
    """What the table holds for: machine, load, versions."""
    machine, settings = results["machine"], results["settings"]
    loads = [value for case in results["cases"] for value in case["load"]]
    load = f"load {min(loads):.2f} to {max(loads):.2f}" if loads else "load not noted"
    lines = [
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gibibytes']:g} GiB; "
        f"{settings['threads']} threads; {load} (this benchmark's own included)",
        f"{settings['rounds']} rounds, contestants in turn; median (quartiles) over rounds; float32",
    ]
    for key, versions in results["contestants"].items():
        lines.append(f"{TITLES[key]}: " + ", ".join(f"{name} {version}" for name, version in versions.items()))
    return lines


def table(results: Results) -> Table:
    """All measurements in one table."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in COLUMNS:
        left = name in ("work", "who", "met")
        made.add_column(name, justify="left" if left else "right", no_wrap=name != "work", min_width=len(name))
    for case in results["cases"]:
        _add_case(made, case)
    if results.get("scaling"):
        _add_scaling(made, results["scaling"])
    for agreement in results.get("agreement") or []:
        _add_agreement(made, agreement)
    return made


def notes(results: Results) -> list[str]:
    """How to read the columns, and who was left out."""
    found = [
        "ΔE, ΔF: how far predictions are from exact filters in float64. ΔE: the largest deviation in eV, per structure "
        "(per atom of the crystal); ΔF: the RMS deviation over the forces' RMS."
    ]
    for case in results["cases"]:
        for key, entry in case["contestants"].items():
            if "refused" in entry:
                found.append(f"{case['number']}: {TITLES[key]} not run: {entry['refused']}.")
    return found


def requirements(case: Mapping[str, Any]) -> list[tuple[str, str, bool | None]]:
    """What is asked of atomlens in a case, what was found, and whether that meets it (None: not measured)."""
    entry, targets = case["contestants"].get(FAST, {}), case["targets"]
    speed = entry.get("speed", {}).get("median")
    seconds = entry.get("seconds", {}).get("median")
    memory = memory_ratio(case)
    rows: list[tuple[str, str, bool | None]] = []
    if targets["speed"] is not None:
        rows.append((f"{targets['speed']:g}×", _factor(speed), None if speed is None else speed >= targets["speed"]))
    if targets["milliseconds"] is not None:
        limit = targets["milliseconds"] * 1e-3
        rows.append((f"< {duration(limit)}", _maybe(duration, seconds), None if seconds is None else seconds < limit))
    if targets["memory"] is not None:
        met = None if memory is None else memory <= targets["memory"]
        rows.append((f"{targets['memory']:g} of the memory", _maybe("{:.3f}".format, memory), met))
    return rows


def memory_ratio(case: Mapping[str, Any]) -> float | None:
    """Peak memory of atomlens over schnetpack's."""
    found = [case["contestants"].get(key, {}).get("memory", {}).get("mebibytes") for key in (FAST, BASELINE)]
    return None if None in found else float(found[0] / found[1])


def duration(seconds: float) -> str:
    """Seconds with a fitting unit and three digits."""
    factor, unit = _unit(seconds)
    return f"{_three(seconds / factor)} {unit}"


def _three(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _unit(seconds: float) -> tuple[float, str]:
    return (1.0, "s") if seconds >= 1.0 else (1e-3, "ms") if seconds >= 1e-3 else (1e-6, "µs")


def _add_case(made: Table, case: Mapping[str, Any]) -> None:
    about, demands = case["about"], requirements(case)
    lines = [f"{case['number']} {case['title']}", f"{about['atoms']:,} atoms, {about['pairs']:,} pairs"]
    lines.append(f"{about['structures_from']}; weights {about['weights_from']}")
    entries = list(case["contestants"].items())
    for place, (key, entry) in enumerate(entries):
        asked, met = _demanded(demands) if key == FAST else (Text(), Text())
        work = lines[place] if place < len(lines) - 1 else "\n".join(lines[place:]) if place == len(lines) - 1 else ""
        off = entry.get("differences", {})
        cells = [_maybe("{:.0e}".format, off.get(name)) for name in ("energy", "forces")]
        time = _times(entry.get("seconds"))
        if "memory" in entry:
            time += f"\n{entry['memory']['mebibytes']:,.0f} MiB"
        speed = "1" if key == BASELINE and "seconds" in entry else _with_quartiles(entry.get("speed"), _factor)
        style = "bold" if key == FAST else None
        made.add_row(work, Text(TITLES[key], style or ""), *cells, time, speed, asked, met)
    made.add_section()


def _add_scaling(made: Table, scaling: Mapping[str, Any]) -> None:
    for place, row in enumerate(scaling["sizes"]):
        last = row is scaling["sizes"][-1]
        made.add_row(
            "6 time against size, silicon" if place == 0 else "",
            f"{row['atoms']:,} atoms",
            "",
            "",
            f"{duration(row['seconds'])}\n{row['mebibytes']:,.0f} MiB",
            f"list {duration(row['neighbour_list_seconds'])}",
            f"slope ≤ {scaling['target']:g}" if last else "",
            Text.assemble(_mark(scaling["met"]), f" {scaling['slope']:.2f}") if last else "",
        )
    made.add_section()


def _add_agreement(made: Table, agreement: Mapping[str, Any]) -> None:
    names = {"energy": "energies", "forces": "forces", "gradient": "weight gradients"}
    for place, (name, limit) in enumerate(agreement["targets"].items()):
        found = agreement["fast_to_exact"][name]
        made.add_row(
            f"7 fast path against exact filters, case {agreement['case']}" if place == 0 else "",
            names[name],
            "",
            "",
            f"{found:.1e}",
            f"(rounding {agreement['exact_to_float64'][name]:.0e})",
            f"≤ {limit:.0e}",
            _mark(agreement["met"][name]),
        )
    made.add_section()


def _demanded(demands: list[tuple[str, str, bool | None]]) -> tuple[Text, Text]:
    asked = Text("\n".join(row[0] for row in demands))
    met = Text("\n").join(Text.assemble(_mark(met), f" {found}") for _, found, met in demands)
    return asked, met


def _mark(met: bool | None) -> Text:
    if met is None:
        return Text("–")
    return Text("yes", style="green") if met else Text("no", style="red")


def _times(spread: Mapping[str, float] | None) -> str:
    if not spread:
        return "not run"
    factor, unit = _unit(spread["median"])
    return _with_quartiles({name: value / factor for name, value in spread.items()}, _three) + f" {unit}"


def _with_quartiles(spread: Mapping[str, float] | None, shown: Any) -> str:
    if not spread:
        return ""
    return f"{shown(spread['median'])} ({shown(spread['lower'])}–{shown(spread['upper'])})"


def _factor(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def _maybe(shown: Any, value: float | None) -> str:
    return "" if value is None else str(shown(value))
