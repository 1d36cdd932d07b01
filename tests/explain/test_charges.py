import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.data import atomic_numbers
from scipy.stats import linregress

from atomlens.data.dataset import Dataset
from atomlens.data.system import AtomicSystem
from atomlens.errors import InputError
from atomlens.explain.electrostatics import charges as analysis
from atomlens.explain.electrostatics.charge_comparison import (
    charge_stability,
    compare_charges,
    compare_dipoles,
    known,
    pearson,
)
from atomlens.explain.electrostatics.charge_sign import (
    ELECTRONEGATIVITY,
    charge_sign,
    electronegativity_correlation,
    latent_charges,
    sign_in,
)
from atomlens.explain.electrostatics.xtb_charges import XtbMolecule, XtbMolecules
from atomlens.explain.subject import ExplainConfig, NamedModel, Subject
from atomlens.model import Model, ModelConfig
from atomlens.panel import Chart, Distribution

NAMES = ("H2O", "CH3OH", "H2CO", "CH3CH2OH", "CO")


def dipole_model(seed=0, charges=(0.0,), **settings):
    torch.manual_seed(seed)
    config = {"representation": {"name": "schnet", "interactions": 2}, "readouts": [{"name": "dipole", **settings}]}
    return Model(ModelConfig.parse(config), [1, 6, 8], charges).set_precision(torch.float64)


def negated(model):
    """The same model with all charges of the opposite sign: it has the same lengths of dipole moments."""
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in twin.readouts["dipole"].network.layers[-1].parameters():
            parameter.neg_()
    return twin


def learned(model, *names):
    """The model as if training had seen labels of these names."""
    made = copy.deepcopy(model)
    made.provenance = {"training_means": dict.fromkeys(names, 0.0)}
    return made


def dataset(names=NAMES, labels=None, charge=None, **others):
    systems = [AtomicSystem.from_ase(molecule(name)) for name in names]
    return Dataset.from_arrays(
        np.concatenate([system.numbers for system in systems]),
        np.concatenate([system.positions for system in systems]),
        np.array([len(system.numbers) for system in systems]),
        labels or {},
        charge=charge,
        **others,
    )


def subject(*models, data=None):
    data = dataset() if data is None else data
    named = tuple(NamedModel(f"model {place}", each) for place, each in enumerate(models))
    return Subject(named, (data[0],), ("water",), data, ExplainConfig())


@pytest.fixture(scope="module")
def model():
    return dipole_model()


class TestSign:
    def test_electronegativity_has_its_place_in_the_periodic_table(self):
        values = {name: ELECTRONEGATIVITY[number] for name, number in atomic_numbers.items() if number > 0}
        finite = {name: value for name, value in values.items() if np.isfinite(value)}
        assert max(finite, key=finite.get) == "F"
        assert min(finite, key=finite.get) == "Cs"
        for row in ("Li Be B C N O F", "Na Mg Al Si P S Cl", "K Ca Ga Ge As Se Br", "Cs K Na Li", "I Br Cl F"):
            assert np.all(np.diff([values[name] for name in row.split()]) > 0), row
        assert values["C"] > values["H"] > values["Si"]
        assert np.isnan(values["He"])

    def test_correlation_is_pearsons_within_one_structure(self):
        rng = np.random.default_rng(0)
        numbers, charges = np.array([1, 6, 7, 8, 8]), rng.normal(size=5)
        expected = np.corrcoef(ELECTRONEGATIVITY[numbers], charges)[0, 1]
        assert electronegativity_correlation(numbers, charges, np.array([5])) == pytest.approx(expected)

    def test_correlation_does_not_see_what_differs_between_structures(self):
        numbers, charges = np.array([1, 8, 1, 6]), np.array([0.3, -0.3, 0.1, -0.1])
        sizes, shift = np.array([2, 2]), np.array([5.0, 5.0, -3.0, -3.0])
        both = [electronegativity_correlation(numbers, each, sizes) for each in (charges, charges + shift)]
        assert both[0] == pytest.approx(both[1])
        # Helium has no electronegativity and tells nothing.
        with_helium = electronegativity_correlation(np.append(numbers, 2), np.append(charges, 9.0), np.array([2, 3]))
        assert with_helium == pytest.approx(both[0])

    def test_what_does_not_vary_tells_nothing(self):
        sizes = np.array([3])
        assert electronegativity_correlation(np.full(3, 8), np.array([0.3, -0.2, -0.1]), sizes) == 0.0
        assert electronegativity_correlation(np.array([1, 1, 8]), np.array([0.3, 0.3, 0.3]), sizes) == 0.0

    def test_a_model_and_its_negative_are_shown_alike(self, model):
        twins = [learned(each, "dipole_magnitude") for each in (model, negated(model))]
        structures = [molecule(name) for name in NAMES]
        first, second = (latent_charges(twin, structures) for twin in twins)
        assert max(np.abs(charges).max() for charges in first) > 1e-3
        for a, b in zip(first, second, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15)
        signs = [charge_sign(twin, structures) for twin in twins]
        assert signs[0].factor == -signs[1].factor
        assert signs[0].correlation == pytest.approx(-signs[1].correlation)
        assert all(sign.fixed_by == "electronegativity" and sign.lengths_only for sign in signs)
        assert "only signs relative to each other" in signs[0].sentence
        numbers = np.concatenate([structure.numbers for structure in structures])
        sizes = np.array([len(structure) for structure in structures])
        assert electronegativity_correlation(numbers, np.concatenate(first), sizes) < 0.0

    def test_what_was_learned_is_left_alone(self, model):
        for each in (model, negated(model)):
            for taught in (learned(each, "dipole"), learned(each, "dipole", "dipole_magnitude")):
                sign = charge_sign(taught, [molecule("H2O")])
                assert (sign.factor, sign.fixed_by, sign.lengths_only) == (1.0, "dipole vectors", False)
                water = molecule("H2O")
                raw = taught.predict(water)["charges"]
                np.testing.assert_array_equal(latent_charges(taught, water)[0], raw)

    def test_ions_fix_the_sign(self):
        water = molecule("H2O")
        water.info["charge"] = 1.0
        ions = learned(dipole_model(charges=(0.0, 1.0)), "dipole_magnitude")
        for each in (ions, negated(ions)):
            sign = charge_sign(each, [water])
            assert (sign.factor, sign.fixed_by, sign.lengths_only) == (1.0, "charged structures", True)
            assert latent_charges(each, water)[0].sum() == pytest.approx(1.0)

    def test_without_conserved_charge_ions_fix_nothing(self):
        loose = learned(dipole_model(charges=(0.0, 1.0), conserve_charge=False), "dipole_magnitude")
        assert charge_sign(loose, [molecule("H2O")]).fixed_by == "electronegativity"

    def test_one_element_tells_nothing(self, model):
        sign = charge_sign(model, [molecule("H2")])
        assert (sign.factor, sign.fixed_by) == (1.0, "nothing")
        assert "left as the network has it" in sign.sentence

    def test_examples_of_the_model_come_before_the_structure_asked(self, model):
        examples = tuple(AtomicSystem.from_ase(molecule(name)) for name in NAMES)
        factors = set()
        for each in (model, negated(model)):
            with_examples = learned(each, "dipole_magnitude")
            with_examples.examples = examples
            factors.add(charge_sign(with_examples).factor)
            # Alone these would leave the sign as the network has it.
            bent = Atoms("H3", [[0.0, 0.0, 0.0], [0.9, 0.0, 0.0], [0.0, 2.0, 0.0]])
            found = latent_charges(with_examples, bent)[0]
            np.testing.assert_array_equal(found, charge_sign(with_examples).factor * each.predict(bent)["charges"])
            assert np.abs(found).max() > 1e-6
        assert factors == {1.0, -1.0}
        with pytest.raises(InputError, match="no structure to choose it by"):
            charge_sign(model)

    def test_unknown_training_is_said(self, model):
        assert "does not say" in charge_sign(model, [molecule("H2O")]).sentence

    def test_of_a_data_set_that_the_model_refuses_is_that_of_the_structures_shown(self, model):
        knows_less = copy.deepcopy(model)
        knows_less.elements = (1, 8)
        asked = subject(knows_less)
        sign = sign_in(asked, asked.models[0])
        assert sign.correlation == pytest.approx(charge_sign(knows_less, [molecule("H2O")]).correlation)
        whole = subject(model)
        expected = charge_sign(model, [molecule(name) for name in NAMES])
        assert sign_in(whole, whole.models[0]).correlation == pytest.approx(expected.correlation)


class TestComparisons:
    def test_rows_are_those_of_a_regression(self):
        rng = np.random.default_rng(0)
        numbers = np.repeat([1, 8], [60, 40])
        reference = rng.normal(size=100) + np.where(numbers == 1, 1.0, -1.0)
        latent = 0.5 * reference + 0.1 * rng.normal(size=100)
        found = compare_charges(numbers, latent, {"Mulliken": reference})["Mulliken"]
        parts = [("H", numbers == 1), ("O", numbers == 8), ("all", numbers > 0)]
        for (name, chosen), row in zip(parts, (*found.per_element, found.overall), strict=True):
            line = linregress(reference[chosen], latent[chosen])
            assert (row.element, row.count) == (name, chosen.sum())
            assert row.correlation == pytest.approx(line.rvalue)
            assert row.slope == pytest.approx(line.slope)
            assert row.mean == pytest.approx(latent[chosen].mean())
            assert row.reference_mean == pytest.approx(reference[chosen].mean())

    def test_signs_are_counted_where_the_reference_has_one(self):
        reference = np.array([0.2, -0.2, 0.3, 0.04, np.nan, -0.06])
        latent = np.array([0.1, -0.1, -0.1, -0.1, 5.0, -0.001])
        row = compare_charges(np.full(6, 6), latent, {"r": reference})["r"].overall
        assert row.count == 5
        assert row.same_sign == 3 / 4

    def test_both_signs_turned_give_the_same(self):
        rng = np.random.default_rng(0)
        numbers, latent, reference = np.repeat([1, 6], 20), rng.normal(size=40), rng.normal(size=40)
        first = compare_charges(numbers, latent, {"r": reference})["r"]
        second = compare_charges(numbers, -latent, {"r": -reference})["r"]
        for a, b in zip(first.per_element, second.per_element, strict=True):
            assert (a.correlation, a.slope) == pytest.approx((b.correlation, b.slope))
            assert a.same_sign == b.same_sign

    def test_what_does_not_vary_has_no_correlation(self):
        found = compare_charges(np.array([1, 1, 8]), np.array([0.1, 0.1, -0.2]), {"r": np.array([0.01, 0.02, 0.0])})[
            "r"
        ]
        facts = found.to_dict()
        assert facts["per_element"]["H"]["correlation"] is None
        assert facts["per_element"]["O"]["slope"] is None
        assert facts["overall"]["same_sign"] is None
        json.dumps(facts, allow_nan=False)
        found.plot().canvas.draw()

    @pytest.mark.parametrize("values", [np.zeros(2), np.full(3, np.nan)])
    def test_charges_of_other_atoms_are_refused(self, values):
        with pytest.raises(InputError, match="the Mulliken charges have shape"):
            compare_charges(np.array([1, 1, 8]), np.zeros(3), {"Mulliken": values})

    @pytest.mark.parametrize("angle", [0.0, 1e-6, 30.0, 90.0, 137.0, 180.0])
    def test_angles_between_dipoles(self, angle):
        rng = np.random.default_rng(0)
        reference = rng.normal(size=(20, 3))
        axis = np.cross(reference, rng.normal(size=(20, 3)))
        axis /= np.linalg.norm(axis, axis=1, keepdims=True)
        turned = np.cos(np.radians(angle)) * reference + np.sin(np.radians(angle)) * np.cross(axis, reference)
        found = compare_dipoles(2.0 * turned, reference)
        np.testing.assert_allclose(found.angles, angle, rtol=1e-7, atol=1e-12)
        lengths = np.linalg.norm(reference, axis=1)
        assert found.magnitude_mae == pytest.approx(lengths.mean())
        if angle != 90.0:
            assert found.same_side == float(angle < 90.0)

    def test_errors_of_dipoles(self):
        reference = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1e-3], [np.nan, 0.0, 0.0]])
        predicted = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, -1e-3], [1.0, 1.0, 1.0]])
        found = compare_dipoles(predicted, reference)
        assert found.component_mae == pytest.approx(2.002 / 6)
        assert found.component_rmse == pytest.approx(np.sqrt((2.0 + 4e-6) / 6))
        assert found.component_size == pytest.approx(1.001 / 6)
        # The second is too short to have a direction.
        np.testing.assert_allclose(found.angles, [90.0])
        found.plot().canvas.draw()
        short = compare_dipoles(predicted[1:2], reference[1:2])
        assert short.to_dict()["angle_median_degrees"] is None
        short.plot().canvas.draw()
        with pytest.raises(InputError, match="one vector per molecule"):
            compare_dipoles(predicted[:2], reference)

    def test_stability_of_equal_and_of_unrelated_charges(self):
        rng = np.random.default_rng(0)
        numbers = np.repeat([1, 8], 20_000)
        means = np.where(numbers == 1, 0.3, -0.3)
        one, other = (means + 0.1 * rng.normal(size=40_000) for _ in range(2))
        same, apart, _ = charge_stability(numbers, {"a": one, "b": one, "c": other})
        assert (same.correlation, same.within_elements, same.rms_difference) == pytest.approx((1.0, 1.0, 0.0))
        assert same.relative == 0.0
        # Unrelated noise: within elements nothing is shared, overall the means are. Errors of the means: 1/√40000.
        assert apart.within_elements == pytest.approx(0.0, abs=0.02)
        assert apart.relative == pytest.approx(np.sqrt(2.0), abs=0.02)
        assert apart.rms_difference == pytest.approx(0.1 * np.sqrt(2.0), abs=0.003)
        assert apart.spread == pytest.approx(0.1, abs=0.002)
        assert apart.correlation == pytest.approx(0.09 / 0.10, abs=0.01)
        assert set(apart.per_element) == {"H", "O"}

    def test_a_constant_per_element_is_no_difference_within_elements(self):
        rng = np.random.default_rng(0)
        numbers, charges = np.repeat([1, 8], 50), rng.normal(size=100)
        (pair,) = charge_stability(numbers, {"a": charges, "b": charges + np.where(numbers == 1, 0.2, -0.1)})
        assert pair.within_elements == pytest.approx(1.0)
        assert pair.rms_within_elements == pytest.approx(0.0, abs=1e-12)
        assert pair.rms_difference == pytest.approx(np.sqrt((0.04 + 0.01) / 2))

    def test_pearson_of_rounding_is_not_a_number(self):
        assert np.isnan(pearson(np.full(9, 0.1) + 1e-17 * np.arange(9), np.arange(9.0)))
        assert np.isnan(pearson(np.ones(1), np.ones(1)))
        assert known({"a": np.nan, "b": 1.0, "c": "x"}) == {"a": None, "b": 1.0, "c": "x"}


class TestPanel:
    @pytest.fixture(autouse=True)
    def _without_xtb(self, monkeypatch):
        monkeypatch.setattr(analysis, "has_tblite", lambda: False)

    def labelled(self, model, sign=1.0, key="loewdin_charges"):
        """A data set whose labels are what the model says, so that agreement must be perfect."""
        data = dataset()
        found = [model.predict(system) for system in data]
        charges = sign * np.concatenate([each["charges"] for each in found])
        labels = {"charges": charges, "dipole": sign * np.stack([each["dipole"] for each in found])}
        return dataset(labels=labels, metadata={"labels": {"charges": {"key": key, "unit": "e"}}})

    def test_charges_that_are_the_labels(self, model):
        taught = learned(model, "dipole")
        data = self.labelled(taught)
        panel = analysis.ANALYSIS.of_models(subject(taught, data=data))
        json.dumps(panel.to_dict(), allow_nan=False)
        assert all(check.passed for check in panel.checks)
        assert panel.facts["charges"]["Löwdin"]["overall"]["correlation"] == pytest.approx(1.0)
        assert panel.facts["charges"]["Löwdin"]["overall"]["slope"] == pytest.approx(1.0)
        assert panel.facts["dipoles"]["labelled"]["component_mae"] == pytest.approx(0.0, abs=1e-12)
        assert panel.facts["dipoles_of_reference_charges"]["Löwdin"]["component_mae"] == pytest.approx(0.0, abs=1e-9)
        assert "Of dipole moments only lengths were learned" not in panel.reading
        distribution = panel.views[0]
        assert isinstance(distribution, Distribution)
        assert (distribution.name, distribution.unit) == ("latent charge", "e")
        oxygen = data.labels["charges"][data.numbers == 8]
        np.testing.assert_allclose(distribution.per_element["O"], oxygen, rtol=1e-10)
        assert set(panel.figures) == {"latent_charges", "charges_beside_loewdin", "dipole_vectors_beside_labelled"}

    def test_the_wrong_sign_is_noticed(self, model):
        taught = learned(model, "dipole")
        panel = analysis.ANALYSIS.of_models(subject(taught, data=self.labelled(taught, sign=-1.0)))
        passed = {check.name: check.passed for check in panel.checks}
        assert passed == {
            "charges add up": True,
            "dipole of the charges": True,
            "overall sign, labelled": False,
            "charges follow Löwdin": False,
        }

    def test_several_models_are_compared_with_their_signs_fixed(self, model):
        first, second = learned(model, "dipole_magnitude"), learned(negated(model), "dipole_magnitude")
        panel = analysis.ANALYSIS.of_models(subject(first, second, dipole_model(1)))
        rows = panel.facts["between_models"]
        assert len(rows) == 3
        assert rows[0]["within_elements"] == pytest.approx(1.0)
        assert rows[0]["rms_difference"] == pytest.approx(0.0, abs=1e-12)
        assert rows[1]["rms_difference"] > 1e-4
        factors = [panel.facts["models"][f"model {place}"]["sign"]["factor"] for place in (0, 1)]
        assert factors[0] == -factors[1]
        assert sum(isinstance(view, Chart) for view in panel.views) == 2

    @pytest.mark.parametrize("conserved", [True, False])
    def test_charges_that_do_not_add_up_are_a_fault_only_where_the_model_sees_to_it(self, conserved):
        asked = subject(dipole_model(conserve_charge=conserved))
        wrong = dict(asked.predicted(asked.models[0]))
        wrong["charges"] = wrong["charges"] + 0.2
        asked._store["predictions", "model 0"] = wrong
        check = analysis.ANALYSIS.of_models(asked).checks[0]
        assert (check.name, check.passed, check.claim) == ("charges add up", False, not conserved)

    def test_elements_that_do_not_vary_are_left_out_of_the_words(self, model):
        taught = learned(model, "dipole")
        water = taught.predict(molecule("H2O"))
        key = {"labels": {"charges": {"key": "loewdin_charges", "unit": "e"}}}
        labels = {"charges": np.array([-0.4, 0.1, 0.3]), "dipole": water["dipole"][None]}
        bent = replace(dataset(("H2O",), labels, metadata=key))
        bent.positions[1] += 0.1
        reading = analysis.ANALYSIS.of_models(subject(taught, data=bent)).reading
        assert reading.startswith("Over 1 structure, ")
        assert "unrelated) of H " in reading
        assert "not defined" not in reading
        lone = dataset(("CO",), {"charges": np.array([0.2, -0.2])}, metadata=key)
        reading = analysis.ANALYSIS.of_models(subject(taught, data=lone)).reading
        assert "Within an element" not in reading
        assert "As Löwdin charges, " in reading

    def test_ions_have_no_dipole_to_compare(self):
        ions = dipole_model(charges=(0.0, 1.0))
        labels = {"dipole": np.random.default_rng(0).normal(size=(3, 3))}
        data = dataset(("H2O", "CH3OH", "H2CO"), labels, charge=np.array([0.0, 1.0, 0.0]))
        panel = analysis.ANALYSIS.of_models(subject(ions, data=data))
        assert panel.facts["dipoles"]["labelled"]["molecules"] == 2

    def test_xtb_is_asked_for_a_few_and_failures_are_counted(self, model, monkeypatch):
        data = dataset(NAMES * 20)
        asked = []

        def program(structures):
            asked.extend(structures)
            rng = np.random.default_rng(0)
            found = {
                place: XtbMolecule(rng.normal(size=len(each.numbers)), rng.normal(size=3))
                for place, each in enumerate(structures)
            }
            del found[3]
            return XtbMolecules(found, {3: "the SCF does not converge"})

        monkeypatch.setattr(analysis, "has_tblite", lambda: True)
        monkeypatch.setattr(analysis, "xtb_charges", program)
        panel = analysis.ANALYSIS.of_models(subject(model, data=data))
        places = panel.facts["xtb"]["structures"]
        assert len(asked) == len(set(places)) == analysis.XTB_STRUCTURES
        for place, system in zip(places, asked, strict=True):
            np.testing.assert_array_equal(system.positions, data[place].positions)
        assert panel.facts["xtb"]["failed"] == {str(places[3]): "the SCF does not converge"}
        atoms = sum(len(system.numbers) for place, system in enumerate(asked) if place != 3)
        assert panel.facts["charges"]["GFN2-xTB"]["overall"]["count"] == atoms
        assert panel.facts["dipoles"]["GFN2-xTB"]["molecules"] == len(asked) - 1
        assert "1 of 60 structures" in panel.trust

    def test_a_model_that_refuses_the_data_is_left_out(self, model):
        knows_less = copy.deepcopy(model)
        knows_less.elements = (1, 8)
        panel = analysis.ANALYSIS.of_models(subject(knows_less, model))
        assert list(panel.facts["models"]) == ["model 1"]
        with pytest.raises(InputError, match="C is an element that the model never saw"):
            analysis.ANALYSIS.of_models(subject(knows_less))

    def test_label_names(self):
        for key, name in (
            ("mulliken_charges", "Mulliken"),
            ("loewdin_charges", "Löwdin"),
            ("charges", "labelled"),
            ("ddec6_partial_charges", "Ddec6"),
        ):
            data = replace(dataset(), metadata={"labels": {"charges": {"key": key}}})
            assert analysis._label_name(data) == name
        assert analysis._label_name(dataset()) == "labelled"
