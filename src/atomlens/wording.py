"""Numbers in sentences."""

from __future__ import annotations


def counted(number: int, word: str, plural: str = "") -> str:
    """A number and what it counts, such as 1 atom, 2,000 atoms or 3 analyses."""
    return f"{number:,} {word if number == 1 else plural or word + 's'}"


def speed(rate: float) -> str:
    """How many a second or a day, to three digits and never as a power of ten, such as 4.31 or 1,363."""
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"
