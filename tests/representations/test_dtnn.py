"""DTNN: special cases by hand, what is shared, its configuration, and derivatives."""

import dataclasses

import ase
import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

from atomlens.data.batch import collate
from atomlens.data.system import AtomicSystem
from atomlens.errors import InputError
from atomlens.model import Model, ModelConfig
from atomlens.representations import DTNN, DTNNConfig
from atomlens.testing.derivatives import STEPS, force_slopes
from atomlens.testing.subject import Subject

CUTOFF = {"cutoff": 4.0, "cutoff_function": "smooth"}


def make_layer(**changes):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        layer = DTNN(DTNNConfig(**{"features": 6, "factors": 9, **changes})).double()
    layer.filters.refine()
    return layer


def make_batch(*structures, cutoff=None):
    return collate([AtomicSystem.from_ase(atoms) for atoms in structures], cutoff)


def make_model(**changes):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        return Model(ModelConfig.parse({"representation": {"name": "dtnn", **changes}}), [1, 6, 7, 8])


def test_defaults_are_the_documents():
    config = DTNNConfig()
    assert (config.features, config.factors, config.interactions, config.cutoff) == (30, 60, 3, None)
    assert (config.gaussian_spacing, config.gaussian_gamma, config.range) == (0.1, 10.0, 20.0)
    assert config.n_gaussians == 201
    assert DTNNConfig(**CUTOFF).range == 4.0


@pytest.mark.parametrize("changes", [{"cutoff": 5.0}, {"cutoff_function": "smooth"}])
def test_half_a_cutoff_is_refused(changes):
    with pytest.raises(InputError, match="cutoff null and cutoff_function 'none' go together"):
        DTNNConfig.parse(changes)


def test_initial_weights():
    """Glorot's uniform width for the layers, variance 1/√F for embeddings, zero biases."""
    torch.manual_seed(0)
    layer = DTNN(DTNNConfig())
    assert layer.embedding.weight.var().item() == pytest.approx(30**-0.5, rel=0.1)
    for weight, fans in (
        (layer.filters.weight, 201 + 60),
        (layer.atom_factors.weight, 90),
        (layer.to_features.weight, 90),
    ):
        assert weight.abs().max().item() == pytest.approx((6.0 / fans) ** 0.5, rel=0.01)
    assert not layer.filters.bias.any()
    assert not layer.atom_factors.bias.any()


def test_two_atoms_by_hand():
    """Two scalar features, one factor: tanh(w (u a + b) (v e + c)) in numbers."""
    layer = make_layer(
        features=1, factors=1, interactions=1, gaussian_range=1.0, gaussian_spacing=1.0, gaussian_gamma=2.0
    )
    layer.filters.exact = True
    with torch.no_grad():
        layer.embedding.weight[1], layer.embedding.weight[8] = 0.5, -1.5
        layer.atom_factors.weight.fill_(2.0)
        layer.atom_factors.bias.fill_(0.25)
        layer.filters.weight.copy_(torch.tensor([[0.75, -0.5]]))  # Gaussians at 0 and 1 Å
        layer.filters.bias.fill_(0.125)
        layer.to_features.weight.fill_(0.8)
        found = layer(make_batch(ase.Atoms("HO", [[0, 0, 0], [0, 0, 0.9]])))
    of_distance = 0.75 * np.exp(-2.0 * 0.9**2) - 0.5 * np.exp(-2.0 * 0.1**2) + 0.125
    expected = [
        0.5 + np.tanh(0.8 * (2.0 * -1.5 + 0.25) * of_distance),
        -1.5 + np.tanh(0.8 * (2.0 * 0.5 + 0.25) * of_distance),
    ]
    np.testing.assert_allclose(found.numpy()[:, 0], expected, rtol=1e-14)


def test_without_passes_features_are_embeddings():
    layer = make_layer(interactions=0)
    batch = make_batch(molecule("H2O"))
    assert torch.equal(layer(batch), layer.embedding(batch.numbers))


def test_weights_of_zero_send_nothing():
    layer = make_layer()
    torch.nn.init.zeros_(layer.to_features.weight)
    batch = make_batch(molecule("H2O"))
    assert torch.equal(layer(batch), layer.embedding(batch.numbers))


def test_passes_share_their_weights():
    """F (119 + 2 K) + 2 K + K n parameters whatever T; two passes are one pass after one pass."""
    one, three = make_layer(interactions=1), make_layer(interactions=3)
    count = 119 * 6 + 2 * 6 * 9 + 2 * 9 + 9 * 201
    assert sum(parameter.numel() for parameter in one.parameters()) == count
    three.load_state_dict(one.state_dict())
    batch = make_batch(molecule("CH3OH"))
    x = None
    for _ in range(3):
        x = one(dataclasses.replace(batch, initial_features=x))
    torch.testing.assert_close(three(batch), x, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("changes", [{}, CUTOFF])
def test_weights_fade_messages_of_neighbours(changes):
    layer = make_layer(interactions=1, **changes)
    batch = make_batch(molecule("H2O"), cutoff=layer.cutoff)
    with torch.no_grad():
        x, full = layer.embed(batch), layer(batch)
        without = layer(dataclasses.replace(batch, weight=torch.tensor([0.0, 1.0, 1.0])))
        half = layer(dataclasses.replace(batch, weight=torch.tensor([0.5, 1.0, 1.0])))
    assert torch.equal(without[0], full[0])  # who is not heard hears
    torch.testing.assert_close(half[1:], 0.5 * (full + without)[1:], rtol=1e-12, atol=1e-12)
    assert (without - full)[1:].abs().min() > 1e-4
    assert (without - x)[1:].abs().min() > 1e-4


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("changes", [{}, CUTOFF, {"cutoff": 4.0, "cutoff_function": "cosine"}])
def test_written_out_slopes_are_autograds(changes, weighted):
    layer = make_layer(**changes)
    batch = make_batch(*(molecule(name) for name in ("CH3OH", "H2O")), cutoff=layer.cutoff)
    if weighted:
        batch = dataclasses.replace(batch, weight=torch.linspace(0.2, 1.0, len(batch.numbers)))
    vectors = batch.pair_vectors().requires_grad_()
    batch = dataclasses.replace(batch, vectors=vectors)
    features = layer(batch)
    by_features = torch.linspace(-1.0, 1.0, features.numel(), dtype=torch.float64).view_as(features)
    (expected,) = torch.autograd.grad(features, vectors, by_features)
    with torch.no_grad():
        again, pullback = layer.linearised(batch)
        torch.testing.assert_close(again, features.detach(), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(pullback(by_features), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("changes", [{}, CUTOFF])
def test_forces_are_differences_to_second_order(changes):
    subject = Subject.of(make_model(**changes))
    differences, claimed = force_slopes(subject, subject.molecules[0])
    errors = np.abs(differences - claimed).max(axis=1)
    order = np.polyfit(np.log(STEPS[: len(errors)]), np.log(errors), 1)[0]
    assert order == pytest.approx(2.0, abs=0.2)


def test_table_against_exact_factors():
    """In training too: features, and gradients of all weights."""
    layer = make_layer(**CUTOFF)
    atoms = bulk("NaCl", "rocksalt", a=4.2)
    atoms.rattle(0.1, seed=0)
    batch = make_batch(atoms, cutoff=4.0)
    found = []
    for exact in (False, True):
        layer.filters.exact = exact
        features = layer(batch)
        gradients = torch.autograd.grad(features.square().sum(), list(layer.parameters()))
        found.append((features.detach(), *gradients))
    for table, wanted in zip(*found, strict=True):
        assert (table - wanted).abs().max() < 1e-5 * wanted.abs().max()


def test_single_precision_keeps_six_digits():
    """The fast tanh is good to 2e-7 of a message's largest size, one."""
    layer = make_layer(features=30, factors=60)
    batch = make_batch(*(molecule(name) for name in ("C6H6", "CH3CONH2", "H2O")))
    with torch.no_grad():
        expected = layer(batch)
        found = layer.float()(batch)
    assert found.dtype == torch.float32
    assert (found - expected).abs().max() < 3e-6 * expected.abs().max()


def test_atoms_beyond_the_cutoff_are_not_heard():
    """Lists may reach farther, as those of a calculator with a skin do."""
    layer = make_layer(**CUTOFF)
    atoms = molecule("CH3CH2OH")
    near, far = make_batch(atoms, cutoff=4.0), make_batch(atoms, cutoff=6.0)
    assert len(far.pairs.centre) > len(near.pairs.centre)
    torch.testing.assert_close(layer(near), layer(far), rtol=1e-13, atol=1e-13)


def test_estimate_of_memory_grows_with_pairs():
    layer = make_layer()
    assert layer.bytes_needed(10, 2000) > 1.9 * layer.bytes_needed(5, 1000)
    layer.filters.exact = True
    assert layer.bytes_needed(10, 1000) > make_layer().bytes_needed(10, 1000)
