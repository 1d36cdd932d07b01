import numpy as np
import pytest
import torch

from atomlens.errors import InputError
from atomlens.ops.activations import shifted_softplus
from atomlens.readouts import AtomNetwork, AtomNetworkConfig

NUMBERS = torch.tensor([8, 1, 1, 6, 8])


def network(elements=(1, 6, 8), outputs=1, features=5, **config):
    torch.manual_seed(0)
    made = AtomNetwork(AtomNetworkConfig.parse(config), features, outputs, elements).double()
    for name, parameter in made.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter)
    return made


def features(width=5):
    return torch.from_numpy(np.random.default_rng(1).normal(size=(len(NUMBERS), width)))


def by_formula(layers, x, activation):
    """W_n a(… a(W_1 x + b_1) …) + b_n in numpy."""
    *hidden, last = [(layer.weight.detach().numpy(), layer.bias.detach().numpy()) for layer in layers]
    for weight, bias in hidden:
        x = activation(weight @ x + bias)
    return last[0] @ x + last[1]


@pytest.mark.parametrize(
    ("config", "shapes"),
    [
        ({}, [(2, 5), (1, 2)]),
        ({"hidden": 7}, [(7, 5), (1, 7)]),
        ({"hidden": [4, 3]}, [(4, 5), (3, 4), (1, 3)]),
        ({"hidden": []}, [(1, 5)]),
    ],
    ids=str,
)
def test_widths(config, shapes):
    assert [tuple(layer.weight.shape) for layer in network(**config).layers] == shapes


def test_half_of_one_feature_is_one():
    assert AtomNetworkConfig().widths(1) == [1]


@pytest.mark.parametrize(
    ("activation", "function"),
    [("shifted_softplus", lambda x: np.log(0.5 * np.exp(x) + 0.5)), ("tanh", np.tanh)],
)
def test_activations_follow_every_layer_but_the_last(activation, function):
    made = network(hidden=[4, 3], activation=activation, outputs=2)
    found = made(features(), NUMBERS).detach().numpy()
    expected = [by_formula(made.layers, x, function) for x in features().numpy()]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_per_element_is_a_separate_network_for_each():
    made = network(networks="per_element", hidden=[4, 3], outputs=2)
    found = made(features(), NUMBERS)
    for row, (x, number) in enumerate(zip(features(), NUMBERS.tolist(), strict=True)):
        layers = made.per_element[str(number)]
        y = x[None]
        for layer in layers[:-1]:
            y = shifted_softplus(layer(y))
        torch.testing.assert_close(found[row], layers[-1](y)[0], rtol=1e-14, atol=1e-14)
    weights = [layers[0].weight for layers in made.per_element.values()]
    assert not torch.equal(weights[0], weights[1])


def test_networks_of_elements_learn_from_their_own_atoms_alone():
    made = network(networks="per_element")
    made(features(), NUMBERS)[NUMBERS == 6].sum().backward()
    for number, layers in made.per_element.items():
        moved = any(bool(layer.weight.grad.any()) for layer in layers)
        assert moved == (number == "6")


def test_an_absent_element_has_a_zero_gradient_and_not_none():
    made = network(networks="per_element")
    numbers = torch.tensor([8, 1, 1, 8, 8])
    made(features(), numbers).square().sum().backward()
    for parameter in made.per_element["6"].parameters():
        assert parameter.grad is not None
        assert not parameter.grad.any()
    assert all(parameter.grad.any() for parameter in made.per_element["8"].parameters())


def test_order_of_atoms_does_not_matter():
    made, order = network(networks="per_element"), torch.tensor([3, 0, 4, 2, 1])
    torch.testing.assert_close(made(features()[order], NUMBERS[order]), made(features(), NUMBERS)[order])


@pytest.mark.parametrize("hidden", [0, -3, [4, 0]])
def test_widths_below_one_are_refused(hidden):
    with pytest.raises(InputError, match="'hidden' takes widths of at least 1"):
        AtomNetworkConfig.parse({"hidden": hidden})


@pytest.mark.parametrize(("key", "value"), [("activation", "relu"), ("networks", "both")])
def test_unknown_options_are_refused(key, value):
    with pytest.raises(InputError, match=key):
        AtomNetworkConfig.parse({key: value})


def test_layers_that_were_wrapped_or_are_listened_to_are_asked():
    """Kernels compute with the weights of plain layers alone; any other layer is called."""
    network = AtomNetwork(AtomNetworkConfig(), 32, 1, (6,))
    x, numbers = torch.randn(5, 32), torch.full((5,), 6)
    plain = network(x, numbers)
    calls = []
    handle = network.layers[0].register_forward_hook(lambda *_: calls.append(1))
    torch.testing.assert_close(network(x, numbers), plain)
    assert calls == [1]
    assert network.with_slopes(x, torch.tensor(1.0)) is None
    handle.remove()
    torch.nn.utils.parametrizations.weight_norm(network.layers[0])
    torch.testing.assert_close(network(x, numbers), plain)
    network.layers[0].parametrizations.weight.original0.data *= 2.0
    assert not torch.allclose(network(x, numbers), plain)


def test_slopes_outside_of_autograd():
    network = AtomNetwork(AtomNetworkConfig(), 64, 1, (6,))
    x, numbers, scale = torch.randn(5, 64).requires_grad_(), torch.full((5,), 6), torch.tensor(2.5, dtype=torch.float64)
    expected = network(x, numbers)
    (slopes,) = torch.autograd.grad(2.5 * expected.sum(), x)
    found = network.with_slopes(x.detach(), scale)
    torch.testing.assert_close(found[0], expected.detach())
    torch.testing.assert_close(found[1], slopes)
    assert network.double().with_slopes(x.detach().double(), scale) is None
