"""schnetpack: the model, loss, optimiser and ASE calculator that its own recipes use (configs/experiment of 2.1.1)."""

from __future__ import annotations

import importlib.metadata
import typing
import warnings
from typing import Any

import numpy as np
import torch
import torch.utils.data.dataloader
from torch import Tensor, nn

from benchmarks.contestants.dynamics import dynamics
from benchmarks.contestants.job import (
    DYNAMICS,
    ENERGY_TRAINING,
    ENERGY_WEIGHT,
    FORCE_WEIGHT,
    INFERENCE,
    LEARNING_RATE,
    Job,
    Network,
    Work,
)

# schnetpack 2.1.1 imports a name that torch no longer has.
torch.utils.data.dataloader.T_co = typing.TypeVar("T_co")  # type: ignore[attr-defined]
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import schnetpack
    import schnetpack.interfaces
    import schnetpack.properties as keys
    from schnetpack.nn.activations import shifted_softplus

Inputs = dict[str, Tensor]


def versions() -> dict[str, str]:
    """What takes part."""
    names = ("schnetpack", "torch", "pytorch-lightning", "matscipy")
    return {name: importlib.metadata.version(name) for name in names}


def prepare(job: Job, *, exact: bool) -> Work:
    """The work as schnetpack's users do it; ``exact`` is the only way it has."""
    del exact
    model = build_model(job)
    if job.kind == DYNAMICS:
        return dynamics(job, _calculator(model, job))
    return _inference(model, job) if job.kind == INFERENCE else _training(model, job)


class NoCutoff(nn.Module):
    """A cutoff function that is one everywhere; schnetpack offers none."""

    def __init__(self, cutoff: float) -> None:
        super().__init__()
        self.register_buffer("cutoff", torch.tensor([cutoff]))

    def forward(self, distances: Tensor) -> Tensor:
        """Ones."""
        return torch.ones_like(distances)


def build_model(job: Job) -> Any:
    """`NeuralNetworkPotential` with the job's weights."""
    network = job.network
    cutoff = schnetpack.nn.CosineCutoff(network.cutoff) if network.cutoff is not None else NoCutoff(network.range)
    representation = schnetpack.representation.SchNet(
        n_atom_basis=network.features,
        n_interactions=network.interactions,
        radial_basis=schnetpack.nn.GaussianRBF(n_rbf=network.gaussians, cutoff=network.range),
        cutoff_fn=cutoff,
    )
    readout = schnetpack.atomistic.Atomwise(
        n_in=network.features, activation=shifted_softplus, output_key=keys.energy, aggregation_mode="sum"
    )
    outputs = [readout] if job.kind == ENERGY_TRAINING else [readout, schnetpack.atomistic.Forces()]
    model = schnetpack.model.NeuralNetworkPotential(
        representation, input_modules=[schnetpack.atomistic.PairwiseDistances()], output_modules=outputs
    )
    _load(representation, readout, network, job)
    return model.to(getattr(torch, job.precision))


@torch.no_grad()
def _load(representation: Any, readout: Any, network: Network, job: Job) -> None:
    weights = {name: torch.from_numpy(array) for name, array in job.weights.items()}
    embedding = representation.embedding.weight
    embedding.copy_(weights["representation.embedding.weight"][: len(embedding)])
    # Its own width is the spacing.
    representation.radial_basis.widths.fill_((0.5 / network.gamma) ** 0.5)
    for block, layer in enumerate(representation.interactions):
        if network.filter_activations == 2:
            layer.filter_network[1] = schnetpack.nn.Dense(
                network.features, network.features, activation=shifted_softplus
            )
        for place, name in enumerate(("first", "second")):
            dense = layer.filter_network[place]
            dense.weight.copy_(weights[f"representation.filters.{name}_weight"][block].T)
            dense.bias.copy_(weights[f"representation.filters.{name}_bias"][block].reshape(-1))
        source = f"representation.blocks.{block}"
        layer.in2f.weight.copy_(weights[f"{source}.atomwise_in.weight"])
        for dense, name in zip(layer.f2out, ("atomwise_mid", "atomwise_out"), strict=True):
            dense.weight.copy_(weights[f"{source}.{name}.weight"])
            dense.bias.copy_(weights[f"{source}.{name}.bias"])
    for place, dense in enumerate(readout.outnet):
        dense.weight.copy_(weights[f"readouts.energy.network.layers.{place}.weight"])
        dense.bias.copy_(weights[f"readouts.energy.network.layers.{place}.bias"])


def _inputs(job: Job) -> Inputs:
    """A batch as its loader makes it, in the model's precision."""
    arrays, precision = job.arrays, getattr(torch, job.precision)
    system = torch.from_numpy(arrays["system"].copy())
    return {
        keys.Z: torch.from_numpy(arrays["numbers"].copy()),
        keys.R: torch.from_numpy(arrays["positions"]).to(precision, copy=True),
        keys.cell: torch.from_numpy(arrays["cell"]).to(precision, copy=True),
        keys.pbc: torch.from_numpy(arrays["pbc"].copy()),
        keys.n_atoms: torch.bincount(system),
        keys.idx_m: system,
        keys.idx_i: torch.from_numpy(arrays["centre"].copy()),
        keys.idx_j: torch.from_numpy(arrays["neighbour"].copy()),
        keys.offsets: torch.from_numpy(job.offsets()).to(precision),
        keys.energy: torch.from_numpy(arrays["energy"]).to(precision, copy=True),
        keys.forces: torch.from_numpy(arrays["forces"]).to(precision, copy=True),
    }


def _training(model: Any, job: Job) -> Work:
    forces = job.kind != ENERGY_TRAINING
    weights = {keys.energy: ENERGY_WEIGHT, keys.forces: FORCE_WEIGHT} if forces else {keys.energy: 1.0}
    outputs = [
        schnetpack.task.ModelOutput(name=name, loss_fn=nn.MSELoss(), loss_weight=weight, metrics={})
        for name, weight in weights.items()
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lightning's, about modules among hyper-parameters
        task = schnetpack.task.AtomisticTask(
            model,
            outputs,
            optimizer_cls=torch.optim.AdamW,
            optimizer_args={"lr": LEARNING_RATE, "weight_decay": 0.0},
        )
    task.train()
    optimizer = task.configure_optimizers()

    def step(batch: Inputs) -> None:
        # Its training_step without lightning's bookkeeping, which would count against it.
        targets = {name: batch[name] for name in weights}
        loss = task.loss_fn(task.predict_without_postprocessing(batch), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return Work(lambda: _inputs(job), step, lambda: _numpy(model(_inputs(job))))


def _inference(model: Any, job: Job) -> Work:
    model.eval()
    return Work(lambda: _inputs(job), model, lambda: _numpy(model(_inputs(job))))


def _numpy(outputs: Inputs) -> dict[str, np.ndarray]:
    return {name: value.detach().numpy().astype(np.float64) for name, value in outputs.items()}


def _calculator(model: Any, job: Job) -> Any:
    """`SpkCalculator` with the fastest of its neighbour lists; every pair of the cage is within the Gaussians' range.

    For C20, matscipy's list with a skin took 11.9 ms a step, without 13 ms, and ASE's 15 ms (one thread).
    """

    class OfModel(schnetpack.interfaces.SpkCalculator):
        def _load_model(self, model_file: str) -> Any:
            del model_file  # it would unpickle a file that holds this very model
            return model.eval()

    matscipy = schnetpack.transform.MatScipyNeighborList(cutoff=job.network.range)
    return OfModel(
        "",
        neighbor_list=schnetpack.transform.SkinNeighborList(matscipy, cutoff_skin=0.3),
        energy_unit="eV",
        dtype=getattr(torch, job.precision),
    )
