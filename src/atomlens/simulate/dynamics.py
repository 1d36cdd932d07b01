"""Molecular dynamics by ASE."""

from __future__ import annotations

from dataclasses import dataclass

import ase
import numpy as np
from ase import units
from ase.md.velocitydistribution import Stationary, ZeroRotation
from ase.md.verlet import VelocityVerlet

from atomlens.model import Model
from atomlens.progress import track
from atomlens.simulate.calculator import Calculator


@dataclass(frozen=True)
class EnergyTrace:
    """Energies along a run, per atom."""

    times: np.ndarray  # (samples,) fs
    potential: np.ndarray  # (samples,) eV/atom, from its first value
    total: np.ndarray  # (samples,) eV/atom, from its first value

    @property
    def drift(self) -> float:
        """Slope of the total energy by least squares, eV/atom/ps."""
        return float(np.polyfit(self.times * 1e-3, self.total, 1)[0])

    @property
    def fluctuation(self) -> float:
        """Root mean square of the total energy about its mean, eV/atom."""
        return float(self.total.std())


def constant_energy_run(
    model: Model,
    atoms: ase.Atoms,
    *,
    temperature: float,
    duration: float = 1000.0,
    timestep: float = 0.5,
    seed: int = 0,
    title: str = "constant-energy run",
) -> EnergyTrace:
    """Velocity-Verlet dynamics at constant energy.

    Args:
        model: with an energy readout.
        atoms: where to start; not changed.
        temperature: of the initial velocities, K.
        duration: in fs.
        timestep: in fs.
        seed: of the initial velocities.
        title: of the progress bar.

    Raises:
        InputError: the model refuses the structure.
    """
    moving = atoms.copy()
    moving.calc = Calculator(model)
    spread = np.sqrt(moving.get_masses() * units.kB * temperature)  # Maxwell-Boltzmann, per component
    moving.set_momenta(spread[:, None] * np.random.default_rng(seed).standard_normal((len(moving), 3)))
    Stationary(moving)
    if not moving.pbc.any() and len(moving) > 1:
        ZeroRotation(moving)
    engine = VelocityVerlet(moving, timestep=timestep * units.fs)
    steps = round(duration / timestep)
    rows = [(moving.get_potential_energy(), moving.get_total_energy())]
    with track(title, steps, "MD steps") as bar:
        for _ in range(steps):
            engine.run(1)
            rows.append((moving.get_potential_energy(), moving.get_total_energy()))
            bar.advance()
    table = (np.array(rows) - rows[0]) / len(moving)
    return EnergyTrace(timestep * np.arange(steps + 1), table[:, 0], table[:, 1])
