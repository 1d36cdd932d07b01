"""Training: what is minimised, how, and how it goes on after an interruption."""

from atomlens.training.config import DataConfig, RunConfig, SplitConfig, TrainingConfig
from atomlens.training.loop import TrainingResult, train

__all__ = ["DataConfig", "RunConfig", "SplitConfig", "TrainingConfig", "TrainingResult", "train"]
