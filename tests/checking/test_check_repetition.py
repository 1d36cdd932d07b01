"""Duplicates, outliers, statistics and coverage."""

import clean_sets
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from atomlens.checking.coverage import check_coverage
from atomlens.checking.duplicates import check_duplicates, twins
from atomlens.checking.outliers import check_outliers, stand_apart
from atomlens.checking.statistics import check_statistics, element_counts, unseen


def moved(atoms, seed=0):
    """The same structure turned, shifted, and with its atoms in another order."""
    rng = np.random.default_rng(seed)
    other = atoms.copy()
    other.rotate(rng.uniform(10, 300), rng.normal(size=3), rotate_cell=bool(atoms.pbc.any()))
    other.translate(rng.normal(size=3))
    return other[rng.permutation(len(other))]


@pytest.mark.parametrize(
    "atoms", [molecule("CH3CH2OH"), molecule("C6H6"), bulk("NaCl", "rocksalt", a=5.64, cubic=True), molecule("H2")]
)
def test_a_turned_shifted_reordered_copy_is_a_twin(atoms):
    others = [molecule("H2O"), molecule("CH3OCH3"), bulk("Si")]
    found = twins(clean_sets.of_atoms([others[0], atoms, *others[1:], moved(atoms)], {}))
    assert found.pairs.tolist() == [[1, 4]]
    assert found.difference[0] < 1e-9


def test_large_molecules_and_crystals_have_twins():
    rng = np.random.default_rng(0)
    cluster = Atoms(
        "C250",
        positions=rng.permutation(1.6 * np.argwhere(np.ones((10, 5, 5)))[:250]) + rng.normal(scale=0.1, size=(250, 3)),
    )
    found = twins(clean_sets.of_atoms([cluster, moved(cluster)], {}))
    assert found.pairs.tolist() == [[0, 1]]


def test_mirror_images_are_equal_and_isomers_are_not():
    chiral = Atoms(
        "CHFClBr", positions=[[0, 0, 0], [0.6, 0.6, 0.7], [-0.8, -0.8, 0.8], [-1.0, 1.0, -1.0], [1.1, -1.1, -1.1]]
    )
    mirrored = chiral.copy()
    mirrored.positions[:, 0] *= -1
    assert len(twins(clean_sets.of_atoms([chiral, mirrored], {})).pairs) == 1
    exchanged = chiral.copy()
    exchanged.numbers[[3, 4]] = exchanged.numbers[[4, 3]]
    assert len(twins(clean_sets.of_atoms([chiral, exchanged], {})).pairs) == 0
    assert len(twins(clean_sets.of_atoms([molecule("CH3CH2OH"), molecule("CH3OCH3")], {})).pairs) == 0


def test_other_charge_is_another_structure():
    data = clean_sets.of_atoms([molecule("H2O")] * 2, {})
    from dataclasses import replace

    assert len(twins(data).pairs) == 1
    assert len(twins(replace(data, charge=np.array([0.0, 1.0]))).pairs) == 0


def test_every_member_of_a_large_set_of_copies_is_found():
    ethanol = clean_sets.hot_ethanol(frames=50)
    planted = ethanol.subset(np.concatenate([np.arange(50), np.full(20, 7)]))
    (found,) = check_duplicates(planted)
    assert found.status == "warning"
    assert set(found.structures.tolist()) == {7, *range(50, 70)}
    assert found.facts["too_many"] == 20
    assert "follow each other" in found.sentence


def test_near_twins_are_a_note():
    ethanol = clean_sets.hot_ethanol(frames=50)
    planted = ethanol.subset(np.concatenate([np.arange(50), [7]]))
    positions = planted.positions.copy()
    positions[-3] += [0.01, 0.0, 0.0]
    from dataclasses import replace

    (found,) = check_duplicates(replace(planted, positions=positions))
    assert (found.status, found.structures.tolist()) == ("note", [7, 50])
    assert 0.002 < found.facts["smallest_difference_ang"] <= 0.01


def test_labels_of_equal_structures_that_agree_are_not_spoken_of():
    ethanol = clean_sets.hot_ethanol(frames=50)
    found = check_duplicates(ethanol.subset(np.concatenate([np.arange(50), [7]])))
    assert [outcome.status for outcome in found] == ["warning"]


@pytest.mark.parametrize("draw", ["normal", "laplace", "standard_t"])
@pytest.mark.parametrize("count", [100, 3000, 100_000])
def test_tails_are_no_outliers(draw, count):
    """Normal, exponential and power-law tails (Student's t with 5 degrees of freedom)."""
    rng = np.random.default_rng(7)
    values = rng.standard_t(5, count) if draw == "standard_t" else getattr(rng, draw)(size=count)
    assert len(stand_apart(values).rows) == 0


@pytest.mark.parametrize("count", [100, 3000, 100_000])
def test_values_far_outside_stand_apart_gravest_first(count):
    values = np.random.default_rng(7).normal(size=count)
    values[[3, 40]] = [-50.0, 90.0]
    found = stand_apart(values)
    assert found.rows.tolist() == [40, 3]
    assert found.size[0] > found.size[1] > found.limit


def test_constant_and_few_values_have_no_outliers():
    assert len(stand_apart(np.ones(100)).rows) == 0
    assert len(stand_apart(np.array([1.0, 2.0, 1e6])).rows) == 0


def test_one_energy_in_kilocalories():
    data = clean_sets.small_molecules()
    energy = data.labels["energy"].copy()
    energy[30] *= 23.060548
    (found,) = check_outliers(clean_sets.in_file(clean_sets.with_label(data, energy=energy)))
    assert (found.status, found.structures.tolist(), found.facts["places"]) == ("fault", [30], [1030])
    assert "kcal/mol read as eV" in found.sentence


def test_one_force_stands_apart_in_its_element():
    data = clean_sets.hot_ethanol()
    forces = data.labels["forces"].copy()
    forces[9 * 12 + 1] *= 100.0
    found = [each for each in check_outliers(clean_sets.with_label(data, forces=forces)) if each.status == "warning"]
    assert [each.structures.tolist() for each in found] == [[12]]
    assert "atom 1 (C)" in found[0].sentence


def test_placeholders():
    data = clean_sets.small_molecules()
    energy = data.labels["energy"].copy()
    energy[10:20] = 0.0
    found = [
        each for each in check_outliers(clean_sets.with_label(data, energy=energy)) if "exactly 0" in each.sentence
    ]
    assert [each.structures.tolist() for each in found] == [list(range(10, 20))]
    gap = np.random.default_rng(0).uniform(1, 5, len(data))
    gap[:50] = 0.0  # metals
    found = check_outliers(clean_sets.with_label(data, gap=gap))
    assert not [each for each in found if "exactly" in each.sentence]


def test_zero_forces_of_one_frame():
    data = clean_sets.hot_ethanol()
    forces = data.labels["forces"].copy()
    forces[9 * 5 : 9 * 6] = 0.0
    found = [each for each in check_outliers(clean_sets.with_label(data, forces=forces)) if each.status == "warning"]
    assert [each.structures.tolist() for each in found] == [[5]]


def test_statistics_by_hand():
    data = clean_sets.of_atoms([molecule("H2O"), molecule("CH4"), molecule("CH3CH2OH"), molecule("CH3OCH3")], {})
    atoms, structures = element_counts(data)
    assert data.elements == [1, 6, 8]
    assert (atoms.tolist(), structures.tolist()) == ([18, 5, 3], [4, 3, 3])
    found = check_statistics(data)[0]
    assert found.facts["compositions"] == 3
    assert found.facts["sizes"] == {"least": 3, "median": 7.0, "most": 9}
    assert found.facts["elements"]["O"] == {"atoms": 3, "structures": 3}


@pytest.mark.parametrize(
    ("occurrences", "structures", "trained_on", "probability"),
    [(1, 10, 8, 0.2), (2, 10, 8, 2 / 10 * 1 / 9), (3, 10, 8, 0.0), (2, 4, 2, 1 / 6)],
)
def test_probability_that_an_element_is_left_out(occurrences, structures, trained_on, probability):
    assert unseen(occurrences, structures, trained_on) == pytest.approx(probability)


def test_rare_element_is_named():
    data = clean_sets.of_atoms([molecule("H2O")] * 99 + [molecule("HF") + molecule("H2O")], {})
    (rare,) = [each for each in check_statistics(data) if each.status == "note"]
    assert "F (1)" in rare.sentence
    assert rare.structures.tolist() == [99]
    assert rare.facts["unseen_probability"] == pytest.approx(0.2)


def test_unknown_labels_are_counted():
    data = clean_sets.small_molecules()
    homo = np.full(len(data), -6.0)
    homo[::4] = np.nan
    energy = data.labels["energy"].copy()
    energy[:8] = np.nan
    (found,) = [
        each
        for each in check_coverage(clean_sets.with_label(data, homo=homo, energy=energy))
        if "Labels" in each.sentence
    ]
    assert found.status == "note"
    assert found.facts["known"] == {"energy": len(data) - 8, "homo": int(np.isfinite(homo).sum())}
    assert found.structures.tolist() == [0, 4]


def test_rare_bonds_are_named():
    data = clean_sets.of_atoms([molecule("CH4")] * 150 + [molecule("SiH4")] * 3, {})
    (found,) = [each for each in check_coverage(data) if "bonds" in each.sentence]
    assert found.facts["bonds"] == {"H-C": 150, "H-Si": 3}
    assert "H-Si (3)" in found.sentence
