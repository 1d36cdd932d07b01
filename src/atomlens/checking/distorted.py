"""Structures far from equilibrium on purpose: their labels say that atoms were pushed together or pulled apart."""

from __future__ import annotations

import numpy as np

from atomlens.checking.composition import composition_groups, fit_composition
from atomlens.checking.distances import LINK, distances, per_structure
from atomlens.data.dataset import Dataset

_STRONG = 20.0  # eV/Å, of a force's component: beyond those of molecules at some thousand kelvin
_COSTLY = 3.0  # eV above the usual energy: about a broken bond
_OF_ISOMERS = 1.0  # eV per atom, more than what isomers and compositions differ by
_LOW = 10  # one structure in so many is lower than what is called low
_FEWEST = 3  # structures of a composition, of which it is known what is usual
_PUSHED = 0.75  # times the sum of covalent radii; of molecules at 500 K it is 0.78 and more


def forced(data: Dataset) -> np.ndarray:
    """(structures,) bool: forces or energies are as high as where atoms were pushed together or pulled apart.

    A geometry that was only written in a wrong unit keeps the energy and the forces of the right one.
    """
    found = np.zeros(len(data), dtype=bool)
    if "forces" in data.labels:
        largest = np.nan_to_num(np.abs(data.labels["forces"])).max(axis=1)
        found |= per_structure(np.maximum, largest, data) > _STRONG
    if "energy" in data.labels:
        found |= _costly(data, np.asarray(data.labels["energy"]))
    return found


def excused(data: Dataset) -> np.ndarray:
    """(structures,) bool: `forced`, or without any label where others have one: nothing is learned from these."""
    known = data.known(list(data.labels))
    return np.asarray(forced(data) | (~known & known.any()))


def _costly(data: Dataset, energy: np.ndarray) -> np.ndarray:
    """(structures,) bool: energies far above the low ones of their composition, or above what elements explain."""
    known = np.flatnonzero(np.isfinite(energy))
    found = np.zeros(len(data), dtype=bool)
    fit = fit_composition(data, energy, extensive=True)
    if fit is None:
        return found
    found[fit.rows] = fit.residuals > np.maximum(_COSTLY, _OF_ISOMERS * data.n_atoms[fit.rows])
    group = composition_groups(data)[known]
    order = np.lexsort((energy[known], group))
    sizes = np.bincount(group)
    sizes = sizes[sizes > 0]
    starts = np.cumsum(sizes) - sizes
    low = np.repeat(energy[known][order][starts + (sizes - 1) // _LOW], sizes)
    rows = known[order]
    above = energy[rows] - low > np.maximum(_COSTLY, _OF_ISOMERS * data.n_atoms[rows])
    several = np.repeat(sizes, sizes) >= _FEWEST
    found[rows[several]] = above[several]
    return found


def unusual_shape(data: Dataset) -> np.ndarray:
    """(structures,) bool: single atoms, and structures some of whose atoms are nearer or farther than bonds are."""
    ratio = distances(data).ratio
    near = per_structure(np.fmin, ratio, data) < _PUSHED
    far = per_structure(np.fmax, np.where(np.isnan(ratio), 0.0, ratio), data) > LINK
    return np.asarray(near | far | (data.n_atoms == 1))
