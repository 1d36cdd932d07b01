"""The messages with factors from a table: against the definition, and their derivatives to third order."""

import numpy as np
import pytest
import torch
from kernel_backends import backend
from kernel_cases import CASES

from atomlens.ops.cfconv import kernels_for
from atomlens.ops.tensor_layer import MessageStep, PairLookup, messages, table_messages

CHOSEN = ["any", "one feature", "stays beyond the end", "all too far", "no pairs", "no atoms"]
FEATURES = 3


def make(name, *, scaled, kernels=None):
    case = CASES[name]
    random = np.random.default_rng(4)
    dtype = torch.float64
    kernels = kernels or kernels_for(torch.device("cpu"), dtype)
    centre, neighbour = torch.from_numpy(case.centre), torch.from_numpy(case.neighbour)
    graph = kernels.graph(centre, neighbour, case.atoms)
    distances = torch.from_numpy(case.distances)
    pairs = PairLookup(case.grid, graph, distances, dtype, kernels)

    def draw(*shape):
        return torch.from_numpy(random.normal(size=shape)).to(dtype).requires_grad_()

    heard, table = draw(case.atoms, case.features), draw(case.grid.n_samples + 2, case.features)
    scale = draw(len(distances)) if scaled else None
    return (heard, distances.requires_grad_(), table, draw(FEATURES, case.features), scale), pairs


def factors(table, pairs):
    """w(d_p) by the weights of the lookup."""
    rows = pairs.lookup.place[:, None].long() + torch.arange(4)
    return torch.einsum("pm,pmk->pk", pairs.lookup.weights(0), table[rows])


@pytest.mark.parametrize("kind", ["reference", "numba", "triton"])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("name", CHOSEN)
def test_sums_and_slopes_are_the_definitions(name, scaled, kind):
    ends = torch.from_numpy(CASES[name].centre), torch.from_numpy(CASES[name].neighbour)
    with backend(kind) as kernels:
        inputs, pairs = make(name, scaled=scaled, kernels=kernels)
        heard, _, table, weight, scale = inputs
        given = [value for value in (heard, table, weight, scale) if value is not None]
        found = table_messages(*inputs, pairs)
        slopes = torch.autograd.grad(found.square().sum(), given)
        step = MessageStep(table.detach(), weight.detach(), None if scale is None else scale.detach(), pairs)
        stepped = step.forward(heard.detach())
        expected = messages(heard, factors(table, pairs), weight, scale, *ends)
    expected_slopes = torch.autograd.grad(expected.square().sum(), given)
    torch.testing.assert_close([found, stepped], [expected, expected], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(slopes, expected_slopes, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("name", CHOSEN[:-2])
def test_derivatives(name, scaled):
    """Under torch's own tests, by every input; third derivatives by distance jump at knots, so distances stay there."""
    inputs, pairs = make(name, scaled=scaled)
    heard, distances, table, weight, scale = inputs

    def sums(*varied):
        full = (varied[0], distances, *varied[1:]) if scaled else (varied[0], distances, *varied[1:], None)
        return table_messages(*full, pairs)

    varied = [heard, table, weight, *([scale] if scaled else [])]
    assert torch.autograd.gradcheck(sums, varied, check_undefined_grad=False)
    assert torch.autograd.gradgradcheck(sums, varied, check_undefined_grad=False)

    def slopes(*varied):
        return torch.autograd.grad(sums(*varied).square().sum(), varied[0], create_graph=True)[0]

    assert torch.autograd.gradgradcheck(slopes, varied, check_undefined_grad=False)


def third_order(messages_of, inputs):
    """All gradients of a loss on slopes by distance and scale, and the gradients of their sum of squares."""
    given = [value for value in inputs if value is not None]
    sums = messages_of(*inputs)
    by = [inputs[0], inputs[1]] + ([inputs[4]] if inputs[4] is not None else [])
    first = torch.autograd.grad(sums.pow(2).sum(), by, create_graph=True, materialize_grads=True)
    loss = sum(slope.square().sum() for slope in first) + sums.sum()
    second = torch.autograd.grad(loss, given, create_graph=True, materialize_grads=True)
    third = torch.autograd.grad(sum(part.square().sum() for part in second), given, materialize_grads=True)
    return [*first, *second, *third]


@pytest.mark.parametrize("scaled", [False, True])
def test_written_out_derivatives_are_those_in_steps(scaled):
    """With distances: the table's own slopes take the place of differences."""
    inputs, pairs = make("any", scaled=scaled)

    def in_steps(heard, distances, table, weight, scale):
        sent = torch.tanh(_products(heard, distances, table, pairs) @ weight.T)
        sent = sent if scale is None else sent * scale[:, None]
        centre = torch.from_numpy(CASES["any"].centre)
        return torch.zeros(heard.shape[0], FEATURES, dtype=torch.float64).index_add(0, centre, sent)

    found = third_order(lambda *args: table_messages(*args, pairs), inputs)
    expected = third_order(in_steps, inputs)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9 * float(theirs.detach().abs().max()))


def _products(heard, distances, table, pairs):
    """h_j ∘ w(d): a Taylor series about where the lookup is, good for derivatives up to the fourth by distance."""
    rows = pairs.lookup.place[:, None].long() + torch.arange(4)
    away = distances - distances.detach()
    total = 0.0
    for order, factorial in enumerate((1.0, 1.0, 2.0, 6.0)):
        weights = pairs.lookup.weights(order) * (away**order / factorial)[:, None]
        total = total + torch.einsum("pm,pmk->pk", weights, table[rows])
    return heard[torch.from_numpy(CASES["any"].neighbour)] * total


def test_gradients_needed_alone_are_the_same():
    """Training on energies asks for no distances, forces for no weights."""
    inputs, pairs = make("any", scaled=True)
    full = torch.autograd.grad(table_messages(*inputs, pairs).square().sum(), inputs)
    for value, expected in zip(inputs, full, strict=True):
        (alone,) = torch.autograd.grad(table_messages(*inputs, pairs).square().sum(), value)
        torch.testing.assert_close(alone, expected, rtol=1e-12, atol=1e-12)


def test_what_does_not_fit_is_refused():
    inputs, pairs = make("any", scaled=False)
    with pytest.raises(ValueError, match="fits"):
        table_messages(inputs[0][:-1], *inputs[1:], pairs)
