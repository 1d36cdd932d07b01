import copy
import importlib.util
import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.io.cube import read_cube

from atomlens.data.dataset import Dataset
from atomlens.data.system import AtomicSystem
from atomlens.errors import InputError
from atomlens.explain.electrostatics import electrostatics, quantum_potential
from atomlens.explain.electrostatics.charge_sign import latent_charges
from atomlens.explain.electrostatics.point_charges import (
    CLOSEST,
    COULOMB,
    colour_limit,
    coulomb_potential,
    electrostatic_cut,
    electrostatic_grid,
    electrostatic_potential,
    multipoles,
)
from atomlens.explain.electrostatics.potential_comparison import compare_potentials
from atomlens.explain.probes import isosurface
from atomlens.explain.probes.field import Grid, Plane
from atomlens.explain.subject import ExplainConfig, NamedModel, Subject
from atomlens.model import Model, ModelConfig
from atomlens.panel import AtomValues, Chart, Surface, Volume

NAMES = ("H2O", "CH3OH", "H2CO", "CH4")


def dipole_model(seed=0, **settings):
    torch.manual_seed(seed)
    config = {"representation": {"name": "schnet", "interactions": 2}, "readouts": [{"name": "dipole", **settings}]}
    return Model(ModelConfig.parse(config), [1, 6, 8]).set_precision(torch.float64)


@pytest.fixture(scope="module")
def model():
    return dipole_model()


def subject(*models, names=NAMES, **settings):
    systems = tuple(AtomicSystem.from_ase(molecule(name)) for name in names)
    data = Dataset.from_arrays(
        np.concatenate([system.numbers for system in systems]),
        np.concatenate([system.positions for system in systems]),
        np.array([len(system.numbers) for system in systems]),
        {},
    )
    named = tuple(NamedModel(f"model {place}", each) for place, each in enumerate(models))
    return Subject(named, systems, names, data, ExplainConfig(grid_points=12, spacing=0.3, **settings))


class TestPointCharges:
    def test_constant_is_that_of_the_international_system(self):
        assert pytest.approx(units._e / (4 * np.pi * units._eps0) * 1e10, rel=1e-8) == COULOMB

    @pytest.mark.parametrize("probe", [1.0, -2.0])
    def test_is_a_sum_over_charges(self, probe):
        rng = np.random.default_rng(0)
        charges, positions, points = rng.normal(size=7), rng.normal(size=(7, 3)), 3.0 * rng.normal(size=(2, 5, 3))
        found = coulomb_potential(charges, positions, points, probe)
        assert found.shape == (2, 5)
        for place in np.ndindex(2, 5):
            apart = [np.sqrt(sum((a - b) ** 2 for a, b in zip(points[place], each, strict=True))) for each in positions]
            expected = sum(probe * q / d for q, d in zip(charges, apart, strict=True)) * COULOMB
            assert found[place] == pytest.approx(expected, rel=1e-12)

    def test_on_the_axis_of_a_ring(self):
        angles = np.linspace(0.0, 2.0 * np.pi, 17, endpoint=False)
        ring = 1.4 * np.stack([np.cos(angles), np.sin(angles), 0.0 * angles], axis=1)
        heights = np.linspace(-3.0, 3.0, 9)
        found = coulomb_potential(np.full(17, 0.1), ring, np.outer(heights, [0.0, 0.0, 1.0]))
        np.testing.assert_allclose(found, 1.7 * COULOMB / np.hypot(1.4, heights), rtol=1e-12)

    def test_inside_a_charged_sphere_it_is_constant_and_outside_that_of_its_centre(self):
        # Gauss-Legendre in cos θ and evenly in φ: exact for all harmonics up to degree 39.
        cosines, weights = np.polynomial.legendre.leggauss(20)
        angles = np.linspace(0.0, 2.0 * np.pi, 40, endpoint=False)
        sines = np.sqrt(1.0 - cosines**2)
        sphere = np.stack(
            [np.outer(sines, np.cos(angles)), np.outer(sines, np.sin(angles)), np.outer(cosines, np.ones(40))], axis=-1
        ).reshape(-1, 3)
        charges = np.repeat(weights / 2.0 / 40.0, 40)
        direction = np.array([0.48, -0.6, 0.64])
        found = coulomb_potential(charges, 2.0 * sphere, np.array([0.0, 0.3, 0.6, 7.0, 9.0])[:, None] * direction)
        np.testing.assert_allclose(found, COULOMB / np.array([2.0, 2.0, 2.0, 7.0, 9.0]), rtol=1e-12)

    def test_is_infinite_on_a_charge_unless_distances_are_kept_from_zero(self):
        one = np.zeros((1, 3))
        assert coulomb_potential([1.0], one, one)[0] == np.inf
        assert coulomb_potential([1.0], one, one, closest=0.5)[0] == pytest.approx(2.0 * COULOMB)
        assert coulomb_potential([1.0], one, one + 1.0, closest=0.5)[0] == pytest.approx(COULOMB / np.sqrt(3.0))

    def test_at_the_place_of_an_atom_without_a_charge_it_is_that_of_the_others(self):
        positions = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 2.0]])
        found = coulomb_potential([0.0, 1.0], positions, positions)
        assert found.tolist() == [COULOMB / 2.0, np.inf]
        assert coulomb_potential([0.0, 0.0], positions, positions).tolist() == [0.0, 0.0]

    def test_points_that_are_not_numbers_are_refused(self):
        with pytest.raises(InputError, match=r"not a number \(NaN\)"):
            coulomb_potential([1.0], np.zeros((1, 3)), [[0.0, np.nan, 1.0]])

    def test_chunks_change_nothing(self, monkeypatch):
        rng = np.random.default_rng(0)
        arguments = rng.normal(size=5), rng.normal(size=(5, 3)), rng.normal(size=(40, 3))
        whole = coulomb_potential(*arguments)
        monkeypatch.setattr("atomlens.explain.electrostatics.point_charges._PAIRS_AT_ONCE", 35)
        np.testing.assert_allclose(coulomb_potential(*arguments), whole, rtol=1e-12)


class TestFarAway:
    def expansion(self, charges, positions):
        centre = np.array([0.2, -0.1, 0.3])
        dipole = charges @ (positions - centre)
        return multipoles(charges, positions, dipole, centre)

    def test_what_multipoles_leave_falls_with_the_third_power(self):
        rng = np.random.default_rng(0)
        charges, positions = rng.normal(size=6), rng.normal(size=(6, 3))
        expansion = self.expansion(charges, positions)
        distances = np.geomspace(100.0, 400.0, 5)
        points = expansion.centre + np.outer(distances, [0.48, -0.6, 0.64])
        exact = coulomb_potential(charges, positions, points)
        without = replace(expansion, dipole=np.zeros(3))
        for approximate, order in ((expansion, -3.0), (without, -2.0)):
            left = np.abs(exact - approximate.potential(points))
            slope = np.polyfit(np.log(distances), np.log(left), 1)[0]
            # The next order is smaller by 1/R, a hundredth here.
            assert slope == pytest.approx(order, abs=0.03)
            assert (left < [approximate.bound(distance) for distance in distances]).all() == (order == -3.0)

    def test_the_bound_is_nearly_reached_by_a_linear_quadrupole(self):
        charges, positions = np.array([1.0, -2.0, 1.0]), np.array([[0.0, 0, -1], [0, 0, 0], [0, 0, 1.0]])
        expansion = multipoles(charges, positions, np.zeros(3), np.zeros(3))
        left = coulomb_potential(charges, positions, np.array([[0.0, 0.0, 50.0]]))[0]
        assert 0.95 < left / expansion.bound(50.0) < 1.0


class TestFields:
    def test_cut_has_the_symmetry_of_the_molecule(self):
        water = molecule("H2O")
        cut = electrostatic_cut([-0.6, 0.3, 0.3], water, Plane.through(water), spacing=0.2)
        assert cut.unit == "V"
        size = np.abs(cut.values).max()
        mirrored = [np.abs(cut.values - other).max() for other in (cut.values[:, ::-1], cut.values[::-1])]
        # Water in its plane has one mirror line.
        assert min(mirrored) < 1e-9 * size
        assert max(mirrored) > 0.1 * size

    def test_cut_and_grid_lie_where_they_say(self):
        water, charges = molecule("H2O"), np.array([-0.6, 0.3, 0.3])
        cut = electrostatic_cut(charges, water, spacing=0.5)
        row, column = 2, 3
        point = cut.plane.origin + cut.x[column] * cut.plane.u + cut.y[row] * cut.plane.v
        assert cut.values[row, column] == pytest.approx(electrostatic_potential(charges, water, point), rel=1e-12)
        assert cut.nearest_atom[row, column] == pytest.approx(np.linalg.norm(water.positions - point, axis=1).min())
        grid = Grid.around(water, 9)
        field = electrostatic_grid(charges, water, grid)
        point = grid.origin + np.array([1, 2, 3]) @ grid.steps
        assert field.values[1, 2, 3] == pytest.approx(electrostatic_potential(charges, water, point), rel=1e-12)

    def test_another_probe_feels_an_energy(self):
        water = molecule("H2O")
        field = electrostatic_grid([-0.6, 0.3, 0.3], water, Grid.around(water, 9), probe_charge=-1.0)
        assert field.unit == "eV"
        np.testing.assert_allclose(
            field.values, -electrostatic_grid([-0.6, 0.3, 0.3], water, Grid.around(water, 9)).values
        )

    def test_a_grid_through_an_atom_stays_finite_and_is_read_by_ase(self, tmp_path):
        lone = Atoms("H", positions=[[0.0, 0.0, 0.0]])
        field = electrostatic_grid([1.0], lone, Grid(-np.ones(3), np.eye(3), (3, 3, 3)))
        assert field.values[1, 1, 1] == pytest.approx(COULOMB / CLOSEST)
        field.to_cube(tmp_path / "hydrogen.cube")
        with (tmp_path / "hydrogen.cube").open() as file:
            np.testing.assert_allclose(read_cube(file)["data"], field.values, rtol=1e-5)

    def test_a_model_gives_its_latent_charges(self, model):
        methanol, points = molecule("CH3OH"), np.random.default_rng(0).uniform(-4, 4, (6, 3))
        expected = coulomb_potential(latent_charges(model, methanol)[0], methanol.positions, points)
        assert np.ptp(expected) > 1e-3
        np.testing.assert_allclose(electrostatic_potential(model, methanol, points), expected, rtol=1e-12)

    @pytest.mark.parametrize(
        ("structure", "charges", "words"),
        [
            (bulk("NaCl", "rocksalt", a=5.6), [1.0, -1.0], "is periodic"),
            (molecule("H2O"), [0.1, -0.1], r"charges of shape \(2,\)"),
            (molecule("H2O"), [0.1, -0.1, np.nan], "not all finite"),
        ],
    )
    def test_what_has_no_potential_is_refused(self, structure, charges, words):
        with pytest.raises(InputError, match=words):
            electrostatic_potential(charges, structure, np.zeros((1, 3)))

    def test_colour_limit_looks_away_from_atoms(self):
        assert colour_limit(np.array([100.0, -2.0]), np.array([0.5, 2.0])) == 2.0
        assert colour_limit(np.array([1e-12, 9.0]), np.array([2.0, 0.5])) == 1.0


class TestComparison:
    def test_stands_charges_beside_a_model_and_a_function(self, model):
        pytest.importorskip("skimage")
        methanol = molecule("CH3OH")
        latent = latent_charges(model, methanol)[0]
        found = compare_potentials(
            {
                "model": model,
                "opposite": -latent,
                "function": lambda points: coulomb_potential(3.0 * latent, methanol.positions, points),
            },
            methanol,
            spacing=0.4,
        )
        assert found.first == "model"
        assert found.agreement("model") == pytest.approx((1.0, 1.0))
        assert found.agreement("opposite") == pytest.approx((-1.0, 0.0))
        assert found.agreement("function") == pytest.approx((1.0, 1.0))
        np.testing.assert_allclose(found.on_surface["function"], 3.0 * found.on_surface["model"], rtol=1e-9)
        np.testing.assert_allclose(found.cuts["opposite"].values, -found.cuts["model"].values, rtol=1e-9)
        assert found.to_dict()["potentials"]["opposite"]["minimum"] == pytest.approx(-found.on_surface["model"].max())
        json.dumps(found.to_dict(), allow_nan=False)
        for figure in (found.plot(), found.plot_surfaces(["model", "function"])):
            figure.canvas.draw()

    def test_next_to_nothing_has_no_sign(self):
        pytest.importorskip("skimage")
        water = molecule("H2O")
        found = compare_potentials({"a": [-0.6, 0.3, 0.3], "b": [-2e-5, 1e-5, 1e-5]}, water, spacing=1.0)
        assert np.isnan(found.agreement("b")).all()
        assert found.to_dict()["potentials"]["b"]["same_sign"] is None
        known = {"a": np.array([1.0, 1.0, -1.0, 2.0]), "b": np.array([1.0, -0.001, -1.0, -2.0])}
        assert replace(found, on_surface=known).agreement("b")[1] == 2 / 3

    def test_refusals(self):
        salt = bulk("NaCl", "rocksalt", a=5.6)
        with pytest.raises(InputError, match="is periodic"):
            compare_potentials({"function": lambda points: points[..., 0]}, salt)
        with pytest.raises(InputError, match="no charges to compare"):
            compare_potentials({}, molecule("H2O"))

    def test_without_a_surface_it_says_why(self, monkeypatch):
        def compared():
            return compare_potentials({"a": [-0.6, 0.3, 0.3]}, molecule("H2O"), spacing=1.0)

        with monkeypatch.context() as missing:
            missing.setitem(sys.modules, "skimage", None)
            found = compared()
            assert found.to_dict() == {}
            with pytest.raises(InputError, match=r"scikit-image.*atomlens\[explain\]"):
                found.plot_surfaces()
        pytest.importorskip("skimage")
        monkeypatch.setattr(isosurface, "MAX_NODES", 10)
        with pytest.raises(InputError, match=r"^a surface around .* has too many points"):
            compared().plot_surfaces()


class TestPanel:
    def panel(self, *models, place=1, **settings):
        return electrostatics.ANALYSIS.of_structure(subject(*models, **settings), place)

    @pytest.fixture
    def without_xtb(self, monkeypatch):
        monkeypatch.setattr(electrostatics, "has_tblite", lambda: False)

    @pytest.mark.usefixtures("without_xtb")
    def test_of_one_model(self, model, tmp_path):
        pytest.importorskip("skimage")
        panel = self.panel(model)
        assert [check.passed for check in panel.checks] == [True, True]
        json.dumps(panel.to_dict(), allow_nan=False)
        values, volume, surface = panel.views
        charges = latent_charges(model, molecule("CH3OH"))[0]
        assert isinstance(values, AtomValues)
        assert isinstance(volume, Volume)
        assert isinstance(surface, Surface)
        np.testing.assert_allclose(values.values, charges, rtol=1e-9)
        np.testing.assert_allclose(
            surface.values, coulomb_potential(charges, molecule("CH3OH").positions, surface.vertices), rtol=1e-9
        )
        lowest, highest = np.argsort(charges)[[0, -1]]
        symbols = molecule("CH3OH").get_chemical_symbols()
        assert f"gives {symbols[lowest]}{lowest} the lowest charge" in panel.reading
        assert f"{symbols[highest]}{highest} the highest" in panel.reading
        assert "atomlens[xtb]" in panel.trust
        panel.files["electrostatic_potential.cube"](tmp_path / "a.cube")
        with (tmp_path / "a.cube").open() as file:
            np.testing.assert_allclose(read_cube(file)["data"], volume.values, rtol=2e-5, atol=1e-12)

    @pytest.mark.usefixtures("without_xtb")
    def test_of_two_models_compares_them(self, model):
        pytest.importorskip("skimage")
        panel = self.panel(model, dipole_model(1))
        rows = panel.facts["surface"]["potentials"]
        assert rows["model 0"]["correlation"] == pytest.approx(1.0)
        assert -1.0 <= rows["model 1"]["correlation"] < 1.0
        assert "model 1" in panel.trust
        titles = [axes.get_title(loc="left") for axes in panel.figures["electrostatic_cut"].axes]
        assert titles[:2] == ["model 0", "model 1"]

    @pytest.mark.usefixtures("without_xtb")
    def test_the_sign_of_every_model_is_fixed(self, model):
        twin = copy.deepcopy(model)
        with torch.no_grad():
            for parameter in twin.readouts["dipole"].network.layers[-1].parameters():
                parameter.neg_()
        for models in ((model, twin), (twin, model)):
            panel = self.panel(*models)
            first, second = panel.facts["charges"].values()
            np.testing.assert_allclose(first, second, rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(first, latent_charges(model, molecule("CH3OH"))[0], rtol=1e-9, atol=1e-12)
            assert all(check.passed for check in panel.checks)

    def test_stands_beside_xtb(self, model):
        pytest.importorskip("tblite")
        pytest.importorskip("skimage")
        panel = self.panel(model)
        assert sum(panel.facts["xtb_charges"]) == pytest.approx(0.0, abs=1e-6)
        assert set(panel.facts["surface"]["potentials"]) == {"model 0", "GFN2-xTB"}
        (check,) = [check for check in panel.checks if check.name == "sign of the potential, GFN2-xTB"]
        assert check.value == panel.facts["surface"]["potentials"]["GFN2-xTB"]["same_sign"]
        (chart,) = [view for view in panel.views if isinstance(view, Chart)]
        assert sum(len(series.x) for series in chart.series) == len(molecule("CH3OH"))
        titles = [axes.get_title(loc="left") for axes in panel.figures["electrostatic_cut"].axes]
        assert titles[:2] == ["model 0", "GFN2-xTB"]

    @pytest.mark.usefixtures("without_xtb")
    def test_without_a_surface_the_rest_is_shown(self, model, monkeypatch):
        monkeypatch.setitem(sys.modules, "skimage", None)
        panel = self.panel(model)
        assert [type(view) for view in panel.views] == [AtomValues, Volume]
        assert "scikit-image; install it with: pip install 'atomlens[explain]'." in panel.trust
        assert "surface" not in panel.facts

    @pytest.mark.usefixtures("without_xtb")
    def test_a_molecule_too_large_for_a_surface_is_told_from_a_missing_package(self, model, monkeypatch):
        pytest.importorskip("skimage")
        monkeypatch.setattr(isosurface, "MAX_NODES", 10)
        panel = self.panel(model)
        assert "has too many points" in panel.trust
        assert "scikit-image" not in panel.trust

    @pytest.mark.usefixtures("without_xtb")
    def test_checks_can_fail(self):
        loose = self.panel(dipole_model(conserve_charge=False))
        # Charges that do not add up to zero: the far potential is still that of their own sum and dipole.
        assert {check.name: check.passed for check in loose.checks} == {"charges add up": False, "far potential": True}

    @pytest.mark.usefixtures("without_xtb")
    @pytest.mark.parametrize("conserved", [True, False])
    def test_that_charges_add_up_is_a_claim_where_the_model_does_not_see_to_it(self, conserved):
        asked = subject(dipole_model(conserve_charge=conserved))
        entry = asked.models[0]
        wrong = dict(asked.of_structure(entry, 1))
        wrong["charges"] = wrong["charges"] + 1.0
        asked._store["structure", entry.name, 1] = wrong
        check = electrostatics.ANALYSIS.of_structure(asked, 1).checks[0]
        assert (check.name, check.passed, check.claim) == ("charges add up", False, not conserved)

    @pytest.mark.usefixtures("without_xtb")
    @pytest.mark.parametrize(
        ("charges", "start", "end"),
        [
            ([0.76, 0.12, 0.12], "H1 the lowest charge, +0.12 e, and O0 the highest, +0.76 e.", "potential negative."),
            ([-0.76, -0.12, -0.12], "O0 the lowest charge, −0.76 e", "nowhere on it is the potential positive."),
            (
                [-0.6, 0.3, 0.3],
                "O0 the lowest charge, −0.60 e",
                "where the potential is negative (blue, dashed lines).",
            ),
        ],
    )
    def test_words_fit_potentials_of_one_sign(self, model, charges, start, end):
        pytest.importorskip("skimage")
        scene = electrostatics._scene(subject(model), 0)
        scene = replace(scene, models={scene.name: np.array(charges)})
        words = electrostatics._reading(scene)
        assert start in words
        assert words.endswith(end)
        assert ("nowhere" in words) == (np.ptp(np.sign(charges)) == 0)

    @pytest.mark.usefixtures("without_xtb")
    def test_a_model_without_a_potential_has_no_correlation(self, model):
        pytest.importorskip("skimage")
        scene = electrostatics._scene(subject(model), 0)
        scene = replace(scene, models={scene.name: np.array([-0.6, 0.3, 0.3]), "other": np.zeros(3)})
        assert "Correlation" not in electrostatics._trust(scene)

    @pytest.mark.usefixtures("without_xtb")
    def test_a_wrong_dipole_is_found_far_away(self, model):
        scene = electrostatics._scene(subject(model), 1)
        assert electrostatics._far_off(scene) <= 1.0
        assert electrostatics._far_off(replace(scene, dipole=-scene.dipole)) > 1.0

    @pytest.mark.usefixtures("without_xtb")
    def test_a_lone_atom_has_no_potential(self, model):
        lone = subject(model, names=("CH4",))
        lone = replace(lone, systems=(AtomicSystem.from_ase(Atoms("O")),), names=("O",))
        panel = electrostatics.ANALYSIS.of_structure(lone, 0)
        assert panel.reading == "All charges that model 0 gives to atoms of this structure are smaller than 0.005 e."
        assert all(check.passed for check in panel.checks)
        json.dumps(panel.to_dict(), allow_nan=False)

    def test_models_that_refuse_a_structure_are_left_out(self, model, monkeypatch):
        monkeypatch.setattr(electrostatics, "has_tblite", lambda: False)
        knows_less = copy.deepcopy(model)
        knows_less.elements = (1, 6)
        panel = self.panel(knows_less, model)
        assert panel.facts["model"] == "model 1"
        with pytest.raises(InputError, match="O is an element that the model never saw"):
            self.panel(knows_less)

    def test_energies_have_no_charges(self):
        torch.manual_seed(0)
        with pytest.raises(InputError, match="no model here predicts charges"):
            self.panel(Model(ModelConfig(), [1, 6, 8]))


class TestQuantumPotential:
    def test_says_how_to_get_pyscf(self, monkeypatch):
        found = importlib.util.find_spec
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pyscf" else found(name))
        with pytest.raises(InputError, match=r"pip install 'atomlens\[pyscf\]'"):
            quantum_potential.quantum_potential(molecule("H2O"), np.zeros((1, 3)))

    def test_a_fraction_of_an_electron_is_refused(self):
        with pytest.raises(InputError, match=r"its charge 0\.4 e is no whole number"):
            quantum_potential.quantum_potential(Atoms("H", info={"charge": 0.4}), np.ones((1, 3)))

    def test_of_a_hydrogen_atom_is_that_of_its_orbital(self):
        pytest.importorskip("pyscf")
        distances = np.array([0.5, 1.0, 2.0, 4.0])  # bohr
        points = np.outer(distances, [0.0, 0.6, 0.8]) * units.Bohr
        found = quantum_potential.quantum_potential(Atoms("H"), points, functional="HF", basis="aug-cc-pvqz")
        exact = units.Hartree * np.exp(-2.0 * distances) * (1.0 + 1.0 / distances)
        # The basis is 0.05 mHa above the exact energy; its density is off by as little.
        np.testing.assert_allclose(found, exact, rtol=2e-3, atol=1e-4)

    def test_of_an_ion_far_away_is_that_of_its_charge(self):
        pytest.importorskip("pyscf")
        found = quantum_potential.quantum_potential(
            Atoms("Li", info={"charge": 1.0}), np.array([[[0.0, 0.0, 9.0]]]), functional="b3lyp", basis="sto-3g"
        )
        np.testing.assert_allclose(found, [[COULOMB / 9.0]], rtol=1e-6)
