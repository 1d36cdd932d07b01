"""Label frames of C20 with the published force model, as the document labelled its frames by density functional theory.

    python experiments/c20/frames.py --data FOLDER --out OUT

FOLDER holds schnet_force_model.npz and c20_geometry.npz. As in the document (thesis 5.3): classical dynamics at 500 K,
29,689 steps of 1 fs, every step a frame; here Langevin's, after 2 ps of equilibration. OUT gets frames.npz, which
``atomlens train`` reads, and split.json: frames of one trajectory resemble their neighbours in time, so the test is on
the last fifth, which no model has seen and whose beginning is left out.
"""

import argparse
from pathlib import Path

import ase
import numpy as np
from ase import units
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import Stationary, ZeroRotation

from atomlens import Calculator
from atomlens.convert import convert_published
from atomlens.data.dataset import Dataset
from atomlens.data.readers import parse_label, read_dataset
from atomlens.data.splits import Split
from atomlens.files import replacing
from atomlens.progress import track

STEPS = 29_689
TEMPERATURE = 500.0  # K
TIMESTEP = 1.0  # fs
FRICTION = 0.01  # 1/fs
EQUILIBRATION = 2_000  # steps
TRAIN, VALIDATION = 20_000, 1_000
GAP = 500  # frames between what is learned from and what is tested on, longer than any vibration lasts
LABELS = ("energy=energy:eV", "forces=forces:eV/Ang")


def cage(data):
    """The fullerene of the published models, ASE's Atoms."""
    arrays = np.load(data / "c20_geometry.npz")
    return ase.Atoms(arrays["numbers"], arrays["positions"])


def teacher(data):
    """The published force model, in float64: labels should not carry rounding that a student would learn."""
    return convert_published(data / "schnet_force_model.npz", precision="float64")


def sample(model, atoms, steps, equilibration=EQUILIBRATION, seed=0):
    """Positions (steps, atoms, 3) in Å, energies (steps,) in eV and forces in eV/Å along Langevin dynamics."""
    rng = np.random.RandomState(seed)  # what ASE draws from
    atoms = atoms.copy()
    atoms.calc = Calculator(model)
    spread = np.sqrt(atoms.get_masses() * units.kB * TEMPERATURE)  # Maxwell-Boltzmann, per component
    atoms.set_momenta(spread[:, None] * rng.standard_normal((len(atoms), 3)))
    Stationary(atoms)
    ZeroRotation(atoms)
    # Free to drift and turn: ASE's way of holding the centre of mass does not quite sample the canonical distribution.
    engine = Langevin(
        atoms, TIMESTEP * units.fs, temperature_K=TEMPERATURE, friction=FRICTION / units.fs, rng=rng, fixcm=False
    )
    found = {"positions": [], "energy": [], "forces": [], "temperature": []}
    with track("C20 at 500 K", equilibration + steps, "steps") as bar:
        for step in range(equilibration + steps):
            engine.run(1)
            bar.advance()
            if step < equilibration:
                continue
            found["positions"].append(atoms.get_positions())
            found["energy"].append(atoms.get_potential_energy())
            found["forces"].append(atoms.get_forces())
            found["temperature"].append(atoms.get_temperature())
    return {"numbers": atoms.numbers, **{name: np.array(values) for name, values in found.items()}}


def blocks(data, train, validation, gap, seed=0):
    """A split in time: the last fifth tests, after a gap; training and validation frames are drawn from the rest.

    Frames of the first four fifths that are not drawn stay unused: they lie between training frames, and what a model
    makes of them is what a random split would have tested.
    """
    edge = len(data) * 4 // 5
    order = np.random.default_rng(seed).permutation(edge)
    return Split(
        train=np.sort(order[:train]),
        validation=np.sort(order[train : train + validation]),
        test=np.arange(edge + gap, len(data)),
        data_hash=data.structure_hash,
        method=f"the last fifth in time tests, {gap} frames later; the others at random from the rest, seed {seed}",
    )


def between(split, gap):
    """Frames from between those that a model learned from, of all that ``blocks`` left unused."""
    edge = int(split.test[0]) - gap
    return np.setdiff1d(np.arange(edge), np.concatenate([split.train, split.validation]))


def read(path):
    """The labelled frames of an archive."""
    return read_dataset(path, dict(map(parse_label, LABELS)))


def frames(data, out, steps=STEPS, train=TRAIN, validation=VALIDATION, gap=GAP):
    """Path of the archive of labelled frames, made with its split if it is not there."""
    archive, split = out / "frames.npz", out / "split.json"
    out.mkdir(parents=True, exist_ok=True)
    if not archive.is_file():
        found = sample(teacher(data), cage(data), steps)
        with replacing(archive) as beside:
            np.savez(beside, **found)
    if not split.is_file():
        labelled: Dataset = read(archive)
        blocks(labelled, train, validation, gap).save(split)
    return archive


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    print(frames(asked.data, asked.out))


if __name__ == "__main__":
    main()
