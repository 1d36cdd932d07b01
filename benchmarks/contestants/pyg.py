"""PyTorch Geometric's SchNet, trained as its examples train: Adam on a mean squared error, forces by autograd."""

from __future__ import annotations

import importlib.metadata
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import mse_loss
from torch_geometric.nn import SchNet

from benchmarks.contestants.job import (
    DYNAMICS,
    ENERGY_TRAINING,
    ENERGY_WEIGHT,
    FORCE_WEIGHT,
    INFERENCE,
    LEARNING_RATE,
    Job,
    NotOfferedError,
    Work,
)

Graph = tuple[Tensor, Tensor]


def versions() -> dict[str, str]:
    """What takes part."""
    return {name: importlib.metadata.version(name) for name in ("torch_geometric", "torch")}


def prepare(job: Job, *, exact: bool) -> Work:
    """The work as a user would write it; ``exact`` is the only way it has."""
    del exact
    network = job.network
    if job.kind == DYNAMICS:
        raise NotOfferedError("it has no ASE calculator")
    if network.cutoff is None or network.filter_activations != 1:
        raise NotOfferedError("its filters have a cosine cutoff and one activation, always")
    model, graph = build_model(job)
    return _inference(model, graph, job) if job.kind == INFERENCE else _training(model, graph, job)


class GivenGraph:
    """An ``interaction_graph`` that takes the neighbour list as it is; messages flow from row 0 to row 1."""

    edges: Tensor
    offsets: Tensor

    def __call__(self, positions: Tensor, system: Tensor) -> Graph:
        """Edges (2, pairs) and their lengths (pairs,) in Å."""
        del system
        neighbour, centre = self.edges
        return self.edges, (positions[neighbour] - positions[centre] + self.offsets).norm(dim=-1)


def build_model(job: Job) -> tuple[Any, GivenGraph]:
    """The model with the job's weights, and where to lay a batch's pairs."""
    network, graph = job.network, GivenGraph()
    model = SchNet(
        hidden_channels=network.features,
        num_filters=network.features,
        num_interactions=network.interactions,
        num_gaussians=network.gaussians,
        cutoff=network.cutoff,
        interaction_graph=graph,
    )
    with torch.no_grad():
        _load(model, job)
    return model.to(getattr(torch, job.precision)), graph


def _load(model: Any, job: Job) -> None:
    weights = {name: torch.from_numpy(array) for name, array in job.weights.items()}
    model.embedding.weight.copy_(weights["representation.embedding.weight"][: len(model.embedding.weight)])
    model.distance_expansion.coeff = -job.network.gamma  # its own is 1 / (2 spacing²)
    for block, layer in enumerate(model.interactions):
        for place, name in ((0, "first"), (2, "second")):
            layer.mlp[place].weight.copy_(weights[f"representation.filters.{name}_weight"][block].T)
            layer.mlp[place].bias.copy_(weights[f"representation.filters.{name}_bias"][block].reshape(-1))
        source = f"representation.blocks.{block}"
        layer.conv.lin1.weight.copy_(weights[f"{source}.atomwise_in.weight"])
        for dense, name in ((layer.conv.lin2, "atomwise_mid"), (layer.lin, "atomwise_out")):
            dense.weight.copy_(weights[f"{source}.{name}.weight"])
            dense.bias.copy_(weights[f"{source}.{name}.bias"])
    for place, dense in enumerate((model.lin1, model.lin2)):
        dense.weight.copy_(weights[f"readouts.energy.network.layers.{place}.weight"])
        dense.bias.copy_(weights[f"readouts.energy.network.layers.{place}.bias"])


def _inputs(job: Job) -> dict[str, Tensor]:
    arrays, precision = job.arrays, getattr(torch, job.precision)
    pairs = np.stack([arrays["neighbour"], arrays["centre"]])
    real = {name: torch.from_numpy(arrays[name]).to(precision, copy=True) for name in ("positions", "energy", "forces")}
    return real | {
        "numbers": torch.from_numpy(arrays["numbers"].copy()),
        "system": torch.from_numpy(arrays["system"].copy()),
        "edges": torch.from_numpy(pairs),
        "offsets": torch.from_numpy(job.offsets()).to(precision),
    }


def _predict(
    model: Any, graph: GivenGraph, batch: dict[str, Tensor], *, forces: bool, differentiable: bool
) -> dict[str, Tensor]:
    graph.edges, graph.offsets = batch["edges"], batch["offsets"]
    positions = batch["positions"].requires_grad_(forces)
    energy = model(batch["numbers"], positions, batch["system"]).squeeze(-1)
    if not forces:
        return {"energy": energy}
    (slope,) = torch.autograd.grad(energy.sum(), positions, create_graph=differentiable)
    return {"energy": energy, "forces": -slope}


def _training(model: Any, graph: GivenGraph, job: Job) -> Work:
    forces = job.kind != ENERGY_TRAINING
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)

    def predict(batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return _predict(model, graph, batch, forces=forces, differentiable=forces)

    def step(batch: dict[str, Tensor]) -> None:
        optimizer.zero_grad()
        found = predict(batch)
        loss = mse_loss(found["energy"], batch["energy"])
        if forces:
            loss = ENERGY_WEIGHT * loss + FORCE_WEIGHT * mse_loss(found["forces"], batch["forces"])
        loss.backward()
        optimizer.step()

    return Work(lambda: _inputs(job), step, lambda: _numpy(predict(_inputs(job))))


def _inference(model: Any, graph: GivenGraph, job: Job) -> Work:
    model.eval()

    def predict(batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return _predict(model, graph, batch, forces=True, differentiable=False)

    return Work(lambda: _inputs(job), predict, lambda: _numpy(predict(_inputs(job))))


def _numpy(outputs: dict[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: value.detach().numpy().astype(np.float64) for name, value in outputs.items()}
