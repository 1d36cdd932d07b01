"""A made-up but realistic study of ethanol: arrays for every figure, and the summary of the page."""

import numpy as np
from ase.build import molecule

from atomlens import figures

ATOMS = molecule("CH3CH2OH")
SYMBOLS = list(ATOMS.symbols)
POSITIONS = ATOMS.positions
CONTRIBUTIONS = np.array([-0.42, 0.31, -0.83, 0.55, 0.12, 0.1, -0.06, -0.04, -0.05])  # eV


def rng():
    return np.random.default_rng(7)


def energies():
    reference = -309.6 + 0.19 * rng().normal(size=200)
    return reference, reference + 0.011 * np.random.default_rng(8).normal(size=200)


def forces():
    reference = 1.1 * rng().standard_t(6, size=(200, 9, 3))
    return reference, reference + 0.04 * np.random.default_rng(9).standard_t(4, size=reference.shape)


def history(epochs=100, forces=True):
    noise = np.exp(0.08 * rng().normal(size=(epochs, 4)))
    rows = []
    for epoch in range(epochs):
        level = np.exp(-epoch / 22.0) + 0.02
        row = {
            "epoch": epoch, "step": 32 * (epoch + 1), "seconds": 1.7 * (epoch + 1), "learning_rate": 1e-3 * level,
            "train_loss": 1.4 * level * noise[epoch, 0], "validation_loss": 1.6 * (level + 0.01) * noise[epoch, 1],
            "validation_energy_mae": 0.14 * (level + 0.03) * noise[epoch, 2],
        }  # fmt: skip
        if forces:
            row["validation_forces_mae"] = 0.9 * (level + 0.01) * noise[epoch, 3]
        rows.append(row)
    return rows


def element_contributions():
    generator = rng()
    return {
        symbol: np.concatenate(
            [
                CONTRIBUTIONS[index] + (0.02 + 0.05 * (symbol == "C")) * generator.normal(size=400)
                for index in np.nonzero(np.array(SYMBOLS) == symbol)[0]
            ]
        )
        for symbol in dict.fromkeys(SYMBOLS)
    }


def plane(points=91):
    """A smooth field that looks like a probe's: attractive shells, repulsive cores, masked near nuclei."""
    origin = POSITIONS[[0, 1, 2]].mean(axis=0)
    axis_x = POSITIONS[2] - POSITIONS[0]
    axis_x = axis_x / np.linalg.norm(axis_x)
    axis_y = POSITIONS[1] - origin
    axis_y = axis_y - (axis_y @ axis_x) * axis_x
    axis_y = axis_y / np.linalg.norm(axis_y)
    x, y = np.linspace(-4.0, 4.0, points), np.linspace(-3.4, 3.4, points - 10)
    grid = origin + x[None, :, None] * axis_x + y[:, None, None] * axis_y
    distances = np.linalg.norm(grid[:, :, None] - POSITIONS, axis=-1)
    depth = np.array([{"C": 0.8, "O": 1.5, "H": -0.5}[symbol] for symbol in SYMBOLS])
    values = (2.2 * np.exp(-4.0 * distances**2) - depth * np.exp(-((distances - 1.3) ** 2) / 0.3)).sum(axis=-1)
    values[distances.min(axis=-1) < 0.45] = np.nan
    atoms = figures.atoms_near_plane(SYMBOLS, POSITIONS, origin, axis_x, axis_y)
    return x, y, values, atoms


def run():
    times = np.arange(0.0, 1000.0, 2.0)
    potential = 0.012 * np.sin(times / 9.0) * np.cos(times / 47.0) + 0.004 * np.sin(times / 3.1)
    total = -34.4 + 1.2e-5 * np.sin(times / 3.1) + 8e-9 * times
    return times, total, potential - 34.43


def differences():
    steps = np.geomspace(1e-4, 0.1, 10)
    return steps, 0.7 * steps**2 + 2e-9 / steps * (1 + 0.2 * np.cos(np.arange(10)))


def draw_all():
    """Every figure of the study by the name it has in the report."""
    reference, predicted = energies()
    expected, found = forces()
    return {
        "parity_energy": figures.parity(reference, predicted, "energy", "eV", 0.0088, 0.011),
        "parity_forces": figures.parity(expected, found, "force component", "eV/Ang", 0.04, 0.056),
        "learning_curve": figures.learning_curve(history()),
        "atom_contributions": figures.atom_contributions(SYMBOLS, POSITIONS, CONTRIBUTIONS),
        "contribution_distributions": figures.contribution_distributions(element_contributions()),
        "potential_cut": figures.potential_cut(*plane(), "H", relative_to="the isolated probe"),
        "energy_drift": figures.energy_drift(*run()),
        "force_order": figures.finite_difference_order(*differences(), 2.0),
    }


def errors(mae, rmse, mean_mae, mean_rmse, unit):
    return {
        "unit": unit, "count": 200, "mae": mae, "rmse": rmse,
        "mean_predictor_mae": mean_mae, "mean_predictor_rmse": mean_rmse,
    }  # fmt: skip


def check(name, what, value, limit, unit, passed=True):
    return {"name": name, "what": what, "value": value, "limit": limit, "unit": unit, "passed": passed}


def summary():
    """A full summary, as `atomlens study ethanol` writes it."""
    return {
        "atomlens_version": "0.1.0",
        "created": "2026-11-20T12:00:00+00:00",
        "command": "atomlens study ethanol --out demo",
        "structure": {
            "name": "ethanol", "formula": "C2H6O", "source": "ASE's G2 collection", "symbols": SYMBOLS,
            "positions": POSITIONS.tolist(),
        },
        "reference": {
            "method": "GFN2-xTB", "program": "tblite 0.8.0", "temperature_K": 500, "timestep_fs": 0.5,
            "interval_fs": 20, "walkers": 8, "frames": 1300, "seed": 0, "correlation_time_fs": 12.3,
            "decorrelated": True, "reused": False, "data_hash": "9f2c41d07ab3e85516d0c4aa",
        },
        "split": {
            "method": "random, seed 0", "train": 1000, "validation": 100, "test": 200,
            "hash": "51b7e0f3c29d8846aa10ffde",
        },
        "model": {
            "representation": {"name": "schnet", "features": 64, "interactions": 3, "cutoff": 5.0, "tied": False},
            "parameters": 98765, "file": "model.safetensors",
        },
        "training": {
            "epochs": 100, "steps": 3200, "seconds": 170.2, "best_epoch": 98, "batch_size": 32, "history": history(),
        },
        "test": {
            "energy": errors(0.00881, 0.0110, 0.1517, 0.1923, "eV"),
            "forces": errors(0.0403, 0.0561, 0.8312, 1.2871, "eV/Ang"),
        },
        "checks": [
            check("rotation", "largest energy change under 10 random rotations", 1.3e-7, 1e-5, "eV"),
            check("translation", "largest energy change under 10 random translations", 0.0, 1e-5, "eV"),
            check("permutation", "largest energy change when atoms of the list trade places", 6.1e-8, 1e-5, "eV"),
            check("forces", "largest difference from central differences, step 0.001 Å", 2.1e-6, 1e-4, "eV/Ang"),
            check("force order", "fitted order of the finite-difference error", 2.003, [1.9, 2.1], ""),
            check("drift", "energy drift of a 1 ps constant-energy run, per atom and ps", 7.8e-6, 1e-3, "eV"),
        ],
        "explanations": {"panels": [{"analysis": "contributions", "about": "molecule", "reading": "Words."}]},
        "timings": {"reference data": 35.2, "training": 170.2, "test": 1.4, "physics checks": 9.3, "explanations": 4.8},
    }  # fmt: skip
