"""A list that is kept gives what a search at every step gives; it is given up as soon as it may be incomplete."""

import ase
import numpy as np
import pytest
import torch
from ase import units
from ase.build import bulk, molecule
from ase.md.verlet import VelocityVerlet

from atomlens.data.neighbours import neighbour_list
from atomlens.data.system import AtomicSystem
from atomlens.errors import InputError
from atomlens.model import Model, ModelConfig
from atomlens.simulate import Calculator, calculator
from atomlens.simulate.skin import search


def made_model(**settings):
    torch.manual_seed(0)
    config = {"representation": {"name": "schnet", "features": 16, "interactions": 2, **settings}}
    return Model(ModelConfig.parse(config), [1, 6, 8, 14], charges=[0.0, 1.0]).set_precision(torch.float64)


@pytest.fixture(scope="module")
def model():
    return made_model(cutoff=4.0)


@pytest.fixture
def searches(monkeypatch):
    """The structures for which neighbours were searched."""
    seen = []

    def counted(structures, *rest):
        seen.append(structures[0].copy())
        return search(structures, *rest)

    monkeypatch.setattr(calculator, "search", counted)
    return seen


def hot(atoms, temperature, drift=(0.0, 0.0, 0.0)):
    spread = np.sqrt(units.kB * temperature / atoms.get_masses())[:, None]
    atoms.set_velocities(spread * np.random.default_rng(0).normal(size=(len(atoms), 3)) + np.array(drift))
    return atoms


def run(model, start, skin, steps=80):
    atoms = start.copy()
    atoms.calc = Calculator(model, skin=skin)
    engine = VelocityVerlet(atoms, timestep=1.0 * units.fs)
    rows = []
    for _ in range(steps):
        engine.run(1)
        rows.append(
            np.concatenate([[atoms.get_potential_energy()], atoms.positions.ravel(), atoms.get_forces().ravel()])
        )
    return np.array(rows)


SYSTEMS = {
    "crystal": lambda: hot(bulk("Si", cubic=True), 1500.0),
    "crystal that drifts": lambda: hot(bulk("Si"), 600.0, drift=(0.3, -0.2, 0.1)),
    "slab": lambda: hot(
        ase.Atoms("C4", bulk("C").repeat((2, 1, 1)).positions, cell=[5.1, 2.6, 0], pbc=[1, 1, 0]), 300.0
    ),
    "molecule": lambda: hot(molecule("CH3CH2OH"), 600.0),
    "dimer that flies past another": lambda: hot(
        ase.Atoms("C2O2", [[0, 0, 0], [1.3, 0, 0], [-6, 2.5, 0], [-7.2, 2.5, 0]], momenta=np.zeros((4, 3))), 1.0
    ),
}


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("aggregation", ["sum", "mean"])
def test_trajectories_are_those_of_a_search_at_every_step(name, aggregation, searches):
    model, start = made_model(cutoff=4.0, aggregation=aggregation), SYSTEMS[name]()
    if "flies" in name:
        start.set_velocities([[0, 0, 0], [0, 0, 0], [1.0, 0, 0], [1.0, 0, 0]])
    exact = run(model, start, skin=0.0)
    assert len(searches) == 81
    searches.clear()
    # Sums in another order, and 80 steps that let differences grow.
    np.testing.assert_allclose(run(model, start, skin=0.3), exact, rtol=0, atol=1e-9)
    assert 2 < len(searches) < 60


def test_without_a_cutoff_one_search_is_enough(searches):
    model = made_model(cutoff=None, cutoff_function="none", gaussian_range=10.0)
    start = hot(molecule("CH3CH2OH"), 900.0, drift=(0.5, 0, 0))
    kept = run(model, start, skin=0.5, steps=30)
    assert len(searches) == 1
    np.testing.assert_allclose(
        [row[0] for row in kept],
        [model.predict(ase.Atoms(start.numbers, row[1:28].reshape(9, 3)))["energy"] for row in kept],
        rtol=0,
        atol=1e-10,
    )


def test_an_atom_that_comes_within_the_cutoff_is_heard(model, searches):
    """It starts outside cutoff and skin, and comes in in small steps and in one big one."""
    pair = ase.Atoms("CO", [[0, 0, 0], [4.6, 0, 0]], calculator=Calculator(model, skin=0.5))
    lone = sum(float(model.predict(ase.Atoms(symbol))["energy"]) for symbol in "CO")
    assert pair.get_potential_energy() == pytest.approx(lone, abs=1e-12)
    for place in [*np.arange(4.5, 3.5, -0.05), 9.0, 2.0]:
        pair.positions[1, 0] = place
        expected = float(model.predict(pair)["energy"])
        assert pair.get_potential_energy() == pytest.approx(expected, abs=1e-12)
        if place < 3.9:
            assert abs(expected - lone) > 1e-9
    assert len(searches) < 10


def test_two_atoms_may_close_the_gap_from_both_sides(model, searches):
    pair = ase.Atoms("CO", [[0, 0, 0], [4.51, 0, 0]], calculator=Calculator(model, skin=0.5))
    pair.get_potential_energy()
    pair.positions[:, 0] += [0.249, -0.249]
    pair.get_potential_energy()
    assert len(searches) == 1  # 4.012 Å: nothing can be missing
    pair.positions[:, 0] += [0.1, -0.1]
    assert pair.get_potential_energy() == pytest.approx(float(model.predict(pair)["energy"]), abs=1e-12)
    assert len(searches) == 2


def test_pairs_stay_the_same_object(model):
    silicon = bulk("Si")
    found = search([silicon], model, 0.5)
    silicon.positions[1] += 0.1
    assert found.moved([silicon]).pairs is found.batch.pairs


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_missing_from_a_list_that_is_kept(seed, model):
    """Random moves, strains and turns: what `moved` accepts holds every pair that a search finds."""
    random = np.random.default_rng(seed)
    atoms = bulk("Si").repeat((2, 1, 1))
    atoms.pbc = random.random(3) < 0.8
    found = search([atoms], model, 0.6)
    kept = 0
    for size in (0.003, 0.01, 0.03, 0.1):
        moved = atoms.copy()
        moved.set_cell(atoms.cell.array @ (np.eye(3) + size * random.normal(size=(3, 3))), scale_atoms=True)
        moved.positions += 2 * size * random.normal(size=(4, 3))
        batch = found.moved([moved])
        if batch is None:
            continue
        kept += 1
        distances = torch.linalg.vector_norm(batch.pair_vectors(), dim=1).numpy()
        centre, neighbour, shift = neighbour_list(AtomicSystem.from_ase(moved), 4.0)
        vectors = moved.positions[neighbour] + shift @ moved.cell.array - moved.positions[centre]
        exact = np.linalg.norm(vectors, axis=1)
        np.testing.assert_allclose(np.sort(distances[distances < 4.0]), np.sort(exact), rtol=0, atol=1e-12)
    assert kept > 0


def test_small_strains_keep_the_list_and_large_ones_do_not(model, searches):
    silicon = bulk("Si", cubic=True)
    silicon.rattle(0.05, seed=0)
    silicon.calc = Calculator(model, skin=0.5)
    silicon.get_stress()
    cell = silicon.cell.array.copy()
    for strain, expected in ((0.01, 1), (-0.02, 1), (-0.2, 2)):
        silicon.set_cell(cell * (1.0 + strain), scale_atoms=True)
        fresh = model.predict(silicon)
        assert silicon.get_potential_energy() == pytest.approx(float(fresh["energy"]), abs=1e-10)
        np.testing.assert_allclose(silicon.get_forces(), fresh["forces"], rtol=0, atol=1e-10)
        np.testing.assert_allclose(silicon.get_stress(voigt=False), fresh["stress"], rtol=0, atol=1e-12)
        assert len(searches) == expected


def test_wrapped_atoms_are_searched_anew(model, searches):
    silicon = bulk("Si")
    silicon.positions -= 0.1
    silicon.calc = Calculator(model)
    before = silicon.get_potential_energy()
    silicon.wrap()
    assert silicon.get_potential_energy() == pytest.approx(before, abs=1e-10)
    assert len(searches) == 2


def change_number(atoms):
    atoms.numbers[0] = 8


def change_pbc(atoms):
    atoms.pbc = (True, True, False)


def change_charge(atoms):
    atoms.info["charge"] = 1.0


def change_order(atoms):
    atoms.numbers[:] = atoms.numbers[::-1]


@pytest.mark.parametrize("change", [change_number, change_pbc, change_charge, change_order])
def test_other_atoms_are_searched_anew(change, model):
    atoms = bulk("SiC", "zincblende", a=4.36)
    found = search([atoms], model, 0.5)
    assert found.moved([atoms]) is not None
    change(atoms)
    assert found.moved([atoms]) is None


def test_one_calculator_serves_several_structures(model):
    shared = Calculator(model)
    structures = [bulk("Si"), molecule("H2O"), molecule("CH4"), bulk("C"), ase.Atoms("O")]
    for atoms in [*structures, *structures[::-1]]:
        expected = model.predict(atoms)
        shared.calculate(atoms)
        assert shared.results["energy"] == pytest.approx(float(expected["energy"]), abs=1e-10)
        np.testing.assert_allclose(shared.results["forces"], expected["forces"], rtol=0, atol=1e-10)


@pytest.mark.parametrize("cutoff", [4.0, None])
def test_atoms_that_run_into_each_other_are_refused(cutoff, searches):
    settings = {"cutoff": cutoff} if cutoff else {"cutoff": None, "cutoff_function": "none", "gaussian_range": 5.0}
    water = molecule("H2O")
    water.calc = Calculator(made_model(**settings), skin=4.0)
    water.get_forces()
    water.positions[1] = water.positions[0] + [0, 0, 0.19]
    with pytest.raises(InputError, match=r"atom 0 \(O\) and atom 1 \(H\) are 0\.190 Å apart"):
        water.get_forces()
    assert len(searches) == 2
    water.positions[1] += [0, 0, 0.6]
    assert np.isfinite(water.get_forces()).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("cutoff", [4.0, None])
def test_positions_that_are_not_finite_are_refused(value, cutoff):
    settings = {"cutoff": cutoff} if cutoff else {"cutoff": None, "cutoff_function": "none", "gaussian_range": 5.0}
    water = molecule("H2O")
    water.calc = Calculator(made_model(**settings))
    water.get_forces()
    water.positions[2, 1] = value
    with pytest.raises(InputError, match="structure 0, atom 2: the position of this H is not finite"):
        water.get_forces()


@pytest.mark.parametrize("cell", [np.full((3, 3), np.nan), np.zeros((3, 3)), np.ones((3, 3))])
def test_impossible_cells_are_refused(cell, model):
    silicon = bulk("Si")
    silicon.calc = Calculator(model)
    silicon.get_forces()
    silicon.cell[:] = cell
    with pytest.raises(InputError, match=r"the cell|lattice vector"):
        silicon.get_forces()


@pytest.mark.parametrize("skin", [-0.1, np.nan, np.inf])
def test_impossible_skins_are_refused(skin, model):
    with pytest.raises(InputError, match="the skin must be a length of 0 Å or more"):
        Calculator(model, skin=skin)
