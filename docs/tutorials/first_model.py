"""From labelled structures to a model in an ASE script, step by step. Run it: python docs/tutorials/first_model.py"""

from pathlib import Path
from tempfile import mkdtemp

import numpy as np
from ase.build import molecule
from ase.optimize import BFGS

import atomlens
from atomlens.data.splits import random_split
from atomlens.data.writers import write_dataset
from atomlens.explain import atom_contributions
from atomlens.reference.xtb import label
from atomlens.testing import check_model
from atomlens.training import RunConfig

folder = Path(mkdtemp(prefix="atomlens-"))

# 1. Structures and labels. Here: distorted water molecules, labelled by GFN2-xTB.
rng = np.random.default_rng(0)
water = molecule("H2O")
frames = [water.copy() for _ in range(220)]
for frame in frames:
    frame.positions += rng.normal(scale=0.08, size=(3, 3))
data = label(frames)
write_dataset(data, folder / "water.xyz")  # states its units, so nothing needs to be said when it is read again
data = atomlens.read_dataset(folder / "water.xyz")
print(f"{len(data)} structures with {', '.join(data.labels)}; in eV and Å")

# 2. A split that is written down, and a training that could be interrupted and resumed.
split = random_split(data, train=160, validation=20, test=40, seed=0)
run = RunConfig.parse(
    {
        "data": {"path": str(folder / "water.xyz")},
        "model": {"representation": {"name": "schnet", "features": 32}},
        "training": {"epochs": 80, "batch_size": 16},
    }
)
result = atomlens.train(run, data, split, folder / "run")

# 3. A test on structures that it never saw, beside the mean predictor.
evaluation = atomlens.evaluate(result.model, data.subset(split.test))
for name, errors in evaluation.errors.items():
    mae, _ = errors.in_kcal()
    print(f"{name}: MAE {mae:.3f} kcal/mol{'/Å' if name == 'forces' else ''}, {errors.gain:.0f} times below the mean")

# 4. The physics that every model must have, measured.
check_model(result.model)

# 5. Any ASE script runs on it.
model = atomlens.load(folder / "run" / "model.safetensors")
water.calc = atomlens.Calculator(model)
BFGS(water, logfile=None).run(fmax=0.01)
print(f"relaxed O-H: {water.get_distance(0, 1):.3f} Å, H-O-H: {water.get_angle(1, 0, 2):.1f}°")

# 6. What each atom adds to the energy.
for symbol, values in atom_contributions(model, [water]).per_element.items():
    print(f"{symbol}: {values.mean():.2f} eV relative to its offset")
