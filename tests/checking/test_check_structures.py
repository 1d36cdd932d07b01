"""Clashes, stray atoms, pieces, lost coordinates, cells and charges."""

from dataclasses import replace

import clean_sets
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from atomlens.checking.cells import check_cells, check_charges
from atomlens.checking.distances import distances, median_per_structure, per_structure
from atomlens.checking.structures import check_structures, fragments
from atomlens.data.bonds import bonded_pairs
from atomlens.data.dataset import Dataset


def one(*systems, **labels):
    return clean_sets.of_atoms(list(systems), labels)


def grave(outcomes):
    return [outcome for outcome in outcomes if outcome.status in ("fault", "warning")]


def test_nearest_neighbours_by_hand():
    """Water: 0.969 Å over 0.66 + 0.31 Å; rock salt: 2.82 Å over 1.66 + 1.02 Å; helium alone: none."""
    water = molecule("H2O")
    found = distances(one(water, bulk("NaCl", "rocksalt", a=5.64), Atoms("He")))
    oh = water.get_distance(0, 1)
    np.testing.assert_allclose(found.ratio[:3], oh / 0.97, rtol=1e-12)
    np.testing.assert_allclose(found.distance[3:5], 2.82, rtol=1e-12)
    np.testing.assert_allclose(found.ratio[3:5], 2.82 / 2.68, rtol=1e-12)
    assert found.ratio[5] == np.inf
    assert found.partner.tolist()[:3] == [1, 0, 0]
    assert found.pairs == {(1, 8): 1, (11, 17): 1}
    assert found.links.tolist() == [[0, 1], [0, 2]]


def test_neighbours_of_a_large_molecule_are_those_of_small_ones():
    """Pieces of a chain of 400 atoms go another way than small molecules."""
    chain = Atoms("C400", positions=np.column_stack([1.4 * np.arange(400), np.zeros(400), np.zeros(400)]))
    found = distances(one(chain))
    np.testing.assert_allclose(found.ratio, 1.4 / 1.52, rtol=1e-12)
    assert len(found.links) == 399


def test_bonds_are_counted_as_for_one_molecule():
    systems = [molecule(name) for name in ("CH3CH2OH", "C6H6", "CH3CN")]
    found = distances(one(*systems))
    kinds = set()
    for atoms in systems:
        for a, b in bonded_pairs(atoms.numbers, atoms.positions):
            kinds.add(tuple(sorted((int(atoms.numbers[a]), int(atoms.numbers[b])))))
    assert set(found.pairs) == kinds
    assert found.pairs[1, 6] == 3
    assert found.pairs[6, 7] == 1


def test_medians_and_reductions_by_structure():
    data = one(molecule("H2O"), molecule("CH4"))
    values = np.array([3.0, 1.0, 2.0, 9.0, 8.0, 7.0, 6.0, 5.0])
    assert median_per_structure(values, data.offsets).tolist() == [2.0, 7.0]
    assert per_structure(np.minimum, values, data).tolist() == [1.0, 5.0]


@pytest.mark.parametrize(
    ("distance", "forces", "status"),
    [(0.5, None, "fault"), (0.8, None, "warning"), (0.5, 60.0, "warning"), (1.3, None, None)],
)
def test_clash(distance, forces, status):
    """C-C: 0.33 and 0.53 of 1.52 Å; where strong forces are labelled, atoms were pushed together on purpose."""
    planted = Atoms("C2", positions=[[0, 0, 0], [0, 0, distance]])
    labels = {} if forces is None else {"forces": np.vstack([np.zeros((9, 3)), [[0, 0, forces], [0, 0, -forces]]])}
    found = grave(check_structures(one(molecule("CH3CH2OH"), planted, **labels)))
    assert [outcome.status for outcome in found] == ([] if status is None else [status])
    if found:
        assert found[0].structures.tolist() == [1]
        assert f"{distance:.3f} Å" in found[0].sentence


def test_own_image_clashes():
    found = grave(check_structures(one(Atoms("Cu", cell=np.eye(3) * 0.9, pbc=True))))
    assert "its own image" in found[0].sentence


def test_stray_atom():
    data = one(
        molecule("H2O"),
        molecule("H2O") + Atoms("H", positions=[[0, 0, 6.0]]),
        Atoms("H"),
        Atoms("Ar2", [[0] * 3, [4, 0, 0]]),
    )
    stray = [outcome for outcome in grave(check_structures(data)) if "far from all" in outcome.sentence]
    assert [outcome.structures.tolist() for outcome in stray] == [[1]]
    assert "atom 3 (H)" in stray[0].sentence


def test_fragments_by_hand():
    dimer = molecule("H2O") + molecule("H2O")
    dimer.positions[3:] += [0.0, 0.0, 3.0]
    data = one(molecule("CH3CH2OH"), dimer, Atoms("He"), bulk("Cu"))
    assert fragments(data, distances(data)).tolist() == [1, 2, 1, 1]


def test_broken_molecule_among_whole_ones():
    ethanol = clean_sets.hot_ethanol(frames=60)
    positions = ethanol.positions.copy()
    positions[9 * 8 + 2] += 10.0 * (positions[9 * 8 + 2] - positions[9 * 8 : 9 * 9].mean(axis=0))
    found = [
        each for each in grave(check_structures(replace(ethanol, positions=positions))) if "pieces" in each.sentence
    ]
    assert [(each.status, each.structures.tolist()) for each in found] == [("warning", [8])]


def test_column_read_twice():
    ethanol = clean_sets.hot_ethanol(frames=5)
    positions = ethanol.positions.copy()
    positions[9:18, 2] = positions[9:18, 1]
    found = [each for each in check_structures(replace(ethanol, positions=positions)) if "read twice" in each.sentence]
    assert [(each.status, each.structures.tolist()) for each in found] == [("fault", [1])]


def test_molecules_along_an_axis_have_no_column_twice():
    acetylene = Atoms("C2H2", positions=[[0, 0, 0.6], [0, 0, -0.6], [0, 0, 1.66], [0, 0, -1.66]])
    assert not grave(check_structures(one(acetylene)))


def test_cells_that_lost_their_flags_or_are_too_small():
    crystal = bulk("Si", cubic=True)
    flagless = crystal.copy()
    flagless.pbc = False
    small = crystal.copy()
    small.cell = 0.529 * np.asarray(crystal.cell)
    found = check_cells(one(crystal, flagless, small))
    assert {(outcome.status, *outcome.structures.tolist()) for outcome in found} == {
        ("warning", 1),
        ("fault", 1),
        ("fault", 2),
    }


def test_molecules_without_cells_are_not_spoken_of():
    assert check_cells(one(molecule("H2O"))) == []


def test_molecule_in_a_box_is_a_note():
    box = molecule("CH4")
    box.center(vacuum=8.0)
    box.pbc = True
    (found,) = check_cells(one(box))
    assert (found.status, "mostly empty" in found.sentence) == ("note", True)


def test_fractional_coordinates():
    crystal = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    planted = crystal.copy()
    planted.positions = crystal.get_scaled_positions()
    found = check_cells(one(crystal, crystal, planted))
    assert [(each.status, each.structures.tolist()) for each in found] == [("fault", [2])]


@pytest.mark.parametrize(("charge", "status"), [(1.0, "ok"), (0.0, "warning"), (0.5, "fault"), (60.0, "fault")])
def test_charges(charge, status):
    """H3O+ has ten electrons; without its charge it would have eleven."""
    data = one(molecule("H2O") + Atoms("H", positions=[[0, 0, 1.1]]))
    found = check_charges(replace(data, charge=np.array([charge])))
    assert found[0].status == status


def test_distances_skip_what_cannot_be_measured():
    data = one(molecule("H2O"), molecule("CH4"))
    positions = data.positions.copy()
    positions[1] = np.nan
    found = distances(Dataset(**{**vars(data), "positions": positions}))
    assert found.measured.tolist() == [1]
    assert np.isnan(found.ratio[:3]).all()
