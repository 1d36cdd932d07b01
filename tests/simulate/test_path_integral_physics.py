"""Path integrals against quantum statistical mechanics that can be done on paper or on a grid."""

from collections.abc import Callable

import ase
import numpy as np
import pytest
from ase import units
from scipy import stats
from scipy.integrate import quad

from atomlens.simulate.analysis.blocks import block_average
from atomlens.simulate.path_integrals import gle
from atomlens.simulate.path_integrals.config import PathIntegralConfig
from atomlens.simulate.path_integrals.engine import Engine
from atomlens.simulate.path_integrals.estimators import HBAR, harmonic_energy

pytest.importorskip("ipi")

KELVIN = 300.0
THERMAL = units.kB * KELVIN


class Analytic:
    """A potential that is a function of positions (structures, atoms, 3)."""

    def __init__(self, function: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]) -> None:
        self.function = function

    def __call__(self, structures):
        energies, forces = self.function(np.stack([atoms.positions for atoms in structures.values()]))
        rows = zip(structures, energies, forces, strict=True)
        return {name: {"energy": energy, "forces": force} for name, energy, force in rows}

    def forget(self) -> None:
        """Nothing is kept."""


def oscillators(frequency: float, mass: float) -> Analytic:
    """Every atom in a well of its own around the origin; frequency in cm⁻¹."""
    stiffness = mass * (frequency * units.invcm / HBAR) ** 2
    return Analytic(lambda q: (0.5 * stiffness * np.square(q).sum(axis=(1, 2)), -stiffness * q))


def atoms_of(count: int, mass: float, positions: np.ndarray | None = None) -> ase.Atoms:
    positions = np.zeros((count, 3)) if positions is None else positions
    return ase.Atoms(f"H{count}", positions, masses=np.full(count, mass))


def engine_of(potential, atoms, **settings) -> Engine:
    config = PathIntegralConfig(**{"temperature": KELVIN, "fix_centre": False, "thermostat_time": 10.0, **settings})
    return Engine(potential, [[atoms] * config.beads] * config.replicas, config)


def sampled(engine: Engine, before: int, samples: int, stride: int):
    engine.advance(before)
    found = []
    for _ in range(samples):
        engine.advance(stride)
        found.append(engine.samples()[0])
    return found


def average(values) -> tuple[float, float]:
    found = block_average(np.asarray(values)[:, None])
    return float(found.mean), float(found.error)


FREQUENCY, MASS, COUNT = 1200.0, 12.0, 200  # ħω = 5.8 k_B T


@pytest.mark.parametrize("beads", [2, 6])
def test_energies_of_oscillators_are_those_of_a_path_of_so_many_beads(beads):
    engine = engine_of(oscillators(FREQUENCY, MASS), atoms_of(COUNT, MASS), beads=beads, seed=beads)
    found = sampled(engine, 200, 150, 5)
    half = 1.5 * COUNT * harmonic_energy(FREQUENCY, KELVIN, beads)
    for name in ("potential", "kinetic_virial", "kinetic_primitive"):
        mean, error = average([getattr(sample, name) for sample in found])
        assert error < 0.015 * half, name
        assert abs(mean - half) < 3.5 * error, name
    # Neither classical nuclei nor the converged quantum energy would pass.
    mean, error = average([sample.energy for sample in found])
    assert abs(mean - 3 * COUNT * THERMAL) > 15 * error
    assert abs(mean - 3 * COUNT * harmonic_energy(FREQUENCY, KELVIN)) > 5 * error


def test_many_beads_reach_energy_and_width_of_the_quantum_oscillator():
    engine = engine_of(oscillators(FREQUENCY, MASS), atoms_of(COUNT, MASS), beads=24, seed=1)
    found = sampled(engine, 150, 100, 5)
    exact = 3 * COUNT * harmonic_energy(FREQUENCY, KELVIN)
    mean, error = average([sample.energy for sample in found])
    lacking = 1 - harmonic_energy(FREQUENCY, KELVIN, 24) / harmonic_energy(FREQUENCY, KELVIN)
    assert lacking < 0.01
    assert error < 0.01 * exact
    assert abs(mean - exact) < 3 * error + lacking * exact
    omega = FREQUENCY * units.invcm / HBAR
    width = np.sqrt(harmonic_energy(FREQUENCY, KELVIN) / (MASS * omega**2))  # σ² = <E> / mω²
    # Frames four vibrations apart are independent draws of a Gaussian.
    picked = np.concatenate([sample.beads[0].positions.ravel() for sample in found[::33]])
    assert stats.kstest(picked / width, "norm").pvalue > 0.01
    classical = np.sqrt(THERMAL / (MASS * omega**2))
    assert stats.kstest(picked / classical, "norm").pvalue < 1e-6


DEPTH, STEEPNESS, LENGTH, HALF = 0.6, 2.4, 1.2, 6.0  # of a Morse dimer: eV, 1/Å, Å, reduced mass in amu


def morse(q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Atoms 2k and 2k+1 are a dimer; dimers do not feel each other."""
    apart = q[:, 1::2] - q[:, ::2]
    length = np.linalg.norm(apart, axis=2)
    decay = np.exp(-STEEPNESS * (length - LENGTH))
    slope = 2 * DEPTH * STEEPNESS * decay * (1 - decay)
    forces = np.zeros_like(q)
    forces[:, ::2] = (slope / length)[..., None] * apart
    forces[:, 1::2] = -forces[:, ::2]
    return DEPTH * np.square(1 - decay).sum(axis=1), forces


def morse_exactly() -> tuple[float, float, float, float]:
    """Thermal energy, mean and variance of the length, and mean potential energy of one dimer, without translation.

    Radial equation for every J on a grid: sinc functions (Colbert and Miller, J. Chem. Phys. 96, 1982 (1992)).
    """
    r = np.linspace(0.75, 2.6, 160)
    step = r[1] - r[0]
    far = np.subtract.outer(np.arange(len(r)), np.arange(len(r)))
    with np.errstate(divide="ignore"):
        kinetic = np.where(far == 0, np.pi**2 / 3, 2.0 / np.square(far)) * (-1.0) ** np.abs(far)
    kinetic *= HBAR**2 / (2 * HALF * step**2)
    potential = DEPTH * np.square(1 - np.exp(-STEEPNESS * (r - LENGTH)))
    total = np.zeros(5)
    for j in range(70):
        levels, states = np.linalg.eigh(kinetic + np.diag(potential + HBAR**2 * j * (j + 1) / (2 * HALF * r**2)))
        weight = (2 * j + 1) * np.exp(-levels / THERMAL)
        density = np.square(states) @ weight
        total += [weight.sum(), weight @ levels, density @ r, density @ r**2, density @ potential]
    energy, mean, square, well = total[1:] / total[0]
    return energy, mean, square - mean**2, well


def test_a_morse_dimer_has_the_energy_and_the_lengths_of_the_radial_schroedinger_equation():
    dimers, beads = 100, 24
    start = np.zeros((2 * dimers, 3))
    start[1::2, 2] = LENGTH
    engine = engine_of(Analytic(morse), atoms_of(2 * dimers, 2 * HALF, start), beads=beads, seed=2)
    found = sampled(engine, 200, 120, 5)
    energy, length, variance, well = morse_exactly()
    mean, error = average([sample.energy / dimers for sample in found])
    # 1 % of the vibration's zero-point energy is what 24 beads lack.
    omega = STEEPNESS * np.sqrt(2 * DEPTH / HALF) * HBAR / units.invcm
    lacking = harmonic_energy(omega, KELVIN) - harmonic_energy(omega, KELVIN, beads)
    assert lacking < 0.01 * energy
    assert error < 0.01 * energy
    assert abs(mean - energy - 1.5 * THERMAL) < 3 * error + lacking
    mean, error = average([sample.potential / dimers for sample in found])
    assert abs(mean - well) < 3 * error + 0.5 * lacking
    lengths = np.array(
        [[np.linalg.norm(b.positions[1::2] - b.positions[::2], axis=1) for b in sample.beads[::6]] for sample in found]
    )
    mean, error = average(lengths.mean(axis=(1, 2)))
    assert abs(mean - length) < 3.5 * error
    mean, error = average(np.square(lengths - length).mean(axis=(1, 2)))
    assert abs(mean - variance) < 3 * error + 0.02 * variance
    # A classical dimer is narrower by far.
    x = np.linspace(0.8, 2.0, 4000)
    boltzmann = x**2 * np.exp(-DEPTH * np.square(1 - np.exp(-STEEPNESS * (x - LENGTH))) / THERMAL)
    classical = (boltzmann @ np.square(x - boltzmann @ x / boltzmann.sum())) / boltzmann.sum()
    assert variance > 1.4 * classical


def white_noise(path, beads: int, friction: float) -> str:
    """A file of matrices of one number each: the white noise of Langevin."""
    text = f"<A shape='({beads},1,1)'>[{', '.join([str(friction)] * beads)}]</A>"
    path.write_text(f"<thermostat mode='nm_gle'>\n{text}\n</thermostat>")
    return str(path)


@pytest.mark.parametrize(
    ("thermostat", "fix_centre"),
    [("pile-l", False), ("pile-l", True), ("pile-g", False), ("pile-g", True), ("langevin", True), ("gle", True)],
)
def test_kinetic_energies_are_canonical(thermostat, fix_centre, tmp_path):
    beads, atoms = 3, 2
    more = {"gle": white_noise(tmp_path / "A.xml", beads, 1e-2)} if thermostat == "gle" else {}
    engine = engine_of(
        oscillators(200.0, MASS),
        atoms_of(atoms, MASS),
        beads=beads,
        thermostat=thermostat,
        fix_centre=fix_centre,
        thermostat_time=3.0,
        timestep=1.0,
        record_interval=1.0,
        seed=3,
        **more,
    )
    warm = np.array([sample.temperature for sample in sampled(engine, 30, 150, 7)])
    freedom = 3 * beads * atoms - 3 * fix_centre
    # 2K / (P k_B T) of f degrees of freedom is χ² with f.
    assert stats.kstest(warm / KELVIN * freedom, stats.chi2(freedom).cdf).pvalue > 0.01
    assert stats.kstest(warm / KELVIN * freedom, stats.chi2(freedom + 3).cdf).pvalue < 1e-3


def coloured(path, beads: int) -> gle.Matrices:
    """Matrices with one more momentum, out of equilibrium in the internal modes."""
    thermal = beads * units.kB * KELVIN / units.Hartree
    drift = np.array([[2e-3, 4e-3], [-3e-3, 8e-3]])
    hot = thermal * np.array([[1.6, 0.2], [0.2, 0.8]])
    drifts, covariances = np.array([drift] * beads), np.array([thermal * np.eye(2)] + [hot] * (beads - 1))
    drifts[0] = [[2e-3, 4e-3], [-4e-3, 8e-3]]
    blocks = [
        f"<{name} shape='{values.shape}' units='atomic_unit'>[{', '.join(map(repr, values.ravel().tolist()))}]</{name}>"
        for name, values in (("A", drifts), ("C", covariances))
    ]
    path.write_text("\n".join(blocks))
    return gle.read_matrices(path, beads, KELVIN)


def test_a_coloured_thermostat_keeps_oscillators_where_the_lyapunov_equation_says(tmp_path):
    beads, path = 3, tmp_path / "gle.xml"
    matrices = coloured(path, beads)
    frequency = FREQUENCY * units.invcm / units.Hartree
    potential, kinetic = gle.harmonic_energy(matrices, frequency, units.kB * KELVIN / units.Hartree)
    engine = engine_of(
        oscillators(FREQUENCY, MASS), atoms_of(COUNT, MASS), beads=beads, thermostat="gle", gle=str(path), timestep=0.25
    )
    found = sampled(engine, 400, 160, 8)
    for name, wanted in (("potential", potential), ("kinetic_virial", kinetic)):
        mean, error = average([getattr(sample, name) / (3 * COUNT) for sample in found])
        assert error < 0.015 * wanted * units.Hartree
        assert abs(mean - wanted * units.Hartree) < 3.5 * error, name
    # The same path in equilibrium has another energy.
    white = 0.5 * harmonic_energy(FREQUENCY, KELVIN, beads)
    assert abs(potential * units.Hartree - white) > 0.05 * white


def test_matrices_in_equilibrium_give_the_energy_of_the_path():
    beads, thermal = 5, 1e-3
    drift = np.array([[[2e-3, 4e-3], [-4e-3, 8e-3]]] * beads)
    matrices = gle.Matrices(drift, np.array([beads * thermal * np.eye(2)] * beads))
    kelvin = thermal * units.Hartree / units.kB
    for frequency in (2e-4, 5e-3):
        wanted = 0.5 * harmonic_energy(frequency * units.Hartree / units.invcm, kelvin, beads) / units.Hartree
        assert gle.harmonic_energy(matrices, frequency, thermal) == pytest.approx((wanted, wanted), rel=1e-8)


class Balloon:
    """Free atoms in a cell with an energy of its volume: k V₀ (V/V₀ - 1)² / 2."""

    rest, stiffness = 200.0, 0.01  # Å³, eV/Å³

    def __call__(self, structures):
        found = {}
        for name, atoms in structures.items():
            strain = atoms.get_volume() / self.rest - 1
            found[name] = {
                "energy": np.array(0.5 * self.stiffness * self.rest * strain**2),
                "forces": np.zeros((len(atoms), 3)),
                "stress": self.stiffness * strain * np.eye(3),
            }
        return found

    def forget(self) -> None:
        """Nothing is kept."""


def test_volumes_at_constant_pressure_are_those_of_the_ensemble():
    count, pressure = 6, 2.0  # GPa
    atoms = ase.Atoms(f"C{count}", np.zeros((count, 3)), cell=np.eye(3) * 5.5, pbc=True)
    engine = engine_of(
        Balloon(), atoms, beads=2, ensemble="npt", pressure=pressure, barostat_time=20.0, timestep=1.0, seed=4
    )
    volumes = [sample.volume for sample in sampled(engine, 200, 250, 8)]

    def weight(volume: float) -> float:
        energy = 0.5 * Balloon.stiffness * Balloon.rest * (volume / Balloon.rest - 1) ** 2
        return float(np.exp(count * np.log(volume / 200) - (energy + pressure * units.GPa * volume) / THERMAL))

    norm = quad(weight, 10, 600)[0]
    wanted = quad(lambda v: v * weight(v), 10, 600)[0] / norm
    spread = quad(lambda v: (v - wanted) ** 2 * weight(v), 10, 600)[0] / norm
    mean, error = average(volumes)
    assert error < 0.04 * wanted
    assert abs(mean - wanted) < 3.5 * error
    mean, error = average(np.square(np.array(volumes) - wanted))
    assert abs(mean - spread) < 3.5 * error


def test_ring_polymer_dynamics_conserve_better_with_the_square_of_the_time_step():
    off = []
    for timestep in (0.25, 0.5, 1.0):
        engine = engine_of(
            Analytic(morse),
            atoms_of(20, 2 * HALF, np.tile([[0.0, 0, 0], [0, 0, LENGTH]], (10, 1))),
            beads=4,
            ensemble="nve",
            timestep=timestep,
            record_interval=timestep,
            duration=timestep,
            seed=5,
        )
        stride = round(2.0 / timestep)
        values = np.array([sample.conserved for sample in sampled(engine, 0, 60, stride)])
        off.append(values.std())
    order = np.polyfit(np.log([0.25, 0.5, 1.0]), np.log(off), 1)[0]
    assert order == pytest.approx(2.0, abs=0.2)
