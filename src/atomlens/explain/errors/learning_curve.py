"""Learning curves: errors of models that differ in the size of their training set (thesis fig. 3.4)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from atomlens.explain.errors.error_statistics import ErrorSummary
from atomlens.explain.errors.training_overlap import training_size
from atomlens.explain.subject import NamedModel


@dataclass(frozen=True)
class LearningCurve:
    """Models of one kind, trained on more and more structures of the same data, in rising order of their number."""

    name: str  # of the representation
    models: tuple[str, ...]
    sizes: np.ndarray  # (models,) structures trained on
    mae: np.ndarray  # (models,) in the unit of the errors
    low: np.ndarray  # (models,) ends of the 95 % interval
    high: np.ndarray  # (models,)

    @property
    def exponent(self) -> float:
        """How fast errors fall: b of MAE ∝ N^-b, by a straight line through the logarithms."""
        return float(-np.polyfit(np.log(self.sizes), np.log(self.mae), 1)[0])

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        arrays = {name: getattr(self, name).tolist() for name in ("sizes", "mae", "low", "high")}
        return {"name": self.name, "models": list(self.models), "exponent": self.exponent, **arrays}


def learning_curves(models: Mapping[str, tuple[NamedModel, ErrorSummary]]) -> list[LearningCurve]:
    """Group models that differ in the size of their training set alone; groups of one size are left out.

    Args:
        models: by name, with errors on the same structures, none of them zero.
    """
    groups: dict[str, list[tuple[int, str, ErrorSummary]]] = {}
    names: dict[str, str] = {}
    for name, (entry, summary) in models.items():
        size = training_size(entry.model)
        if size is None or summary.mae <= 0.0:
            continue
        settings: Any = entry.model.config.model_dump(mode="json")
        data = entry.model.provenance.get("data")
        key = json.dumps([settings, data.get("hash") if isinstance(data, dict) else None], sort_keys=True)
        groups.setdefault(key, []).append((size, name, summary))
        names[key] = str(settings["representation"]["name"])
    return [_curve(names[key], rows) for key, rows in groups.items() if len({row[0] for row in rows}) > 1]


def _curve(name: str, rows: list[tuple[int, str, ErrorSummary]]) -> LearningCurve:
    rows = sorted(rows, key=lambda row: row[:2])
    ends = np.array([summary.intervals["mae"] for _, _, summary in rows])
    return LearningCurve(
        name=name,
        models=tuple(row[1] for row in rows),
        sizes=np.array([row[0] for row in rows]),
        mae=np.array([summary.mae for _, _, summary in rows]),
        low=ends[:, 0],
        high=ends[:, 1],
    )
