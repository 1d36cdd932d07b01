"""The engine around i-PI: units, estimators, cells, settings, and what it leaves behind."""

import signal
import sys
import threading

import ase
import numpy as np
import pytest
import torch
from ase import units
from ase.build import bulk, molecule
from ase.calculators.emt import EMT

from atomlens.errors import InputError
from atomlens.model import Model, ModelConfig
from atomlens.simulate.evaluator import Evaluator
from atomlens.simulate.path_integrals import beads_needed, estimators, gle
from atomlens.simulate.path_integrals.config import PathIntegralConfig
from atomlens.simulate.path_integrals.convergence import extrapolate
from atomlens.simulate.path_integrals.driver import Driver, Scales
from atomlens.simulate.path_integrals.engine import Engine

pytest.importorskip("ipi")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = {"representation": {"name": "schnet", "features": 16, "interactions": 2, "cutoff": 3.5}}
    return Model(ModelConfig.parse(config), [1, 6, 8, 14]).set_precision(torch.float64)


def rattled(atoms: ase.Atoms, count: int) -> list[ase.Atoms]:
    found = []
    for seed in range(count):
        other = atoms.copy()
        other.rattle(0.05, seed=seed)
        other.set_momenta(np.random.default_rng(seed).normal(size=(len(atoms), 3)))
        found.append(other)
    return found


def config_of(**settings) -> PathIntegralConfig:
    return PathIntegralConfig(**{"beads": 3, "velocities": "structure", "fix_centre": False, **settings})


def test_energies_forces_and_motion_survive_ipis_units(model):
    beads = rattled(molecule("H2O"), 3)
    engine = Engine(Evaluator(model), [beads], config_of())
    sample = engine.samples()[0]
    for atoms, given, found in zip(sample.beads, beads, sample.results, strict=True):
        wanted = model.predict(given)
        np.testing.assert_allclose(atoms.positions, given.positions, rtol=1e-10)
        np.testing.assert_allclose(atoms.get_momenta(), given.get_momenta(), rtol=1e-10)
        np.testing.assert_allclose(found["energy"], wanted["energy"], rtol=1e-10)
        np.testing.assert_allclose(found["forces"], wanted["forces"], rtol=1e-10, atol=1e-12)
    system, scales = engine.paths[0]._system, Scales.of_ipi()
    forces = np.array(system.forces.f).reshape(3, -1, 3) / scales.force
    wanted = np.stack([found["forces"] for found in sample.results])
    np.testing.assert_allclose(forces, wanted, rtol=1e-10, atol=1e-13)
    assert sample.potential == pytest.approx(np.mean([found["energy"] for found in sample.results]), rel=1e-10)


def test_a_small_step_follows_newton(model):
    """One bead at constant energy is velocity Verlet in eV, Å and amu."""
    (atoms,) = rattled(molecule("CH4"), 1)
    engine = Engine(Evaluator(model), [[atoms]], config_of(beads=1, ensemble="nve"))
    engine.advance(1)
    step, masses = 0.5 * units.fs, atoms.get_masses()[:, None]
    half = atoms.get_momenta() + 0.5 * step * model.predict(atoms)["forces"]
    moved = atoms.copy()
    moved.positions += step * half / masses
    after = engine.samples()[0].beads[0]
    np.testing.assert_allclose(after.positions, moved.positions, atol=1e-10)
    wanted = half + 0.5 * step * model.predict(moved)["forces"]
    np.testing.assert_allclose(after.get_momenta(), wanted, atol=1e-9)


@pytest.mark.parametrize("fix_centre", [False, True])
def test_estimators_are_those_of_ipi(model, fix_centre):
    crystal = bulk("Si", cubic=True)
    config = config_of(ensemble="npt", timestep=0.2, record_interval=0.2, fix_centre=fix_centre)
    engine = Engine(Evaluator(model), [rattled(crystal, 3)], config)
    engine.advance(3)
    sample, scales = engine.samples()[0], Scales.of_ipi()

    def of_ipi(name: str) -> float:
        return float(engine.paths[0]._system.properties[name][0])

    assert sample.potential == pytest.approx(of_ipi("potential") / scales.energy, rel=1e-9)
    assert sample.conserved == pytest.approx(of_ipi("conserved") / scales.energy, rel=1e-9)
    assert sample.kinetic_virial == pytest.approx(of_ipi("kinetic_cv") / scales.energy, rel=1e-9)
    assert sample.kinetic_primitive == pytest.approx(
        of_ipi("kinetic_td") / scales.energy, abs=1e-6
    )  # its ħ is 1e-8 off
    # i-PI takes what is held to be at the temperature asked for; it is left out here.
    freedom, fixed = 3 * 3 * len(crystal), 3 * fix_centre
    filled = (sample.temperature * (freedom - fixed) + 300.0 * fixed) / freedom
    assert filled == pytest.approx(of_ipi("temperature") / scales.temperature, rel=1e-9)
    # i-PI takes the centroids' velocities for the pressure of the ideal gas; their mean is taken here.
    volume = of_ipi("volume") / scales.length**3
    momenta = np.mean([atoms.get_momenta() for atoms in sample.beads], axis=0)
    twice = (np.square(momenta) / crystal.get_masses()[:, None]).sum()
    pressure = of_ipi("pressure_cv") / scales.energy * scales.length**3
    gas = (3 * len(crystal) * units.kB * 300.0 - twice) / (3 * volume)
    assert sample.volume == pytest.approx(volume, rel=1e-9)
    assert sample.pressure == pytest.approx(pressure + gas, rel=1e-8)


def test_the_radius_of_gyration_of_two_beads_is_half_their_distance():
    positions = np.zeros((2, 4, 3))
    positions[1, :, 0] = 0.3
    assert estimators.gyration_radius(positions) == pytest.approx(0.15)


def test_a_crystal_may_lie_in_any_direction(model):
    straight = bulk("Si", cubic=True)
    straight.set_cell(straight.cell @ np.array([[1, 0, 0], [0.05, 1, 0], [-0.03, 0.02, 1]]), scale_atoms=True)
    beads = rattled(straight, 2)
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    for sign in (1.0, -1.0):  # with another handedness as well
        turned = [atoms.copy() for atoms in beads]
        for atoms in turned:
            atoms.set_cell(atoms.cell @ (sign * turn))
            atoms.positions = atoms.positions @ (sign * turn)
            atoms.set_momenta(atoms.get_momenta() @ (sign * turn))
        config = config_of(beads=2, ensemble="npt", barostat="flexible", thermostat_time=1e9, barostat_time=50.0)
        found = []
        for start in (beads, turned):
            engine = Engine(Evaluator(model), [start], config)
            engine.advance(5)
            found.append(engine.samples()[0])
        for one, other, first, second in zip(
            found[0].beads, found[1].beads, found[0].results, found[1].results, strict=True
        ):
            # Noise is not turned along, and the cell's is strong enough to be seen in the sixth digit.
            np.testing.assert_allclose(one.positions @ (sign * turn), other.positions, atol=2e-4)
            np.testing.assert_allclose(np.array(one.cell) @ (sign * turn), np.array(other.cell), atol=2e-4)
            np.testing.assert_allclose(first["forces"] @ (sign * turn), second["forces"], atol=2e-3)
            wanted = model.predict(other)
            np.testing.assert_allclose(second["forces"], wanted["forces"], atol=1e-9)
            np.testing.assert_allclose(second["stress"], [wanted["stress"][i] for i in _VOIGT], atol=1e-11)


_VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


class Copper:
    """ASE's effective medium theory."""

    def __call__(self, structures):
        found = {}
        for name, atoms in structures.items():
            atoms = atoms.copy()
            atoms.calc = EMT()
            stress = atoms.get_stress(voigt=False)
            found[name] = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces(), "stress": stress}
        return found

    def forget(self) -> None:
        """Nothing is kept."""


@pytest.mark.parametrize("barostat", ["isotropic", "flexible"])
def test_constant_pressure_conserves_its_enthalpy(barostat):
    """A virial of the wrong sign or size would feed energy into the cell."""
    config = PathIntegralConfig(
        beads=2, ensemble="npt", barostat=barostat, barostat_time=50.0, thermostat_time=1e6, internal_friction=1e-6,
        temperature=600.0, pressure=1.0,
    )  # fmt: skip
    engine = Engine(Copper(), [[bulk("Cu", cubic=True)] * 2], config)
    samples = []
    for _ in range(25):
        engine.advance(6)
        samples.append(engine.samples()[0])
    assert np.ptp([sample.volume for sample in samples]) > 2.0
    assert np.ptp([sample.potential for sample in samples]) > 0.1
    assert np.std([sample.conserved for sample in samples]) < 2e-3


def test_the_centre_of_mass_rests_and_the_estimators_do_not_care(model):
    engine = Engine(Evaluator(model), [[molecule("H2O")] * 4], PathIntegralConfig(beads=4, seed=3))
    engine.advance(20)
    sample = engine.samples()[0]
    assert np.abs(np.sum([atoms.get_momenta() for atoms in sample.beads], axis=(0, 1))).max() < 1e-10
    centres = [atoms.get_center_of_mass() for atoms in sample.beads]
    np.testing.assert_allclose(np.mean(centres, axis=0), molecule("H2O").get_center_of_mass(), atol=1e-9)


def test_replicas_are_the_paths_that_each_would_be_alone(model):
    start = molecule("CH4")
    both = Engine(Evaluator(model), [[start] * 3] * 2, PathIntegralConfig(beads=3, replicas=2, seed=5))
    both.advance(10)
    first, second = both.samples()
    alone = Engine(Evaluator(model), [[start] * 3], PathIntegralConfig(beads=3, seed=5))
    alone.advance(10)
    for one, other in zip(first.beads, alone.samples()[0].beads, strict=True):
        np.testing.assert_allclose(one.positions, other.positions, atol=1e-10)
    assert not np.allclose(first.beads[0].positions, second.beads[0].positions, atol=1e-3)


def test_all_beads_of_all_replicas_are_asked_for_at_once(model):
    asked = []

    class Counting(Evaluator):
        def __call__(self, structures):
            asked.append(list(structures))
            return super().__call__(structures)

    engine = Engine(Counting(model), [[molecule("H2O")] * 3] * 2, PathIntegralConfig(beads=3, replicas=2))
    engine.advance(4)
    assert asked == [list(range(6))] * 5  # once to begin with, and once a step


def test_nothing_is_left_behind(model, tmp_path, monkeypatch, capfd):
    from ipi.utils.messages import verbosity
    from ipi.utils.softexit import softexit

    monkeypatch.chdir(tmp_path)
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    level, exits, threads = verbosity.level, list(softexit.flist), threading.active_count()
    Engine(Evaluator(model), [[molecule("H2O")] * 2], PathIntegralConfig(beads=2)).advance(3)
    assert not list(tmp_path.iterdir())
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert (verbosity.level, softexit.flist, threading.active_count()) == (level, exits, threads)
    assert capfd.readouterr() == ("", "")


def test_it_runs_outside_of_the_main_thread(model):
    found = []

    def work() -> None:
        engine = Engine(Evaluator(model), [[molecule("H2O")] * 2], PathIntegralConfig(beads=2))
        engine.advance(2)
        found.append(engine.samples()[0].potential)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(found) == 1


def test_a_request_to_stop_of_another_ipi_does_not_end_python(model):
    from ipi.utils.softexit import softexit

    engine = Engine(Evaluator(model), [[molecule("H2O")] * 2], PathIntegralConfig(beads=2))

    engine.paths[0]._simulation.run_step = lambda _: sys.exit()
    with pytest.raises(InputError, match="asked to stop"):
        engine.advance(1)
    assert not softexit.triggered


def test_what_is_missing_or_does_not_fit_is_said(model, monkeypatch):
    with pytest.raises(InputError, match="periodic in three directions"):
        Engine(Evaluator(model), [[molecule("H2O")] * 3], config_of(ensemble="npt"))
    for settings, said in (
        ({"thermostat": "gle"}, "gle4md.org"),
        ({"gle": "A.xml"}, "set thermostat to 'gle'"),
        ({"record_interval": 0.7}, "whole number of time steps"),
        ({"beads": 0}, "beads"),
    ):
        with pytest.raises(InputError, match=said):
            PathIntegralConfig.parse(settings)
    monkeypatch.setitem(sys.modules, "ipi.engine.simulation", None)
    with pytest.raises(InputError, match=r"pip install 'atomlens\[ipi\]'"):
        Engine(Evaluator(model), [[molecule("H2O")] * 3], config_of())


def test_numbers_that_are_not_finite_end_the_run():
    scales = Scales.of_ipi()
    driver = Driver([molecule("H2O")], lambda _: [{"energy": np.nan, "forces": np.zeros((3, 3))}], moving_cell=False)
    with pytest.raises(InputError, match="no longer finite"):
        driver(np.eye(3), molecule("H2O").positions * scales.length)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<C shape='(2,1,1)'>[1,1]</C>", "no block <A>"),
        ("<A>[1, 1]</A>", "says no shape"),
        ("<A shape='(2,1,1)'>[1]</A>", "cannot be used"),
        ("<A shape='(2,1,1)' units='parsec'>[1, 1]</A>", "cannot be used"),
        ("<A shape='(3,1,1)'>[1, 1, 1]</A>", "get the file for 2 beads"),
        ("<A shape='(2,1,1)'>[1e-3, -1e-3]</A>", "unstable"),
        ("<A shape='(2,1,1)'>[1e-3, nan]</A>", "not finite"),
        ("<A shape='(2,1,1)'>[1, 1]</A><A shape='(2,1,1)'>[1, 1]</A>", "2 blocks"),
        ("<A shape='(2,1,1)'>[1e-3, 1e-3]</A><C shape='(2,2)'>[1, 0, 0, 1]</C>", "beside"),
        ("<A shape='(2,1,1)'>[1e-3, 1e-3]</A><C shape='(2,1,1)' units='kelvin'>[500, 500]</C>", "at 250 K instead"),
    ],
)
def test_files_of_matrices_that_do_not_fit_are_refused(tmp_path, text, said):
    path = tmp_path / "gle.xml"
    path.write_text(text)
    with pytest.raises(InputError, match=said) as caught:
        gle.read_matrices(path, 2, 300.0)
    assert caught.value.file == str(path)


def test_matrices_are_read_in_their_units(tmp_path):
    path = tmp_path / "gle.xml"
    path.write_text("# made for a test\n<A shape='(1, 1, 1)' units='inversecm'>\n[ 1.0e+1 ]\n</A>\n"
                    "<C shape='(1,1,1)' units='kelvin'>[3.0e2]</C>")  # fmt: skip
    found = gle.read_matrices(path, 1, 300.0)
    assert found.drift[0, 0, 0] == pytest.approx(10 * units.invcm / units.Hartree, rel=1e-6)
    assert found.covariance[0, 0, 0] == pytest.approx(300 * units.kB / units.Hartree, rel=1e-5)
    with pytest.raises(InputError, match="cannot be read"):
        gle.read_matrices(tmp_path / "none.xml", 1, 300.0)


def test_the_harmonic_energy_of_a_path_rises_from_the_classical_to_the_quantum_one():
    found = [estimators.harmonic_energy(3000.0, 300.0, beads) for beads in (1, 2, 8, 64, 512)]
    assert found[0] == pytest.approx(units.kB * 300)
    assert np.all(np.diff(found) > 0)
    exact = estimators.harmonic_energy(3000.0, 300.0)
    assert exact == pytest.approx(0.5 * 3000 * units.invcm, rel=1e-5)  # nothing but zero-point energy
    # Two beads can be written out: k_B T (1 + 1 / (1 + (4 k_B T / ħω)²)).
    ratio = 4 * units.kB * 300 / (3000 * units.invcm)
    assert found[1] == pytest.approx(units.kB * 300 * (1 + 1 / (1 + ratio**2)))
    short = [exact - energy for energy in found[-2:]]
    assert short[0] / short[1] == pytest.approx(64.0, rel=0.02)  # 1/P²


def test_beads_needed_are_the_fewest_that_do():
    for frequency, kelvin, lacking in ((3000.0, 300.0, 0.02), (1500.0, 300.0, 0.05), (3000.0, 100.0, 0.02)):
        beads = beads_needed(frequency, kelvin, lacking)
        assert estimators.missing_energy(frequency, kelvin, beads) <= lacking
        assert estimators.missing_energy(frequency, kelvin, beads - 1) > lacking
    assert beads_needed(10.0, 300.0) == 1
    with pytest.raises(InputError, match="more than 4096"):
        beads_needed(4000.0, 0.1)


def test_energies_of_few_beads_lead_to_the_limit():
    rng = np.random.default_rng(0)
    beads = np.array([1, 2, 4, 8, 16, 32])
    exact = estimators.harmonic_energy(800.0, 300.0) - 500.0
    energies = np.array([estimators.harmonic_energy(800.0, 300.0, int(p)) for p in beads]) - 500.0
    clean = extrapolate(beads, energies, np.full(6, 1e-4))
    assert clean.used.tolist() == [4, 8, 16, 32]
    assert clean.energy == pytest.approx(exact, abs=1e-5)
    np.testing.assert_allclose(clean.at(clean.used), energies[2:], atol=1e-5)
    drawn = [extrapolate(beads, energies + rng.normal(size=6) * 1e-4, np.full(6, 1e-4)) for _ in range(300)]
    off = np.array([(found.energy - exact) / found.error for found in drawn])
    assert off.std() == pytest.approx(1.0, abs=0.15)  # the error bar is right
    assert np.mean([found.p_value < 0.05 for found in drawn]) < 0.12
    with pytest.raises(InputError, match="too short"):
        extrapolate(beads, energies, np.full(6, np.nan))
