"""What a guard takes for dangerous, and what it does then."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from atomlens.config import Config


class GuardConfig(Config):
    """Limits of a guard."""

    interval: int = Field(20, ge=1, description="steps from one look to the next; calls in between are passed over")
    distance_tolerance: float = Field(
        0.05, ge=0, allow_inf_nan=False, description="Å by which distances may leave the range of the training data"
    )
    covalent_fraction: float = Field(
        0.6,
        gt=0,
        le=1,
        description="of the sum of covalent radii, below which atoms are too close; for models without a coverage",
    )
    feature_tolerance: float = Field(
        1.2,
        ge=1,
        allow_inf_nan=False,
        description="how far surroundings may be from those of training, in units of the limit set by held-out data",
    )
    committee_limit: float = Field(
        0.3,
        gt=0,
        allow_inf_nan=False,
        description="standard deviation of an atom's force over the committee's models, in eV/Å",
    )
    temperature_rise: float = Field(
        0.5, ge=0, allow_inf_nan=False, description="above the thermostat's temperature, as a share of it"
    )
    temperature_chance: float = Field(
        1e-6, gt=0, lt=1, description="probability of so high a temperature in the canonical ensemble; raises the limit"
    )
    energy_drift: float = Field(
        0.01, gt=0, allow_inf_nan=False, description="of the total energy in runs without a thermostat, in eV per atom"
    )
    action: Literal["warn", "stop"] = Field("warn", description="what an alarm does to the run")
    save_interval: int = Field(
        500, ge=1, description="steps in which a kind of alarm is said, and its structure saved, once at most"
    )
    most_saved: int = Field(100, ge=0, description="structures saved for labelling in one run")
