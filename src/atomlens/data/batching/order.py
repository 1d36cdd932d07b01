"""Which structures make up which batch, as a pure function of seed and epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from atomlens.data.runs import runs_within
from atomlens.errors import InputError


@dataclass(frozen=True)
class BatchOrder:
    """The batches of every epoch: the structures in a new order, cut where a batch is full.

    A batch is full with ``size`` structures or, where ``costs`` are given, before its structures cost more than
    ``budget``. Every structure comes once per epoch, so a resumed run only needs to know epoch and batch. Processes
    share out each batch, so that all take the same number of steps. Structures at the end that would leave a process
    with none, fewer than there are processes, sit that epoch out.
    """

    structures: int
    seed: int
    size: int | None = None  # structures in a batch, over all processes
    costs: np.ndarray | None = None  # (structures,) numbers of atoms or pairs
    budget: int | None = (
        None  # of a batch, over all processes; a batch has at least one structure for each, at any cost
    )
    processes: int = 1

    def __post_init__(self) -> None:
        if (self.size is None) == (self.budget is None) or (self.budget is None) != (self.costs is None):
            raise ValueError("a batch is limited by its number of structures, or by their costs and a budget")
        if self.size is not None and self.size < self.processes:
            raise InputError("training.batch_size is smaller than the number of devices; raise it")
        if self.structures < self.processes:
            raise InputError(f"{self.structures} structures cannot occupy {self.processes} devices; use fewer devices")

    def epoch(self, number: int) -> list[np.ndarray]:
        """The batches of an epoch, counted from 0: indices of structures, over all processes."""
        order = np.random.default_rng([self.seed, number]).permutation(self.structures)
        batches = [order[start:stop] for start, stop in self._runs(order)]
        if len(batches[-1]) < self.processes:
            batches.pop()
        return batches

    def _runs(self, order: np.ndarray) -> Iterator[tuple[int, int]]:
        if self.costs is not None and self.budget is not None:
            return runs_within(self.costs[order], self.budget, self.processes)
        size = self.size or 1
        return ((start, start + size) for start in range(0, len(order), size))

    def share(self, batch: np.ndarray, process: int) -> np.ndarray:
        """What one of the processes computes of a batch: at least one structure."""
        return batch[process :: self.processes]
