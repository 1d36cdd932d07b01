"""Numba's functions over pairs alone, with torch's matrix products between them, as the other generators have it."""

from __future__ import annotations

from torch import Tensor

from atomlens.ops.cfconv import Layers, Lookup, Passes
from atomlens.ops.cfconv.numba_backend import NumbaKernels


class PrimitiveKernels(NumbaKernels):
    """What is left of the default without the kernels of whole interaction blocks and of filter networks."""

    name = "primitives"

    def passes(self, tables: Tensor, layers: Layers, lookup: Lookup) -> Passes:
        """See `Kernels.passes`."""
        return Passes(tables, layers, lookup)

    def makes_filter_tables(self, first: Tensor) -> bool:
        """See `Kernels.makes_filter_tables`."""
        del first
        return False
