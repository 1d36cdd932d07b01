"""The atoms' network written out, against elementary steps under autograd in float64."""

import pytest
import torch

from atomlens.ops.atom_network import atom_terms, network_in_steps
from atomlens.ops.atom_network.network import _Network

pytest.importorskip("numba")


def example(atoms, features, hidden, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = [(atoms, features), (hidden, features), (hidden,), (1, hidden), (1,)]
    sizes = [1.0, features**-0.5, 1.0, 1.0, 1.0]
    return [
        size * torch.randn(s, generator=generator, dtype=torch.float64) for s, size in zip(shapes, sizes, strict=True)
    ]


def in_steps(*inputs):
    return network_in_steps(*inputs)[0]


def trained(network, inputs):
    """Outputs, slopes by x, and gradients of a loss on both."""
    inputs = [tensor.clone().requires_grad_() for tensor in inputs]
    out = network(*inputs)
    (slopes,) = torch.autograd.grad(out.sin().sum(), inputs[0], create_graph=True)
    weights = torch.linspace(-1.0, 1.0, slopes.numel(), dtype=slopes.dtype).view(slopes.shape)
    loss = (slopes * weights).sum() + slopes.square().sum() + out.square().sum()
    return [tensor.detach() for tensor in (out, slopes, *torch.autograd.grad(loss, inputs))]


@pytest.mark.parametrize(("atoms", "features", "hidden"), [(7, 32, 16), (500, 64, 32), (70, 128, 64), (1, 48, 96)])
def test_single_precision(atoms, features, hidden):
    inputs = example(atoms, features, hidden)
    single = [tensor.float() for tensor in inputs]
    assert isinstance(atom_terms(*[t.requires_grad_() for t in single]).grad_fn, _Network._backward_cls)
    exact = trained(in_steps, inputs)
    found, plain = trained(atom_terms, [t.detach() for t in single]), trained(in_steps, [t.detach() for t in single])
    for one, other, truth in zip(found, plain, exact, strict=True):
        size = truth.abs().max()
        assert (one - truth).abs().max() / size < max(2e-6, 3.0 * float((other - truth).abs().max() / size))


def test_any_number_of_threads(monkeypatch):
    monkeypatch.setattr("atomlens.ops.numba_tools._WORK_PER_THREAD", 1000)
    inputs = [tensor.float() for tensor in example(900, 64, 32)]
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            found.append(trained(atom_terms, inputs))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(one, two) for one, two in zip(found[0], other, strict=True))


def test_gradients_of_weights_alone_and_of_features_alone():
    inputs = [tensor.float().requires_grad_() for tensor in example(20, 32, 32)]
    every = torch.autograd.grad(atom_terms(*inputs).square().sum(), inputs)
    for chosen in ([0], [1, 2], [3], [4]):
        some = torch.autograd.grad(atom_terms(*inputs).square().sum(), [inputs[place] for place in chosen])
        for place, found in zip(chosen, some, strict=True):
            torch.testing.assert_close(found, every[place])


def test_third_derivatives():
    """Where what is written out ends, elementary steps go on."""
    results = []
    for network, dtype in ((atom_terms, torch.float32), (in_steps, torch.float64)):
        inputs = [tensor.to(dtype).requires_grad_() for tensor in example(5, 16, 16)]
        (slopes,) = torch.autograd.grad(network(*inputs).sin().sum(), inputs[0], create_graph=True)
        (curvature,) = torch.autograd.grad(slopes.square().sum(), inputs[0], create_graph=True)
        results.append(torch.autograd.grad(curvature.square().sum(), inputs[:4]))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-4 * float(other.abs().max()))


def test_other_precisions_and_sizes_go_in_steps():
    for inputs in (example(5, 32, 16), [tensor.float() for tensor in example(5, 30, 15)]):
        torch.testing.assert_close(atom_terms(*inputs), in_steps(*inputs), rtol=0.0, atol=0.0)


def test_what_fits_no_kernel_is_left_to_torch():
    """Kernels compute with addresses: arrays of other sizes, strides or precisions must not reach them."""
    x, first, first_bias, second, second_bias = (tensor.float() for tensor in example(6, 64, 32))
    expected = in_steps(x, first, first_bias, second, second_bias)
    strided = torch.stack([first_bias, first_bias], dim=1)[:, 0]
    torch.testing.assert_close(atom_terms(x, first, strided, second, second_bias), expected)
    torch.testing.assert_close(atom_terms(x.T.contiguous().T, first, first_bias, second, second_bias), expected)
    for wrong in (x[:, :32], torch.cat([x, x], dim=1)):
        with pytest.raises(RuntimeError, match="shapes"):
            atom_terms(wrong, first, first_bias, second, second_bias)
    with pytest.raises(RuntimeError, match=r"dtype|Float|Double"):
        atom_terms(x, first, first_bias.double(), second, second_bias)
    whole = first_bias[:1].expand(32)
    torch.testing.assert_close(
        atom_terms(x, first, whole, second, second_bias), in_steps(x, first, whole, second, second_bias)
    )
    stacked = torch.stack([x, x])
    torch.testing.assert_close(
        atom_terms(stacked, first, first_bias, second, second_bias), torch.stack([expected, expected])
    )
    assert atom_terms(x[:0], first, first_bias, second, second_bias).shape == (0, 1)
