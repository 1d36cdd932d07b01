"""Units of everything that is read or written; the only place where numbers are converted.

Inside atomlens: eV, Å, e, atomic mass units. A unit is written as symbols joined by ``*`` and ``/`` with whole powers:
``kcal/mol``, ``eV/Ang``, ``Ha/bohr``, ``e*bohr``, ``bohr^3``, ``kbar``. A division binds the next symbol only.
"""

from __future__ import annotations

import re

from ase import units as ase_units

from atomlens.config import nearest
from atomlens.errors import InputError

Dimension = tuple[int, int, int]  # powers of energy, length, charge

ENERGY: Dimension = (1, 0, 0)
FORCE: Dimension = (1, -1, 0)
STRESS: Dimension = (1, -3, 0)
LENGTH: Dimension = (0, 1, 0)
CHARGE: Dimension = (0, 0, 1)
DIPOLE: Dimension = (0, 1, 1)

_SYMBOLS: dict[str, tuple[float, Dimension]] = {
    "eV": (1.0, ENERGY),
    "meV": (1e-3, ENERGY),
    "Ha": (ase_units.Hartree, ENERGY),
    "Hartree": (ase_units.Hartree, ENERGY),
    "mHa": (1e-3 * ase_units.Hartree, ENERGY),
    "Ry": (ase_units.Rydberg, ENERGY),
    "kcal": (ase_units.kcal, ENERGY),
    "kJ": (ase_units.kJ, ENERGY),
    "mol": (ase_units.mol, (0, 0, 0)),
    "Ang": (1.0, LENGTH),
    "bohr": (ase_units.Bohr, LENGTH),
    "nm": (10.0, LENGTH),
    "e": (1.0, CHARGE),
    "D": (ase_units.Debye, DIPOLE),
    "GPa": (ase_units.GPa, STRESS),
    "kbar": (0.1 * ase_units.GPa, STRESS),
}
_ALIASES = {"Å": "Ang", "Å": "Ang", "A": "Ang", "angstrom": "Ang", "Angstrom": "Ang", "a0": "bohr", "Bohr": "bohr",
            "hartree": "Ha", "Eh": "Ha", "ev": "eV", "Debye": "D", "debye": "D"}  # fmt: skip

INTERNAL_UNITS: dict[Dimension, str] = {
    ENERGY: "eV",
    FORCE: "eV/Ang",
    STRESS: "eV/Ang^3",
    LENGTH: "Ang",
    CHARGE: "e",
    DIPOLE: "e*Ang",
}


def parse_unit(unit: str) -> tuple[float, Dimension]:
    """The factor that turns a number in ``unit`` into internal units, and the unit's dimension.

    Raises:
        InputError: a symbol is not known; the nearest known one is named.
    """
    factor, dimension = 1.0, (0, 0, 0)
    parts = re.split(r"([*/·])", unit.replace(" ", "").replace("³", "^3").replace("**", "^"))
    for position in range(0, len(parts), 2):
        symbol, _, power_text = parts[position].partition("^")
        symbol = _ALIASES.get(symbol, symbol)
        if symbol not in _SYMBOLS:
            raise InputError(f"unknown unit '{unit}' ('{symbol}' is not known); {nearest(symbol, list(_SYMBOLS))}")
        if power_text and not re.fullmatch(r"-?\d+", power_text):
            raise InputError(f"unknown unit '{unit}'; the power '{power_text}' must be a whole number")
        power = int(power_text) if power_text else 1
        if position and parts[position - 1] == "/":
            power = -power
        value, powers = _SYMBOLS[symbol]
        factor *= value**power
        dimension = tuple(a + power * b for a, b in zip(dimension, powers, strict=True))  # type: ignore[assignment]
    return factor, dimension


def to_internal(unit: str, dimension: Dimension, quantity: str) -> float:
    """The factor from ``unit`` to the internal unit of a quantity of that dimension.

    Raises:
        InputError: the unit is unknown, or is no unit of this quantity.
    """
    factor, found = parse_unit(unit)
    if found != dimension:
        raise InputError(f"'{unit}' is not a unit of {quantity}; give one like {INTERNAL_UNITS[dimension]}")
    return factor


KCAL_PER_MOL: float = ase_units.kcal / ase_units.mol  # eV
