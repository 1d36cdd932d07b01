"""A small archive laid out as the published SchNet weights are, and its energy in plain numpy."""

import numpy as np


def random_arrays(*, blocks=3, features=5, gaussians=9, hidden=4, rows=10, seed=0):
    """Arrays with random numbers in place of weights."""
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return rng.uniform(-0.7, 0.7, shape).astype(np.float32)

    arrays = {
        "atom_embedding.embeddings.W": draw(rows, features),
        "Dense.W": draw(features, hidden),
        "Dense.b": draw(hidden),
        "Dense_1.W": draw(hidden, 1),
        "Dense_1.b": draw(1),
        "mean_per_atom": np.float32([-321.5]),
        "std_per_atom": np.float32([12.25]),
        "atomref.embeddings.W": np.zeros((rows, 1), np.float32),
    }
    for block in range(blocks):
        for name, inputs in (("SchNetFilter.Dense", gaussians), ("SchNetFilter.Dense_1", features), ("Dense", features),
                             ("CFConv.fac2out", features)):  # fmt: skip
            arrays[f"interaction_{block}.{name}.W"] = draw(inputs, features)
            arrays[f"interaction_{block}.{name}.b"] = draw(features)
        arrays[f"interaction_{block}.CFConv.in2fac.W"] = draw(features, features)
    return arrays


def energy(arrays, numbers, positions, *, gaussian_range=20.0, gamma=10.0, activations=2):
    """In kcal/mol, all atoms at once, from the formulas that came with the published weights."""
    a = {name: values.astype(np.float64) for name, values in arrays.items()}
    blocks = len({name.split(".")[0] for name in a if name.startswith("interaction_")})
    centres = np.linspace(0.0, gaussian_range, len(a["interaction_0.SchNetFilter.Dense.W"]))
    distances = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    basis = np.exp(-gamma * (distances[..., None] - centres) ** 2)
    others = 1.0 - np.eye(len(numbers))
    x = a["atom_embedding.embeddings.W"][numbers]
    for block in range(blocks):

        def dense(y, name, block=block):
            return y @ a[f"interaction_{block}.{name}.W"] + a[f"interaction_{block}.{name}.b"]

        filters = dense(ssp(dense(basis, "SchNetFilter.Dense")), "SchNetFilter.Dense_1")
        filters = (ssp(filters) if activations == 2 else filters) * others[..., None]
        heard = np.einsum("ijf,jf->if", filters, x @ a[f"interaction_{block}.CFConv.in2fac.W"])
        x = x + dense(ssp(dense(heard, "CFConv.fac2out")), "Dense")
    terms = ssp(x @ a["Dense.W"] + a["Dense.b"]) @ a["Dense_1.W"] + a["Dense_1.b"]
    return (terms * a["std_per_atom"] + a["mean_per_atom"] + a["atomref.embeddings.W"][numbers]).sum()


def ssp(x):
    return np.log(0.5 * np.exp(x) + 0.5)
