"""The continuous-filter convolution against a double loop over atoms."""

import numpy as np
import pytest
import torch

from atomlens.ops.cfconv import cfconv

ATOMS, FEATURES = 6, 4


def example(seed=0, pairs=15):
    random = np.random.default_rng(seed)
    centre = np.sort(random.integers(0, ATOMS - 1, pairs))  # the last atom hears nobody
    neighbour = random.integers(0, ATOMS, pairs)
    return random.normal(size=(ATOMS, FEATURES)), random.normal(size=(pairs, FEATURES)), centre, neighbour


@pytest.mark.parametrize("seed", range(3))
def test_against_double_loop(seed):
    x, filters, centre, neighbour = example(seed)
    expected = np.zeros_like(x)
    for i in range(ATOMS):
        for j in range(ATOMS):
            for pair in np.flatnonzero((centre == i) & (neighbour == j)):  # images give several filters to one pair
                for feature in range(FEATURES):
                    expected[i, feature] += x[j, feature] * filters[pair, feature]
    found = cfconv(*map(torch.from_numpy, (x, filters, centre, neighbour)))
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-14)
    assert (found[-1] == 0).all()


def test_one_way_pairs():
    """Only the centre hears: a pair in one direction changes nothing at the neighbour."""
    x, filters = torch.ones(2, 3), torch.full((1, 3), 2.0)
    found = cfconv(x, filters, torch.tensor([0]), torch.tensor([1]))
    assert found.tolist() == [[2.0, 2.0, 2.0], [0.0, 0.0, 0.0]]


def test_no_pairs():
    none = torch.empty(0, dtype=torch.int64)
    assert (cfconv(torch.ones(3, 5), torch.empty(0, 5), none, none) == 0).all()


def test_linear_in_features_and_filters():
    x, filters, centre, neighbour = map(torch.from_numpy, example())
    twice = cfconv(2.0 * x, 3.0 * filters, centre, neighbour)
    torch.testing.assert_close(twice, 6.0 * cfconv(x, filters, centre, neighbour))


def test_derivatives():
    x, filters, centre, neighbour = map(torch.from_numpy, example())

    def convolve(x, filters):
        return cfconv(x, filters, centre, neighbour)

    inputs = (x.requires_grad_(), filters.requires_grad_())
    assert torch.autograd.gradcheck(convolve, inputs)
    assert torch.autograd.gradgradcheck(convolve, inputs)
