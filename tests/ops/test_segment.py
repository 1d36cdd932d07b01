"""Sums over groups of rows against a loop."""

import numpy as np
import pytest
import torch

from atomlens.ops.segment import segment_sum


@pytest.mark.parametrize("shape", [(), (3,), (3, 2)])
def test_against_a_loop(shape):
    random = np.random.default_rng(0)
    values, segments = random.normal(size=(20, *shape)), random.integers(0, 6, 20)
    expected = np.zeros((8, *shape))
    for row, segment in enumerate(segments):
        expected[segment] += values[row]
    found = segment_sum(torch.from_numpy(values), torch.from_numpy(segments), 8)
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-14)  # a few additions in another order
    assert (found[6:] == 0).all()


def test_no_rows():
    found = segment_sum(torch.empty(0, 4), torch.empty(0, dtype=torch.int64), 3)
    assert found.shape == (3, 4)
    assert (found == 0).all()


def test_keeps_dtype_and_input():
    values = torch.ones(4, dtype=torch.float32)
    assert segment_sum(values, torch.tensor([0, 0, 1, 1]), 2).dtype == torch.float32
    assert values.tolist() == [1.0] * 4


def test_gradients_go_back_to_their_rows():
    values = torch.randn(5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    segments = torch.tensor([2, 0, 2, 1, 0])
    weights = torch.arange(6.0, dtype=torch.float64).reshape(3, 2)
    (segment_sum(values, segments, 3) * weights).sum().backward()
    torch.testing.assert_close(values.grad, weights[segments])
    assert torch.autograd.gradgradcheck(
        lambda v: segment_sum(v.square(), segments, 3), values.detach().requires_grad_()
    )
