"""Writes pyg_schnet.json: energies and forces of PyTorch Geometric's SchNet, for weights that a seed gives.

    make bench's environment: .venv-bench/bin/python tests/golden/make_pyg_schnet.py

Nothing of atomlens is used here. PyTorch Geometric has a cosine cutoff, N Gaussians between 0 and the cutoff with
γ = 1 / (2 spacing²), one activation per filter network, and E = Σ_i (std o(x_i) + mean + atomref[Z_i]).
"""

import hashlib
import importlib.metadata
import itertools
import json
from pathlib import Path

import numpy as np

FILE = Path(__file__).with_name("pyg_schnet.json")
PROGRAMS = ("torch_geometric", "torch", "numpy", "ase")
MEAN, DEVIATION = -1.75, 2.5
NETWORKS = {
    "usual": {"features": 16, "interactions": 3, "gaussians": 26, "cutoff": 5.0, "seed": 1},
    "short cutoff": {"features": 7, "interactions": 2, "gaussians": 12, "cutoff": 2.2, "seed": 2},
    "long cutoff": {"features": 8, "interactions": 6, "gaussians": 51, "cutoff": 10.0, "seed": 3},
    "no blocks": {"features": 4, "interactions": 0, "gaussians": 2, "cutoff": 3.0, "seed": 4},
}


def draw_weights(network):
    """Arrays by the names of PyTorch Geometric's state dict, kernels stored (outputs, inputs).

    Drawn from [0, 1) alone, which numpy keeps the same from version to version.
    """
    rng = np.random.Generator(np.random.PCG64(network["seed"]))
    features, gaussians = network["features"], network["gaussians"]
    shapes = {"embedding.weight": (100, features), "atomref.weight": (100, 1)}
    for block in range(network["interactions"]):
        name = f"interactions.{block}"
        shapes |= {f"{name}.mlp.0.weight": (features, gaussians), f"{name}.mlp.0.bias": (features,)}
        shapes |= {f"{name}.conv.lin1.weight": (features, features)}
        for layer in ("mlp.2", "conv.lin2", "lin"):
            shapes |= {f"{name}.{layer}.weight": (features, features), f"{name}.{layer}.bias": (features,)}
    shapes |= {"lin1.weight": (features // 2, features), "lin1.bias": (features // 2,)}
    shapes |= {"lin2.weight": (1, features // 2), "lin2.bias": (1,)}
    # Of a size that leaves forces everywhere: activations that saturate would hide what lies before them.
    return {name: (2.0 * rng.random(shape) - 1.0) * (1.2 / shape[-1] ** 0.5) for name, shape in shapes.items()}


def digest(weights):
    """Tells other weights from a model that computes something else."""
    return hashlib.sha256(b"".join(name.encode() + weights[name].tobytes() for name in sorted(weights))).hexdigest()


def structures():
    """Molecules, pairs around the cutoffs, a lone atom, and a crystal in a cell smaller than some cutoffs."""
    import ase
    from ase.build import bulk, molecule

    rng = np.random.default_rng(0)
    made = {name: molecule(name) for name in ("H2O", "CH3CH2OH", "C6H6")}
    made["two waters 6 Å apart"] = made["H2O"] + made["H2O"].copy()
    made["two waters 6 Å apart"].positions[3:] += [0.0, 1.0, 6.0]
    made["NaCl"] = bulk("NaCl", "rocksalt", a=5.64)
    for atoms in made.values():
        atoms.positions += rng.uniform(-0.1, 0.1, atoms.positions.shape)
    for distance in (2.199, 2.2001, 4.999, 5.001, 9.99, 10.01):
        made[f"CO {distance} Å apart"] = ase.Atoms("CO", [[0.1, 0.2, 0.3], [0.1, 0.2, 0.3 + distance]])
    made["lone O"] = ase.Atoms("O", [[0.0, 0.0, 0.0]])
    return made


def edges(positions, cell, pbc, cutoff):
    """Directed pairs within the cutoff, every image: neighbour (pairs,), centre (pairs,), offset (pairs, 3)."""
    images = [range(-6, 7) if repeats else (0,) for repeats in pbc]
    found = []
    for shift in itertools.product(*images):
        offset = np.array(shift, dtype=float) @ cell
        for j, i in itertools.product(range(len(positions)), repeat=2):
            if (j != i or any(shift)) and np.linalg.norm(positions[j] + offset - positions[i]) < cutoff:
                found.append((j, i, offset))
    return (
        np.array([pair[0] for pair in found], dtype=np.int64),
        np.array([pair[1] for pair in found], dtype=np.int64),
        np.array([pair[2] for pair in found]).reshape(-1, 3),
    )


def make_pyg(network, weights):
    """PyTorch Geometric's SchNet in float64, and a function from numbers, positions, cell and pbc to its results."""
    import torch
    from torch_geometric.nn import SchNet

    graph = {}

    def given(positions, batch):
        del batch
        vectors = positions[graph["neighbour"]] - positions[graph["centre"]] + graph["offset"]
        return torch.stack([graph["neighbour"], graph["centre"]]), vectors.norm(dim=-1)

    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # its Gaussians' centres and its ln 2 are rounded where the model is made
    try:
        with torch.random.fork_rng(devices=[]):
            model = SchNet(
                hidden_channels=network["features"],
                num_filters=network["features"],
                num_interactions=network["interactions"],
                num_gaussians=network["gaussians"],
                cutoff=network["cutoff"],
                interaction_graph=given,
                mean=MEAN,
                std=DEVIATION,
                atomref=torch.zeros(100, 1),
            )
    finally:
        torch.set_default_dtype(before)
    tensors = {name: torch.from_numpy(array) for name, array in weights.items()}
    for block in range(network["interactions"]):  # the filter network is listed twice
        for layer, kind in itertools.product(("0", "2"), ("weight", "bias")):
            name = f"interactions.{block}"
            tensors[f"{name}.conv.nn.{layer}.{kind}"] = tensors[f"{name}.mlp.{layer}.{kind}"]
    kept = {name: value for name, value in model.state_dict().items() if name not in tensors}
    assert set(kept) == {"initial_atomref", "distance_expansion.offset"}
    model.load_state_dict(tensors | kept)

    def evaluate(numbers, positions, cell, pbc):
        found = edges(positions, cell, pbc, network["cutoff"])
        graph.update(zip(("neighbour", "centre", "offset"), map(torch.from_numpy, found), strict=True))
        points = torch.from_numpy(positions).clone().requires_grad_()
        energy = model(torch.from_numpy(numbers), points).sum()
        (slope,) = torch.autograd.grad(energy, points, materialize_grads=True, allow_unused=True)
        return energy.item(), -slope.numpy()

    return evaluate


def main():
    made = {
        name: {
            "numbers": atoms.numbers.tolist(),
            "positions": atoms.positions.tolist(),
            "cell": atoms.cell.array.tolist(),
            "pbc": atoms.pbc.tolist(),
        }
        for name, atoms in structures().items()
    }
    results = {}
    for label, network in NETWORKS.items():
        weights = draw_weights(network)
        evaluate = make_pyg(network, weights)
        results[label] = {"network": network, "weights_sha256": digest(weights), "values": {}}
        for name, entry in made.items():
            energy, forces = evaluate(*(np.array(entry[key]) for key in ("numbers", "positions", "cell", "pbc")))
            results[label]["values"][name] = {"energy": energy, "forces": forces.tolist()}
    content = {
        "what": "energies and forces of torch_geometric.nn.SchNet in float64, by make_pyg_schnet.py",
        "versions": {name: importlib.metadata.version(name) for name in PROGRAMS},
        "structures": made,
        "results": results,
    }
    FILE.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(FILE)


if __name__ == "__main__":
    main()
