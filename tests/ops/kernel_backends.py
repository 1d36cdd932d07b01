"""Backends of the convolution's kernels, by name."""

import importlib.util
import sys
from contextlib import contextmanager
from functools import cache
from importlib import import_module

import pytest
import torch

from atomlens.ops.cfconv.reference import ReferenceKernels

TRITON = "atomlens.ops.cfconv.triton_"
NO_TRITON = "triton is not installed; it comes with the extra 'dev' on Linux"


@contextmanager
def backend(name):
    """The backend, Triton's interpreted on the CPU where there is no GPU; skips the test where it cannot be had."""
    if name == "reference":
        yield ReferenceKernels()
    elif name == "numba":
        pytest.importorskip("numba", reason="numba is not installed")
        yield import_module("atomlens.ops.cfconv.numba_backend").NumbaKernels()
    else:
        language = pytest.importorskip("triton.language", reason=NO_TRITON)
        if torch.cuda.is_available():
            yield import_module(TRITON + "backend").TritonKernels()
            return
        kernels, interpreted = _interpreted()
        with pytest.MonkeyPatch.context() as patch:
            # The interpreter sums arrays as a whole only through this function, and others number by number.
            patch.setattr(language.standard, "_sum_combine", kernels._add, raising=False)
            yield interpreted.TritonKernels()


@cache
def _interpreted():
    """Copies of the Triton modules under the interpreter, which is chosen when kernels are defined.

    Nobody else sees them, and Triton itself has been imported as everywhere else, so no other test depends on them.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        kernels = load_copy(TRITON + "kernels")
        patch.setitem(sys.modules, TRITON + "kernels", kernels)
        return kernels, load_copy(TRITON + "backend")


def load_copy(name):
    """A module executed anew, beside the one that others import."""
    spec = importlib.util.find_spec(name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
