"""The interface of all analyses of models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atomlens.panel import Panel, Topic

if TYPE_CHECKING:
    from atomlens.explain.subject import Subject


@dataclass(frozen=True)
class Analysis(Topic):
    """A row of the registry.

    ``of_structure(subject, place)`` makes a panel of one structure, ``of_models(subject)`` one about models and data;
    an analysis has one or both. Either raises `InputError` with one sentence where models, structure or data cannot
    serve it.
    """

    of_structure: Callable[[Subject, int], Panel] | None = None
    of_models: Callable[[Subject], Panel] | None = None
