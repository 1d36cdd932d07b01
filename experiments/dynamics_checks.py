"""What dynamics and path integrals are measured by, as tables.

    python experiments/dynamics_checks.py --out runs/checks [--data FOLDER_WITH_C20]

Quantum nuclei: harmonic oscillators and Morse dimers, beside what is exact for that number of beads and for quantum
nuclei (a sum over levels of the radial Schrödinger equation). With the published model of C20: the drift and the
fluctuation of the total energy by time step, and kinetic energies under each thermostat beside the canonical
distribution. Ten minutes on one core; finished runs are not repeated.
"""

import argparse
from pathlib import Path

import ase
import numpy as np
import torch
from ase import units

from atomlens.convert import convert_published
from atomlens.simulate import (
    MolecularDynamicsConfig,
    PathIntegralConfig,
    RelaxationConfig,
    path_energies,
    read_frames,
    relax,
    run_molecular_dynamics,
    run_path_integrals,
)
from atomlens.simulate.analysis import kinetic_energy_test
from atomlens.simulate.analysis.blocks import block_average
from atomlens.simulate.molecular_dynamics.ensembles import ENSEMBLES
from atomlens.simulate.path_integrals.estimators import HBAR, harmonic_energy
from atomlens.simulate.run_panel import read_course

KELVIN = 300.0
FREQUENCY, MASS, COUNT = 1200.0, 12.0, 100  # of the oscillators: cm⁻¹, amu
DEPTH, STEEPNESS, LENGTH, HALF = 0.6, 2.4, 1.2, 6.0  # of the Morse dimers: eV, 1/Å, Å, reduced mass in amu
DIMERS = 100


class Analytic:
    """A potential that is a function of positions (structures, atoms, 3)."""

    def __init__(self, function):
        self.function = function

    def __call__(self, structures):
        energies, forces = self.function(np.stack([atoms.positions for atoms in structures.values()]))
        rows = zip(structures, energies, forces, strict=True)
        return {name: {"energy": energy, "forces": force} for name, energy, force in rows}

    def forget(self):
        """Nothing is kept."""


def wells(q):
    """Every atom in a harmonic well of its own around its place on a line."""
    off = q - homes(q.shape[1])
    stiffness = MASS * (FREQUENCY * units.invcm / HBAR) ** 2
    return 0.5 * stiffness * np.square(off).sum(axis=(1, 2)), -stiffness * off


def homes(count):
    return np.arange(count)[:, None] * np.array([5.0, 0.0, 0.0])


def morse(q):
    """Atoms 2k and 2k+1 are a dimer; dimers do not feel each other."""
    apart = q[:, 1::2] - q[:, ::2]
    length = np.linalg.norm(apart, axis=2)
    decay = np.exp(-STEEPNESS * (length - LENGTH))
    slope = 2 * DEPTH * STEEPNESS * decay * (1 - decay)
    forces = np.zeros_like(q)
    forces[:, ::2] = (slope / length)[..., None] * apart
    forces[:, 1::2] = -forces[:, ::2]
    return DEPTH * np.square(1 - decay).sum(axis=1), forces


def morse_exactly():
    """Thermal energy in eV and mean and standard deviation of the length in Å of a dimer, without translation.

    Radial equation for every J on a grid: sinc functions (Colbert and Miller, J. Chem. Phys. 96, 1982 (1992)).
    """
    r = np.linspace(0.75, 2.6, 160)
    far = np.subtract.outer(np.arange(len(r)), np.arange(len(r)))
    with np.errstate(divide="ignore"):
        kinetic = np.where(far == 0, np.pi**2 / 3, 2.0 / np.square(far)) * (-1.0) ** np.abs(far)
    kinetic *= HBAR**2 / (2 * HALF * (r[1] - r[0]) ** 2)
    potential = DEPTH * np.square(1 - np.exp(-STEEPNESS * (r - LENGTH)))
    total = np.zeros(4)
    for j in range(70):
        levels, states = np.linalg.eigh(kinetic + np.diag(potential + HBAR**2 * j * (j + 1) / (2 * HALF * r**2)))
        weight = (2 * j + 1) * np.exp(-levels / (units.kB * KELVIN))
        density = np.square(states) @ weight
        total += [weight.sum(), weight @ levels, density @ r, density @ r**2]
    energy, mean, square = total[1:] / total[0]
    return energy, mean, np.sqrt(square - mean**2)


def paths(potential, atoms, folder, beads, duration):
    """Energies of a run of paths, made if it is not there."""
    config = PathIntegralConfig(
        beads=beads, temperature=KELVIN, timestep=0.25, duration=duration, equilibration=0.3, thermostat_time=20.0,
        record_interval=2.5, fix_centre=False,
    )  # fmt: skip
    run_path_integrals(Analytic(potential), atoms, folder, config, resume=folder.is_dir(), title=folder.name)
    return path_energies(folder)


def oscillators(out):
    """Energy per degree of freedom by number of beads, beside the exact ones."""
    quantum = harmonic_energy(FREQUENCY, KELVIN)
    yield f"Harmonic oscillators, {FREQUENCY:g} cm⁻¹, {KELVIN:g} K; energy per degree of freedom in meV"
    yield "| beads | path integrals | exact for so many beads | off, in error bars | quantum, ħω/2 coth(ħω/2kT) |"
    yield "|---|---|---|---|---|"
    atoms = ase.Atoms(f"H{COUNT}", homes(COUNT), masses=np.full(COUNT, MASS))
    for beads in (1, 2, 4, 8, 16, 32):
        found = paths(wells, atoms, out / f"oscillators_{beads:02d}", beads, 3.0)
        mean, error = (1e3 * float(value) / (3 * COUNT) for value in (found.energy.mean, found.energy.error))
        exact = 1e3 * harmonic_energy(FREQUENCY, KELVIN, beads)
        off = (mean - exact) / error
        yield f"| {beads} | {mean:.2f} ± {error:.2f} | {exact:.2f} | {off:+.1f} | {1e3 * quantum:.2f} |"


def dimers(out):
    """Energy and length of Morse dimers by number of beads."""
    energy, length, spread = morse_exactly()
    # Positions of both atoms are sampled, so the centre of mass adds its classical share.
    whole = energy + 1.5 * units.kB * KELVIN
    yield f"Morse dimers, {KELVIN:g} K; energy per dimer in meV, length and its standard deviation in Å"
    yield "| beads | energy | off, in error bars | length | its standard deviation |"
    yield "|---|---|---|---|---|"
    middle = homes(DIMERS)
    positions = np.stack([middle, middle + np.array([0.0, 0.0, LENGTH])], axis=1).reshape(-1, 3)
    atoms = ase.Atoms(f"H{2 * DIMERS}", positions, masses=np.full(2 * DIMERS, 2 * HALF))
    for beads in (1, 4, 16, 32):
        folder = out / f"dimers_{beads:02d}"
        found = paths(morse, atoms, folder, beads, 3.0)
        mean, error = (1e3 * float(value) / DIMERS for value in (found.energy.mean, found.energy.error))
        frames = read_frames(folder)
        lengths = np.linalg.norm(frames.positions[:, :, 1::2] - frames.positions[:, :, ::2], axis=-1)
        of_length = block_average(lengths.mean(axis=(1, 2))[:, None])
        of_square = block_average(np.square(lengths - lengths.mean()).mean(axis=(1, 2))[:, None])
        width = np.sqrt(float(of_square.mean))
        yield (
            f"| {beads} | {mean:.2f} ± {error:.2f} | {(mean - 1e3 * whole) / error:+.1f} | "
            f"{float(of_length.mean):.4f} ± {float(of_length.error):.4f} | "
            f"{width:.4f} ± {float(of_square.error) / (2 * width):.4f} |"
        )
    yield f"| exact | {1e3 * whole:.2f} | | {length:.4f} | {spread:.4f} |"


def cage(data):
    """C20 at rest, and its published model."""
    model = convert_published(data / "schnet_force_model.npz", precision="float64")
    arrays = np.load(data / "c20_geometry.npz")
    (rest,) = relax(model, [ase.Atoms(arrays["numbers"], arrays["positions"])], RelaxationConfig(force=1e-4))
    return model, rest.atoms


def conservation(model, atoms, out):
    """Drift and fluctuation of the total energy by time step."""
    yield f"C20 at constant energy, {KELVIN:g} K, 10 ps, float64"
    yield "| time step, fs | fluctuation, meV/atom | drift, eV/atom/ps |"
    yield "|---|---|---|"
    steps, sizes = [0.25, 0.5, 1.0, 2.0], []
    for step in steps:
        folder = out / f"nve_{step:g}"
        config = MolecularDynamicsConfig(
            ensemble="nve", temperature=KELVIN, timestep=step, duration=10.0, record_interval=2.0
        )
        run_molecular_dynamics(model, atoms, folder, config, resume=folder.is_dir(), title=folder.name)
        course = read_course(folder)
        total = course.values["conserved_eV"][:, 0] / len(atoms)
        drift = np.polyfit(course.times, total, 1)[0]
        sizes.append(total.std())
        yield f"| {step:g} | {1e3 * sizes[-1]:.5f} | {drift:+.1e} |"
    yield f"The fluctuation grows as the time step to the power {np.polyfit(np.log(steps), np.log(sizes), 1)[0]:.2f}."


def thermostats(model, atoms, out):
    """Temperatures and the distribution of kinetic energies under each thermostat."""
    yield f"C20, {KELVIN:g} K, 8 copies of 8 ps, 0.5 fs"
    yield "| ensemble | temperature, K | independent samples | Kolmogorov-Smirnov p |"
    yield "|---|---|---|---|"
    for name in ("langevin", "bussi", "nose-hoover"):
        folder = out / f"thermostat_{name}"
        config = MolecularDynamicsConfig(
            ensemble=name, temperature=KELVIN, timestep=0.5, duration=8.0, equilibration=1.0, replicas=8,
            record_interval=5.0,
        )  # fmt: skip
        run_molecular_dynamics(model, atoms, folder, config, resume=folder.is_dir(), title=folder.name)
        degrees = ENSEMBLES[name].degrees_of_freedom(atoms)
        found = kinetic_energy_test(read_frames(folder), KELVIN, degrees)
        course = read_course(folder)
        kelvin = block_average(course.values["temperature_K"][course.times >= config.equilibration])
        mean, error = float(kelvin.mean), float(kelvin.error)
        yield f"| {name} | {mean:.1f} ± {error:.1f} | {found.samples} | {found.p_value:.2f} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, help="folder with schnet_force_model.npz and c20_geometry.npz")
    asked = parser.parse_args()
    tables = [oscillators(asked.out), dimers(asked.out)]
    if asked.data is not None:
        model, atoms = cage(asked.data)
        tables += [conservation(model, atoms, asked.out)]
        tables += [thermostats(model.set_precision(torch.float32), atoms, asked.out)]
    for table in tables:
        for line in table:
            print(line, flush=True)
        print()


if __name__ == "__main__":
    main()
