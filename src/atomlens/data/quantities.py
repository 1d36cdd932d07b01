"""What can label a structure: one row per quantity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from atomlens.config import nearest
from atomlens.data import units
from atomlens.errors import InputError


@dataclass(frozen=True)
class Quantity:
    """A labelled or predicted quantity: its place (``system`` or ``atom``), shape there, dimension and meaning."""

    name: str
    per: Literal["system", "atom"]
    shape: tuple[int, ...]
    dimension: units.Dimension
    meaning: str

    @property
    def unit(self) -> str:
        """The unit it has inside atomlens."""
        return units.INTERNAL_UNITS[self.dimension]


QUANTITIES: dict[str, Quantity] = {
    quantity.name: quantity
    for quantity in (
        Quantity("energy", "system", (), units.ENERGY, "total or atomisation energy of the structure"),
        Quantity("forces", "atom", (3,), units.FORCE, "negative gradient of the energy"),
        Quantity("stress", "system", (3, 3), units.STRESS, "derivative of the energy by strain, per volume"),
        Quantity("dipole", "system", (3,), units.DIPOLE, "dipole moment vector"),
        Quantity("charges", "atom", (), units.CHARGE, "partial charges of the atoms"),
        Quantity("atom_energies", "atom", (), units.ENERGY, "contributions of the atoms to the energy"),
    )
}


def quantity(name: str) -> Quantity:
    """Look a quantity up by name.

    Raises:
        InputError: there is none of that name; the nearest one is named.
    """
    if name not in QUANTITIES:
        raise InputError(f"unknown quantity '{name}'; {nearest(name, list(QUANTITIES))}")
    return QUANTITIES[name]
