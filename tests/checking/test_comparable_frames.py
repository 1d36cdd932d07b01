"""Pairs of near frames: the trapezium rule against the energies of an analytic potential."""

from itertools import pairwise

import numpy as np
import pytest
from ase.build import bulk
from emt_frames import clusters, dataset, ethanols, strained_crystals, turned

from atomlens.checking.comparable_frames import comparable_groups, frame_pairs, medians_of_frames, sampled_frames
from atomlens.data.dataset import Column, Dataset


def every(data):
    return np.ones(len(data), dtype=bool)


def residual(pairs, data):
    """What forces and stress leave over of the energy."""
    work = 0.5 * pairs.paths.sum(axis=1)
    if "stress" in data.labels:
        ends = [data.labels["stress"][rows] for rows in (pairs.first, pairs.second)]
        work += 0.5 * sum((ends[side] * pairs.strains[:, side]).sum(axis=(1, 2)) for side in (0, 1))
    return np.abs(pairs.energy - work)


def orders_of(make, steps):
    """Fitted order of the residual in the size of the displacement."""
    left = []
    for step in steps:
        data = make(step)
        pairs = frame_pairs(data, [np.array([0, 1])])
        assert len(pairs) == 1
        left.append(residual(pairs, data)[0])
    return np.polyfit(np.log(steps), np.log(left), 1)[0]


def test_residual_between_molecules_is_of_third_order():
    random = np.random.default_rng(3)
    first = clusters(1)[0]
    way = random.normal(size=first.positions.shape)

    def make(step):
        second = first.copy()
        second.positions += step * way
        return dataset([first, turned(second, random)])

    assert orders_of(make, [0.001, 0.002, 0.004]) == pytest.approx(3.0, abs=0.15)


def test_residual_between_crystals_is_of_third_order_in_strain_and_displacement():
    random = np.random.default_rng(4)
    first = strained_crystals(1)[0]
    way, strain = random.normal(size=(4, 3)), random.normal(size=(3, 3))

    def make(step):
        second = first.copy()
        second.set_cell(second.cell.array @ (np.eye(3) + step * strain), scale_atoms=True)
        second.positions += step * way
        return dataset([first, turned(second, random)], ("energy", "forces", "stress"))

    assert orders_of(make, [0.002, 0.004, 0.008]) == pytest.approx(3.0, abs=0.2)


def test_distance_is_that_of_the_displacement_whatever_the_turn():
    random = np.random.default_rng(5)
    first = clusters(1)[0]
    second = first.copy()
    way = random.normal(size=second.positions.shape)
    way -= way.mean(axis=0)
    # No rotation of least squares remains where the displacement has no angular part.
    arm = first.positions - first.positions.mean(axis=0)
    inertia = (arm**2).sum() * np.eye(3) - arm.T @ arm
    way -= np.cross(np.linalg.solve(inertia, np.cross(arm, way).sum(axis=0)), arm)
    second.positions += 1e-3 * way
    pairs = frame_pairs(dataset([first, turned(second, random)]), [np.array([0, 1])])
    expected = 1e-3 * np.sqrt((way**2).sum(axis=1).mean())
    assert pairs.distance[0] == pytest.approx(expected, rel=1e-3)


def test_a_turned_copy_is_one_frame_twice():
    first = clusters(1)[0]
    data = dataset([first, turned(first, np.random.default_rng(1))])
    assert len(frame_pairs(data, [np.array([0, 1])])) == 0


def test_strain_of_a_stretched_cell():
    first = bulk("Cu", cubic=True)
    second = first.copy()
    second.set_cell(second.cell.array * [1.02, 1.0, 1.0], scale_atoms=True)
    pairs = frame_pairs(dataset([first, second]), [np.array([0, 1])])
    assert pairs.strain[0] == pytest.approx(0.02)
    assert pairs.distance[0] == pytest.approx(0.0, abs=1e-12)
    volume = first.get_volume()
    assert pairs.strains[0, 0] == pytest.approx(np.diag([0.02 * volume, 0.0, 0.0]))
    assert pairs.strains[0, 1] == pytest.approx(np.diag([0.02 * volume, 0.0, 0.0]))  # 1.02 V · 0.02 / 1.02


def test_atoms_across_the_boundary_are_near():
    first = bulk("Cu", cubic=True)
    second = first.copy()
    second.positions[1] += [0.01, 0.0, 0.0]
    second.positions[2] += second.cell.array[0]  # the same place in the next cell
    pairs = frame_pairs(dataset([first, second]), [np.array([0, 1])])
    # One of four atoms moved by 0.01 Å; the drift of a quarter of it is taken off.
    assert pairs.distance[0] == pytest.approx(0.01 * np.sqrt((9 + 3) / 64))


def test_groups_keep_orders_charges_and_periodicity_apart():
    ethanol, swapped, copper = ethanols(2), ethanols(2), strained_crystals(2)
    for atoms in swapped:
        atoms.numbers[[0, 8]] = atoms.numbers[[8, 0]]
    frames = [ethanol[0], swapped[0], copper[0], ethanol[1], swapped[1], copper[1]]
    data = Dataset.from_arrays(
        np.concatenate([atoms.numbers for atoms in frames]),
        np.concatenate([atoms.positions for atoms in frames]),
        np.array([len(atoms) for atoms in frames]),
        {},
        cell=np.array([atoms.cell.array for atoms in frames]),
        pbc=np.array([atoms.pbc for atoms in frames]),
        charge=np.array([0.0, 1.0, 0.0, 0.0, 0.0, 0.0]),
    )
    assert sorted(group.tolist() for group in comparable_groups(data, every(data))) == [[0, 3], [2, 5]]


def test_sample_is_bounded_and_the_same_every_time():
    groups = [np.arange(20_000), np.arange(20_000, 20_010)]
    sizes = np.full(20_010, 9)
    first, second = (sampled_frames(groups, sizes) for _ in range(2))
    assert [len(group) for group in first] == [2_990, 10]
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_frames_that_follow_in_time_are_paired():
    random = np.random.default_rng(0)
    frames = clusters(60, size=0.05)
    order = random.permutation(60)
    data = dataset(frames)
    columns = {"frame": Column(order.astype(float), "system")}
    timed = Dataset.from_arrays(data.numbers, data.positions, data.n_atoms, {**data.labels}, columns=columns)
    pairs = frame_pairs(timed, [np.arange(60)])
    found = {frozenset(ends) for ends in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)}
    places = np.argsort(order)
    assert all(frozenset((int(a), int(b))) in found for a, b in pairwise(places))


def test_median_of_each_frame():
    data = dataset(clusters(4))
    pairs = frame_pairs(data, [np.arange(4)])
    values = np.arange(len(pairs), dtype=float)
    structures, median, counts = medians_of_frames(pairs, values)
    for structure, found, count in zip(structures, median, counts, strict=True):
        own = sorted(values[(pairs.first == structure) | (pairs.second == structure)])
        assert found == own[(len(own) - 1) // 2]
        assert count == len(own)
