import json

import matplotlib
import numpy as np
import pytest
import torch
from ase.build import bulk, molecule
from matplotlib.patches import StepPatch

from atomlens.data.dataset import Dataset
from atomlens.data.system import symbol
from atomlens.data.units import KCAL_PER_MOL
from atomlens.errors import InputError
from atomlens.explain import atom_contributions
from atomlens.explain.partition.contributions import ANALYSIS
from atomlens.explain.subject import ExplainConfig, NamedModel, Subject
from atomlens.explain.terms import atom_term, atom_terms
from atomlens.model import Model, ModelConfig

FREE = {1: -13.0, 6: -1029.0, 8: -2039.0}
REFERENCES = {1: -13.6, 6: -1030.0, 8: -2040.0}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    made = Model(ModelConfig(), [1, 6, 8])
    made.energy_readout.set_scale(1.0, REFERENCES, FREE)
    return made


def test_relative_to_nothing_they_sum_to_the_energy(model):
    structures = [molecule("CH3CH2OH"), molecule("H2O"), bulk("C")]
    found = atom_contributions(model, structures, relative_to="nothing")
    energies = [model.predict(atoms)["energy"] for atoms in structures]
    np.testing.assert_allclose([part.sum() for part in found.per_structure], energies, rtol=1e-9)


def test_relative_to_free_atoms_they_sum_to_the_atomisation_energy(model):
    water = molecule("H2O")
    found = atom_contributions(model, [water])
    assert found.relative_to == "free atoms"
    expected = model.predict(water)["energy"] - (2 * FREE[1] + FREE[8])
    assert found.values.sum() == pytest.approx(float(expected), rel=1e-9)


def test_without_free_atoms_the_references_are_the_baseline():
    bare = Model(ModelConfig(), [1, 8])
    bare.energy_readout.set_scale(1.0, REFERENCES)
    assert atom_contributions(bare, [molecule("H2O")]).relative_to == "references"
    with pytest.raises(InputError, match="no free-atom energy of H, O"):
        atom_contributions(bare, [molecule("H2O")], relative_to="free atoms")


def test_elements_and_atoms_are_sorted_out(model):
    frames = [molecule("CH3CH2OH") for _ in range(3)]
    for seed, frame in enumerate(frames):
        frame.rattle(0.05, seed=seed)
    found = atom_contributions(model, frames)
    facts = found.to_dict()
    oxygen = [values[2] for values in found.per_structure]
    assert facts["per_element"]["O"]["count"] == 3
    assert facts["per_atom"][2] == {
        "index": 2,
        "symbol": "O",
        "mean": np.mean(oxygen),
        "std": np.std(oxygen),
        "count": 3,
    }
    assert sum(entry["count"] for entry in facts["per_element"].values()) == 27


def test_per_atom_only_where_all_structures_have_the_same_atoms(model):
    assert "per_atom" not in atom_contributions(model, [molecule("H2O"), molecule("CH4")]).to_dict()
    swapped = molecule("H2O")[[1, 0, 2]]
    assert "per_atom" not in atom_contributions(model, [molecule("H2O"), swapped]).to_dict()


READOUTS = (
    {"name": "energy"},
    {"name": "dipole"},
    {"name": "intensive", "property": "homo"},
    {"name": "extensive", "property": "heat_capacity"},
    {"name": "electronic_spatial_extent"},
    {"name": "polarizability"},
)


def random_model(seed, readouts=READOUTS, offsets=True):
    torch.manual_seed(seed)
    small = {"name": "schnet", "features": 16, "interactions": 1, "cutoff": 5.0}
    made = Model(ModelConfig.parse({"representation": small, "readouts": readouts}), [1, 6, 8])
    made.set_precision(torch.float64)
    if made.has_energy:
        made.energy_readout.set_scale(1.0, REFERENCES, FREE)
    if "homo" in made.readouts and offsets:
        made.readouts["homo"].offsets[[1, 6, 8]] = torch.tensor([-6.0, -7.0, -8.0], dtype=torch.float64)
    return made


def molecules(count=40, energies=None):
    names = ("CH3CH2OH", "H2O", "CH4", "C6H6", "CH3COOH", "CH3OCH3", "H2CO", "isobutane")
    rng = np.random.default_rng(0)
    structures = [molecule(names[place % len(names)]) for place in range(count)]
    return Dataset.from_arrays(
        np.concatenate([atoms.numbers for atoms in structures]),
        np.concatenate([atoms.positions + 0.05 * rng.normal(size=(len(atoms), 3)) for atoms in structures]),
        np.array([len(atoms) for atoms in structures]),
        {} if energies is None else {"energy": energies},
    )


def subject_of(*models, data=None, shown=2):
    data = molecules() if data is None else data
    named = tuple(NamedModel(f"m{place}", model) for place, model in enumerate(models))
    names = tuple(str(place) for place in range(shown))
    return Subject(named, tuple(data[place] for place in range(shown)), names, data, ExplainConfig())


class TestTerms:
    @pytest.mark.parametrize("place", range(len(READOUTS)))
    def test_what_terms_are_said_to_sum_to_is_what_the_model_predicts(self, place):
        model, data = random_model(0), molecules()
        term = atom_terms(model)[place]
        results = model.predict(list(data), forces=False)
        terms = np.concatenate([term.of(result) for result in results])
        expected = np.array([result[term.quantity] for result in results])
        np.testing.assert_allclose(term.summed(terms, data), expected, rtol=0, atol=1e-9 * np.abs(expected).max())
        assert np.abs(expected).max() > 1e-3

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("energy", "energy contribution"),
            ("atom_energies", "energy contribution"),
            ("homo", "HOMO contribution"),
            ("atom_heat_capacity", "heat capacity contribution"),
            ("dipole_magnitude", "charge"),
            ("charges", "charge"),
            ("extent_charges", "charge of the spatial extent"),
            ("isotropic_polarizability", "polarisability contribution"),
        ],
    )
    def test_are_found_by_property_and_by_their_own_name(self, name, words):
        assert atom_term(random_model(0), name).words == words

    def test_that_a_model_lacks_are_named_with_those_it_has(self):
        with pytest.raises(InputError, match="no atom terms of gap; ask for those that it has: energy, dipole, homo, "):
            atom_term(random_model(0), "gap")


class TestOtherQuantities:
    def test_charges_are_measured_from_nothing_and_sum_to_the_molecules(self):
        found = atom_contributions(random_model(0), molecule("CH3CH2OH"), "charges")
        assert (found.relative_to, found.term.unit) == ("nothing", "e")
        assert found.values.sum() == pytest.approx(0.0, abs=1e-12)

    def test_orbital_energies_are_measured_from_their_offsets(self):
        model, water = random_model(0), molecule("H2O")
        found = atom_contributions(model, water, "homo")
        assert found.relative_to == "references"
        expected = model.predict(water)["homo"] - (2 * -6.0 - 8.0) / 3
        assert found.values.mean() == pytest.approx(float(expected))

    def test_tensors_count_by_a_third_of_their_trace(self):
        model, water = random_model(0), molecule("H2O")
        found = atom_contributions(model, water, "polarizability", relative_to="nothing")
        assert found.values.sum() == pytest.approx(float(model.predict(water)["isotropic_polarizability"]))

    @pytest.mark.parametrize(
        ("quantity", "relative_to", "words"),
        [
            ("charges", "references", "the charge knows no references to be measured from; measure it from nothing"),
            ("homo", "free atoms", "the HOMO contribution knows no free atoms to be measured from; .* from references"),
        ],
    )
    def test_a_baseline_that_is_not_known_is_refused(self, quantity, relative_to, words):
        with pytest.raises(InputError, match=words):
            atom_contributions(random_model(0), molecule("H2O"), quantity, relative_to=relative_to)

    def test_without_energies_the_message_is_the_models(self):
        with pytest.raises(InputError, match="does not predict energies"):
            atom_contributions(random_model(0, ({"name": "dipole"},)), molecule("H2O"))


def words_of(figure):
    return "\n".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))


def test_results_draw_themselves(model):
    found = atom_contributions(model, [molecule("H2O"), molecule("CH4")])
    assert "spread" in words_of(found.plot())
    one = words_of(found.plot(1))
    assert "C0\n" in one
    assert "energy contribution, relative to free atoms (kcal/mol)" in one
    assert "O0" in words_of(atom_contributions(model, molecule("H2O")).plot())
    with pytest.raises(InputError, match=r"no structure 2 \(the last one is 1\)"):
        found.plot(2)


class TestStructurePanel:
    def test_values_add_up_and_turn_with_the_structure(self):
        subject = subject_of(random_model(0))
        panel = ANALYSIS.of_structure(subject, 0)
        assert len(panel.checks) == 8  # two for each of four quantities that are shared out
        assert all(check.passed for check in panel.checks)
        ethanol = subject.systems[0]
        expected = subject.models[0].model.predict(ethanol)["energy"] - sum(FREE[z] for z in ethanol.numbers.tolist())
        assert sum(panel.facts["values"]) == pytest.approx(float(expected))
        json.dumps(panel.to_dict(), allow_nan=False)

    def test_energies_are_shown_first_then_the_others(self):
        panel = ANALYSIS.of_structure(subject_of(random_model(0)), 0)
        assert [view.name for view in panel.views][:2] == [
            "energy contribution",
            "energy contribution less the element's mean",
        ]
        assert [fact["quantity"] for fact in panel.facts["also"]] == [
            "homo", "heat_capacity", "isotropic_polarizability",
        ]  # fmt: skip
        assert {"atom_contributions", "atom_contributions_homo"} <= set(panel.figures)

    def test_the_spread_over_models_is_that_after_element_means_are_taken_off(self):
        energy = ({"name": "energy"},)
        models = [random_model(seed, energy) for seed in (0, 1, 2)]
        models[1].energy_readout.set_scale(1.0, {1: -12.0, 6: -1000.0, 8: -2100.0}, FREE)
        subject = subject_of(*models)
        panel = ANALYSIS.of_structure(subject, 0)
        found = []
        for model in models:
            terms = np.concatenate([each["atom_energies"] for each in model.predict(list(subject.data), forces=False)])
            means = {z: terms[subject.data.numbers == z].mean() for z in (1, 6, 8)}
            own = model.predict(subject.systems[0])["atom_energies"]
            found.append(own - [means[z] for z in subject.systems[0].numbers.tolist()])
        np.testing.assert_allclose(panel.facts["less_element_mean"], found[0], atol=1e-9)
        np.testing.assert_allclose(panel.facts["spread_over_models"], np.std(found, axis=0, ddof=1), atol=1e-9)
        assert "3 models (SchNet)" in panel.trust

    def test_nothing_stands_out_by_rounding(self):
        waters = molecules().subset(np.ones(20, dtype=np.int64))
        subject = subject_of(random_model(0, ({"name": "energy"},)), data=waters, shown=1)
        entry = subject.models[0]
        found = dict(subject.predicted(entry))
        subject._store["predictions", entry.name] = found
        assert "stands out" in ANALYSIS.of_structure(subject, 0).reading  # the two hydrogens differ
        own = dict(subject.of_structure(entry, 0))
        terms = own["atom_energies"] * [1.0, 0.0, 0.0] + [0.0, -12.9, -12.9]
        subject._store["structure", entry.name, 0] = own | {"atom_energies": terms}
        for noise, said in ((1e-7, False), (1e-3, True)):
            off = noise * np.random.default_rng(0).normal(size=60)
            subject._store["predictions", entry.name] = found | {"atom_energies": np.tile(terms, 20) + off}
            assert ("stands out" in ANALYSIS.of_structure(subject, 0).reading) == said

    def test_one_atom_is_counted_as_one(self):
        lone = Dataset.from_arrays(np.array([8]), np.zeros((1, 3)), np.array([1]), {})
        subject = subject_of(random_model(0, ({"name": "energy"},)), data=lone, shown=1)
        assert ANALYSIS.of_structure(subject, 0).reading.count("is what its one atom adds.") == 1
        assert "of 1 atom in 1 structure." in ANALYSIS.of_models(subject).reading

    def test_one_model_cannot_say_how_stable_it_is(self):
        panel = ANALYSIS.of_structure(subject_of(random_model(0, ({"name": "energy"},))), 0)
        assert panel.facts["spread_over_models"] is None
        assert "A partition is not unique" in panel.trust

    def test_an_element_that_the_data_set_lacks_has_no_mean(self):
        data = molecules()
        alkanes = Subject(
            subject_of(random_model(0)).models, (data[0],), ("a",), data.subset(np.array([2, 10])), ExplainConfig()
        )
        panel = ANALYSIS.of_structure(alkanes, 0)
        assert panel.facts["less_element_mean"] is None
        assert "less" not in "".join(view.name for view in panel.views)

    def test_terms_that_do_not_sum_or_turn_are_noticed(self):
        subject = subject_of(random_model(0, ({"name": "energy"},)))
        entry = subject.models[0]
        tampered = dict(subject.of_structure(entry, 0))
        tampered["atom_energies"] = tampered["atom_energies"] + 0.01 * np.eye(9)[3]
        subject._store["structure", entry.name, 0] = tampered
        panel = ANALYSIS.of_structure(subject, 0)
        assert [check.passed for check in panel.checks] == [False, False]

    def test_charges_alone_have_a_panel_elsewhere(self):
        subject = subject_of(random_model(0, ({"name": "dipole"},)))
        for panel in (lambda: ANALYSIS.of_structure(subject, 0), lambda: ANALYSIS.of_models(subject)):
            with pytest.raises(InputError, match="no model here shares a property out over atoms"):
                panel()


class TestModelsPanel:
    def test_distributions_carry_the_names_of_the_structures_values(self):
        two = READOUTS[0], READOUTS[2]
        subject = subject_of(random_model(0, two), random_model(1, two))
        structure, models = ANALYSIS.of_structure(subject, 0), ANALYSIS.of_models(subject)
        distributions = {view.name: view for view in models.views}
        for view in structure.views:
            own = distributions[view.name].per_element
            for number, value in zip(subject.systems[0].numbers.tolist(), view.values, strict=True):
                assert np.abs(own[symbol(number)] - value).min() < 1e-9  # the structure is one of the data set
        assert distributions["energy contribution"].unit == "eV"

    def test_spreads_by_element_and_model(self):
        subject = subject_of(*(random_model(seed, ({"name": "energy"},)) for seed in (0, 1)))
        panel = ANALYSIS.of_models(subject)
        table = panel.tables[0]
        values = subject.predicted(subject.models[1])["atom_energies"][subject.data.numbers == 6]
        (row,) = [row for row in table.rows if row[0] == "C"]
        assert row[3] == pytest.approx(values.std() / KCAL_PER_MOL, rel=1e-3)
        inner = panel.facts["energy"]["models"]["m1"]
        variances = [each["count"] * each["std"] ** 2 for each in inner["per_element"].values()]
        assert inner["spread_within_elements"] == pytest.approx(np.sqrt(sum(variances) / len(subject.data.numbers)))
        assert all(check.passed for check in panel.checks)
        json.dumps(panel.to_dict(), allow_nan=False)

    def test_wrong_sums_and_wrong_totals_are_noticed(self):
        model = random_model(0, ({"name": "energy"},))
        labels = np.array([float(each["energy"]) for each in model.predict(list(molecules()), forces=False)])
        right = ANALYSIS.of_models(subject_of(model, data=molecules(energies=labels)))
        assert {check.name: check.passed for check in right.checks} == {"m0: sum": True, "m0: labels": True}
        subject = subject_of(model, data=molecules(energies=labels + 1000.0))
        assert not {check.name: check.passed for check in ANALYSIS.of_models(subject).checks}["m0: labels"]
        tampered = dict(subject.predicted(subject.models[0]))
        tampered["energy"] = tampered["energy"] + 0.01
        subject._store["predictions", "m0"] = tampered
        assert not {check.name: check.passed for check in ANALYSIS.of_models(subject).checks}["m0: sum"]

    def test_what_the_documents_say_of_widths_is_compared_with_what_is_seen(self):
        functions = {"name": "behler_parrinello", "n_radial": 4, "n_angular": 0}
        torch.manual_seed(0)
        other = Model(ModelConfig.parse({"representation": functions}), [1, 6, 8]).set_precision(torch.float64)
        other.energy_readout.set_scale(1.0, REFERENCES, FREE)
        narrow, wide = random_model(0, ({"name": "energy"},)), random_model(0, ({"name": "energy"},))
        narrow.energy_readout.scale.fill_(1e-6)
        wide.energy_readout.scale.fill_(1e6)
        seen = ANALYSIS.of_models(subject_of(narrow, other)).reading
        assert "narrower than those of Behler-Parrinello (insights paper, fig. 2): here for every element" in seen
        assert "here for none and not for H, C, O" in ANALYSIS.of_models(subject_of(wide, other)).reading

    def test_the_grid_has_a_row_for_each_model_and_a_column_for_each_element_and_the_sum(self):
        panel = ANALYSIS.of_models(subject_of(*(random_model(seed, ({"name": "energy"},)) for seed in (0, 1))))
        axes = panel.figures["contribution_distributions"].axes
        assert len(axes) == 2 * 4
        assert all(upper.get_xlim() == lower.get_xlim() for upper, lower in zip(axes[:4], axes[4:], strict=True))
        atoms = {"H": 1, "C": 6, "O": 8}
        for place, number in enumerate(atoms.values()):
            (steps,) = axes[place].findobj(StepPatch)
            assert steps.get_data().values.sum() == (molecules().numbers == number).sum()
