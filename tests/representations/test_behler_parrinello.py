"""Behler-Parrinello features against the formulas, and what a representation owes to the rest of the library."""

import math
from dataclasses import replace
from itertools import combinations, product

import ase
import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

from atomlens.data.batch import Pairs, collate
from atomlens.data.system import AtomicSystem
from atomlens.errors import InputError
from atomlens.ops.cfconv import use_kernels
from atomlens.representations import BehlerParrinello, BehlerParrinelloConfig

SMALL = {"cutoff": 4.0, "n_radial": 4, "n_angular": 2, "angular_grid": "shifted", "zetas": [1, 4]}


def make(elements=(1, 6, 8), dtype=torch.float64, **changes):
    made = BehlerParrinello(BehlerParrinelloConfig.parse({**SMALL, **changes}), elements)
    made.precision.data = made.precision.data.to(dtype)
    return made


def batch_of(*atoms, cutoff=4.0):
    return collate([AtomicSystem.from_ase(entry) for entry in atoms], cutoff)


def ethanol():
    made = molecule("CH3CH2OH")
    made.rattle(0.05, seed=1)
    return made


def carbide():
    made = bulk("SiC", "zincblende", a=4.3)  # smaller than the cutoff: atoms hear their own images
    made.rattle(0.05, seed=2)
    return made


def weighted_by_loops(atoms, cutoff, radial, angular, angles):
    """wACSF of every atom from the formulas of SPEC section 1: sums over atoms and images, j < k."""
    reach = range(-3, 4) if atoms.pbc.any() else range(1)
    others = [
        (number, position + np.array(shift) @ atoms.cell.array)
        for shift in product(reach, repeat=3)
        for number, position in zip(atoms.numbers, atoms.positions, strict=True)
    ]

    def gaussian(d, eta, mu):
        return math.exp(-eta * (d - mu) ** 2) * (0.5 * (math.cos(math.pi * d / cutoff) + 1.0) if d < cutoff else 0.0)

    rows = []
    for place in atoms.positions:
        near = [(z, r - place) for z, r in others if 1e-9 < np.linalg.norm(r - place) < cutoff]
        row = [sum(z * gaussian(np.linalg.norm(v), eta, mu) for z, v in near) for eta, mu in radial]
        for eta, mu in angular:
            for zeta, sign in angles:
                total = 0.0
                for (z_j, v_j), (z_k, v_k) in combinations(near, 2):
                    lengths = [np.linalg.norm(v) for v in (v_j, v_k, v_j - v_k)]
                    cosine = v_j @ v_k / (lengths[0] * lengths[1])
                    distant = math.prod(gaussian(d, eta, mu) for d in lengths)
                    total += z_j * z_k * 2.0 ** (1 - zeta) * (1.0 + sign * cosine) ** zeta * distant
                row.append(total)
        rows.append(row)
    return np.array(rows)


@pytest.mark.parametrize("kernels", ["reference", "numba"])
@pytest.mark.parametrize("build", [ethanol, carbide])
def test_weighted_functions_are_those_of_the_formula(build, kernels):
    atoms = build()
    cutoff = 4.0 if build is ethanol else 3.3
    made = make(sorted(set(atoms.numbers.tolist())), kind="weighted", cutoff=cutoff)
    spacing = (cutoff - 1.0) / 3.0
    radial = [(0.5 / spacing**2, 1.0 + m * spacing) for m in range(4)]
    angular = [(0.5 / (cutoff - 1.0) ** 2, mu) for mu in (1.0, cutoff)]
    wanted = weighted_by_loops(atoms, cutoff, radial, angular, [(1, -1), (1, 1), (4, -1), (4, 1)])
    with use_kernels(kernels):
        found = made(batch_of(atoms, cutoff=cutoff))
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("kind", ["weighted", "element"])
def test_neighbours_beyond_the_cutoff_contribute_nothing(kind):
    made = make(kind=kind)
    near, far = batch_of(ethanol()), batch_of(ethanol(), cutoff=9.0)
    assert len(far.pairs.centre) > len(near.pairs.centre)
    torch.testing.assert_close(made(far), made(near), rtol=1e-13, atol=1e-13)  # lists in another order
    vectors = far.pair_vectors().requires_grad_()
    (slopes,) = torch.autograd.grad(made(replace(far, vectors=vectors)).sum(), vectors)
    distances = torch.linalg.vector_norm(vectors, dim=1)
    assert slopes[distances >= 4.0].abs().max() == 0
    assert slopes[distances < 4.0].abs().max() > 0


def test_elements_have_functions_of_their_own():
    made = make(kind="element")
    assert made.n_features == 3 * 4 + 6 * 2 * 4
    water = batch_of(molecule("H2O"))  # O, H, H
    found = made(water)
    radial = found[:, :12].reshape(3, 3, 4).abs().amax(dim=2)
    assert (radial[0] > 0).tolist() == [True, False, False]
    assert (radial[1] > 0).tolist() == [True, False, True]
    angular = found[:, 12:].reshape(3, 6, 8).abs().amax(dim=2)
    assert (angular[0] > 0).tolist() == [True] + [False] * 5  # the pair H H
    assert (angular[1] > 0).tolist() == [False, False, True, False, False, False]  # the pair H O


@pytest.mark.parametrize("kind", ["weighted", "element"])
def test_weights_fade_terms_and_both_partners_count(kind):
    made, batch = make(kind=kind), batch_of(molecule("H2O"))
    radial = 4 * made.functions.n_channels
    whole = made(batch)
    weight = torch.tensor([1.0, 0.5, 0.5])
    faded = made(replace(batch, weight=weight))
    torch.testing.assert_close(faded[0, :radial], 0.5 * whole[0, :radial])  # O hears two fading H
    torch.testing.assert_close(faded[0, radial:], 0.25 * whole[0, radial:])


@pytest.mark.parametrize("kind", ["weighted", "element"])
def test_mixtures_are_linear_in_a_single_neighbour(kind):
    """Halfway from C to O, radial terms are halfway; so are angular ones, where one partner is mixed."""
    made = make(kind=kind)
    first = batch_of(ase.Atoms("HCH", [[0, 0, 0], [1.1, 0, 0], [0.1, 1.2, 0]]))
    second = replace(first, numbers=torch.tensor([1, 8, 1]))
    ends = made.embed(first), made.embed(second)
    mixed = made(replace(first, initial_features=0.5 * (ends[0] + ends[1])))
    torch.testing.assert_close(mixed, 0.5 * (made(first) + made(second)), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("kind", ["weighted", "element"])
def test_derivatives_by_the_mixture_and_the_weight(kind):
    made, batch = make(kind=kind), batch_of(ase.Atoms("HCOH", np.random.default_rng(3).normal(0, 1.2, (4, 3))))

    def features(mixture, weight):
        return made(replace(batch, initial_features=mixture, weight=weight))

    weight = torch.linspace(0.3, 1.0, 4, dtype=torch.float64)
    mixture = made.embed(batch) + 0.1
    assert torch.autograd.gradcheck(features, (mixture.requires_grad_(), weight.requires_grad_()))


def test_features_are_exact_before_they_are_rounded():
    batch = batch_of(ethanol())
    exact, rounded = make(), make(dtype=torch.float32)
    for made in (exact, rounded):
        made.standardise([batch])
    assert rounded(batch).dtype == torch.float32
    assert torch.equal(rounded(batch), exact(batch).to(torch.float32))


def test_standardised_over_all_atoms_in_a_stream():
    made, parts = make(kind="element"), [batch_of(ethanol()), batch_of(molecule("H2O"), molecule("CO2"))]
    raw = torch.cat([made(part) for part in parts])
    made.standardise(iter(parts))
    found = torch.cat([made(part) for part in parts])
    torch.testing.assert_close(made.mean, raw.mean(dim=0), rtol=1e-12, atol=1e-12)
    varying = raw.std(dim=0, correction=0) > 1e-6 * raw.mean(dim=0).abs().clamp(min=1.0)
    assert 10 < int(varying.sum()) < made.n_features
    torch.testing.assert_close(found.mean(dim=0), torch.zeros(made.n_features, dtype=torch.float64), rtol=0, atol=1e-9)
    torch.testing.assert_close(found[:, varying].std(dim=0, correction=0), torch.ones(int(varying.sum())).double())
    assert torch.equal(made.deviation[~varying], torch.ones(int((~varying).sum())).double())


def test_large_numbers_do_not_cancel_in_the_deviation():
    """Two structures that differ by 1e-5 Å: deviations are small against means, and right."""
    made, atoms = make(kind="weighted"), molecule("H2O")
    moved = atoms.copy()
    moved.positions[0, 2] += 1e-5
    batch = batch_of(*[atoms[:1]] * 2)  # nothing at all varies for atoms alone
    made.standardise([batch])
    assert torch.equal(made.deviation, torch.ones(made.n_features, dtype=torch.float64))
    pair = [batch_of(atoms), batch_of(moved)]
    raw = torch.stack([make(kind="weighted")(entry) for entry in pair])
    made.standardise(pair)
    wanted = raw.reshape(-1, made.n_features).std(dim=0, correction=0)
    kept = made.deviation != 1.0
    torch.testing.assert_close(made.deviation[kept], wanted[kept], rtol=1e-10, atol=0)


def test_standardisation_is_saved():
    made, other, batch = make(), make(), batch_of(ethanol())
    made.standardise([batch])
    other.load_state_dict(made.state_dict())
    assert torch.equal(other(batch), made(batch))


def test_nothing_to_standardise_over():
    with pytest.raises(InputError, match="no atoms"):
        make().standardise([])


@pytest.mark.parametrize("kind", ["weighted", "element"])
def test_linearised_is_what_autograd_finds(kind):
    made, batch = make(kind=kind), batch_of(ethanol(), molecule("H2O"), molecule("O"))
    made.standardise([batch])
    vectors = batch.pair_vectors().requires_grad_()
    features = made(replace(batch, vectors=vectors))
    g = torch.from_numpy(np.random.default_rng(0).normal(size=tuple(features.shape)))
    (wanted,) = torch.autograd.grad(features, vectors, g)
    found, pullback = made.linearised(replace(batch, vectors=vectors.detach()))
    assert torch.equal(found, features)
    torch.testing.assert_close(pullback(g), wanted, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("kind", ["weighted", "element"])
def test_nobody_to_hear(kind):
    """Features of an atom alone are those of emptiness; its forces are zero, not missing."""
    made, batch = make(kind=kind), batch_of(molecule("O"), molecule("CH4"))
    assert made(batch)[0].abs().max() == 0
    empty = replace(batch, pairs=Pairs(*[torch.zeros(0, dtype=torch.int64)] * 2), vectors=None)
    vectors = empty.pair_vectors().requires_grad_()
    found = made(replace(empty, vectors=vectors))
    assert found.abs().max() == 0
    assert torch.autograd.grad(found.sum(), vectors)[0].shape == (0, 3)


def test_shifts_are_for_weighted_functions():
    """Gastegger et al. 2018 shift angular functions too; Behler's have none."""
    weighted, element = (BehlerParrinelloConfig(kind=kind).functions(3) for kind in ("weighted", "element"))
    assert weighted.gaussians[0] == (pytest.approx(0.5 / (4.0 / 7.0) ** 2), 1.0)
    assert {mu for _, mu in element.gaussians} == {0.0}
    assert (weighted.n_features, element.n_features) == (22 + 48, 3 * 22 + 6 * 48)


def test_parameters_can_be_given():
    made = make(radial=[[0.5, 1.0]], angular=[[0.1, 0.0], [0.2, 0.5]], lambdas=[1], zetas=[2])
    assert made.functions.radial == ((0.5, 1.0),)
    assert made.functions.gaussians == ((0.1, 0.0), (0.2, 0.5))
    assert made.functions.angles == ((2, 1.0),)
    assert made.n_features == 3


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"grid_start": 4.0}, "grid_start must be below the cutoff"),
        ({"zetas": [0]}, "zetas must be 1 or larger"),
        ({"radial": [[-1.0, 0.0]]}, "must not be negative"),
        ({"n_radial": 0, "n_angular": 0}, "no symmetry functions are left"),
        ({"n_radial": 0, "lambdas": []}, "no symmetry functions are left"),
        ({"lambdas": [2]}, "lambdas"),
        ({"cutoff": None}, "cutoff"),
        ({"cutof": 5.0}, "cutoff"),
    ],
)
def test_impossible_settings_are_refused(changes, problem):
    with pytest.raises(InputError, match=problem):
        BehlerParrinelloConfig.parse({**SMALL, **changes})


def test_memory_estimate_is_linear():
    made = make()
    one, ten = made.bytes_needed(100, 4000), made.bytes_needed(1000, 40000)
    assert ten == 10 * one
    assert made.bytes_needed(0, 0) == 0
