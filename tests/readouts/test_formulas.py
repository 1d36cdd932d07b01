"""Readouts of random models against their docstrings' formulas, written a second time in numpy with loops."""

import itertools
import math

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule
from ase.data import atomic_masses

from atomlens.model import Model, ModelConfig

REPRESENTATION = {"name": "schnet", "features": 6, "interactions": 2, "cutoff": 4.0}
TENSOR = {"name": "polarizability", "channels": 3, "range": 3.5}


def model(*readouts, elements=(1, 6, 8)):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        made = Model(
            ModelConfig.parse({"representation": REPRESENTATION, "readouts": list(readouts)}), list(elements)
        ).set_precision(torch.float64)
        for name, parameter in made.named_parameters():
            if name.endswith("bias"):
                torch.nn.init.normal_(parameter, 0.0, 0.4)
    for readout in made.readouts.values():
        readout.scale.fill_(0.8)
        if hasattr(readout, "offsets"):
            readout.offsets[list(elements)] = torch.tensor([0.6 * z for z in elements], dtype=torch.float64)
    return made


def methanol():
    atoms = molecule("CH3OH")
    atoms.rattle(0.1, seed=1)
    return atoms


def carbon():
    """A sheared primitive cell of diamond, smaller than the range."""
    atoms = bulk("C", "diamond", a=3.57)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + np.array([[0.02, 0.03, 0], [0, -0.01, 0.02], [0.01, 0, 0]])), True)
    atoms.rattle(0.1, seed=2)
    return atoms


def network(made, name, atoms):
    """What the readout's network says for each atom, (atoms, outputs)."""
    batch = made.collate([atoms])
    return made.readouts[name].network(made.representation(batch), batch.numbers).detach().numpy()


def polarizability(made, atoms):
    """α_i = a_i 1 + Σ_j s_ij (û û^T - 1/3), one atom and one neighbour after the other."""
    readout, outputs = made.readouts["polarizability"], network(made, "polarizability", atoms)
    channels, reach = TENSOR["channels"], TENSOR["range"]
    gamma = 0.5 * ((channels - 1) / reach) ** 2
    images = [range(-4, 5) if repeats else (0,) for repeats in atoms.pbc]
    tensors = np.zeros((len(atoms), 3, 3))
    for i in range(len(atoms)):
        tensors[i] = (0.8 * outputs[i, 0] + float(readout.offsets[atoms.numbers[i]])) * np.eye(3)
        for j, shift in itertools.product(range(len(atoms)), itertools.product(*images)):
            vector = atoms.positions[j] + np.array(shift) @ atoms.cell.array - atoms.positions[i]
            distance = math.sqrt(vector @ vector)
            if (j == i and shift == (0, 0, 0)) or distance >= reach:
                continue
            u = distance / reach
            strength = 0.0
            for k in range(channels):
                gaussian = math.exp(-gamma * (distance - k * reach / (channels - 1)) ** 2)
                strength += outputs[i, 1 + k] * outputs[j, 1 + channels + k] * gaussian
            strength *= 1 - 28 * u**6 + 48 * u**7 - 21 * u**8
            unit = vector / distance
            tensors[i] += 0.8 * strength * (np.outer(unit, unit) - np.eye(3) / 3.0)
    return tensors


@pytest.mark.parametrize("build", [methanol, carbon])
def test_polarizability(build):
    made, atoms = model(TENSOR), build()
    expected = polarizability(made, atoms)
    found = made.predict(atoms)
    np.testing.assert_allclose(found["atom_polarizabilities"], expected, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(found["polarizability"], expected.sum(axis=0), rtol=1e-11, atol=1e-12)
    assert found["isotropic_polarizability"] == pytest.approx(np.trace(expected.sum(axis=0)) / 3.0, rel=1e-12)
    off_diagonal = found["polarizability"] - np.diag(np.diag(found["polarizability"]))
    assert np.abs(off_diagonal).max() > 1e-3 * np.abs(found["polarizability"]).max()


def test_one_channel_has_one_gaussian_at_zero():
    readout = model({"name": "polarizability", "channels": 1, "range": 2.0}).readouts["polarizability"]
    assert readout.centres.tolist() == [0.0]
    assert readout._gamma == 0.125


@pytest.mark.parametrize(("conserve", "charge"), [(True, 0.0), (True, -1.0), (False, 0.0)])
def test_dipole(conserve, charge):
    made, atoms = model({"name": "dipole", "conserve_charge": conserve}), methanol()
    made.charges = (-1.0, 0.0)
    atoms.info["charge"] = charge
    charges = 0.8 * network(made, "dipole", atoms)[:, 0]
    if conserve:
        charges = charges + (charge - charges.sum()) / len(atoms)
    masses = [atomic_masses[number] for number in atoms.numbers]
    centre = sum(m * r for m, r in zip(masses, atoms.positions, strict=True)) / sum(masses)
    expected = sum(q * (r - centre) for q, r in zip(charges, atoms.positions, strict=True))
    found = made.predict(atoms)
    np.testing.assert_allclose(found["charges"], charges, rtol=1e-12)
    np.testing.assert_allclose(found["dipole"], expected, rtol=1e-11, atol=1e-13)
    assert found["dipole_magnitude"] == pytest.approx(np.linalg.norm(expected), rel=1e-12)


def test_several_readouts_answer_as_each_alone():
    """They share features and nothing else."""
    entries = [{"name": "energy"}, {"name": "dipole"}, TENSOR, {"name": "intensive", "property": "gap"}]
    together, atoms = model(*entries), methanol()
    found = together.predict(atoms)
    for entry in entries:
        alone = model(entry)
        state = {name: value for name, value in together.state_dict().items() if name in alone.state_dict()}
        alone.load_state_dict(state)
        for name, value in alone.predict(atoms).items():
            np.testing.assert_allclose(found[name], value, rtol=1e-12, atol=1e-13)


DIRECTIONS = np.random.default_rng(5).normal(size=(3, 6, 3))
STEPS = 1e-2 * 10.0 ** (-np.arange(6) / 5.0)  # Å


@pytest.mark.parametrize("conserve", [True, False])
def test_derivative_of_the_dipole_by_positions(conserve):
    """Central differences approach ∂μ/∂r · u with order 2; infrared intensities are made of it."""
    made, atoms = model({"name": "dipole", "conserve_charge": conserve}), methanol()
    batch = made.collate([atoms])
    positions = batch.positions.clone().requires_grad_()
    moved = type(batch)(**{**vars(batch), "positions": positions})
    dipole = made(moved)["dipole"][0]
    rows = [torch.autograd.grad(dipole[k], positions, retain_graph=True)[0] for k in range(3)]
    jacobian = torch.stack(rows).numpy()

    def at(displacement):
        changed = atoms.copy()
        changed.positions += displacement
        return made.predict(changed)["dipole"]

    for direction in DIRECTIONS:
        exact = np.einsum("kna,na->k", jacobian, direction)
        errors = [np.linalg.norm((at(h * direction) - at(-h * direction)) / (2 * h) - exact) for h in STEPS]
        order = np.polyfit(np.log(STEPS), np.log(errors), 1)[0]
        assert order == pytest.approx(2.0, abs=0.1)
        assert errors[-1] < 1e-3 * np.linalg.norm(exact)
    # Moving the whole molecule changes nothing: the derivatives of neutral or free charges add up to zero.
    np.testing.assert_allclose(jacobian.sum(axis=1), np.zeros((3, 3)), atol=1e-13)
