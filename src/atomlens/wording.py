"""Numbers in sentences."""

from __future__ import annotations


def counted(number: int, word: str, plural: str = "") -> str:
    """A number and what it counts, such as 1 atom, 2,000 atoms or 3 analyses."""
    return f"{number:,} {word if number == 1 else plural or word + 's'}"
