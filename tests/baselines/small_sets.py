"""What several tests of baselines share."""

import numpy as np

from atomlens.data.dataset import Dataset
from atomlens.data.splits import Split

NAMES = ("H2O", "CH4", "NH3", "CH3OH", "C2H6", "C2H4", "H2O2", "CO2", "H3CNH2", "HCN", "H2CO", "CH3CH2OH")


def dataset(systems, labels=None):
    """ASE structures as a data set."""
    return Dataset.from_arrays(
        np.concatenate([atoms.numbers for atoms in systems]),
        np.concatenate([atoms.positions for atoms in systems]),
        np.array([len(atoms) for atoms in systems]),
        labels or {},
        cell=np.array([atoms.cell[:] for atoms in systems]),
        pbc=np.array([atoms.pbc for atoms in systems]),
    )


def split_of(data, train, validation):
    """The first structures train, the next ones validate, the rest tests."""
    return Split(
        np.arange(train),
        np.arange(train, train + validation),
        np.arange(train + validation, len(data)),
        data.structure_hash,
        "in order",
    )


def pair_energy(atoms):
    """A smooth energy of a molecule: elements and an inverse fourth power of the distances."""
    distances = atoms.get_all_distances()[np.triu_indices(len(atoms), 1)]
    return float(-2.0 * atoms.numbers.sum() + (3.0 / distances**4).sum())
