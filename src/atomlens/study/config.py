"""What a study can be told."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from pydantic import Field

from atomlens.config import Config
from atomlens.model import ModelConfig
from atomlens.reference.xtb import SamplingConfig
from atomlens.training.config import TrainingConfig

# Where a study's defaults differ from those of its parts: ten trajectories, and a training of one to two minutes. One
# thread is as fast as two for one small molecule, and steady on a machine that does other work as well.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "sampling": {"walkers": 10, "frames_per_walker": 130},
    "training": {"epochs": 500, "threads": 1},
}


class StudyConfig(Config):
    """Sampling, model, training and explanation of a study; the defaults take under six minutes on two cores."""

    sampling: SamplingConfig = SamplingConfig(**_DEFAULTS["sampling"])
    test_walkers: int = Field(2, ge=1, description="trajectories that are only tested on")
    validation: int = Field(100, ge=1, description="frames that choose the best model")
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig(**_DEFAULTS["training"])
    probe: str | None = Field(None, description="element of the probe atom; null: H, or the lightest of the molecule")
    drift_duration: float = Field(1000.0, gt=0, description="length of the constant-energy run, fs")
    drift_timestep: float = Field(0.5, gt=0, description="time step of the constant-energy run, fs")

    @classmethod
    def with_defaults(cls, values: Mapping[str, Any]) -> StudyConfig:
        """Build from a mapping; what it leaves unsaid is as in a study, not as in the parts alone.

        Raises:
            InputError: an unknown key or a wrong value.
        """
        merged = deepcopy(_DEFAULTS)
        for key, value in values.items():
            merged[key] = {**merged[key], **value} if key in merged and isinstance(value, Mapping) else value
        return cls.parse(merged)
