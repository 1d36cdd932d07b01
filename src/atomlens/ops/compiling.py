"""What torch.compile must leave alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch

_Function = TypeVar("_Function", bound=Callable[..., Any])


def uncompiled(function: _Function) -> _Function:
    """For what hands addresses to kernels: compiled, tensors of which nothing but these is left would be let go of."""
    return cast(_Function, torch.compiler.disable(function))
