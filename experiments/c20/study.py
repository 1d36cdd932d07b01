"""The study of the fullerene C20 (thesis 5.3, figures 5.4 to 5.6, table 5.6), by one command.

    python experiments/c20/study.py --data FOLDER --out OUT

FOLDER holds schnet_force_model.npz and c20_geometry.npz; --model takes another force model (published weights as .npz,
or a model.safetensors) for everything but the training. In this order: the cage at rest with its bonds and symmetry,
its vibrations, classical dynamics and path-integral dynamics at 300 K beside each other, a selection of SchNets trained
on frames that the published model labelled, and the vibrations of the best of them beside the published model's.

What is finished is not repeated, what was interrupted goes on. On two cores the dynamics take half an hour and the
training an hour; --picoseconds 1250 is the document's length (hours), --no-training leaves the selection out.
"""

import argparse
import json
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
from ase.io import write
from frames import cage
from model_selection import RELAXED, model_file, selection, table, table_of_bonds

from atomlens.convert import convert_published
from atomlens.errors import Interrupted
from atomlens.figures import save_figure
from atomlens.figures.vibrations import frequencies_compared
from atomlens.files import write_json, write_text
from atomlens.model_file import load_model
from atomlens.simulate.guard import GuardConfig
from atomlens.simulate.molecular_dynamics import MolecularDynamicsConfig
from atomlens.simulate.path_integrals import PathIntegralConfig
from atomlens.simulate.relaxation import RelaxationConfig
from atomlens.simulate.settings import SETTINGS
from atomlens.simulate.vibrations.spectrum import compared
from atomlens.study.simulation import compare_runs, relax_file, run_file, vibrations_file
from atomlens.study.simulation.subject import read_simulated
from atomlens.study.simulation.vibrating import VibrationsConfig

TEMPERATURE, BEADS = 300.0, 8  # thesis 5.3
TIMESTEP = 0.5  # fs; eight beads move at up to 3,600 cm⁻¹, a period of 9 fs
EQUILIBRATION = 5.0  # ps


def force_model(path, precision):
    """A model from published weights or a model file."""
    if path.suffix == ".npz":
        return convert_published(path, precision=precision)
    return load_model(path)


def once(folder, make, **expected):
    """The summary of a step: from its folder where it is finished, with these ``expected`` settings."""
    done = folder / "summary.json"
    found = json.loads(done.read_text()) if done.is_file() else None
    if found is None or any(found["settings"][name] != value for name, value in expected.items()):
        print(f"-> {folder.name}", flush=True)
        make()
    return json.loads(done.read_text())


def same_model(path, out):
    """End where ``out`` holds results of another model: they would be taken for those of this one."""
    note, digest = out / "model.sha256", sha256(path.read_bytes()).hexdigest()
    if note.is_file() and note.read_text() != digest:
        sys.exit(f"{out} holds results of another model than {path}; choose another --out")
    write_text(note, digest)


def at_rest(model, out, name, start):
    """Relax with a model and find its vibrations; float64, for the document's force is at the rounding of float32."""
    folder = out / f"{name}_relaxed"
    once(
        folder,
        lambda: relax_file(
            read_simulated(model, name, start, precision="float64"), folder, RelaxationConfig(force=RELAXED)
        ),
    )
    modes = out / f"{name}_vibrations"
    relaxed = folder / "relaxed.extxyz"
    summary = once(
        modes,
        lambda: vibrations_file(
            read_simulated(model, name, relaxed, precision="float64"), modes, VibrationsConfig(relax=False)
        ),
    )
    return relaxed, np.array(summary["vibrations"][0]["frequencies"])


def dynamics(model, out, start, picoseconds):
    """Classical and path-integral dynamics from the cage at rest, and both over each other (figure 5.6)."""
    shared = {"temperature": TEMPERATURE, "timestep": TIMESTEP, "equilibration": EQUILIBRATION, "record_interval": 10.0}
    runs = {
        "classical": MolecularDynamicsConfig(ensemble="langevin", duration=picoseconds, **shared),
        "path_integral": PathIntegralConfig(beads=BEADS, duration=picoseconds, **shared),
    }
    for name, config in runs.items():
        folder = out / name
        once(
            folder,
            lambda folder=folder, config=config: run_file(
                read_simulated(model, "published", start, precision="float32"),
                folder,
                config,
                guard=GuardConfig(),
                resume=(folder / SETTINGS).is_file(),
            ),
            duration=picoseconds,  # runs that are over go on for longer
        )
    both = out / f"figure_5_6_{picoseconds:g}ps"
    return once(both, lambda: compare_runs(out / "classical", out / "path_integral", both))


def beside(published, own, folder):
    """Our model's frequencies beside the published one's (figure 5.5), as numbers and as a figure."""
    found = compared(published, own)
    save_figure(frequencies_compared(published, own, ("published", "ours")), folder, "figure_5_5")
    return {
        "published_cm-1": published.tolist(),
        "ours_cm-1": own.tolist(),
        "largest_relative": found.largest,
        "largest_at_cm-1": float(published[found.worst]),
        "mean_cm-1": found.mean,
    }


def told(out, compared_runs, frequencies):
    """What the study found, in a few lines."""
    rest = json.loads((out / "published_relaxed" / "summary.json").read_text())
    for panel in rest["panels"]:
        if panel["structure"] is not None:
            print(panel["reading"])
    print(f"{len(frequencies)} vibrations: {', '.join(f'{value:.0f}' for value in frequencies)} cm⁻¹")
    for panel in compared_runs["panels"]:
        if panel["analysis"] == "structure":
            print(panel["reading"])
    for name in ("classical", "path_integral"):
        run = json.loads((out / name / "summary.json").read_text())
        print(f"{name}: {run['headline']}; {run['steps_per_second']:.0f} steps/s, {run['ns_per_day']:.2f} ns/day")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", type=Path, help="force model (schnet_force_model.npz of --data)")
    parser.add_argument("--picoseconds", type=float, default=100.0, help="of either dynamics (100)")
    parser.add_argument("--no-training", action="store_true", help="leave the selection of models out")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    published = asked.model or asked.data / "schnet_force_model.npz"
    same_model(published, asked.out)
    start = asked.out / "cage.xyz"
    write(start, cage(asked.data))
    rest, frequencies = at_rest(force_model(published, "float64"), asked.out, "published", start)
    runs = dynamics(force_model(published, "float32"), asked.out, rest, asked.picoseconds)
    told(asked.out, runs, frequencies)
    study = {"frequencies_cm-1": frequencies.tolist()}
    if not asked.no_training:
        training = asked.out / "model_selection"
        results = selection(asked.data, training)
        kinds = json.loads((training / "model_selection.json").read_text())["published_bonds"]
        print(*table(results), "", *table_of_bonds(results, kinds), sep="\n")
        _, own = at_rest(load_model(model_file(training)), asked.out, "ours", start)
        study["figure_5_5"] = beside(frequencies, own, asked.out)
        print(
            f"our model's frequencies are off by {study['figure_5_5']['mean_cm-1']:.1f} cm⁻¹ on average, "
            f"by {100 * study['figure_5_5']['largest_relative']:.1f} % at most"
        )
    write_json(asked.out / "study.json", study)


if __name__ == "__main__":
    try:
        main()
    except Interrupted:
        sys.exit("interrupted: the same command goes on")
