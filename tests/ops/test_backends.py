"""The choice of kernels."""

import builtins
import logging

import pytest
import torch

from atomlens.errors import InputError
from atomlens.ops.cfconv import backends, kernels_for, use_kernels

CPU = torch.device("cpu")


def test_fastest_by_default():
    assert kernels_for(CPU, torch.float32).name == "numba"
    assert kernels_for(CPU, torch.float64).name == "numba"


def test_half_precision_goes_to_the_reference():
    assert kernels_for(CPU, torch.bfloat16).name == "reference"


def test_asked_for_inside_the_block_only():
    with use_kernels("reference"):
        assert kernels_for(CPU, torch.float32).name == "reference"
    assert kernels_for(CPU, torch.float32).name == "numba"


def test_unknown_kernels():
    with pytest.raises(InputError, match=r"unknown kernels 'nmba'.*numba"), use_kernels("nmba"):
        pass


def test_reference_computes_where_numba_is_missing(monkeypatch, caplog):
    """Said once, not at every step."""
    found = builtins.__import__

    def without_numba(name, *rest, **options):
        if name == "numba" or name.startswith("numba."):
            raise ImportError("No module named 'numba'")
        return found(name, *rest, **options)

    module = "atomlens.ops.cfconv.numba_kernels"
    import sys

    monkeypatch.setattr(builtins, "__import__", without_numba)
    monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.delitem(sys.modules, "atomlens.ops.cfconv.numba_backend", raising=False)
    backends._load.cache_clear()
    backends._say_once.cache_clear()
    try:
        with caplog.at_level(logging.WARNING, logger="atomlens"):
            assert kernels_for(CPU, torch.float32).name == "reference"
            assert kernels_for(CPU, torch.float32).name == "reference"
        assert [record.message for record in caplog.records] == [
            "numba kernels are not to be had (No module named 'numba'); the slower reference computes"
        ]
        with pytest.raises(InputError, match="cannot be had here"), use_kernels("numba"):
            pass
    finally:
        backends._load.cache_clear()
