"""What is known of energies before a network learns: references per element, and the scale of what is left."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from atomlens.data.dataset import Dataset
from atomlens.data.system import symbol
from atomlens.errors import InputError


def fit_offsets(counts: np.ndarray, energies: np.ndarray) -> np.ndarray:
    """Per-element offsets c that minimise |E - N c|².

    Compositions often do not fix every offset (a single molecule fixes only their sum). Of all best fits the one
    nearest to the mean energy per atom is taken, so that a single composition gives E_μ for each element (thesis 3.4).

    Args:
        counts: (structures, elements) atoms of each element, N.
        energies: (structures,) in eV.

    Returns:
        (elements,) in eV
    """
    sizes = counts.sum(axis=1)
    mean = float(sizes @ energies / (sizes @ sizes))
    deviation = np.linalg.lstsq(counts, energies - mean * sizes, rcond=None)[0]
    return mean + np.asarray(deviation)


def references_and_scale(data: Dataset, free_atoms: Mapping[int, float] | None) -> tuple[dict[int, float], float]:
    """References by atomic number and E_σ, both in eV, from training structures.

    With free-atom energies the references are these plus the mean that is left per atom (E_μ of thesis 3.4); without,
    they are fitted per element. E_σ is the root mean square of force components times 1 Å where there are forces, else
    the standard deviation per atom of what the references leave.

    Raises:
        InputError: a free-atom energy is missing for an element of the data.
    """
    counts, elements = data.counts()
    energies = np.asarray(data.require("energy"))
    if free_atoms is None:
        offsets = fit_offsets(counts, energies)
    else:
        missing = [symbol(number) for number in elements if number not in free_atoms]
        if missing:
            raise InputError(
                f"references: no free-atom energy for {', '.join(missing)}; add it, or leave references out"
            )
        free = np.array([free_atoms[number] for number in elements])
        sizes = counts.sum(axis=1)
        offsets = free + float(sizes @ (energies - counts @ free) / (sizes @ sizes))
    if "forces" in data.labels:
        scale = float(np.sqrt(np.square(data.labels["forces"]).mean()))
    else:
        scale = float(np.std((energies - counts @ offsets) / counts.sum(axis=1)))
    return dict(zip(elements, offsets.tolist(), strict=True)), scale if scale > 0 else 1.0
