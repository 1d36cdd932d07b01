"""A backend of the convolution's kernels, and memory that shows what was never written."""

import math

import pytest
import torch
from kernel_backends import backend


@pytest.fixture
def kernels(request):
    """The backend that the parameter names."""
    with backend(request.param) as found:
        yield found


@pytest.fixture
def device(kernels):
    """Where the backend's tensors live."""
    return torch.device("cuda" if kernels.name == "triton" and torch.cuda.is_available() else "cpu")


@pytest.fixture
def poisoned(monkeypatch):
    """Fresh memory is NaN, or the largest integer, until something is written there."""
    for owner, name in ((torch.Tensor, "new_empty"), (torch, "empty"), (torch, "empty_like")):
        monkeypatch.setattr(owner, name, _poisoned(getattr(owner, name)))


def _poisoned(make):
    def fresh(*args, **kwargs):
        tensor = make(*args, **kwargs)
        return tensor.fill_(math.nan if tensor.is_floating_point() else torch.iinfo(tensor.dtype).max)

    return fresh
