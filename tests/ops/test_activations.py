"""The shifted softplus against 50 digits of its definition."""

import math

import mpmath
import pytest
import torch

from atomlens.ops.activations import shifted_softplus

mpmath.mp.dps = 50
POINTS = [-1e4, -745.0, -100.0, -30.5, -5.0, -1.0, -1e-8, 0.0, 1e-8, 0.3, 1.0, 5.0, 29.9, 30.1, 100.0, 710.0, 1e4]


def definition(x):
    return mpmath.log(mpmath.mpf("0.5") * mpmath.exp(mpmath.mpf(x)) + mpmath.mpf("0.5"))


@pytest.mark.parametrize("x", POINTS)
def test_value(x):
    # Above 30 torch drops ln(1 + e⁻ˣ), less than 1e-13.
    ours = shifted_softplus(torch.tensor(x, dtype=torch.float64)).item()
    assert ours == pytest.approx(float(definition(x)), rel=1e-14, abs=2e-16)


@pytest.mark.parametrize("x", POINTS)
@pytest.mark.parametrize("order", [1, 2, 3])
def test_derivatives(x, order):
    """The derivatives are the logistic function's: σ, σ(1 - σ), σ(1 - σ)(1 - 2σ)."""
    sigma = 1 / (1 + mpmath.exp(-mpmath.mpf(x)))
    exact = [sigma, sigma * (1 - sigma), sigma * (1 - sigma) * (1 - 2 * sigma)][order - 1]
    argument = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    value = shifted_softplus(argument)
    for _ in range(order):
        (value,) = torch.autograd.grad(value, argument, create_graph=True)
    assert value.item() == pytest.approx(float(exact), rel=1e-12, abs=1e-13)


def test_zero_at_zero():
    assert shifted_softplus(torch.zeros((), dtype=torch.float64)).item() == pytest.approx(0.0, abs=1e-16)
    assert shifted_softplus(torch.zeros(())).item() == pytest.approx(0.0, abs=6e-8)


def test_limits():
    ends = shifted_softplus(torch.tensor([-math.inf, -1e30, 1e30], dtype=torch.float64))
    torch.testing.assert_close(ends, torch.tensor([-math.log(2), -math.log(2), 1e30], dtype=torch.float64))


def test_single_precision():
    x = torch.linspace(-120.0, 120.0, 4001)
    exact = shifted_softplus(x.double())
    torch.testing.assert_close(shifted_softplus(x).double(), exact, rtol=2e-7, atol=1.2e-7)


def test_gradgradcheck_across_the_threshold():
    x = torch.tensor([-40.0, -2.0, 0.0, 1.5, 29.99, 30.01], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(shifted_softplus, x)
    assert torch.autograd.gradgradcheck(shifted_softplus, x)
