import json
from itertools import combinations

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule
from sklearn.linear_model import LinearRegression

from atomlens.data.dataset import Dataset
from atomlens.errors import InputError
from atomlens.explain.partition import groups
from atomlens.explain.partition.bonds import coordination, data_environments
from atomlens.explain.partition.groups import ANALYSIS, additive_groups
from atomlens.explain.subject import ExplainConfig, NamedModel, Subject
from atomlens.model import Model, ModelConfig

# No two kinds of atoms of these come together always; an empty place keeps molecules apart.
NAMES = (
    "CH3CH2OH", "CH3OH", "CH3OCH3", "C2H6", "C3H8", "isobutane", "CH3COOH", "CH3CHO", "CH3COCH3", "C6H6", "isobutene",
    "butadiene", "C3H6_Cs", "trans-butane", "H2CO", "HCOOH", "HCOOCH3", "CH3CH2OCH3", "C2H4", "C4H4O",
)  # fmt: skip


def mixture(rng):
    """A few molecules side by side, too far apart for bonds."""
    parts = [molecule(name) for name in rng.choice(NAMES, rng.integers(2, 5))]
    for place, part in enumerate(parts):
        part.positions += np.array([20.0 * place, 0.0, 0.0])
    return sum(parts[1:], parts[0])


def data_of(structures, energies=None):
    return Dataset.from_arrays(
        np.concatenate([atoms.numbers for atoms in structures]),
        np.concatenate([atoms.positions for atoms in structures]),
        np.array([len(atoms) for atoms in structures]),
        {} if energies is None else {"energy": energies},
        cell=np.array([atoms.cell.array for atoms in structures]),
        pbc=np.array([atoms.pbc for atoms in structures]),
    )


@pytest.fixture(scope="module")
def mixtures():
    rng = np.random.default_rng(0)
    return data_of([mixture(rng) for _ in range(150)])


@pytest.fixture(scope="module")
def labels(mixtures):
    return data_environments(mixtures)


def additive(labels, offsets, seed=1):
    """Constants by environment, drawn at random, and the atoms' values and structures' totals."""
    names, place = np.unique(labels, return_inverse=True)
    constants = np.random.default_rng(seed).normal(scale=2.0, size=len(names))
    return dict(zip(names.tolist(), constants, strict=True)), constants[place], sums(constants[place], offsets)


def sums(values, offsets):
    return np.add.reduceat(values, offsets[:-1])


class TestFit:
    def test_additive_energies_are_predicted_exactly(self, mixtures, labels):
        _, terms, totals = additive(labels, mixtures.offsets)
        found = additive_groups(labels, mixtures.offsets, totals, terms)
        assert found.errors.groups < 1e-9
        assert found.errors.elements > 0.1
        assert found.errors.fitted + found.errors.tested == found.kept.sum()
        assert 0.4 < found.errors.fitted / found.kept.sum() < 0.6

    def test_terms_that_are_additive_are_the_nearest_best_fit(self, mixtures, labels):
        constants, terms, totals = additive(labels, mixtures.offsets)
        found = additive_groups(labels, mixtures.offsets, totals, terms)
        np.testing.assert_allclose(found.nearest, [constants[name] for name in found.environments], atol=1e-9)
        assert found.difference(nearest=True) < 1e-9
        assert found.difference() > 0.1
        assert found.correlations(nearest=True)["C"] == pytest.approx(1.0)
        assert found.explained["C"] == pytest.approx(1.0)
        assert found.spreads.max() < 1e-9

    def test_what_is_free_is_that_bonds_are_counted_from_both_ends(self, mixtures, labels):
        _, terms, totals = additive(labels, mixtures.offsets)
        found = additive_groups(labels, mixtures.offsets, totals, terms)
        assert found.free == 3  # C-H, C-O and O-H
        table = counts(labels, mixtures, found)
        for first, second in combinations("CHO", 2):
            ends = np.array([bonds_to(name, second) * name.startswith(first) for name in found.environments])
            others = np.array([bonds_to(name, first) * name.startswith(second) for name in found.environments])
            assert (table @ ends == table @ others).all()
            assert (table @ ends).any()

    def test_two_choices_give_the_same_totals(self, mixtures, labels):
        rng = np.random.default_rng(2)
        totals, terms = rng.normal(size=len(mixtures)), rng.normal(size=len(labels))
        found = additive_groups(labels, mixtures.offsets, totals, terms)
        table = counts(labels, mixtures, found)
        np.testing.assert_allclose(table @ found.nearest, table @ found.constants, atol=1e-9)
        fitted = LinearRegression(fit_intercept=False).fit(table, totals[found.kept]).predict(table)
        np.testing.assert_allclose(table @ found.constants, fitted, atol=1e-9)

    def test_the_narrowest_varies_less_than_its_neighbours_with_the_same_totals(self, mixtures, labels):
        _, terms, totals = additive(labels, mixtures.offsets)
        found = additive_groups(labels, mixtures.offsets, totals, terms)
        best, symbols = spread_within(found, found.constants), np.array(found.elements)
        assert best < spread_within(found, found.nearest)
        for first, second in combinations("CHO", 2):
            ends = np.array([bonds_to(name, second) * name.startswith(first) for name in found.environments])
            others = np.array([bonds_to(name, first) * name.startswith(second) for name in found.environments])
            for step in (0.1, -0.1):
                assert best < spread_within(found, found.constants + step * (ends - others))
        assert set(symbols) == {"C", "H", "O"}

    def test_the_nearest_is_nearer_than_its_neighbours(self, mixtures, labels):
        rng = np.random.default_rng(2)
        totals, terms = rng.normal(size=len(mixtures)), rng.normal(size=len(labels))
        found = additive_groups(labels, mixtures.offsets, totals, terms)
        shift = np.array([bonds_to(n, "H") * n.startswith("C") - bonds_to(n, "C") * n.startswith("H")
                          for n in found.environments])  # fmt: skip
        squares = [found.counts @ np.square(found.terms - found.nearest - step * shift) for step in (-0.1, 0.0, 0.1)]
        assert squares[1] < min(squares[0], squares[2])

    def test_means_spreads_and_shares_of_variance_are_those_of_the_terms(self, mixtures, labels):
        rng = np.random.default_rng(2)
        totals, terms = rng.normal(size=len(mixtures)), rng.normal(size=len(labels))
        found = additive_groups(labels, mixtures.offsets, totals, terms)
        place = found.environments.index("C(CH3)")
        atoms = np.repeat(found.kept, mixtures.n_atoms)
        own = terms[atoms & (labels == "C(CH3)")]
        assert (found.counts[place], found.terms[place]) == (len(own), pytest.approx(own.mean()))
        assert found.spreads[place] == pytest.approx(own.std())
        carbon = atoms & (mixtures.numbers == 6)
        means = dict(zip(found.environments, found.terms, strict=True))
        between = np.array([means[name] for name in labels[carbon]]).var()
        assert found.explained["C"] == pytest.approx(between / terms[carbon].var())

    def test_structures_with_rare_kinds_of_atoms_are_left_out(self, mixtures):
        structures = [system.to_ase() for system in mixtures]
        structures[5] = molecule("C2H2")
        data = data_of(structures)
        labels = data_environments(data)
        _, terms, totals = additive(labels, data.offsets)
        found = additive_groups(labels, data.offsets, totals, terms)
        assert not found.kept[5]
        assert "C(CH)" not in found.environments
        assert found.errors.groups < 1e-9

    @pytest.mark.parametrize(
        ("names", "words"),
        [
            (["CH4"] * 49, "49 structures are too few"),
            (["CH4", "H2O"] * 40, "hold only 2 different sets of bonded atoms"),
        ],
    )
    def test_too_few_or_too_like_structures_are_refused(self, names, words):
        data = data_of([molecule(name) for name in names])
        with pytest.raises(InputError, match=words):
            additive_groups(data_environments(data), data.offsets, np.zeros(len(data)), np.zeros(len(data.numbers)))

    def test_structures_without_anything_in_common_are_refused(self):
        labels = np.array([f"C(X{place})" for place in range(60)])
        with pytest.raises(InputError, match="only 0 of 60 structures have kinds of atoms that recur"):
            additive_groups(labels, np.arange(61), np.zeros(60), np.zeros(60))


def bonds_to(environment, other):
    """How many neighbours of an element an environment's name holds."""
    inside = environment.partition("(")[2].rstrip(")")
    for symbol in ("C", "H", "O"):
        inside = inside.replace(symbol, f" {symbol}")
    return sum(int(part[1:] or 1) for part in inside.split() if part[0] == other)


def counts(labels, data, found):
    """How often an environment occurs in each structure kept."""
    owner = np.repeat(np.arange(len(data)), data.n_atoms)
    table = np.array([np.bincount(owner[labels == name], minlength=len(data)) for name in found.environments]).T
    return table[found.kept]


def spread_within(found, constants):
    """Variance of constants within elements, over atoms."""
    symbols, total = np.array(found.elements), 0.0
    for name in np.unique(symbols):
        own = symbols == name
        mean = np.average(constants[own], weights=found.counts[own])
        total += found.counts[own] @ np.square(constants[own] - mean)
    return total


def random_model(seed, readouts=("energy",)):
    torch.manual_seed(seed)
    small = {"name": "schnet", "features": 16, "interactions": 1, "cutoff": 4.0}
    rows = [{"name": name} for name in readouts]
    made = Model(ModelConfig.parse({"representation": small, "readouts": rows}), [1, 6, 8]).set_precision(torch.float64)
    if made.has_energy:
        free = {1: -13.0, 6: -1029.0, 8: -2039.0}
        made.energy_readout.set_scale(1.0, free, free)
    return made


def subject_of(data, *models):
    named = tuple(NamedModel(f"m{place}", model) for place, model in enumerate(models))
    return Subject(named, (data[0],), ("a",), data, ExplainConfig())


class TestPanel:
    def test_it_compares_every_model_and_its_checks_pass(self, mixtures):
        model = random_model(0)
        energies = np.array([float(each["energy"]) for each in model.predict(list(mixtures), forces=False)])
        data = data_of([system.to_ase() for system in mixtures], energies)
        panel = ANALYSIS.of_models(subject_of(data, model, random_model(1)))
        assert [check.name for check in panel.checks] == ["groups beside elements", "free combinations", "bonds"]
        assert all(check.passed for check in panel.checks)
        assert set(panel.facts["models"]) == {"m0", "m1"}
        assert panel.facts["totals"] == "labels"
        assert panel.facts["models"]["m0"]["free"] == 3
        assert "3 combinations of these constants change no energy" in panel.reading
        (chart,) = panel.views
        assert sum(len(series.x) for series in chart.series) == len(panel.facts["models"]["m0"]["environments"])
        json.dumps(panel.to_dict(), allow_nan=False)

    def test_without_labels_each_model_is_fitted_by_its_own_energies(self, mixtures):
        panel = ANALYSIS.of_models(subject_of(mixtures, random_model(0)))
        assert panel.facts["totals"] == "predictions of each model"

    def test_constants_that_do_not_leave_totals_alone_are_noticed(self, mixtures):
        found = groups._compare(subject_of(mixtures, random_model(0)))
        model = found.models["m0"]
        assert groups._free_check(found, model).passed
        wrong = type(model)(**{**vars(model), "nearest": model.nearest + 0.01})
        assert not groups._free_check(found, wrong).passed

    def test_unusual_bonds_are_noticed(self, mixtures):
        stretched = [system.to_ase() for system in mixtures]
        for atoms in stretched[:75]:
            hydrogens = np.flatnonzero(atoms.numbers == 1)
            atoms.positions[hydrogens[0]] += 5.0
        panel = ANALYSIS.of_models(subject_of(data_of(stretched), random_model(0)))
        (check,) = [check for check in panel.checks if check.name == "bonds"]
        assert (check.passed, check.claim) == (False, True)  # the data are unusual, the computation is right

    def test_the_table_shows_the_most_frequent_first(self, mixtures):
        rows = ANALYSIS.of_models(subject_of(mixtures, random_model(0))).tables[1].rows
        atoms = [row[1] for row in rows]
        assert atoms == sorted(atoms, reverse=True)
        assert all(coordination(row[0])[1] > 0 for row in rows)

    @pytest.mark.parametrize(
        ("structures", "readouts", "words"),
        [
            ([molecule("H2O")] * 60, ("dipole",), "no model here"),
            ([molecule("H2O")] * 20, ("energy",), "20 structures are too few"),
            ([bulk("C")] * 60, ("energy",), "is periodic, and bonds are looked for within one cell"),
        ],
        ids=["no energy", "few", "crystals"],
    )
    def test_what_it_cannot_serve_is_said(self, structures, readouts, words):
        with pytest.raises(InputError, match=words):
            ANALYSIS.of_models(subject_of(data_of(structures), random_model(0, readouts)))
