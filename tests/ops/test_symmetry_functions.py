"""Symmetry functions: the fused kernels against the definition, and the derivatives that they are made of."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from atomlens.ops.cfconv import kernels_for, use_kernels
from atomlens.ops.symmetry_functions import (
    FunctionSet,
    Neighbourhoods,
    centred_grid,
    linearised_symmetry_functions,
    reference,
    shifted_grid,
    symmetry_functions,
    symmetry_functions_by_definition,
)
from atomlens.ops.symmetry_functions.numba_backend import NumbaSymmetryKernels
from atomlens.ops.symmetry_functions.reference import ReferenceSymmetryKernels

CUTOFF = 4.0
ANGLES = ((1, 1.0), (1, -1.0), (2, 1.0), (3, -1.0), (4, -1.0), (7, 1.0))


def function_set(channels=1, fade="cosine", radial=4, gaussians=2, angles=ANGLES):
    both = shifted_grid(gaussians, 0.5, CUTOFF) + centred_grid(gaussians, 0.5, CUTOFF)
    return FunctionSet(CUTOFF, fade, shifted_grid(radial, 0.5, CUTOFF), both, angles, channels)


def draw(atoms, functions, *, spread=1.5, mixed=False, seed=0):
    """Vectors and neighbourhoods of a random cluster: not all pairs are there, some are too far, an atom is alone."""
    random = np.random.default_rng(seed)
    positions = random.normal(0.0, spread, (atoms, 3))
    centre, neighbour = np.nonzero(~np.eye(atoms, dtype=bool) & (random.uniform(size=(atoms, atoms)) < 0.9))
    kept = centre != atoms - 1  # the last one hears nobody
    centre, neighbour = (torch.from_numpy(rows[kept]) for rows in (centre, neighbour))
    vectors = torch.from_numpy(positions[neighbour] - positions[centre])
    if mixed:
        weight = torch.from_numpy(random.uniform(0.2, 1.0, (atoms, functions.n_channels)))
        weight[::3, 0] = 0.0
        return vectors, near(vectors, centre, atoms, functions, None, weight[neighbour])
    channel = torch.from_numpy(random.integers(0, functions.n_channels, atoms))
    weight = torch.from_numpy(random.uniform(0.2, 2.0, atoms))
    return vectors, near(vectors, centre, atoms, functions, channel[neighbour], weight[neighbour])


def near(vectors, centre, atoms, functions, channel, weight):
    kernels = kernels_for(vectors.device, vectors.dtype)
    return Neighbourhoods.of(vectors, CUTOFF, centre, atoms, functions.n_channels, channel, weight, kernels)


def directions(vectors, hood, functions):
    random = np.random.default_rng(1)
    g = torch.from_numpy(random.normal(size=(hood.n_atoms, functions.n_features)))
    return g, torch.from_numpy(random.normal(size=tuple(vectors.shape)))


def primitives(kernels, vectors, hood, functions):
    g, u = directions(vectors, hood, functions)
    return {
        "features": kernels.features(vectors, hood, functions),
        "slopes": kernels.slopes(vectors, hood, functions, g),
        "tangent": kernels.tangent(vectors, hood, functions, u),
        "curvature": kernels.curvature(vectors, hood, functions, g, u),
    }


CASES = {
    "one channel": (9, {}, {}),
    "smooth": (9, {"fade": "smooth"}, {}),
    "three channels": (12, {"channels": 3}, {}),
    "mixtures": (8, {"channels": 3}, {"mixed": True}),
    "more triples than a block": (24, {"channels": 2}, {"spread": 1.0}),
    "more neighbours than a block": (90, {"radial": 2, "gaussians": 1, "angles": ((2, 1.0),)}, {"spread": 0.9}),
    "radial only": (9, {"gaussians": 0}, {}),
    "angular only": (9, {"radial": 0, "channels": 2}, {}),
    "a pair": (3, {}, {}),
    "all too far": (6, {}, {"spread": 100.0}),
    "an atom": (1, {}, {}),
}


@pytest.mark.parametrize("case", CASES)
def test_kernels_compute_what_is_defined(case, poisoned):  # noqa: ARG001
    atoms, changes, drawn = CASES[case]
    functions = function_set(**changes)
    vectors, hood = draw(atoms, functions, **drawn)
    found = primitives(NumbaSymmetryKernels(), vectors, hood, functions)
    wanted = primitives(ReferenceSymmetryKernels(), vectors, hood, functions)
    for name, value in wanted.items():
        # Sums of up to 4,000 terms, each with its roundings; curvatures cancel more.
        size = max(1.0, float(value.abs().max())) if value.numel() else 1.0
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-13 * size, msg=lambda text, n=name: n + text)


def test_no_atoms():
    functions = function_set()
    vectors, hood = torch.zeros(0, 3, dtype=torch.float64), None
    rows = torch.zeros(0, dtype=torch.int64)
    hood = near(vectors, rows, 0, functions, rows, torch.zeros(0, dtype=torch.float64))
    for kernels in (NumbaSymmetryKernels(), ReferenceSymmetryKernels()):
        assert kernels.features(vectors, hood, functions).shape == (0, functions.n_features)


@pytest.mark.parametrize("fade", ["cosine", "smooth"])
@pytest.mark.parametrize("mixed", [False, True])
def test_terms_are_those_of_the_formula(fade, mixed):
    """Loops over atoms, written from SPEC section 1, with nothing in common with the code."""
    functions = function_set(2, fade, angles=((1, -1.0), (4, 1.0)))
    vectors, hood = draw(7, functions, mixed=mixed)
    found = symmetry_functions(vectors, hood, functions)
    for atom in range(7):
        np.testing.assert_allclose(
            found[atom], by_loops(atom, vectors.numpy(), hood, functions), rtol=1e-12, atol=1e-14
        )


def by_loops(atom, vectors, hood, functions):
    def fade(d):
        u = d / CUTOFF
        if u >= 1:
            return 0.0
        return (
            0.5 * (math.cos(math.pi * u) + 1) if functions.fade == "cosine" else 1 - 28 * u**6 + 48 * u**7 - 21 * u**8
        )

    heard = {}
    for row, centre in enumerate(hood.centre.tolist()):
        if centre == atom:
            weights = heard.setdefault(int(hood.pair[row]), [0.0] * functions.n_channels)
            weights[int(hood.channel[row])] += float(hood.weight[row])
    radial = [
        sum(
            w[e] * math.exp(-eta * (np.linalg.norm(vectors[p]) - mu) ** 2) * fade(np.linalg.norm(vectors[p]))
            for p, w in heard.items()
        )
        for e in range(functions.n_channels)
        for eta, mu in functions.radial
    ]
    angular = []
    for e in range(functions.n_channels):
        for f in range(e, functions.n_channels):
            for eta, mu in functions.gaussians:
                for zeta, sign in functions.angles:
                    total = 0.0
                    for j in heard:
                        for k in heard:
                            if j < k:
                                both = heard[j][e] * heard[k][f] + (heard[j][f] * heard[k][e] if e != f else 0.0)
                                a, b, c = vectors[j], vectors[k], vectors[j] - vectors[k]
                                term = (1 + sign * a @ b / np.linalg.norm(a) / np.linalg.norm(b)) ** zeta
                                for d in (np.linalg.norm(a), np.linalg.norm(b), np.linalg.norm(c)):
                                    term *= math.exp(-eta * (d - mu) ** 2) * fade(d)
                                total += 2.0 ** (1 - zeta) * both * term
                    angular.append(total)
    return np.array(radial + angular)


@pytest.mark.parametrize("kernels", ["reference", "numba"])
def test_derivatives_equal_differences(kernels):
    functions = function_set(2, angles=((1, -1.0), (3, 1.0)), radial=2, gaussians=1)
    vectors, hood = draw(4, functions)
    with use_kernels(kernels):
        inputs = (vectors.requires_grad_(),)
        assert torch.autograd.gradcheck(lambda v: symmetry_functions(v, hood, functions), inputs)
        assert torch.autograd.gradgradcheck(lambda v: symmetry_functions(v, hood, functions), inputs)


def test_third_derivatives_go_through_the_definition():
    functions = function_set(angles=((1, -1.0), (3, 1.0)), radial=2, gaussians=1)
    vectors, hood = draw(5, functions)
    g, u = directions(vectors, hood, functions)

    def third(compute, keep):
        leaf = vectors.detach().clone().requires_grad_()
        (slopes,) = torch.autograd.grad((compute(leaf, hood, functions).pow(2) * g).sum(), leaf, create_graph=True)
        (bent,) = torch.autograd.grad((slopes * u).sum(), leaf, create_graph=True)
        (found,) = torch.autograd.grad((bent * u.flip(0)).sum(), leaf, create_graph=keep)
        return torch.autograd.grad((found * u).sum(), leaf)[0] if keep else found

    for keep in (False, True):
        torch.testing.assert_close(
            third(symmetry_functions, keep), third(symmetry_functions_by_definition, keep), rtol=1e-10, atol=1e-10
        )


def test_reference_in_chunks_is_the_reference(monkeypatch):
    functions = function_set(2)
    vectors, hood = draw(9, functions)
    whole = primitives(ReferenceSymmetryKernels(), vectors, hood, functions)
    monkeypatch.setattr(reference, "_NUMBERS_AT_ONCE", 500)
    assert len(list(reference.parts(hood, functions))) > 5
    for name, value in primitives(ReferenceSymmetryKernels(), vectors, hood, functions).items():
        torch.testing.assert_close(value, whole[name], rtol=1e-12, atol=1e-12)


def test_weights_can_be_differentiated_by():
    functions = function_set(2, angles=((2, 1.0),), gaussians=1)
    vectors, hood = draw(4, functions, mixed=True)
    rows = hood.centre, hood.pair, hood.channel

    def of_weights(weight):
        return symmetry_functions(vectors, Neighbourhoods(4, 2, *rows, weight, hood.starts), functions)

    assert torch.autograd.gradcheck(of_weights, (hood.weight.clone().requires_grad_(),))


def test_two_threads_give_the_same_bits():
    functions = function_set(2)
    vectors, hood = draw(60, functions, spread=2.0)
    alone = primitives(NumbaSymmetryKernels(), vectors, hood, functions)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        together = primitives(NumbaSymmetryKernels(), vectors, hood, functions)
    finally:
        torch.set_num_threads(threads)
    for name, value in alone.items():
        assert torch.equal(value, together[name])


def test_what_is_not_a_number_shows():
    functions = function_set()
    vectors, hood = draw(5, functions)
    vectors = vectors.clone()
    vectors[0, 1] = torch.nan
    found = NumbaSymmetryKernels().features(vectors, hood, functions)
    assert torch.isnan(found[0]).all()
    assert torch.isfinite(found[1:]).all()
    count = len(vectors)
    heard, ones = torch.zeros(count, dtype=torch.int64), torch.ones(count, dtype=torch.float64)
    again = near(vectors, heard, 5, functions, heard, ones)
    assert 0 in again.pair.tolist()


def test_collinear_neighbours_have_finite_derivatives():
    functions = function_set()
    vectors = torch.tensor([[1.0, 0, 0], [-1.3, 0, 0], [2.0, 0, 0]], dtype=torch.float64)
    rows = torch.zeros(3, dtype=torch.int64)
    hood = near(vectors, rows, 1, functions, rows, torch.ones(3, dtype=torch.float64))
    for kernels in (NumbaSymmetryKernels(), ReferenceSymmetryKernels()):
        for value in primitives(kernels, vectors, hood, functions).values():
            assert torch.isfinite(value).all()


@pytest.mark.parametrize(("place", "wrong"), [(0, torch.float32), (1, torch.float64)])
def test_what_does_not_fit_never_reaches_the_kernel(place, wrong):
    functions = function_set()
    vectors, hood = draw(5, functions)
    g = torch.zeros(5, functions.n_features + place, dtype=torch.float64).to(wrong)
    with pytest.raises(ValueError, match="fits"):
        NumbaSymmetryKernels().slopes(vectors, hood, functions, g)


def test_centres_that_do_not_exist():
    functions, vectors = function_set(), torch.ones(1, 3, dtype=torch.float64)
    rows, weight = torch.tensor([2]), torch.ones(1, dtype=torch.float64)
    with pytest.raises(IndexError, match="2 of 2 atoms"):
        near(vectors, rows, 2, functions, torch.zeros(1, dtype=torch.int64), weight)


def test_pairs_in_any_order():
    functions = function_set()
    vectors, hood = draw(6, functions)
    mixed = torch.from_numpy(np.random.default_rng(0).permutation(len(hood.pair)))
    again = near(vectors[hood.pair][mixed], hood.centre[mixed], 6, functions, hood.channel[mixed], hood.weight[mixed])
    found, wanted = (
        symmetry_functions(*pair, functions) for pair in ((vectors[hood.pair][mixed], again), (vectors, hood))
    )
    torch.testing.assert_close(found, wanted, rtol=1e-13, atol=1e-14)


def test_linearised_is_autograd():
    functions = function_set(2)
    vectors, hood = draw(8, functions)
    g, _ = directions(vectors, hood, functions)
    found, pullback = linearised_symmetry_functions(vectors, hood, functions)
    leaf = vectors.clone().requires_grad_()
    value = symmetry_functions(leaf, hood, functions)
    assert torch.equal(found, value)
    assert torch.equal(pullback(g), torch.autograd.grad((value * g).sum(), leaf)[0])


def test_recipes():
    """Gastegger et al. 2018: η = 1 / (2 Δr²) at equidistant centres, or η = 1 / (2 r²) at the atom."""
    assert shifted_grid(3, 1.0, 5.0) == ((0.125, 1.0), (0.125, 3.0), (0.125, 5.0))
    assert centred_grid(3, 1.0, 5.0) == ((0.5, 0.0), (0.5 / 9.0, 0.0), (0.02, 0.0))
    assert shifted_grid(0, 1.0, 5.0) == centred_grid(0, 1.0, 5.0) == ()
    assert centred_grid(1, 1.0, 5.0) == ((0.02, 0.0),)


MEMORY = """
import resource, sys, torch
sys.path.insert(0, {folder!r})
from test_symmetry_functions import *
functions = function_set()
def run(atoms):
    vectors, hood = draw(atoms, functions, spread=0.3)
    primitives(NumbaSymmetryKernels(), vectors, hood, functions)
    return int(hood.starts.diff().square().sum()) // 2
run(20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
triples = run(200)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024, triples * functions.n_features * 8)
"""


def test_memory_does_not_grow_with_triples():
    """Everything within the cutoff of everything: three million triples of 24 functions would be 640 MB."""
    script = MEMORY.format(folder=str(Path(__file__).parent))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    grown, avoided = (float(word) for word in done.stdout.split())
    assert avoided > 5e8
    assert grown < 0.05 * avoided
