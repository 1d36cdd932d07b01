"""Everything that a molecular dynamics run can be told."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from atomlens.config import Config
from atomlens.errors import InputError
from atomlens.simulate.recording import Format

# May change when a run goes on, for the trajectory does not depend on them.
FREE = ("duration", "checkpoint_seconds", "watch_interval")


class MolecularDynamicsConfig(Config):
    """How atoms move, and what is written of it."""

    ensemble: Literal["nve", "langevin", "bussi", "nose-hoover", "npt", "npt-cell"] = Field(
        "langevin", description="what is held constant, and by what (see ensembles.py)"
    )
    temperature: float = Field(300.0, gt=0, allow_inf_nan=False, description="in K; of nve, of the first velocities")
    timestep: float = Field(0.5, gt=0, allow_inf_nan=False, description="in fs")
    duration: float = Field(10.0, gt=0, allow_inf_nan=False, description="of the run after equilibration, in ps")
    equilibration: float = Field(
        0.0, ge=0, allow_inf_nan=False, description="in ps, before the duration; recorded, but left out of analyses"
    )
    thermostat_time: float = Field(
        100.0,
        gt=0,
        allow_inf_nan=False,
        description="in fs; langevin: inverse of the friction; bussi: relaxation time of the kinetic energy; "
        "nose-hoover, npt: period of the thermostat's swing",
    )
    barostat_time: float = Field(
        1000.0,
        gt=0,
        allow_inf_nan=False,
        description="inertia of the cell of npt, as a time in fs; stiff crystals swing several times as fast",
    )
    pressure: float = Field(1e-4, allow_inf_nan=False, description="of npt, in GPa; 1e-4 is one bar")
    velocities: Literal["maxwell", "structure"] = Field(
        "maxwell", description="at the start: drawn at the temperature, or the structure's own"
    )
    replicas: int = Field(1, ge=1, description="copies of the structure, each with random numbers of its own")
    seed: int = Field(0, ge=0, description="of velocities and thermostats")
    record_interval: float = Field(
        4.0, gt=0, allow_inf_nan=False, description="between frames, in fs; 4 resolves spectra up to 4170 cm⁻¹"
    )
    watch_interval: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="between looks of a guard, in fs; null: at every frame"
    )
    format: Format = Field("extxyz", description="of trajectories; traj is ASE's, and keeps every digit")
    checkpoint_seconds: float = Field(60.0, ge=0, description="longest time that a crash can cost")

    @model_validator(mode="after")
    def _whole_steps(self) -> Self:
        for name in ("record_interval", "watch_interval"):
            steps = (getattr(self, name) or self.timestep) / self.timestep
            if round(steps) < 1 or abs(steps - round(steps)) > 1e-6 * steps:
                raise InputError(
                    f"{name} must be a whole number of time steps of {self.timestep:g} fs, not {steps:g} of them; "
                    f"choose {max(1, round(steps)) * self.timestep:g}"
                )
        return self

    @property
    def steps(self) -> int:
        """Of the whole run, equilibration included."""
        return self.steps_before + max(1, round(1000.0 * self.duration / self.timestep))

    @property
    def steps_before(self) -> int:
        """Of equilibration."""
        return round(1000.0 * self.equilibration / self.timestep)

    @property
    def steps_per_frame(self) -> int:
        """From one frame to the next."""
        return round(self.record_interval / self.timestep)

    @property
    def steps_per_look(self) -> int:
        """From one look of a guard to the next."""
        return round((self.watch_interval or self.record_interval) / self.timestep)
