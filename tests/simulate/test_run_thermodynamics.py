"""Temperatures, heat capacities and the test of canonical kinetic energies, on samples and under ASE's thermostats."""

import dataclasses
import json

import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.calculator import Calculator, all_changes
from ase.md.bussi import Bussi
from ase.md.langevin import Langevin
from ase.md.nvtberendsen import NVTBerendsen
from ase.md.verlet import VelocityVerlet
from scipy import stats
from scipy.signal import lfilter

from atomlens.errors import InputError
from atomlens.simulate.analysis import mechanics
from atomlens.simulate.analysis import thermodynamics as thermo
from atomlens.simulate.frames import Frames

KT = units.kB * 300.0
NUMBERS = np.array([6, 8, 1, 1])
MASSES = np.array([12.0, 16.0, 1.0, 1.0])
SPRING = 8.0  # eV/Å²


def canonical(frames=2000, replicas=3, *, seed=0, memory=0.0, scale=1.0):
    """Independent harmonic coordinates at 300 K, their velocities with a memory φ from frame to frame."""
    rng = np.random.default_rng(seed)
    shape = (frames, replicas, 4, 3)
    noise = rng.standard_normal(shape) * np.sqrt(1 - memory**2)
    noise[0] /= np.sqrt(1 - memory**2)
    speeds = lfilter([1.0], [1.0, -memory], noise, axis=0) * scale
    moved = rng.standard_normal(shape) * np.sqrt(KT / SPRING)
    return Frames(
        numbers=NUMBERS,
        masses=MASSES,
        pbc=np.zeros(3, dtype=bool),
        times=np.arange(frames, dtype=float),
        positions=moved + 3.0 * np.arange(4)[:, None] * np.array([1.0, 0.3, 0.2]),
        cells=np.zeros((frames, replicas, 3, 3)),
        velocities=speeds * np.sqrt(KT / MASSES)[:, None] * units.fs,
        potential=0.5 * SPRING * np.square(moved).sum(axis=(2, 3)),
    )


class Wells(Calculator):
    """Atoms in slightly quartic wells of different springs, so that a rescaling thermostat has one common factor."""

    implemented_properties = ("energy", "forces")

    def __init__(self, springs, centres):
        super().__init__()
        self.springs, self.centres = springs, centres

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        moved = atoms.positions - self.centres
        energy = 0.5 * self.springs * moved**2 + 5.0 * moved**4
        self.results = {"energy": float(energy.sum()), "forces": -self.springs * moved - 20.0 * moved**3}


def thermostatted(name, steps=4000):
    rng = np.random.default_rng(11)
    atoms = Atoms("C4", positions=3.0 * np.arange(4)[:, None] * np.array([1.0, 0.2, 0.1]))
    springs = rng.uniform(5.0, 15.0, (4, 3))
    atoms.calc = Wells(springs, atoms.positions.copy())
    atoms.positions += rng.standard_normal((4, 3)) * np.sqrt(KT / springs)
    atoms.set_velocities(rng.standard_normal((4, 3)) * np.sqrt(KT / 12.011))
    step = 2.0 * units.fs
    engine = {
        "langevin": lambda: Langevin(atoms, step, temperature_K=300, friction=0.05 / units.fs, rng=rng, fixcm=False),
        "bussi": lambda: Bussi(atoms, step, temperature_K=300, taut=20 * units.fs, rng=rng),
        "berendsen": lambda: NVTBerendsen(atoms, step, temperature_K=300, taut=20 * units.fs, fixcm=False),
        "none": lambda: VelocityVerlet(atoms, step),
    }[name]()
    rows = []
    engine.run(100)
    engine.attach(
        lambda: rows.append((atoms.positions.copy(), atoms.get_velocities(), atoms.get_potential_energy())), interval=4
    )
    engine.run(steps)
    positions, velocities, energies = (np.array(each)[:, None] for each in zip(*rows, strict=True))
    return Frames(
        numbers=atoms.numbers, masses=atoms.get_masses(), pbc=np.zeros(3, dtype=bool),
        times=8.0 * np.arange(len(rows)), positions=positions, cells=np.zeros((len(rows), 1, 3, 3)),
        velocities=velocities * units.fs, potential=energies,
    )  # fmt: skip


class TestMeans:
    def test_canonical_samples(self):
        run = canonical()
        found = thermo.thermodynamic_means(run, temperature=300.0)
        assert found.degrees_of_freedom == 12
        assert abs(found.temperature.mean - 300.0) < 4 * found.temperature.error
        # f/2 kT of variance f/2 (kT)² makes T vary by T sqrt(2/f).
        assert float(found.temperature.error) == pytest.approx(300 * np.sqrt(2 / 12 / 6000), rel=0.25)
        assert abs(found.potential.mean - 6 * KT) < 4 * found.potential.error
        # Kinetic and harmonic: k per degree of freedom.
        assert abs(found.heat_capacity - 12 * units.kB) < 4 * found.heat_capacity_error
        assert found.heat_capacity_error < 0.5 * units.kB
        json.dumps(found.to_dict(), allow_nan=False)

    def test_every_element_is_as_warm(self):
        found = thermo.thermodynamic_means(canonical(seed=1))
        assert set(found.temperature_by_element) == {"C", "O", "H"}
        for each in found.temperature_by_element.values():
            assert abs(each.mean - 300.0) < 4 * each.error

    def test_cold_element_shows(self):
        run = canonical(seed=2)
        slow = run.velocities.copy()
        slow[:, :, 1] *= np.sqrt(0.5)
        found = thermo.thermodynamic_means(dataclasses.replace(run, velocities=slow)).temperature_by_element
        assert abs(found["O"].mean - 150.0) < 4 * found["O"].error

    def test_beads_have_the_temperature_of_their_path(self):
        """In i-PI each of P beads moves at P times the temperature."""
        run = dataclasses.replace(canonical(replicas=8, scale=2.0), beads=4)
        found = thermo.thermodynamic_means(run, temperature=300.0)
        assert abs(found.temperature.mean - 300.0) < 4 * found.temperature.error
        assert found.heat_capacity is None
        assert "path" in found.no_heat_capacity

    def test_volume_and_density(self):
        run = canonical(frames=20)
        cells = np.broadcast_to(np.diag([4.0, 5.0, 6.0]), (20, 3, 3, 3)).copy()
        cell = dataclasses.replace(run, pbc=np.ones(3, dtype=bool), cells=cells)
        found = thermo.thermodynamic_means(cell)
        assert float(found.volume.mean) == pytest.approx(120.0)
        assert found.density == pytest.approx(30.0 * 1.66053907 / 120.0, rel=1e-6)  # g/cm³ from amu/Å³


class TestDegreesOfFreedom:
    def test_motion_of_the_whole_at_rest(self):
        run = canonical(frames=50)
        internal = mechanics.internal_velocities(run.positions, run.velocities, MASSES, open_=True)
        translation = mechanics.internal_velocities(run.positions, run.velocities, MASSES, open_=False)
        for velocities, expected in ((run.velocities, 12), (translation, 9), (internal, 6)):
            assert mechanics.degrees_of_freedom(dataclasses.replace(run, velocities=velocities)) == expected

    def test_a_path_has_one_centre(self):
        """The centre of four beads at rest takes three momenta of 48: their temperature is still what it was."""
        run = dataclasses.replace(canonical(frames=3000, replicas=8, scale=2.0), beads=4)
        paths = run.velocities.reshape(3000, 2, 4, 4, 3)
        centre = np.einsum("a,rpbac->rpc", MASSES, paths) / (4 * MASSES.sum())
        still = (paths - centre[:, :, None, None]).reshape(run.velocities.shape)
        found = thermo.thermodynamic_means(dataclasses.replace(run, velocities=still))
        assert found.degrees_of_freedom == 12 - 3 / 4
        for each in (found.temperature, *found.temperature_by_element.values()):
            assert abs(each.mean - 300.0) < 4 * each.error
        assert float(found.temperature.error) < 2.0

    def test_linear_molecule_has_two_rotations(self):
        positions = np.array([[0.0, 0, -1], [0, 0, 0], [0, 0, 1.2]])
        assert len(mechanics.rigid_motions(positions, np.array([16.0, 12.0, 16.0]), open_=True)) == 5

    def test_shares_of_elements_without_rigid_motion(self):
        """Light atoms give up less to the motion of the whole; canonical samples without it stay equally warm."""
        run = canonical(frames=6000)
        still = dataclasses.replace(run, positions=np.broadcast_to(run.positions[:1, :1], run.positions.shape).copy())
        velocities = mechanics.internal_velocities(still.positions, still.velocities, MASSES, open_=True)
        found = thermo.thermodynamic_means(dataclasses.replace(still, velocities=velocities))
        assert found.degrees_of_freedom == 6
        for each in found.temperature_by_element.values():
            assert abs(each.mean - 300.0) < 4 * each.error


class TestKineticEnergyTest:
    def test_canonical_runs_pass_as_often_as_they_should(self):
        chances = [
            thermo.kinetic_energy_test(canonical(800, 1, seed=seed, memory=0.6), 300.0, 12).p_value
            for seed in range(150)
        ]
        # Of 150 runs 7.5 lie below 0.05, and chance makes that at most 16; the whole is uniform.
        assert sum(chance < 0.05 for chance in chances) <= 16
        assert sum(chance < 0.01 for chance in chances) <= 6
        assert stats.kstest(chances, "uniform").pvalue > 1e-3

    @pytest.mark.parametrize("name", ["langevin", "bussi"])
    def test_canonical_thermostats(self, name):
        found = thermo.kinetic_energy_test(thermostatted(name), 300.0, 12)
        assert found.canonical
        assert abs(found.mean_ratio - 1.0) < 4 * found.mean_ratio_error
        # Of n independent samples of a gamma distribution of shape f/2 the variance is known to sqrt((2 + 12/f) / n).
        assert abs(found.variance_ratio - 1.0) < 3 * np.sqrt(3 / found.samples)
        assert "as at constant temperature" in found.verdict

    def test_berendsen_is_found_out(self):
        found = thermo.kinetic_energy_test(thermostatted("berendsen"), 300.0, 12)
        assert not found.canonical
        assert found.variance_ratio < 0.7
        assert "too little" in found.verdict

    def test_constant_energy_has_no_heat_capacity(self):
        found = thermo.thermodynamic_means(thermostatted("none", 1000), temperature=300.0, free=12)
        assert found.heat_capacity is None
        assert "energy" in found.no_heat_capacity
        assert abs(found.drift) < 1e-3

    def test_wrong_temperature_and_too_much_spread(self):
        assert "too hot" in thermo.kinetic_energy_test(canonical(scale=1.1), 300.0).verdict
        run = canonical()
        uneven = run.velocities * np.where(np.arange(2000) % 2, np.sqrt(1.6), np.sqrt(0.4))[:, None, None, None]
        found = thermo.kinetic_energy_test(dataclasses.replace(run, velocities=uneven), 300.0)
        assert not found.canonical
        assert "too much" in found.verdict

    def test_refuses(self):
        with pytest.raises(InputError, match="needs 50 that are independent"):
            thermo.kinetic_energy_test(canonical(frames=10), 300.0)
        with pytest.raises(InputError, match="beads"):
            thermo.kinetic_energy_test(dataclasses.replace(canonical(replicas=4), beads=4), 300.0)
        with pytest.raises(InputError, match="velocities"):
            thermo.kinetic_energy_test(dataclasses.replace(canonical(), velocities=None), 300.0)
