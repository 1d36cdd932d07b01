"""From the summary of a study to the rows and sentences of its page; sections that are missing give empty results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from atomlens.report.formatting import (
    DASH,
    chosen,
    count,
    formula,
    is_number,
    measured,
    per_mole,
    plain,
    ratio,
    seconds,
)

Summary = Mapping[str, Any]
Row = dict[str, Any]

_QUANTITIES = {"energy": "Energy", "forces": "Force component"}


def section(summary: Summary, *path: str) -> Mapping[str, Any]:
    """A nested mapping of the summary, empty where it is missing."""
    found: Any = summary
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def rows_of(values: Any) -> list[Mapping[str, Any]]:
    """The mappings in a list, none where there is no list."""
    return [row for row in values if isinstance(row, Mapping)] if isinstance(values, Sequence) else []


def absence(summary: Summary, name: str, what: str) -> str:
    """Why a section is missing: the study's own sentence (``skipped``) where it gave one."""
    return str(section(summary, "skipped").get(name) or f"This study has no {what}.")


def title(summary: Summary) -> tuple[str, str]:
    """Name and formula of the structure."""
    structure = section(summary, "structure")
    name = str(structure.get("name") or structure.get("formula") or "Study")
    return name[:1].upper() + name[1:], formula(str(structure.get("formula") or ""))


def headline(summary: Summary) -> str:
    """One sentence on the errors and one on the checks."""
    test, method = section(summary, "test"), section(summary, "reference").get("method") or "reference"
    parts = []
    for name, words in (("forces", "forces"), ("energy", "energies")):
        errors = section(test, name)
        if is_number(errors.get("mae")):
            parts.append(f"{words} by {' '.join(per_mole(errors['mae'], errors.get('unit', _unit(name)), 2))}")
    frames = section(test, "energy").get("count") or section(test, "forces").get("count")
    where = f"On {count(frames)} frames it never saw, the network" if is_number(frames) else "The network"
    first = f"{where} misses {method} {' and '.join(parts)} on average." if parts else "The model was not tested."
    return f"{first} {checks_sentence(summary)}"


def checks_sentence(summary: Summary) -> str:
    """Whether all checks passed, and if not, which failed."""
    checks = rows_of(summary.get("checks"))
    failed = [str(check.get("name", "?")) for check in checks if not check.get("passed")]
    if not checks:
        return "No physics checks were made."
    if failed:
        return f"{len(failed)} of {len(checks)} physics checks failed: {', '.join(failed)}."
    return "The physics check passed." if len(checks) == 1 else f"All {len(checks)} physics checks passed."


def key_figures(summary: Summary) -> list[Row]:
    """The numbers beside the headline: label, value, unit, a note."""
    tiles: list[Row] = []
    for name, label in (("forces", "Force error"), ("energy", "Energy error")):
        errors = section(summary, "test", name)
        if is_number(errors.get("mae")):
            value, unit = per_mole(errors["mae"], errors.get("unit", _unit(name)))
            note = f"mean absolute error{_beside_the_mean(errors)}"
            tiles.append({"label": label, "value": value, "unit": unit, "note": note})
    checks = rows_of(summary.get("checks"))
    if checks:
        passed = sum(bool(check.get("passed")) for check in checks)
        note = "physics of the trained model"
        tiles.append({"label": "Checks passed", "value": f"{passed} of {len(checks)}", "unit": "", "note": note})
    timings = [value for value in section(summary, "timings").values() if is_number(value)]
    if timings:
        tiles.append(
            {"label": "Time", "value": seconds(sum(timings)), "unit": "", "note": "from reference data to explanation"}
        )
    return tiles


def _beside_the_mean(errors: Mapping[str, Any]) -> str:
    mean, mae = errors.get("mean_predictor_mae"), errors["mae"]
    if not is_number(mean) or ratio(mean, mae) == DASH:
        return ""
    if mae > mean:
        return f", {ratio(mae, mean)[1:]} times above the mean predictor's: this model learned nothing of use"
    return f", {ratio(mean, mae)[1:]} times below the mean predictor's"


def error_rows(summary: Summary) -> list[Row]:
    """Rows of the table of test errors: quantity, count, then both errors with the mean predictor's and the factor."""
    rows, frames = [], section(summary, "test", "energy").get("count")
    for name, errors in section(summary, "test").items():
        if not isinstance(errors, Mapping):
            continue
        unit = str(errors.get("unit") or _unit(name))
        cells = []
        for kind in ("mae", "rmse"):
            own, mean = errors.get(kind), errors.get(f"mean_predictor_{kind}")
            cells.append({"kind": kind.upper(), "own": both_units(own, unit), "mean": both_units(mean, unit),
                          "factor": ratio(mean, own)})  # fmt: skip
        counted = "frames" if errors.get("count") == frames else "values"
        rows.append(
            {
                "quantity": _QUANTITIES.get(name, name),
                "count": f"{count(errors.get('count'))} {counted}" if is_number(errors.get("count")) else "",
                "errors": cells,
            }
        )
    return rows


def both_units(value: Any, unit: str) -> tuple[str, str]:
    """An error as chemists read it, and in the unit it was measured in (empty where they are the same)."""
    converted, shown = per_mole(value, unit)
    own = measured(value, unit)
    if converted == DASH:
        return DASH, ""
    return f"{converted} {shown}", "" if own == f"{converted} {shown}" else own


def check_rows(summary: Summary) -> list[Row]:
    """Rows of the table of physics checks."""
    return [
        {
            "name": str(check.get("name", "?")),
            "what": str(check.get("what", "")),
            "value": measured(check.get("value"), check.get("unit"), 3),
            "limit": _limit(check),
            "passed": bool(check.get("passed")),
        }
        for check in rows_of(summary.get("checks"))
    ]


def _limit(check: Mapping[str, Any]) -> str:
    """The bound in words; a number is an upper bound unless the check passed above it (or failed below)."""
    limit, value, unit = check.get("limit"), check.get("value"), check.get("unit")
    if isinstance(limit, Sequence) and not isinstance(limit, str) and len(limit) == 2:
        return f"{plain(limit[0])} to {chosen(limit[1], unit)}"
    if not is_number(limit):
        return str(limit) if isinstance(limit, str) else DASH
    upper = not is_number(value) or (abs(value) <= limit) == bool(check.get("passed"))
    return f"{'at most' if upper else 'at least'} {chosen(float(f'{limit:.2g}'), unit)}"


def _unit(quantity: str) -> str:
    """Unit of a tested quantity where the summary does not say."""
    return "eV/Ang" if quantity == "forces" else "eV"
