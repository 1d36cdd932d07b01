"""Units of everything that is read or written; the only place where numbers are converted.

Inside atomlens: eV, Å, e, K, atomic mass units. A unit is written as symbols joined by ``*`` (or a space) and ``/``,
with whole powers: ``kcal/mol``, ``kcal mol^-1``, ``eV/Ang``, ``Ha/bohr``, ``e*bohr``, ``eV/Å³``, ``kbar``. A division
binds the next symbol only. The constants are ASE's (CODATA 2014).
"""

from __future__ import annotations

import math
import re
import unicodedata

from ase import units as ase_units

from atomlens.config import nearest
from atomlens.errors import InputError

# Powers of energy, length, charge, amount, atoms and temperature. The amount keeps apart what is per mole: 'kcal' alone
# is the energy of a mole of structures (energy * amount), and only 'kcal/mol' is the energy of one. Atoms keep apart
# the energy of a structure and the energy per atom, which no number could tell from each other.
Dimension = tuple[int, int, int, int, int, int]

NUMBER: Dimension = (0, 0, 0, 0, 0, 0)
ENERGY: Dimension = (1, 0, 0, 0, 0, 0)
FORCE: Dimension = (1, -1, 0, 0, 0, 0)
STRESS: Dimension = (1, -3, 0, 0, 0, 0)
LENGTH: Dimension = (0, 1, 0, 0, 0, 0)
AREA: Dimension = (0, 2, 0, 0, 0, 0)
VOLUME: Dimension = (0, 3, 0, 0, 0, 0)
CHARGE: Dimension = (0, 0, 1, 0, 0, 0)
DIPOLE: Dimension = (0, 1, 1, 0, 0, 0)
POTENTIAL: Dimension = (1, 0, -1, 0, 0, 0)
ENERGY_PER_ATOM: Dimension = (1, 0, 0, 0, -1, 0)
HEAT_CAPACITY: Dimension = (1, 0, 0, 0, 0, -1)
_AMOUNT: Dimension = (0, 0, 0, 1, 0, 0)
_MOLAR_ENERGY: Dimension = (1, 0, 0, 1, 0, 0)
_ATOM: Dimension = (0, 0, 0, 0, 1, 0)
_TEMPERATURE: Dimension = (0, 0, 0, 0, 0, 1)

_SYMBOLS: dict[str, tuple[float, Dimension]] = {
    "eV": (1.0, ENERGY),
    "meV": (1e-3, ENERGY),
    "Ha": (ase_units.Hartree, ENERGY),
    "Hartree": (ase_units.Hartree, ENERGY),
    "mHa": (1e-3 * ase_units.Hartree, ENERGY),
    "Ry": (ase_units.Rydberg, ENERGY),
    "cal": (1e-3 * ase_units.kcal, _MOLAR_ENERGY),
    "kcal": (ase_units.kcal, _MOLAR_ENERGY),
    "kJ": (ase_units.kJ, _MOLAR_ENERGY),
    "mol": (ase_units.mol, _AMOUNT),
    "atom": (1.0, _ATOM),
    "K": (1.0, _TEMPERATURE),
    "1": (1.0, NUMBER),
    "Ang": (1.0, LENGTH),
    "bohr": (ase_units.Bohr, LENGTH),
    "nm": (10.0, LENGTH),
    "e": (1.0, CHARGE),
    "D": (ase_units.Debye, DIPOLE),
    "V": (1.0, POTENTIAL),
    "GPa": (ase_units.GPa, STRESS),
    "kbar": (0.1 * ase_units.GPa, STRESS),
}
_ALIASES = {"Å": "Ang", "A": "Ang", "ang": "Ang", "angstrom": "Ang", "Angstrom": "Ang", "a0": "bohr", "Bohr": "bohr",
            "hartree": "Ha", "Eh": "Ha", "ev": "eV", "Debye": "D", "debye": "D"}  # fmt: skip

INTERNAL_UNITS: dict[Dimension, str] = {
    ENERGY: "eV",
    FORCE: "eV/Ang",
    STRESS: "eV/Ang^3",
    LENGTH: "Ang",
    CHARGE: "e",
    DIPOLE: "e*Ang",
    NUMBER: "1",
    AREA: "Ang^2",
    VOLUME: "Ang^3",
    ENERGY_PER_ATOM: "eV/atom",
    HEAT_CAPACITY: "eV/K",
}

_RAISED = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")


def parse_unit(unit: str) -> tuple[float, Dimension]:
    """The factor that turns a number in ``unit`` into internal units, and the unit's dimension.

    Raises:
        InputError: a symbol is not known; the nearest known one is named.
    """
    factor, dimension = 1.0, NUMBER
    parts = re.split(r"([*/])", _plain(unit))
    for position in range(0, len(parts), 2):
        symbol, _, power_text = parts[position].partition("^")
        symbol = _ALIASES.get(symbol, symbol)
        if not symbol:
            raise InputError(f"unknown unit '{unit}'; write a unit like kcal/mol or eV/Ang")
        if symbol not in _SYMBOLS:
            raise InputError(f"unknown unit '{unit}' ('{symbol}' is not known); {nearest(symbol, list(_SYMBOLS))}")
        if power_text and not re.fullmatch(r"-?\d{1,2}", power_text):
            raise InputError(f"unknown unit '{unit}'; the power '{power_text}' must be a whole number")
        power = int(power_text) if power_text else 1
        if position and parts[position - 1] == "/":
            power = -power
        value, powers = _SYMBOLS[symbol]
        factor *= value**power
        dimension = tuple(a + power * b for a, b in zip(dimension, powers, strict=True))  # type: ignore[assignment]
    return factor, dimension


def _plain(unit: str) -> str:
    """One spelling for raised digits, products and the two characters that print as Å."""
    text = re.sub("[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+", lambda raised: "^" + raised.group().translate(_RAISED), unit)
    text = unicodedata.normalize("NFC", text).replace("**", "^")
    text = re.sub(r"\s*[*·⋅]\s*", "*", text.strip())
    return re.sub(r"\s+", "*", re.sub(r"\s*([/^])\s*", r"\1", text))


def to_internal(unit: str, dimension: Dimension, quantity: str) -> float:
    """The factor from ``unit`` to the internal unit of a quantity of that dimension.

    Raises:
        InputError: the unit is unknown, or is no unit of this quantity.
    """
    factor, found = parse_unit(unit)
    if found != dimension:
        molar = tuple(a + b for a, b in zip(dimension, _AMOUNT, strict=True)) == found
        hint = f"{unit}/mol" if molar else INTERNAL_UNITS[dimension]
        raise InputError(f"'{unit}' is not a unit of {quantity}; give one like {hint}")
    return factor


def from_internal(value: float, unit: str) -> float:
    """A number in internal units as one in ``unit`` of the same dimension."""
    return value / parse_unit(unit)[0]


def same_unit(first: str, second: str) -> bool:
    """Whether two spellings mean one unit.

    Raises:
        InputError: one of them is unknown.
    """
    (a, a_dimension), (b, b_dimension) = parse_unit(first), parse_unit(second)
    return a_dimension == b_dimension and math.isclose(a, b, rel_tol=1e-9)


KCAL_PER_MOL: float = ase_units.kcal / ase_units.mol  # eV
