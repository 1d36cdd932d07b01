"""A data set with everything that a format has to keep."""

import numpy as np

from atomlens.data.dataset import Column, Dataset


def full_dataset(count=7, seed=0, **changes):
    """Open and periodic, charged, with labels and columns of every kind; NaN where marked in the code."""
    rng = np.random.default_rng(seed)
    n_atoms = rng.integers(2, 6, count)
    atoms = int(n_atoms.sum())
    first = np.repeat(np.arange(count), n_atoms) == 0
    pbc = np.zeros((count, 3), dtype=bool)
    pbc[1::2], pbc[3::4, 2] = True, False
    stress = rng.normal(size=(count, 3, 3)) * 1e-3
    tensors = rng.normal(size=(atoms, 3, 3))
    labels = {
        "energy": rng.normal(size=count) * 1e-5 - 1000.0,
        "forces": rng.normal(size=(atoms, 3)),
        "stress": stress + stress.transpose(0, 2, 1),
        "dipole": rng.normal(size=(count, 3)),
        "polarizability": np.tile(np.diag([1.0, 2.0, 3.5]), (count, 1, 1)),
        "gap": rng.normal(size=count),
        "charges": rng.normal(size=atoms),
        "atom_polarizabilities": tensors + tensors.transpose(0, 2, 1),
    }
    labels["energy"][2] = labels["stress"][0] = np.nan
    labels["forces"][first] = np.nan
    unknown = rng.normal(size=count)
    unknown[4] = np.nan
    columns = {
        "gdb_index": Column(rng.integers(1, 2**40, count), "system", None, "number in GDB-9"),
        "U": Column(unknown, "system", "kcal/mol", "at 298 K"),
        "vector": Column(rng.normal(size=(count, 4)), "system", "e*bohr"),
        "matrix": Column(rng.normal(size=(count, 2, 3)), "system"),
        "site": Column(rng.integers(0, 9, atoms), "atom"),
        "spin": Column(rng.normal(size=(atoms, 2)), "atom", "e"),
    }
    arrays = {
        "cell": np.where(pbc.any(axis=1)[:, None, None], 9.0 * np.eye(3) + rng.normal(size=(count, 3, 3)) * 0.1, 0.0),
        "pbc": pbc,
        "charge": rng.integers(-1, 2, count).astype(float),
        "metadata": {"level": "PBE", "seed": seed},
        "columns": columns,
    }
    positions = rng.uniform(0, 9, size=(atoms, 3))
    return Dataset.from_arrays(rng.integers(1, 9, atoms), positions, n_atoms, labels, **{**arrays, **changes})


def assert_same(found, wanted, tolerance=0.0, columns=None):
    """The same structures, labels and columns (or those of them that are named), to so much."""
    for name in ("numbers", "offsets", "pbc"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))
    for name in ("positions", "cell", "charge"):
        np.testing.assert_allclose(getattr(found, name), getattr(wanted, name), rtol=0, atol=tolerance)
    assert set(found.labels) == set(wanted.labels)
    for name, values in wanted.labels.items():
        np.testing.assert_allclose(found.labels[name], values, rtol=0, atol=tolerance, err_msg=name)
    names = set(wanted.columns) if columns is None else set(columns)
    assert set(found.columns) == names
    for key in names:
        first, second = found.columns[key], wanted.columns[key]
        assert (first.per, first.unit, first.values.dtype) == (second.per, second.unit, second.values.dtype), key
        np.testing.assert_allclose(first.values, second.values, rtol=0, atol=tolerance, err_msg=key)
