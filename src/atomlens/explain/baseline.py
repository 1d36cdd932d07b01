"""What an atom's energy is measured from."""

from __future__ import annotations

from typing import Literal

import numpy as np

from atomlens.data.system import symbol
from atomlens.errors import InputError
from atomlens.model import Model

Baseline = Literal["free atoms", "references", "nothing"]


def energy_baseline(model: Model, relative_to: Baseline | None) -> tuple[np.ndarray, Baseline]:
    """Energies by atomic number to subtract from atom terms, (119,) in eV, and what they are.

    By default free atoms where the model knows them, else the references (offsets) that it was given before learning.

    Raises:
        InputError: free atoms were asked for, and the model does not know them.
    """
    readout = model.energy_readout
    free = readout.free_atoms.cpu().numpy()
    known = bool(np.isfinite(free[list(model.elements)]).all())
    chosen: Baseline = relative_to or ("free atoms" if known else "references")
    if chosen == "free atoms" and not known:
        missing = ", ".join(symbol(number) for number in model.elements if not np.isfinite(free[number]))
        raise InputError(f"the model has no free-atom energy of {missing}; measure from its references instead")
    values = {"free atoms": free, "references": readout.references.cpu().numpy(), "nothing": np.zeros(len(free))}
    return values[chosen], chosen
