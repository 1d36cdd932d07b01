"""Writes dscribe_symmetry_functions.json; run it in an environment with dscribe 2.1.2.

dscribe's conventions, which the test converts. Per neighbour element in the order of atomic numbers G1 = Σ_j fc(d_ij),
then G2 per (η, R_s). Per unordered pair of elements, the larger one running slower, G4 per (η, ζ, λ), over j < k.
"""

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk, molecule
from dscribe.descriptors import ACSF

G2 = [[0.05, 0.0], [1.0, 0.0], [2.0, 1.5], [4.0, 2.5]]
G4 = [[eta, zeta, sign] for eta in (0.01, 0.2) for zeta in (1, 2, 4) for sign in (-1, 1)]


def rattled(atoms: Atoms) -> Atoms:
    """The structure with its symmetry broken, in numbers that are written out fully."""
    atoms.positions = np.round(atoms.positions + np.random.default_rng(5).normal(0.0, 0.06, atoms.positions.shape), 6)
    return atoms


def structures() -> dict[str, tuple[Atoms, float]]:
    """Structures and cutoffs in Å, each cutoff longer than some d_jk and shorter than others."""
    return {
        "ethanol": (rattled(molecule("CH3CH2OH")), 3.5),
        "nitromethane": (rattled(molecule("CH3NO2")), 6.0),
        "rock salt": (rattled(bulk("NaCl", "rocksalt", a=5.64)), 5.0),
        "silicon carbide": (rattled(bulk("SiC", "zincblende", a=4.36, cubic=True)), 4.0),
    }


def described(atoms: Atoms, cutoff: float) -> dict:
    """What a test needs to build the structure again, and dscribe's numbers."""
    species = sorted({int(number) for number in atoms.numbers})
    acsf = ACSF(r_cut=cutoff, g2_params=G2, g4_params=G4, species=species, periodic=bool(atoms.pbc.any()))
    return {
        "numbers": atoms.numbers.tolist(),
        "positions": atoms.positions.tolist(),
        "cell": atoms.cell.array.tolist(),
        "periodic": bool(atoms.pbc.any()),
        "cutoff": cutoff,
        "values": [[float(f"{value:.12g}") for value in row] for row in acsf.create(atoms)],
    }


if __name__ == "__main__":
    found = {
        "program": f"dscribe {version('dscribe')}, ACSF",
        "script": Path(__file__).name,
        "versions": {name: version(name) for name in ("ase", "numpy")},
        "g2": G2,
        "g4": G4,
        "structures": {name: described(*entry) for name, entry in structures().items()},
    }
    Path(__file__).with_name("dscribe_symmetry_functions.json").write_text(json.dumps(found) + "\n")
