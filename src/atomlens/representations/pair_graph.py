"""A batch's pairs in the orders of kernels."""

from __future__ import annotations

import torch

from atomlens.data.batch import Batch
from atomlens.ops.cfconv import Kernels, PairGraph
from atomlens.representations.interface import ProbePairs


def pair_graph(batch: Batch, kernels: Kernels) -> PairGraph:
    """The batch's pairs in the kernels' orders, made once and kept with the pairs."""
    kept: dict[tuple[str, int], PairGraph] = batch.pairs.__dict__.setdefault("_graphs", {})
    key = kernels.name, batch.numbers.shape[0]
    if key not in kept:
        kept[key] = kernels.graph(batch.pairs.centre, batch.pairs.neighbour, batch.numbers.shape[0])
    return kept[key]


def probe_graph(pairs: ProbePairs, atoms: int, kernels: Kernels) -> PairGraph:
    """The pairs of probes with the ``atoms`` of a structure in the kernels' orders."""
    probe, atom = pairs.probe.to(torch.int32), pairs.atom.to(torch.int32)
    return PairGraph(probe, atom, kernels.group(probe, pairs.n_probes), kernels.group(atom, atoms))
