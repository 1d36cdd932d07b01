"""Groups, periods and blocks of the periodic table, from atomic numbers."""

from __future__ import annotations

from typing import Literal

_NOBLE_GASES = (2, 10, 18, 36, 54, 86, 118)  # the last element of each period
MAIN_GROUPS = (1, 2, 13, 14, 15, 16, 17, 18)
GROUP_NAMES = {1: "I", 2: "II", 13: "III", 14: "IV", 15: "V", 16: "VI", 17: "VII", 18: "VIII"}  # of the main groups


def period(number: int) -> int:
    """The period of an element, 1 to 7.

    Raises:
        ValueError: there is no element of that atomic number.
    """
    if not 1 <= number <= _NOBLE_GASES[-1]:
        raise ValueError(f"there is no element {number}")
    return 1 + sum(number > last for last in _NOBLE_GASES)


def group(number: int) -> int | None:
    """The group of an element, 1 to 18 as IUPAC counts; None for lanthanides and actinides.

    Group 3 is Sc, Y, Lu and Lr (IUPAC 2021), so that La to Yb and Ac to No have no group.

    Raises:
        ValueError: there is no element of that atomic number.
    """
    row = period(number)
    start = _NOBLE_GASES[row - 2] if row > 1 else 0
    place, length = number - start, _NOBLE_GASES[row - 1] - start
    if number == 1 or (length > 2 and place <= 2):
        return place
    from_the_end = 18 - (length - place)
    return from_the_end if from_the_end > 2 else None


def block(number: int) -> Literal["s", "p", "d", "f"]:
    """The subshell that is being filled: s in groups 1 and 2 and helium, p in 13 to 18, d in 3 to 12, else f."""
    column = group(number)
    if column is None:
        return "f"
    if column <= 2 or number == 2:
        return "s"
    return "p" if column >= 13 else "d"


def is_main_group(number: int) -> bool:
    """Whether an element is of groups 1, 2 or 13 to 18: the elements of s and p shells."""
    return group(number) in MAIN_GROUPS
