"""Which kernels compute: the fastest for the device, or those asked for."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib import import_module

import torch

from atomlens.config import nearest
from atomlens.errors import InputError
from atomlens.ops.cfconv.kernels import Kernels

_log = logging.getLogger("atomlens")
_BACKENDS = {  # name: module and class
    "reference": ("atomlens.ops.cfconv.reference", "ReferenceKernels"),
    "numba": ("atomlens.ops.cfconv.numba_backend", "NumbaKernels"),
    "triton": ("atomlens.ops.cfconv.triton_backend", "TritonKernels"),
}
_FASTEST = {"cpu": "numba", "cuda": "triton"}
_asked: ContextVar[str | None] = ContextVar("kernels", default=None)


@contextmanager
def use_kernels(name: str) -> Iterator[None]:
    """Let the kernels ``name`` ('reference', 'numba' or 'triton') compute inside the block.

    Raises:
        InputError: there are no such kernels, or they cannot be had here.
    """
    if name not in _BACKENDS:
        raise InputError(f"unknown kernels '{name}'; {nearest(name, list(_BACKENDS))}")
    found = _load(name)
    if isinstance(found, str):
        raise InputError(f"the {name} kernels cannot be had here ({found}); install {name}, or choose others")
    token = _asked.set(name)
    try:
        yield
    finally:
        _asked.reset(token)


def kernels_for(device: torch.device, dtype: torch.dtype) -> Kernels:
    """The kernels asked for by `use_kernels`, else the fastest for the device and precision."""
    name = _asked.get() or _FASTEST.get(device.type, "reference")
    if dtype not in (torch.float32, torch.float64):
        name = "reference"
    found = _load(name)
    if isinstance(found, str):
        _say_once(name, found)
        found = _load("reference")
    assert isinstance(found, Kernels)
    return found


@cache
def _load(name: str) -> Kernels | str:
    """The kernels, or why they are not to be had."""
    module, kind = _BACKENDS[name]
    try:
        kernels: Kernels = getattr(import_module(module), kind)()
    except ImportError as error:
        return str(error)
    return kernels


@cache
def _say_once(name: str, reason: str) -> None:
    _log.warning("%s kernels are not to be had (%s); the slower reference computes", name, reason)
