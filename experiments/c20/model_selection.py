"""Train the document's selection of models of C20 (thesis, table 5.6) and print the table with ours beside it.

    python experiments/c20/model_selection.py --data FOLDER --out OUT

FOLDER holds schnet_force_model.npz and c20_geometry.npz. Frames are labelled first (frames.py, two minutes); then
seven models train one after another, about an hour on one core. Finished trainings are not repeated, interrupted ones
go on. OUT gets a folder per model and model_selection.json.
"""

import argparse
import json
import subprocess
import sys
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from ase.neighborlist import neighbor_list
from frames import GAP, between, cage, frames, read, teacher

from atomlens.data.splits import Split
from atomlens.data.units import KCAL_PER_MOL
from atomlens.evaluation import evaluate
from atomlens.files import write_json
from atomlens.model_file import load_model
from atomlens.simulate.relaxation import RelaxationConfig, relax

HERE = Path(__file__).parent
RELAXED = 1e-4 * KCAL_PER_MOL  # eV/Å, the largest force that the document leaves
KINDS = (1.43, 1.48, 1.8)  # Å, where the three lengths of bonds end


@dataclass(frozen=True)
class Setting:
    """A row of table 5.6, with the document's mean absolute errors in kcal/mol and kcal/mol/Å."""

    interactions: int
    features: int
    rho: float  # weight of energies beside that of forces, 1 (thesis eq. 5.7)
    energy: float
    forces: float

    @property
    def name(self):
        return f"t{self.interactions}_f{self.features}_rho{self.rho}"


# In the order of training: the others of the first half are compared with the first, the second drives the dynamics.
SETTINGS = (
    Setting(6, 128, 0.01, 0.1002, 0.120),
    Setting(6, 128, 0.0, 0.260, 0.058),
    Setting(6, 128, 0.1, 0.027, 0.171),
    Setting(6, 128, 0.001, 0.238, 0.061),
    Setting(6, 64, 0.01, 0.202, 0.217),
    Setting(3, 128, 0.01, 0.188, 0.197),
    Setting(3, 64, 0.01, 0.228, 0.401),
)
FIRST_HALF = ("t3_f64_rho0.01", "t6_f64_rho0.01", "t3_f128_rho0.01", "t6_f128_rho0.01")
SECOND_HALF = ("t6_f128_rho0.1", "t6_f128_rho0.01", "t6_f128_rho0.001", "t6_f128_rho0.0")
BEST_FORCES = "t6_f128_rho0.0"


def trained(setting, archive, out, extra=()):
    """The folder of a finished training; ``extra`` are more words for ``atomlens train``."""
    folder = (out / setting.name).resolve()
    if not (folder / "test.json").is_file():
        words = [sys.executable, "-m", "atomlens", "train", "--out", folder]
        if (folder / "run.yaml").is_file():
            words += ["--resume"]
        else:
            words += [
                HERE / "c20.yaml",
                "--data",
                archive.resolve(),
                "--split",
                archive.resolve().with_name("split.json"),
            ]
            words += ["--interactions", setting.interactions, "--features", setting.features]
            words += ["--set", f"training.loss.energy={setting.rho}", *extra]
        subprocess.run(list(map(str, words)), check=True)
    return folder


def bonds(atoms):
    """Lengths of all bonds of a cage in Å, sorted."""
    first, second, lengths = neighbor_list("ijd", atoms, KINDS[-1])
    return np.sort(lengths[first < second])


def relaxed(model, atoms):
    """The cage relaxed to the document's force, in float64: rounding of float32 is as large as that force."""
    exact = deepcopy(model).set_precision(torch.float64)
    found = relax(exact, [atoms], RelaxationConfig(force=RELAXED))[0]
    return found.atoms, found.converged


def kinds_of_bonds(lengths):
    """Mean length in Å and number of bonds of each of the three kinds; None for a kind that there is not."""
    place = np.searchsorted(KINDS, lengths)
    chosen = [lengths[place == kind] for kind in range(len(KINDS))]
    return [{"mean": float(some.mean()) if len(some) else None, "count": len(some)} for some in chosen]


def judged(folder, archive, atoms, target):
    """Errors in internal units on frames later in time and between those learned from, and the relaxed cage.

    ``target`` are the sorted lengths of bonds of the cage relaxed with the model that labelled the frames.
    """
    kept = folder / "judged.json"
    if kept.is_file():
        return json.loads(kept.read_text())
    report = json.loads((folder / "test.json").read_text())
    data = read(archive)
    near = data.subset(between(Split.load(folder / "split.json", data), GAP))
    model = load_model(folder / "model.safetensors")
    end, converged = relaxed(model, atoms)
    lengths = bonds(end)
    same = len(lengths) == len(target)
    found = {
        "later": report["test"],
        "between": {name: asdict(errors) for name, errors in evaluate(model, near, title="between").errors.items()},
        "bonds": kinds_of_bonds(lengths),
        "largest_bond_error": float(np.abs(lengths - target).max()) if same else None,
        "relaxed": bool(converged),
        "steps": report["steps"],
        "seconds": report["seconds"],
        "best_epoch": report["best_epoch"],
    }
    write_json(kept, found)
    return found


def selection(data, out, extra=()):
    """Everything that table 5.6 needs, by name of the setting; all that is missing is made."""
    archive = frames(data, out)
    atoms = cage(data)
    target = bonds(relaxed(teacher(data), atoms)[0])
    results = {
        setting.name: judged(trained(setting, archive, out, extra), archive, atoms, target) for setting in SETTINGS
    }
    write_json(out / "model_selection.json", {"published_bonds": kinds_of_bonds(target), "models": results})
    return results


def model_file(out, name=BEST_FORCES):
    """The model for dynamics: that of the best forces."""
    return out / name / "model.safetensors"


def table(results):
    """Lines of table 5.6 in Markdown, document | ours."""
    header = ("T", "F", "ρ", "energy: document", "ours, later", "ours, between")
    header += ("forces: document", "ours, later", "ours, between", "time")
    yield f"| {' | '.join(header)} |"
    yield "|---" * len(header) + "|"
    settings = {setting.name: setting for setting in SETTINGS}
    for name in (*FIRST_HALF, *SECOND_HALF):
        setting, found = settings[name], results[name]
        cells = [setting.interactions, setting.features, f"{setting.rho:g}"]
        for kind in ("energy", "forces"):
            ours = [f"{found[part][kind]['mae'] / KCAL_PER_MOL:.3f}" for part in ("later", "between")]
            cells += [f"{getattr(setting, kind):.3f}", *ours]
        cells.append(f"{found['seconds'] / 60:.0f} min")
        yield f"| {' | '.join(map(str, cells))} |"


def table_of_bonds(results, published):
    """Lines on the relaxed cages in Markdown, three kinds of bonds with their numbers."""
    yield "| model | bonds, Å | largest difference from the published model's, Å |"
    yield "|---|---|---|"
    rows = {"published": (published, 0.0)}
    rows |= {name: (found["bonds"], found["largest_bond_error"]) for name, found in results.items()}
    for name, (kinds, error) in rows.items():
        shown = ", ".join(f"{kind['mean']:.3f} ({kind['count']})" for kind in kinds if kind["count"])
        yield f"| {name} | {shown} | {'other bonds' if error is None else f'{error:.4f}'} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    results = selection(asked.data, asked.out)
    published = json.loads((asked.out / "model_selection.json").read_text())["published_bonds"]
    print("Mean absolute errors, kcal/mol and kcal/mol/Å", *table(results), "", sep="\n")
    print(*table_of_bonds(results, published), sep="\n")


if __name__ == "__main__":
    main()
