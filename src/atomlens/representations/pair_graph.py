"""A batch's pairs in the orders of kernels."""

from __future__ import annotations

from atomlens.data.batch import Batch
from atomlens.ops.cfconv import Kernels, PairGraph


def pair_graph(batch: Batch, kernels: Kernels) -> PairGraph:
    """The batch's pairs in the kernels' orders, made once and kept with the pairs."""
    kept: dict[tuple[str, int], PairGraph] = batch.pairs.__dict__.setdefault("_graphs", {})
    key = kernels.name, batch.numbers.shape[0]
    if key not in kept:
        kept[key] = kernels.graph(batch.pairs.centre, batch.pairs.neighbour, batch.numbers.shape[0])
    return kept[key]
