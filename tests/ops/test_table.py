"""The convolution through a table: its derivatives of every order, on every backend."""

import math

import numpy as np
import pytest
import torch
from kernel_cases import draw

from atomlens.ops.cfconv.reference import ReferenceKernels, cfconv
from atomlens.ops.cfconv.spline import SplineGrid
from atomlens.ops.cfconv.table import Lookup, spline_coefficients, table_cfconv

all_backends = pytest.mark.parametrize("kernels", ["reference", "numba", "triton"], indirect=True)
GRID = SplineGrid(4.0, 2, "smooth")


def example(kernels, device, atoms=3, pairs=5, features=2):
    """Features, table and distances that want gradients, and the convolution as a function of them."""
    case = draw(atoms, pairs, features)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(atoms, features, dtype=torch.float64, generator=generator)
    table = torch.randn(GRID.n_samples + 2, features, dtype=torch.float64, generator=generator)
    distances = torch.from_numpy(case.distances)
    centre, neighbour = (torch.from_numpy(index).to(device) for index in (case.centre, case.neighbour))
    graph = kernels.graph(centre, neighbour, atoms)

    def convolve(x, table, distances):
        return table_cfconv(x, table, distances, Lookup(GRID, graph, distances, x.dtype, kernels))

    return convolve, tuple(tensor.to(device).requires_grad_() for tensor in (x, table, distances))


@all_backends
def test_derivatives(kernels, device):
    convolve, given = example(kernels, device)
    fast = kernels.name == "triton"  # random directions instead of every input: the interpreter is slow
    assert torch.autograd.gradcheck(convolve, given, fast_mode=fast)
    assert torch.autograd.gradgradcheck(convolve, given, fast_mode=fast)


@all_backends
def test_derivatives_without_pairs(kernels, device):
    convolve, (x, table, distances) = example(kernels, device, pairs=0)
    result = convolve(x, table, distances)
    assert (result == 0).all()
    gradients = torch.autograd.grad(result.sum(), (x, table, distances))
    assert [gradient.shape for gradient in gradients] == [x.shape, table.shape, distances.shape]
    assert all((gradient == 0).all() for gradient in gradients)


@all_backends
def test_derivatives_of_coefficients(kernels, device):
    values = torch.randn(1, 7, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).to(device)
    fast = kernels.name == "triton"
    values.requires_grad_()
    assert torch.autograd.gradcheck(lambda v: spline_coefficients(v, kernels), values, fast_mode=fast)
    assert torch.autograd.gradgradcheck(lambda v: spline_coefficients(v, kernels).square(), values, fast_mode=fast)


@all_backends
def test_gradients_agree_with_the_reference(kernels, device):
    """Of a loss of forces, as in training: twice through, by features, table and distances; float32."""

    def gradients(kernels, device):
        convolve, given = example(kernels, device, atoms=6, pairs=30, features=5)
        x, table, distances = (tensor.detach().to(torch.float32).requires_grad_() for tensor in given)
        energy = convolve(torch.tanh(convolve(x, table, distances)), table, distances).square().sum()
        (force,) = torch.autograd.grad(energy, distances, create_graph=True)
        return [gradient.cpu() for gradient in torch.autograd.grad(force.square().sum(), (x, table, distances))]

    expected = gradients(ReferenceKernels(), torch.device("cpu"))
    for found, wanted in zip(gradients(kernels, device), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=0.0, atol=1e-5 * float(wanted.abs().max()))


@all_backends
def test_third_derivative(kernels, device):
    """Of an energy of atoms on a line, each derivative against differences of the one before."""
    grid = SplineGrid(4.0, 4)
    order = torch.tensor([0, 0, 1, 1, 2, 2]), torch.tensor([1, 2, 0, 2, 0, 1])
    centre, neighbour = (index.to(device) for index in order)
    graph = kernels.graph(centre, neighbour, 3)
    generator = torch.Generator().manual_seed(2)
    table = torch.randn(grid.n_samples + 2, 2, dtype=torch.float64, generator=generator).to(device)
    start = torch.tensor([0.0, 1.4, 3.9], dtype=torch.float64, device=device)  # no distance near a knot
    way = torch.tensor([0.3, -0.5, 0.8], dtype=torch.float64, device=device)

    def derivatives(step):
        t = torch.tensor(step, dtype=torch.float64, device=device, requires_grad=True)
        at = start + t * way
        distances = (at[neighbour] - at[centre]).abs()
        x = torch.stack((torch.sin(at), torch.cos(at)), dim=1)
        lookup = Lookup(grid, graph, distances, x.dtype, kernels)
        for _ in range(2):
            x = torch.tanh(table_cfconv(x, table, distances, lookup))
        found = [x.sum()]
        for _ in range(3):
            found += torch.autograd.grad(found[-1], t, create_graph=True)
        return [float(value.detach()) for value in found]

    step = 1e-4
    below, here, above = derivatives(-step), derivatives(0.0), derivatives(step)
    for order in range(3):
        assert math.isclose((above[order] - below[order]) / (2.0 * step), here[order + 1], rel_tol=1e-5)


@all_backends
def test_smooth_filters(kernels, device):
    """The interpolated convolution falls onto the one with exact filters like the fourth power of the spacing."""
    case = draw(6, 40, 2, shortest=0.1, longest=4.0)
    x = torch.randn(6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(3)).to(device)
    distances = torch.from_numpy(case.distances).to(device)
    centre, neighbour = (torch.from_numpy(index).to(device) for index in (case.centre, case.neighbour))

    def filters(d):
        return torch.stack((torch.sin(2.0 * d), torch.exp(-0.5 * d)), dim=1)

    exact, errors = cfconv(x, filters(distances), centre, neighbour), []
    sizes = [16, 32, 64]
    for intervals in sizes:
        grid = SplineGrid(4.0, intervals)
        table = spline_coefficients(filters(grid.samples)[None].to(device), kernels)[0]
        lookup = Lookup(grid, kernels.graph(centre, neighbour, 6), distances, x.dtype, kernels)
        errors.append(float((table_cfconv(x, table, distances, lookup) - exact).abs().max()))
    assert np.polyfit(np.log(sizes), np.log(errors), 1)[0] == pytest.approx(-4.0, abs=0.3)
