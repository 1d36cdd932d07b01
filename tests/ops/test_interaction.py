"""The interaction block written out, against the same block in elementary steps under autograd."""

import pytest
import torch

from atomlens.ops.cfconv import InteractionStep, Lookup, ReferenceKernels, SplineGrid, interaction
from atomlens.ops.cfconv.interaction import interaction_in_steps
from atomlens.ops.cfconv.numba_backend import NumbaKernels

ATOMS, PAIRS, FEATURES = 5, 14, 3


def example(kernels, fade="smooth", seed=0):
    """Arguments of a block: float64 tensors that require gradients, and the lookup. Two pairs lie beyond the cutoff."""
    torch.manual_seed(seed)
    centre = torch.randint(0, ATOMS - 1, (PAIRS,)).sort().values  # the last atom hears nobody
    neighbour = torch.randint(0, ATOMS, (PAIRS,))
    distances = torch.linspace(0.7, 4.4, PAIRS, dtype=torch.float64)[torch.randperm(PAIRS)]
    grid = SplineGrid(4.0, 16, fade)
    shapes = [(ATOMS, FEATURES), None, (grid.n_samples + 2, FEATURES), *[(FEATURES, FEATURES)] * 2]
    shapes += [(FEATURES,), (FEATURES, FEATURES), (FEATURES,)]
    tensors = [distances if shape is None else torch.randn(shape, dtype=torch.float64) for shape in shapes]
    lookup = Lookup(grid, kernels.graph(centre, neighbour, ATOMS), distances, torch.float64, kernels)
    return [tensor.requires_grad_() for tensor in tensors], lookup


@pytest.fixture(params=[ReferenceKernels, NumbaKernels], ids=lambda kind: kind.name)
def kernels(request):
    return request.param()


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("fade", ["smooth", "cosine", "none"])
def test_value_and_gradients(kernels, fade):
    inputs, lookup = example(kernels, fade)
    found, expected = interaction(*inputs, lookup), interaction_in_steps(*inputs, lookup)[0]
    close(found, expected)
    cotangent = torch.randn_like(found)
    for one, other in zip(
        torch.autograd.grad(found, inputs, cotangent), torch.autograd.grad(expected, inputs, cotangent), strict=True
    ):
        close(one, other)


def energy(block, inputs, lookup):
    """A stand-in for a network: two blocks and a curved readout."""
    x, distances, table, *weights = inputs
    for _ in range(2):
        x = block(x, distances, table, *weights, lookup)
        x = x if isinstance(x, torch.Tensor) else x[0]
    return x.sin().sum()


@pytest.mark.parametrize("fade", ["smooth", "none"])
def test_training_on_forces(kernels, fade):
    """Gradients by weights, table and features of a loss on ∂E/∂d, as in force training, and the Hessian by d."""
    inputs, lookup = example(kernels, fade)
    results = []
    for block in (interaction, interaction_in_steps):
        (slopes,) = torch.autograd.grad(energy(block, inputs, lookup), [inputs[1]], create_graph=True)
        loss = (slopes * torch.linspace(0.5, 1.5, PAIRS, dtype=torch.float64)).square().sum()
        results.append([slopes, *torch.autograd.grad(loss, inputs)])
    for one, other in zip(*results, strict=True):
        close(one, other)


def test_only_what_is_asked_for(kernels):
    """A backward pass for the weights alone gives the same weights' gradients."""
    inputs, lookup = example(kernels)
    (slopes,) = torch.autograd.grad(energy(interaction, inputs, lookup), [inputs[1]], create_graph=True)
    loss = slopes.square().sum()
    every = torch.autograd.grad(loss, inputs, retain_graph=True)
    loss.backward(inputs=inputs[3:])
    assert inputs[0].grad is None
    assert inputs[1].grad is None
    for tensor, expected in zip(inputs[3:], every[3:], strict=True):
        close(tensor.grad, expected)


def test_third_derivatives(kernels):
    """Training on Hessians: what is written out ends at second order, and elementary steps go on."""
    inputs, lookup = example(kernels)
    results = []
    for block in (interaction, interaction_in_steps):
        (slopes,) = torch.autograd.grad(energy(block, inputs, lookup), [inputs[1]], create_graph=True)
        (curvature,) = torch.autograd.grad(slopes.square().sum(), [inputs[1]], create_graph=True)
        results.append([curvature, *torch.autograd.grad(curvature.square().sum(), inputs)])
    for one, other in zip(*results, strict=True):
        close(one, other)


def test_torchs_own_checks(kernels):
    inputs, lookup = example(kernels)

    def block(*inputs):
        return interaction(*inputs, lookup)

    inputs[1] = inputs[1].detach()  # the lookup holds the places; differences by distance are taken below
    assert torch.autograd.gradcheck(block, inputs)
    assert torch.autograd.gradgradcheck(block, inputs)


def test_slopes_by_distance_against_differences(kernels):
    """∂E/∂d against central differences that look every distance up anew."""
    inputs, lookup = example(kernels)
    (slopes,) = torch.autograd.grad(energy(interaction, inputs, lookup), [inputs[1]])
    step, numerical = 1e-5, torch.empty(PAIRS, dtype=torch.float64)
    for pair in range(PAIRS):
        ends = []
        for way in (step, -step):
            moved = inputs[1].detach().clone()
            moved[pair] += way
            there = Lookup(lookup.grid, lookup.graph, moved, torch.float64, lookup.kernels)
            ends.append(energy(interaction, [inputs[0], moved, *inputs[2:]], there).detach())
        numerical[pair] = (ends[0] - ends[1]) / (2.0 * step)
    torch.testing.assert_close(slopes, numerical, rtol=1e-6, atol=1e-8)  # (1e-5)² times third derivatives


def test_passes_outside_of_autograd(kernels):
    inputs, lookup = example(kernels)
    x, distances, table, *weights = inputs
    expected = interaction(*inputs, lookup)
    cotangent = torch.randn_like(expected)
    by_x, by_distance = torch.autograd.grad(expected, [x, distances], cotangent)
    with torch.no_grad():
        step = InteractionStep(table, *weights, lookup)
        close(step.forward(x), expected)
        found = torch.zeros_like(distances)
        close(step.backward(cotangent, found, last=False), by_x)
        close(found, by_distance)
        assert step.backward(cotangent, found, last=True) is cotangent


def test_what_does_not_fit_is_refused(kernels):
    inputs, lookup = example(kernels)
    with pytest.raises(ValueError, match="fits 5 atoms"):
        interaction(inputs[0][:-1], *inputs[1:], lookup)
    with pytest.raises(ValueError, match="fits 5 atoms"):
        interaction(*inputs[:2], inputs[2][:-1], *inputs[3:], lookup)
    with pytest.raises(ValueError, match=r"of torch.float32 where"):
        lookup.convolve(inputs[0].float(), inputs[2], 0)
    with pytest.raises(ValueError, match="fits 5 atoms"):
        lookup.convolve(inputs[0], inputs[2], 0, inputs[1][:3])
    with pytest.raises(ValueError, match="fits 5 atoms"):
        lookup.table_gradient(inputs[0][:-1], inputs[0], 0)
    with pytest.raises(ValueError, match="3 distances for 14 pairs"):
        Lookup(lookup.grid, lookup.graph, inputs[1][:3], torch.float64, kernels)
    with pytest.raises(IndexError, match="atom 7 of 5"):
        kernels.graph(torch.tensor([0]), torch.tensor([7]), ATOMS)
