"""Kernels against their formulas, written out."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from atomlens.baselines.kernels import AtomKernel, StructureKernel

pytest.importorskip("sklearn")
ROWS, COLUMNS = np.array([0, 2, 5]), np.array([1, 2, 3, 4])


@pytest.mark.parametrize(("name", "order"), [("gaussian", 2), ("laplacian", 1)])
def test_kernels_of_structures(name, order):
    features = np.random.default_rng(0).normal(size=(6, 10)) + 1000.0
    kernel = StructureKernel(features)
    distances = np.linalg.norm(features[ROWS, None] - features[COLUMNS], ord=order, axis=2)
    expected = np.exp(-(distances**2) / (2 * 1.7**2)) if name == "gaussian" else np.exp(-distances / 1.7)
    assert kernel.between(name, ROWS, COLUMNS)(1.7) == pytest.approx(expected, rel=1e-9)
    everything = np.arange(6)
    apart = np.linalg.norm(features[:, None] - features, ord=order, axis=2)[np.triu_indices(6, 1)]
    assert kernel.scale(name, everything) == pytest.approx(np.median(apart), rel=1e-9)


@pytest.mark.parametrize("name", ["gaussian", "laplacian"])
def test_sparse_features_give_the_same_kernel(name):
    random = np.random.default_rng(0)
    features = random.normal(size=(6, 40)) * (random.random((6, 40)) < 0.2)
    sparse = csr_array(features)
    sparse.indices, sparse.indptr = sparse.indices.astype(np.int32), sparse.indptr.astype(np.int32)
    found, expected = (StructureKernel(each).between(name, ROWS, COLUMNS)(2.0) for each in (sparse, features))
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("block", [4_000_000, 10])
def test_kernel_over_atoms_of_the_same_element(molecules, monkeypatch, average, block):
    monkeypatch.setattr("atomlens.baselines.kernels._BLOCK", block)
    data = molecules.subset(np.arange(6))
    features = np.random.default_rng(0).normal(size=(len(data.numbers), 4))
    found = AtomKernel(features, data, average=average).between("gaussian", ROWS, COLUMNS)(0.8)
    for place, row in enumerate(ROWS):
        for there, column in enumerate(COLUMNS):
            total = 0.0
            for i in range(data.offsets[row], data.offsets[row + 1]):
                for j in range(data.offsets[column], data.offsets[column + 1]):
                    if data.numbers[i] == data.numbers[j]:
                        total += np.exp(-np.square(features[i] - features[j]).sum() / (2 * 0.8**2))
            count = data.n_atoms[row] * data.n_atoms[column] if average else 1
            assert found[place, there] == pytest.approx(total / count, rel=1e-9)


def test_structures_without_a_common_element_are_not_alike(crystals):
    data = crystals.subset(np.array([2, 3]))  # copper and silicon
    kernel = AtomKernel(np.ones((len(data.numbers), 2)), data, average=False)
    found = kernel.between("gaussian", np.arange(2), np.arange(2))(1.0)
    assert found == pytest.approx(np.diag(np.square(data.n_atoms.astype(float))))


def test_a_kernel_is_not_changed_by_who_uses_it(molecules):
    data = molecules.subset(np.arange(4))
    kernel = AtomKernel(np.random.default_rng(0).normal(size=(len(data.numbers), 3)), data, average=False)
    at = kernel.between("gaussian", np.arange(4), np.arange(4))
    first = at(1.0)
    kept = first.copy()
    first[:] = 0.0
    assert at(1.0) == pytest.approx(kept)
