"""Radial bases and cutoff functions against their formulas and their promises at the cutoff."""

import math

import numpy as np
import pytest
import torch

from atomlens.ops.radial import (
    CONTINUOUS_DERIVATIVES,
    CUTOFF_FUNCTIONS,
    cosine_cutoff,
    gaussian_basis,
    no_cutoff,
    smooth_cutoff,
)

CUTOFF = 4.7


def derivatives(function, distance, orders=4):
    """Value and derivatives by autograd, in float64."""
    d = torch.tensor([distance], dtype=torch.float64, requires_grad=True)
    found = [function(d, CUTOFF)]
    for _ in range(orders):
        (slope,) = torch.autograd.grad(found[-1].sum(), d, create_graph=True, materialize_grads=True, allow_unused=True)
        found.append(slope if slope.requires_grad else slope + 0.0 * d)
    return [value.item() for value in found]


def test_gaussians_by_hand():
    distances = torch.tensor([0.0, 1.0, 2.5], dtype=torch.float64)
    centres = torch.tensor([0.0, 1.2], dtype=torch.float64)
    # exp(-10 d²) and exp(-10 (d - 1.2)²)
    expected = [[1.0, math.exp(-14.4)], [math.exp(-10.0), math.exp(-0.4)], [math.exp(-62.5), math.exp(-16.9)]]
    torch.testing.assert_close(gaussian_basis(distances, centres, 10.0), torch.tensor(expected, dtype=torch.float64))


def test_gaussians_are_differentiable_twice():
    distances = torch.tensor([0.3, 1.1, 2.0], dtype=torch.float64, requires_grad=True)
    centres = torch.linspace(0, 2, 5, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda d: gaussian_basis(d, centres, 3.0), distances)
    assert torch.autograd.gradgradcheck(lambda d: gaussian_basis(d, centres, 3.0), distances)


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.25, 0.5, 0.8, 0.99])
def test_cosine_by_formula(fraction):
    value, slope, curvature = derivatives(cosine_cutoff, fraction * CUTOFF, 2)
    angle, rate = math.pi * fraction, math.pi / CUTOFF
    assert value == pytest.approx(math.cos(angle / 2) ** 2, abs=1e-15)  # the half-angle form
    assert slope == pytest.approx(-0.5 * rate * math.sin(angle), abs=1e-14)
    assert curvature == pytest.approx(-0.5 * rate**2 * math.cos(angle), abs=1e-14)


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.25, 0.5, 0.8, 0.99])
def test_smooth_by_polynomial(fraction):
    """numpy's polynomial derivatives of 1 - 28 u⁶ + 48 u⁷ - 21 u⁸ (p = 6 in Gasteiger et al. 2020, eq. 8)."""
    p = 6
    coefficients = np.zeros(9)
    coefficients[[0, p, p + 1, p + 2]] = [1, -(p + 1) * (p + 2) / 2, p * (p + 2), -p * (p + 1) / 2]
    polynomial = np.polynomial.Polynomial(coefficients)
    for order, value in enumerate(derivatives(smooth_cutoff, fraction * CUTOFF, 3)):
        exact = polynomial.deriv(order)(fraction) / CUTOFF**order
        assert value == pytest.approx(exact, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(("name", "order"), CONTINUOUS_DERIVATIVES.items())
def test_continuous_derivatives_vanish_at_the_cutoff(name, order):
    inside = derivatives(CUTOFF_FUNCTIONS[name], CUTOFF * (1 - 1e-9), order)
    outside = derivatives(CUTOFF_FUNCTIONS[name], CUTOFF * (1 + 1e-9), order)
    assert inside == pytest.approx([0.0] * (order + 1), abs=1e-7)  # 1e-9 times the next derivative, at most 336 / 4.7³
    assert outside == [0.0] * (order + 1)


@pytest.mark.parametrize(("name", "order", "jump"), [("cosine", 2, math.pi**2 / 2), ("smooth", 3, -336.0)])
def test_the_next_derivative_jumps(name, order, jump):
    """½ π² / r_c² for the cosine; -336 / r_c³ for the polynomial: f''' = u³ (-3360 + 10080 u - 7056 u²) / r_c³."""
    inside = derivatives(CUTOFF_FUNCTIONS[name], CUTOFF * (1 - 1e-10), order)[order]
    assert inside == pytest.approx(jump / CUTOFF**order, rel=1e-6)


@pytest.mark.parametrize("name", ["cosine", "smooth"])
def test_shape(name):
    distances = torch.linspace(0, 2 * CUTOFF, 2001, dtype=torch.float64)
    values = CUTOFF_FUNCTIONS[name](distances, CUTOFF)
    assert values[0] == 1.0
    assert (values.diff() <= 1e-15).all()
    assert (values[distances > CUTOFF] == 0).all()
    assert CUTOFF_FUNCTIONS[name](distances.float(), CUTOFF).dtype == torch.float32


def test_smooth_leaves_short_distances_alone():
    assert smooth_cutoff(torch.tensor([0.3 * CUTOFF], dtype=torch.float64), CUTOFF).item() > 0.98


def test_no_cutoff_is_one():
    distances = torch.tensor([0.5, 50.0])
    assert no_cutoff(distances, 0.0).tolist() == [1.0, 1.0]


def test_every_cutoff_function_states_its_promise():
    assert set(CONTINUOUS_DERIVATIVES) == set(CUTOFF_FUNCTIONS) - {"none"}
    assert CONTINUOUS_DERIVATIVES == {"cosine": 1, "smooth": 2}
