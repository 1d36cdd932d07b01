"""Structures driven together go where each would go alone."""

import ase
import numpy as np
import pytest
import torch
from ase import units
from ase.build import bulk, molecule
from ase.md.bussi import Bussi
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS

from atomlens.errors import InputError
from atomlens.model import Model, ModelConfig
from atomlens.simulate import Calculator, evaluator
from atomlens.simulate.evaluator import Evaluator
from atomlens.simulate.lockstep import Lockstep


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = {"representation": {"name": "schnet", "features": 16, "interactions": 2, "cutoff": 4.0}}
    return Model(ModelConfig.parse(config), [1, 6, 8, 14]).set_precision(torch.float64)


def structures():
    kinds = [molecule("CH3CH2OH"), bulk("Si", cubic=True), molecule("H2O"), molecule("CH4"), bulk("C")]
    for seed, atoms in enumerate(kinds):
        atoms.rattle(0.05, seed=seed)
        momenta = np.sqrt(atoms.get_masses() * units.kB * 600)[:, None]
        atoms.set_momenta(momenta * np.random.default_rng(seed).normal(size=(len(atoms), 3)))
    return kinds


def test_dynamics_are_those_of_each_alone(model):
    together, alone = structures(), structures()
    lockstep = Lockstep(model, together)
    engines = [VelocityVerlet(atoms, 1.0 * units.fs) for atoms in together]
    assert set(lockstep.run({place: lambda engine=engine: engine.run(40) for place, engine in enumerate(engines)}))
    for one, other in zip(together, alone, strict=True):
        other.calc = Calculator(model)
        VelocityVerlet(other, 1.0 * units.fs).run(40)
        np.testing.assert_allclose(one.positions, other.positions, atol=1e-10)
        assert one.get_potential_energy() == pytest.approx(other.get_potential_energy(), abs=1e-10)
        if one.pbc.all():
            np.testing.assert_allclose(one.get_stress(), other.get_stress(), atol=1e-12)


@pytest.mark.parametrize("optimiser", [BFGS, VelocityVerlet])
def test_what_is_not_finite_ends_one_structure_and_not_the_others(model, monkeypatch, optimiser):
    """ASE's linear algebra fails on such forces in ways of its own, which would end all."""
    whole = model.predict

    def broken(structures, **options):
        found = whole(structures, **options)
        if structures.numbers[:3].tolist() == [8, 1, 1]:
            found["forces"] = found["forces"].clone()
            found["forces"][0, 0] = torch.nan
        return found

    monkeypatch.setattr(model, "predict", broken)
    together = [molecule("H2O"), molecule("CH4")]
    together[1].rattle(0.05, seed=1)
    lockstep, start = Lockstep(model, together), together[1].positions.copy()
    drivers = [BFGS(atoms, logfile=None) if optimiser is BFGS else optimiser(atoms, 0.5) for atoms in together]
    found = lockstep.run({place: lambda driver=driver: driver.run(steps=5) for place, driver in enumerate(drivers)})
    assert "not finite" in str(found[0])
    assert found[0].structure == 0
    assert not isinstance(found[1], InputError)
    assert np.abs(together[1].positions - start).max() > 1e-4


def test_stochastic_dynamics_do_not_depend_on_company(model):
    def run(places):
        chosen = [structures()[place] for place in places]
        lockstep = Lockstep(model, chosen)
        engines = {
            at: Bussi(atoms, 1.0 * units.fs, 300.0, 20 * units.fs, rng=np.random.default_rng(place))
            for at, (place, atoms) in enumerate(zip(places, chosen, strict=True))
        }
        lockstep.run({at: lambda engine=engine: engine.run(20) for at, engine in engines.items()})
        return dict(zip(places, chosen, strict=True))

    every, few = run([0, 1, 2, 3, 4]), run([3, 0])
    for place in few:
        np.testing.assert_allclose(few[place].positions, every[place].positions, atol=1e-10)


def test_one_batch_per_step_however_many_structures(model, monkeypatch):
    sizes = []
    predict = Model.predict

    def counted(self, batch):
        sizes.append(batch.cell.shape[0])
        return predict(self, batch)

    monkeypatch.setattr(Model, "predict", counted)
    waters = [molecule("H2O") for _ in range(6)]
    for seed, atoms in enumerate(waters):
        atoms.rattle(0.02, seed=seed)
    lockstep = Lockstep(model, waters)
    engines = [VelocityVerlet(atoms, 0.5 * units.fs) for atoms in waters]
    lockstep.run({place: lambda engine=engine: engine.run(10) for place, engine in enumerate(engines)})
    assert sizes == [6] * 11


def test_those_that_end_early_leave_the_others_to_go_on(model):
    waters = [molecule("H2O") for _ in range(5)]
    for seed, atoms in enumerate(waters):
        atoms.rattle(0.02, seed=seed)
    lockstep = Lockstep(model, waters)

    def optimise(atoms, steps):
        return BFGS(atoms, logfile=None).run(fmax=0.0, steps=steps), steps

    found = lockstep.run({place: lambda p=place, a=atoms: optimise(a, 3 * p) for place, atoms in enumerate(waters)})
    assert [found[place][1] for place in range(5)] == [0, 3, 6, 9, 12]
    for seed, atoms in enumerate(waters):
        other = molecule("H2O")
        other.rattle(0.02, seed=seed)
        other.calc = Calculator(model)
        BFGS(other, logfile=None).run(fmax=0.0, steps=3 * seed)
        np.testing.assert_allclose(atoms.positions, other.positions, atol=1e-9)


def test_a_structure_that_breaks_is_named_and_the_others_are_not_disturbed(model):
    waters = [molecule("H2O") for _ in range(3)]
    waters[1].set_velocities([[0, 0, 0], [0, 0, 2.0], [0, 0, 0]])
    waters[1].positions[1] = waters[1].positions[0] - [0, 0, 0.3]
    lockstep = Lockstep(model, waters)
    engines = [VelocityVerlet(atoms, 1.0 * units.fs) for atoms in waters]
    found = lockstep.run({place: lambda engine=engine: engine.run(5) for place, engine in enumerate(engines)})
    assert isinstance(found[1], InputError)
    assert found[1].structure == 1
    assert "apart" in str(found[1])
    assert not isinstance(found[0], InputError)
    other = molecule("H2O")
    other.calc = Calculator(model)
    VelocityVerlet(other, 1.0 * units.fs).run(5)
    np.testing.assert_allclose(waters[0].positions, other.positions, atol=1e-10)
    np.testing.assert_allclose(waters[2].positions, other.positions, atol=1e-10)


def test_other_errors_come_out(model):
    lockstep = Lockstep(model, [molecule("H2O"), molecule("CH4")])

    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        lockstep.run({0: lambda: lockstep.structures[0].get_forces(), 1: fail})
    # And it can be used afterwards.
    assert np.isfinite(lockstep.structures[0].get_forces()).all()


def test_evaluator_agrees_with_predict_in_any_company(model, monkeypatch):
    monkeypatch.setattr(evaluator, "CHUNK_BYTES", 100_000)
    kinds = structures()
    evaluate = Evaluator(model)
    for chosen in ([0, 1, 2, 3, 4], [0, 1, 2, 3, 4], [4, 1, 0], [1], [0, 1, 2, 3, 4]):
        for atoms in kinds:
            atoms.positions += 0.02
        found = evaluate({place: kinds[place] for place in chosen})
        assert list(found) == chosen
        for place in chosen:
            expected = model.predict(kinds[place])
            assert found[place].keys() == expected.keys()
            for name, values in expected.items():
                np.testing.assert_allclose(found[place][name], values, atol=1e-10)


def test_evaluator_names_the_refused_structure_and_recovers(model):
    evaluate = Evaluator(model)
    waters = {3: molecule("H2O"), 7: molecule("H2O"), 9: molecule("CH4")}
    evaluate(waters)
    waters[7].positions[1] = waters[7].positions[0] + 0.01
    with pytest.raises(InputError, match=r"structure 1.*apart"):
        evaluate(waters)
    waters[7].positions[1] += 1.0
    expected = model.predict(waters[7])["forces"]
    np.testing.assert_allclose(evaluate(waters)[7]["forces"], expected, atol=1e-10)
    with pytest.raises(InputError, match=r"structure 1.*never saw"):
        evaluate({0: waters[3], 1: ase.Atoms("Au")})


def test_after_forgetting_nothing_depends_on_the_past(model):
    moved, fresh = structures(), structures()
    lockstep = Lockstep(model, moved)
    engines = [VelocityVerlet(atoms, 1.0 * units.fs) for atoms in moved]
    lockstep.run({place: lambda engine=engine: engine.run(15) for place, engine in enumerate(engines)})
    lockstep.forget()
    for atoms, other in zip(moved, fresh, strict=True):
        other.set_positions(atoms.positions)
        other.set_cell(atoms.cell)
    new = Lockstep(model, fresh)
    tasks = [
        {place: atoms.get_forces for place, atoms in enumerate(kept.structures)} for kept in (lockstep, new)
    ]  # fmt: skip
    one, other = lockstep.run(tasks[0]), new.run(tasks[1])
    for place, forces in one.items():
        np.testing.assert_array_equal(forces, other[place])
