"""Every backend's primitives against the definition, and the definition against loops."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from kernel_cases import CASES, END, assert_rounding, combinations, draw, in_double, inputs, primitives
from scipy.interpolate import CubicSpline

from atomlens.ops.cfconv.graph import PairGraph
from atomlens.ops.cfconv.reference import ReferenceKernels
from atomlens.ops.cfconv.spline import SplineGrid

CPU = torch.device("cpu")
DTYPES = [torch.float32, torch.float64]
fast_backends = pytest.mark.parametrize("kernels", ["numba", "triton"], indirect=True)
all_backends = pytest.mark.parametrize("kernels", ["reference", "numba", "triton"], indirect=True)


@fast_backends
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", list(CASES))
@pytest.mark.usefixtures("poisoned")
def test_against_reference(kernels, device, dtype, name):
    reference = ReferenceKernels()
    given = inputs(CASES[name], kernels, dtype, device)
    exact = in_double(inputs(CASES[name], reference, dtype, CPU))
    for scaled, turn in ((False, False), (True, True)) if name != "any" else ((a, b) for a in (0, 1) for b in (0, 1)):
        graph, exact_graph = (it.graph.transposed if turn else it.graph for it in (given, exact))
        found = primitives(kernels, given, graph, given.scale if scaled else None)
        expected = primitives(reference, exact, exact_graph, exact.scale if scaled else None)
        expected |= combinations(reference, exact, exact_graph)
        for primitive, result in found.items():
            assert result.dtype == dtype
            assert_rounding(result, expected[primitive])


@all_backends
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.usefixtures("poisoned")
def test_against_loops(kernels, device, scaled):
    """With places from one end of the table to the other and any weights."""
    case = draw(4, 9, 3)
    given = inputs(case, kernels, torch.float64, device)
    random, intervals = np.random.default_rng(4), case.grid.n_samples - 1
    place = torch.from_numpy(random.permutation([0, intervals - 1, *random.integers(0, intervals, 7)]))
    place = place.to(device, torch.int32)
    weights, slopes = (torch.from_numpy(random.normal(size=(9, 4))).to(device) for _ in range(2))
    by_place = kernels.group(place, intervals)
    given = replace(given, place=place, by_place=by_place, weights=weights, slopes=slopes)
    names = ("x", "y", "g", "table", "scale", "weights", "slopes", "place")
    x, y, g, table, scale, weights, slopes, place = (getattr(given, name).cpu().numpy() for name in names)
    heard, both, products = np.zeros_like(x), np.zeros_like(x), np.zeros(len(place))
    gradient, gradient_both = np.zeros_like(table), np.zeros_like(table)
    for p, (i, j, k) in enumerate(zip(case.centre, case.neighbour, place, strict=True)):
        s = scale[p] if scaled else 1.0
        for f in range(case.features):
            for m in range(4):
                b, slope = weights[p, m], scale[p] * slopes[p, m]
                heard[i, f] += s * x[j, f] * b * table[k + m, f]
                products[p] += g[i, f] * x[j, f] * b * table[k + m, f]
                gradient[k + m, f] += s * b * g[i, f] * x[j, f]
                both[i, f] += (b * x[j, f] + slope * y[j, f]) * table[k + m, f]
                gradient_both[k + m, f] += g[i, f] * (b * x[j, f] + slope * y[j, f])
    found = primitives(kernels, given, given.graph, given.scale if scaled else None)
    found |= combinations(kernels, given, given.graph)
    expected = {
        "convolve": heard,
        "dot": products,
        "table_gradient": gradient,
        "convolve_both": both,
        "table_gradient_both": gradient_both,
    }
    for name, result in found.items():
        assert_rounding(result, torch.from_numpy(expected[name]))


@all_backends
@pytest.mark.parametrize(("rows", "groups"), [(30, 7), (300, 2), (1, 4), (0, 3), (0, 0)])
@pytest.mark.usefixtures("poisoned")
def test_group(kernels, device, rows, groups):
    """Equal keys together, in the rows' order; the last group stays empty."""
    keys = np.random.default_rng(rows).integers(0, max(groups - 1, 1), rows)
    found = kernels.group(torch.from_numpy(keys).to(device, torch.int32), groups)
    assert found.order.tolist() == sorted(range(rows), key=lambda row: keys[row])
    assert found.starts.tolist() == [int((keys < group).sum()) for group in range(groups + 1)]
    assert found.starts.dtype == found.order.dtype == torch.int32


@all_backends
def test_graph(kernels, device):
    """Both ways through the pairs, of which none needs to exist the other way round."""
    centre, neighbour = torch.tensor([0, 0, 2], device=device), torch.tensor([1, 3, 1], device=device)
    graph = kernels.graph(centre, neighbour, 4)
    assert graph.n_atoms == graph.transposed.n_atoms == 4
    assert graph.by_centre.starts.tolist() == [0, 2, 2, 3, 3]
    assert graph.by_neighbour.starts.tolist() == [0, 0, 2, 2, 3]
    assert graph.by_neighbour.order.tolist() == [0, 2, 1]
    assert graph.transposed.centre.tolist() == [1, 3, 1]


@fast_backends
@pytest.mark.parametrize("indices", [False, True])
@pytest.mark.usefixtures("poisoned")
def test_inputs_with_gaps(kernels, device, indices):
    """Tensors that are no single block of memory."""
    given = inputs(CASES["any"], kernels, torch.float32, device)
    gaps = replace(given, **{name: _with_gaps(getattr(given, name)) for name in ("x", "y", "g", "table", "scale")})
    if indices:
        gaps = replace(
            gaps, place=_with_gaps(given.place), weights=_with_gaps(given.weights), slopes=_with_gaps(given.slopes)
        )
        ends = (_with_gaps(given.graph.centre), _with_gaps(given.graph.neighbour))
        gaps = replace(gaps, graph=PairGraph(*ends, given.graph.by_centre, given.graph.by_neighbour))
    expected = primitives(kernels, given, given.graph, given.scale)
    found = primitives(kernels, gaps, gaps.graph, gaps.scale)
    assert [name for name, result in found.items() if not torch.equal(result, expected[name])] == []


def _with_gaps(tensor):
    apart = torch.stack((tensor, tensor), dim=-1)[..., 0]
    assert not apart.is_contiguous()
    return apart


@fast_backends
@pytest.mark.parametrize("name", ["any", "hub"])
def test_repeats_bit_for_bit(kernels, device, name):
    given = inputs(CASES[name], kernels, torch.float32, device)
    first, again = (primitives(kernels, given, given.graph, given.scale) for _ in range(2))
    assert [name for name, result in first.items() if not torch.equal(result, again[name])] == []


@pytest.fixture
def threads_restored():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("kernels", ["numba"], indirect=True)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("features", [61, 64])  # 61: numbers left over when vectors are filled
@pytest.mark.usefixtures("threads_restored", "poisoned")
def test_threads_do_not_show(kernels, dtype, features):
    """Enough work for five threads, each of which takes other pieces every time."""
    case = replace(draw(300, 22_000, features), intervals=300)
    given = inputs(case, kernels, dtype, CPU)
    values = torch.randn(8, 2_500, features, dtype=dtype, generator=torch.Generator().manual_seed(0))
    results = []
    for threads in (1, 2, 3, 5, 5):
        torch.set_num_threads(threads)
        found = primitives(kernels, given, given.graph, given.scale)
        found["coefficients"] = kernels.coefficients(values)
        found["adjoint"] = kernels.coefficients(values, adjoint=True)
        results.append(found)
    changed = {name for name, one in results[0].items() if not all(torch.equal(one, more[name]) for more in results)}
    assert changed == set()


@all_backends
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("adjoint", [False, True])
@pytest.mark.parametrize(("blocks", "rows", "features"), [(1, 140, 1), (2, 24, 5), (2, 7, 130), (0, 30, 2), (2, 30, 0)])
@pytest.mark.usefixtures("poisoned")
def test_coefficients_against_reference(kernels, device, dtype, adjoint, blocks, rows, features):
    values = torch.randn(blocks, rows, features, dtype=dtype, generator=torch.Generator().manual_seed(1))
    found = kernels.coefficients(values.to(device), adjoint=adjoint)
    assert found.shape == (blocks, rows - 2 if adjoint else rows + 2, features)
    assert_rounding(found, ReferenceKernels().coefficients(values.double(), adjoint=adjoint))


@all_backends
@pytest.mark.usefixtures("poisoned")
def test_coefficients_give_the_natural_spline(kernels, device):
    """Values and derivatives of scipy's spline through the same knots."""
    grid = SplineGrid(4.0, 12)
    values = np.random.default_rng(2).normal(size=(grid.n_samples, 3))
    table = kernels.coefficients(torch.from_numpy(values)[None].to(device))[0].cpu().numpy()
    spline = CubicSpline(grid.samples.numpy(), values, bc_type="natural")
    distances = torch.linspace(0.0, 4.0, 101, dtype=torch.float64)
    place, fraction = grid.locate(distances)
    for order in range(4):
        weights = grid.weights(distances, fraction, order, torch.float64).numpy()
        found = np.einsum("pm,pmf->pf", weights, table[place.numpy()[:, None] + np.arange(4)])
        inner = (
            slice(None) if order < 3 else np.abs(fraction.numpy() - 0.5) < 0.49
        )  # the third derivative jumps at knots
        np.testing.assert_allclose(found[inner], spline(distances, order)[inner], rtol=0, atol=1e-11)


@all_backends
@pytest.mark.parametrize("samples", [5, 45])
@pytest.mark.usefixtures("poisoned")
def test_adjoint_of_coefficients(kernels, device, samples):
    """⟨A v, w⟩ = ⟨v, Aᵀ w⟩."""
    generator = torch.Generator().manual_seed(3)
    v = torch.randn(2, samples, 3, dtype=torch.float64, generator=generator).to(device)
    w = torch.randn(2, samples + 2, 3, dtype=torch.float64, generator=generator).to(device)
    forth = (kernels.coefficients(v) * w).sum()
    back = (v * kernels.coefficients(w, adjoint=True)).sum()
    torch.testing.assert_close(forth, back, rtol=1e-12, atol=1e-12)


@all_backends
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fade", ["none", "cosine", "smooth"])
@pytest.mark.usefixtures("poisoned")
def test_places_and_weights(kernels, device, dtype, fade):
    """The same points of the table and the same weights as the grid's own, from either side of every knot."""
    grid = SplineGrid(END, 7, fade)
    knots = torch.linspace(0.0, END, 8, dtype=dtype)
    sides = torch.nextafter(knots, torch.tensor(-1.0).to(knots)), torch.nextafter(knots, torch.tensor(9.0).to(knots))
    others = torch.tensor([0.3, 2.7, 1.5 * END, 1e30, np.inf, -0.3, np.nan], dtype=dtype)
    distances = torch.cat((knots, *sides, others))
    place, fraction = (found.cpu() for found in kernels.locate(grid, distances.to(device)))
    expected_place, expected_fraction = grid.locate(distances)
    assert place.dtype == torch.int32
    rounding = 64 * torch.finfo(dtype).eps
    expected = expected_place + expected_fraction
    torch.testing.assert_close(place + fraction, expected, rtol=0, atol=rounding, equal_nan=True)
    assert ((place >= 0) & (place < grid.n_samples - 1)).all()
    assert ((fraction >= 0) & (fraction <= 1) | fraction.isnan()).all()
    for order in range(4):
        given = (grid, distances.to(device), expected_fraction.to(device), order)
        found = kernels.spline_weights(*given, torch.float32)
        assert found.dtype == torch.float32
        exact = grid.weights(distances.double(), expected_fraction.double(), order, torch.float64)
        at_rest = ~(distances == END)  # where a derivative jumps, rounding of the distance decides
        assert_rounding(found.cpu()[at_rest], exact[at_rest])
