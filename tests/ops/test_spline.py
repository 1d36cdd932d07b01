"""Uniform cubic splines against scipy and against what they interpolate."""

import math

import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline

from atomlens.ops.cfconv.spline import GHOSTS, SplineGrid, basis, interpolation_matrix
from atomlens.ops.radial import CUTOFF_FUNCTIONS

END = 5.0
GRID = SplineGrid(END, 8)
FADES = ["none", "cosine", "smooth"]


@pytest.mark.parametrize("order", range(5))
def test_basis_against_scipy(order):
    """The B-spline on knots 0 … 4 from right to left: the m-th of four lies 3 - m intervals before the point."""
    u = torch.linspace(0.001, 0.999, 50, dtype=torch.float64)
    b_spline = BSpline.basis_element(np.arange(5.0), extrapolate=False)
    for m, found in enumerate(basis(u, order)):
        points = u.numpy() + 3 - m
        expected = b_spline.derivative(order)(points) if 0 < order < 4 else b_spline(points) * (order == 0)
        np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("order", range(5))
def test_basis_keeps_nan(order):
    assert all(found.isnan().all() for found in basis(torch.tensor([math.nan]), order))


@pytest.mark.parametrize("fade", FADES)
def test_partition_of_unity(fade):
    """The four weights together are the cutoff function, their derivatives are its derivatives."""
    grid = SplineGrid(END, 8, fade)
    distances = torch.linspace(0.0, 1.5 * END, 200, dtype=torch.float64, requires_grad=True)
    _, fraction = grid.locate(distances)
    expected = CUTOFF_FUNCTIONS[fade](distances, END)
    for order in range(4):
        sums = grid.weights(distances, fraction, order, torch.float64).sum(dim=1)
        torch.testing.assert_close(sums, expected.detach(), rtol=0, atol=1e-13 * grid.spacing**-order)
        (expected,) = torch.autograd.grad(expected.sum() + 0.0 * distances.sum(), distances, create_graph=True)


@pytest.mark.parametrize("fade", FADES)
@pytest.mark.parametrize("order", range(4))
def test_derivatives_of_faded_splines(fade, order):
    """Of fade times scipy's spline, by the product rule; inside intervals, where all of them exist."""
    grid = SplineGrid(END, 8, fade)
    table = np.random.default_rng(0).normal(size=grid.n_samples + 2)
    knots = grid.spacing * np.arange(-GHOSTS - 3, grid.intervals + GHOSTS + 4)
    spline = BSpline(knots, table, 3)
    distances = torch.linspace(0.01, 0.99 * END, 97, dtype=torch.float64, requires_grad=True)
    fades = [CUTOFF_FUNCTIONS[fade](distances, END)]
    for _ in range(order):
        total = fades[-1].sum() + 0.0 * distances.sum()
        fades += torch.autograd.grad(total, distances, create_graph=True)
    at = distances.detach().numpy()
    terms = [fades[k].detach().numpy() * spline(at, nu=order - k) for k in range(order + 1)]
    expected = sum(math.comb(order, k) * term for k, term in enumerate(terms))
    place, fraction = grid.locate(distances)
    weights = grid.weights(distances, fraction, order, torch.float64).numpy()
    found = (weights * table[place.numpy()[:, None] + np.arange(4)]).sum(axis=1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


def test_samples():
    assert GRID.samples.shape == (GRID.n_samples,)
    assert GRID.samples.dtype == torch.float64
    assert GRID.samples[GHOSTS] == 0.0
    assert GRID.samples[-1 - GHOSTS] == END
    torch.testing.assert_close(GRID.samples.diff(), torch.full((GRID.n_samples - 1,), GRID.spacing).double())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_locate(dtype):
    """From the distance's interval and the place in it the distance comes back, up to the end."""
    grid = GRID
    distances = torch.tensor([0.0, 0.3, grid.spacing, 4.999, END, 1.01 * END, 100.0, math.inf], dtype=dtype)
    place, fraction = grid.locate(distances)
    assert place.dtype == torch.int32
    assert place[:3].tolist() == [GHOSTS, GHOSTS, GHOSTS + 1]
    assert ((fraction >= 0) & (fraction <= 1)).all()
    back = (place - GHOSTS + fraction) * grid.spacing
    torch.testing.assert_close(back, distances.clamp(max=END), rtol=1e-6, atol=1e-6)
    assert (place >= 0).all()
    assert (place + 3 < grid.n_samples + 2).all()  # four rows of the table


@pytest.mark.parametrize("fade", FADES)
def test_nan_stays_nan(fade):
    """The place is one in the table, the weights are NaN."""
    grid, distances = SplineGrid(END, 8, fade), torch.tensor([1.0, math.nan])
    place, fraction = grid.locate(distances)
    assert 0 <= place[1] < grid.n_samples - 1
    for order in range(4):
        weights = grid.weights(distances, fraction, order, torch.float32)
        assert weights.isnan().tolist() == [[False] * 4, [True] * 4]


@pytest.mark.parametrize("fade", FADES)
def test_weights_at_and_beyond_the_end(fade):
    """Zero for a function that fades, from the end on; else the value of the end and no slope."""
    grid = SplineGrid(END, 8, fade)
    distances = torch.tensor([END - 1e-9, END, END + 1e-9, 3.0 * END, math.inf], dtype=torch.float64)
    place, fraction = grid.locate(distances)
    table = torch.linspace(0.0, 1.0, grid.n_samples + 2, dtype=torch.float64)
    rows = table[place[:, None] + torch.arange(4)]
    values, slopes, curvatures = (
        (grid.weights(distances, fraction, order, torch.float64) * rows).sum(dim=1) for order in range(3)
    )
    if fade == "none":
        assert values[0] > 0.5
        torch.testing.assert_close(values[1:], values[:1].expand(4), rtol=0, atol=1e-8)
        assert (slopes[:2] > 0.0).all()  # at the end, the derivative from inside
        assert (slopes[2:] == 0.0).all()
    else:
        assert (torch.stack((values, slopes, curvatures))[:, 1:] == 0.0).all()


@pytest.mark.parametrize("samples", [22, 60])
def test_interpolation_matrix(samples):
    """The spline goes through the values, and its ends are free: no curvature."""
    matrix = interpolation_matrix(samples)
    np.testing.assert_allclose((matrix[:-2] + 4 * matrix[1:-1] + matrix[2:]) / 6, np.eye(samples), atol=1e-14)
    for end in (matrix[0] - 2 * matrix[1] + matrix[2], matrix[-1] - 2 * matrix[-2] + matrix[-3]):
        np.testing.assert_allclose(end, 0.0, atol=1e-14)


@pytest.mark.parametrize(("order", "expected"), [(0, 4.0), (1, 3.0), (2, 2.0)])
@pytest.mark.parametrize(
    ("where", "fade"),
    [*(("everywhere", fade) for fade in FADES), ("first interval", "none"), ("last interval", "none")],
)
def test_order_of_convergence(order, expected, where, fade):
    """The largest error over [0, end] falls with the spacing's power 4 - n, as fast at the ends as between."""
    first, last = {"first interval": (0.0, END / 32), "last interval": (END * 31 / 32, END)}.get(where, (0.0, END))
    distances = torch.linspace(first, last, 5_003, dtype=torch.float64)[:-1]

    def function(d):
        return torch.exp(-d) * torch.sin(3.0 * d)

    at = distances.clone().requires_grad_()
    exact = function(at) * CUTOFF_FUNCTIONS[fade](at, END)
    for _ in range(order):
        (exact,) = torch.autograd.grad(exact.sum(), at, create_graph=True)
    intervals, errors = [32, 64, 128, 256], []
    for count in intervals:
        grid = SplineGrid(END, count, fade)
        table = torch.from_numpy(interpolation_matrix(grid.n_samples)) @ function(grid.samples)
        place, fraction = grid.locate(distances)
        weights = grid.weights(distances, fraction, order, torch.float64)
        found = (weights * table[place[:, None] + torch.arange(4)]).sum(dim=1)
        errors.append(float((found - exact.detach()).abs().max()))
    fitted = -np.polyfit(np.log(intervals), np.log(errors), 1)[0]
    assert fitted == pytest.approx(expected, abs=0.2)
