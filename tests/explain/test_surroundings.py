"""Which atoms and images points have near them, against all distances."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, graphene, molecule

from atomlens.data.system import AtomicSystem
from atomlens.explain.probes import surroundings
from atomlens.explain.probes.surroundings import Surroundings

CUTOFF = 4.0


def moved_out(atoms):
    """The same crystal, with its atoms in cells of their own."""
    atoms.positions += np.random.default_rng(1).integers(-3, 4, (len(atoms), 3)) @ atoms.cell.array
    return atoms


SKEW = [[3.0, 0, 0], [1.4, 2.9, 0], [0.3, -1.2, 3.3]]
STRUCTURES = {
    "molecule": molecule("CH3CH2OH"),
    "many atoms": molecule("C60"),
    "crystal": bulk("NaCl", "rocksalt", a=5.6),
    "skew crystal": Atoms("CO", [[0, 0, 0], [1.1, 0.4, 0.2]], cell=SKEW, pbc=True),
    "atoms in other cells": moved_out(bulk("ZnS", "zincblende", a=5.4, cubic=True)),
    "chain": Atoms("C", cell=[2.0, 0, 0], pbc=[True, False, False]),
    "sheet": graphene(a=2.46),
}  # fmt: skip


def by_all_distances(system, points):
    """Pairs (point, atom, distance) from images in many cells, sorted."""
    reach = [range(-4, 5) if repeats else (0,) for repeats in system.pbc]
    found = []
    for row, point in enumerate(points):
        base = np.zeros(3)
        if system.pbc.any():
            cell = np.where(system.pbc[:, None], system.cell, np.eye(3))
            base = np.floor(np.linalg.solve(cell.T, point)) * system.pbc
        for atom, position in enumerate(system.positions):
            home = position
            if system.pbc.any():
                home = position - np.floor(np.linalg.solve(cell.T, position)) * system.pbc @ system.cell
            for a in reach[0]:
                for b in reach[1]:
                    for c in reach[2]:
                        place = home + (np.array([a, b, c]) + base) @ system.cell
                        distance = np.linalg.norm(place - point)
                        if distance < CUTOFF:
                            found.append((row, atom, round(float(distance), 9)))
    return sorted(found)


@pytest.mark.parametrize("few", [0, 1_000_000], ids=["tree", "all distances"])
@pytest.mark.parametrize("name", STRUCTURES)
def test_pairs_are_those_of_all_images(name, few, monkeypatch):
    monkeypatch.setattr(surroundings, "FEW_IMAGES", few)
    system = AtomicSystem.from_ase(STRUCTURES[name])
    points = np.random.default_rng(0).uniform(-9.0, 11.0, (6, 3))
    points[3] = system.positions[0]  # at no distance at all
    around = Surroundings.of(system, CUTOFF)
    near = around.near(points)
    distances = np.linalg.norm(around.positions[near.image] - near.points[near.point], axis=1)
    found = zip(near.point.tolist(), around.atom[near.image].tolist(), np.round(distances, 9).tolist(), strict=True)
    assert sorted(found) == by_all_distances(system, points)
    assert (np.diff(near.point) >= 0).all()
    expected = system.positions[around.atom] + around.shift @ np.where(system.pbc[:, None], system.cell, 0.0)
    np.testing.assert_allclose(around.positions, expected, atol=1e-12)
    assert not around.shift[:, ~system.pbc].any()
    assert near.nearest[3] == pytest.approx(0.0, abs=1e-9)
    heard = np.unique(near.point)
    nearest = [distances[near.point == row].min() for row in heard]
    np.testing.assert_allclose(near.nearest[heard], nearest, atol=1e-12)


def test_without_a_cutoff_everything_is_near():
    system = AtomicSystem.from_ase(molecule("C60"))
    points = np.array([[0.0, 0, 0], [1e4, 0, 0]])
    near = Surroundings.of(system, None).near(points)
    assert near.point.tolist() == [0] * 60 + [1] * 60
    assert near.nearest[1] == pytest.approx(1e4 - system.positions[:, 0].max(), rel=1e-4)


def test_points_far_off_in_a_crystal_cost_no_more_images():
    system = AtomicSystem.from_ase(bulk("Si", cubic=True))
    around = Surroundings.of(system, CUTOFF)
    home, away = np.array([[1.0, 2.0, 0.5]]), np.array([[1.0 - 5430.0, 2.0, 0.5 + 543.0]])
    first, second = around.near(home), around.near(away)
    np.testing.assert_allclose(second.points, home, atol=1e-9)
    assert first.image.tolist() == second.image.tolist()


@pytest.mark.parametrize(
    ("structure", "cutoff"),
    [
        (bulk("Si", cubic=True).repeat((3, 3, 3)), 5.0),  # 216 atoms
        (bulk("C", cubic=True), 8.0),
        (bulk("C", cubic=True).repeat((3, 3, 3)), None),
        (molecule("CH4"), None),
        (molecule("C60"), 5.0),
    ],
)
def test_chunks_stay_within_their_bounds_and_miss_nothing(structure, cutoff, monkeypatch):
    monkeypatch.setattr(surroundings, "POINTS_AT_ONCE", 700)
    monkeypatch.setattr(surroundings, "PAIRS_AT_ONCE", 30_000)
    if cutoff is None:
        structure.pbc = False
    system = AtomicSystem.from_ase(structure)
    # Most of them far from everything, some in the middle of it all.
    random = np.random.default_rng(0)
    points = np.concatenate([random.uniform(30.0, 90.0, (1500, 3)), random.uniform(0.0, 9.0, (1500, 3))])
    points = points if not system.pbc.any() else points % 9.0
    around = Surroundings.of(system, cutoff)
    chunks = list(around.chunks(points))
    assert all(len(chunk.points) <= 700 and len(chunk.point) <= 30_000 for chunk in chunks)
    np.testing.assert_allclose(np.concatenate([chunk.points for chunk in chunks]), around.wrapped(points), atol=1e-12)
    assert sum(len(chunk.point) for chunk in chunks) == len(around.near(points).point)
