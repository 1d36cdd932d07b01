"""Draw the documents' figures of explanations again, on models trained here.

    python experiments/explanations.py --data DATA --out runs [STUDY ...]

DATA holds qm9.npz, qm9_mp2_dipoles_charges.npz and materials_project.npz. Trains each recipe on two splits (about 15
minutes a run on one core; finished runs are kept, interrupted ones go on), then writes one page per study:

    molecules   twelve models of QM9 on ten molecules, with 2,000 that no model trained on behind the statistics
    charges     the six dipole models on 2,000 molecules with dipole vectors and Löwdin charges from RI-MP2
    crystals    two models of the Materials Project on diamond, graphite and rock salt
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from ase.build import bulk
from ase.io import write
from ase.lattice.hexagonal import Graphite
from run import stored

from atomlens.data.writers import write_dataset
from atomlens.study.data import open_data
from atomlens.training import RunConfig

HERE = Path(__file__).parent
SEEDS = (0, 1)
ENERGIES = ("qm9_u0", "qm9_u0_dtnn", "qm9_u0_bp")
DIPOLES = ("qm9_mu_schnet", "qm9_mu_dtnn", "qm9_mu_bp")
LABELS = ("--label", "energy=U0:Ha", "--label", "dipole_magnitude=mu:D")
# Molecules of the documents' figures by their number in GDB-9.
MOLECULES = {
    "methane": 1, "propane": 13, "ethanol": 14, "benzene": 214, "pyridine": 215, "pyrazine": 216, "s-triazine": 218,
    "toluene": 930, "phenol": 949, "phloroglucinol": 27916,
}  # fmt: skip
HELD_OUT = 2_000


def command(*words):
    subprocess.run([sys.executable, "-m", "atomlens", *map(str, words)], check=True)


def trained(recipe, seed, archive, out):
    """The folder of a finished run of a recipe on one split."""
    folder = out / f"{recipe}_s{seed}"
    if not (folder / "test.json").is_file():
        if (folder / "run.yaml").is_file():
            command("train", "--resume", "--out", folder)
        else:
            seeds = ("--set", f"split.seed={seed}", "--set", f"training.seed={seed}")
            command("train", HERE / f"{recipe}.yaml", "--data", archive, *stored(recipe, out), "--out", folder, *seeds)
    return folder


def never_trained_on(runs, total):
    """Places of structures that no run used for training or validation."""
    free = np.ones(total, dtype=bool)
    for folder in runs:
        split = json.loads((folder / "split.json").read_text())
        free[split["train"]] = free[split["validation"]] = False
    return np.flatnonzero(free)


def subset(arrays, chosen):
    """The structures ``chosen`` of an archive in the flat layout."""
    offsets = np.concatenate([[0], np.cumsum(arrays["n_atoms"])])
    rows, atoms = np.concatenate([np.arange(offsets[k], offsets[k + 1]) for k in chosen]), offsets[-1]
    return {name: value[rows if len(value) == atoms else chosen] for name, value in arrays.items()}


def save(path, arrays):
    np.savez(path, **arrays)
    return path


def molecules(data, out):
    archive = data / "qm9.npz"
    runs = [trained(recipe, seed, archive, out) for recipe in ENERGIES + DIPOLES for seed in SEEDS]
    arrays = dict(np.load(archive))
    chosen = np.flatnonzero(np.isin(arrays["gdb_index"], list(MOLECULES.values())))
    free = np.random.default_rng(0).permutation(never_trained_on(runs, len(arrays["n_atoms"])))[:HELD_OUT]
    shown = save(out / "ten_molecules.npz", subset(arrays, chosen))
    held_out = save(out / "held_out.npz", subset(arrays, np.sort(free)))
    command("explain", *runs, shown, "--dataset", held_out, *LABELS, "--out", out / "explained_molecules")


def charges(data, out):
    runs = [trained(recipe, seed, data / "qm9.npz", out) for recipe in DIPOLES for seed in SEEDS]
    arrays = dict(np.load(data / "qm9_mp2_dipoles_charges.npz"))
    chosen = np.sort(np.random.default_rng(0).permutation(len(arrays["n_atoms"]))[:HELD_OUT])
    archive = save(out / "mp2.npz", subset(arrays, chosen))
    labels = ("--label", "dipole=dipole:e*bohr", "--label", "charges=loewdin_charges:e")
    words = ("--analysis", "charges", "--analysis", "electrostatics", "--out", out / "explained_charges")
    command("explain", *runs, archive, *labels, *words)


def crystals(data, out):
    archive = data / "materials_project.npz"
    runs = [trained("materials_project_large", seed, archive, out) for seed in SEEDS]
    graphite = Graphite("C", latticeconstant={"a": 2.461, "c": 6.708})
    write(out / "crystals.xyz", [bulk("C"), graphite, bulk("NaCl", "rocksalt", a=5.64)], format="extxyz")
    known = open_data(RunConfig.read(runs[0] / "run.yaml").data)  # without rare elements, as the runs saw them
    free = np.random.default_rng(0).permutation(never_trained_on(runs, len(known)))[:HELD_OUT]
    held_out = out / "held_out_crystals.npz"
    write_dataset(known.subset(np.sort(free)), held_out)
    command("explain", *runs, out / "crystals.xyz", "--dataset", held_out, "--out", out / "explained_crystals")


STUDIES = {"molecules": molecules, "charges": charges, "crystals": crystals}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="*", help="all, if none is named", metavar="STUDY")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    unknown = set(asked.studies) - set(STUDIES)
    if unknown:
        parser.error(f"no study {', '.join(sorted(unknown))}; there are {', '.join(STUDIES)}")
    asked.out.mkdir(parents=True, exist_ok=True)
    for name in asked.studies or STUDIES:
        STUDIES[name](asked.data, asked.out)


if __name__ == "__main__":
    main()
