"""Molecular dynamics by ASE."""

from __future__ import annotations

from dataclasses import dataclass

import ase
import numpy as np
from ase import units
from ase.md.velocitydistribution import Stationary, ZeroRotation
from ase.md.verlet import VelocityVerlet

from atomlens.errors import InputError
from atomlens.model import Model
from atomlens.progress import track
from atomlens.simulate.calculator import Calculator


@dataclass(frozen=True)
class EnergyTrace:
    """Energies along a run, per atom."""

    times: np.ndarray  # (samples,) fs
    potential: np.ndarray  # (samples,) eV/atom, from its first value
    total: np.ndarray  # (samples,) eV/atom, from its first value
    broken: str | None = None  # why the run ended early, if it did

    @property
    def drift(self) -> float:
        """Slope of the total energy by least squares, eV/atom/ps; NaN for a run that broke before its third sample."""
        return float(np.polyfit(self.times * 1e-3, self.total, 1)[0]) if len(self.times) > 2 else float("nan")


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

    Returns:
        The energies. A run in which atoms fly apart or into each other, as under a poor model, ends there and says so.

    Raises:
        InputError: the model refuses the structure to start from.
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
    rows = [_energies(moving)]
    broken = None
    with track(title, steps, "MD steps") as bar:
        for step in range(steps):
            try:
                engine.run(1)
                rows.append(_energies(moving))
            except InputError as error:
                broken = f"broke after {step * timestep:g} fs: {error.problem}"
                break
            bar.advance()
    table = (np.array(rows) - rows[0]) / len(moving)
    return EnergyTrace(timestep * np.arange(len(rows)), table[:, 0], table[:, 1], broken)


def _energies(atoms: ase.Atoms) -> tuple[float, float]:
    """Potential and total energy in eV."""
    # `get_total_energy` would look once more whether the potential energy is still that of these positions.
    potential = atoms.get_potential_energy()
    return potential, potential + atoms.get_kinetic_energy()
