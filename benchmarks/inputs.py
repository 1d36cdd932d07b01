"""The files that every contestant reads: one batch with its neighbour list and labels, and one set of weights."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from atomlens.data.neighbours import neighbour_list
from atomlens.data.system import AtomicSystem
from atomlens.data.units import KCAL_PER_MOL
from atomlens.model import Model, ModelConfig
from benchmarks.cases import Case
from benchmarks.contestants.job import Network
from benchmarks.contestants.ours import schnet_config
from benchmarks.structures import SEED, data_folder, velocities

TEMPERATURE = 300.0  # K, of the dynamics
OUTPUT_NETWORK = "readouts.energy.network.layers"
OUTPUT_SCALE = 0.2  # of random readouts, so that energies are a few eV, as after offsets are taken off


@dataclass(frozen=True)
class Files:
    """A case on disk."""

    case: Case
    arrays: Path
    weights: Path
    about: dict[str, Any]  # atoms, pairs, where structures and weights come from

    def job(self, kind: str | None = None, precision: str = "float32") -> dict[str, Any]:
        """The job as a worker takes it."""
        return {
            "kind": kind or self.case.kind,
            "network": asdict(self.case.network),
            "arrays": str(self.arrays),
            "weights": str(self.weights),
            "precision": precision,
        }


def write(case: Case, folder: Path, systems: Sequence[AtomicSystem] | None = None) -> Files:
    """Write a case, of its own structures or of those that are given."""
    found, source = case.structures() if systems is None else (systems, "given")
    arrays, seconds = batch_arrays(found, case.network.cutoff)
    weights, origin = network_weights(case)
    name = f"case{case.number}-{len(arrays['numbers'])}"
    paths = [folder / f"{name}-{what}.npz" for what in ("arrays", "weights")]
    for path, content in zip(paths, (arrays, weights), strict=True):
        np.savez(path, **content)  # type: ignore[arg-type]
    about = {
        "structures": len(found),
        "atoms": len(arrays["numbers"]),
        "pairs": len(arrays["centre"]),
        "structures_from": source,
        "weights_from": origin,
        "neighbour_list_seconds": seconds,
    }
    return Files(case, paths[0], paths[1], about)


def batch_arrays(systems: Sequence[AtomicSystem], cutoff: float | None) -> tuple[dict[str, np.ndarray], float]:
    """Structures laid end to end with random labels (see `Job`), and how long their neighbour lists took."""
    begin = time.perf_counter()
    lists = [neighbour_list(system, cutoff) for system in systems]
    seconds = time.perf_counter() - begin
    sizes = np.array([len(system.numbers) for system in systems])
    starts = np.cumsum(sizes) - sizes
    rng = np.random.default_rng(SEED)
    arrays = {
        "numbers": np.concatenate([system.numbers for system in systems]),
        "positions": np.concatenate([system.positions for system in systems]),
        "system": np.repeat(np.arange(len(systems)), sizes),
        "cell": np.stack([system.cell for system in systems]),
        "pbc": np.stack([system.pbc for system in systems]),
        "centre": np.concatenate([found[0] + start for found, start in zip(lists, starts, strict=True)]),
        "neighbour": np.concatenate([found[1] + start for found, start in zip(lists, starts, strict=True)]),
        "energy": rng.normal(size=len(systems)),
        "forces": rng.normal(size=(int(sizes.sum()), 3)),
        "velocities": np.concatenate([velocities(system, TEMPERATURE) for system in systems]),
    }
    if any(system.pbc.any() for system in systems):
        arrays["shift"] = np.concatenate([found[2] for found in lists]).astype(np.float64)
    return arrays, seconds


def network_weights(case: Case) -> tuple[dict[str, np.ndarray], str]:
    """The state of an atomlens model in float32, and where its weights come from."""
    folder = data_folder()
    torch.manual_seed(SEED)
    state = initial_state(case.network)
    if case.published_weights and folder is not None:
        return published_state(state, folder / "c20" / "schnet_force_model.npz"), "published (C20, force model)"
    for name in ("weight", "bias"):
        key = f"{OUTPUT_NETWORK}.1.{name}"
        state[key] = state[key] * np.float32(OUTPUT_SCALE)
    return state, f"random, seed {SEED}"


def initial_state(network: Network) -> dict[str, np.ndarray]:
    """A new model's state."""
    model = Model(ModelConfig(representation=schnet_config(network)), elements=[6])
    return {name: value.detach().numpy().copy() for name, value in model.state_dict().items()}


def published_state(state: dict[str, np.ndarray], file: Path) -> dict[str, np.ndarray]:
    """The same state with published arrays, whose kernels are stored (inputs, outputs).

    The constant per atom is left out and the scale multiplied into the last layer: not every contestant adds constants
    in float64, and forces do not feel them.
    """
    arrays, state = np.load(file), dict(state)
    scale = np.float32(arrays["std_per_atom"].astype(np.float64).item() * KCAL_PER_MOL)
    embedding = state["representation.embedding.weight"].copy()
    known = arrays["atom_embedding.embeddings.W"]
    embedding[: len(known)] = known
    state["representation.embedding.weight"] = embedding
    blocks = range(len(state["representation.filters.first_bias"]))
    for ours, theirs in (("first", "SchNetFilter.Dense"), ("second", "SchNetFilter.Dense_1")):
        key = f"representation.filters.{ours}"
        state[f"{key}_weight"] = np.stack([arrays[f"interaction_{block}.{theirs}.W"] for block in blocks])
        biases = np.stack([arrays[f"interaction_{block}.{theirs}.b"] for block in blocks])
        state[f"{key}_bias"] = biases.reshape(state[f"{key}_bias"].shape)
    for block in blocks:
        source, target = f"interaction_{block}", f"representation.blocks.{block}"
        state[f"{target}.atomwise_in.weight"] = arrays[f"{source}.CFConv.in2fac.W"].T
        for ours, theirs in (("atomwise_mid", "CFConv.fac2out"), ("atomwise_out", "Dense")):
            state[f"{target}.{ours}.weight"] = arrays[f"{source}.{theirs}.W"].T
            state[f"{target}.{ours}.bias"] = arrays[f"{source}.{theirs}.b"]
    for layer, theirs, factor in ((0, "Dense", np.float32(1.0)), (1, "Dense_1", scale)):
        state[f"{OUTPUT_NETWORK}.{layer}.weight"] = arrays[f"{theirs}.W"].T * factor
        state[f"{OUTPUT_NETWORK}.{layer}.bias"] = arrays[f"{theirs}.b"].reshape(-1) * factor
    return state
