"""Whole pieces of work, as one call each: a study, a training with its test, predictions and explanations of files."""

from atomlens.study.config import StudyConfig
from atomlens.study.data import read_labelled
from atomlens.study.explanation import explain_models
from atomlens.study.pipeline import run_study
from atomlens.study.run import predict_file, run_training

__all__ = ["StudyConfig", "explain_models", "predict_file", "read_labelled", "run_study", "run_training"]
