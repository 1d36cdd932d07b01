"""Train every recipe of this folder on archives that you have, and print the table of the README.

    python experiments/run.py --data DATA --out runs [RECIPE ...]

DATA holds qm7.npz, qm9.npz, ethanol.npz, mlearn.npz, materials_project.npz and water_dipole_polarizability.npz.
Finished runs are not repeated, interrupted ones go on; a recipe takes up to 15 minutes on one core, the large one 25.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import yaml

from atomlens.data.quantities import quantity
from atomlens.data.units import from_internal

HERE = Path(__file__).parent
# Recipe: the archive that it trains on.
DATA = {
    "md17_ethanol": "ethanol.npz",
    "qm7_dtnn": "qm7.npz",
    "qm7_schnet": "qm7.npz",
    "qm7_wacsf": "qm7.npz",
    "qm9_u0": "qm9.npz",
    "qm9_u0_dtnn": "qm9.npz",
    "qm9_u0_bp": "qm9.npz",
    "qm9_homo": "qm9.npz",
    "qm9_mu_schnet": "qm9.npz",
    "qm9_mu_dtnn": "qm9.npz",
    "qm9_mu_bp": "qm9.npz",
    "water": "water_dipole_polarizability.npz",
    "mlearn_silicon": "mlearn.npz",
    "mlearn_molybdenum": "mlearn.npz",
    "materials_project": "materials_project.npz",
    "materials_project_large": "materials_project.npz",
}


def stored(name, out):
    """Where the store of a named data set goes: beside the runs, one for all recipes that share it."""
    store = yaml.safe_load((HERE / f"{name}.yaml").read_text())["data"].get("store")
    return [] if store is None else ["--set", f"data.store={out / store}"]


def trained(name, data, out):
    """What test.json of the recipe's run says; it is trained first where it was not."""
    folder = out / name
    if not (folder / "test.json").is_file():
        words = [sys.executable, "-m", "atomlens", "train"]
        if (folder / "run.yaml").is_file():
            words += ["--resume", "--out", folder]
        else:
            words += [HERE / f"{name}.yaml", "--data", data / DATA[name], *stored(name, out), "--out", folder]
        subprocess.run(list(map(str, words)), check=True)
    return json.loads((folder / "test.json").read_text())


def rows(name, report):
    """Lines of the table: MAE, RMSE and the mean predictor's MAE in the field's units."""
    for label, found in report["test"].items():
        kind = quantity(label)
        unit = kind.shown or kind.unit
        numbers = [found["mae"], found["rmse"], found["mean_predictor_mae"]]
        shown = " | ".join(f"{from_internal(value, unit):.3g}" for value in numbers)
        time = f"{report['seconds'] / 60:.1f} min, {report['steps']:,} steps"
        yield f"| `{name}.yaml` | {label.replace('_', ' ')}, {unit} | {found['count']:,} | {shown} | {time} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", help="all, if none is named", metavar="RECIPE")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    unknown = set(asked.recipes) - set(DATA)
    if unknown:
        parser.error(f"no recipe {', '.join(sorted(unknown))}; there are {', '.join(DATA)}")
    asked.out.mkdir(parents=True, exist_ok=True)
    reports = {name: trained(name, asked.data, asked.out) for name in asked.recipes or DATA}
    columns = ("recipe", "quantity", "test structures", "MAE", "RMSE", "mean predictor", "training")
    print(f"| {' | '.join(columns)} |", "|---" * len(columns) + "|", sep="\n")
    for name, report in reports.items():
        print(*rows(name, report), sep="\n")


if __name__ == "__main__":
    main()
