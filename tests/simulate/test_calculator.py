import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import PropertyNotImplementedError, compare_atoms
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS

import atomlens
from atomlens.errors import InputError
from atomlens.model import Model, ModelConfig


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    made = Model(ModelConfig(), [1, 6, 8, 14]).set_precision(torch.float64)
    made.energy_readout.set_scale(1.0, {1: -13.6, 6: -1030.0, 8: -2040.0, 14: -5000.0})
    return made


def test_ase_finds_its_forces_and_stress_right(model):
    silicon = bulk("Si", cubic=True)
    silicon.rattle(0.1, seed=0)
    silicon.calc = atomlens.Calculator(model)
    # Differences of 1e-4 Å of an energy of -40,000 eV: the rounding of that is 1e-7 eV/Å.
    np.testing.assert_allclose(silicon.get_forces(), calculate_numerical_forces(silicon, 1e-4), atol=1e-5)
    np.testing.assert_allclose(silicon.get_stress(), calculate_numerical_stress(silicon, 1e-4), atol=1e-6)


def test_all_of_ase_gets_the_same_energy(model):
    water = molecule("H2O")
    water.calc = atomlens.Calculator(model)
    expected = model.predict(water)
    assert water.get_potential_energy() == expected["energy"]
    np.testing.assert_array_equal(water.get_potential_energies(), expected["atom_energies"])
    np.testing.assert_array_equal(water.get_forces(), expected["forces"])


@pytest.mark.parametrize("readouts", [["energy", "dipole"], ["dipole"]])
def test_dipoles_and_charges(readouts):
    torch.manual_seed(0)
    config = {"readouts": [{"name": name} for name in readouts]}
    polar = Model(ModelConfig.parse(config), [1, 8, 29], charges=[0.0, 1.0])
    water = molecule("H2O")
    water.calc = atomlens.Calculator(polar)
    assert ("energy" in water.calc.implemented_properties) == ("energy" in readouts)
    for charge in (0.0, 1.0):
        water.info["charge"] = charge
        expected = polar.predict(water)
        np.testing.assert_array_equal(water.get_dipole_moment(), expected["dipole"])
        np.testing.assert_array_equal(water.get_charges(), expected["charges"])
        assert water.get_charges().sum() == pytest.approx(charge, abs=1e-12)
    if "energy" in readouts:
        assert water.get_potential_energy() == expected["energy"]
    else:
        with pytest.raises(PropertyNotImplementedError):
            water.get_potential_energy()
    copper = bulk("Cu")
    copper.calc = water.calc
    with pytest.raises(InputError, match=r"is periodic, where the dipole .* has no meaning"):
        copper.get_dipole_moment()


def test_models_without_energies_or_dipoles_are_no_calculators():
    config = {"readouts": [{"name": "intensive", "property": "homo"}]}
    with pytest.raises(InputError, match="neither energies nor dipoles, but homo, atom_homo"):
        atomlens.Calculator(Model(ModelConfig.parse(config), [1, 8]))


def test_moved_atoms_are_computed_anew(model):
    water = molecule("H2O")
    water.calc = atomlens.Calculator(model)
    before = water.get_potential_energy()
    water.positions[1] += 0.1
    assert water.get_potential_energy() == float(model.predict(water)["energy"]) != before


def test_relaxes_a_cell(model):
    silicon = bulk("Si")
    silicon.calc = atomlens.Calculator(model)
    before = silicon.get_potential_energy()
    BFGS(FrechetCellFilter(silicon), logfile=None).run(fmax=0.05, steps=5)
    assert silicon.get_potential_energy() < before


def test_molecules_have_no_stress(model):
    water = molecule("H2O")
    water.calc = atomlens.Calculator(model)
    with pytest.raises(PropertyNotImplementedError, match="periodic in three directions"):
        water.get_stress()


def test_strange_elements_are_refused(model):
    ammonia = molecule("NH3")
    ammonia.calc = atomlens.Calculator(model)
    with pytest.raises(InputError, match="N is an element that the model never saw"):
        ammonia.get_potential_energy()


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (lambda atoms: atoms.get_masses(), []),
        (lambda atoms: atoms.positions.__iadd__(1e-13), ["positions"]),
        (lambda atoms: atoms.positions.__setitem__((0, 0), np.nan), ["positions"]),
        (lambda atoms: atoms.numbers.__setitem__(0, 8), ["numbers"]),
        (lambda atoms: atoms.set_pbc([True, False, False]), ["pbc"]),
        (lambda atoms: atoms.set_cell([9.0, 9.0, 9.0]), ["cell"]),
        (lambda atoms: atoms.set_initial_charges([0.1] + [0.0] * (len(atoms) - 1)), ["initial_charges"]),
        (lambda atoms: atoms.pop(), ["positions", "numbers"]),
    ],
)
def test_what_changed_is_what_ase_says(model, change, names):
    atoms = molecule("CH3CH2OH")
    atoms.calc = atomlens.Calculator(model)
    atoms.get_potential_energy()
    change(atoms)
    assert sorted(atoms.calc.check_state(atoms)) == sorted(names)
    assert set(compare_atoms(atoms.calc.atoms, atoms)) == set(names)


def test_a_charge_given_later_is_refused(model):
    water = molecule("H2O")
    water.calc = atomlens.Calculator(model)
    water.get_potential_energy()
    water.info["charge"] = 1.0
    with pytest.raises(InputError, match=r"total charge of 1 e"):
        water.get_potential_energy()


def test_another_model_searches_anew(model):
    torch.manual_seed(1)
    config = {"representation": {"name": "schnet", "cutoff": 8.0}}
    wider = Model(ModelConfig.parse(config), [1, 6, 8]).set_precision(torch.float64)
    hydrogen = Atoms("H2", [[0, 0, 0], [0, 0, 6.0]])
    hydrogen.calc = atomlens.Calculator(model)
    hydrogen.get_potential_energy()
    hydrogen.calc.model = wider
    hydrogen.positions[1, 2] += 1e-3
    assert hydrogen.get_potential_energy() == pytest.approx(float(wider.predict(hydrogen)["energy"]), abs=1e-12)


def test_a_refused_structure_gets_no_results(model):
    calculator = atomlens.Calculator(model)
    calculator.calculate(molecule("H2O"))
    with pytest.raises(InputError):
        calculator.calculate(Atoms("H2", [[0, 0, 0], [0, 0, 0.1]]))
    assert calculator.results == {}
