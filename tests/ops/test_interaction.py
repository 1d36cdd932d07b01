"""The interaction blocks written out, against the same blocks in elementary steps under autograd."""

import numpy as np
import pytest
import torch

from atomlens.ops.cfconv import Layers, Lookup, ReferenceKernels, SplineGrid, interactions
from atomlens.ops.cfconv.interaction import interactions_in_steps
from atomlens.ops.cfconv.numba_backend import NumbaKernels
from atomlens.ops.cfconv.numba_passes import WIDTHS, NumbaPasses, halves_of
from atomlens.ops.cfconv.passes import Passes
from atomlens.ops.cfconv.row_kernels import closed_pieces

ATOMS, PAIRS, FEATURES, FILTERS, BLOCKS = 5, 14, 3, 4, 2


def example(kernels, fade="smooth", seed=0, tables=BLOCKS):
    """Arguments of blocks: float64 tensors that require gradients, and the lookup. Two pairs lie beyond the cutoff."""
    torch.manual_seed(seed)
    centre = torch.randint(0, ATOMS - 1, (PAIRS,)).sort().values  # the last atom hears nobody
    neighbour = torch.randint(0, ATOMS, (PAIRS,))
    distances = torch.linspace(0.7, 4.4, PAIRS, dtype=torch.float64)[torch.randperm(PAIRS)]
    grid = SplineGrid(4.0, 16, fade)
    shapes = [(ATOMS, FEATURES), None, (tables, grid.n_samples + 2, FILTERS), (BLOCKS, FILTERS, FEATURES)]
    shapes += [(BLOCKS, FEATURES, FILTERS), (BLOCKS, FEATURES), (BLOCKS, FEATURES, FEATURES), (BLOCKS, FEATURES)]
    tensors = [distances if shape is None else torch.randn(shape, dtype=torch.float64) for shape in shapes]
    lookup = Lookup(grid, kernels.graph(centre, neighbour, ATOMS), distances, torch.float64, kernels)
    return [tensor.requires_grad_() for tensor in tensors], lookup


def blocks_written_out(x, distances, tables, *rest):
    """`interactions` with its layers one by one."""
    *layers, lookup = rest
    return interactions(x, distances, tables, Layers(*layers), lookup)


def blocks_in_steps(*inputs):
    return interactions_in_steps(*inputs)[0]


@pytest.fixture(params=[ReferenceKernels, NumbaKernels], ids=lambda kind: kind.name)
def kernels(request):
    return request.param()


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("fade", "tables"), [("smooth", 2), ("cosine", 2), ("none", 1)])
def test_value_and_gradients(kernels, fade, tables):
    inputs, lookup = example(kernels, fade, tables=tables)
    found, expected = blocks_written_out(*inputs, lookup), blocks_in_steps(*inputs, lookup)
    close(found, expected)
    cotangent = torch.randn_like(found)
    for one, other in zip(
        torch.autograd.grad(found, inputs, cotangent), torch.autograd.grad(expected, inputs, cotangent), strict=True
    ):
        close(one, other)


def energy(blocks, inputs, lookup):
    """A stand-in for a network: the blocks and a curved readout."""
    return blocks(*inputs, lookup).sin().sum()


@pytest.mark.parametrize(("fade", "tables"), [("smooth", 2), ("none", 1)])
def test_training_on_forces(kernels, fade, tables):
    """Gradients by weights, table and features of a loss on ∂E/∂d, as in force training, and the Hessian by d."""
    inputs, lookup = example(kernels, fade, tables=tables)
    results = []
    for block in (blocks_written_out, blocks_in_steps):
        (slopes,) = torch.autograd.grad(energy(block, inputs, lookup), [inputs[1]], create_graph=True)
        loss = (slopes * torch.linspace(0.5, 1.5, PAIRS, dtype=torch.float64)).square().sum()
        results.append([slopes, *torch.autograd.grad(loss, inputs)])
    for one, other in zip(*results, strict=True):
        close(one, other)


def test_only_what_is_asked_for(kernels):
    """A backward pass for the weights alone gives the same weights' gradients."""
    inputs, lookup = example(kernels)
    (slopes,) = torch.autograd.grad(energy(blocks_written_out, inputs, lookup), [inputs[1]], create_graph=True)
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
    for block in (blocks_written_out, blocks_in_steps):
        (slopes,) = torch.autograd.grad(energy(block, inputs, lookup), [inputs[1]], create_graph=True)
        (curvature,) = torch.autograd.grad(slopes.square().sum(), [inputs[1]], create_graph=True)
        results.append([curvature, *torch.autograd.grad(curvature.square().sum(), inputs)])
    for one, other in zip(*results, strict=True):
        close(one, other)


def test_torchs_own_checks(kernels):
    inputs, lookup = example(kernels)

    def block(*inputs):
        return blocks_written_out(*inputs, lookup)

    inputs[1] = inputs[1].detach()  # the lookup holds the places; differences by distance are taken below
    assert torch.autograd.gradcheck(block, inputs)
    assert torch.autograd.gradgradcheck(block, inputs)


def test_slopes_by_distance_against_differences(kernels):
    """∂E/∂d against central differences that look every distance up anew."""
    inputs, lookup = example(kernels)
    (slopes,) = torch.autograd.grad(energy(blocks_written_out, inputs, lookup), [inputs[1]])
    step, numerical = 1e-5, torch.empty(PAIRS, dtype=torch.float64)
    for pair in range(PAIRS):
        ends = []
        for way in (step, -step):
            moved = inputs[1].detach().clone()
            moved[pair] += way
            there = Lookup(lookup.grid, lookup.graph, moved, torch.float64, lookup.kernels)
            ends.append(energy(blocks_written_out, [inputs[0], moved, *inputs[2:]], there).detach())
        numerical[pair] = (ends[0] - ends[1]) / (2.0 * step)
    torch.testing.assert_close(slopes, numerical, rtol=1e-6, atol=1e-8)  # (1e-5)² times third derivatives


def test_passes_outside_of_autograd(kernels):
    inputs, lookup = example(kernels)
    x, distances, tables, *layers = inputs
    expected = blocks_written_out(*inputs, lookup)
    cotangent = torch.randn_like(expected)
    by_x, by_distance = torch.autograd.grad(expected, [x, distances], cotangent)
    with torch.no_grad():
        passes = kernels.passes(tables, Layers(*layers), lookup)
        made = passes.forward(x, keep=False)
        close(made.out, expected)
        close(passes.slopes(made, cotangent), by_distance)
        back = passes.back(cotangent, made, distances=True)
        close(back.by_x, by_x)
        close(back.by_distance, by_distance)


def molecules(atoms, generator, size=7):
    """All pairs within groups of ``size`` atoms, in no order, with their distances: each has its reverse."""
    group = torch.arange(atoms) // size
    centre, neighbour = torch.nonzero((group[:, None] == group) & ~torch.eye(atoms, dtype=torch.bool)).T
    order = torch.randperm(len(centre), generator=generator)
    positions = 3.0 * torch.rand(atoms, 3, dtype=torch.float64, generator=generator)
    centre, neighbour = centre[order], neighbour[order]
    return centre, neighbour, torch.linalg.vector_norm(positions[neighbour] - positions[centre], dim=1) + 0.3


def network(width, atoms, blocks, *, tables=None, pairs):
    """Random blocks in float64, and what a lookup is made of; ``pairs``: 'mutual', 'in pieces', or 'across'."""
    generator = torch.Generator().manual_seed(width + atoms)
    count = 6 * atoms

    def normal(*shape, size=1.0):
        return size * torch.randn(*shape, dtype=torch.float64, generator=generator)

    if pairs == "mutual":
        centre, neighbour, distances = molecules(atoms, generator)
    else:
        centre = torch.randint(0, atoms, (count,), generator=generator).sort().values
        neighbour = torch.randint(0, atoms if pairs == "across" else 7, (count,), generator=generator)
        neighbour = neighbour if pairs == "across" else (centre // 7 * 7 + neighbour).clamp(max=atoms - 1)
        distances = 0.5 + 4.0 * torch.rand(count, dtype=torch.float64, generator=generator)
    grid = SplineGrid(4.2, 32, "smooth")
    table = normal(tables or blocks, grid.n_samples + 2, width, size=0.3)
    square = [normal(blocks, width, width, size=width**-0.5) for _ in range(3)]
    layers = Layers(square[0], square[1], normal(blocks, width), square[2], normal(blocks, width))
    return [normal(atoms, width), distances, table, *layers], (grid, centre, neighbour)


def trained(inputs, places, dtype, kernels, *, passes=None):
    """Features, slopes, and the gradients of a loss on slopes and features by every input, in float64."""
    grid, centre, neighbour = places
    inputs = [t.clone() if at == 1 else t.to(dtype) for at, t in enumerate(inputs)]  # distances stay in float64
    inputs = [tensor.requires_grad_() for tensor in inputs]
    lookup = Lookup(grid, kernels.graph(centre, neighbour, len(inputs[0])), inputs[1], dtype, kernels)
    if passes is not None:
        assert type(kernels.passes(inputs[2], Layers(*inputs[3:]), lookup)) is passes
    out = blocks_written_out(*inputs, lookup)
    by_x, slopes = torch.autograd.grad(out.double().sin().sum(), inputs[:2], create_graph=True)
    weights = torch.linspace(-1.0, 1.0, len(slopes), dtype=torch.float64)
    loss = (slopes * weights).sum() + slopes.square().sum() + out.double().square().sum() + by_x.double().sin().sum()
    return [tensor.detach() for tensor in (out, slopes, *torch.autograd.grad(loss, inputs))]


CASES = [
    (32, 41, 1, None, "in pieces"),
    (64, 300, 3, None, "in pieces"),
    (64, 300, 2, 1, "across"),
    (64, 400, 3, None, "mutual"),
    (128, 20, 6, None, "across"),
    (128, 50, 2, 1, "mutual"),
    (256, 33, 2, None, "mutual"),
]


@pytest.mark.parametrize(("width", "atoms", "blocks", "tables", "pairs"), CASES)
def test_single_precision(width, atoms, blocks, tables, pairs):
    """The fused kernels against float64, in all that training on forces asks for; errors are rounding."""
    inputs, places = network(width, atoms, blocks, tables=tables, pairs=pairs)
    exact = trained(inputs, places, torch.float64, NumbaKernels(), passes=Passes)
    found = trained(inputs, places, torch.float32, NumbaKernels(), passes=NumbaPasses)
    plain = trained(inputs, places, torch.float32, ReferenceKernels(), passes=Passes)
    for one, other, truth in zip(found, plain, exact, strict=True):
        size = truth.abs().max()
        error, without = (one - truth).abs().max() / size, (other - truth).abs().max() / size
        assert error < max(2e-6, 3.0 * without)


@pytest.mark.parametrize("pairs", ["in pieces", "across", "mutual"])
def test_any_number_of_threads(pairs, monkeypatch):
    """Bit for bit the same, whether pieces go through all blocks at once or all atoms through one after another."""
    monkeypatch.setattr("atomlens.ops.numba_tools._WORK_PER_THREAD", 1000)
    inputs, places = network(64, 230, 3, pairs=pairs)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            found.append(trained(inputs, places, torch.float32, NumbaKernels(), passes=NumbaPasses))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(one, two) for one, two in zip(found[0], other, strict=True))


def test_pieces_hear_nobody_else():
    centre = np.array([0, 1, 3, 4, 6, 9], np.int32)
    neighbour = np.array([1, 0, 5, 3, 6, 8], np.int32)  # {0, 1}, {2}, {3, 4, 5}, {6}, {7}, {8, 9}
    assert closed_pieces(centre, neighbour, 10, 1).tolist() == [0, 2, 3, 6, 7, 8, 10]
    assert closed_pieces(centre, neighbour, 10, 4).tolist() == [0, 6, 10]
    assert closed_pieces(centre, neighbour, 10, 20).tolist() == [0, 10]
    across = np.array([9], np.int32), np.array([0], np.int32)
    assert closed_pieces(*across, 10, 1).tolist() == [0, 10]
    assert closed_pieces(centre[:0], neighbour[:0], 3, 1).tolist() == [0, 1, 2, 3]


def test_which_pairs_share_their_filter():
    """Lists in any order are recognised; one pair without its reverse, or at another distance, and none is halved."""
    centre, neighbour, distances = molecules(30, torch.Generator().manual_seed(0))
    grid, kernels = SplineGrid(4.2, 32, "smooth"), NumbaKernels()

    def halves(centre, neighbour, distances):
        lookup = Lookup(grid, kernels.graph(centre, neighbour, 30), distances, torch.float32, kernels)
        return halves_of(lookup)

    found = halves(centre, neighbour, distances)
    torch.testing.assert_close(centre[found.reverse], neighbour)
    torch.testing.assert_close(neighbour[found.reverse], centre)
    once = torch.cat([found.order, found.reverse[found.order]])
    assert sorted(once.tolist()) == list(range(len(centre)))
    assert sorted(found.by_place.order.tolist()) == sorted(found.order.tolist())
    assert halves(centre[1:], neighbour[1:], distances[1:]) is None
    other = distances.clone()
    other[3] += 1e-9
    assert halves(centre, neighbour, other) is None
    itself = torch.tensor([4, 4])  # an atom and its image in a neighbouring cell
    both = torch.cat([centre, itself]), torch.cat([neighbour, itself])
    assert halves(*both, torch.cat([distances, torch.tensor([3.0, 3.0], dtype=torch.float64)])) is None


def test_what_is_not_a_number_stays_so():
    """A feature that is NaN reaches every atom that hears it, and no other."""
    inputs, (grid, centre, neighbour) = network(32, 41, 1, pairs="in pieces")
    inputs = [tensor if at == 1 else tensor.float() for at, tensor in enumerate(inputs)]
    inputs[0][10] = float("nan")
    lookup = Lookup(grid, NumbaKernels().graph(centre, neighbour, 41), inputs[1], torch.float32, NumbaKernels())
    wrong = blocks_written_out(*inputs, lookup).isnan()
    struck = set(centre[neighbour == 10].tolist()) | {10}
    assert set(torch.nonzero(wrong.all(dim=1)).squeeze(1).tolist()) == struck
    assert int(wrong.any(dim=1).sum()) == len(struck)


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_to_do(width):
    """No atoms, and atoms without pairs."""
    inputs, (grid, centre, neighbour) = network(width, 9, 2, pairs="in pieces")
    inputs = [tensor if at == 1 else tensor.float() for at, tensor in enumerate(inputs)]
    for atoms in (0, 9):
        graph = NumbaKernels().graph(centre[:0], neighbour[:0], atoms)
        lookup = Lookup(grid, graph, inputs[1][:0], torch.float32, NumbaKernels())
        few = [inputs[0][:atoms], inputs[1][:0], *inputs[2:]]
        found = blocks_written_out(*few, lookup)
        torch.testing.assert_close(found, blocks_in_steps(*few, lookup))


def test_what_does_not_fit_is_refused(kernels):
    inputs, lookup = example(kernels)
    table = inputs[2][0, :, :FEATURES]
    with pytest.raises(ValueError, match="fits 5 atoms"):
        blocks_written_out(inputs[0][:-1], *inputs[1:], lookup)
    with pytest.raises(ValueError, match="fits 5 atoms"):
        blocks_written_out(*inputs[:2], inputs[2][:, :-1], *inputs[3:], lookup)
    with pytest.raises(ValueError, match=r"of torch.float32 where"):
        lookup.convolve(inputs[0].float(), table, 0)
    with pytest.raises(ValueError, match="fits 5 atoms"):
        lookup.convolve(inputs[0], table, 0, inputs[1][:3])
    with pytest.raises(ValueError, match="fits 5 atoms"):
        lookup.table_gradient(inputs[0][:-1], inputs[0], 0)
    with pytest.raises(ValueError, match="3 distances for 14 pairs"):
        Lookup(lookup.grid, lookup.graph, inputs[1][:3], torch.float64, kernels)
    with pytest.raises(IndexError, match="atom 7 of 5"):
        kernels.graph(torch.tensor([0]), torch.tensor([7]), ATOMS)


def test_what_does_not_fit_the_kernels_of_blocks_is_refused():
    inputs, (grid, centre, neighbour) = network(32, 41, 2, pairs="in pieces")
    inputs = [tensor if at == 1 else tensor.float() for at, tensor in enumerate(inputs)]
    lookup = Lookup(grid, NumbaKernels().graph(centre, neighbour, 41), inputs[1], torch.float32, NumbaKernels())
    blocks_written_out(*inputs, lookup)
    for at, wrong in [(0, inputs[0][:-1]), (2, inputs[2][:, :-1]), (4, inputs[4][:, :-1]), (5, inputs[5].double())]:
        changed = [*inputs[:at], wrong, *inputs[at + 1 :]]
        with pytest.raises(ValueError, match="fits 41 atoms"):
            blocks_written_out(*changed, lookup)


def test_filters_of_another_length_and_lookups_of_another_precision_go_without():
    """Kernels of whole blocks are for as many filters as features, in float32 throughout."""
    inputs, (grid, centre, neighbour) = network(32, 41, 2, pairs="in pieces")
    single = [tensor if at == 1 else tensor.float() for at, tensor in enumerate(inputs)]
    kernels = NumbaKernels()

    def lookup(dtype):
        return Lookup(grid, kernels.graph(centre, neighbour, 41), inputs[1], dtype, kernels)

    x, distances, tables, w_in, w_mid, b_mid, w_out, b_out = single
    wide = torch.cat([x, x], dim=1), torch.cat([w_in, w_in], dim=2), torch.cat([w_mid, w_mid], dim=1)
    square = torch.cat([torch.cat([w_out, w_out], dim=1)] * 2, dim=2)
    layers = Layers(wide[1], wide[2], torch.cat([b_mid, b_mid], dim=1), square, torch.cat([b_out, b_out], dim=1))
    assert type(kernels.passes(tables, layers, lookup(torch.float32))) is Passes
    found = interactions(wide[0], distances, tables, layers, lookup(torch.float32))
    expected = interactions_in_steps(wide[0], distances, tables, *layers, lookup(torch.float32))[0]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match=r"of torch.float64 fits"):
        blocks_written_out(*single, lookup(torch.float64))


def test_no_atoms_have_no_gradients():
    inputs, (grid, centre, neighbour) = network(32, 9, 2, pairs="in pieces")
    single = [inputs[0][:0].float(), inputs[1][:0], *(tensor.float() for tensor in inputs[2:])]
    single = [tensor.requires_grad_() for tensor in single]
    kernels = NumbaKernels()
    lookup = Lookup(grid, kernels.graph(centre[:0], neighbour[:0], 0), single[1], torch.float32, kernels)
    out = blocks_written_out(*single, lookup)
    (slopes,) = torch.autograd.grad(out.sum(), single[1], create_graph=True)
    for found in torch.autograd.grad(slopes.sum() + out.sum(), single[2:]):
        assert not found.any()


def test_tensors_saved_in_other_strides():
    """Whoever saves tensors between the passes may give them back in strides of their own."""
    inputs, (grid, centre, neighbour) = network(32, 41, 2, pairs="mutual")
    results = []
    for turned in (False, True):
        single = [tensor.clone() if at == 1 else tensor.float() for at, tensor in enumerate(inputs)]
        single = [tensor.requires_grad_() for tensor in single]
        kernels = NumbaKernels()
        lookup = Lookup(grid, kernels.graph(centre, neighbour, 41), single[1], torch.float32, kernels)

        def pack(tensor):
            return tensor.transpose(-1, -2).contiguous() if turned and tensor.ndim > 1 else tensor  # noqa: B023

        def unpack(tensor):
            return tensor.transpose(-1, -2) if turned and tensor.ndim > 1 else tensor  # noqa: B023

        with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
            out = blocks_written_out(*single, lookup)
            (slopes,) = torch.autograd.grad(out.sin().sum(), single[1], create_graph=True)
            loss = slopes.square().sum() + out.square().sum()
        results.append(torch.autograd.grad(loss, single[2:]))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5 * float(one.abs().max()))


def test_slopes_that_nothing_comes_to():
    """Where neither ∂E/∂x nor ∂E/∂d is asked about again, gradients are zero whatever lay in memory."""
    inputs, (grid, centre, neighbour) = network(32, 41, 2, pairs="mutual")
    single = [tensor if at == 1 else tensor.float() for at, tensor in enumerate(inputs)]
    lookup = Lookup(grid, NumbaKernels().graph(centre, neighbour, 41), single[1], torch.float32, NumbaKernels())
    passes = NumbaKernels().passes(single[2], Layers(*single[3:]), lookup)
    made = passes.forward(single[0], keep=True)
    kept = passes.back(torch.ones_like(made.out), made, distances=True, to_x=False).kept
    kept.back[0] = float("nan")  # what may lie where nothing was written
    again = passes.again(kept, made.h, made.s, None, None)
    assert all(torch.isfinite(part).all() and not part.any() for part in (again.of_g, again.of_s, *again.layers))
    scale = torch.ones(len(centre))
    assert all(torch.isfinite(part).all() for part in passes.again(kept, made.h, made.s, None, scale).layers)
