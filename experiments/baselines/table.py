"""Simple baselines beside SchNet on QM7, rMD17 ethanol and the Materials Project, and the table of the README.

    python experiments/baselines/table.py --data DATA --out runs/baselines [SET ...]

DATA holds qm7.npz, rmd17/ethanol.npz (or ethanol.npz) and materials_project.npz. Finished networks and baselines are
not repeated. ``--train 500`` makes a small version of each, to see whether everything works.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from atomlens.data.quantities import quantity
from atomlens.data.units import from_internal

HERE = Path(__file__).parent
SETS = {"qm7": "qm7.npz", "rmd17_ethanol": "rmd17/ethanol.npz", "materials_project": "materials_project.npz"}


def called(*words):
    subprocess.run(list(map(str, [sys.executable, *words])), check=True)


def archive(name, asked):
    """The archive of a set, by its path in the folder of data or beside the others."""
    found = asked.data / SETS[name]
    return found if found.is_file() else asked.data / found.name


def compared(name, asked):
    """What baselines.json of a set says, after its network was trained; both go on where they were left."""
    recipe, data = HERE / f"{name}.yaml", archive(name, asked)
    settings = ["--set", f"split.train={asked.train}"] if asked.train else []
    settings += ["--set", f"training.max_minutes={asked.minutes}"] if asked.minutes else []
    network, out = asked.out / f"{name}_schnet", asked.out / name
    if not (network / "test.json").is_file():
        begun = (network / "run.yaml").is_file()
        called("-m", "atomlens", "train", *(["--resume"] if begun else [recipe, "--data", data, *settings]),
               "--out", network)  # fmt: skip
    called("-m", "atomlens", "baselines", recipe, "--data", data, *settings, "--model", network, "--out", out,
           *(["--resume"] if (out / "baselines.json").is_file() else []))  # fmt: skip
    return json.loads((out / "baselines.json").read_text())


def rows(found):
    """Lines of the table, the best first."""
    measured = [(label, row) for row in found["rows"] for label in row["errors"]]
    for label, row in sorted(measured, key=lambda pair: (pair[0], pair[1]["errors"][pair[0]]["mae"])):
        errors, seconds = row["errors"][label], row["seconds"]
        kind = quantity(label)
        unit = kind.shown or kind.unit
        mae, rmse = (f"{from_internal(errors[key], unit):.3g}" for key in ("mae", "rmse"))
        chosen = ", ".join(str(row["chosen"][key]) for key in ("kernel", "removed", "sigma") if key in row["chosen"])
        times = " + ".join(f"{seconds.get(step, 0):.0f}" for step in ("descriptor", "fit", "predict"))
        yield f"| {label.replace('_', ' ')}, {unit} | {row['name']} | {mae} | {rmse} | {chosen} | {times} |"
    for row in found["rows"]:
        if row["failure"]:
            yield f"| | {row['name']} | | | {row['failure']} | |"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", help=f"of {', '.join(SETS)}; all, if none is named", metavar="SET")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--train", type=int, help="structures to learn from, in place of the recipes' numbers")
    parser.add_argument("--minutes", type=float, help="of training a network, in place of the recipes' ten")
    asked = parser.parse_args()
    unknown = set(asked.sets) - set(SETS)
    if unknown:
        parser.error(f"no set {', '.join(sorted(unknown))}; there are {', '.join(SETS)}")
    asked.out.mkdir(parents=True, exist_ok=True)
    for name in asked.sets or SETS:
        found = compared(name, asked)
        sizes = found["split"]
        print(f"\n**{name}**: {sizes['train']:,} learned from, {sizes['validation']:,} to choose by, "
              f"{sizes['test']:,} judged on\n")  # fmt: skip
        print("| quantity | method | MAE | RMSE | kernel, removed first | seconds: descriptor + fit + test |")
        print("|---|---|---|---|---|---|", *rows(found), sep="\n")


if __name__ == "__main__":
    main()
