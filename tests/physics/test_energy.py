"""SchNet's energy against the formulas of the documents, written a second time in plain numpy with loops."""

import itertools
import math

import ase
import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

from atomlens.data.batch import collate
from atomlens.data.system import AtomicSystem
from atomlens.model import Model, ModelConfig

ELEMENTS = [1, 6, 8, 11, 17]


def make_model(**changes):
    settings = {"name": "schnet", "features": 7, "interactions": 2, "cutoff": 4.0, "gaussian_spacing": 0.25, **changes}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = Model(ModelConfig.parse({"representation": settings}), ELEMENTS)
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                torch.nn.init.normal_(parameter, 0.0, 0.4)
    model.energy_readout.set_scale(0.8, {1: -13.6, 6: -1028.5, 8: -2041.2, 11: -4414.0, 17: -12520.0})
    return model.set_precision(torch.float64)


class Formulas:
    """Thesis eq. 3.3, 3.8, 4.5-4.8, 4.11, 4.14 and figure 4.2; every sum is a loop."""

    def __init__(self, model):
        self.weights = {name: value.detach().numpy() for name, value in model.state_dict().items()}
        self.config = model.config.representation

    def energy(self, atoms):
        x = np.array([self.weights["representation.embedding.weight"][number] for number in atoms.numbers])
        for block in range(self.config.interactions):
            x = x + np.array([self.residual(block, i, x, atoms) for i in range(len(atoms))])
        return sum(self.atom_energy(x_i, number) for x_i, number in zip(x, atoms.numbers, strict=True))

    def residual(self, block, i, x, atoms):
        """Dense(ssp(Dense(Σ_j (W_in x_j) ∘ W(d_ij))))."""
        total, heard = np.zeros(self.config.filters or x.shape[1]), 0
        for j, distance in self.neighbours(i, atoms):
            total += (self.dense(block, "atomwise_in") @ x[j]) * self.filter(block, distance)
            heard += 1
        if self.config.aggregation == "mean" and heard:
            total = total / heard
        hidden = ssp(self.dense(block, "atomwise_mid") @ total + self.dense(block, "atomwise_mid", "bias"))
        return self.dense(block, "atomwise_out") @ hidden + self.dense(block, "atomwise_out", "bias")

    def neighbours(self, i, atoms):
        """Every atom and image but the atom itself, from more images than can matter."""
        images = [range(-5, 6) if repeats else (0,) for repeats in atoms.pbc]
        for j, shift in itertools.product(range(len(atoms)), itertools.product(*images)):
            if j == i and shift == (0, 0, 0):
                continue
            distance = np.linalg.norm(atoms.positions[j] + np.array(shift) @ atoms.cell.array - atoms.positions[i])
            if self.config.cutoff is None or distance < self.config.cutoff:
                yield j, distance

    def filter(self, block, distance):
        """Dense(ssp(Dense(e(d)))) · fc(d), with an activation at the end if asked for."""
        stacked = {k: self.weights[f"representation.filters.{k}"][0 if self.config.shared_filters else block]
                   for k in ("first_weight", "first_bias", "second_weight", "second_bias")}  # fmt: skip
        end = self.config.gaussian_range or self.config.cutoff
        centres = [
            k * self.config.gaussian_spacing for k in range(100) if k * self.config.gaussian_spacing <= end + 1e-6
        ]
        basis = np.array([math.exp(-self.config.gaussian_gamma * (distance - centre) ** 2) for centre in centres])
        hidden = ssp(basis @ stacked["first_weight"] + stacked["first_bias"][0])
        value = hidden @ stacked["second_weight"] + stacked["second_bias"][0]
        return (ssp(value) if self.config.filter_activations == 2 else value) * self.fade(distance)

    def fade(self, distance):
        if self.config.cutoff is None:
            return 1.0
        u = distance / self.config.cutoff
        return (
            (math.cos(math.pi * u) + 1) / 2
            if self.config.cutoff_function == "cosine"
            else 1 - 28 * u**6 + 48 * u**7 - 21 * u**8
        )

    def atom_energy(self, x, number):
        w = {name: self.weights[f"readouts.energy.{name}"] for name in ("scale", "references")}
        first = [self.weights[f"readouts.energy.network.layers.0.{kind}"] for kind in ("weight", "bias")]
        second = [self.weights[f"readouts.energy.network.layers.1.{kind}"] for kind in ("weight", "bias")]
        return (w["scale"] * (second[0] @ ssp(first[0] @ x + first[1]) + second[1]) + w["references"][number]).item()

    def dense(self, block, layer, kind="weight"):
        return self.weights[f"representation.blocks.{block}.{layer}.{kind}"]


def ssp(x):
    return np.log(0.5 * np.exp(x) + 0.5)


def methanol():
    atoms = molecule("CH3OH")
    atoms.rattle(0.1, seed=1)
    return atoms


def salt():
    """Rocksalt with a 2.8 Å primitive cell: smaller than the cutoff of 4 Å."""
    atoms = bulk("NaCl", "rocksalt", a=4.0)
    atoms.rattle(0.1, seed=2)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + np.array([[0.02, 0.03, 0], [0, -0.01, 0.02], [0.01, 0, 0]])), True)
    return atoms


def chain():
    atoms = salt()
    atoms.pbc = (False, False, True)
    return atoms


OPEN = {"cutoff": None, "cutoff_function": "none", "gaussian_range": 5.0}
VARIANTS = [
    {}, {"cutoff_function": "cosine"}, {"filter_activations": 2}, {"shared_filters": True}, {"aggregation": "mean"},
    {"interactions": 0}, {"interactions": 3, "gaussian_gamma": 4.0}, {"filters": 11},
    {"aggregation": "mean", "cutoff": 1.2},
]  # fmt: skip


@pytest.mark.parametrize(
    "changes", [*VARIANTS, OPEN, {**OPEN, "filter_activations": 2, "aggregation": "mean"}], ids=str
)
def test_molecule(changes):
    model = make_model(**changes)
    assert_agrees(model, methanol())


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
@pytest.mark.parametrize("build", [salt, chain])
def test_periodic(build, changes):
    assert_agrees(make_model(**changes), build())


def assert_agrees(model, atoms):
    through_table = model.predict(atoms)["energy"]
    found = model.set_exact_filters().predict(atoms)
    exact = Formulas(model).energy(atoms)
    learned = exact - float(model.energy_readout.references[torch.from_numpy(atoms.numbers)].sum())
    # Sums in another order, and 1e-13 left out by the softplus above 30.
    assert found["energy"] == pytest.approx(exact, rel=4e-16, abs=1e-11 * max(1.0, abs(learned)))
    assert found["atom_energies"].sum() == pytest.approx(found["energy"], rel=1e-15)
    assert through_table == pytest.approx(exact, rel=4e-16, abs=1e-6 * max(1.0, abs(learned)))


def test_smallest_network_by_hand():
    """One feature, one block, two Gaussians, two hydrogen atoms 1 Å apart: every number on paper.

    Gaussians at 0 and 4 Å with γ = ln 2 give e = (1/2, 2⁻⁹); the first filter layer hears only the first, W = 3
    ssp(2 · ½) + 1. Features start at 0.5, messages are 2 · 0.5 · W, and E = 2 (-1 + 0.1 (0.7 ssp(x) + 0.2)).
    """
    config = {"name": "schnet", "features": 1, "interactions": 1, "cutoff": None, "cutoff_function": "none"}
    config |= {"gaussian_range": 4.0, "gaussian_spacing": 4.0, "gaussian_gamma": math.log(2.0)}
    model = Model(ModelConfig.parse({"representation": config}), [1]).set_precision(torch.float64)
    values = {
        "representation.embedding.weight": 0.5, "representation.filters.second_weight": 3.0,
        "representation.filters.first_bias": 0.0, "representation.filters.second_bias": 1.0,
        "representation.blocks.0.atomwise_in.weight": 2.0,
        "representation.blocks.0.atomwise_mid.weight": 1.5, "representation.blocks.0.atomwise_mid.bias": -0.5,
        "representation.blocks.0.atomwise_out.weight": -0.4, "representation.blocks.0.atomwise_out.bias": 0.3,
        "readouts.energy.network.layers.0.weight": 1.0, "readouts.energy.network.layers.0.bias": 0.0,
        "readouts.energy.network.layers.1.weight": 0.7, "readouts.energy.network.layers.1.bias": 0.2,
    }  # fmt: skip
    for name, parameter in model.named_parameters():
        if name in values:
            parameter.data.fill_(values[name])
    model.representation.filters.first_weight.data[0, :, 0] = torch.tensor([2.0, 0.0])
    model.energy_readout.set_scale(0.1, {1: -1.0})

    def soft(x):
        return math.log((math.exp(x) + 1.0) / 2.0)

    message = 2.0 * 0.5 * (3.0 * soft(2.0 * 0.5) + 1.0)
    x = 0.5 - 0.4 * soft(1.5 * message - 0.5) + 0.3
    expected = 2.0 * (-1.0 + 0.1 * (0.7 * soft(x) + 0.2))
    hydrogen = ase.Atoms("H2", [[0, 0, 0], [0, 0, 1.0]])
    assert model.set_exact_filters().predict(hydrogen)["energy"] == pytest.approx(expected, rel=1e-14)


def test_weights_fade_an_atom_between_there_and_absent():
    """Half a weight halves its messages and its term (thesis ch. 4, alchemical paths)."""
    model, atoms = make_model(interactions=1), methanol()
    batch = collate([AtomicSystem.from_ase(atoms)], 4.0)
    terms = []
    for weight in (0.0, 0.5, 1.0):
        weights = torch.ones(6, dtype=torch.float64)
        weights[2] = weight
        changed = type(batch)(**{**vars(batch), "weight": weights})
        terms.append(model(changed)["atom_energies"].detach())
    assert terms[0][2] == 0.0
    assert terms[1][2] == pytest.approx(0.5 * terms[2][2].item(), rel=1e-14)
    others = [0, 1, 3, 4, 5]
    assert (terms[0][others] != terms[1][others]).all()


@pytest.mark.parametrize("reference", [0.0, -1e3, -1e5])
def test_large_references_cost_no_precision(reference):
    """In float32 the total errs by the rounding of the learned part alone, 1e-7 and less of a large total."""
    exact = make_model()
    exact.energy_readout.set_scale(1.0, dict.fromkeys(ELEMENTS, reference))
    single = make_model().set_precision(torch.float32)
    single.energy_readout.set_scale(1.0, dict.fromkeys(ELEMENTS, reference))
    atoms = methanol()
    learned = exact.predict(atoms)["energy"] - 6 * reference
    off = abs(single.predict(atoms)["energy"] - exact.predict(atoms)["energy"])
    assert off < 2e-6 * max(1.0, abs(learned))
    if reference:
        assert off / abs(6 * reference) < 1e-7 * 1e3 / abs(reference)


def test_precision_does_not_fade_far_from_the_origin():
    """Distances are formed in float64: 1e5 Å from the origin float32 positions would err by 0.01 Å."""
    model, atoms = make_model().set_precision(torch.float32), methanol()
    far = atoms.copy()
    far.positions += 1e5
    assert far.get_distance(0, 1) == pytest.approx(atoms.get_distance(0, 1), abs=1e-9)
    assert model.predict(far)["energy"] == pytest.approx(model.predict(atoms)["energy"], abs=2e-6)


def test_gaussian_centres_are_exact_in_double_precision():
    """Multiples of 0.1 Å to the last bit or two, not to float32's 1e-7."""
    model = make_model(gaussian_spacing=0.1)
    centres = model.representation.filters.centres.double().numpy()
    np.testing.assert_allclose(centres, 0.1 * np.arange(41), rtol=0, atol=1e-14)
