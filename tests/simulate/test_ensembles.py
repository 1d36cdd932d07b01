"""Every ensemble of molecular dynamics against the distributions that it stands for, on potentials in closed form."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.neighborlist import neighbor_list
from scipy import stats

from atomlens.errors import InputError
from atomlens.simulate.molecular_dynamics import MolecularDynamicsConfig
from atomlens.simulate.molecular_dynamics.ensembles import ENSEMBLES, restore, state
from atomlens.simulate.molecular_dynamics.velocities import degrees_of_freedom, halt, start

TEMPERATURE = 400.0
THERMOSTATS = [name for name in ENSEMBLES if name != "nve"]


class Bonds(Calculator):
    """Springs of k/2 (d - d₀)² + k/4 (d - d₀)⁴ between given pairs, whichever of their images were given."""

    implemented_properties = ("energy", "free_energy", "forces", "stress")

    def __init__(self, first, second, shifts, length, stiffness):
        super().__init__()
        self.first, self.second, self.shifts, self.length, self.stiffness = first, second, shifts, length, stiffness

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        positions, cell = self.atoms.positions, self.atoms.cell.array
        vectors = positions[self.second] - positions[self.first] + self.shifts @ cell
        distances = np.sqrt((vectors**2).sum(axis=1))
        off = distances - self.length
        energy = float(self.stiffness * (off**2 / 2 + off**4 / 4).sum())
        pulls = (self.stiffness * (off + off**3) / distances)[:, None] * vectors
        forces = np.zeros_like(positions)
        np.add.at(forces, self.first, pulls)
        np.add.at(forces, self.second, -pulls)
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}
        if self.atoms.pbc.all():
            stress = pulls.T @ vectors / self.atoms.get_volume()
            self.results["stress"] = stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]


def molecule():
    """Five atoms that are all bound to each other, so that motions mix."""
    corners = [[0, 0, 0.9], [0, 0, -0.9], *([np.cos(turn), np.sin(turn), 0.0] for turn in (0.0, 2.1, 4.2))]
    atoms = Atoms("CHOCN", corners)
    atoms.calc = Bonds(*np.triu_indices(5, 1), np.zeros((10, 3)), 1.5, 2.0)
    return atoms


def crystal():
    """Eight copper atoms bound to their neighbours."""
    atoms = bulk("Cu", a=3.6) * (2, 2, 2)
    first, second, shifts = neighbor_list("ijS", atoms, 2.8)
    once = (first < second) | ((first == second) & (shifts @ [9, 3, 1] > 0))
    atoms.calc = Bonds(first[once], second[once], shifts[once], 2.55, 2.0)
    return atoms


def engine_of(name, atoms, **settings):
    kind, rng = ENSEMBLES[name], np.random.default_rng(7)
    common = {"temperature": TEMPERATURE, "thermostat_time": 20.0, "barostat_time": 100.0, "record_interval": 6.0}
    config = MolecularDynamicsConfig.parse({"ensemble": name, **common, **settings})
    start(atoms, TEMPERATURE, rng)
    if kind.at_rest:
        halt(atoms)
    return kind.make(atoms, config, rng)


def sampled(engine, samples, steps, *quantities):
    engine.run(10 * steps)
    rows = []
    for _ in range(samples):
        engine.run(steps)
        rows.append([quantity(engine) for quantity in quantities])
    return np.array(rows).T


def error_of_mean(values, blocks=20):
    means = np.reshape(values, (blocks, -1)).mean(axis=1)
    return means.std(ddof=1) / np.sqrt(blocks)


def kinetic(engine):
    return engine.atoms.get_kinetic_energy()


def check_canonical(energies, degrees):
    """K/kT follows the Γ distribution of half as many degrees of freedom as there are (Kolmogorov and Smirnov's test).

    Counting three for each of five atoms where there are nine in all would be off by two thirds, and for the eight of a
    crystal by a seventh.
    """
    found = energies / (units.kB * TEMPERATURE)
    assert stats.kstest(found, stats.gamma(degrees / 2).cdf).pvalue > 0.02
    assert np.mean(found) == pytest.approx(degrees / 2, abs=4 * error_of_mean(found))
    assert error_of_mean(found) < 0.045 * degrees / 2


@pytest.mark.parametrize(("name", "degrees"), [("langevin", 15), ("bussi", 9), ("nose-hoover", 9)])
def test_kinetic_energies_are_canonical(name, degrees):
    engine = engine_of(name, molecule(), thermostat_time=10.0)
    assert ENSEMBLES[name].degrees_of_freedom(engine.atoms) == degrees
    (found,) = sampled(engine, 240, 25, kinetic)
    check_canonical(found, degrees)


@pytest.mark.parametrize(("name", "of_cell"), [("npt", 1), ("npt-cell", 6)])
def test_cells_have_the_temperature_and_the_pressure_asked_for(name, of_cell):
    """The pressure is that of springs and moving atoms; each degree of freedom of the cell moves with kT/2."""

    def pressure(engine):
        return -engine.atoms.get_stress(include_ideal_gas=True)[:3].mean() / units.GPa

    def cell(engine):
        momenta = engine._p_eps if name == "npt" else engine._p_g
        return np.sum(np.square(momenta)) / engine._barostat.W / (units.kB * TEMPERATURE)

    engine = engine_of(name, crystal(), timestep=3.0, pressure=10.0)
    energies, pressures, cells = sampled(engine, 200, 30, kinetic, pressure, cell)
    check_canonical(energies, 21)
    assert pressures.mean() == pytest.approx(10.0, abs=4 * error_of_mean(pressures))
    assert error_of_mean(pressures) < 0.4
    assert cells.mean() == pytest.approx(of_cell, abs=4 * error_of_mean(cells))
    assert error_of_mean(cells) < 0.2 * of_cell


@pytest.mark.parametrize("name", THERMOSTATS)
def test_the_whole_stays_at_rest_or_is_thermal(name):
    atoms = crystal() if ENSEMBLES[name].moves_cell else molecule()
    engine_of(name, atoms).run(200)
    thermal = np.sqrt(atoms.get_masses().sum() * units.kB * TEMPERATURE)  # of a component of the whole's momentum
    momentum = np.abs(atoms.get_momenta().sum(axis=0)).max()
    if name == "langevin":
        assert 0.05 * thermal < momentum < 4 * thermal
    else:
        assert momentum < 1e-10 * thermal
        assert atoms.pbc.all() or np.abs(atoms.get_angular_momentum()).max() < 1e-9


def test_positions_under_langevin_dynamics_are_canonical_at_a_long_time_step():
    """The integrator's merit: in harmonic wells ⟨k x²⟩ = kT at any step that is stable; here ω Δt = 0.6."""

    class Wells(Calculator):
        implemented_properties = ("energy", "forces")

        def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
            super().calculate(atoms, properties, system_changes)
            positions = self.atoms.positions
            self.results = {"energy": 0.5 * (positions**2).sum(), "forces": -positions}

    atoms = Atoms("C1000", np.zeros((1000, 3)))
    atoms.calc = Wells()
    step = float(0.6 * np.sqrt(atoms.get_masses()[0]) / units.fs)
    engine = engine_of("langevin", atoms, timestep=step, record_interval=step, thermostat_time=3 * step)
    (found,) = sampled(engine, 200, 20, lambda engine: (engine.atoms.positions**2).mean())
    assert found.mean() == pytest.approx(units.kB * TEMPERATURE, rel=0.01)
    assert error_of_mean(found) < 0.003 * units.kB * TEMPERATURE


def test_volumes_of_an_ideal_gas():
    """V of atoms that do not feel each other, and whose centre of mass is at rest: p(V) ∝ V^(N-1) exp(-PV/kT)."""

    class Nothing(Calculator):
        implemented_properties = ("energy", "free_energy", "forces", "stress")

        def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
            super().calculate(atoms, properties, system_changes)
            nothing = {"forces": np.zeros((len(self.atoms), 3)), "stress": np.zeros(6)}
            self.results = {"energy": 0.0, "free_energy": 0.0, **nothing}

    atoms = Atoms("Ar6", np.random.default_rng(0).random((6, 3)), cell=[6.0] * 3, pbc=True)
    atoms.calc = Nothing()
    pressure = 6 * units.kB * TEMPERATURE / 216.0  # eV/Å³
    engine = engine_of("npt", atoms, timestep=3.0, pressure=pressure / units.GPa, barostat_time=60.0)
    (found,) = sampled(engine, 160, 20, lambda engine: engine.atoms.get_volume())
    assert stats.kstest(found * pressure / (units.kB * TEMPERATURE), stats.gamma(6).cdf).pvalue > 0.02


@pytest.mark.parametrize("name", [name for name, ensemble in ENSEMBLES.items() if ensemble.conserved])
def test_the_error_of_what_is_conserved_falls_with_the_square_of_the_time_step(name):
    steps, errors = np.array([2.0, 1.0, 0.5]), []
    for step in steps:
        atoms = crystal() if ENSEMBLES[name].moves_cell else molecule()
        if ENSEMBLES[name].moves_cell:
            atoms.rattle(0.05, seed=1)
        # Weak thermostats, so that what is random in Bussi's leads no two runs far apart.
        engine = engine_of(name, atoms, timestep=step, record_interval=step, thermostat_time=1e4)
        (found,) = sampled(engine, round(60 / step), 1, ENSEMBLES[name].conserved)
        errors.append(found.std())
    assert np.polyfit(np.log(steps), np.log(errors), 1)[0] == pytest.approx(2.0, abs=0.25)


@pytest.mark.parametrize("name", ENSEMBLES)
def test_an_engine_goes_on_from_its_state(name):
    first, second = (crystal() if ENSEMBLES[name].moves_cell else molecule() for _ in range(2))
    engine = engine_of(name, first)
    engine.run(30)
    kept, random = state(engine, ENSEMBLES[name]), getattr(engine, "rng", None)
    other = engine_of(name, second)
    restore(other, ENSEMBLES[name], kept)
    if random is not None:
        other.rng.bit_generator.state = random.bit_generator.state
    engine.run(30)
    other.run(30)
    np.testing.assert_array_equal(first.positions, second.positions)
    np.testing.assert_array_equal(first.get_momenta(), second.get_momenta())
    np.testing.assert_array_equal(first.cell.array, second.cell.array)


def test_degrees_of_freedom():
    water, pair, one = Atoms("OHH", np.eye(3)), Atoms("HF", np.eye(3)[:2]), Atoms("Ar")
    assert [degrees_of_freedom(atoms, at_rest=True) for atoms in (water, pair, one)] == [3, 1, 0]
    assert degrees_of_freedom(bulk("Cu", cubic=True), at_rest=True) == 9
    assert degrees_of_freedom(water, at_rest=False) == 9


@pytest.mark.parametrize("positions", [np.random.default_rng(0).normal(size=(4, 3)), [[0, 0, z] for z in range(4)]])
def test_halting_is_a_projection(positions):
    """No momentum, no angular momentum, and nothing more is taken away: what was taken is rigid motion."""
    atoms = Atoms("CHON", positions)
    start(atoms, 300.0, np.random.default_rng(1))
    before = atoms.get_velocities()
    halt(atoms)
    np.testing.assert_allclose(atoms.get_momenta().sum(axis=0), 0.0, atol=1e-14)
    np.testing.assert_allclose(atoms.get_angular_momentum(), 0.0, atol=1e-13)
    taken = before - atoms.get_velocities()
    arms = atoms.positions[:, None] - atoms.positions
    np.testing.assert_allclose((arms * (taken[:, None] - taken)).sum(axis=2), 0.0, atol=1e-13)  # distances stay
    again = atoms.get_momenta()
    halt(atoms)
    np.testing.assert_allclose(atoms.get_momenta(), again, atol=1e-14)


def test_rotation_of_a_crystal_is_left_alone():
    atoms = crystal()
    start(atoms, 300.0, np.random.default_rng(1))
    halt(atoms)
    np.testing.assert_allclose(atoms.get_momenta().sum(axis=0), 0.0, atol=1e-13)
    assert np.abs(atoms.get_angular_momentum()).max() > 0.1


def test_a_single_atom_at_rest_is_refused():
    with pytest.raises(InputError, match="does not move; choose the ensemble 'langevin'"):
        halt(Atoms("Ar"))
