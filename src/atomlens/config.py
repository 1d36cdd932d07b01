"""Base of every set of hyper-parameters: declared once, checked always, readable as YAML or JSON."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Any, Literal, Self, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import PydanticUndefined

from atomlens.errors import InputError


class Config(BaseModel):
    """Frozen hyper-parameters. An unknown key is an error that names the nearest known one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def parse(cls, values: Mapping[str, Any], *, file: str | None = None) -> Self:
        """Build from a plain mapping.

        Raises:
            InputError: an unknown key, a missing one, or a value of the wrong type or range.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise InputError(_first_problem(error, cls), file=file) from None


def nearest(word: str, known: list[str]) -> str:
    """The clause that ends an error message about an unknown word."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean '{close[0]}'?" if close else f"known are {', '.join(sorted(known))}"


def template(config: type[BaseModel], values: BaseModel | None = None, indent: int = 0) -> str:
    """Every key with its value (without ``values`` its default, ``...`` where there is none) and meaning, as YAML."""
    lines = []
    # An entry's name tells what the other keys are about.
    for name, field in sorted(config.model_fields.items(), key=lambda entry: entry[0] != "name"):
        value = getattr(values, name, None) if values is not None else field.get_default(call_default_factory=True)
        pad = "  " * indent
        comment = f"  # {field.description}" if field.description else ""
        if isinstance(value, BaseModel):
            lines += [f"{pad}{name}:{comment}", template(type(value), value, indent + 1)]
        elif isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            lines += [f"{pad}{name}:{comment}", template(field.annotation, None, indent + 1)]
        elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
            entries = [template(type(entry), entry, indent + 2) for entry in value]
            lines += [f"{pad}{name}:{comment}", *(entry.replace(f"{pad}    ", f"{pad}  - ", 1) for entry in entries)]
        else:
            shown = "..." if value is PydanticUndefined else json.dumps(value, ensure_ascii=False)
            choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
            said = [" | ".join(map(str, choices)) if len(choices) > 1 else None, field.description]
            words = ": ".join(filter(None, said))
            lines.append(f"{pad}{name}: {shown}{f'  # {words}' if words else ''}")
    return "\n".join(lines)


def set_by_path(values: dict[str, Any], path: str, value: Any) -> None:
    """Set ``values["a"]["b"]`` for the path ``a.b``, making the mappings on the way."""
    *parents, last = path.split(".")
    for parent in parents:
        inner = values.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise InputError(f"'{path}' cannot be set: '{parent}' holds no settings")
        values = inner
    values[last] = value


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings laid over each other; where both say something, ``above`` counts."""
    found = dict(below)
    for name, value in above.items():
        under = found.get(name)
        found[name] = merged(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return found


def _first_problem(error: ValidationError, config: type[BaseModel]) -> str:
    first = error.errors()[0]
    inner = first.get("ctx", {}).get("error")
    if isinstance(inner, InputError):
        return inner.problem
    path = [str(part) for part in first["loc"]]
    name = ".".join(path)
    if first["type"] == "extra_forbidden":
        return f"unknown configuration key '{name}'; {nearest(path[-1], _keys_at(config, path[:-1]))}"
    if first["type"] == "missing":
        return f"configuration key '{name}' is missing; add it"
    return f"configuration key '{name}': {first['msg'][0].lower()}{first['msg'][1:]} (got {first['input']!r})"


def _keys_at(config: type[BaseModel], path: list[str]) -> list[str]:
    for part in path:
        field = config.model_fields.get(part)
        annotation = getattr(field, "annotation", None)
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            break
        config = annotation
    return list(config.model_fields)
