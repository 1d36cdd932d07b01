"""Tables of filter networks by their own kernels, against the networks under autograd."""

import copy

import pytest
import torch

from atomlens.ops.cfconv.numba_backend import NumbaKernels
from atomlens.representations.schnet import FilterNetworks, SchNetConfig
from atomlens.representations.tabulated import Tabulated

CONFIGS = {
    "12 Å": SchNetConfig(features=64, interactions=6, cutoff=12.0),
    "5 Å": SchNetConfig(features=32, interactions=2, cutoff=5.0),
    "odd": SchNetConfig(features=128, interactions=1, cutoff=4.3, gaussian_spacing=0.31, gaussian_gamma=3.0),
    "no cutoff": SchNetConfig(
        features=32, interactions=2, cutoff=None, cutoff_function="none", gaussian_range=9.0, gaussian_gamma=20.0
    ),
    "shared": SchNetConfig(features=64, interactions=3, cutoff=5.0, shared_filters=True),
}


def networks(name):
    torch.manual_seed(0)
    made = FilterNetworks(CONFIGS[name])
    for parameter in made.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    made.refine()
    return made


@pytest.mark.parametrize("name", CONFIGS)
def test_tables_and_gradients(name):
    kernels, single = NumbaKernels(), networks(name)
    double = copy.deepcopy(single).double()
    results = []
    for made, tabulate in ((single, single._tabulate), (double, double._tabulate)):
        table = tabulate(kernels)
        torch.manual_seed(1)
        cotangent = torch.randn(table.shape, dtype=torch.float64)
        gradients = torch.autograd.grad((table * cotangent).sum(), list(made.parameters()))
        results.append([table.detach(), *gradients])
    assert type(single._tabulate(kernels).grad_fn).__name__ == "_FilterTablesBackward"
    for found, exact in zip(*results, strict=True):
        assert (found - exact).abs().max() < 3e-6 * exact.abs().max()


def test_second_derivatives_go_in_steps():
    kernels, made = NumbaKernels(), networks("5 Å")
    results = []
    for tabulate in (made._tabulate, lambda kernels: Tabulated._tabulate(made, kernels)):
        first = torch.autograd.grad(tabulate(kernels).square().sum(), made.second_weight, create_graph=True)[0]
        results.append(torch.autograd.grad(first.square().sum(), list(made.parameters())))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4 * float(other.abs().max()))


def test_weights_that_are_not_contiguous():
    kernels, made = NumbaKernels(), networks("5 Å")
    expected = made._tabulate(kernels)
    made.second_weight = torch.nn.Parameter(made.second_weight.detach().transpose(1, 2).contiguous().transpose(1, 2))
    torch.testing.assert_close(made._tabulate(kernels), expected)


def test_reference_kernels_make_none():
    from atomlens.ops.cfconv import ReferenceKernels

    made = networks("5 Å")
    kernels = ReferenceKernels()
    assert not kernels.makes_filter_tables(made.first_weight)
    torch.testing.assert_close(made._tabulate(kernels), made._tabulate(NumbaKernels()), rtol=1e-5, atol=1e-6)
    with pytest.raises(NotImplementedError, match="reference kernels"):
        kernels.filter_tables(*made.parameters(), torch.zeros(1))


def test_what_does_not_fit_is_refused():
    kernels, made = NumbaKernels(), networks("5 Å")
    weights = [made.first_weight, made.first_bias, made.second_weight, made.second_bias]
    gaussians = torch.rand(30, made.first_weight.shape[1], dtype=torch.float64)
    for place, wrong in [(1, made.first_bias[:1]), (2, made.second_weight.double()), (3, made.second_bias[:, :, :16])]:
        with pytest.raises(ValueError, match="on the CPU fits"):
            kernels.filter_tables(*weights[:place], wrong, *weights[place + 1 :], gaussians)
    with pytest.raises(ValueError, match="Gaussians"):
        kernels.filter_tables(*weights, gaussians[:, 1:])
