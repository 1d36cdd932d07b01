"""Mean energies of quantum nuclei along a run, with error bars."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import units

from atomlens.errors import InputError
from atomlens.files import read_json
from atomlens.simulate.analysis.blocks import Average, block_average, plain, slope
from atomlens.simulate.path_integrals.config import PathIntegralConfig
from atomlens.simulate.path_integrals.estimators import harmonic_energy, missing_energy
from atomlens.simulate.path_integrals.gle import Matrices, read_matrices
from atomlens.simulate.path_integrals.gle import harmonic_energy as gle_energy
from atomlens.simulate.path_integrals.observables import Observables, read_observables
from atomlens.simulate.path_integrals.run import MATRICES
from atomlens.simulate.settings import SETTINGS


@dataclass(frozen=True)
class PathEnergies:
    """Means of estimators after equilibration; energies in eV per structure."""

    config: PathIntegralConfig
    atoms: int
    observables: Observables  # after equilibration
    energy: Average  # potential and centroid-virial kinetic
    potential: Average
    kinetic: Average  # centroid-virial
    kinetic_primitive: Average
    difference: Average  # of the two kinetic estimators, row by row
    temperature: Average  # K, by momenta
    gyration: Average  # Å
    drift: float  # of the conserved quantity, eV/atom/ps
    drift_error: float  # one standard error
    volume: Average | None  # Å³
    pressure: Average | None  # GPa
    matrices: Matrices | None = None  # of the thermostat

    def lacking(self, frequency: float) -> float:
        """The share of its exact energy that a harmonic vibration (cm⁻¹) lacks with these beads and this thermostat."""
        kelvin = self.config.temperature
        if self.matrices is None:
            return missing_energy(frequency, kelvin, self.config.beads)
        thermal, hartree = units.kB * kelvin / units.Hartree, units.Hartree / units.invcm
        found = sum(gle_energy(self.matrices, frequency / hartree, thermal)) * units.Hartree
        return 1.0 - found / harmonic_energy(frequency, kelvin)

    @property
    def effective_temperature(self) -> float:
        """The temperature at which classical nuclei would have this kinetic energy, in K."""
        return float(self.kinetic.mean) / (1.5 * self.atoms * units.kB)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        found: dict[str, Any] = {
            name: value.to_dict() for name, value in vars(self).items() if isinstance(value, Average)
        }
        config = {name: value for name, value in json.loads(self.config.model_dump_json()).items() if name != "gle"}
        return {
            **found,
            "energy_unit": "eV",
            "drift_eV_per_atom_ps": plain(self.drift),
            "drift_error_eV_per_atom_ps": plain(self.drift_error),
            "effective_temperature_K": plain(self.effective_temperature),
            "atoms": self.atoms,
            "config": config,
        }


def path_energies(folder: str | Path) -> PathEnergies:
    """Means of the run in a folder, its equilibration left out.

    Raises:
        InputError: the folder holds no path-integral run, or one that ended before its equilibration did.
    """
    path = Path(folder) / SETTINGS
    settings = read_json(path)
    try:
        config = PathIntegralConfig.parse(settings["config"])
        atoms = int(settings["atoms"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"is not of a path-integral run ({error}); give the folder of one", file=str(path)) from None
    matrices = None
    if config.gle is not None:
        matrices = read_matrices(Path(folder) / MATRICES, config.beads, config.temperature)
    return of_observables(read_observables(folder).after(1000.0 * config.equilibration), config, atoms, matrices)


def of_observables(
    found: Observables, config: PathIntegralConfig, atoms: int, matrices: Matrices | None = None
) -> PathEnergies:
    """Means of estimators, all of which count."""

    def mean(values: np.ndarray) -> Average:
        return block_average(values, found.interval)

    drift, drift_error = slope(found.times * 1e-3, found.conserved.mean(axis=1) / atoms)
    return PathEnergies(
        config,
        atoms,
        found,
        energy=mean(found.energy),
        potential=mean(found.potential),
        kinetic=mean(found.kinetic_virial),
        kinetic_primitive=mean(found.kinetic_primitive),
        difference=mean(found.kinetic_virial - found.kinetic_primitive),
        temperature=mean(found.temperature),
        gyration=mean(found.gyration),
        drift=drift,
        drift_error=drift_error,
        volume=None if found.volume is None else mean(found.volume),
        pressure=None if found.pressure is None else mean(found.pressure),
        matrices=matrices,
    )
