"""Which structures are learned from together, and how they come."""

from atomlens.data.batching.order import BatchOrder
from atomlens.data.batching.prefetch import prefetched
from atomlens.data.batching.source import BatchSource

__all__ = ["BatchOrder", "BatchSource", "prefetched"]
