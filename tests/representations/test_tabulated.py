"""Certified tables: the certificate against a dense evaluation, refinement, and what is kept."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from ase.build import molecule

from atomlens.errors import InputError
from atomlens.model import Model, ModelConfig
from atomlens.ops.cfconv import Lookup, ReferenceKernels, kernels_for
from atomlens.representations import constant_parameters

VARIANTS = [
    {},
    {"cutoff_function": "cosine"},
    {"filter_activations": 2},
    {"cutoff": None, "cutoff_function": "none", "gaussian_range": 4.0},
    {"shared_filters": True, "cutoff": 3.0, "gaussian_gamma": 30.0},
]


def make_filters(**changes):
    torch.manual_seed(3)
    config = {"name": "schnet", "features": 8, "interactions": 2, **changes}
    model = Model(ModelConfig.parse({"representation": config}), [1, 6, 8])
    return model.representation.filters


def through_table(filters, distances):
    """Filters (blocks, pairs, F) by probing the convolution: one atom hears one other at each distance."""
    kernels = ReferenceKernels()
    pairs = len(distances)
    graph = kernels.graph(torch.arange(pairs), torch.full((pairs,), pairs), pairs + 1)
    lookup = Lookup(filters.grid, graph, distances, torch.float64, kernels)
    table = filters.table(kernels).detach()
    ones = torch.ones(pairs + 1, table.shape[2], dtype=torch.float64)
    return torch.stack([lookup.convolve(ones, part, 0)[:-1] for part in table])


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_certificate_against_random_distances(changes):
    """Interpolation errs most near the middle of an interval, where the certificate looks; 1.2 for what it misses."""
    filters = make_filters(**changes)
    certificate = filters.certify()
    assert certificate.error <= certificate.bound == 1e-6
    double = copy.deepcopy(filters).to(torch.float64)
    distances = certificate.end * torch.rand(5000, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        exact = double(distances)
        off = (through_table(double, distances) - exact).abs().amax(dim=(1, 2))
        span = (exact.amax(dim=1) - exact.amin(dim=1)).amax(dim=1)
    assert 0.5 * certificate.error < float((off / span).max()) < 1.2 * certificate.error


def test_fewer_knots_err_by_the_fourth_power():
    filters = make_filters()
    found = []
    for intervals in (256, 512, 1024):
        filters.set_extra_state(torch.tensor(intervals))
        found.append(filters.certify().error)
    orders = np.log2(np.array(found[:-1]) / found[1:])
    assert np.abs(orders - 4.0).max() < 0.3


def test_refinement_stops_at_the_bound_and_never_goes_back():
    filters = make_filters()
    filters.set_extra_state(torch.tensor(64))
    assert filters.certify().error > 1e-6
    certificate = filters.refine()
    assert certificate.error <= 1e-6
    fewer = filters.grid.intervals
    assert filters.refine(0.1).error <= 1e-7
    assert filters.grid.intervals > fewer
    more = filters.grid.intervals
    filters.refine()
    assert filters.grid.intervals == more


def test_steeper_filters_get_more_knots():
    broad, narrow = make_filters(gaussian_gamma=5.0), make_filters(gaussian_gamma=200.0)
    assert narrow.grid.intervals > broad.grid.intervals


def test_a_bound_out_of_reach_is_refused():
    with pytest.raises(InputError, match="no table meets filter_accuracy 1e-16"):
        make_filters(filter_accuracy=1e-16)


def test_exact_filters_have_no_certificate():
    filters = make_filters(filter_accuracy=None)
    assert filters.exact
    assert filters.certify() is None
    assert filters.refine() is None


def test_kept_while_nothing_changes():
    filters = make_filters()
    kernels = kernels_for(torch.device("cpu"), torch.float32)
    with constant_parameters():
        first = filters.table(kernels)
        assert filters.table(kernels) is first
        assert not first.requires_grad
        with torch.no_grad():
            filters.second_weight.mul_(1.5)
        second = filters.table(kernels)
        assert not torch.equal(first, second)
        filters.second_weight.data.mul_(1.5)  # torch does not count this as a change
        assert not torch.equal(second, filters.table(kernels))
    assert filters.table(kernels).requires_grad


def test_nothing_stale_after_training_steps():
    """Predictions between optimiser steps follow the weights."""
    torch.manual_seed(0)
    model = Model(ModelConfig(), [1, 6, 8])
    water = molecule("H2O")
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, fused=True)
    seen = {float(model.predict(water)["energy"])}
    for _ in range(3):
        optimizer.zero_grad()
        model(model.collate([water]))["energy"].sum().backward()
        optimizer.step()
        found = float(model.predict(water)["energy"])
        fresh = copy.deepcopy(model)
        fresh.representation.filters._kept = None
        assert found == float(fresh.predict(water)["energy"])
        seen.add(found)
    assert len(seen) == 4


def test_number_of_knots_is_saved():
    first, other = make_filters(), make_filters()
    first.refine(1e-2)
    other.load_state_dict(first.state_dict())
    assert other.grid == first.grid


def test_small_refinements_are_taken():
    """From 7·2ᵏ to 8·2ᵏ intervals the error falls to 0.59 only; that is not yet rounding."""
    filters = make_filters()
    filters.set_extra_state(torch.tensor(112))
    before = filters.certify().error
    filters.set_extra_state(torch.tensor(128))
    filters.accuracy = 0.999 * filters.certify().error
    filters.set_extra_state(torch.tensor(112))
    assert before > filters.accuracy
    assert filters.refine().error <= filters.accuracy


def test_inference_mode_leaves_nothing_behind():
    torch.manual_seed(0)
    model = Model(ModelConfig.parse({"representation": {"name": "schnet", "aggregation": "mean"}}), [1, 8])
    water = molecule("H2O")
    with torch.inference_mode():
        model.predict(water, forces=False)
    assert np.isfinite(model.predict(water)["forces"]).all()


def test_frozen_networks_have_hessians_that_can_be_differentiated():
    torch.manual_seed(0)
    model = Model(ModelConfig(), [1, 8]).set_precision(torch.float64).requires_grad_(False)
    batch = model.collate([molecule("H2O")])
    positions = batch.positions.clone().requires_grad_()
    forces = model(dataclasses.replace(batch, positions=positions), forces=True, differentiable=True)["forces"]
    (row,) = torch.autograd.grad(forces[0, 2], positions, create_graph=True)
    (third,) = torch.autograd.grad(row.square().sum(), positions)
    assert torch.isfinite(third).all()
    assert third.abs().max() > 0
