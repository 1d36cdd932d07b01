"""Training: what is minimised, how, and how it goes on after an interruption."""

from atomlens.training.config import DataConfig, RunConfig, SplitConfig, TrainingConfig
from atomlens.training.loop import Interrupted, TrainingResult, train

__all__ = ["DataConfig", "Interrupted", "RunConfig", "SplitConfig", "TrainingConfig", "TrainingResult", "train"]
