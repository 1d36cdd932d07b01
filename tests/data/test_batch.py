"""Batches: laying structures end to end, distance vectors, strain, and the same from a data set."""

from dataclasses import fields, replace

import ase
import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

from atomlens.data.batch import Batch, Pairs, collate
from atomlens.data.batching import BatchSource
from atomlens.data.dataset import Dataset
from atomlens.data.neighbours import neighbour_list
from atomlens.data.system import AtomicSystem
from atomlens.errors import InputError
from atomlens.model import Model, ModelConfig

CUTOFF = 4.0


def rattled(atoms, seed, charge=0.0):
    atoms.rattle(0.05, seed=seed)
    atoms.info["charge"] = charge
    return AtomicSystem.from_ase(atoms)


@pytest.fixture
def systems():
    slab = bulk("NaCl", "rocksalt", a=5.6).repeat((1, 1, 2))
    slab.pbc = (True, True, False)
    return [
        rattled(molecule("CH3CH2OH"), 0),
        rattled(bulk("C", "diamond", a=3.57), 1),
        AtomicSystem.from_ase(ase.Atoms("He")),
        rattled(slab, 2, charge=-1.0),
        rattled(molecule("H2O"), 3, charge=1.0),
    ]


@pytest.fixture
def model():
    config = {"representation": {"name": "schnet", "features": 8, "interactions": 2, "cutoff": CUTOFF}}
    return Model(ModelConfig.parse(config), [1, 2, 6, 8, 11, 17])


def tensors(batch):
    parts = {field.name: getattr(batch, field.name) for field in fields(Batch)}
    return {**parts, **{f"pairs.{field.name}": getattr(batch.pairs, field.name) for field in fields(Pairs)}}


def assert_equal(first, second):
    second = tensors(second)
    for name, value in tensors(first).items():
        if isinstance(value, torch.Tensor):
            assert value.dtype == second[name].dtype, name
            assert torch.equal(value, second[name]), name
        elif value is None:
            assert second[name] is None, name


def test_collate_lays_structures_end_to_end(systems):
    batch = collate(systems, CUTOFF)
    sizes = [9, 2, 1, 4, 3]
    assert torch.bincount(batch.system).tolist() == sizes
    assert batch.numbers.tolist() == np.concatenate([system.numbers for system in systems]).tolist()
    np.testing.assert_array_equal(batch.positions, np.concatenate([system.positions for system in systems]))
    assert batch.positions.dtype == torch.float64
    assert batch.cell.shape == (5, 3, 3)
    assert batch.pbc.tolist()[3] == [True, True, False]
    assert batch.charge.tolist() == [0.0, 0.0, 0.0, -1.0, 1.0]
    assert batch.weight is None
    assert batch.initial_features is None


def test_pairs_stay_within_their_structure(systems):
    batch = collate(systems, CUTOFF)
    assert torch.equal(batch.system[batch.pairs.centre], batch.system[batch.pairs.neighbour])
    assert (batch.pairs.centre.diff() >= 0).all()
    counts = torch.bincount(batch.system[batch.pairs.centre], minlength=5).tolist()
    assert counts == [len(neighbour_list(system, CUTOFF)[0]) for system in systems]
    assert counts[2] == 0


def test_pair_vectors_of_each_structure(systems):
    batch = collate(systems, CUTOFF)
    expected = []
    for system in systems:
        centre, neighbour, shift = neighbour_list(system, CUTOFF)
        expected.append(system.positions[neighbour] + shift @ system.cell - system.positions[centre])
    np.testing.assert_allclose(batch.pair_vectors(), np.concatenate(expected), rtol=0, atol=1e-13)
    assert batch.pair_vectors().norm(dim=1).max() < CUTOFF


def test_open_batches_carry_no_shift(systems):
    batch = collate([systems[0], systems[4]], CUTOFF)
    assert batch.pairs.shift is None
    periodic = collate([systems[0], systems[1]], CUTOFF)
    first = batch.pair_vectors()[: int((batch.system[batch.pairs.centre] == 0).sum())]
    torch.testing.assert_close(periodic.pair_vectors()[: len(first)], first, rtol=0, atol=0)


def test_pair_vectors_are_differentiable_in_positions_and_cell(systems):
    batch = collate([systems[1], systems[4]], 2.0)

    def vectors(positions, cell):
        return replace(batch, positions=positions, cell=cell).pair_vectors()

    inputs = (batch.positions.clone().requires_grad_(), batch.cell.clone().requires_grad_())
    assert torch.autograd.gradcheck(vectors, inputs)


def test_strain_maps_every_pair_vector(systems):
    """r ← r (1 + ε) for positions and cells gives d ← d (1 + ε), with the symmetric part of ε."""
    batch = collate(systems, CUTOFF)
    strain = torch.from_numpy(np.random.default_rng(0).uniform(-0.1, 0.1, (5, 3, 3)))
    symmetric = 0.5 * (strain + strain.transpose(1, 2))
    per_pair = (torch.eye(3) + symmetric)[batch.system[batch.pairs.centre]]
    expected = torch.einsum("pa,pab->pb", batch.pair_vectors(), per_pair)
    torch.testing.assert_close(batch.strained(strain).pair_vectors(), expected, rtol=0, atol=1e-13)


def energies(batch, weight):
    """Σ_p w_p r² exp(-r) of each structure; weights of their own for i-j and j-i, as where a probe is not heard."""
    distance = torch.linalg.vector_norm(batch.pair_vectors(), dim=1)
    terms = weight * distance**2 * torch.exp(-distance)
    return torch.zeros(len(batch.cell), dtype=terms.dtype).index_add(0, batch.system[batch.pairs.centre], terms)


def slopes(batch, weight):
    """∂E/∂(r_j - r_i) of the same, by hand."""
    vectors = batch.pair_vectors()
    distance = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    return weight[:, None] * (2.0 - distance) * torch.exp(-distance) * vectors


def pair_weights(batch):
    return torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, len(batch.pairs.centre)))


SELECTIONS = [[0, 1, 2, 3, 4], [0], [1], [2], [3], [4, 0], [1, 1], [2, 2]]


@pytest.mark.parametrize("selection", SELECTIONS)
def test_net_forces_are_the_slope_of_the_energy(systems, selection):
    batch = collate([systems[place] for place in selection], CUTOFF)
    weight, positions = pair_weights(batch), batch.positions.clone().requires_grad_()
    energy = energies(replace(batch, positions=positions), weight).sum()
    (expected,) = torch.autograd.grad(-energy, positions)
    forces = batch.net_forces(slopes(batch, weight))
    torch.testing.assert_close(forces, expected, rtol=0, atol=1e-13)
    # Pairs exert no force on the whole.
    total = torch.zeros(len(selection), 3, dtype=torch.float64).index_add(0, batch.system, forces)
    torch.testing.assert_close(total, torch.zeros_like(total), rtol=0, atol=1e-12)


@pytest.mark.parametrize("selection", SELECTIONS)
def test_virial_is_the_slope_of_the_energy_by_strain(systems, selection):
    batch = collate([systems[place] for place in selection], CUTOFF)
    weight = pair_weights(batch)
    strain = torch.zeros(len(selection), 3, 3, dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(energies(batch.strained(strain), weight).sum(), strain)
    virial = batch.virial(slopes(batch, weight))
    torch.testing.assert_close(virial, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(virial, virial.transpose(1, 2), rtol=0, atol=0)


def test_virial_of_an_energy_of_directions(systems):
    """Slopes that are not along their pairs: only the symmetric part of Σ d ⊗ ∂E/∂d is there."""
    batch = collate(systems, CUTOFF)
    along = torch.from_numpy(np.random.default_rng(1).normal(size=(len(batch.pairs.centre), 3)))
    strain = torch.zeros(5, 3, 3, dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad((batch.strained(strain).pair_vectors() * along).sum(), strain)
    torch.testing.assert_close(batch.virial(along), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("selection", [[1], [3, 4]])
def test_forces_and_virial_are_differentiable_twice(systems, selection):
    batch = collate([systems[place] for place in selection], 2.6)
    assert 0 < len(batch.pairs.centre) < 50

    def of_slopes(slope):
        return batch.net_forces(slope), batch.virial(slope)

    def of_positions(positions, cell, slope):
        return replace(batch, positions=positions, cell=cell).virial(slope)

    slope = slopes(batch, pair_weights(batch)).requires_grad_()
    inputs = batch.positions.clone().requires_grad_(), batch.cell.clone().requires_grad_(), slope
    assert torch.autograd.gradcheck(of_slopes, (slope,))
    assert torch.autograd.gradcheck(of_positions, inputs)
    assert torch.autograd.gradgradcheck(of_positions, inputs)


def test_forces_and_virial_keep_the_precision_of_the_slopes(systems):
    batch = collate([systems[1]], CUTOFF)
    batch = replace(batch, vectors=batch.pair_vectors().float())
    slope = torch.ones(len(batch.pairs.centre), 3)
    assert batch.net_forces(slope).dtype == batch.virial(slope).dtype == torch.float32


def test_vectors_that_are_given_are_taken(systems):
    batch = collate(systems, CUTOFF)
    given = torch.from_numpy(np.random.default_rng(0).normal(size=(len(batch.pairs.centre), 3)))
    changed = replace(batch, vectors=given)
    assert changed.pair_vectors() is given
    assert changed.to("cpu").pair_vectors() is given
    assert changed.strained(torch.zeros(5, 3, 3, dtype=torch.float64)).vectors is None


def test_a_structure_is_the_same_alone_and_in_company(systems):
    for system in (systems[1], systems[3]):
        alone, pair = collate([system], CUTOFF), collate([system, system], CUTOFF)
        half = len(alone.pairs.centre)
        weight = pair_weights(alone)
        along, twice = slopes(alone, weight), slopes(pair, weight.repeat(2))
        torch.testing.assert_close(pair.pair_vectors()[half:], alone.pair_vectors(), rtol=0, atol=1e-13)
        torch.testing.assert_close(pair.virial(twice)[1], alone.virial(along)[0], rtol=0, atol=1e-12)


def test_strain_leaves_the_batch_alone(systems):
    batch = collate(systems, CUTOFF)
    before = batch.positions.clone(), batch.cell.clone()
    strained = batch.strained(torch.full((5, 3, 3), 0.1, dtype=torch.float64))
    assert torch.equal(batch.positions, before[0])
    assert torch.equal(batch.cell, before[1])
    assert strained.pairs is batch.pairs


def dataset(systems):
    return Dataset.from_arrays(
        numbers=np.concatenate([system.numbers for system in systems]),
        positions=np.concatenate([system.positions for system in systems]),
        n_atoms=np.array([len(system.numbers) for system in systems]),
        labels={
            "energy": np.arange(float(len(systems))),
            "forces": np.arange(3.0 * sum(len(s.numbers) for s in systems)).reshape(-1, 3),
        },
        cell=np.stack([system.cell for system in systems]),
        pbc=np.stack([system.pbc for system in systems]),
        charge=np.array([system.charge for system in systems]),
    )


@pytest.mark.parametrize("indices", [[0, 1, 2, 3, 4], [3], [2], [4, 1, 1, 0], [2, 2]])
def test_batch_source_gathers_what_collate_lays_out(systems, indices):
    source = BatchSource(dataset(systems), CUTOFF, ["energy", "forces"])
    batch, targets = source.batch(np.array(indices))
    expected = collate([systems[index] for index in indices], CUTOFF)
    if batch.pairs.shift is not None and expected.pairs.shift is None:
        # The data set holds crystals; this batch has none, and all its shifts are zero.
        assert not batch.pairs.shift.any()
        batch = replace(batch, pairs=replace(batch.pairs, shift=None))
    assert_equal(batch, expected)
    assert targets["energy"].tolist() == [float(index) for index in indices]
    ends = np.cumsum([len(system.numbers) for system in systems])
    rows = np.concatenate([np.arange(ends[i] - len(systems[i].numbers), ends[i]) for i in indices])
    assert targets["forces"].tolist() == np.arange(3.0 * ends[-1]).reshape(-1, 3)[rows].tolist()


def test_batch_source_of_molecules(systems):
    source = BatchSource(dataset([systems[0], systems[4]]), None, [])
    batch, targets = source.batch(np.array([1, 0]))
    assert_equal(batch, collate([systems[4], systems[0]], None))
    assert targets == {}
    assert len(source) == 2
    assert source.pair_count(np.array([0, 1])).tolist() == [72, 6]


def test_collate_names_the_structure(systems):
    with pytest.raises(InputError, match="structure 1: is periodic, but the model has no cutoff"):
        collate(systems, None)
    clash = AtomicSystem.from_ase(ase.Atoms("H2", [[0, 0, 0], [0, 0, 0.1]]))
    with pytest.raises(InputError, match=r"structure 2: atom 0 \(H\) and atom 1 \(H\)"):
        collate([systems[0], systems[4], clash], CUTOFF)


def test_to_keeps_everything(systems):
    batch = collate(systems, CUTOFF)
    batch = replace(batch, weight=torch.ones(19), initial_features=torch.ones(19, 2))
    moved = batch.to("cpu")
    assert_equal(batch, moved)
    assert batch.to("meta").pairs.shift.device.type == "meta"
    assert collate([systems[0]], CUTOFF).to("meta").pairs.shift is None


def test_batch_is_a_pytree(systems):
    batch = collate(systems, CUTOFF)
    leaves, structure = torch.utils._pytree.tree_flatten(batch)
    assert sum(isinstance(leaf, torch.Tensor) for leaf in leaves) == 9
    assert_equal(torch.utils._pytree.tree_unflatten(leaves, structure), batch)


@pytest.mark.filterwarnings("ignore")  # torch.export warns of its own parts
def test_export_takes_batches(systems, model):
    """A model exported with one batch gives the same energies on it; sizes are those of the example."""
    batch = collate(systems, CUTOFF)
    program = torch.export.export(model, (batch,))
    found = program.module()(batch)
    expected = model.set_exact_filters()(batch)  # exported programs have no tables
    torch.testing.assert_close(found["energy"], expected["energy"], rtol=0, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_export_with_any_number_of_atoms_pairs_and_systems(systems, model):
    batch, other = collate(systems, CUTOFF), collate(systems[1:4], CUTOFF)
    shapes = torch.export.ShapesCollection()
    for value in tensors(batch).values():
        if isinstance(value, torch.Tensor):
            shapes[value] = {0: torch.export.Dim.DYNAMIC}
    program = torch.export.export(model, (batch,), dynamic_shapes=shapes)
    assert len(other.numbers) != len(batch.numbers)
    expected = model.set_exact_filters()(other)
    torch.testing.assert_close(program.module()(other)["energy"], expected["energy"], rtol=0, atol=1e-6)


def test_moved_is_a_batch_of_the_moved_structures(systems):
    batch = collate(systems, CUTOFF)
    random = np.random.default_rng(0)
    positions = batch.positions + torch.from_numpy(random.normal(size=(19, 3)))
    cell = batch.cell + torch.from_numpy(random.normal(size=(5, 3, 3)))
    moved = batch.moved(positions, cell)
    assert moved.pairs is batch.pairs
    assert_equal(replace(moved, vectors=None), replace(batch, positions=positions, cell=cell))
    assert torch.equal(moved.pair_vectors(), replace(batch, positions=positions, cell=cell).pair_vectors())
