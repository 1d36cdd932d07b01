"""atomlens: training steps as its loop does them, `Model.predict`, and its ASE calculator."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

import numpy as np
import torch
from torch import Tensor

import atomlens
from atomlens.data.batch import Batch, Pairs
from atomlens.model import Model, ModelConfig
from atomlens.representations import SchNetConfig
from atomlens.simulate import Calculator
from atomlens.training.losses import loss as loss_of
from atomlens.training.memory import keep_freed_memory
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

_memory = contextlib.ExitStack()  # what training does about memory, until the next job


def versions() -> dict[str, str]:
    """What takes part."""
    return {"atomlens": getattr(atomlens, "__version__", "0.1.0"), "torch": torch.__version__}


def prepare(job: Job, *, exact: bool) -> Work:
    """The work on the default, fast path, or with the filter network evaluated for every pair (``exact``)."""
    model = build_model(job, exact=exact)
    if job.kind == DYNAMICS:
        return dynamics(job, Calculator(model))
    _memory.close()
    if job.kind == INFERENCE:
        return _inference(model, job)
    _memory.enter_context(keep_freed_memory())  # as in `training.loop`
    return _training(model, job)


def schnet_config(network: Network) -> SchNetConfig:
    """The network in atomlens's terms."""
    return SchNetConfig(
        features=network.features,
        interactions=network.interactions,
        cutoff=network.cutoff,
        cutoff_function="none" if network.cutoff is None else "cosine",
        gaussian_range=network.range,
        gaussian_spacing=network.range / (network.gaussians - 1),
        gaussian_gamma=network.gamma,
        filter_activations=network.filter_activations,
    )


def build_model(job: Job, *, exact: bool) -> Model:
    """The model with the job's weights, if it has any."""
    elements = np.unique(job.arrays["numbers"]).tolist()
    model = Model(ModelConfig(representation=schnet_config(job.network)), elements=elements)
    if job.weights:
        model.load_state_dict({name: torch.from_numpy(array) for name, array in job.weights.items()})
    model.set_precision(getattr(torch, job.precision))
    model.set_exact_filters(exact)
    model.refine_tables()  # as training and model files do
    return model


def _batch(job: Job) -> Batch:
    """A batch made from nothing but the arrays: what a kernel derives from it counts as work of the step."""
    tensors = {name: torch.from_numpy(array.copy()) for name, array in job.arrays.items()}
    return Batch(
        numbers=tensors["numbers"],
        positions=tensors["positions"],
        system=tensors["system"],
        cell=tensors["cell"],
        pbc=tensors["pbc"],
        charge=torch.zeros(job.systems, dtype=torch.float64),
        pairs=Pairs(tensors["centre"], tensors["neighbour"], tensors.get("shift")),
    )


def _training(model: Model, job: Job) -> Work:
    forces = job.kind != ENERGY_TRAINING
    weights = {"energy": ENERGY_WEIGHT, "forces": FORCE_WEIGHT} if forces else {"energy": 1.0}
    targets = {name: torch.from_numpy(job.arrays[name]) for name in weights}
    parameters, scales = list(model.parameters()), model.scales
    optimizer = torch.optim.Adam(parameters, lr=LEARNING_RATE, fused=True)

    def loss(batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        outputs = model(batch, forces=forces, differentiable=forces)
        return loss_of(outputs, targets, batch, weights, scales), outputs

    def step(batch: Batch) -> None:
        optimizer.zero_grad()
        loss(batch)[0].backward(inputs=parameters)
        optimizer.step()

    def results() -> dict[str, np.ndarray]:
        value, outputs = loss(_batch(job))
        slopes = torch.autograd.grad(value, list(model.parameters()), allow_unused=True, materialize_grads=True)
        found = {name: outputs[name].detach().numpy() for name in weights}
        return found | {"gradient": torch.cat([slope.reshape(-1) for slope in slopes]).numpy()}

    return Work(lambda: _batch(job), step, results)


def _inference(model: Model, job: Job) -> Work:
    def step(batch: Batch) -> None:
        model.predict(batch, stress=False)  # no contestant computes the stress of a crystal

    def results() -> dict[str, np.ndarray]:
        found: dict[str, Any] = model.predict(_batch(job), stress=False)
        return {name: found[name].numpy() for name in ("energy", "forces")}

    return Work(lambda: _batch(job), step, results)


def network_of(config: SchNetConfig) -> Network:
    """The inverse of `schnet_config`."""
    shared = {field.name for field in dataclasses.fields(Network)} - {"gaussians", "range", "gamma"}
    return Network(
        **{name: getattr(config, name) for name in shared},
        gaussians=config.n_gaussians,
        range=config.range,
        gamma=config.gaussian_gamma,
    )
