"""Which mix-up of units turns two labels that belong together into a constant ratio."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from atomlens.data.units import parse_unit

# Neighbouring frames tell a slope to a few per cent; beyond this it is another mix-up or none.
_NEAR = 0.08

# What stands in files: (unit of the energies, unit of the forces).
_ENERGIES = ("eV", "kcal/mol", "Ha", "kJ/mol", "Ry", "meV")
_LABELS = (
    *((energy, f"{other}/Ang") for energy in _ENERGIES for other in _ENERGIES if other != energy),
    *((energy, f"{other}/bohr") for energy in _ENERGIES for other in ("Ha", "Ry") if other != energy),
    *((energy, "kJ/mol/nm") for energy in ("kJ/mol", "kcal/mol", "eV")),
)
_STRESSES = ("eV/Ang^3", "GPa", "kbar", "Ha/bohr^3", "kcal/mol/Ang^3")


@dataclass(frozen=True)
class MixUp:
    """A way to be wrong by a factor."""

    ratio: float
    meaning: str  # a sentence without its full stop


def energy_force_mixups(ratio: float) -> list[MixUp]:
    """What makes energies change ``ratio`` times as much as forces along displacements say, nearest first; [] for none.

    Args:
        ratio: positive; energies of kcal/mol beside forces of eV/Å, both taken for eV, have 23.06.
    """
    known = [
        MixUp(
            parse_unit(f"{force}*Ang")[0] / parse_unit(energy)[0],
            f"energies in {energy} stand beside forces in {_shown(force)}, as if these went together",
        )
        for energy, force in _LABELS
    ]
    bohr = parse_unit("bohr")[0]
    lengths = [
        MixUp(bohr, "positions are in Bohr, taken for Å"),
        MixUp(1.0 / bohr, "forces are per Bohr, taken for per Å"),
    ]
    return _nearest([*lengths, *known], ratio)


def stress_mixups(ratio: float) -> list[MixUp]:
    """What makes energies change ``ratio`` times as much with strain as the stress says (positive), nearest first."""
    known = [
        MixUp(parse_unit(unit)[0] / parse_unit(taken)[0], f"the stress is in {_shown(unit)}, taken for {_shown(taken)}")
        for unit in _STRESSES
        for taken in _STRESSES
        if unit != taken
    ]
    return _nearest(known, ratio)


def _nearest(known: list[MixUp], ratio: float) -> list[MixUp]:
    if ratio <= 0.0 or abs(np.log(ratio)) < _NEAR:
        return []
    off = [abs(float(np.log(ratio / entry.ratio))) for entry in known]
    return [known[place] for place in np.argsort(off, kind="stable") if off[place] < _NEAR]


def _shown(unit: str) -> str:
    return unit.replace("Ang", "Å").replace("^3", "³")
