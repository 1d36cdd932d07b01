"""Import, check, split and train on every archive, each by its one run file, and print the table of the README.

    python experiments/data/run.py --data DATA --out runs [SET ...]

DATA holds the archives that the run files name under data.path. Finished runs are not repeated, interrupted ones go on.
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
SETS = sorted(path.stem for path in HERE.glob("*.yaml"))


def trained(name, data, out):
    """The folder of a finished run."""
    folder, recipe = out / name, HERE / f"{name}.yaml"
    if not (folder / "test.json").is_file():
        source = yaml.safe_load(recipe.read_text())["data"]
        words = ["train", recipe, "--data", data / source["path"], "--set", f"data.store={out / source['store']}"]
        if (folder / "run.yaml").is_file():
            words = ["train", "--resume"]
        subprocess.run(list(map(str, [sys.executable, "-m", "atomlens", *words, "--out", folder])), check=True)
    return folder


def row(name, folder):
    """What was found, how it was split, and what came out."""
    report = json.loads((folder / "test.json").read_text())
    checked = json.loads((folder / "check.json").read_text())
    counts = {status: checked["counts"][status] for status in ("fault", "warning", "note") if checked["counts"][status]}
    found = ", ".join(f"{count} {status}{'s' if count > 1 else ''}" for status, count in counts.items()) or "nothing"
    split = json.loads((folder / "split.json").read_text())
    errors = []
    for label, values in report["test"].items():
        kind = quantity(label)
        unit = kind.shown or kind.unit
        mae, mean = (f"{from_internal(values[key], unit):.3g}" for key in ("mae", "mean_predictor_mae"))
        errors.append(f"{label.replace('_', ' ')} {mae} {unit} (mean predictor {mean})")
    method = yaml.safe_load((HERE / f"{name}.yaml").read_text())["split"].get("method", "random")
    sizes = " / ".join(f"{len(split[part]):,}" for part in ("train", "validation", "test"))
    return f"| `{name}` | {checked['structures']:,} | {found} | {method}: {sizes} | {'; '.join(errors)} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", help="all, if none is named", metavar="SET")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    unknown = set(asked.sets) - set(SETS)
    if unknown:
        parser.error(f"no set {', '.join(sorted(unknown))}; there are {', '.join(SETS)}")
    folders = {name: trained(name, asked.data, asked.out) for name in asked.sets or SETS}
    print(
        "| set | structures | checks found | split: train / validation / test | test MAE |", "|---" * 5 + "|", sep="\n"
    )
    for name, folder in folders.items():
        print(row(name, folder))


if __name__ == "__main__":
    main()
