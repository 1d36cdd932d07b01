"""DTNN against an independent float64 implementation, written with numpy from thesis eq. 3.1, 3.2, 3.4 and 3.7."""

import itertools

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

from atomlens.data.batch import collate
from atomlens.data.system import AtomicSystem
from atomlens.representations import DTNN, DTNNConfig

FEATURES, FACTORS, PASSES = 7, 11, 3
SMALL = {"features": FEATURES, "factors": FACTORS, "interactions": PASSES, "filter_accuracy": None}
OPEN = {"gaussian_range": 8.0}
CASES = {
    "molecule": (molecule("CH3CONH2"), OPEN),
    "molecule, smooth cutoff": (molecule("CH3CONH2"), {"cutoff": 3.0, "cutoff_function": "smooth"}),
    "crystal, smooth cutoff": (bulk("NaCl", "rocksalt", a=4.2), {"cutoff": 5.0, "cutoff_function": "smooth"}),
    "crystal, cosine cutoff": (bulk("Si", "diamond", a=5.4), {"cutoff": 6.0, "cutoff_function": "cosine"}),
}


def draw_weights(gaussians):
    """Large enough that tanh bends."""
    random = np.random.default_rng(5)
    return {
        "A": random.normal(0.0, 1.0, (119, FEATURES)),
        "W_fx": random.normal(0.0, 0.5, (FACTORS, FEATURES)),
        "b_1": random.normal(0.0, 0.5, FACTORS),
        "W_fd": random.normal(0.0, 0.5, (FACTORS, gaussians)),
        "b_2": random.normal(0.0, 0.5, FACTORS),
        "W_xf": random.normal(0.0, 0.4, (FEATURES, FACTORS)),
    }


def fade(distance, config):
    if config.cutoff is None:
        return 1.0
    u = distance / config.cutoff
    if u >= 1.0:
        return 0.0
    return (
        1 - 28 * u**6 + 48 * u**7 - 21 * u**8 if config.cutoff_function == "smooth" else 0.5 * np.cos(np.pi * u) + 0.5
    )


def expected_features(atoms, config, weights):
    """Loops over atoms and images, as the equations read."""
    reach = range(-4, 5)
    images = itertools.product(*(reach if periodic else [0] for periodic in atoms.pbc))
    shifts = [np.array(image) @ atoms.cell.array for image in images]
    centres = config.gaussian_spacing * np.arange(config.n_gaussians)
    x = weights["A"][atoms.numbers]
    for _ in range(config.interactions):
        following = x.copy()
        for i, j in itertools.product(range(len(atoms)), repeat=2):
            for shift in shifts:
                distance = np.linalg.norm(atoms.positions[j] + shift - atoms.positions[i])
                if distance < 1e-9 or fade(distance, config) == 0.0:
                    continue
                basis = np.exp(-config.gaussian_gamma * (distance - centres) ** 2)
                of_distance = weights["W_fd"] @ basis + weights["b_2"]
                of_atom = weights["W_fx"] @ x[j] + weights["b_1"]
                following[i] += np.tanh(weights["W_xf"] @ (of_atom * of_distance)) * fade(distance, config)
        x = following
    return x


def filled(config, weights):
    layer = DTNN(config).double()
    places = {
        "A": layer.embedding.weight,
        "W_fx": layer.atom_factors.weight,
        "b_1": layer.atom_factors.bias,
        "W_fd": layer.filters.weight,
        "b_2": layer.filters.bias,
        "W_xf": layer.to_features.weight,
    }
    assert {id(place) for place in places.values()} == {id(parameter) for parameter in layer.parameters()}
    with torch.no_grad():
        for name, place in places.items():
            place.copy_(torch.from_numpy(weights[name]))
    return layer


@pytest.mark.parametrize("accuracy", [None, 1e-8], ids=["exact", "table"])
@pytest.mark.parametrize("case", CASES)
def test_features_follow_the_equations(case, accuracy):
    atoms, changes = CASES[case]
    atoms = atoms.copy()
    atoms.rattle(0.05, seed=3)
    config = DTNNConfig(**{**SMALL, **changes, "filter_accuracy": accuracy})
    weights = draw_weights(config.n_gaussians)
    layer = filled(config, weights)
    layer.filters.refine()
    batch = collate([AtomicSystem.from_ase(atoms)], config.cutoff)
    if atoms.pbc.all():
        assert (batch.pairs.centre == batch.pairs.neighbour).any()  # the cell is smaller than the cutoff
    with torch.no_grad():
        found = layer(batch).numpy()
    expected = expected_features(atoms, config, weights)
    assert np.abs(expected - weights["A"][atoms.numbers]).max() > 1.0
    # A table's factors may be off by 1e-8 of their range, some ten; errors add over neighbours and passes.
    tolerance = 1e-10 if accuracy is None else 1e-5
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)
