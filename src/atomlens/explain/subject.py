"""What analyses look at: models, the structures shown, and the data set behind distributions."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from pydantic import Field

from atomlens.config import Config
from atomlens.data.batching import BatchSource
from atomlens.data.dataset import Dataset
from atomlens.data.system import AtomicSystem
from atomlens.errors import InputError
from atomlens.evaluation import check_known, predict_source
from atomlens.model import Arrays, Model

T = TypeVar("T")


class ExplainConfig(Config):
    """Settings of explanations."""

    probes: tuple[str, ...] | None = Field(
        None, description="elements of probe atoms; by default H, C and O as far as the model knows them"
    )
    isovalue: float = Field(3.8, gt=0, description="c of the surface Σ|r - r_i|⁻² = c, in Å⁻²")
    spacing: float = Field(0.1, gt=0, description="between grid points of cuts, in Å")
    plane_atoms: tuple[int, int, int] | None = Field(
        None, description="three atoms that span the cut; by default the plane nearest to all atoms but hydrogen"
    )
    margin: float = Field(2.5, gt=0, description="how far cuts and grids reach beyond the outermost atoms, in Å")
    grid_points: int = Field(36, ge=8, le=200, description="along the longest side of the grids in the report")
    seed: int = Field(0, description="of random numbers, such as random embeddings to compare with")


@dataclass(frozen=True)
class NamedModel:
    """A model under the name that figures and tables give it."""

    name: str
    model: Model


@dataclass(frozen=True)
class Subject:
    """All that an analysis may look at. What several of them need is computed once and kept.

    Raises:
        InputError: on building, for two models or structures of one name, by which results are kept.
    """

    models: tuple[NamedModel, ...]
    systems: tuple[AtomicSystem, ...]  # the structures shown, each with panels of its own
    names: tuple[str, ...]  # of the structures shown
    data: Dataset  # for distributions and errors, with labels where they are known
    config: ExplainConfig

    def __post_init__(self) -> None:
        for what, names in (("models", [entry.name for entry in self.models]), ("structures", list(self.names))):
            if len(set(names)) < len(names):
                raise InputError(f"{what} need names of their own, not {', '.join(names)}; rename one")

    def serving(self, quantity: str) -> list[NamedModel]:
        """The models that predict a quantity, in the order given.

        Raises:
            InputError: none does.
        """
        found = [entry for entry in self.models if quantity in entry.model.predicted]
        if not found:
            raise InputError(f"no model here predicts {quantity.replace('_', ' ')}; give one that does")
        return found

    def predicted(self, entry: NamedModel) -> Arrays:
        """All that a model predicts for the data set but forces and stress, laid end to end in internal units.

        Raises:
            InputError: the model cannot serve a structure of the data set.
        """
        return self.kept(("predictions", entry.name), lambda: self._predict(entry))

    def of_structure(self, entry: NamedModel, place: int) -> Mapping[str, np.ndarray]:
        """All that a model predicts for one of the structures shown, but forces and stress.

        Raises:
            InputError: the model cannot serve it.
        """
        key = "structure", entry.name, place
        return self.kept(key, lambda: entry.model.predict([self.systems[place]], forces=False, stress=False)[0])

    def kept(self, key: Hashable, make: Callable[[], T]) -> T:
        """What ``make`` returns, called once for a key: panels of many structures share it."""
        if key not in self._store:
            self._store[key] = make()
        found: T = self._store[key]
        return found

    def _predict(self, entry: NamedModel) -> Arrays:
        check_known(entry.model, self.data)
        source = BatchSource(self.data, entry.model.cutoff, [], title=f"{entry.name}: neighbours")
        return predict_source(entry.model, source, np.arange(len(self.data)), forces=False, title=entry.name)

    @cached_property
    def _store(self) -> dict[Hashable, Any]:
        return {}
