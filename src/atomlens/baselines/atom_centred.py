"""Descriptors of each atom's surroundings: symmetry functions and SOAP."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from atomlens.baselines.descriptor import dense, optional, pieces
from atomlens.data.batch import collate
from atomlens.data.dataset import Dataset
from atomlens.data.system import AtomicSystem, symbol

CUTOFF = 5.0  # Å
RADIAL, ANGULAR = 6, 5  # basis functions of SOAP, and its highest angular momentum
_MOST = 2000  # numbers per atom of SOAP, before elements are drawn together
_BATCH = 50  # structures
_LEAST = 0.1  # share of the median deviation that every feature is divided by at least


def symmetry_functions(data: Dataset, training: np.ndarray, title: str = "") -> np.ndarray:
    """Weighted symmetry functions of every atom, standardised over the training atoms: (atoms, F).

    The default set of our representation `behler_parrinello` (Gastegger et al., J. Chem. Phys. 148, 241709 (2018)).
    """
    from atomlens.representations.behler_parrinello import BehlerParrinello, BehlerParrinelloConfig

    functions = BehlerParrinello(BehlerParrinelloConfig(cutoff=CUTOFF), data.elements).double()
    table = dense(len(data.numbers), functions.n_features, "symmetry functions")
    for rows, some in pieces(data, title):
        for start in range(0, len(some), _BATCH):
            part = range(start, min(start + _BATCH, len(some)))
            atoms = slice(data.offsets[rows.start + part.start], data.offsets[rows.start + part.stop])
            table[atoms] = functions(collate([some[place] for place in part], CUTOFF)).numpy()
    return _standardised(table, _atoms_of(data, training))


def soap(data: Dataset, training: np.ndarray, title: str = "") -> np.ndarray:
    """Smooth overlap of atomic positions of every atom, brought to unit length: (atoms, F), by dscribe.

    Bartók et al., Phys. Rev. B 87, 184115 (2013). All pairs of elements are told apart where these are four or fewer;
    up to nine, one of the two neighbours' elements is drawn together with all others, and both beyond (μ1ν1 and μ2 of
    Darby et al., npj Comput. Mater. 8, 166 (2022)). The kernel compares atoms of the same element in any case.
    """
    del training
    with optional("dscribe"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = _soap_of(data)
    table = dense(len(data.numbers), made.get_number_of_features(), "SOAP")
    for rows, some in pieces(data, title):
        atoms = slice(data.offsets[rows.start], data.offsets[rows.stop])
        found = made.create([_inside(system) for system in some])
        table[atoms] = np.concatenate(found) if isinstance(found, list) else found.reshape(-1, table.shape[1])
    lengths = np.linalg.norm(table, axis=1, keepdims=True)
    table /= np.where(lengths > 0, lengths, 1.0)
    return table


def _soap_of(data: Dataset) -> Any:
    from dscribe.descriptors import SOAP

    for mode in ("off", "mu1nu1", "mu2"):
        made = SOAP(
            species=[symbol(number) for number in data.elements],
            r_cut=CUTOFF,
            n_max=RADIAL,
            l_max=ANGULAR,
            sigma=0.4,
            periodic=bool(data.pbc.any()),
            compression={"mode": mode, "species_weighting": None},
            dtype="float32",
        )
        if made.get_number_of_features() <= _MOST:
            break
    return made


def _inside(system: AtomicSystem) -> Any:
    """A structure for dscribe, which misses images of atoms that lie outside of the cell."""
    atoms = system.to_ase()
    if atoms.pbc.any():
        atoms.wrap()
    return atoms


def _atoms_of(data: Dataset, structures: np.ndarray) -> np.ndarray:
    taken = np.zeros(len(data), dtype=bool)
    taken[structures] = True
    return np.repeat(taken, data.n_atoms)


def _standardised(table: np.ndarray, training: np.ndarray) -> np.ndarray:
    """Each column with mean 0 and deviation 1 over the training rows; those that hardly vary keep a smaller one.

    Divided by next to nothing, a function that training hardly excites would throw a test atom far off: with 400 frames
    of ethanol, single errors of 57 kcal/mol.
    """
    mean = table[training].mean(axis=0, dtype=np.float64)
    deviation = table[training].std(axis=0, dtype=np.float64)
    varying = deviation[deviation > 0]
    least = _LEAST * np.median(varying) if len(varying) else 1.0
    table -= mean.astype(np.float32)
    table /= np.maximum(deviation, least).astype(np.float32)
    return table
