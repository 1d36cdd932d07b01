"""How a study was made, as groups of facts: structure, reference data, split, model, training, time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from atomlens.report.content import Summary, absence, section
from atomlens.report.formatting import DASH, chosen, count, formula, is_number, measured, plain, seconds

Facts = list[tuple[str, str]]


def fact_groups(summary: Summary) -> list[dict[str, Any]]:
    """Groups in the order of the work: title, facts, and one sentence that stands in where there are none."""
    makers: list[tuple[str, str, Callable[[Mapping[str, Any]], Facts]]] = [
        ("Structure", "structure", _structure),
        ("Reference data", "reference", _reference),
        ("Split", "split", _split),
        ("Model", "model", _model),
        ("Training", "training", _training),
        ("Time", "timings", _timings),
    ]
    groups = []
    for heading, name, make in makers:
        facts = [(label, value) for label, value in make(section(summary, name)) if value not in ("", DASH)]
        groups.append(
            {"title": heading, "facts": facts, "missing": absence(summary, name, f"facts on the {heading.lower()}")}
        )
    return groups


def _structure(found: Mapping[str, Any]) -> Facts:
    symbols = found.get("symbols") or []
    return [
        ("Name", _text(found.get("name"))),
        ("Formula", formula(_text(found.get("formula")))),
        ("Atoms", count(len(symbols)) if symbols else DASH),
        ("Source", _text(found.get("source"))),
    ]


def _reference(found: Mapping[str, Any]) -> Facts:
    walkers, interval = found.get("walkers"), found.get("interval_fs")
    sampling = f"{count(walkers)} walkers, a frame every {chosen(interval, 'fs')}" if is_number(walkers) else DASH
    decorrelated = {True: "frames are farther apart", False: "frames are closer: neighbours resemble each other"}
    correlation = measured(found.get("correlation_time_fs"), "fs")
    judged = decorrelated.get(found.get("decorrelated"))  # type: ignore[arg-type]
    return [
        ("Method", _text(found.get("method"))),
        ("Program", _text(found.get("program"))),
        ("Charge and spin", _charge_and_spin(found)),
        ("Temperature", chosen(found.get("temperature_K"), "K")),
        ("Time step", chosen(found.get("timestep_fs"), "fs")),
        ("Sampling", sampling),
        ("Correlation time", f"{correlation} ({judged})" if judged and correlation != DASH else correlation),
        ("Frames", count(found.get("frames"))),
        ("Seed", _text(found.get("seed"))),
        ("Made", {True: "by an earlier run, used again", False: "for this study"}.get(found.get("reused"), DASH)),  # type: ignore[arg-type]
        ("Data hash", _text(found.get("data_hash"))),
    ]


def _charge_and_spin(found: Mapping[str, Any]) -> str:
    charge, multiplicity = found.get("charge"), found.get("multiplicity")
    if not is_number(charge) or not is_number(multiplicity):
        return DASH
    return (
        f"{int(charge):+d} e, multiplicity {int(multiplicity)}"
        if charge
        else f"neutral, multiplicity {int(multiplicity)}"
    )


def _split(found: Mapping[str, Any]) -> Facts:
    return [
        ("Method", _text(found.get("method"))),
        ("Training", _frames(found.get("train"))),
        ("Validation", _frames(found.get("validation"))),
        ("Test", _frames(found.get("test"))),
        ("Split hash", _text(found.get("hash"))),
    ]


def _model(found: Mapping[str, Any]) -> Facts:
    representation = section(found, "representation")
    return [
        *((_label(name), _text(value)) for name, value in representation.items()),
        ("Parameters", count(found.get("parameters"))),
        ("File", _text(found.get("file"))),
    ]


def _training(found: Mapping[str, Any]) -> Facts:
    return [
        ("Epochs", count(found.get("epochs"))),
        ("Kept model", f"epoch {count(found.get('best_epoch'))}" if is_number(found.get("best_epoch")) else DASH),
        ("Steps", count(found.get("steps"))),
        ("Batch size", count(found.get("batch_size"))),
        ("Time", seconds(found.get("seconds"))),
    ]


def _timings(found: Mapping[str, Any]) -> Facts:
    total = [value for value in found.values() if is_number(value)]
    each = [(_label(name), seconds(value)) for name, value in found.items()]
    return [*each, ("Together", seconds(sum(total)))] if len(total) > 1 else each


def _frames(number: Any) -> str:
    return f"{count(number)} frames" if is_number(number) else DASH


def _label(name: str) -> str:
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:]


def _text(value: Any) -> str:
    """A configuration value in words."""
    if value is None:
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if is_number(value):
        return str(value) if isinstance(value, int) else plain(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{_label(str(name)).lower()} {_text(inner)}" for name, inner in value.items())
    return str(value)
