"""What a training step gets, and in which order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import torch
from torch import Tensor

from atomlens.data.batch import Batch
from atomlens.data.batching import BatchOrder, BatchSource
from atomlens.data.dataset import Dataset
from atomlens.data.splits import Split
from atomlens.training.config import RunConfig, TrainingConfig

_AHEAD = 2  # batches that are assembled while a GPU works on the present one
_INDIFFERENT = ("checkpoint_seconds", "tensorboard", "threads", "max_minutes", "prefetch")
# Settings that older runs did not have count where they are used, so that those runs can still be resumed.
_LATER = {"training": ("batch_atoms", "batch_pairs"), "references": ("from_data",)}


class Work:
    """A batch with its targets, opaque to fabric, which would round the positions of a plain dataclass."""

    def __init__(self, batch: Batch, targets: dict[str, Tensor], device: torch.device) -> None:
        self.batch = batch.to(device)
        self.targets = {name: value.to(device) for name, value in targets.items()}


@dataclass(frozen=True)
class Shares:
    """The shares of one process in the batches of an epoch."""

    source: BatchSource
    order: BatchOrder
    process: int
    device: torch.device

    def works(self, batches: Sequence[np.ndarray]) -> Iterator[tuple[Work, float]]:
        """Work for each batch, and the factor of its loss.

        Gradients are averaged over processes; the factor makes that the average over structures.
        """
        for rows in batches:
            share = self.order.share(rows, self.process)
            yield Work(*self.source.batch(share), self.device), len(share) * self.order.processes / len(rows)


def batch_order(config: TrainingConfig, source: BatchSource, processes: int) -> BatchOrder:
    """The batches that training takes.

    Raises:
        InputError: a batch cannot be shared out over so many processes.
    """
    if config.batch_atoms is None and config.batch_pairs is None:
        return BatchOrder(len(source), config.seed, config.batch_size, processes=processes)
    costs = source.data.n_atoms if config.batch_pairs is None else source.pair_count(np.arange(len(source)))
    budget = config.batch_atoms or config.batch_pairs
    return BatchOrder(len(source), config.seed, costs=costs, budget=budget, processes=processes)


def batches_ahead(config: TrainingConfig, device: torch.device) -> int:
    """How many batches another thread assembles ahead."""
    if config.prefetch is not None:
        return config.prefetch
    return 0 if device.type == "cpu" else _AHEAD


def run_identity(config: RunConfig, data: Dataset, split: Split) -> str:
    """A hash of everything that decides the weights; a checkpoint is only taken up under the same one."""
    decisive = config.model_dump(mode="json", exclude={"data": True, "split": True})
    for name in _INDIFFERENT:
        del decisive["training"][name]
    for part, names in _LATER.items():
        unused = [name for name in names if not (decisive[part] or {}).get(name)]
        for name in unused:
            (decisive[part] or {}).pop(name, None)
    return sha256(f"{decisive} {split.hash} {data.hash}".encode()).hexdigest()
