"""Spectra of charged harmonic oscillators, whose frequencies, areas and intensities are known."""

import dataclasses
import json

import numpy as np
import pytest
from ase import units
from scipy import signal

from atomlens.errors import InputError
from atomlens.simulate.analysis import spectra
from atomlens.simulate.analysis.mechanics import internal_velocities
from atomlens.simulate.frames import Frames

TEMPERATURE = 300.0
WAVENUMBERS = np.array([[500.0, 800.0, 1200.0], [1500.0, 3000.0, 3600.0]])  # cm⁻¹, of two atoms along x, y and z
MASSES = np.array([12.0, 1.0])
CHARGES = np.array([0.3, 0.5])
# Integrated molar absorption of a mode from its dipole derivative, in km/mol per (D/Å)²/amu: the number that programs
# for harmonic vibrations use (Yamaguchi et al., J. Chem. Phys. 84, 2262 (1986); ASE's Infrared has it too).
KM_PER_MOL = 42.255


def oscillators(*, interval=1.0, frames=4000, replicas=32, drift=0.0, seed=0):
    """Thermal amplitudes and phases, exact in time."""
    rng = np.random.default_rng(seed)
    omega = 2 * np.pi * spectra.LIGHT * WAVENUMBERS
    speed = np.sqrt(units.kB * TEMPERATURE / MASSES)[:, None] * units.fs
    cosine, sine = rng.standard_normal((2, replicas, 2, 3)) * speed
    times = interval * np.arange(frames)
    phase = times[:, None, None, None] * omega
    moved = (cosine * np.sin(phase) + sine * np.cos(phase)) / omega
    along = drift * times[:, None, None, None]
    return Frames(
        numbers=np.array([6, 1]),
        masses=MASSES,
        pbc=np.zeros(3, dtype=bool),
        times=times,
        positions=moved + np.array([[0.0, 0, 0], [0, 0, 5.0]]) + along,
        cells=np.zeros((frames, replicas, 3, 3)),
        velocities=cosine * np.cos(phase) - sine * np.sin(phase) + drift,
        dipoles=(CHARGES[:, None] * moved).sum(axis=2) + np.array([1.0, 2.0, 3.0]),
    )


@pytest.fixture(scope="module")
def run():
    return oscillators()


@pytest.fixture(scope="module")
def states(run):
    return spectra.vibrational_density(run, temperature=TEMPERATURE, resolution=20.0)


class TestVibrationalDensity:
    def test_peaks_lie_at_the_frequencies(self, states):
        step = states.wavenumbers[1]
        for place in WAVENUMBERS.ravel():
            near = np.abs(states.wavenumbers - place) < 100
            assert states.wavenumbers[near][states.values[near].argmax()] == pytest.approx(place, abs=0.6 * step)

    def test_equipartition_gives_every_mode_one(self, states, run):
        """The area of a line is the mean of m v² over kT of its oscillator, 1 within √(2 · 2/(2 · replicas))."""
        weights = np.square(run.velocities).mean(axis=(0, 1)) * MASSES[:, None] / (units.kB * TEMPERATURE * units.fs**2)
        for place, weight in zip(WAVENUMBERS.ravel(), weights.ravel(), strict=True):
            assert states.area_between(place - 80, place + 80) == pytest.approx(weight, rel=0.02)
            assert weight == pytest.approx(1.0, abs=4 / np.sqrt(32))

    def test_sum_rule(self, states, run):
        kinetic = np.square(run.velocities).sum(axis=-1).mean(axis=(0, 1)) @ MASSES
        assert states.area == pytest.approx(kinetic / (units.kB * TEMPERATURE * units.fs**2), rel=0.01)
        assert abs(states.area - 6.0) < 4 * states.area_error
        # Six modes of exponentially distributed energy (two quadratic terms) in 32 runs.
        assert states.area_error == pytest.approx(np.sqrt(6 / 32), rel=0.5)

    def test_elements_add_up(self, states):
        np.testing.assert_allclose(sum(states.parts.values()), states.values, rtol=1e-12, atol=1e-15)
        step = states.wavenumbers[1]
        heavy = states.wavenumbers < 1350
        assert states.parts["C"][heavy].sum() * step == pytest.approx(states.parts["C"].sum() * step, rel=1e-3)

    def test_against_scipy(self, run):
        own = spectra.vibrational_density(run, temperature=TEMPERATURE, resolution=20.0)
        length = 2 * (len(own.wavenumbers) - 1)
        values = run.velocities[-(length + (own.segments // 32 - 1) * (length // 2)) :]
        numbers, power = signal.welch(
            values, 1.0 / spectra.LIGHT, "hann", length, length // 2, detrend=False, scaling="density", axis=0
        )
        total = (power.mean(axis=1).sum(axis=-1) * MASSES).sum(axis=-1) / (units.kB * TEMPERATURE * units.fs**2)
        np.testing.assert_allclose(numbers, own.wavenumbers, rtol=1e-12)
        np.testing.assert_allclose(own.values, total, rtol=1e-9, atol=1e-12 * total.max())

    def test_width_of_a_line_is_the_resolution(self, states):
        near = np.abs(states.wavenumbers - 3600.0) < 80
        line, numbers = states.values[near], states.wavenumbers[near]
        fine = np.linspace(numbers[0], numbers[-1], 4001)
        # Interpolated through the transform of a Hann window the line has the stated width within its steps.
        above = fine[np.interp(fine, numbers, line) > line.max() / 2]
        assert np.ptp(above) == pytest.approx(states.resolution, rel=0.3)
        assert states.resolution == pytest.approx(20.0, rel=0.01)
        assert states.highest == pytest.approx(0.5 / spectra.LIGHT)

    def test_motion_of_the_whole_can_be_left_out(self):
        drifting = oscillators(drift=0.05)
        still = oscillators()
        options = {"temperature": TEMPERATURE, "resolution": 40.0, "internal": True}
        found, expected = (spectra.vibrational_density(each, **options) for each in (drifting, still))
        np.testing.assert_allclose(found.values, expected.values, rtol=1e-6, atol=1e-9)
        assert spectra.vibrational_density(drifting, temperature=TEMPERATURE, resolution=40.0).area > 10.0

    def test_error_bars_cover(self):
        """The area is 6 on average; one standard error of 12 runs holds it in two thirds of cases."""
        shown = []
        for seed in range(60):
            found = spectra.vibrational_density(
                oscillators(frames=800, replicas=12, seed=seed), temperature=TEMPERATURE, resolution=120.0
            )
            shown.append((found.area - 6.0) / found.area_error)
        assert np.mean(np.abs(shown) < 1.0) == pytest.approx(0.66, abs=0.19)  # three standard deviations of 60 draws
        assert np.mean(np.abs(shown) < 2.0) > 0.82


class TestPaths:
    def test_centroids_are_taken(self):
        """Beads that swing against each other about a classical motion leave its spectrum as it is."""
        run = oscillators(frames=1000, replicas=8)
        apart = np.array([1.0, -1.0, 0.0])[:, None, None]

        def beads(values):
            paths = values[:, :, None] + (0.1 * apart if values.ndim == 4 else 0.1 * apart[:, 0])
            return paths.reshape(len(values), 24, *values.shape[2:])

        path = dataclasses.replace(
            run, beads=3, positions=beads(run.positions), velocities=beads(run.velocities),
            dipoles=beads(run.dipoles), cells=np.zeros((1000, 24, 3, 3)),
        )  # fmt: skip
        for of in (spectra.vibrational_density, spectra.infrared):
            own, classical = (of(each, temperature=TEMPERATURE, resolution=80.0) for each in (path, run))
            np.testing.assert_allclose(own.values, classical.values, rtol=1e-9, atol=1e-12 * classical.values.max())

    def test_beads_may_swing_faster_than_frames_follow(self):
        """What is recorded too seldom for the rings' own vibrations may be often enough for their centroids."""
        run = oscillators(frames=1000, replicas=8)
        apart = np.array([1.0, -1.0])[:, None, None] * np.random.default_rng(0).standard_normal((1000, 8, 1, 1, 1))
        shape = (1000, 16, *run.positions.shape[2:])
        path = dataclasses.replace(
            run, beads=2, velocities=(run.velocities[:, :, None] + 0.1 * apart).reshape(shape), dipoles=None,
            positions=(run.positions[:, :, None] + 0.1 * apart).reshape(shape), cells=np.zeros((1000, 16, 3, 3)),
        )  # fmt: skip
        assert spectra.interval_error(path) > spectra.COARSE
        own, classical = (
            spectra.vibrational_density(each, temperature=TEMPERATURE, resolution=80.0) for each in (path, run)
        )  # fmt: skip
        assert own.interval_error == pytest.approx(classical.interval_error, rel=1e-9)
        assert own.caution == classical.caution == ""


class TestInfrared:
    def test_intensities_are_the_harmonic_ones(self, run):
        found = spectra.infrared(run, temperature=TEMPERATURE, resolution=20.0)
        derivatives = np.square(CHARGES[:, None] / units.Debye) / MASSES[:, None] * np.ones((2, 3))
        energies = (
            np.square(run.velocities).mean(axis=(0, 1)) * MASSES[:, None] / (units.kB * TEMPERATURE * units.fs**2)
        )
        for place, square, warm in zip(WAVENUMBERS.ravel(), derivatives.ravel(), energies.ravel(), strict=True):
            expected = KM_PER_MOL * square * warm  # at the temperature that the oscillator has in this run
            assert found.area_between(place - 80, place + 80) == pytest.approx(expected, rel=0.02)

    def test_permanent_dipole_does_not_matter(self, run):
        moved = dataclasses.replace(run, dipoles=run.dipoles + 100.0)
        first, second = (spectra.infrared(each, temperature=TEMPERATURE, resolution=40.0) for each in (run, moved))
        np.testing.assert_allclose(first.values, second.values, rtol=1e-6, atol=1e-6 * first.values.max())

    def test_needs_dipoles(self, run):
        with pytest.raises(InputError, match="dipole"):
            spectra.infrared(dataclasses.replace(run, dipoles=None), temperature=TEMPERATURE)


class TestInterval:
    @pytest.mark.parametrize("interval", [0.5, 1.0, 2.0])
    def test_error_grows_with_the_square(self, interval):
        found = spectra.interval_error(oscillators(interval=interval, frames=600))
        omega = 2 * np.pi * spectra.LIGHT * WAVENUMBERS[1]  # of hydrogen, the worst
        assert found == pytest.approx(np.sqrt(np.mean((omega * interval) ** 4)) / 12, rel=0.2)

    def test_coarse_intervals_are_told(self):
        """3600 cm⁻¹ swings every 9.3 fs: every 2 fs shows it, every 6 fs folds it back to below 2800 cm⁻¹."""
        fine = spectra.vibrational_density(oscillators(interval=2.0), temperature=TEMPERATURE, resolution=40.0)
        assert fine.caution == ""
        coarse = spectra.vibrational_density(oscillators(interval=6.0), temperature=TEMPERATURE, resolution=40.0)
        assert coarse.highest < 3000
        assert coarse.interval_error > spectra.COARSE
        assert "wrong places" in coarse.caution

    def test_short_run_is_refused_with_what_would_do(self, run):
        with pytest.raises(InputError, match=r"too short to resolve 0\.01 cm⁻¹; a run of"):
            spectra.vibrational_density(run, temperature=TEMPERATURE, resolution=0.01)

    def test_no_velocities(self, run):
        bare = dataclasses.replace(run, velocities=None)
        with pytest.raises(InputError, match="velocities"):
            spectra.vibrational_density(bare, temperature=TEMPERATURE)


class TestAutocorrelation:
    def test_sum_of_cosines(self, run):
        """Σ_k <v_k²> cos ω_k t, with each oscillator's own energy."""
        found = spectra.velocity_autocorrelation(run, 120.0)
        weights = np.square(run.velocities).mean(axis=(0, 1)) * MASSES[:, None]
        phase = 2 * np.pi * spectra.LIGHT * WAVENUMBERS * found.times[:, None, None]
        expected = (weights * np.cos(phase)).sum(axis=(1, 2)) / weights.sum()
        np.testing.assert_allclose(found.values, expected, atol=0.02)
        assert found.values[0] == 1.0
        assert found.error[0] == pytest.approx(0.0, abs=1e-12)

    def test_against_a_direct_sum(self):
        run = oscillators(frames=80, replicas=1)
        found = spectra.velocity_autocorrelation(run, 9.0)
        weighted = (run.velocities * np.sqrt(MASSES)[:, None]).reshape(4, 20, 6)
        direct = [
            np.mean([(part[: 20 - lag] * part[lag:]).sum() / (20 - lag) for part in weighted]) for lag in range(10)
        ]
        np.testing.assert_allclose(found.values, np.array(direct) / direct[0], rtol=1e-10)

    def test_json(self, run, states):
        json.dumps(states.to_dict(), allow_nan=False)
        json.dumps(spectra.velocity_autocorrelation(run, 50.0).to_dict(), allow_nan=False)


class TestInternalVelocities:
    def test_rigid_motion_is_nothing(self):
        rng = np.random.default_rng(5)
        positions, masses = rng.standard_normal((3, 6, 3)), rng.uniform(1, 20, 6)
        spin, along = np.array([0.1, -0.2, 0.3]), np.array([1.0, 2.0, 3.0])
        rigid = along + np.cross(spin, positions)
        found = internal_velocities(positions, rigid, masses, open_=True)
        np.testing.assert_allclose(found, 0.0, atol=1e-12)

    def test_neither_momentum_nor_angular_momentum_is_left(self):
        rng = np.random.default_rng(6)
        positions, velocities = rng.standard_normal((2, 3, 6, 3))
        masses = rng.uniform(1, 20, 6)
        found = internal_velocities(positions, velocities, masses, open_=True)
        momenta = masses[:, None] * found
        np.testing.assert_allclose(momenta.sum(axis=1), 0.0, atol=1e-12)
        np.testing.assert_allclose(np.cross(positions, momenta).sum(axis=1), 0.0, atol=1e-11)

    def test_linear_molecules_keep_finite_velocities(self):
        positions = np.array([[0.0, 0, -1], [0, 0, 0], [0, 0, 1.2]])
        stretch = np.array([[0.0, 0, 1], [0, 0, 0], [0, 0, -1]])
        turn = np.cross([0.3, 0.1, 0.0], positions)
        found = internal_velocities(positions, stretch + turn, np.array([16.0, 12.0, 16.0]), open_=True)
        np.testing.assert_allclose(found, stretch, atol=1e-12)
