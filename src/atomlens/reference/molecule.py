"""A molecule as GFN-xTB takes it, checked beforehand."""

from __future__ import annotations

from typing import Any

import ase
import numpy as np

from atomlens.data.neighbours import neighbour_list
from atomlens.data.system import AtomicSystem, symbol
from atomlens.errors import InputError

MAX_ELEMENT = 86  # Rn, the last one of GFN-xTB


def describe(structure: ase.Atoms) -> dict[str, Any]:
    """What a child process needs to know: numbers, positions (Å), charge (e), multiplicity; plain, for JSON.

    Raises:
        InputError: the structure is impossible, periodic, beyond Rn, or its charge and multiplicity do not fit.
    """
    system = AtomicSystem.from_ase(structure)
    if system.pbc.any():
        raise InputError("is periodic, which xTB labels do not support here; switch its periodic flags off")
    neighbour_list(system, None)
    too_heavy = np.flatnonzero(system.numbers > MAX_ELEMENT)
    if len(too_heavy):
        atom = int(too_heavy[0])
        raise InputError(f"GFN-xTB ends at Rn and has no {symbol(int(system.numbers[atom]))}; remove it", atom=atom)
    if system.charge != round(system.charge):
        raise InputError(f"its charge {system.charge:g} e is no whole number; correct info['charge']")
    # The 4f electrons of lanthanides belong to the core: each counts as La.
    protons = np.where((system.numbers >= 57) & (system.numbers <= 71), 57, system.numbers).sum()
    odd = int(protons - round(system.charge)) % 2
    multiplicity = int(structure.info.get("multiplicity", 1 + odd))
    if multiplicity < 1 or (multiplicity - 1) % 2 != odd:
        raise InputError(
            f"multiplicity {multiplicity} does not fit its {'odd' if odd else 'even'} number of electrons; "
            "correct info['multiplicity'] or info['charge']"
        )
    return {
        "numbers": system.numbers.tolist(),
        "positions": system.positions.tolist(),
        "charge": round(system.charge),
        "multiplicity": multiplicity,
    }
