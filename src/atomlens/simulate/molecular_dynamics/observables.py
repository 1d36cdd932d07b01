"""The table of a run: energies, temperature, pressure; and their trends, from sums that a checkpoint can hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ase
import numpy as np
from ase import units

from atomlens.simulate.molecular_dynamics.ensembles import Ensemble


def columns(atoms: ase.Atoms, ensemble: Ensemble) -> list[str]:
    """Of the table: a conserved quantity where there is one, volume and pressure of what is periodic all round."""
    names = ["step", "time_fs", "replica", "potential_eV", "kinetic_eV", "temperature_K"]
    names += ["conserved_eV"] if ensemble.conserved else []
    return names + (["volume_A3", "pressure_GPa"] if atoms.pbc.all() else [])


def observables(atoms: ase.Atoms, results: Mapping[str, Any], conserved: float, degrees: int) -> dict[str, float]:
    """One row by column.

    Args:
        atoms: with momenta.
        results: ``energy`` in eV, and ``stress`` in eV/Å³ and Voigt's order.
        conserved: in eV; NaN where nothing is.
        degrees: of freedom, for the temperature 2K/(f k_B).
    """
    kinetic = float(atoms.get_kinetic_energy())
    found = {"potential_eV": float(results["energy"]), "kinetic_eV": kinetic}
    found["temperature_K"] = 2.0 * kinetic / (degrees * units.kB)
    if not np.isnan(conserved):
        found["conserved_eV"] = float(conserved)
    if "stress" in results:
        volume = float(atoms.get_volume())
        virial = -float(np.sum(results["stress"][:3])) / 3.0
        found |= {"volume_A3": volume, "pressure_GPa": (virial + 2.0 * kinetic / (3.0 * volume)) / units.GPa}
    return found


class Trends:
    """Mean temperature, and the slope of the conserved quantity by least squares, for every replica."""

    def __init__(self, sums: np.ndarray) -> None:
        self.sums = sums  # (7, replicas): n, Σt, Σt², Σe, Σte, ΣT; the first e, from which others are counted

    @classmethod
    def empty(cls, replicas: int) -> Trends:
        """Before the first sample."""
        return cls(np.zeros((7, replicas)))

    def add(self, time: float, conserved: Sequence[float], temperatures: Sequence[float]) -> None:
        """A sample at a time in ps: in eV and K for every replica."""
        values = np.asarray(conserved)
        if not self.sums[0].any():
            self.sums[6] = values
        off = values - self.sums[6]
        ones = np.ones_like(off)
        self.sums[:6] += [ones, time * ones, time**2 * ones, off, time * off, temperatures]

    @property
    def drift(self) -> float | None:
        """Slope in eV/ps, averaged over replicas; None where nothing is conserved, or before the third sample."""
        count, time, square, energy, product, _, _ = self.sums
        if count[0] < 3 or np.isnan(energy).any():
            return None
        return float(np.mean((count * product - time * energy) / (count * square - time**2)))

    @property
    def temperature(self) -> float | None:
        """Mean over samples and replicas in K."""
        return float(np.mean(self.sums[5] / self.sums[0])) if self.sums[0].any() else None
