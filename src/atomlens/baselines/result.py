"""What one baseline reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from atomlens.evaluation import Errors


@dataclass(frozen=True)
class BaselineResult:
    """Errors of one method on the test structures, by quantity, or why there are none."""

    name: str  # in the registry, or of a trained model
    what: str
    errors: Mapping[str, Errors] = field(default_factory=dict)
    chosen: Mapping[str, Any] = field(default_factory=dict)  # hyper-parameters, JSON-ready
    seconds: Mapping[str, float] = field(default_factory=dict)  # descriptor, fit (choice included), predict
    size: int | None = None  # numbers per structure or atom of the descriptor
    failure: str | None = None  # a sentence

    def to_dict(self) -> dict[str, Any]:
        """All fields, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """What `to_dict` gave.

        Raises:
            TypeError, KeyError, AttributeError: the mapping is another one.
        """
        errors = {name: Errors(**found) for name, found in values["errors"].items()}
        return cls(**{**values, "errors": errors})
