"""Infrared intensities, and vibrations in one call with their panel."""

import json

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.constraints import FixAtoms

from atomlens.data.system import AtomicSystem
from atomlens.errors import InputError
from atomlens.model import Model, ModelConfig
from atomlens.simulate.vibrations import harmonic_vibrations, infrared, normal_modes, vibrations_panel
from atomlens.simulate.vibrations.infrared import KM_PER_MOL

ANYWHERE = float("inf")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = {
        "representation": {"name": "schnet", "features": 16, "interactions": 2},
        "readouts": [{"name": "energy"}, {"name": "dipole"}],
    }
    return Model(ModelConfig.parse(config), [1, 6, 8], charges=[0.0, 1.0]).set_precision(torch.float64)


@pytest.fixture(scope="module")
def energies_only():
    torch.manual_seed(1)
    config = {"representation": {"name": "schnet", "features": 16, "interactions": 2}}
    return Model(ModelConfig.parse(config), [1, 6, 8]).set_precision(torch.float64)


def water(charge=0.0):
    atoms = molecule("H2O")
    atoms.rattle(0.03, seed=0)
    atoms.info["charge"] = charge
    return atoms


def dipole_about_origin(model, atoms, step):
    """μ about a fixed origin: that of an ion moves with its centre of mass otherwise."""
    moved = atoms.copy()
    moved.positions += step
    return model.predict(moved)["dipole"] + atoms.info["charge"] * moved.get_center_of_mass()


def test_unit_is_that_of_the_textbooks():
    """1 (D/Å)²/amu is 42.2561 km/mol."""
    assert KM_PER_MOL * units.Debye**2 == pytest.approx(42.2561, abs=1e-3)


@pytest.mark.parametrize("charge", [0.0, 1.0])
def test_against_finite_differences_of_the_dipole(model, charge):
    atoms = water(charge)
    found = harmonic_vibrations(model, atoms, force_limit=ANYWHERE)
    step, slopes = 1e-4, []
    for mode, mass in zip(found.modes.displacements, found.modes.reduced_masses, strict=True):
        ends = [dipole_about_origin(model, atoms, sign * step * mode) for sign in (1, -1)]
        slopes.append((ends[0] - ends[1]) / (2.0 * step * np.sqrt(mass)))
    expected = 42.2561 * (np.array(slopes) ** 2).sum(axis=1) / units.Debye**2
    assert found.infrared.intensities == pytest.approx(expected, rel=1e-5)
    assert expected.max() > 1e-3
    assert found.infrared.sum_rule < 1e-12
    assert found.infrared.dipole == pytest.approx(model.predict(atoms)["dipole"], abs=1e-12)


def test_polar_tensors_of_an_ion(model):
    """Σ_i ∂μ/∂r_i = Q: as a whole it carries its charge along."""
    found = harmonic_vibrations(model, water(1.0), force_limit=ANYWHERE)
    np.testing.assert_allclose(found.infrared.polar_tensors.sum(axis=0), np.eye(3), atol=1e-12)


def test_isotopes_of_an_ion_swing_about_their_own_centre(model):
    """Other masses move the centre of mass, but no dipole derivative about a fixed origin."""
    atoms = water(1.0)
    heavy = atoms.copy()
    heavy.set_masses([15.999, 2.014, 1.008])
    both = [harmonic_vibrations(model, each, force_limit=ANYWHERE) for each in (atoms, heavy)]
    np.testing.assert_array_equal(both[0].infrared.polar_tensors, both[1].infrared.polar_tensors)
    assert (both[1].modes.frequencies != both[0].modes.frequencies).all()
    momenta = np.einsum("i,kia->ka", heavy.get_masses(), both[1].modes.displacements)
    np.testing.assert_allclose(momenta, 0.0, atol=1e-12)


def test_rotations_change_no_intensity(model):
    atoms = water()
    expected = harmonic_vibrations(model, atoms, force_limit=ANYWHERE).infrared.intensities
    atoms.rotate(77.0, (1.0, 2.0, -0.5))
    assert harmonic_vibrations(model, atoms, force_limit=ANYWHERE).infrared.intensities == pytest.approx(
        expected, rel=1e-9
    )


def test_what_has_no_spectrum_is_refused(model, energies_only):
    atoms = water()
    modes = harmonic_vibrations(energies_only, atoms, force_limit=ANYWHERE).modes
    with pytest.raises(InputError, match="predicts no dipoles, but energy"):
        infrared(energies_only, atoms, modes)
    with pytest.raises(InputError, match="predicts no dipoles, but energy"):
        harmonic_vibrations(model, atoms, dipole_model=energies_only, force_limit=ANYWHERE)
    with pytest.raises(InputError, match="the modes are of 3 atoms, the structure has 6"):
        infrared(model, molecule("CH3OH"), modes)
    diamond = bulk("C")
    crystal = harmonic_vibrations(energies_only, diamond, force_limit=ANYWHERE)
    assert crystal.infrared is None
    with pytest.raises(InputError, match=r"is periodic, where the dipole .* has no meaning"):
        infrared(model, diamond, crystal.modes)


class TestVibrations:
    def test_is_its_parts(self, model):
        atoms = water()
        found = harmonic_vibrations(model, atoms, force_limit=ANYWHERE)
        modes = normal_modes(found.hessian, atoms.get_masses(), atoms.positions)
        np.testing.assert_array_equal(found.modes.frequencies, modes.frequencies)
        assert found.difference < 1e-6
        assert found.max_force == pytest.approx(np.linalg.norm(model.predict(atoms)["forces"], axis=1).max())
        system = harmonic_vibrations(model, AtomicSystem.from_ase(atoms), force_limit=ANYWHERE)
        np.testing.assert_array_equal(system.modes.frequencies, modes.frequencies)

    def test_second_model_has_the_dipoles(self, model, energies_only):
        atoms = water()
        found = harmonic_vibrations(energies_only, atoms, dipole_model=model, force_limit=ANYWHERE)
        assert found.infrared.intensities == pytest.approx(infrared(model, atoms, found.modes).intensities)
        assert "dipoles of a second model" in vibrations_panel(found).trust
        assert harmonic_vibrations(energies_only, atoms, force_limit=ANYWHERE).infrared is None

    def test_strained_structures_are_refused(self, model):
        atoms = molecule("H2O")
        atoms.positions[1] += 0.3
        largest = np.linalg.norm(model.predict(atoms)["forces"], axis=1)
        match = rf"atom {largest.argmax()}: the force on this . is {largest.max():.3g} eV/Å .* no minimum"
        with pytest.raises(InputError, match=match):
            harmonic_vibrations(model, atoms, force_limit=0.9 * largest.max())
        assert harmonic_vibrations(model, atoms, force_limit=1.1 * largest.max()).max_force == pytest.approx(
            largest.max()
        )

    def test_fixed_atoms_are_refused(self, model):
        atoms = water()
        atoms.set_constraint(FixAtoms([0]))
        with pytest.raises(InputError, match="has constraints"):
            harmonic_vibrations(model, atoms, force_limit=ANYWHERE)

    def test_way_to_the_minimum(self, model):
        """Newton's step, -H⁺ ∂E/∂r, by an independent pseudo-inverse where all modes are real."""
        found = harmonic_vibrations(model, water(), force_limit=ANYWHERE)
        stiff = np.diag(np.repeat(found.modes.masses, 3)) ** 0.5
        steps = found.modes.displacements.reshape(len(found.modes.frequencies), -1)
        real = found.modes.frequencies > 0.1
        span = np.linalg.qr((steps[real] @ stiff).T)[0]
        inverse = np.linalg.inv(stiff)
        curved = span.T @ inverse @ found.hessian @ inverse @ span
        newton = inverse @ span @ np.linalg.solve(curved, span.T @ inverse @ found.curvature.forces.ravel())
        assert found.way_to_minimum == pytest.approx(np.linalg.norm(newton.reshape(-1, 3), axis=1).max(), rel=1e-6)
        assert found.way_to_minimum > 0.0

    def test_writes_all_of_it(self, model, tmp_path):
        found = harmonic_vibrations(model, water(), force_limit=ANYWHERE)
        found.write(tmp_path / "vibrations.npz")
        arrays = np.load(tmp_path / "vibrations.npz")
        np.testing.assert_array_equal(arrays["hessian"], found.hessian)
        np.testing.assert_array_equal(arrays["displacements"], found.modes.displacements)
        np.testing.assert_array_equal(arrays["infrared"], found.infrared.intensities)
        json.dumps(found.to_dict(), allow_nan=False)


@pytest.fixture(scope="module")
def panel(model):
    found = harmonic_vibrations(model, water(), force_limit=ANYWHERE)
    return found, vibrations_panel(found, structure=2, reference=("another", 1.1 * found.modes.frequencies))


class TestPanel:
    def test_is_complete(self, panel):
        found, page = panel
        assert (page.analysis, page.structure) == ("vibrations", 2)
        assert set(page.figures) == {"spectrum", "frequencies"}
        json.dumps(page.to_dict(), allow_nan=False)
        chart, motion = page.views
        assert motion.displacements.shape == (3, 3, 3)
        assert np.linalg.norm(motion.displacements, axis=2).max(axis=1) == pytest.approx(np.ones(3))
        assert chart.series[1].labels == motion.labels
        assert f"{found.modes.zero_point_energy:.4f} eV" in page.reading
        assert "largest difference is 9.1 %" in page.reading
        table = page.tables[0]
        assert [row[0] for row in table.rows] == [1, 2, 3]
        assert [row[4] for row in table.rows] == pytest.approx(found.infrared.intensities, abs=5e-3)

    def test_lines_are_as_high_as_their_own_peaks(self, panel):
        chart = panel[1].views[0]
        curve, lines = chart.series
        real = lines.x > 0
        heights = np.interp(lines.x[real], curve.x, curve.y)
        assert (heights >= 0.98 * lines.y[real]).all()

    def test_checks_tell_right_from_wrong(self, panel):
        found, page = panel
        passed = {check.name: check.passed for check in page.checks}
        assert not passed.pop("at rest")  # a random model knows no water
        assert passed.pop("a minimum") == (found.modes.imaginary == 0)
        passed.pop("free motions")  # rotations of what is not at rest
        assert all(passed.values())
        assert set(passed) == {"finite differences", "symmetry", "sum rule", "charge moves along"}

    def test_imaginary_modes_are_named(self, energies_only):
        atoms = Atoms("OH2", [[0, 0, 0], [0.9, 0, 0], [-0.9, 0, 0]])
        found = harmonic_vibrations(energies_only, atoms, force_limit=ANYWHERE)
        soft = found.modes.imaginary
        assert soft > 0  # seeded: this random model does not like it straight
        page = vibrations_panel(found)
        assert f"{soft} {'is' if soft == 1 else 'are'} imaginary" in page.reading
        assert page.views[1].labels[0].endswith("i cm⁻¹")
        assert "thermochemistry" not in page.facts
        assert "No infrared intensities" in page.reading

    def test_single_atoms_have_none(self, energies_only):
        with pytest.raises(InputError, match="a single atom has no vibrations"):
            vibrations_panel(harmonic_vibrations(energies_only, Atoms("O")))
