"""Numbers, units and durations as a reader wants to see them; whatever is missing becomes a dash."""

from __future__ import annotations

import math
import re
from typing import Any, TypeGuard

from atomlens.figures.style import plain_unit, shown_unit
from atomlens.progress import format_duration

DASH = "–"
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a value is a finite number (and no truth value)."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def significant(value: Any, digits: int = 3) -> str:
    """A number with so many significant digits: ``0.0123``, ``1,300``, ``1.2 × 10⁻⁷``."""
    if not is_number(value):
        return DASH
    if value == 0:
        return "0"
    if isinstance(value, int) and abs(value) < 10**9:
        return count(value)
    mantissa, exponent_text = f"{value:.{digits - 1}e}".split("e")
    exponent = int(exponent_text)
    if -4 < exponent < 6:
        text = f"{value:,.{max(0, digits - 1 - exponent)}f}"
    else:
        text = f"{mantissa} × 10{str(exponent).translate(_SUPERSCRIPTS)}"
    return text.replace("-", "−")


def plain(value: Any) -> str:
    """A number that someone chose: no digits beyond those it has (``0.5``, ``1 × 10⁻⁵``)."""
    text = significant(value, 6)
    number, times, power = text.partition(" × ")
    return (number.rstrip("0").rstrip(".") if "." in number else number) + times + power


def fixed(value: Any, decimals: int) -> str:
    """A number with so many decimals, to stand in a column of its like."""
    return f"{value:,.{decimals}f}".replace("-", "−") if is_number(value) else DASH


def formula(text: str) -> str:
    """A chemical formula with its numbers as subscripts: ``C₂H₆O``."""
    return re.sub(r"(?<=[A-Za-z)])\d+", lambda found: found[0].translate(_SUBSCRIPTS), text)


def count(value: Any) -> str:
    """A whole number with separators between the thousands."""
    return f"{value:,.0f}".replace("-", "−") if is_number(value) else DASH


def measured(value: Any, unit: str | None, digits: int = 3) -> str:
    """A number with its unit; the unit is left out where the number is missing or has none."""
    return _with_unit(significant(value, digits), unit)


def chosen(value: Any, unit: str | None) -> str:
    """A number that someone chose, with its unit."""
    return _with_unit(plain(value), unit)


def _with_unit(text: str, unit: str | None) -> str:
    return text if text == DASH or not unit else f"{text} {plain_unit(unit)}"


def per_mole(value: Any, unit: str, digits: int = 3) -> tuple[str, str]:
    """A number converted to the unit in which chemists read it, and that unit (kcal/mol, kcal/mol/Å)."""
    factor, shown = shown_unit(unit)
    return (significant(factor * value, digits) if is_number(value) else DASH), shown


def uncertain(value: Any, error: Any) -> str:
    """A number with its error, both to the error's second digit: ``300.1 ± 1.2``, ``(2.34 ± 0.41) × 10⁻⁹``."""
    if not is_number(value) or not is_number(error) or error <= 0:
        return significant(value)
    last = _exponent(error) - 1
    power = _exponent(max(abs(value), error))
    if -4 < power < 6:
        return " ± ".join(fixed(round(each, -last), max(0, -last)) for each in (value, error))
    pair = " ± ".join(fixed(each / 10.0**power, max(0, power - last)) for each in (value, error))
    return f"({pair}) × 10{str(power).translate(_SUPERSCRIPTS)}"


def _exponent(value: float) -> int:
    """Of the power of ten in a number of two digits."""
    return int(f"{value:.1e}".split("e")[1])


def ratio(worse: Any, better: Any) -> str:
    """How many times better one error is than another: ``×18``."""
    if not is_number(worse) or not is_number(better) or better <= 0:
        return DASH
    return f"×{significant(float(worse / better), 2)}"


def seconds(value: Any) -> str:
    """A duration: ``0.4 s``, ``35 s``, ``2 min 50 s``, ``1 h 05 min``."""
    if not is_number(value):
        return DASH
    if value < 10:
        return f"{value:.1f} s"
    return format_duration(value)
