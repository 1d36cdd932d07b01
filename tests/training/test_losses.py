"""The loss of every kind of property against its formula written out, and labels that are not known."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from toy_properties import crystals, molecules

from atomlens.data.batch import collate
from atomlens.data.batching import BatchSource
from atomlens.data.system import AtomicSystem
from atomlens.errors import InputError
from atomlens.model import Model, ModelConfig
from atomlens.training.losses import loss, loss_weights

RANDOM = np.random.default_rng(11)
SIZES = (3, 2, 4)
SHAPES = {
    "energy": (3,), "homo": (3,), "dipole": (3, 3), "dipole_magnitude": (3,), "polarizability": (3, 3, 3),
    "electronic_spatial_extent": (3,), "forces": (9, 3), "stress": (3, 3, 3),
}  # fmt: skip
SCALES = dict.fromkeys(SHAPES, 1.0)


def batch():
    """Three crystals of 3, 2 and 4 atoms, of different volumes."""
    structures = []
    for size, edge in zip(SIZES, (4.0, 3.0, 5.0), strict=True):
        places = np.arange(size)[:, None] * np.array([1.0, 0.2, 0.1])
        structures.append(Atoms(f"H{size}", places, cell=np.eye(3) * edge, pbc=True))
    return collate([AtomicSystem.from_ase(atoms) for atoms in structures], 2.0)


def values(name):
    return torch.from_numpy(RANDOM.normal(size=SHAPES[name]))


def of_structures(name, off):
    """The components of each structure."""
    if SHAPES[name][0] == len(SIZES):
        return list(off)
    return np.split(off, np.cumsum(SIZES)[:-1])


def by_hand(name, off):
    """Mean over structures of Σ |Δy|²: per atom for forces, of V Δσ / n for stress."""
    total = 0.0
    for own, size, edge in zip(of_structures(name, off), SIZES, (4.0, 3.0, 5.0), strict=True):
        squares = sum(float(component) ** 2 for component in np.ravel(own) if np.isfinite(component))
        total += {"forces": squares / size, "stress": squares * (edge**3 / size) ** 2}.get(name, squares)
    return total / len(SIZES)


@pytest.mark.parametrize("name", SHAPES)
def test_squared_error_of_each_property(name):
    output, target = values(name), values(name)
    found = loss({name: output}, {name: target}, batch(), {name: 1.0}, SCALES)
    assert float(found) == pytest.approx(by_hand(name, (output - target).numpy()), rel=1e-12)


def test_weights_and_scales():
    """Σ_p w_p |Δy_p|² / s_p², energy, forces and stress in units of one scale."""
    outputs, targets = ({name: values(name) for name in SHAPES} for _ in range(2))
    weights = {"energy": 0.01, "forces": 1.0, "stress": 0.3, "dipole": 2.0, "polarizability": 0.5}
    scales = {**SCALES, "energy": 0.4, "forces": 99.0, "stress": 99.0, "dipole": 0.2, "polarizability": 3.0}
    expected = 0.0
    for name, weight in weights.items():
        scale = 0.4 if name in ("energy", "forces", "stress") else scales[name]
        expected += weight * by_hand(name, (outputs[name] - targets[name]).numpy()) / scale**2
    found = loss(outputs, targets, batch(), weights, scales)
    assert float(found) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", SHAPES)
def test_unknown_labels_have_no_part_in_value_and_gradient(name):
    output, target = values(name).requires_grad_(), values(name)
    unknown = torch.zeros(len(target), dtype=torch.bool)
    unknown[[1, len(target) - 1]] = True
    target[unknown] = torch.nan
    found = loss({name: output}, {name: target}, batch(), {name: 1.0}, SCALES)
    assert float(found.detach()) == pytest.approx(by_hand(name, (output.detach() - target).numpy()), rel=1e-12)
    (slope,) = torch.autograd.grad(found, output)
    # The others' gradients are those that they have when all labels are known.
    filled = torch.where(unknown.reshape(-1, *[1] * (target.dim() - 1)), output.detach() + 1.0, target)
    whole = loss({name: output}, {name: filled}, batch(), {name: 1.0}, SCALES)
    (expected,) = torch.autograd.grad(whole, output)
    assert not slope[unknown].any()
    torch.testing.assert_close(slope[~unknown], expected[~unknown], rtol=1e-13, atol=0.0)


def test_one_unknown_component_leaves_the_others():
    output, target = values("dipole"), values("dipole")
    target[1, 2] = torch.nan
    found = loss({"dipole": output}, {"dipole": target}, batch(), {"dipole": 1.0}, SCALES)
    assert float(found) == pytest.approx(by_hand("dipole", (output - target).numpy()), rel=1e-12)


def small_model(*readouts, elements=(1, 8)):
    torch.manual_seed(4)
    representation = {"name": "schnet", "features": 8, "interactions": 1, "cutoff": 4.0}
    config = ModelConfig.parse({"representation": representation, "readouts": list(readouts)})
    return Model(config, list(elements)).set_precision(torch.float64)


TENSOR = {"name": "polarizability", "range": 3.0, "channels": 2}


def test_gradients_of_weights_are_those_of_the_known_structures_alone():
    """With dipoles unknown for structure 2 and tensors for 0: what each known one adds, over all four structures."""
    data = molecules(4)
    names = ["dipole", "polarizability"]
    data.labels["dipole"][2] = np.nan
    data.labels["polarizability"][0] = np.nan
    model = small_model({"name": "dipole"}, TENSOR)
    source = BatchSource(data, 4.0, names)
    whole, targets = source.batch(np.arange(4))
    weights = {"dipole": 0.7, "polarizability": 0.2}
    found = torch.autograd.grad(loss(model(whole), targets, whole, weights, model.scales), list(model.parameters()))
    expected = [torch.zeros_like(part) for part in found]
    for place in range(4):
        one, _ = source.batch(np.array([place]))
        outputs, known = model(one), torch.zeros((), dtype=torch.float64)
        for name in names:
            if np.isfinite(data.labels[name][place]).all():
                off = outputs[name][0] - torch.from_numpy(data.labels[name][place])
                known = known + weights[name] * (off * off).sum() / 4.0
        parts = torch.autograd.grad(known, list(model.parameters()), materialize_grads=True)
        expected = [sum_ + part for sum_, part in zip(expected, parts, strict=True)]
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)


def test_a_batch_without_any_label_of_a_property_has_a_zero_gradient():
    data = molecules(3)
    data.labels["dipole"][:] = np.nan
    model = small_model({"name": "dipole"}, {"name": "energy"})
    whole, targets = BatchSource(data, 4.0, ["dipole", "energy"]).batch(np.arange(3))
    loss(model(whole), targets, whole, {"dipole": 1.0, "energy": 1.0}, model.scales).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all()
    assert not any(parameter.grad.any() for parameter in model.readouts["dipole"].parameters())


@pytest.mark.parametrize(
    "weights",
    [{"dipole_magnitude": 1.0}, {"isotropic_polarizability": 1.0}, {"dipole": 1.0, "isotropic_polarizability": 0.5}],
    ids=str,
)
def test_every_weight_has_a_gradient_whatever_is_left_out(weights):
    """Processes that train together wait for a gradient of every weight."""
    data = molecules(3)
    data.labels["dipole_magnitude"] = np.linalg.norm(data.labels["dipole"], axis=1)
    data.labels["isotropic_polarizability"] = np.trace(data.labels["polarizability"], axis1=1, axis2=2) / 3.0
    model = small_model({"name": "dipole"}, TENSOR, {"name": "energy"})
    whole, targets = BatchSource(data, 4.0, list(weights)).batch(np.arange(3))
    loss(model(whole), targets, whole, weights, model.scales).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert not any(parameter.grad.any() for parameter in model.readouts["energy"].parameters())


def test_a_dipole_of_zero_length_has_a_finite_gradient():
    """The length of a vector has no slope where it is zero, as for an atom alone."""
    alone = collate([AtomicSystem.from_ase(Atoms("O"))], 4.0)
    model = small_model({"name": "dipole"})
    outputs = model(alone)
    target = {"dipole_magnitude": torch.tensor([0.3], dtype=torch.float64)}
    loss(outputs, target, alone, {"dipole_magnitude": 1.0}, model.scales).backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_stress_has_finite_gradients_by_all_weights():
    data = crystals(4)
    model = small_model({"name": "energy"}, elements=[18])
    model.standardise(data)
    whole, targets = BatchSource(data, 4.0, ["energy", "forces", "stress"]).batch(np.arange(4))
    outputs = model(whole, forces=True, stress=True, differentiable=True)
    weights = {"energy": 0.01, "forces": 1.0, "stress": 1.0}
    loss(outputs, targets, whole, weights, model.scales).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    assert model.representation.filters.first_weight.grad.any()


def test_gradient_of_a_stress_loss_against_differences():
    """By one bias of the filters, with five-point differences of the loss."""
    data = crystals(2)
    model = small_model({"name": "energy"}, elements=[18]).set_exact_filters()
    model.standardise(data)
    whole, targets = BatchSource(data, 4.0, ["stress"]).batch(np.arange(2))
    bias = model.representation.filters.second_bias

    def at(step):
        with torch.no_grad():
            bias[0, 0, 3] += step
        found = loss(model(whole, stress=True, differentiable=True), targets, whole, {"stress": 1.0}, model.scales)
        with torch.no_grad():
            bias[0, 0, 3] -= step
        return found

    (slope,) = torch.autograd.grad(at(0.0), bias)
    step = 1e-3
    ends = [float(at(k * step).detach()) for k in (1, -1, 2, -2)]
    numerical = (8.0 * (ends[0] - ends[1]) - (ends[2] - ends[3])) / (12.0 * step)
    assert float(slope[0, 0, 3]) == pytest.approx(numerical, rel=1e-6)


class TestDefaultWeights:
    PREDICTED = (
        "energy", "atom_energies", "dipole", "dipole_magnitude", "charges", "polarizability",
        "isotropic_polarizability", "atom_polarizabilities", "homo", "atom_homo", "forces", "stress",
    )  # fmt: skip

    def test_one_for_each_label(self):
        found = loss_weights(None, ["homo", "dipole", "energy"], self.PREDICTED)
        assert found == {"energy": 1.0, "dipole": 1.0, "homo": 1.0}

    def test_the_whole_goes_before_its_part(self):
        labels = ["dipole", "dipole_magnitude", "polarizability", "isotropic_polarizability"]
        assert set(loss_weights(None, labels, self.PREDICTED)) == {"dipole", "polarizability"}
        assert set(loss_weights(None, labels[1::2], self.PREDICTED)) == set(labels[1::2])

    @pytest.mark.parametrize("name", ["charges", "atom_energies", "atom_homo", "atom_polarizabilities"])
    def test_atom_terms_are_no_targets(self, name):
        with pytest.raises(InputError, match=f"'{name}' is not predicted by this model and cannot be trained on"):
            loss_weights({name: 1.0}, [name], self.PREDICTED)
        with pytest.raises(InputError, match="no label that the model predicts"):
            loss_weights(None, [name], self.PREDICTED)


def test_the_toy_crystals_have_the_stress_of_the_documents_sign():
    """∂E/∂ε / V of a compressed crystal is negative on the diagonal: it gains by growing."""
    tight, wide = (bulk("Ar", "fcc", a=edge) for edge in (4.0, 4.8))
    from ase.calculators.lj import LennardJones

    stresses = []
    for atoms in (tight, wide):
        atoms.calc = LennardJones(sigma=2.9, epsilon=0.4, rc=5.0, smooth=True)
        stresses.append(np.trace(atoms.get_stress(voigt=False)))
    assert stresses[0] < 0 < stresses[1]
