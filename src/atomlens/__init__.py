"""Neural networks of atoms that are fast, trustworthy and explain themselves.

``load("model.safetensors")`` gives a model with ``predict``; ``Calculator(model)`` makes it an ASE calculator.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atomlens.convert import convert_published
    from atomlens.data.dataset import Dataset
    from atomlens.data.readers import read_dataset, read_structures
    from atomlens.data.system import AtomicSystem
    from atomlens.errors import InputError
    from atomlens.evaluation import evaluate
    from atomlens.model import Model, ModelConfig
    from atomlens.model_file import load_model as load
    from atomlens.model_file import save_model as save
    from atomlens.simulate.calculator import Calculator
    from atomlens.study.pipeline import run_study
    from atomlens.study.run import run_training
    from atomlens.training.loop import train

# Looked up on first use, so that `atomlens --help` need not wait for torch.
_PLACES = {
    "AtomicSystem": ("atomlens.data.system", "AtomicSystem"),
    "Calculator": ("atomlens.simulate.calculator", "Calculator"),
    "Dataset": ("atomlens.data.dataset", "Dataset"),
    "InputError": ("atomlens.errors", "InputError"),
    "Model": ("atomlens.model", "Model"),
    "ModelConfig": ("atomlens.model", "ModelConfig"),
    "convert_published": ("atomlens.convert", "convert_published"),
    "evaluate": ("atomlens.evaluation", "evaluate"),
    "load": ("atomlens.model_file", "load_model"),
    "read_dataset": ("atomlens.data.readers", "read_dataset"),
    "read_structures": ("atomlens.data.readers", "read_structures"),
    "run_study": ("atomlens.study.pipeline", "run_study"),
    "save": ("atomlens.model_file", "save_model"),
    "run_training": ("atomlens.study.run", "run_training"),
    "train": ("atomlens.training.loop", "train"),
}

__all__ = [
    "AtomicSystem",
    "Calculator",
    "Dataset",
    "InputError",
    "Model",
    "ModelConfig",
    "convert_published",
    "evaluate",
    "load",
    "read_dataset",
    "read_structures",
    "run_study",
    "run_training",
    "save",
    "train",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("atomlens")
    if name not in _PLACES:
        raise AttributeError(f"module 'atomlens' has no attribute '{name}'")
    module, attribute = _PLACES[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
