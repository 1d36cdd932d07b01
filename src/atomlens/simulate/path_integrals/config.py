"""Everything that a path-integral run can be told."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from atomlens.config import Config
from atomlens.errors import InputError
from atomlens.simulate.recording import Format

FREE = ("duration", "checkpoint_seconds")  # may change when a run goes on, for the trajectory does not depend on them


class PathIntegralConfig(Config):
    """How nuclei move as ring polymers of beads, and what is written of it."""

    beads: int = Field(8, ge=1, description="of each path; 1 is classical (see beads_needed)")
    replicas: int = Field(1, ge=1, description="independent paths, in one batch")
    ensemble: Literal["nvt", "nve", "npt"] = Field(
        "nvt", description="what is held constant; nve is ring-polymer dynamics"
    )
    thermostat: Literal["pile-l", "pile-g", "langevin", "gle"] = Field(
        "pile-l",
        description="white noise on the path's normal modes (pile-g: on centroids by rescaling all their velocities), "
        "on all beads alike (langevin), or coloured noise by matrices from a file (gle: PIGLET)",
    )
    temperature: float = Field(300.0, gt=0, allow_inf_nan=False, description="in K")
    timestep: float = Field(0.5, gt=0, allow_inf_nan=False, description="in fs")
    duration: float = Field(10.0, gt=0, allow_inf_nan=False, description="of the run after equilibration, in ps")
    equilibration: float = Field(
        0.0, ge=0, allow_inf_nan=False, description="in ps, before the duration; recorded, but left out of analyses"
    )
    thermostat_time: float = Field(
        100.0, gt=0, allow_inf_nan=False, description="in fs, inverse of the friction on centroids (langevin: on beads)"
    )
    internal_friction: float = Field(
        1.0,
        gt=0,
        allow_inf_nan=False,
        description="of pile on internal modes of the path; 1 damps free ones critically",
    )
    gle: str | None = Field(None, description="file with matrices A and C in i-PI's format, as from gle4md.org")
    barostat: Literal["isotropic", "flexible"] = Field("isotropic", description="of npt: the volume, or the whole cell")
    barostat_time: float = Field(1000.0, gt=0, allow_inf_nan=False, description="of npt, in fs")
    pressure: float = Field(1e-4, allow_inf_nan=False, description="of npt, in GPa; 1e-4 is one bar")
    fix_centre: bool = Field(True, description="keep the centre of mass at rest")
    velocities: Literal["maxwell", "structure"] = Field(
        "maxwell", description="at the start: drawn at the temperature, or the structures' own"
    )
    seed: int = Field(0, ge=0, description="of velocities and thermostats")
    record_interval: float = Field(10.0, gt=0, allow_inf_nan=False, description="between frames, in fs")
    format: Format = Field("extxyz", description="of trajectories; traj is ASE's, and keeps every digit")
    checkpoint_seconds: float = Field(60.0, ge=0, description="longest time that a crash can cost")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for name in ("duration", "equilibration", "record_interval"):
            steps = getattr(self, name) * (1.0 if name == "record_interval" else 1000.0) / self.timestep
            if steps and (round(steps) < 1 or abs(steps - round(steps)) > 1e-6 * steps):
                raise InputError(
                    f"{name} must be a whole number of time steps of {self.timestep:g} fs, not {steps:g} of them"
                )
        if self.thermostat == "gle" and self.gle is None:
            raise InputError(
                "the thermostat 'gle' needs a file of matrices for this temperature and number of beads; get one from "
                "gle4md.org (PIGLET, output for i-PI) and name it in 'gle'"
            )
        if self.thermostat != "gle" and self.gle is not None:
            raise InputError(f"the thermostat '{self.thermostat}' takes no matrices; set thermostat to 'gle'")
        return self

    @property
    def steps(self) -> int:
        """Of the whole run, equilibration included."""
        return round(1000.0 * (self.equilibration + self.duration) / self.timestep)

    @property
    def steps_per_frame(self) -> int:
        """From one frame to the next."""
        return round(self.record_interval / self.timestep)
