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
    extensive: bool = False  # whether two structures far apart have the sum of theirs; of systems only
    shown: str | None = None  # unit of the field, in which reports print it; None: the internal one

    @property
    def unit(self) -> str:
        """The unit it has inside atomlens."""
        return units.INTERNAL_UNITS[self.dimension]


_ROWS = (
    Quantity("energy", "system", (), units.ENERGY, "total or atomisation energy", True, "kcal/mol"),
    Quantity("forces", "atom", (3,), units.FORCE, "negative gradient of the energy", shown="kcal/mol/Ang"),
    Quantity("stress", "system", (3, 3), units.STRESS, "derivative of the energy by strain, per volume", shown="GPa"),
    Quantity("zero_point_energy", "system", (), units.ENERGY, "zero-point vibrational energy", True, "kcal/mol"),
    Quantity("heat_capacity", "system", (), units.HEAT_CAPACITY, "at constant volume", True, "cal/mol/K"),
    Quantity("isotropic_polarizability", "system", (), units.VOLUME, "a third of the tensor's trace", True, "bohr^3"),
    Quantity("polarizability", "system", (3, 3), units.VOLUME, "polarisability tensor", True, "bohr^3"),
    Quantity("homo", "system", (), units.ENERGY, "energy of the highest occupied orbital", shown="meV"),
    Quantity("lumo", "system", (), units.ENERGY, "energy of the lowest unoccupied orbital", shown="meV"),
    Quantity("gap", "system", (), units.ENERGY, "between the frontier orbitals, or of bands", shown="meV"),
    Quantity("formation_energy", "system", (), units.ENERGY_PER_ATOM, "per atom, from the elements", shown="meV/atom"),
    Quantity("dipole", "system", (3,), units.DIPOLE, "dipole moment, about the centre of mass", shown="D"),
    Quantity("dipole_magnitude", "system", (), units.DIPOLE, "length of the dipole moment", shown="D"),
    Quantity("electronic_spatial_extent", "system", (), units.AREA, "⟨R²⟩, about the centre of mass", shown="bohr^2"),
    Quantity("charges", "atom", (), units.CHARGE, "partial charges of the atoms"),
    Quantity("extent_charges", "atom", (), units.NUMBER, "latent charges of the spatial extent, numbers of electrons"),
    Quantity("atom_energies", "atom", (), units.ENERGY, "contributions of the atoms to the energy", shown="kcal/mol"),
    Quantity("atom_polarizabilities", "atom", (3, 3), units.VOLUME, "contributions to the tensor", shown="bohr^3"),
)
# Atom terms of the scalar properties carry their property's name and dimension.
SCALAR_PROPERTIES = {
    "extensive": ("zero_point_energy", "heat_capacity", "isotropic_polarizability"),
    "intensive": ("homo", "lumo", "gap", "formation_energy"),
}
QUANTITIES: dict[str, Quantity] = {row.name: row for row in _ROWS}
QUANTITIES |= {
    f"atom_{name}": Quantity(
        f"atom_{name}", "atom", (), row.dimension, f"contributions of the atoms to {name}", shown=row.shown
    )
    for names in SCALAR_PROPERTIES.values()
    for name in names
    for row in (QUANTITIES[name],)
}


def quantity(name: str) -> Quantity:
    """Look a quantity up by name.

    Raises:
        InputError: there is none of that name; the nearest one is named.
    """
    if name not in QUANTITIES:
        raise InputError(f"unknown quantity '{name}'; {nearest(name, list(QUANTITIES))}")
    return QUANTITIES[name]
