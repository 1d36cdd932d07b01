"""Numbers in sentences."""

from __future__ import annotations


def counted(number: int, word: str) -> str:
    """A number and what it counts, such as 1 atom and 2,000 atoms."""
    return f"{number:,} {word}" + ("" if number == 1 else "s")
