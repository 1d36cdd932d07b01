"""Molecular dynamics through ASE, the same for every contestant but for its calculator."""

from __future__ import annotations

from typing import Any

import ase
import numpy as np
from ase import units
from ase.calculators.calculator import Calculator
from ase.md.verlet import VelocityVerlet

from benchmarks.contestants.job import DYNAMICS_STEPS, TIMESTEP, Job, Work


def dynamics(job: Job, calculator: Calculator) -> Work:
    """Velocity-Verlet steps from the job's positions and velocities, always the same first few."""
    start, velocities = job.arrays["positions"], job.arrays["velocities"]
    atoms = ase.Atoms(job.arrays["numbers"], start)
    atoms.calc = calculator
    engine = VelocityVerlet(atoms, timestep=TIMESTEP * units.fs)

    def fresh() -> None:
        atoms.set_positions(start)
        atoms.set_velocities(velocities)
        engine.run(1)  # sees the return to the start, which no ordinary step has to

    def step(_: Any) -> None:
        engine.run(DYNAMICS_STEPS)

    def results() -> dict[str, np.ndarray]:
        atoms.set_positions(start)
        forces, energy = atoms.get_forces(), atoms.get_potential_energy()
        return {"energy": np.array([energy]), "forces": np.asarray(forces, dtype=np.float64)}

    return Work(fresh, step, results, units=DYNAMICS_STEPS)
