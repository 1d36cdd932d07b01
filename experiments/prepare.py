"""Make the archives that some recipes train on, from public ones.

python experiments/prepare.py silicon mlearn.npz si.npz
python experiments/prepare.py molybdenum mlearn.npz mo.npz
python experiments/prepare.py water water_dipole_polarizability.npz water.npz
python experiments/prepare.py crystals materials_project.npz crystals.npz
"""

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
from ase.units import GPa

RARE = 100  # crystals; elements in fewer of them are left out, for a training set of 3,000 may lack them


def rows_of(offsets, chosen):
    return np.concatenate([np.arange(offsets[k], offsets[k + 1]) for k in chosen])


def subset(arrays, chosen):
    """The structures ``chosen`` of an archive in the flat layout."""
    offsets = np.concatenate([[0], np.cumsum(arrays["n_atoms"])])
    rows, atoms = rows_of(offsets, chosen), offsets[-1]
    return {name: value[rows if len(value) == atoms else chosen] for name, value in arrays.items()}


def one_element(number):
    def made(arrays):
        """Crystals of one element, with stress as (1/V) dE/dstrain in eV/Å³."""
        starts = np.cumsum(arrays["n_atoms"]) - arrays["n_atoms"]
        kept = subset(arrays, np.flatnonzero(arrays["numbers"][starts] == number))
        xx, yy, zz, xy, yz, zx = kept.pop("virial_stress_kbar").T  # VASP's order, and the opposite sign
        stress = np.stack([[xx, xy, zx], [xy, yy, yz], [zx, yz, zz]]).transpose(2, 0, 1)
        return kept | {"stress": -0.1 * GPa * stress, "pbc": np.ones((len(stress), 3), dtype=bool)}

    return made


def water(arrays):
    """The Zundel cation, seven atoms, carries a charge of one."""
    return dict(arrays) | {"charge": (arrays["n_atoms"] == 7).astype(float)}


def crystals(arrays):
    """Crystals without the rarest elements."""
    offsets = np.concatenate([[0], np.cumsum(arrays["n_atoms"])])
    kinds = [np.unique(arrays["numbers"][a:b]) for a, b in pairwise(offsets)]
    numbers, times = np.unique(np.concatenate(kinds), return_counts=True)
    common = set(numbers[times >= RARE])
    kept = subset(arrays, np.flatnonzero([common.issuperset(found) for found in kinds]))
    return kept | {"pbc": np.ones((len(kept["n_atoms"]), 3), dtype=bool)}


MADE = {"silicon": one_element(14), "molybdenum": one_element(42), "water": water, "crystals": crystals}

if __name__ == "__main__":
    kind, source, out = sys.argv[1:]
    made = MADE[kind](dict(np.load(source, allow_pickle=False)))
    np.savez(Path(out), **made)
    print(f"{len(made['n_atoms'])} structures: {out}")
