import time

import numpy as np
import pytest

from atomlens.data.batching import BatchSource
from atomlens.data.dataset import Dataset, Origin, ranges
from atomlens.data.system import check_structure
from atomlens.errors import InputError


def make(count=4, seed=0, **changes):
    """Random structures of 1 to 5 atoms, far enough apart, with labels."""
    rng = np.random.default_rng(seed)
    n_atoms = rng.integers(1, 6, count)
    atoms = n_atoms.sum()
    values = {
        "numbers": rng.integers(1, 10, atoms),
        "positions": rng.normal(size=(atoms, 3)) + 3.0 * np.arange(atoms)[:, None],
        "n_atoms": n_atoms,
        "labels": {"energy": rng.normal(size=count), "forces": rng.normal(size=(atoms, 3))},
    }
    return Dataset.from_arrays(**{**values, **changes})


def message(call):
    with pytest.raises(InputError) as caught:
        call()
    return str(caught.value)


def test_structures_are_the_rows_of_the_arrays():
    data = make()
    assert len(data) == 4
    assert [len(system.numbers) for system in data] == data.n_atoms.tolist()
    np.testing.assert_array_equal(np.concatenate([system.positions for system in data]), data.positions)
    np.testing.assert_array_equal(data[-1].numbers, data[3].numbers)
    with pytest.raises(IndexError):
        data[4]


def test_narrow_types_become_wide():
    data = Dataset.from_arrays(
        np.array([1, 8], dtype=np.uint8), np.array([[0, 0, 0], [0, 0, 1]], dtype=np.float32), np.array([2]), {}
    )
    assert (data.numbers.dtype, data.positions.dtype) == (np.int64, np.float64)


def test_ranges_against_a_loop():
    offsets = np.array([0, 3, 3, 7, 9])
    indices = np.array([2, 0, 1, 2])
    expected = np.concatenate([np.arange(offsets[k], offsets[k + 1]) for k in indices])
    np.testing.assert_array_equal(ranges(offsets, indices), expected)
    assert len(ranges(offsets, np.array([], dtype=int))) == 0


def test_subset_takes_structures_with_their_labels():
    data = make(6)
    part = data.subset(np.array([4, 1]))
    for new, old in enumerate([4, 1]):
        np.testing.assert_array_equal(part[new].positions, data[old].positions)
        assert part.labels["energy"][new] == data.labels["energy"][old]
    np.testing.assert_array_equal(
        part.labels["forces"][: data.n_atoms[4]], data.labels["forces"][slice(*data.offsets[4:6])]
    )


def test_subset_by_mask_and_refusal_of_positions_that_are_not_there():
    data = make(4)
    np.testing.assert_array_equal(data.subset(np.array([True, False, True, False])).n_atoms, data.n_atoms[[0, 2]])
    for wrong in ([-1], [4]):
        with pytest.raises(IndexError):
            data.subset(np.array(wrong))


def test_hash_follows_the_content_only():
    data = make()
    assert data.hash == make(metadata={"source": "elsewhere"}).hash
    assert data.hash != make(seed=1).hash
    moved = data.positions.copy()
    moved[0, 0] += 1e-12
    again = Dataset.from_arrays(data.numbers, moved, data.n_atoms, data.labels)
    assert data.hash != again.hash


def test_counts_of_elements():
    data = Dataset.from_arrays(np.array([8, 1, 1, 1]), np.arange(12.0).reshape(4, 3), np.array([3, 1]), {})
    table, elements = data.counts()
    assert elements == [1, 8]
    np.testing.assert_array_equal(table, [[2, 1], [1, 0]])


# What is set where, and the sentence about it.
IMPOSSIBLE = {
    "nan": ({"positions": ((4, 1), np.nan)}, "structure 2, atom 0: the position of this H is not finite; repair"),
    "infinite": ({"positions": ((5, 2), -np.inf)}, "structure 2, atom 1: the position of this H is not finite; repair"),
    "number 0": ({"numbers": (5, 0)}, "structure 2, atom 1: atomic number 0 is not between 1 and 118"),
    "number 119": ({"numbers": (5, 119)}, "structure 2, atom 1: atomic number 119 is not between"),
    "no cell": ({"pbc": (2, True)}, "structure 2: is marked periodic but has no lattice vector"),
    "cell with nan": ({"cell": ((2, 0, 0), np.nan)}, "structure 2: the cell holds a number that is not finite"),
    "singular": (
        {"cell": (2, [[1, 0, 0], [0, 1, 0], [1, 1, 0]]), "pbc": (2, True)},
        "structure 2: the cell is singular",
    ),
    "parallel vectors of a slab": (
        {"cell": (2, [[1, 0, 0], [2, 0, 0], [0, 0, 0]]), "pbc": (2, [True, True, False])},
        "structure 2: the cell is singular",
    ),
    "wild charge": ({"charge": (2, np.inf)}, "structure 2: the charge is not a finite number"),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_impossible_structure_is_named(case):
    changes, sentence = IMPOSSIBLE[case]
    arrays = {
        "numbers": np.ones(6, dtype=int),
        "positions": np.arange(18.0).reshape(6, 3),
        "cell": np.zeros((3, 3, 3)),
        "pbc": np.zeros((3, 3), dtype=bool),
        "charge": np.zeros(3),
    }
    for name, (place, value) in changes.items():
        arrays[name][place] = value
    text = message(lambda: Dataset.from_arrays(n_atoms=np.array([2, 2, 2]), labels={}, **arrays))
    assert text.startswith(sentence)


def test_open_structures_may_have_any_cell_and_slabs_no_third_vector():
    cell = np.array([np.zeros((3, 3)), [[4, 0, 0], [0, 4, 0], [0, 0, 0]], [[4, 0, 0], [0, 0, 0], [0, 0, 0]]])
    pbc = np.array([[False] * 3, [True, True, False], [True, False, False]])
    Dataset.from_arrays(np.ones(3, int), np.zeros((3, 3)), np.ones(3, int), {}, cell=cell, pbc=pbc)


def problem_of(check, *arrays):
    try:
        check(*arrays)
    except InputError as error:
        return error.problem
    return None


def test_fast_check_agrees_with_the_check_of_one_structure():
    def together(numbers, positions, cell, pbc):
        Dataset.from_arrays(numbers, positions, np.array([1]), {}, cell=cell[None], pbc=pbc[None])

    rng = np.random.default_rng(5)
    problems = set()
    for _ in range(200):
        arrays = (np.ones(1, int), np.zeros((1, 3)), rng.integers(-1, 2, (3, 3)).astype(float), rng.random(3) < 0.7)
        problems.add(problem_of(check_structure, *arrays))
        assert problem_of(together, *arrays) == problem_of(check_structure, *arrays)
    assert len(problems) == 3  # fine, without a lattice vector, singular


def test_empty_structure_and_counts_that_do_not_fit():
    assert "structure 1: has no atoms" in message(
        lambda: Dataset.from_arrays(np.ones(2, int), np.zeros((2, 3)), np.array([1, 0, 1]), {})
    )
    assert "add up to 3, but there are 2" in message(
        lambda: Dataset.from_arrays(np.ones(2, int), np.zeros((2, 3)), np.array([1, 2]), {})
    )
    assert "holds no structures" in message(
        lambda: Dataset.from_arrays(np.ones(0, int), np.zeros((0, 3)), np.array([]), {})
    )
    assert "'positions' has shape (2, 2)" in message(
        lambda: Dataset.from_arrays(np.ones(2, int), np.zeros((2, 2)), np.array([2]), {})
    )


def test_labels_of_wrong_shape_and_infinite_labels():
    assert "'energy' has shape (3,) where (4,) is needed, one row per structure" in message(
        lambda: make(labels={"energy": np.zeros(3)})
    )
    data = make()
    forces = np.zeros((len(data.numbers), 3))
    forces[data.offsets[2] + 1, 0] = np.inf
    assert message(lambda: make(labels={"forces": forces})).startswith(
        "structure 2, atom 1: the label 'forces' is infinite"
    )
    assert "unknown quantity 'enrgy'; did you mean 'energy'?" in message(lambda: make(labels={"enrgy": np.zeros(4)}))


def test_required_label():
    data = make()
    energy, forces = data.labels["energy"].copy(), data.labels["forces"].copy()
    energy[3] = np.nan
    forces[data.offsets[2] + 1, 0] = np.nan
    data = make(labels={"energy": energy, "forces": forces}, origin=Origin("a.xyz"))
    assert message(lambda: data.require("energy")).startswith("a.xyz, structure 3: the label 'energy' is missing")
    assert message(lambda: data.require("forces")).startswith("a.xyz, structure 2, atom 1: the label 'forces'")
    assert message(lambda: data.require("dipole")).startswith("a.xyz: has no label 'dipole' (it has: energy, forces)")


def test_subset_remembers_the_places_in_the_file():
    energy = np.arange(6.0)
    energy[4] = np.nan
    data = make(6, labels={"energy": energy}, origin=Origin("a.xyz"))
    part = data.subset(np.array([5, 4, 1])).subset(np.array([1, 2]))
    assert message(lambda: part.require("energy")).startswith("a.xyz, structure 4: the label")


def test_atoms_that_coincide_are_named_with_file_and_structure():
    positions = np.array([[0, 0, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0.1]])
    data = Dataset.from_arrays(np.ones(4, int), positions, np.array([2, 2]), {}, origin=Origin("a.xyz"))
    assert message(lambda: BatchSource(data, 5.0, [])).startswith(
        "a.xyz, structure 1: atom 0 (H) and atom 1 (H) are 0.100"
    )


def test_hundred_thousand_structures_are_checked_without_a_loop():
    count = 100_000
    cell = np.broadcast_to(10.0 * np.eye(3), (count, 3, 3))
    positions = np.random.default_rng(0).normal(size=(9 * count, 3))
    start = time.perf_counter()
    Dataset.from_arrays(
        np.ones(9 * count, int), positions, np.full(count, 9), {}, cell=cell, pbc=np.ones((count, 3), dtype=bool)
    )
    assert time.perf_counter() - start < 2.0  # a loop over `check_structure` takes about 5 s
