"""Normal modes of known Hessians: closed forms, ASE, sum and product rules, symmetry."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.data import atomic_masses
from ase.vibrations import VibrationsData

from atomlens.errors import InputError
from atomlens.simulate.vibrations import broadened, compared, normal_modes, thermochemistry
from atomlens.simulate.vibrations.normal_modes import ROUNDING, WAVENUMBER

N_PER_M = 1e-20 / units._e  # eV/Å²


def wavenumber(square):
    """cm⁻¹ of ω² in eV/Å²/amu, from SI constants alone."""
    omega = np.sqrt(square * 1.602176634e-19 * 1e20 / 1.66053906660e-27)
    return omega / (2.0 * np.pi * 2.99792458e10)


def springs(positions, constants):
    """Σ k u uᵀ between all pairs at rest: unchanged by rotations, as at the minimum of any potential."""
    atoms = len(positions)
    found = np.zeros((3 * atoms, 3 * atoms))
    for i in range(atoms):
        for j in range(i):
            unit = (positions[i] - positions[j]) / np.linalg.norm(positions[i] - positions[j])
            row = np.zeros((atoms, 3))
            row[i], row[j] = unit, -unit
            found += constants[i, j] * np.outer(row.ravel(), row.ravel())
    return found


@pytest.fixture
def ammonia():
    """With random springs: positions (4, 3) Å, Hessian (12, 12) eV/Å², masses (4,)."""
    atoms = molecule("NH3")
    constants = np.random.default_rng(0).uniform(5.0, 40.0, (4, 4))
    return atoms.positions, springs(atoms.positions, constants), atoms.get_masses()


def chain(masses, constant):
    """A ring of atoms on a line under periodic boundaries, neighbours tied along it: (3n, 3n)."""
    atoms = len(masses)
    found = np.zeros((atoms, 3, atoms, 3))
    for i in range(atoms):
        j = (i + 1) % atoms
        for a, b, sign in ((i, i, 1), (j, j, 1), (i, j, -1), (j, i, -1)):
            found[a, 0, b, 0] += sign * constant
    return found.reshape(3 * atoms, 3 * atoms)


class TestClosedForms:
    def test_hydrogen_chloride(self):
        """k = 516.3 N/m and ω_e = 2990.9 cm⁻¹ (Huber and Herzberg 1979)."""
        positions = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.2746]])
        constants = np.full((2, 2), 516.3 * N_PER_M)
        found = normal_modes(springs(positions, constants), np.array([1.007825, 34.968853]), positions)
        assert found.frequencies == pytest.approx([2990.9], abs=0.5)
        assert len(found.free) == 5
        assert found.zero_point_energy == pytest.approx(0.5 * 2990.9 * 1.239842e-4, rel=2e-4)

    def test_constant_of_the_textbooks(self):
        """1302.79 cm⁻¹ for 1 mdyn/Å and 1 amu (Wilson, Decius and Cross)."""
        assert WAVENUMBER * np.sqrt(100.0 * N_PER_M) == pytest.approx(1302.79, abs=0.01)

    def test_two_atoms(self):
        first, second, constant = 3.0, 17.0, 25.0
        positions = np.array([[0.1, 0.2, 0.3], [1.0, -0.4, 0.8]])
        found = normal_modes(springs(positions, np.full((2, 2), constant)), np.array([first, second]), positions)
        square = constant * (1.0 / first + 1.0 / second)
        assert found.frequencies == pytest.approx([wavenumber(square)], rel=1e-6)
        # 1/|M^-1/2 l|²: the spectroscopist's m₁m₂/(m₁ + m₂) counts the bond's length, not Cartesian steps.
        mass = first * second * (first + second) / (first**2 + second**2)
        assert found.reduced_masses == pytest.approx([mass])
        assert found.force_constants == pytest.approx([mass * square])
        assert np.linalg.norm(found.displacements) == pytest.approx(1.0)

    @pytest.mark.parametrize("axis", [[0.0, 0.0, 1.0], [1.0, -2.0, 0.5]])
    def test_carbon_dioxide(self, axis):
        """Stretch k and bend k' without a cross term: ω² = k/M, k (1/M + 2/m) and twice 2 k'/d² (1/M + 2/m)."""
        axis = np.array(axis) / np.linalg.norm(axis)
        length, stretch, bend, oxygen, carbon = 1.16, 100.0, 5.0, 15.999, 12.011
        positions = np.outer([-length, 0.0, length], axis)
        hessian = springs(positions, np.array([[0, 0, 0], [stretch, 0, 0], [0, stretch, 0]], dtype=float))
        angle = np.array([1.0, -2.0, 1.0]) / length
        hessian += bend * np.kron(np.outer(angle, angle), np.eye(3) - np.outer(axis, axis))
        found = normal_modes(hessian, np.array([oxygen, carbon, oxygen]), positions)
        both = 1.0 / oxygen + 2.0 / carbon
        squares = [2.0 * bend / length**2 * both] * 2 + [stretch / oxygen, stretch * both]
        assert found.frequencies == pytest.approx(wavenumber(np.array(squares)), rel=1e-6)
        assert len(found.free) == 5
        assert np.abs(found.free).max() < 1e-3

    def test_chain_of_one_kind(self):
        """ω = 2 √(k/m) |sin(π j / n)|."""
        atoms, mass, constant = 12, 28.0, 9.0
        positions = np.zeros((atoms, 3))
        positions[:, 0] = 2.0 * np.arange(atoms)
        masses = np.full(atoms, mass)
        found = normal_modes(chain(masses, constant), masses, positions, cell=24.0 * np.eye(3), pbc=(True,) * 3)
        along = 2.0 * np.sqrt(constant / mass) * np.abs(np.sin(np.pi * np.arange(1, atoms) / atoms))
        expected = np.concatenate([np.zeros(2 * (atoms - 1)), np.sort(wavenumber(along**2))])
        np.testing.assert_allclose(found.frequencies, expected, atol=1e-3)
        assert len(found.free) == 3

    def test_chain_of_two_kinds(self):
        """ω² = k s ± k √(s² - 4 sin²(πj/n)/(Mm)), s = 1/M + 1/m."""
        cells, heavy, light, constant = 6, 35.0, 23.0, 9.0
        masses = np.tile([heavy, light], cells)
        positions = np.zeros((2 * cells, 3))
        positions[:, 0] = 2.0 * np.arange(2 * cells)
        found = normal_modes(chain(masses, constant), masses, positions, cell=24.0 * np.eye(3), pbc=(True,) * 3)
        total = 1.0 / heavy + 1.0 / light
        root = np.sqrt(total**2 - 4.0 * np.sin(np.pi * np.arange(cells) / cells) ** 2 / (heavy * light))
        squares = np.sort(constant * np.concatenate([total - root, total + root]))[1:]
        along = found.frequencies[2 * (2 * cells - 1) :]
        np.testing.assert_allclose(along, wavenumber(squares), rtol=1e-6)


class TestAgainstAse:
    def test_frequencies_modes_and_zero_point_energy(self, ammonia):
        positions, hessian, masses = ammonia
        found = normal_modes(hessian, masses, positions)
        atoms = Atoms("NH3", positions)
        other = VibrationsData.from_2d(atoms, hessian)
        assert found.frequencies == pytest.approx(other.get_frequencies().real[6:], rel=1e-9)
        assert found.zero_point_energy == pytest.approx(other.get_energies().real[6:].sum() / 2.0, rel=1e-9)
        modes = other.get_modes(all_atoms=True)[6:]
        modes /= np.linalg.norm(modes, axis=(1, 2))[:, None, None]
        overlaps = np.einsum("kia,kia->k", modes, found.displacements)
        assert np.abs(overlaps) == pytest.approx(np.ones(6), abs=1e-6)

    def test_imaginary_ones(self, ammonia):
        positions, hessian, masses = ammonia
        found = normal_modes(-hessian, masses, positions)
        assert found.imaginary == 6
        assert found.zero_point_energy == 0.0
        other = VibrationsData.from_2d(Atoms("NH3", positions), -hessian)
        assert -found.frequencies == pytest.approx(other.get_frequencies().imag[:6], rel=1e-9)


class TestRules:
    def test_teller_and_redlich(self, ammonia):
        """Π ω'/ω = Π (m/m')^3/2 · (M'/M)^3/2 · (I'₁I'₂I'₃ / I₁I₂I₃)^1/2 for isotopes on one potential."""
        positions, hessian, masses = ammonia
        heavier = masses.copy()
        heavier[[0, 2]] = 15.0001, 2.0141
        before, after = (normal_modes(hessian, each, positions) for each in (masses, heavier))
        inertia = [np.prod(Atoms("NH3", positions, masses=each).get_moments_of_inertia()) for each in (masses, heavier)]
        expected = np.prod(masses / heavier) ** 1.5 * (heavier.sum() / masses.sum()) ** 1.5
        expected *= np.sqrt(inertia[1] / inertia[0])
        assert np.prod(after.frequencies / before.frequencies) == pytest.approx(expected, rel=1e-9)

    def test_trace(self, ammonia):
        """Σ ω² is the trace of the mass-weighted Hessian (the free motions have none)."""
        positions, hessian, masses = ammonia
        found = normal_modes(hessian, masses, positions)
        trace = (np.diag(hessian) / np.repeat(masses, 3)).sum()
        assert (found.frequencies**2).sum() == pytest.approx(wavenumber(1.0) ** 2 * trace, rel=1e-6)

    def test_modes_are_what_they_say(self, ammonia):
        positions, hessian, masses = ammonia
        found = normal_modes(hessian, masses, positions)
        steps = found.displacements.reshape(6, 12)
        assert np.einsum("ka,ab,kb->k", steps, hessian, steps) == pytest.approx(found.force_constants)
        assert WAVENUMBER * np.sqrt(found.force_constants / found.reduced_masses) == pytest.approx(found.frequencies)
        weighted = steps * np.sqrt(np.repeat(masses, 3)) / np.sqrt(found.reduced_masses)[:, None]
        np.testing.assert_allclose(weighted @ weighted.T, np.eye(6), atol=1e-12)
        momenta = np.einsum("i,kia->ka", masses, found.displacements)
        turning = np.einsum("i,kia->ka", masses, np.cross(positions, found.displacements))
        np.testing.assert_allclose([momenta, turning], 0.0, atol=1e-12)

    def test_rotations_and_the_order_of_atoms_change_nothing(self, ammonia):
        positions, hessian, masses = ammonia
        rotation = np.linalg.qr(np.random.default_rng(1).standard_normal((3, 3)))[0]
        turn = np.kron(np.eye(4), rotation)
        order = np.array([2, 0, 3, 1])
        rows = (3 * order[:, None] + np.arange(3)).ravel()
        expected = normal_modes(hessian, masses, positions)
        rotated = normal_modes(turn @ hessian @ turn.T, masses, positions @ rotation.T + 7.0)
        permuted = normal_modes(hessian[np.ix_(rows, rows)], masses[order], positions[order])
        for found in (rotated, permuted):
            assert found.frequencies == pytest.approx(expected.frequencies, rel=1e-9)
            assert found.reduced_masses == pytest.approx(expected.reduced_masses, rel=1e-9)
        np.testing.assert_allclose(np.abs(permuted.displacements), np.abs(expected.displacements[:, order]), atol=1e-9)

    def test_the_symmetric_part_counts(self, ammonia):
        positions, hessian, masses = ammonia
        noise = np.random.default_rng(0).standard_normal(hessian.shape)
        found = normal_modes(hessian + noise - noise.T, masses, positions)
        assert found.frequencies == pytest.approx(normal_modes(hessian, masses, positions).frequencies, rel=1e-9)

    def test_what_does_not_vibrate_is_taken_out_and_seen(self, ammonia):
        positions, hessian, masses = ammonia
        clean = normal_modes(hessian, masses, positions)
        assert clean.leak < 1e-2
        assert np.abs(clean.free).max() < 1e-2
        # Tied to the ground by springs of κ M: every free motion swings with √κ, and vibrations with ω² + κ.
        kappa = 1e-4
        tied = normal_modes(hessian + kappa * np.diag(np.repeat(masses, 3)), masses, positions)
        assert tied.free == pytest.approx(np.full(6, wavenumber(kappa)), rel=1e-4)
        assert tied.leak == pytest.approx(wavenumber(kappa), rel=1e-4)
        shifted = np.sqrt(clean.frequencies**2 + wavenumber(kappa) ** 2)
        assert tied.frequencies == pytest.approx(shifted, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "pbc", "free"),
    [
        ("H2O", (0, 0, 0), 6),
        ("CO2", (0, 0, 0), 5),
        ("N2", (0, 0, 0), 5),
        ("H", (0, 0, 0), 3),
        ("H2O", (1, 0, 0), 4),
        ("CO2", (0, 0, 1), 3),  # along the periodic direction
        ("CO2", (1, 0, 0), 4),  # across it
        ("H2O", (1, 1, 0), 3),
        ("H2O", (1, 1, 1), 3),
    ],
)
def test_how_many_motions_are_free(name, pbc, free):
    atoms = molecule(name)
    hessian = np.eye(3 * len(atoms))
    found = normal_modes(
        hessian, atoms.get_masses(), atoms.positions, cell=9.0 * np.eye(3), pbc=np.array(pbc, dtype=bool)
    )
    assert len(found.free) == free
    assert len(found.frequencies) == 3 * len(atoms) - free


def test_nearly_linear_is_linear_only_within_rounding():
    for tilt, free in ((1e-5, 5), (3e-2, 6)):
        positions = np.array([[0.0, 0.0, -1.16], [tilt, 0.0, 0.0], [0.0, 0.0, 1.16]])
        assert len(normal_modes(np.eye(9), atomic_masses[[8, 6, 8]], positions).free) == free


class TestThermochemistry:
    def test_closed_forms(self, ammonia):
        positions, hessian, masses = ammonia
        modes = normal_modes(hessian, masses, positions)
        temperature = 400.0
        found = thermochemistry(modes, temperature)
        ratio = modes.energies / (8.617333e-5 * temperature)
        free = modes.zero_point_energy + 8.617333e-5 * temperature * np.log1p(-np.exp(-ratio)).sum()
        inner = modes.zero_point_energy + (modes.energies / np.expm1(ratio)).sum()
        assert found["free_energy"] == pytest.approx(free, rel=1e-6)
        assert found["internal_energy"] == pytest.approx(inner, rel=1e-6)
        assert found["entropy"] == pytest.approx((inner - free) / temperature, rel=1e-5)

    def test_what_is_no_minimum_is_refused(self, ammonia):
        positions, hessian, masses = ammonia
        with pytest.raises(InputError, match="6 of the frequencies are imaginary or zero"):
            thermochemistry(normal_modes(-hessian, masses, positions))
        with pytest.raises(InputError, match="above 0 K, not 0 K"):
            thermochemistry(normal_modes(hessian, masses, positions), 0.0)


class TestRefusals:
    def test_shapes(self, ammonia):
        positions, hessian, masses = ammonia
        with pytest.raises(InputError, match=r"4 masses need a Hessian of shape \(12, 12\)"):
            normal_modes(hessian[:9, :9], masses, positions)

    def test_numbers(self, ammonia):
        positions, hessian, masses = ammonia
        with pytest.raises(InputError, match="not finite"):
            normal_modes(hessian * np.nan, masses, positions)
        with pytest.raises(InputError, match="a mass above zero"):
            normal_modes(hessian, masses * [1, 0, 1, 1], positions)

    def test_wires_without_a_cell(self, ammonia):
        positions, hessian, masses = ammonia
        with pytest.raises(InputError, match="needs its cell"):
            normal_modes(hessian, masses, positions, pbc=(True, False, False))


class TestSpectrum:
    def test_areas_and_width(self):
        grid, curve = broadened(np.array([-50.0, 800.0, 1900.0]), np.array([9.0, 3.0, 5.0]), width=4.0)
        assert curve.max() == pytest.approx(5.0 * 2.0 / (np.pi * 4.0), rel=1e-2)
        half = grid[curve > 0.5 * curve.max()]
        near = half[half > 1000.0]
        assert np.ptp(near) == pytest.approx(4.0, abs=0.5)
        lower = grid < 1350.0
        step = grid[1] - grid[0]
        # A Lorentzian has 1/(π·550/2) of its area beyond 550 cm⁻¹ on each side.
        assert curve[lower].sum() * step == pytest.approx(3.0, rel=1e-2)

    def test_peaks_are_resolved_and_bounded(self):
        grid, _ = broadened(np.array([3000.0]), np.ones(1), width=1e-3)
        assert len(grid) == 20_000
        grid, _ = broadened(np.array([3000.0]), np.ones(1), width=5.0)
        assert grid[1] - grid[0] <= 0.51

    def test_nothing_real(self):
        grid, curve = broadened(np.array([-50.0]), np.ones(1))
        assert not curve.any()
        assert np.isfinite(grid).all()

    @pytest.mark.parametrize("width", [0.0, -1.0, np.nan, np.inf])
    def test_widths(self, width):
        with pytest.raises(InputError, match="a width above 0"):
            broadened(np.ones(1), np.ones(1), width=width)

    def test_comparison(self):
        found = compared(np.array([200.0, 100.0, 1000.0]), np.array([1010.0, 98.0, 206.0]))
        assert found.relative == pytest.approx([-0.02, 0.03, 0.01])
        assert found.worst == 1
        assert found.largest == pytest.approx(0.03)
        assert found.mean == pytest.approx(6.0)
        with pytest.raises(InputError, match="2 frequencies cannot be set beside 3"):
            compared(np.ones(3), np.ones(2))

    def test_rounding_is_no_imaginary_frequency(self):
        positions = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
        soft = -((0.5 * ROUNDING / WAVENUMBER) ** 2)
        hessian = springs(positions, np.full((2, 2), 0.5 * soft))
        assert normal_modes(hessian, np.ones(2), positions).imaginary == 0
        assert normal_modes(9.0 * hessian, np.ones(2), positions).imaginary == 1
