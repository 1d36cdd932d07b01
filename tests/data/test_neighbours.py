"""Neighbour lists against a brute-force search over explicit images."""

import itertools

import ase
import numpy as np
import pytest
from ase.build import bulk

from atomlens.data.neighbours import MIN_DISTANCE, neighbour_list
from atomlens.data.system import AtomicSystem
from atomlens.errors import InputError

TRICLINIC = np.array([[3.1, 0.2, -0.4], [0.9, 2.7, 0.3], [-0.7, 1.1, 4.0]])
PBC = list(itertools.product([False, True], repeat=3))


def make(seed, atoms=4, cell=TRICLINIC, pbc=(True, True, True), spread=1.0):
    """Atoms at random places in the cell, at least 0.4 Å apart from each other and from images."""
    random = np.random.default_rng(seed)
    while True:
        positions = (random.uniform(-0.5, 0.5, (atoms, 3)) * spread + 0.5) @ cell
        system = AtomicSystem(np.full(atoms, 6), positions, np.asarray(cell), np.array(pbc))
        if all(pair[3] > 0.4 for pair in brute_force(system, 1.0)):
            return system


def brute_force(system, cutoff):
    """Every (centre, neighbour, shift, distance) with distance < cutoff, from far more images than can matter."""
    heights = 1.0 / np.linalg.norm(np.linalg.inv(system.cell), axis=0)
    reach = [int(np.ceil(2 + (cutoff + np.ptp(system.positions, axis=0).sum()) / h)) for h in heights]
    images = [range(-n, n + 1) if repeats else (0,) for n, repeats in zip(reach, system.pbc, strict=True)]
    shifts = np.array(list(itertools.product(*images)))
    vectors = (shifts @ system.cell)[None, None] + (system.positions[None] - system.positions[:, None])[:, :, None]
    distances = np.linalg.norm(vectors, axis=3)
    itself = np.eye(len(system.numbers), dtype=bool)[:, :, None] & (shifts == 0).all(axis=1)
    centre, neighbour, image = np.nonzero((distances < cutoff) & ~itself)
    return sorted(
        (int(i), int(j), tuple(shifts[s].tolist()), float(distances[i, j, s]))
        for i, j, s in zip(centre, neighbour, image, strict=True)
    )


def found(system, cutoff):
    centre, neighbour, shift = neighbour_list(system, cutoff)
    vectors = system.positions[neighbour] - system.positions[centre] + shift @ system.cell
    distances = np.linalg.norm(vectors, axis=1)
    rows = zip(centre.tolist(), neighbour.tolist(), map(tuple, shift.tolist()), distances.tolist(), strict=True)
    return sorted(rows)


def assert_same(ours, exact):
    assert [row[:3] for row in ours] == [row[:3] for row in exact]
    np.testing.assert_allclose([row[3] for row in ours], [row[3] for row in exact], rtol=0, atol=1e-12)


@pytest.mark.parametrize("pbc", PBC)
@pytest.mark.parametrize("cutoff", [1.5, 5.0])
def test_triclinic_cells_smaller_than_the_cutoff(pbc, cutoff):
    system = make(1, pbc=pbc)
    exact = brute_force(system, cutoff)
    assert len(exact) > 0
    assert_same(found(system, cutoff), exact)


@pytest.mark.parametrize("pbc", PBC)
def test_atoms_outside_the_cell(pbc):
    system = make(2, pbc=pbc, spread=4.0)
    assert_same(found(system, 4.2), brute_force(system, 4.2))


@pytest.mark.parametrize("shift", [(3, 0, 0), (-2, 5, 1), (40, -40, 7)])
def test_atoms_shifted_by_lattice_vectors(shift):
    """The same distances, with the displacement accounted for in the images."""
    system = make(3)
    positions = system.positions.copy()
    positions[1] += np.array(shift) @ TRICLINIC
    moved = AtomicSystem(system.numbers, positions, system.cell, system.pbc)
    before, after = found(system, 4.0), found(moved, 4.0)
    np.testing.assert_allclose(sorted(r[3] for r in after), sorted(r[3] for r in before), rtol=0, atol=1e-11)
    if max(map(abs, shift)) < 10:  # farther away, brute force would need millions of images
        assert_same(after, brute_force(moved, 4.0))


@pytest.mark.parametrize("seed", range(5))
def test_random_cells(seed):
    random = np.random.default_rng(seed)
    cell = random.uniform(-1.5, 1.5, (3, 3)) + np.diag([3.5, 3.0, 4.5])
    system = make(seed, atoms=3, cell=cell, pbc=random.random(3) < 0.7)
    assert_same(found(system, 6.0), brute_force(system, 6.0))


def test_left_handed_cell():
    system = make(4, cell=TRICLINIC[[1, 0, 2]])
    assert np.linalg.det(system.cell) < 0
    assert_same(found(system, 4.5), brute_force(system, 4.5))


def test_one_atom_hears_its_own_images():
    """Simple cubic, a = 2 Å: 6 neighbours at 2, 12 at 2√2, 8 at 2√3, 6 at 4."""
    system = AtomicSystem(np.array([84]), np.zeros((1, 3)), 2.0 * np.eye(3), np.ones(3, dtype=bool))
    rows = found(system, 4.1)
    assert all(row[:2] == (0, 0) for row in rows)
    distances, counts = np.unique(np.round([row[3] for row in rows], 9), return_counts=True)
    np.testing.assert_allclose(distances, [2.0, 8**0.5, 12**0.5, 4.0], atol=1e-8)
    assert counts.tolist() == [6, 12, 8, 6]


def test_diamond_shells():
    """4 neighbours at √3/4 a, 12 at a/√2, 12 at √11/4 a."""
    system = AtomicSystem.from_ase(bulk("C", "diamond", a=3.567))
    rows = [row for row in found(system, 3.1) if row[0] == 0]
    distances, counts = np.unique(np.round([row[3] for row in rows], 6), return_counts=True)
    np.testing.assert_allclose(distances / 3.567, [3**0.5 / 4, 0.5**0.5, 11**0.5 / 4], atol=1e-6)
    assert counts.tolist() == [4, 12, 12]


def test_sorted_by_centre_with_documented_types():
    centre, neighbour, shift = neighbour_list(make(5), 5.0)
    assert (np.diff(centre) >= 0).all()
    assert (centre.dtype, neighbour.dtype, shift.dtype) == (np.int64, np.int64, np.int32)
    assert shift.shape == (len(centre), 3)


@pytest.mark.parametrize("pbc", PBC)
def test_every_pair_has_its_mirror(pbc):
    rows = {row[:3] for row in found(make(6, pbc=pbc), 4.5)}
    assert rows == {(j, i, tuple(-n for n in shift)) for i, j, shift in rows}


def test_no_shift_along_open_directions():
    _, _, shift = neighbour_list(make(7, pbc=(True, False, True)), 6.0)
    assert (shift[:, 1] == 0).all()
    assert (shift[:, [0, 2]] != 0).any()


@pytest.mark.parametrize("vectors", [1, 2])
def test_missing_lattice_vectors_of_open_directions(vectors):
    """A slab or chain may leave out the vectors along which it does not repeat."""
    cell = np.zeros((3, 3))
    cell[:vectors] = TRICLINIC[:vectors]
    pbc = np.arange(3) < vectors
    positions = make(8).positions
    bare = AtomicSystem(np.full(4, 6), positions, cell, pbc)
    whole = np.where(pbc[:, None], cell, 100.0 * np.array([[0, 0, 1], [0.1, 1, 0], [0.1, 0, 1]]))
    full = AtomicSystem(np.full(4, 6), positions, whole, pbc)
    assert_same(found(bare, 5.0), brute_force(full, 5.0))


def test_cell_of_an_open_structure_is_ignored():
    system = make(9, pbc=(False, False, False))
    bare = AtomicSystem(system.numbers, system.positions, np.zeros((3, 3)), system.pbc)
    assert found(system, 3.0) == found(bare, 3.0)


@pytest.mark.parametrize("atoms", [2, 3, 20])
def test_without_cutoff_every_pair(atoms):
    positions = 30.0 * np.random.default_rng(atoms).normal(size=(atoms, 3))
    system = AtomicSystem(np.full(atoms, 1), positions, np.zeros((3, 3)), np.zeros(3, dtype=bool))
    expected = [(i, j) for i in range(atoms) for j in range(atoms) if i != j]
    assert [row[:2] for row in found(system, None)] == expected


def test_without_cutoff_any_distance_is_near():
    system = AtomicSystem.from_ase(ase.Atoms("H3", [[0, 0, 0], [0, 0, 500.0], [0, 0, 1e8]]))
    assert len(found(system, None)) == 6


@pytest.mark.parametrize("cutoff", [None, 5.0])
def test_single_atom_has_no_pairs(cutoff):
    centre, neighbour, shift = neighbour_list(AtomicSystem.from_ase(ase.Atoms("He")), cutoff)
    assert len(centre) == len(neighbour) == 0
    assert shift.shape == (0, 3)


def test_far_apart_atoms_have_no_pairs():
    centre, _, shift = neighbour_list(AtomicSystem.from_ase(ase.Atoms("He2", [[0, 0, 0], [0, 0, 50.0]])), 5.0)
    assert len(centre) == 0
    assert shift.shape == (0, 3)


@pytest.mark.parametrize(("distance", "pairs"), [(5.0 - 1e-9, 2), (5.0 + 1e-9, 0)])
def test_exact_at_the_cutoff(distance, pairs):
    system = AtomicSystem.from_ase(ase.Atoms("He2", [[0, 0, 0], [0, 0, distance]]))
    assert len(found(system, 5.0)) == pairs


def test_no_cap_on_neighbours():
    """200 atoms within reach of each other."""
    positions = np.random.default_rng(0).permutation(np.stack(np.mgrid[:6, :6, :6], axis=-1).reshape(-1, 3))[:200]
    system = AtomicSystem(np.full(200, 2), 0.3 * positions, np.zeros((3, 3)), np.zeros(3, dtype=bool))
    assert len(found(system, 5.0)) == 200 * 199


def test_clash_names_both_atoms():
    system = AtomicSystem.from_ase(ase.Atoms("CHO", [[0, 0, 0], [0, 0, 1.1], [0, 0, 1.2]]))
    with pytest.raises(InputError, match=r"atom 1 \(H\) and atom 2 \(O\) are 0\.100 Å apart, closer than 0\.2 Å"):
        neighbour_list(system, 5.0)


def test_coinciding_atoms_are_a_clash():
    system = AtomicSystem.from_ase(ase.Atoms("H2", [[0, 0, 0], [0, 0, 0]]))
    for cutoff in (5.0, None):
        with pytest.raises(InputError, match=r"0\.000 Å apart"):
            neighbour_list(system, cutoff)


def test_clash_with_an_image():
    cell = np.diag([3.0, 3.0, 3.0])
    system = AtomicSystem(np.array([1, 8]), np.array([[0.05, 1, 1], [2.95, 1, 1]]), cell, np.ones(3, dtype=bool))
    with pytest.raises(InputError, match=r"atom 0 \(H\) and atom 1 \(O\) are 0\.100 Å apart"):
        neighbour_list(system, 2.0)


def test_just_above_the_limit_is_no_clash():
    system = AtomicSystem.from_ase(ase.Atoms("H2", [[0, 0, 0], [0, 0, MIN_DISTANCE * 1.01]]))
    assert len(found(system, 1.0)) == 2


@pytest.mark.parametrize("pbc", PBC[1:])
def test_periodic_without_cutoff_is_refused(pbc):
    with pytest.raises(InputError, match="is periodic, but the model has no cutoff"):
        neighbour_list(make(1, pbc=pbc), None)


def test_fragments_far_apart_need_neither_memory_nor_time():
    near = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.2, 0.0]])
    positions = np.concatenate([near, near + np.array([3e7, 0.0, 0.0]), near - np.array([0.0, 2e7, 1e7])])
    system = AtomicSystem(np.full(9, 6), positions, np.zeros((3, 3)), np.zeros(3, dtype=bool))
    centre, neighbour, shift = neighbour_list(system, 5.0)
    assert len(centre) == 18
    assert (centre // 3 == neighbour // 3).all()
    assert (np.diff(centre) >= 0).all()
    assert not shift.any()


def test_spread_out_and_dense_structures_are_listed_alike(monkeypatch):
    positions = np.random.default_rng(0).uniform(0, 12, (60, 3))
    system = AtomicSystem(np.full(60, 6), positions, np.zeros((3, 3)), np.zeros(3, dtype=bool))
    monkeypatch.setattr("atomlens.data.neighbours.MIN_DISTANCE", 0.0)
    dense = {tuple(pair) for pair in zip(*neighbour_list(system, 4.0)[:2], strict=True)}
    monkeypatch.setattr("atomlens.data.neighbours.MOST_BOXES", 0.0)
    assert {tuple(pair) for pair in zip(*neighbour_list(system, 4.0)[:2], strict=True)} == dense


def test_a_slab_with_an_atom_far_off_is_refused():
    system = AtomicSystem(
        np.array([6, 6]), np.array([[0, 0, 0], [0, 0, 1e8]]), np.diag([3.0, 3.0, 0.0]), np.array([True, True, False])
    )
    with pytest.raises(InputError, match="lie 1e\\+08 Å apart"):
        neighbour_list(system, 5.0)
